//! One attempt at a job: leased, kept alive, settled.
//!
//! The right to settle an attempt is its lease token.
//! A statement that finds another token changes nothing, so a worker that lost its job, or reports twice, does no harm.

use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use super::job::{JobRow, columns};
use crate::kernel::{JobId, Millis};

/// Progress of one job is told at most this often; its column is always exact.
const PROGRESS_EVENT_INTERVAL_MS: Millis = 1000;
/// Jobs that another worker takes from the caller's hands before it gives up and looks again later.
const RACES_MAX: usize = 32;

/// A lease to be taken.
#[derive(Clone, Debug)]
pub struct LeaseTerms {
    /// The worker, for people.
    pub holder: String,
    /// Unguessable; proves the right to settle.
    pub token: String,
    /// Now.
    pub now_ms: Millis,
    /// When another worker may take over.
    pub until_ms: Millis,
}

/// How an attempt failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Why, for people.
    pub reason: String,
    /// Whether another attempt could help.
    pub retryable: bool,
    /// When that may start.
    pub retry_at_ms: Millis,
}

/// The kinds come as `,index,ladder,`: one text for both databases, which have no common array.
pub(super) const NEXT: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM job WHERE state IN ('queued', 'running') AND $1 LIKE '%,' || kind || ',%' \
     AND ((state = 'queued' AND not_before_ms <= $2) OR (state = 'running' AND lease_until_ms <= $2)) \
     ORDER BY priority DESC, created_ms, id LIMIT 1"
);
pub(super) const LEASE: &str = concat!(
    "UPDATE job SET state = 'running', attempt = attempt + 1, lease_holder = $2, lease_token = $3, lease_until_ms = $4, \
     dispatched_ms = NULL, progress = 0, stage = '', started_ms = $5, updated_ms = $5, event_ms = $5 \
     WHERE id = $1 AND ((state = 'queued' AND not_before_ms <= $5) OR (state = 'running' AND lease_until_ms <= $5)) RETURNING ",
    columns!()
);
/// Ends a job that may not be started: cancelled while its worker vanished, too late, or out of attempts.
pub(super) const END: &str = concat!(
    "UPDATE job SET state = CASE WHEN cancel_requested THEN 'cancelled' WHEN deadline_ms <= $3 THEN 'failed' ELSE 'dead' END, \
     reason = CASE WHEN cancel_requested THEN reason WHEN deadline_ms <= $3 THEN 'it was not started in time' ELSE $2 END, \
     lease_token = NULL, lease_until_ms = 0, dispatched_ms = NULL, updated_ms = $3, event_ms = $3, finished_ms = $3 \
     WHERE id = $1 AND ((state = 'queued' AND not_before_ms <= $3) OR (state = 'running' AND lease_until_ms <= $3)) RETURNING ",
    columns!()
);
pub(super) const BEAT: &str = concat!(
    "UPDATE job SET progress = $3, stage = $4, lease_until_ms = $5, updated_ms = $6 \
     WHERE id = $1 AND lease_token = $2 AND state = 'running' RETURNING ",
    columns!()
);
pub(super) const TOLD: &str = "UPDATE job SET event_ms = $2 WHERE id = $1";
pub(super) const COMPLETE: &str = concat!(
    "UPDATE job SET state = 'done', progress = 1, stage = '', reason = NULL, result = $3, lease_token = NULL, lease_until_ms = 0, \
     dispatched_ms = NULL, updated_ms = $4, event_ms = $4, finished_ms = $4 \
     WHERE id = $1 AND lease_token = $2 AND state IN ('queued', 'running') RETURNING ",
    columns!()
);
pub(super) const FAIL: &str = concat!(
    "UPDATE job SET state = CASE WHEN cancel_requested THEN 'cancelled' WHEN NOT $4 THEN 'failed' \
     WHEN attempt >= attempts_max THEN 'dead' ELSE 'queued' END, \
     reason = CASE WHEN cancel_requested THEN reason ELSE $3 END, not_before_ms = $5, \
     finished_ms = CASE WHEN cancel_requested OR NOT $4 OR attempt >= attempts_max THEN $6 ELSE finished_ms END, \
     lease_token = NULL, lease_until_ms = 0, dispatched_ms = NULL, updated_ms = $6, event_ms = $6 \
     WHERE id = $1 AND lease_token = $2 AND state IN ('queued', 'running') RETURNING ",
    columns!()
);
pub(super) const RELEASE: &str = concat!(
    "UPDATE job SET state = CASE WHEN cancel_requested THEN 'cancelled' ELSE 'queued' END, \
     attempt = CASE WHEN state = 'running' AND attempt > 0 THEN attempt - 1 ELSE attempt END, progress = 0, stage = '', \
     finished_ms = CASE WHEN cancel_requested THEN $3 ELSE finished_ms END, lease_holder = NULL, lease_token = NULL, lease_until_ms = 0, \
     dispatched_ms = NULL, updated_ms = $3, event_ms = $3 \
     WHERE id = $1 AND lease_token = $2 AND state IN ('queued', 'running') RETURNING ",
    columns!()
);
pub(super) const QUEUED_KINDS: &str = "SELECT DISTINCT kind FROM job WHERE state = 'queued'";
pub(super) const UNDISPATCHED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM job WHERE state = 'queued' AND kind = $1 AND dispatched_ms IS NULL AND not_before_ms <= $2 \
     ORDER BY priority DESC, created_ms, id LIMIT $3"
);
pub(super) const DISPATCH: &str = concat!(
    "UPDATE job SET dispatched_ms = $3, lease_token = $2 WHERE id = $1 AND state = 'queued' AND dispatched_ms IS NULL RETURNING ",
    columns!()
);
pub(super) const DISPATCHED: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM job WHERE dispatched_ms IS NOT NULL ORDER BY dispatched_ms, id LIMIT $1"
);
pub(super) const STARTED: &str = concat!(
    "UPDATE job SET state = 'running', attempt = $4, lease_holder = $3, lease_until_ms = $5, progress = 0, stage = '', started_ms = $6, \
     updated_ms = $6, event_ms = $6 WHERE id = $1 AND lease_token = $2 AND state IN ('queued', 'running') AND attempt < $4 RETURNING ",
    columns!()
);
pub(super) const RECALLED: &str =
    "UPDATE job SET dispatched_ms = NULL WHERE id = $1 AND state NOT IN ('queued', 'running')";

