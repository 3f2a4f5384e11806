//! The daemon's end of Redis: rows out, reports in.
//!
//! One of the overlapping daemons holds the lease and does, in rounds: apply the reports, compare what Redis holds with the rows, hand out due jobs.
//! Every step may be repeated: a row carries the token of its hand-out, and whatever bears another token is void.

use std::collections::HashMap;
use std::time::Duration;

use redis::streams::StreamReadReply;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::link::{Link, Listener};
use super::report::{ROW_LEASE_MS, Report};
use super::{DONE, GROUP, JOB_TTL_S, WAKE, band, hash_of, scripts, stream_of};
use crate::catalog::{Catalog, JobRow, JobState, LeaseTerms};
use crate::kernel::{Clock, Id, Millis};
use crate::queue::{Bell, QueueError};
use crate::telemetry::metrics::QUEUE_REDIS_UP;

/// The lease that only one of two overlapping daemons holds.
const LEASE: &str = "queue.dispatcher";
/// How long that lease lives without a round.
const LEASE_MS: Millis = 15_000;
/// The longest pause between two rounds.
const INTERVAL: Duration = Duration::from_secs(1);
/// Jobs of one kind that are with Redis at a time; the rest wait in the rows, where priority orders them.
const WINDOW: usize = 64;
/// As many again for those that a viewer waits for.
const WINDOW_HIGH: usize = 2 * WINDOW;
/// Rows with Redis that one round looks at.
const DISPATCHED_MAX: i64 = 4096;
/// Reports applied between two renewals of the lease.
const REPORTS_MAX: usize = 256;

/// Feeds Redis from the rows and the rows from Redis; cheap to clone.
#[derive(Clone)]
pub struct Dispatcher {
    catalog: Catalog,
    clock: Clock,
    bell: Bell,
    holder: String,
    link: Link,
    reports: std::sync::Arc<Listener>,
}

impl Dispatcher {
    /// A dispatcher that calls itself `holder`, which differs between daemons; whoever inserts jobs rings `bell`.
    ///
    /// # Errors
    /// [`QueueError::Redis`] when the URL is none; a Redis that is down is waited for by [`Dispatcher::run`].
    pub fn new(
        catalog: Catalog,
        clock: Clock,
        bell: Bell,
        url: &str,
        holder: impl Into<String>,
    ) -> Result<Self, QueueError> {
        Ok(Self {
            catalog,
            clock,
            bell,
            holder: holder.into(),
            link: Link::open(url)?,
            reports: std::sync::Arc::new(Listener::open(url, DONE)?),
        })
    }

    /// Works in rounds until cancelled; an outage is told once at its start and once at its end.
    pub async fn run(self, cancel: CancellationToken) {
        let mut down = false;
        let nobody = Bell::new();
        loop {
            match self.round().await {
                Ok(()) if down => {
                    down = false;
                    info!("the job queue in Redis is back");
                }
                Ok(()) => {}
                Err(error) if down => tracing::debug!(%error, "still down"),
                Err(error) => {
                    down = true;
                    warn!(%error, "jobs wait in the catalog: {error}");
                }
            }
            metrics::gauge!(QUEUE_REDIS_UP).set(if down { 0.0 } else { 1.0 });
            tokio::select! {
                () = self.bell.heard() => {}
                () = self.reports.heard(&nobody) => {}
                () = tokio::time::sleep(INTERVAL) => {}
                () = cancel.cancelled() => break,
            }
        }
        let holder = self.holder.clone();
        let released = self
            .catalog
            .write(move |tx| Box::pin(async move { tx.release_lease(LEASE, &holder).await }));
        if let Err(error) = released.await {
            // The lease runs out by itself.
            tracing::debug!(%error, "the dispatcher's lease was not given back");
        }
    }

