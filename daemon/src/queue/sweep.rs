//! Forgets jobs that ended long ago, and keeps the gauges of the queue.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::QueueError;
use crate::catalog::{Catalog, CatalogError, JobState};
use crate::kernel::{Clock, Millis};
use crate::telemetry::metrics::{JOBS_RUNNING, JOBS_WAITING};

/// How long a job that has ended stays in the list.
pub const FINISHED_KEPT_MS: Millis = 7 * 24 * 3600 * 1000;
/// How often the sweeper looks.
const INTERVAL: Duration = Duration::from_mins(1);
/// The lease that only one of two overlapping daemons holds.
const LEASE: &str = "queue.sweeper";
/// How long that lease lives; longer than the interval, so that it stays with one daemon.
const LEASE_MS: Millis = 150_000;

/// The sweeper of finished jobs.
#[derive(Clone)]
pub struct Sweeper {
    catalog: Catalog,
    clock: Clock,
    holder: String,
}

impl Sweeper {
    /// A sweeper that calls itself `holder`, which differs between daemons.
    pub fn new(catalog: Catalog, clock: Clock, holder: impl Into<String>) -> Self {
        Self {
            catalog,
            clock,
            holder: holder.into(),
        }
    }

    /// Sweeps now and then until cancelled.
    pub async fn run(self, cancel: CancellationToken) {
        loop {
            if let Err(error) = self.sweep().await {
                warn!(%error, "finished jobs could not be swept: {error}");
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    /// One round: renews the gauges and forgets some old jobs; how many.
    pub async fn sweep(&self) -> Result<u64, QueueError> {
        self.gauge().await?;
        let (holder, now_ms) = (self.holder.clone(), self.clock.now_ms());
        let swept = self
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    if !tx
                        .take_lease(LEASE, &holder, now_ms, now_ms + LEASE_MS)
                        .await?
                    {
                        return Ok::<_, CatalogError>(0);
                    }
                    tx.trim_jobs(now_ms - FINISHED_KEPT_MS).await
                })
            })
            .await?;
        Ok(swept)
    }

    async fn gauge(&self) -> Result<(), QueueError> {
        let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (kind, state, count) in self.catalog.job_counts().await? {
            let (waiting, running) = kinds.entry(kind).or_default();
            match state {
                JobState::Queued => *waiting += count,
                JobState::Running => *running += count,
                _ => {}
            }
        }
        for (kind, (waiting, running)) in kinds {
            metrics::gauge!(JOBS_WAITING, "kind" => kind.clone()).set(waiting as f64);
            metrics::gauge!(JOBS_RUNNING, "kind" => kind).set(running as f64);
        }
        Ok(())
    }
}
