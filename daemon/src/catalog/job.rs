//! Jobs: the work that follows a change, as rows; what people ask of them.
//!
//! A job is inserted in the transaction of the change that causes it, and every change of its state leaves an event.
//! How an attempt is leased and settled is in `job_run`.

use serde_json::{Value, json};
use sqlx::FromRow;

use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use super::event::{EventKind, NewEvent};
use super::lookup::from_sqlite;
use crate::kernel::{BucketName, JobId, Millis, ObjectKey, VersionId};

/// Attempts of a job whose maker does not say otherwise.
pub const ATTEMPTS_DEFAULT: u32 = 5;
/// Finished jobs removed by one transaction of the sweeper.
const TRIM_ROWS_MAX: i64 = 1000;

/// The life of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum JobState {
    /// Waiting for a worker, or for the time of its next attempt.
    Queued,
    /// Leased by a worker.
    Running,
    /// Ended well.
    Done,
    /// Ended badly; no further attempt could help.
    Failed,
    /// Ended because someone said so.
    Cancelled,
    /// Given up after every attempt: the dead letter.
    Dead,
}

impl JobState {
    /// Every state, in the order a person would list them.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Cancelled,
        Self::Dead,
    ];

    /// As stored and as the JSON API shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }

    /// Reads what [`JobState::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == text)
    }

    /// Whether it may still change by itself.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

/// The object a job works on, by name: what people see beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobObject {
    /// Its bucket.
    pub bucket: BucketName,
    /// Its key.
    pub key: ObjectKey,
    /// The version.
    pub version: VersionId,
}

/// A job to be queued.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// What is to be done: lower-case letters, digits and `-`.
    pub kind: String,
    /// What the worker needs to know.
    pub payload: Value,
    /// While a job with this key is queued or running, a second one is not inserted.
    pub idempotency_key: Option<String>,
    /// Higher first; above 0 a viewer waits, below 0 nobody does.
    pub priority: i64,
    /// The job it belongs to.
    pub parent: Option<JobId>,
    /// The object it works on.
    pub object: Option<JobObject>,
    /// After this many attempts it is dead; at least 1.
    pub attempts_max: u32,
    /// Not to be started before this; 0 for at once.
    pub not_before_ms: Millis,
    /// Not to be started after this.
    pub deadline_ms: Option<Millis>,
    /// Now.
    pub created_ms: Millis,
}

impl NewJob {
    /// A job of ordinary priority, to be started at once.
    pub fn new(kind: &str, payload: Value, now_ms: Millis) -> Self {
        Self {
            id: JobId::random(),
            kind: kind.into(),
            payload,
            idempotency_key: None,
            priority: 0,
            parent: None,
            object: None,
            attempts_max: ATTEMPTS_DEFAULT,
            not_before_ms: 0,
            deadline_ms: None,
            created_ms: now_ms,
        }
    }

    /// Queued once, however often the same change is seen.
    #[must_use]
    pub fn once(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// With a priority; higher first.
    #[must_use]
    pub fn priority(mut self, priority: i64) -> Self {
        self.priority = priority;
        self
    }

    /// About an object.
    #[must_use]
    pub fn about(mut self, object: JobObject) -> Self {
        self.object = Some(object);
        self
    }
}

/// A row of `job`.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct JobRow {
    id: String,
    /// What is to be done.
    pub kind: String,
    state: String,
    /// Higher first.
    pub priority: i64,
    payload: String,
    /// While this job is active, no second one with the key is inserted.
    pub idempotency_key: Option<String>,
    /// Id of the job it belongs to.
    pub parent: Option<String>,
    bucket: Option<String>,
    key: Option<Vec<u8>>,
    version_id: Option<String>,
    /// Which attempt this is, from 1; 0 before the first.
    pub attempt: i64,
    /// After this many it is dead.
    pub attempts_max: i64,
    /// Not to be started before this.
    pub not_before_ms: Millis,
    /// Not to be started after this.
    pub deadline_ms: Option<Millis>,
    /// The worker.
    pub lease_holder: Option<String>,
    /// Proves the right to settle the running attempt.
    pub lease_token: Option<String>,
    /// When another worker may take over.
    pub lease_until_ms: Millis,
    /// Whether someone asked for its end.
    pub cancel_requested: bool,
    /// 0 to 1.
    pub progress: f64,
    /// What it is doing now, in a word or two; empty when unknown.
    pub stage: String,
    /// Why the last attempt failed, or who cancelled it.
    pub reason: Option<String>,
    result: Option<String>,
    /// When it was handed to Redis.
    pub dispatched_ms: Option<Millis>,
    /// When it was asked for.
    pub created_ms: Millis,
    /// When it last changed.
    pub updated_ms: Millis,
    /// When its last event was written.
    pub event_ms: Millis,
    /// When its latest attempt began.
    pub started_ms: Option<Millis>,
    /// When it ended, one way or the other.
    pub finished_ms: Option<Millis>,
}

