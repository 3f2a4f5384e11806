//! Disks that are to be emptied.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nebula_api::problem::code;
use nebula_api::{BeginDrain, Drain, Page};

use super::{AdminParts, Json};
use crate::http::{Problem, audited, require};
use crate::identity::{Action, Caller, Resource};
use crate::store::{DrainPhase, DrainState};

/// Which there are; as many as disks, so they need no pages.
pub(super) async fn list(
    State(parts): State<AdminParts>,
    caller: Caller,
) -> Result<axum::Json<Page<Drain>>, Problem> {
    require(&caller, Action::ManageNode, &Resource::Node)?;
    let drains = parts.store.drains().await?;
    Ok(axum::Json(Page {
        items: drains.into_iter().map(wire).collect(),
        next: None,
    }))
}

/// Begins one.
pub(super) async fn begin(
    State(parts): State<AdminParts>,
    caller: Caller,
    Json(body): Json<BeginDrain>,
) -> Result<(StatusCode, axum::Json<Drain>), Problem> {
    let rate = body.bytes_per_s.unwrap_or(0);
    let work = async {
        let begun = parts.store.begin_drain(&body.disk, rate).await?;
        begun.ok_or_else(missing)
    };
    let (action, node) = (Action::ManageNode, Resource::Node);
    let begun = audited(&parts.identity, &caller, action, &node, work).await?;
    Ok((StatusCode::CREATED, axum::Json(wire(begun))))
}

/// Takes one back.
pub(super) async fn cancel(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(disk): Path<String>,
) -> Result<StatusCode, Problem> {
    let work = async {
        if parts.store.cancel_drain(&disk).await? {
            Ok(StatusCode::NO_CONTENT)
        } else {
            Err(missing())
        }
    };
    let (action, node) = (Action::ManageNode, Resource::Node);
    audited(&parts.identity, &caller, action, &node, work).await
}

fn missing() -> Problem {
    Problem::not_found(
        code::DISK_NOT_FOUND,
        "There is no such disk in the configuration, or it is not being emptied.",
    )
    .hint("See them with: nebula status")
}

fn wire(state: DrainState) -> Drain {
    Drain {
        disk: state.disk,
        state: match state.phase {
            DrainPhase::Waiting => nebula_api::DrainState::Waiting,
            DrainPhase::Running => nebula_api::DrainState::Running,
            DrainPhase::Stuck => nebula_api::DrainState::Stuck,
            DrainPhase::Done => nebula_api::DrainState::Done,
        },
        moved_files: state.done.files,
        moved_bytes: state.done.bytes,
        left_files: state.done.files_left,
        stuck: state.done.left,
        reason: state.error,
        bytes_per_s: Some(state.bytes_per_s).filter(|rate| *rate > 0),
        started_at_ms: state.since_ms,
    }
}