impl Catalog {
    /// Up to `limit` jobs that were handed to Redis and not yet settled, the longest gone first.
    pub async fn dispatched_jobs(&self, limit: i64) -> Result<Vec<JobRow>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_as(DISPATCHED).bind(limit).fetch_all(pool).await)?)
    }

    /// The kinds of which a job is queued.
    pub async fn queued_kinds(&self) -> Result<Vec<String>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_scalar(QUEUED_KINDS).fetch_all(pool).await)?)
    }

    /// Up to `limit` jobs of a kind that are due and not yet handed to Redis, in the order they should start.
    pub async fn undispatched_jobs(
        &self,
        kind: &str,
        now_ms: Millis,
        limit: i64,
    ) -> Result<Vec<JobRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(UNDISPATCHED).bind(kind).bind(now_ms).bind(limit).fetch_all(pool).await)?,
        )
    }
}

/// Whether a job that comes up for a lease has to end instead.
fn must_end(row: &JobRow, now_ms: Millis) -> bool {
    row.cancel_requested
        || row.attempt >= row.attempts_max
        || row.deadline_ms.is_some_and(|deadline| deadline <= now_ms)
}

impl Tx {
    /// Leases the first due job of these kinds: highest priority, then oldest; a job whose lease ran out is due again.
    ///
    /// A due job that is out of attempts, cancelled or too late is ended on the way.
    pub async fn lease_job(
        &mut self,
        kinds: &[String],
        terms: &LeaseTerms,
    ) -> Result<Option<JobRow>, CatalogError> {
        let kinds = format!(",{},", kinds.join(","));
        for _ in 0..RACES_MAX {
            let next: Option<JobRow> = on_tx!(self, conn => sqlx::query_as(NEXT).bind(&kinds).bind(terms.now_ms).fetch_optional(conn).await)?;
            let Some(next) = next else { return Ok(None) };
            let id = next.id()?;
            if must_end(&next, terms.now_ms) {
                self.end_job(id, terms.now_ms).await?;
                continue;
            }
            // On PostgreSQL another worker may have been faster: then no row matches any more.
            let row: Option<JobRow> = on_tx!(self, conn => sqlx::query_as(LEASE)
                .bind(id.to_string())
                .bind(&terms.holder)
                .bind(&terms.token)
                .bind(terms.until_ms)
                .bind(terms.now_ms)
                .fetch_optional(conn).await)?;
            if row.is_some() {
                return self.tell_job(row, terms.now_ms).await;
            }
        }
        Ok(None)
    }