from_sqlite! { JobRow:
    id kind state priority payload idempotency_key parent bucket key version_id attempt attempts_max
    not_before_ms deadline_ms lease_holder lease_token lease_until_ms cancel_requested progress stage reason
    result dispatched_ms created_ms updated_ms event_ms started_ms finished_ms
}

impl JobRow {
    /// The id.
    pub fn id(&self) -> Result<JobId, CatalogError> {
        self.id
            .parse()
            .map_err(|_| CatalogError::Corrupt(format!("job.id {}", self.id)))
    }

    /// The state.
    pub fn state(&self) -> Result<JobState, CatalogError> {
        JobState::parse(&self.state)
            .ok_or_else(|| CatalogError::Corrupt(format!("job.state {}", self.state)))
    }

    /// What the worker needs to know.
    pub fn payload(&self) -> Result<Value, CatalogError> {
        serde_json::from_str(&self.payload)
            .map_err(|e| CatalogError::Corrupt(format!("job.payload of {}: {e}", self.id)))
    }

    /// What a job that is done left behind.
    pub fn result(&self) -> Option<Value> {
        self.result
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok())
    }

    /// The bucket of the object it works on.
    pub fn bucket(&self) -> Option<&str> {
        self.bucket.as_deref()
    }

    /// The key of the object it works on.
    pub fn key(&self) -> Option<String> {
        let key = self.key.as_deref()?;
        Some(String::from_utf8_lossy(key).into_owned())
    }

    /// The version of the object it works on.
    pub fn version_id(&self) -> Option<&str> {
        self.version_id.as_deref()
    }

    /// Where a listing goes on behind this row.
    pub fn cursor(&self) -> JobCursor {
        JobCursor {
            created_ms: self.created_ms,
            id: self.id.clone(),
        }
    }

    /// The job as clients see it, in the field names of the JSON API; also the payload of its events.
    pub fn to_json(&self) -> Value {
        let mut job = json!({
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "progress": self.progress,
            "attempt": self.attempt,
            "max_attempts": self.attempts_max,
            "created_at_ms": self.created_ms,
            "updated_at_ms": self.updated_ms,
        });
        let waits = self.state == JobState::Queued.as_str() && self.not_before_ms > 0;
        let object = self.bucket.as_ref().map(|bucket| {
            let mut object = json!({ "bucket": bucket, "key": self.key().unwrap_or_default() });
            if let Some(version) = &self.version_id {
                object["version"] = json!(version);
            }
            object
        });
        let optional = [
            ("stage", (!self.stage.is_empty()).then(|| json!(self.stage))),
            ("reason", self.reason.as_ref().map(|v| json!(v))),
            ("object", object),
            ("worker", self.lease_holder.as_ref().map(|v| json!(v))),
            ("started_at_ms", self.started_ms.map(|v| json!(v))),
            ("finished_at_ms", self.finished_ms.map(|v| json!(v))),
            ("not_before_at_ms", waits.then(|| json!(self.not_before_ms))),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                job[name] = value;
            }
        }
        job
    }
}

/// Where a listing of jobs goes on: behind this one, towards the older.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobCursor {
    /// When the last job shown was asked for.
    pub created_ms: Millis,
    /// Its id.
    pub id: String,
}

/// Which jobs a listing shows.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Only this state.
    pub state: Option<JobState>,
    /// Only this kind.
    pub kind: Option<String>,
}

