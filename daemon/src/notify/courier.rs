//! One target's reader of the outbox: from its place in the log to the receiver, for as long as the lease is held.

use std::collections::{BTreeMap, btree_map};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lane::{self, Lane, Message, Told};
use super::notifier::Shared;
use super::rule;
use super::target::Target;
use crate::catalog::{CatalogError, EventRow};
use crate::kernel::{Id, Millis};
use crate::telemetry::metrics::{WEBHOOK_DELIVERIES_TOTAL, WEBHOOK_LAG_SECONDS};

/// Events read at a time; the most that one target holds in memory.
const BATCH: i64 = 256;
/// Keys whose changes travel to one target at once.
const LANES_AT_ONCE: usize = 8;
/// How often the place in the log is noted while much passes.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// How long a change of another daemon on the same catalog may wait to be seen.
const POLL: Duration = Duration::from_secs(1);
/// Rest after the database failed.
const DATABASE_REST: Duration = Duration::from_secs(5);
/// What a running POST gets when the daemon stops.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// Most of an answer that is read, so that its connection can serve again.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What became of one POST.
enum Sent {
    Taken,
    /// The receiver looked at it and said no.
    Refused(String),
    /// Nobody answered as a receiver should.
    Failed(String),
}

/// The consumer of the outbox that stands for a target.
pub(super) fn consumer(name: &str) -> String {
    format!("{CONSUMER_HEAD}{name}")
}

/// What the names of these consumers begin with.
pub(super) const CONSUMER_HEAD: &str = "webhook:";

/// Brings events to one target.
pub(super) struct Courier {
    shared: Shared,
    target: Target,
    /// Read and settled up to here.
    seq: i64,
    /// What the catalog knows of it, and since when.
    kept: (i64, Instant),
    /// Passes in a row in which something failed.
    failures: u32,
}

impl Courier {
    pub(super) fn new(shared: Shared, target: Target) -> Self {
        Self {
            shared,
            target,
            seq: 0,
            kept: (0, Instant::now()),
            failures: 0,
        }
    }

