//! The queue without a server: leases are taken on the catalog's rows.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Beat, Bell, Job, Lease, Progress, Queue, QueueError, retry_delay_ms};
use crate::catalog::{Catalog, CatalogError, Failure, JobRow, LeaseTerms};
use crate::kernel::{Clock, Id, Millis};

/// How often a worker looks by itself: for retries that came due, leases that ran out, and jobs another daemon inserted.
const POLL: Duration = Duration::from_secs(1);

/// Jobs for the workers of this process; cheap to clone.
#[derive(Clone)]
pub struct Embedded {
    catalog: Catalog,
    clock: Clock,
    bell: Bell,
}

impl Embedded {
    /// A queue over the catalog's rows; whoever inserts jobs rings `bell`.
    pub fn new(catalog: Catalog, clock: Clock, bell: Bell) -> Self {
        Self {
            catalog,
            clock,
            bell,
        }
    }

    fn terms(&self, lease: &Lease) -> LeaseTerms {
        let now_ms = self.clock.now_ms();
        LeaseTerms {
            holder: lease.worker.clone(),
            token: lease.token.clone(),
            now_ms,
            until_ms: now_ms.saturating_add(lease.for_ms),
        }
    }
}

impl Job {
    /// What a worker needs of a row.
    pub(super) fn from_row(row: &JobRow) -> Result<Self, CatalogError> {
        Ok(Self {
            id: row.id()?,
            kind: row.kind.clone(),
            payload: row.payload()?,
            attempt: row.attempt as u32,
            attempts_max: row.attempts_max as u32,
            priority: row.priority,
        })
    }
}

#[async_trait]
impl Queue for Embedded {
    async fn lease(
        &self,
        worker: &str,
        kinds: &[&str],
        for_ms: Millis,
    ) -> Result<Option<Lease>, QueueError> {
        let now_ms = self.clock.now_ms();
        let terms = LeaseTerms {
            holder: worker.into(),
            token: Id::random().to_string(),
            now_ms,
            until_ms: now_ms.saturating_add(for_ms),
        };
        let token = terms.token.clone();
        let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let row = self
            .catalog
            .write(move |tx| Box::pin(async move { tx.lease_job(&kinds, &terms).await }))
            .await?;
        let Some(row) = row else { return Ok(None) };
        // One ring may stand for several jobs: pass it on.
        self.bell.ring();
        Ok(Some(Lease {
            job: Job::from_row(&row)?,
            worker: worker.into(),
            for_ms,
            token,
            entry: Default::default(),
        }))
    }

    async fn heartbeat(&self, lease: &Lease, progress: &Progress) -> Result<Beat, QueueError> {
        let (id, terms) = (lease.job.id, self.terms(lease));
        let Progress { fraction, stage } = progress.clone();
        let fraction = fraction.clamp(0.0, 1.0);
        let row = self
            .catalog
            .write(move |tx| {
                Box::pin(async move { tx.beat_job(id, fraction, &stage, &terms).await })
            })
            .await?;
        Ok(match row {
            None => Beat::Lost,
            Some(row) if row.cancel_requested => Beat::Cancelled,
            Some(_) => Beat::Continue,
        })
    }

    async fn complete(&self, lease: &Lease, result: Value) -> Result<(), QueueError> {
        let (id, terms) = (lease.job.id, self.terms(lease));
        self.catalog
            .write(move |tx| {
                Box::pin(async move {
                    tx.complete_job(id, &terms.token, &result, terms.now_ms)
                        .await
                })
            })
            .await
            .map(super::count_outcome)
            .map_err(QueueError::from)
    }

    async fn fail(&self, lease: &Lease, reason: &str, retryable: bool) -> Result<(), QueueError> {
        let (id, terms) = (lease.job.id, self.terms(lease));
        let failure = Failure {
            reason: reason.into(),
            retryable,
            retry_at_ms: terms.now_ms + retry_delay_ms(id, lease.job.attempt),
        };
        self.catalog
            .write(move |tx| {
                Box::pin(async move { tx.fail_job(id, &terms.token, &failure, terms.now_ms).await })
            })
            .await
            .map(super::count_outcome)
            .map_err(QueueError::from)
    }

    async fn release(&self, lease: &Lease) -> Result<(), QueueError> {
        let (id, terms) = (lease.job.id, self.terms(lease));
        self.catalog
            .write(move |tx| {
                Box::pin(async move { tx.release_job(id, &terms.token, terms.now_ms).await })
            })
            .await?;
        self.bell.ring();
        Ok(())
    }

    async fn wait(&self, cancel: &CancellationToken) {
        tokio::select! {
            () = self.bell.heard() => {}
            () = tokio::time::sleep(POLL) => {}
            () = cancel.cancelled() => {}
        }
    }
}
