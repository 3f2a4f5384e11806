//! Jobs.

use axum::extract::{Path, State};
use nebula_api::problem::code;
use nebula_api::{Job, JobsQuery, Page};

use super::{AdminParts, Query};
use crate::catalog::{JobCursor, JobFilter, JobRow, JobState};
use crate::http::{Problem, audited, require};
use crate::identity::{Action, Caller, Resource};
use crate::kernel::JobId;
use crate::queue::Changed;

pub(super) async fn list(
    State(parts): State<AdminParts>,
    caller: Caller,
    Query(query): Query<JobsQuery>,
) -> Result<axum::Json<Page<Job>>, Problem> {
    require(&caller, Action::ReadJobs, &Resource::Node)?;
    let limit = query.limit_items();
    let state = query.state.map(|state| {
        JobState::parse(state.as_str()).ok_or_else(|| Problem::invalid("no such state of a job"))
    });
    let filter = JobFilter {
        state: state.transpose()?,
        kind: query.kind,
    };
    let after = query.cursor.as_deref().map(read_cursor).transpose()?;
    let rows = parts.jobs.list(&filter, after.as_ref(), limit + 1).await?;
    let more = rows.len() > limit as usize;
    let shown = &rows[..rows.len().min(limit as usize)];
    let next = match shown.last() {
        Some(last) if more => Some(format!("{}.{}", last.created_ms, last.id()?)),
        _ => None,
    };
    let items = shown.iter().map(wire).collect::<Result<_, _>>()?;
    Ok(axum::Json(Page { items, next }))
}

fn read_cursor(cursor: &str) -> Result<JobCursor, Problem> {
    let invalid = || Problem::invalid("The cursor is not one that a listing gave.");
    let (created_ms, id) = cursor.split_once('.').ok_or_else(invalid)?;
    let created_ms = created_ms.parse().map_err(|_| invalid())?;
    let id: JobId = id.parse().map_err(|_| invalid())?;
    Ok(JobCursor {
        created_ms,
        id: id.to_string(),
    })
}

fn id(text: &str) -> Result<JobId, Problem> {
    text.parse().map_err(|_| missing(text))
}

fn missing(id: &str) -> Problem {
    Problem::not_found(code::JOB_NOT_FOUND, "There is no such job.")
        .detail(format!("There is no job `{id}`."))
        .hint("List them with: nebula jobs")
}

pub(super) async fn get(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<axum::Json<Job>, Problem> {
    require(&caller, Action::ReadJobs, &Resource::Node)?;
    let row = parts
        .jobs
        .get(id(&text)?)
        .await?
        .ok_or_else(|| missing(&text))?;
    Ok(axum::Json(wire(&row)?))
}

pub(super) async fn cancel(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<axum::Json<Job>, Problem> {
    let work = async {
        let reason = format!("cancelled by {}", caller.actor());
        let outcome = parts.jobs.cancel(id(&text)?, &reason).await?;
        let title = "The job has ended already.";
        changed(outcome, &text, code::JOB_FINISHED, title)
    };
    manage(&parts, &caller, work).await
}

pub(super) async fn retry(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(text): Path<String>,
) -> Result<axum::Json<Job>, Problem> {
    let work = async {
        let outcome = parts.jobs.retry(id(&text)?).await?;
        changed(outcome, &text, code::JOB_ACTIVE, "The job has not ended.")
    };
    manage(&parts, &caller, work).await
}

async fn manage(
    parts: &AdminParts,
    caller: &Caller,
    work: impl Future<Output = Result<axum::Json<Job>, Problem>>,
) -> Result<axum::Json<Job>, Problem> {
    let action = Action::ManageJobs;
    audited(&parts.identity, caller, action, &Resource::Node, work).await
}

fn changed(
    outcome: Changed,
    id: &str,
    code: &str,
    title: &str,
) -> Result<axum::Json<Job>, Problem> {
    match outcome {
        Changed::Yes(row) => Ok(axum::Json(wire(&row)?)),
        Changed::No(row) => Err(Problem::new(axum::http::StatusCode::CONFLICT, code, title)
            .detail(format!("The job is {}.", row.state()?.as_str()))),
        Changed::Absent => Err(missing(id)),
    }
}

/// The row already speaks in the names of the API: its events carry the same.
fn wire(row: &JobRow) -> Result<Job, Problem> {
    serde_json::from_value(row.to_json()).map_err(Problem::internal)
}
