//! What people and doors ask of jobs: list, count, cancel, retry, insert.

use super::{Bell, QueueError};
use crate::catalog::{Catalog, JobCursor, JobFilter, JobRow, JobState, NewJob};
use crate::kernel::{Clock, JobId, Millis};

/// The front desk; cheap to clone. It works the same whatever carries the jobs.
#[derive(Clone)]
pub struct Jobs {
    catalog: Catalog,
    clock: Clock,
    bell: Bell,
}

/// What became of a request to change a job.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed {
    /// Changed; the job as it is now.
    Yes(Box<JobRow>),
    /// The job's state does not allow it; the job as it is.
    No(Box<JobRow>),
    /// There is no such job.
    Absent,
}

impl Jobs {
    /// A desk over the catalog's rows.
    pub fn new(catalog: Catalog, clock: Clock, bell: Bell) -> Self {
        Self {
            catalog,
            clock,
            bell,
        }
    }

    /// The bell that whoever commits `Tx::insert_job` in a transaction of its own has to ring.
    pub fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Queues a job that follows from no other change; `false` when its idempotency key is taken.
    pub async fn insert(&self, new: NewJob) -> Result<bool, QueueError> {
        let inserted = self
            .catalog
            .write(move |tx| Box::pin(async move { tx.insert_job(&new).await }))
            .await?;
        self.bell.ring();
        Ok(inserted)
    }

    /// One job.
    pub async fn get(&self, id: JobId) -> Result<Option<JobRow>, QueueError> {
        Ok(self.catalog.job(id).await?)
    }

    /// Up to `limit` jobs behind `after`, newest first.
    pub async fn list(
        &self,
        filter: &JobFilter,
        after: Option<&JobCursor>,
        limit: u32,
    ) -> Result<Vec<JobRow>, QueueError> {
        Ok(self.catalog.jobs(filter, after, i64::from(limit)).await?)
    }

    /// How many jobs of each kind are in each state: (kind, state, count).
    pub async fn counts(&self) -> Result<Vec<(String, JobState, u64)>, QueueError> {
        Ok(self.catalog.job_counts().await?)
    }

    /// Asks for a job's end: a queued one is cancelled at once, a running one when its worker next reports.
    pub async fn cancel(&self, id: JobId, reason: &str) -> Result<Changed, QueueError> {
        let (reason, now_ms) = (reason.to_owned(), self.now_ms());
        let row = self
            .catalog
            .write(move |tx| Box::pin(async move { tx.cancel_job(id, &reason, now_ms).await }))
            .await?;
        self.changed(id, row).await
    }

    /// Queues a failed, cancelled or dead job again with all its attempts.
    pub async fn retry(&self, id: JobId) -> Result<Changed, QueueError> {
        let now_ms = self.now_ms();
        let row = self
            .catalog
            .write(move |tx| Box::pin(async move { tx.retry_job(id, now_ms).await }))
            .await?;
        self.changed(id, row).await
    }

    fn now_ms(&self) -> Millis {
        self.clock.now_ms()
    }

    async fn changed(&self, id: JobId, row: Option<JobRow>) -> Result<Changed, QueueError> {
        if let Some(row) = row {
            self.bell.ring();
            return Ok(Changed::Yes(Box::new(row)));
        }
        let row = self.catalog.job(id).await?;
        Ok(row.map_or(Changed::Absent, |row| Changed::No(Box::new(row))))
    }
}