/// The columns of [`JobRow`].
macro_rules! columns {
    () => {
        "id, kind, state, priority, payload, idempotency_key, parent, bucket, key, version_id, attempt, attempts_max, \
         not_before_ms, deadline_ms, lease_holder, lease_token, lease_until_ms, cancel_requested, progress, stage, reason, result, \
         dispatched_ms, created_ms, updated_ms, event_ms, started_ms, finished_ms"
    };
}
pub(super) use columns;

pub(super) const INSERT: &str = concat!(
    "INSERT INTO job (id, kind, state, priority, payload, idempotency_key, parent, bucket, key, version_id, attempts_max, not_before_ms, \
     deadline_ms, created_ms, updated_ms, event_ms) \
     VALUES ($1, $2, 'queued', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13, $13) \
     ON CONFLICT (tenant, idempotency_key) WHERE idempotency_key IS NOT NULL AND state IN ('queued', 'running') DO NOTHING RETURNING ",
    columns!()
);
pub(super) const GET: &str = concat!("SELECT ", columns!(), " FROM job WHERE id = $1");
pub(super) const ACTIVE_WITH_KEY: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM job WHERE tenant = 'default' AND idempotency_key = $1 AND state IN ('queued', 'running')"
);
/// An empty text means no filter.
pub(super) const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM job WHERE tenant = 'default' AND ($1 = '' OR state = $1) AND ($2 = '' OR kind = $2) \
     AND (created_ms < $3 OR (created_ms = $3 AND id < $4)) ORDER BY created_ms DESC, id DESC LIMIT $5"
);
pub(super) const COUNT: &str = "SELECT kind, state, COUNT(*) FROM job WHERE tenant = 'default' GROUP BY kind, state ORDER BY kind, state";
pub(super) const CANCEL: &str = concat!(
    "UPDATE job SET cancel_requested = TRUE, reason = $2, updated_ms = $3, event_ms = $3, \
     finished_ms = CASE WHEN state = 'queued' THEN $3 ELSE finished_ms END, \
     state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END \
     WHERE id = $1 AND state IN ('queued', 'running') AND NOT cancel_requested RETURNING ",
    columns!()
);
/// A retry would break the rule of one active job per idempotency key when a newer job has taken its place.
pub(super) const RETRY: &str = concat!(
    "UPDATE job SET state = 'queued', attempt = 0, not_before_ms = 0, deadline_ms = NULL, lease_holder = NULL, lease_token = NULL, \
     lease_until_ms = 0, cancel_requested = FALSE, progress = 0, stage = '', reason = NULL, result = NULL, dispatched_ms = NULL, \
     updated_ms = $2, event_ms = $2, started_ms = NULL, finished_ms = NULL \
     WHERE id = $1 AND state IN ('failed', 'cancelled', 'dead') AND NOT EXISTS (SELECT 1 FROM job AS other \
     WHERE other.tenant = job.tenant AND other.idempotency_key = job.idempotency_key AND other.state IN ('queued', 'running')) RETURNING ",
    columns!()
);
pub(super) const TRIM: &str = "DELETE FROM job WHERE id IN \
     (SELECT id FROM job WHERE finished_ms IS NOT NULL AND finished_ms < $1 ORDER BY finished_ms LIMIT $2)";

