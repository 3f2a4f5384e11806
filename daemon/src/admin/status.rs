//! How the node is.

use axum::extract::State;
use nebula_api::{Disk, Hardware, JobCounts, Me, Role, Scrub, Status, Storage};

use super::AdminParts;
use crate::catalog::JobState;
use crate::http::{Problem, require};
use crate::identity::{Action, Caller, Resource};

pub(super) async fn status(
    State(parts): State<AdminParts>,
    caller: Caller,
) -> Result<axum::Json<Status>, Problem> {
    let rule = require(&caller, Action::ReadStatus, &Resource::Node)?;
    let buckets = parts.store.buckets().await?;
    let space = parts
        .store
        .blobs()
        .space()
        .map_err(crate::store::StoreError::from)?;
    let me = caller.actor().to_string();
    let held = parts.store.owner_usage(&me).await?;
    let now_ms = parts.store.clock().now_ms();
    Ok(axum::Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build_id: crate::telemetry::build::ID.to_owned(),
        node: parts.node.name.clone(),
        started_at_ms: parts.node.started_ms,
        uptime_ms: now_ms.saturating_sub(parts.node.started_ms).max(0) as u64,
        listen: parts.node.listen.clone(),
        storage: Storage {
            total_bytes: space.total,
            free_bytes: space.free,
            reserve_bytes: space.reserve,
            used_bytes: buckets
                .iter()
                .map(|bucket| bucket.usage_bytes.max(0) as u64)
                .sum(),
            objects: buckets
                .iter()
                .map(|bucket| bucket.usage_objects.max(0) as u64)
                .sum(),
            disks: disks(&parts),
        },
        scrub: scrub(&parts).await?,
        database: parts.store.catalog().kind().to_owned(),
        queue: parts.node.queue.to_owned(),
        hardware: hardware(&parts),
        jobs: counts(parts.jobs.counts().await?),
        me: Me {
            actor: me,
            role: caller
                .highest_role()
                .map_or(Role::None, super::keys::wire_role),
            rule: rule.to_string(),
            usage: super::usage::held(held.usage),
            quota: super::usage::told(held.quota),
        },
    }))
}

/// The data directory and the disks beside it.
fn disks(parts: &AdminParts) -> Vec<Disk> {
    let disk = |disk: crate::store::DiskInfo| Disk {
        name: disk.name,
        away: disk.away,
        draining: disk.is_draining,
        total_bytes: disk.space.map_or(0, |space| space.total),
        free_bytes: disk.space.map_or(0, |space| space.free),
    };
    parts.store.disks().into_iter().map(disk).collect()
}

/// How the walk over every byte stands.
async fn scrub(parts: &AdminParts) -> Result<Scrub, Problem> {
    let state = parts.store.scrub_state().await?;
    let quarantined = parts.store.catalog().quarantined_blobs().await?;
    let time = |ms: i64| Some(ms).filter(|ms| *ms > 0);
    Ok(Scrub {
        running: state.is_running(),
        total_bytes: state.total_bytes,
        done_bytes: state.done_bytes,
        damaged: state.damaged,
        healed: state.healed,
        quarantined: quarantined.max(0) as u64,
        started_at_ms: time(state.started_ms),
        finished_at_ms: time(state.finished_ms),
        next_at_ms: time(state.next_ms),
    })
}

/// What transcodes here; the hardware is tried when the first film needs it.
fn hardware(parts: &AdminParts) -> Hardware {
    match parts.hardware.get() {
        Some(chosen) => Hardware {
            choice: chosen.word().to_owned(),
            reason: chosen.reason.clone(),
            device: chosen.device().map(str::to_owned),
        },
        None => Hardware {
            choice: "unknown".to_owned(),
            reason: "No film was transcoded since the start; the first one tries the hardware."
                .to_owned(),
            device: None,
        },
    }
}

fn counts(rows: Vec<(String, JobState, u64)>) -> JobCounts {
    let mut counts = JobCounts::default();
    for (_, state, count) in rows {
        let place = match state {
            JobState::Queued => &mut counts.queued,
            JobState::Running => &mut counts.running,
            JobState::Done => &mut counts.done,
            JobState::Failed => &mut counts.failed,
            JobState::Cancelled => &mut counts.cancelled,
            JobState::Dead => &mut counts.dead,
        };
        *place += count;
    }
    counts
}
