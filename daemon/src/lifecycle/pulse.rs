//! The pulse: asks what the doors stand on, keeps the health true and feeds the watchdog.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::notify;
use crate::serve::Doors;
use crate::telemetry::Health;

/// Without a watchdog the health is looked at this often.
const BEAT: Duration = Duration::from_secs(5);

/// Beats until the drain, and feeds the watchdog from there to the end.
///
/// The watchdog is fed only when the probe came back in time, so that it covers the runtime as well as the catalog.
/// A probe that comes back with an error is a living daemon with a broken neighbour: it is shown as unwell, and a
/// restart, which would end all streams, would mend nothing.
pub(super) async fn beat<D: Doors>(
    doors: Arc<D>,
    health: Health,
    drain: CancellationToken,
    over: CancellationToken,
) {
    let watchdog = sd_notify::watchdog_enabled();
    // Three beats to a period: one may be late without harm.
    let every = watchdog.map_or(BEAT, |period| (period / 3).min(BEAT));
    let mut tick = tokio::time::interval(every);
    while drain.run_until_cancelled(tick.tick()).await.is_some() {
        let was_ready = health.state().is_ready();
        let probe = tokio::time::timeout(every, doors.probe());
        let Some(answer) = drain.run_until_cancelled(probe).await else {
            break;
        };
        match answer {
            Ok(Ok(())) => {
                health.ready();
                if !was_ready && health.state().is_ready() {
                    info!("well again");
                }
            }
            Ok(Err(reason)) => {
                if was_ready {
                    warn!("unwell: {reason}");
                }
                health.unwell(reason);
            }
            Err(_) => {
                if was_ready {
                    warn!("unwell: the catalog does not answer");
                }
                health.unwell("the catalog does not answer");
                continue;
            }
        }
        if watchdog.is_some() {
            notify::watchdog();
        }
    }
    // A drain outlives a watchdog period; the drain's own end is bounded, so it may be fed without asking.
    if watchdog.is_some() {
        let mut tick = tokio::time::interval(every);
        while over.run_until_cancelled(tick.tick()).await.is_some() {
            notify::watchdog();
        }
    }
}
