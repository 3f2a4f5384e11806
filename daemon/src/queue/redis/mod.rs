//! The queue for workers on other machines: Redis streams with a consumer group.
//!
//! A worker needs Redis and nothing of the catalog: [`RedisQueue`].
//! The daemon runs a [`Dispatcher`] that feeds the streams from the rows and applies the reports to them.
//! Redis holds nothing that the rows do not: when it forgets (restart, `FLUSHALL`), the jobs are handed out again.
//! Needs Redis 6.2 for `XAUTOCLAIM`; a cluster is not supported, as one script touches several keys.

mod dispatcher;
mod link;
mod report;
mod scripts;

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Beat, Bell, Job, Lease, Progress, Queue, QueueError};
use crate::kernel::{Id, Millis};
use link::{Link, Listener};

pub use dispatcher::Dispatcher;

/// The one consumer group of every stream.
const GROUP: &str = "nebula";
/// The one consumer of the job streams: who holds a lease is told by the job's hash.
const CONSUMER: &str = "worker";
/// Prefix of the hashes of jobs.
const JOB_PREFIX: &str = "nebula:job:";
/// Reports for the daemon.
const DONE: &str = "nebula:done";
/// Renewed with each hand-out.
const WAKE: &str = "nebula:wake";
/// A hash that nobody renewed for so long belongs to a daemon that is gone.
const JOB_TTL_S: i64 = 7 * 24 * 3600;

/// Looked through in this order, so that a job a viewer waits for never stands behind one that nobody waits for.
const BANDS: [&str; 3] = ["high", "normal", "low"];

fn band(priority: i64) -> &'static str {
    match priority {
        1.. => BANDS[0],
        0 => BANDS[1],
        _ => BANDS[2],
    }
}

fn stream_of(kind: &str, band: &str) -> String {
    format!("nebula:jobs:{kind}:{band}")
}

fn hash_of(job: crate::kernel::JobId) -> String {
    format!("{JOB_PREFIX}{job}")
}

impl From<redis::RedisError> for QueueError {
    fn from(error: redis::RedisError) -> Self {
        Self::Redis(error.to_string())
    }
}

/// Asks Redis for a sign of life: for `nebulad check`.
///
/// # Errors
/// [`QueueError::Redis`] when the URL is none, nothing answers within a few seconds, or the password is refused.
pub async fn ping(url: &str) -> Result<(), QueueError> {
    Link::open(url)?.ping().await
}

/// Jobs for a worker, through Redis; cheap to clone.
#[derive(Clone)]
pub struct RedisQueue {
    link: Link,
    wake: Arc<Listener>,
    /// Wakes the other loops of this process.
    bell: Bell,
}

impl RedisQueue {
    /// A worker's queue; connects when first used, and again whenever the connection breaks.
    ///
    /// # Errors
    /// [`QueueError::Redis`] when the URL is none.
    pub fn worker(url: &str) -> Result<Self, QueueError> {
        Ok(Self {
            link: Link::open(url)?,
            wake: Arc::new(Listener::open(url, WAKE)?),
            bell: Bell::new(),
        })
    }

    async fn settle(
        &self,
        lease: &Lease,
        what: &str,
        body: &str,
        retryable: bool,
    ) -> Result<(), QueueError> {
        let (stream, entry) = &lease.entry;
        let (token, held) = split(&lease.token);
        let mut call = scripts::SETTLE.prepare_invoke();
        call.key(hash_of(lease.job.id)).key(stream).key(DONE);
        call.arg(GROUP).arg(entry).arg(held).arg(what);
        call.arg(lease.job.id.to_string()).arg(token);
        call.arg(lease.job.attempt).arg(&lease.worker).arg(body);
        call.arg(if retryable { "1" } else { "0" });
        let _settled: i64 = self.link.run(&call).await?;
        Ok(())
    }
}

/// The token of a lease holds that of the hand-out and that of the attempt.
fn split(token: &str) -> (&str, &str) {
    token.split_once('/').unwrap_or((token, ""))
}

fn corrupt(what: &str) -> QueueError {
    QueueError::Corrupt(format!("{what} of a job in Redis"))
}

#[async_trait]
impl Queue for RedisQueue {
    async fn lease(
        &self,
        worker: &str,
        kinds: &[&str],
        for_ms: Millis,
    ) -> Result<Option<Lease>, QueueError> {
        let held = Id::random().to_string();
        let mut call = scripts::LEASE.prepare_invoke();
        call.key(DONE);
        for band in BANDS {
            for kind in kinds {
                call.key(stream_of(kind, band));
            }
        }
        call.arg(GROUP).arg(CONSUMER).arg(for_ms).arg(&held);
        call.arg(worker).arg(JOB_PREFIX);
        let found: Option<Vec<String>> = self.link.run(&call).await?;
        let Some(found) = found else { return Ok(None) };
        let Ok(
            [
                stream,
                entry,
                id,
                kind,
                payload,
                token,
                attempt,
                most,
                priority,
            ],
        ) = <[String; 9]>::try_from(found)
        else {
            return Err(corrupt("the shape"));
        };
        // One entry of the wake stream may stand for several jobs: pass it on.
        self.bell.ring();
        Ok(Some(Lease {
            job: Job {
                id: id.parse().map_err(|_| corrupt("the id"))?,
                kind,
                payload: serde_json::from_str(&payload).map_err(|_| corrupt("the payload"))?,
                attempt: attempt.parse().map_err(|_| corrupt("the attempt"))?,
                attempts_max: most.parse().map_err(|_| corrupt("the attempts"))?,
                priority: priority.parse().map_err(|_| corrupt("the priority"))?,
            },
            worker: worker.into(),
            for_ms,
            token: format!("{token}/{held}"),
            entry: (stream, entry),
        }))
    }

    async fn heartbeat(&self, lease: &Lease, progress: &Progress) -> Result<Beat, QueueError> {
        let (stream, entry) = &lease.entry;
        let (_, held) = split(&lease.token);
        let mut call = scripts::BEAT.prepare_invoke();
        call.key(hash_of(lease.job.id)).key(stream);
        call.arg(GROUP).arg(CONSUMER).arg(entry).arg(held);
        call.arg(progress.fraction.clamp(0.0, 1.0));
        call.arg(&progress.stage).arg(JOB_TTL_S);
        let beat: String = self.link.run(&call).await?;
        Ok(match beat.as_str() {
            "continue" => Beat::Continue,
            "cancelled" => Beat::Cancelled,
            _ => Beat::Lost,
        })
    }

    async fn complete(&self, lease: &Lease, result: Value) -> Result<(), QueueError> {
        self.settle(lease, "done", &result.to_string(), false).await
    }

    async fn fail(&self, lease: &Lease, reason: &str, retryable: bool) -> Result<(), QueueError> {
        self.settle(lease, "failed", reason, retryable).await
    }

    async fn release(&self, lease: &Lease) -> Result<(), QueueError> {
        self.settle(lease, "released", "", false).await
    }

    async fn wait(&self, cancel: &CancellationToken) {
        tokio::select! {
            () = self.wake.heard(&self.bell) => {}
            () = self.bell.heard() => {}
            () = cancel.cancelled() => {}
        }
    }
}