    /// One round; does nothing while another daemon holds the lease.
    pub async fn round(&self) -> Result<(), QueueError> {
        let (holder, now_ms) = (self.holder.clone(), self.clock.now_ms());
        let mine = self
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    tx.take_lease(LEASE, &holder, now_ms, now_ms + LEASE_MS)
                        .await
                })
            })
            .await?;
        if !mine {
            return Ok(());
        }
        self.collect().await?;
        let held = self.compare().await?;
        self.dispatch(held).await
    }

    /// Applies the reports: first those a former round left unacknowledged.
    async fn collect(&self) -> Result<(), QueueError> {
        let mut group = redis::cmd("XGROUP");
        group
            .arg("CREATE")
            .arg(DONE)
            .arg(GROUP)
            .arg("0")
            .arg("MKSTREAM");
        match self.link.call::<redis::Value>(&group).await {
            Err(QueueError::Redis(why)) if !why.contains("BUSYGROUP") => {
                return Err(QueueError::Redis(why));
            }
            _ => {}
        }
        for from in ["0", ">"] {
            let mut read = redis::cmd("XREADGROUP");
            read.arg("GROUP").arg(GROUP).arg("daemon");
            read.arg("COUNT").arg(REPORTS_MAX);
            read.arg("STREAMS").arg(DONE).arg(from);
            let reply: Option<StreamReadReply> = self.link.call(&read).await?;
            let keys = reply.map(|reply| reply.keys).unwrap_or_default();
            for entry in keys.into_iter().flat_map(|key| key.ids) {
                if let Some(report) = Report::read(&entry) {
                    self.apply(report).await?;
                } else {
                    warn!(entry.id, "a report that this version cannot read");
                }
                let mut pipe = redis::pipe();
                pipe.cmd("XACK")
                    .arg(DONE)
                    .arg(GROUP)
                    .arg(&entry.id)
                    .ignore();
                pipe.cmd("XDEL").arg(DONE).arg(&entry.id).ignore();
                self.link.pipe::<()>(&pipe).await?;
            }
        }
        Ok(())
    }

    async fn apply(&self, report: Report) -> Result<(), QueueError> {
        let over = report.is_last().then(|| (report.job, report.token.clone()));
        report.apply(&self.catalog, self.clock.now_ms()).await?;
        if let Some((job, token)) = over {
            let mut call = scripts::FORGET.key(hash_of(job));
            let _forgotten: i64 = self.link.run(call.arg(GROUP).arg(token)).await?;
        }
        Ok(())
    }

    /// Compares every hand-out with what Redis knows of it; returns how many jobs of each kind are out.
    async fn compare(&self) -> Result<HashMap<String, usize>, QueueError> {
        let rows = self.catalog.dispatched_jobs(DISPATCHED_MAX).await?;
        let mut held = HashMap::new();
        if rows.is_empty() {
            return Ok(held);
        }
        let mut pipe = redis::pipe();
        for row in &rows {
            pipe.cmd("HMGET").arg(hash_of(row.id()?));
            pipe.arg("token").arg("progress").arg("stage");
        }
        let known: Vec<(Option<String>, Option<f64>, Option<String>)> =
            self.link.pipe(&pipe).await?;
        for (row, (token, progress, stage)) in rows.iter().zip(known) {
            if row.lease_token.is_some() && token == row.lease_token {
                self.follow(row, progress, stage).await?;
                *held.entry(row.kind.clone()).or_default() += 1;
            } else {
                self.recall(row).await?;
            }
        }
        Ok(held)
    }

    /// A job that Redis holds: carries a cancellation there and progress back.
    async fn follow(
        &self,
        row: &JobRow,
        progress: Option<f64>,
        stage: Option<String>,
    ) -> Result<(), QueueError> {
        let (id, token) = (row.id()?, row.lease_token.clone().unwrap_or_default());
        if !row.state()?.is_active() {
            let mut call = scripts::FORGET.key(hash_of(id));
            let _forgotten: i64 = self.link.run(call.arg(GROUP).arg(token)).await?;
            return Ok(self
                .catalog
                .write(move |tx| Box::pin(async move { tx.recall_job(id).await }))
                .await?);
        }
        if row.cancel_requested {
            let mut call = scripts::CANCEL.key(hash_of(id));
            let _told: i64 = self.link.run(call.arg(&token)).await?;
        }
        let now_ms = self.clock.now_ms();
        let progress = progress.unwrap_or(row.progress);
        let stage = stage.unwrap_or_else(|| row.stage.clone());
        let stale = row.lease_until_ms - now_ms < ROW_LEASE_MS / 2;
        let moved = (progress - row.progress).abs() > f64::EPSILON || stage != row.stage;
        if row.state()? == JobState::Running && (moved || stale) {
            let terms = LeaseTerms {
                holder: String::new(),
                token,
                now_ms,
                until_ms: now_ms + ROW_LEASE_MS,
            };
            self.catalog
                .write(move |tx| {
                    Box::pin(async move { tx.beat_job(id, progress, &stage, &terms).await })
                })
                .await?;
        }
        Ok(())
    }

    /// A job that Redis has lost: queued anew, its attempt not counted.
    async fn recall(&self, row: &JobRow) -> Result<(), QueueError> {
        let (id, token) = (row.id()?, row.lease_token.clone().unwrap_or_default());
        let now_ms = self.clock.now_ms();
        self.catalog
            .write(move |tx| {
                Box::pin(async move {
                    tx.recall_job(id).await?;
                    tx.release_job(id, &token, now_ms).await
                })
            })
            .await?;
        Ok(())
    }

    /// Hands out what is due, as far as the windows allow.
    async fn dispatch(&self, mut held: HashMap<String, usize>) -> Result<(), QueueError> {
        let kinds = self.catalog.queued_kinds().await?;
        for kind in kinds {
            let out = held.entry(kind.clone()).or_default();
            let rows = self
                .catalog
                .undispatched_jobs(&kind, self.clock.now_ms(), WINDOW_HIGH as i64)
                .await?;
            for row in rows {
                let room = if row.priority > 0 {
                    WINDOW_HIGH
                } else {
                    WINDOW
                };
                if *out >= room {
                    break;
                }
                if self.hand_out(row).await? {
                    *out += 1;
                }
            }
        }
        Ok(())
    }

    /// Marks the row, then tells Redis: a crash between the two leaves a hand-out that the next round finds missing.
    async fn hand_out(&self, row: JobRow) -> Result<bool, QueueError> {
        let (token, now_ms) = (Id::random().to_string(), self.clock.now_ms());
        let row = self
            .catalog
            .write({
                let token = token.clone();
                move |tx| Box::pin(async move { tx.dispatch_job(&row, &token, now_ms).await })
            })
            .await?;
        let Some(row) = row else { return Ok(false) };
        let id = row.id()?;
        let mut call = scripts::DISPATCH.key(hash_of(id));
        call.key(stream_of(&row.kind, band(row.priority))).key(WAKE);
        call.arg(GROUP)
            .arg(id.to_string())
            .arg(token)
            .arg(&row.kind);
        call.arg(row.payload()?.to_string()).arg(row.priority);
        call.arg(row.attempts_max).arg(row.attempt).arg(JOB_TTL_S);
        let _handed: i64 = self.link.run(&call).await?;
        Ok(true)
    }
}