impl Catalog {
    /// One job.
    pub async fn job(&self, id: JobId) -> Result<Option<JobRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(GET).bind(id.to_string()).fetch_optional(pool).await)?,
        )
    }

    /// The job that is queued or running under an idempotency key.
    pub async fn active_job(&self, key: &str) -> Result<Option<JobRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(ACTIVE_WITH_KEY).bind(key).fetch_optional(pool).await)?,
        )
    }

    /// Up to `limit` jobs behind `after`, newest first.
    pub async fn jobs(
        &self,
        filter: &JobFilter,
        after: Option<&JobCursor>,
        limit: i64,
    ) -> Result<Vec<JobRow>, CatalogError> {
        let state = filter.state.map_or("", JobState::as_str);
        let kind = filter.kind.as_deref().unwrap_or("");
        let (created_ms, id) = after.map_or((Millis::MAX, ""), |c| (c.created_ms, c.id.as_str()));
        Ok(on_pool!(self, pool => sqlx::query_as(LIST)
            .bind(state)
            .bind(kind)
            .bind(created_ms)
            .bind(id)
            .bind(limit)
            .fetch_all(pool).await)?)
    }

    /// How many jobs of each kind are in each state: (kind, state, count).
    pub async fn job_counts(&self) -> Result<Vec<(String, JobState, u64)>, CatalogError> {
        let rows: Vec<(String, String, i64)> =
            on_pool!(self, pool => sqlx::query_as(COUNT).fetch_all(pool).await)?;
        let count = |(kind, state, count): (String, String, i64)| {
            let state = JobState::parse(&state)
                .ok_or_else(|| CatalogError::Corrupt(format!("job.state {state}")))?;
            Ok((kind, state, count as u64))
        };
        rows.into_iter().map(count).collect()
    }
}

impl Tx {
    /// Queues a job; `false` when one with its idempotency key is queued or running already.
    ///
    /// Whoever commits the transaction then rings the queue's bell, so that a worker need not wait for its next look.
    pub async fn insert_job(&mut self, new: &NewJob) -> Result<bool, CatalogError> {
        let object = new.object.as_ref();
        let row: Option<JobRow> = on_tx!(self, conn => sqlx::query_as(INSERT)
            .bind(new.id.to_string())
            .bind(&new.kind)
            .bind(new.priority)
            .bind(new.payload.to_string())
            .bind(&new.idempotency_key)
            .bind(new.parent.map(|id| id.to_string()))
            .bind(object.map(|o| o.bucket.as_str()))
            .bind(object.map(|o| o.key.as_bytes()))
            .bind(object.map(|o| o.version.as_str()))
            .bind(i64::from(new.attempts_max.max(1)))
            .bind(new.not_before_ms)
            .bind(new.deadline_ms)
            .bind(new.created_ms)
            .fetch_optional(conn).await)?;
        self.tell_job(row, new.created_ms)
            .await
            .map(|row| row.is_some())
    }

    /// Asks for a job's end: a queued one is cancelled at once, a running one when its worker next reports. `None` when it has ended or was asked before.
    pub async fn cancel_job(
        &mut self,
        id: JobId,
        reason: &str,
        now_ms: Millis,
    ) -> Result<Option<JobRow>, CatalogError> {
        let row = on_tx!(self, conn => sqlx::query_as(CANCEL)
            .bind(id.to_string())
            .bind(reason)
            .bind(now_ms)
            .fetch_optional(conn).await)?;
        self.tell_job(row, now_ms).await
    }

    /// Queues a failed, cancelled or dead job again with all its attempts. `None` when it is in another state or a newer job does the same work.
    pub async fn retry_job(
        &mut self,
        id: JobId,
        now_ms: Millis,
    ) -> Result<Option<JobRow>, CatalogError> {
        let row = on_tx!(self, conn => sqlx::query_as(RETRY).bind(id.to_string()).bind(now_ms).fetch_optional(conn).await)?;
        self.tell_job(row, now_ms).await
    }

    /// Forgets some of the jobs that ended before `before_ms`; how many.
    pub async fn trim_jobs(&mut self, before_ms: Millis) -> Result<u64, CatalogError> {
        Ok(on_tx!(self, conn => sqlx::query(TRIM)
            .bind(before_ms)
            .bind(TRIM_ROWS_MAX)
            .execute(conn).await.map(|done| done.rows_affected()))?)
    }

    /// Writes the event of a changed row and hands the row on.
    pub(super) async fn tell_job(
        &mut self,
        row: Option<JobRow>,
        now_ms: Millis,
    ) -> Result<Option<JobRow>, CatalogError> {
        if let Some(row) = &row {
            self.insert_event(&NewEvent {
                time_ms: now_ms,
                kind: EventKind::JobChanged,
                bucket: row.bucket.clone(),
                key: row.key(),
                version_id: row.version_id.clone(),
                payload: row.to_json().to_string(),
            })
            .await?;
        }
        Ok(row)
    }
}
