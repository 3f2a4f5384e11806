//! Jobs: leased, kept alive, retried, given up; carried by the catalog alone or by Redis to workers elsewhere.
//!
//! A job is a row of the catalog, inserted in the transaction of the change that causes it (`Tx::insert_job`); whoever commits that rings the [`Bell`].
//! A worker loop asks a [`Queue`] for a [`Lease`], reports a heartbeat while it works, and settles it: complete, fail or release.
//! With [`Embedded`] the lease is taken on the row itself.
//! With Redis a dispatcher copies due rows into streams, workers lease from these, and their outcomes come back through a stream that the daemon applies to the rows.
//!
//! What is promised: a job that was committed is run at least once or ends in a state that says why not; it may run twice, never be forgotten.
//! Higher priority goes first, then age.
//! A worker that vanishes loses its lease, and another takes over with the attempt counted.
//! The room knows no kind of job: what a payload means is the worker's affair.

mod backoff;
mod bell;
mod embedded;
mod jobs;
mod redis;
mod sweep;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::catalog::{CatalogError, JobRow};
use crate::kernel::{JobId, Millis};
use crate::telemetry::metrics::{JOB_SECONDS, JOBS_FINISHED_TOTAL};

pub use self::redis::{Dispatcher, RedisQueue, ping as ping_redis};
pub use backoff::retry_delay_ms;
pub use bell::Bell;
pub use embedded::Embedded;
pub use jobs::{Changed, Jobs};
pub use sweep::{FINISHED_KEPT_MS, Sweeper};

/// The kinds of job the appliance makes today; the set is open.
pub mod kind {
    /// Read a content as media: container, tracks, keyframes, poster.
    pub const INDEX: &str = "index";
    /// Make the rungs below the original.
    pub const LADDER: &str = "ladder";
    /// Make a sound track that every player takes.
    pub const SOUND: &str = "sound";
    /// Read the texts of a film, or a file of subtitles.
    pub const SUBTITLES: &str = "subtitles";
    /// Make small pictures for seeking.
    pub const STORYBOARD: &str = "storyboard";
    /// All of them.
    pub const ALL: [&str; 5] = [INDEX, SUBTITLES, SOUND, LADDER, STORYBOARD];
}

/// What a caller can act on.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// The rows cannot be read or written now.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Redis cannot be reached or refuses; trying again later may help.
    #[error("the job queue in Redis is not available: {0}")]
    Redis(String),
    /// A queue holds what this version cannot read.
    #[error("the job queue holds what this version cannot read: {0}")]
    Corrupt(String),
}

/// What a worker is given to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What is to be done.
    pub kind: String,
    /// What the worker needs to know.
    pub payload: Value,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// After this many it is dead.
    pub attempts_max: u32,
    /// Higher first; above 0 a viewer waits.
    pub priority: i64,
}

/// The right to work on a job and to settle it, for a while.
#[derive(Clone, Debug)]
pub struct Lease {
    /// What is to be done.
    pub job: Job,
    /// The worker, as it named itself.
    pub worker: String,
    /// How long the lease lives after each heartbeat.
    pub for_ms: Millis,
    /// Proves this attempt; opaque.
    pub token: String,
    /// Where the job lies in Redis: stream and entry; empty in the embedded queue.
    entry: (String, String),
}

/// How far a worker has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// 0 to 1.
    pub fraction: f64,
    /// What it is doing now, in a word or two.
    pub stage: String,
}

/// What a heartbeat tells the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// The lease is prolonged.
    Continue,
    /// Someone asked for the job's end: stop, then [`Queue::fail`] (any reason; the job becomes cancelled).
    Cancelled,
    /// Another worker has the job, or it has ended: stop and report nothing.
    Lost,
}

/// Where worker loops get their jobs.
#[async_trait]
pub trait Queue: Send + Sync {
    /// The first due job of these kinds, for `for_ms` from now; `None` when there is none.
    ///
    /// Every worker of a kind asks for the same `for_ms`: with Redis it is also how long another worker's silence must last before its job is taken over.
    async fn lease(
        &self,
        worker: &str,
        kinds: &[&str],
        for_ms: Millis,
    ) -> Result<Option<Lease>, QueueError>;

    /// Notes progress and prolongs the lease; to be called at least three times within its life.
    async fn heartbeat(&self, lease: &Lease, progress: &Progress) -> Result<Beat, QueueError>;

    /// Ends the job well. A lease that was lost, or was settled before, is left alone.
    async fn complete(&self, lease: &Lease, result: Value) -> Result<(), QueueError>;

    /// Ends the attempt badly. A retryable failure is tried again after a growing pause until the attempts are used up; any other ends the job.
    async fn fail(&self, lease: &Lease, reason: &str, retryable: bool) -> Result<(), QueueError>;

    /// Hands the job back unharmed, its attempt not counted: for a worker that is shutting down.
    async fn release(&self, lease: &Lease) -> Result<(), QueueError>;

    /// Returns when there may be work, after a bounded time in any case, or when `cancel` is cancelled.
    async fn wait(&self, cancel: &CancellationToken);
}

/// A shared queue of either kind.
pub type SharedQueue = Arc<dyn Queue>;

/// Counts an attempt that ended its job; a retry to come, and a report that came too late, count as nothing.
fn count_outcome(row: Option<JobRow>) {
    let Some(row) = row else { return };
    let Ok(state) = row.state() else { return };
    if state.is_active() {
        return;
    }
    let ran_ms = row
        .finished_ms
        .zip(row.started_ms)
        .map(|(to, from)| to - from);
    metrics::counter!(JOBS_FINISHED_TOTAL, "kind" => row.kind.clone(), "outcome" => state.as_str())
        .increment(1);
    metrics::histogram!(JOB_SECONDS, "kind" => row.kind)
        .record(ran_ms.unwrap_or_default() as f64 / 1000.0);
}