    /// Works until it is stopped.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while let Err(error) = self.work(&stop).await {
            tracing::warn!(%error, webhook = self.target.name(), "notifications wait in the catalog: {error}");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(DATABASE_REST) => {}
            }
        }
        if let Err(error) = self.keep().await {
            // The next daemon sends the last moments again.
            tracing::debug!(%error, "a webhook's place in the log was not noted");
        }
    }

    async fn work(&mut self, stop: &CancellationToken) -> Result<(), CatalogError> {
        let mut changes = self.shared.store.changes();
        self.seq = self.begin().await?;
        self.kept = (self.seq, Instant::now());
        while !stop.is_cancelled() {
            changes.mark_unchanged();
            let rows = self.shared.catalog().events_after(self.seq, BATCH).await?;
            if let Some(last) = rows.last() {
                let lanes = self.lanes(&rows).await?;
                if !self.deliver(lanes, stop).await {
                    return Ok(());
                }
                self.seq = last.seq;
            }
            if self.kept.1.elapsed() >= KEEP_EVERY {
                self.keep().await?;
            }
            if rows.is_empty() {
                self.lag(None);
                tokio::select! {
                    () = stop.cancelled() => {}
                    // The store lives as long as this does, so its word cannot end.
                    _ = changes.changed() => {}
                    () = tokio::time::sleep(POLL) => {}
                }
            }
        }
        Ok(())
    }

    /// Where this target stopped; a new one begins at the end of the log.
    async fn begin(&self) -> Result<i64, CatalogError> {
        let name = consumer(self.target.name());
        let catalog = self.shared.catalog();
        catalog
            .write(move |tx| Box::pin(async move { tx.begin_consumer(&name).await }))
            .await
    }

    async fn keep(&mut self) -> Result<(), CatalogError> {
        let seq = self.seq;
        if seq > self.kept.0 {
            let name = consumer(self.target.name());
            let catalog = self.shared.catalog();
            catalog
                .write(move |tx| Box::pin(async move { tx.set_consumer_offset(&name, seq).await }))
                .await?;
        }
        self.kept = (seq, Instant::now());
        Ok(())
    }

    async fn lanes(&self, rows: &[EventRow]) -> Result<Vec<Lane>, CatalogError> {
        let mut told = BTreeMap::new();
        for name in rows.iter().filter_map(|row| row.bucket.as_ref()) {
            if let btree_map::Entry::Vacant(place) = told.entry(name.clone()) {
                let row = match name.parse() {
                    Ok(name) => self.shared.catalog().bucket(&name).await?,
                    Err(_) => None,
                };
                place.insert(row.map_or_else(Told::default, |row| Told {
                    rules: rule::of_settings(&row.settings),
                    owner: row.owner.clone(),
                }));
            }
        }
        let region = &self.shared.region;
        Ok(lane::lanes(rows, self.target.name(), &told, region))
    }

    /// Delivers or gives up every message; `false` when it was stopped before.
    async fn deliver(&mut self, mut lanes: Vec<Lane>, stop: &CancellationToken) -> bool {
        loop {
            self.give_up(&mut lanes);
            let oldest = lanes.iter().filter_map(Lane::front);
            self.lag(oldest.map(|message| message.time_ms).min());
            if lanes.is_empty() {
                return true;
            }
            let pass = Pass {
                courier: self,
                broken: AtomicBool::new(false),
                stop,
            };
            let work = std::mem::take(&mut lanes)
                .into_iter()
                .map(|lane| pass.send(lane));
            let outcomes: Vec<_> = futures::stream::iter(work)
                .buffer_unordered(LANES_AT_ONCE)
                .collect()
                .await;
            let mut why = None;
            for (lane, failure) in outcomes {
                why = why.or(failure);
                if !lane.is_empty() {
                    lanes.push(lane);
                }
            }
            self.note(why);
            if !lanes.is_empty() {
                tokio::select! {
                    () = stop.cancelled() => return false,
                    () = tokio::time::sleep(self.rest()) => {}
                }
            }
        }
    }

    /// Drops what is too old, or was refused too often, and says so.
    fn give_up(&self, lanes: &mut Vec<Lane>) {
        let terms = &self.shared.terms;
        let too_old_ms = self.shared.now_ms() - terms.age_max_ms;
        let mut first = None;
        let mut count = 0_u64;
        for lane in lanes.iter_mut() {
            lane.retain(|message| {
                let keep = message.time_ms >= too_old_ms && message.refusals < terms.refusals_max;
                if !keep {
                    count += 1;
                    first.get_or_insert_with(|| message.about.clone());
                }
                keep
            });
        }
        lanes.retain(|lane| !lane.is_empty());
        if let Some(first) = first {
            let name = self.target.name();
            self.count("given_up", count);
            tracing::error!(
                webhook = name,
                given_up = count,
                "gave up {count} notifications to the webhook {name}, the first about {first}: \
                 refused {} times, or older than {} h",
                terms.refusals_max,
                terms.age_max_ms / 3_600_000
            );
        }
    }

    /// Tells the begin and the end of an outage, once each.
    fn note(&mut self, why: Option<String>) {
        let name = self.target.name();
        match why {
            Some(why) if self.failures == 0 => {
                self.failures = 1;
                tracing::warn!(
                    webhook = name,
                    "the webhook {name} does not take notifications, they wait: {why}"
                );
            }
            Some(why) => {
                self.failures = self.failures.saturating_add(1);
                tracing::debug!(webhook = name, "still: {why}");
            }
            None if self.failures > 0 => {
                self.failures = 0;
                tracing::info!(
                    webhook = name,
                    "the webhook {name} takes notifications again"
                );
            }
            None => {}
        }
    }

    /// How long to rest after a failed pass: doubling up to a bound, and up to a quarter more.
    fn rest(&self) -> Duration {
        let terms = &self.shared.terms;
        let doublings = self.failures.saturating_sub(1).min(16);
        let rest = terms.rest_first.saturating_mul(1 << doublings);
        let rest = rest.min(terms.rest_longest);
        let chance = Id::random().as_bytes()[0];
        rest + rest.mul_f64(f64::from(chance) / 1024.0)
    }

    fn lag(&self, oldest_ms: Option<Millis>) {
        let lag_ms = oldest_ms.map_or(0, |oldest_ms| (self.shared.now_ms() - oldest_ms).max(0));
        metrics::gauge!(WEBHOOK_LAG_SECONDS, "target" => self.target.name().to_owned())
            .set(lag_ms as f64 / 1000.0);
    }

    fn count(&self, outcome: &'static str, number: u64) {
        metrics::counter!(WEBHOOK_DELIVERIES_TOTAL, "target" => self.target.name().to_owned(), "outcome" => outcome)
            .increment(number);
    }

    async fn post(&self, message: &Message) -> Sent {
        let now_ms = self.shared.now_ms();
        let request = self
            .shared
            .client
            .post(self.target.url())
            .header("content-type", "application/json")
            .header("x-nebula-event", &message.event)
            .header("x-nebula-sequence", message.seq)
            .header(
                "x-nebula-signature",
                self.target.signature(now_ms, message.body.as_bytes()),
            )
            .body(message.body.clone());
        let mut answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return Sent::Failed(in_full(&error)),
        };
        let status = answer.status();
        let mut read = 0;
        while let Ok(Some(chunk)) = answer.chunk().await {
            read += chunk.len();
            if read > ANSWER_BYTES_MAX {
                break;
            }
        }
        match status.as_u16() {
            200..=299 => Sent::Taken,
            // Time-outs, too early, too many are of the moment, not of the message.
            code @ 400..=499 if !matches!(code, 408 | 425 | 429) => {
                Sent::Refused(format!("it answered {status}"))
            }
            _ => Sent::Failed(format!("it answered {status}")),
        }
    }
}

/// One try of every lane.
struct Pass<'a> {
    courier: &'a Courier,
    /// Whether the target as a whole failed, so that nothing more is tried.
    broken: AtomicBool,
    stop: &'a CancellationToken,
}

impl Pass<'_> {
    /// Ends a moment after the stop: what is under way is seldom sent twice then.
    async fn stopped(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(STOP_GRACE).await;
    }

    /// Sends a lane up to its first failure; what is left of it, and why.
    async fn send(&self, mut lane: Lane) -> (Lane, Option<String>) {
        while let Some(message) = lane.front_mut() {
            if self.broken.load(Ordering::Relaxed) || self.stop.is_cancelled() {
                return (lane, None);
            }
            let sent = tokio::select! {
                sent = self.courier.post(message) => sent,
                () = self.stopped() => return (lane, None),
            };
            match sent {
                Sent::Taken => {
                    self.courier.count("ok", 1);
                    lane.pop_front();
                }
                Sent::Refused(why) => {
                    self.courier.count("failed", 1);
                    message.refusals += 1;
                    return (lane, Some(why));
                }
                Sent::Failed(why) => {
                    self.courier.count("failed", 1);
                    self.broken.store(true, Ordering::Relaxed);
                    return (lane, Some(why));
                }
            }
        }
        (lane, None)
    }
}

/// With the causes: reqwest's own text says only that sending failed.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