    /// Ends a due job that may not be started (again).
    async fn end_job(&mut self, id: JobId, now_ms: Millis) -> Result<(), CatalogError> {
        let reason = "its worker vanished on the last attempt";
        let row = on_tx!(self, conn => sqlx::query_as(END)
            .bind(id.to_string())
            .bind(reason)
            .bind(now_ms)
            .fetch_optional(conn).await)?;
        self.tell_job(row, now_ms).await.map(|_| ())
    }

    /// Notes progress and prolongs the lease; `None` when the lease is lost.
    pub async fn beat_job(
        &mut self,
        id: JobId,
        progress: f64,
        stage: &str,
        terms: &LeaseTerms,
    ) -> Result<Option<JobRow>, CatalogError> {
        let row: Option<JobRow> = on_tx!(self, conn => sqlx::query_as(BEAT)
            .bind(id.to_string())
            .bind(&terms.token)
            .bind(progress)
            .bind(stage)
            .bind(terms.until_ms)
            .bind(terms.now_ms)
            .fetch_optional(conn).await)?;
        match row {
            Some(row) if terms.now_ms - row.event_ms >= PROGRESS_EVENT_INTERVAL_MS => {
                on_tx!(self, conn => sqlx::query(TOLD).bind(id.to_string()).bind(terms.now_ms).execute(conn).await.map(|_| ()))?;
                self.tell_job(Some(row), terms.now_ms).await
            }
            row => Ok(row),
        }
    }

    /// Ends a job well; `None` when the token is not that of the running attempt.
    pub async fn complete_job(
        &mut self,
        id: JobId,
        token: &str,
        result: &serde_json::Value,
        now_ms: Millis,
    ) -> Result<Option<JobRow>, CatalogError> {
        let row = on_tx!(self, conn => sqlx::query_as(COMPLETE)
            .bind(id.to_string())
            .bind(token)
            .bind(result.to_string())
            .bind(now_ms)
            .fetch_optional(conn).await)?;
        self.tell_job(row, now_ms).await
    }

    /// Ends an attempt badly: queued again, failed, dead or, when that was asked for, cancelled. `None` when the token is not that of the running attempt.
    pub async fn fail_job(
        &mut self,
        id: JobId,
        token: &str,
        failure: &Failure,
        now_ms: Millis,
    ) -> Result<Option<JobRow>, CatalogError> {
        let row = on_tx!(self, conn => sqlx::query_as(FAIL)
            .bind(id.to_string())
            .bind(token)
            .bind(&failure.reason)
            .bind(failure.retryable)
            .bind(failure.retry_at_ms)
            .bind(now_ms)
            .fetch_optional(conn).await)?;
        self.tell_job(row, now_ms).await
    }

    /// Hands a job back as if this attempt had not been; `None` when the token is not that of the running attempt.
    pub async fn release_job(
        &mut self,
        id: JobId,
        token: &str,
        now_ms: Millis,
    ) -> Result<Option<JobRow>, CatalogError> {
        let row = on_tx!(self, conn => sqlx::query_as(RELEASE).bind(id.to_string()).bind(token).bind(now_ms).fetch_optional(conn).await)?;
        self.tell_job(row, now_ms).await
    }

    /// Marks a queued job as handed to Redis under a token; `None` when it is not to be handed out any more.
    ///
    /// A job that is out of attempts or too late is ended instead.
    pub async fn dispatch_job(
        &mut self,
        row: &JobRow,
        token: &str,
        now_ms: Millis,
    ) -> Result<Option<JobRow>, CatalogError> {
        let id = row.id()?;
        if must_end(row, now_ms) {
            self.end_job(id, now_ms).await?;
            return Ok(None);
        }
        Ok(on_tx!(self, conn => sqlx::query_as(DISPATCH)
            .bind(id.to_string())
            .bind(token)
            .bind(now_ms)
            .fetch_optional(conn).await)?)
    }

    /// Notes that a remote worker began an attempt; `None` when that is known or the job was dispatched anew.
    pub async fn start_job(
        &mut self,
        id: JobId,
        attempt: i64,
        terms: &LeaseTerms,
    ) -> Result<Option<JobRow>, CatalogError> {
        let row = on_tx!(self, conn => sqlx::query_as(STARTED)
            .bind(id.to_string())
            .bind(&terms.token)
            .bind(&terms.holder)
            .bind(attempt)
            .bind(terms.until_ms)
            .bind(terms.now_ms)
            .fetch_optional(conn).await)?;
        self.tell_job(row, terms.now_ms).await
    }

    /// Notes that Redis no longer holds a job that has ended.
    pub async fn recall_job(&mut self, id: JobId) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(RECALLED).bind(id.to_string()).execute(conn).await.map(|_| ()))?;
        Ok(())
    }
}
