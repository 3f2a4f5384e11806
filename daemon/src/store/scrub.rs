//! The scrub: a slow walk over every stored byte, so that damage is found before somebody needs the bytes.
//!
//! Blobs first, in order of their ids, each MiB against its sum; then the objects that lie in their rows, each against its hash.
//! Where the walk stands is a row, so that it goes on where it was after a restart; one process walks at a time, by a lease.
//! It reads at most so many bytes a second, and rests four times as long as a read took when somebody else used the disk meanwhile.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::damage::{BLOCKS_MAX, Fate, STEP_BLOCKS};
use super::object::{Object, json, to_json};
use super::{Store, StoreError};
use crate::blob::{BlobError, Inspection};
use crate::catalog::{BlobRow, BlobState};
use crate::kernel::limits::SUM_BLOCK_BYTES;
use crate::kernel::{Clock, Millis};
use crate::telemetry::metrics::SCRUB_BYTES_TOTAL;

/// Where the state of the walk is kept.
const SETTING: &str = "scrub";
/// What only one of two overlapping processes holds.
const LEASE: &str = "store.scrub";
/// Longer than the longest time between two saves.
const LEASE_MS: Millis = 60_000;
/// How often the state is saved, and the lease renewed.
const SAVE_MS: Millis = 10_000;
/// How often the background looks whether a walk is due.
const LOOK_EVERY: Duration = Duration::from_mins(1);
/// Rows read at a time.
const PAGE: i64 = 200;
/// How much longer than a disturbed read the walk rests, and at most.
const REST_FACTOR: u32 = 4;
const REST_MAX: Duration = Duration::from_secs(1);

/// How the background walks.
#[derive(Clone, Copy, Debug)]
pub struct ScrubOptions {
    /// From the end of one walk to the beginning of the next; 0 never walks.
    pub every_ms: Millis,
    /// Bytes read per second at most; 0 for no bound.
    pub bytes_per_s: u64,
}

/// Where the walk stands, and how the last one ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScrubState {
    /// When the last walk began; 0 when none ever did.
    pub started_ms: Millis,
    /// When it ended; 0 while it goes on.
    pub finished_ms: Millis,
    /// When the next one begins; 0 when none is planned.
    pub next_ms: Millis,
    /// Bytes of all blobs when it began.
    pub total_bytes: u64,
    /// Bytes of blobs that were compared.
    pub done_bytes: u64,
    /// Blobs that were compared.
    pub blobs: u64,
    /// Objects in their rows that were compared.
    pub inline_objects: u64,
    /// Blobs and objects found damaged that were not known to be.
    pub damaged: u64,
    /// Blobs that were written anew from a copy.
    pub healed: u64,
    at: Position,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Position {
    /// The last blob that is done with.
    blob: String,
    /// Blocks of the next one that are.
    block: u64,
    /// And those among them that are damaged.
    bad: Vec<u64>,
    /// The last object row that is done with; not before every blob is.
    object: Option<i64>,
}

impl ScrubState {
    /// Whether a walk has begun and not ended.
    pub fn is_running(&self) -> bool {
        self.started_ms > 0 && self.finished_ms == 0
    }
}

/// Spreads reads over time.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) bytes_per_s: u64,
    /// From when on `bytes` are counted.
    pub(super) since_ms: Millis,
    pub(super) bytes: u64,
}

impl Pace {
    /// Waits until `bytes` more may be read; `false` when stopped.
    pub(super) async fn rest(
        &mut self,
        clock: &Clock,
        bytes: u64,
        stop: &CancellationToken,
    ) -> bool {
        const LOOK: Duration = Duration::from_millis(250);
        let mut owed = self.owed_ms(clock.now_ms(), bytes);
        while owed > 0 && !stop.is_cancelled() {
            let pause = Duration::from_millis(owed as u64).min(LOOK);
            let _stopped_early = tokio::time::timeout(pause, stop.cancelled()).await;
            owed = self.owed_ms(clock.now_ms(), 0);
        }
        !stop.is_cancelled()
    }

    /// How long to wait before the next read, after `bytes` more were read.
    fn owed_ms(&mut self, now_ms: Millis, bytes: u64) -> Millis {
        if self.bytes_per_s == 0 {
            return 0;
        }
        self.bytes += bytes;
        let due = self.bytes.saturating_mul(1000) / self.bytes_per_s;
        let owed = self.since_ms + due as Millis - now_ms;
        // What was not used for a second is not saved up for a burst.
        if owed < -1000 {
            (self.since_ms, self.bytes) = (now_ms, 0);
        }
        owed.max(0)
    }
}

impl Store {
    /// Where the scrub stands.
    pub async fn scrub_state(&self) -> Result<ScrubState, StoreError> {
        match self.0.catalog.setting(SETTING).await? {
            None => Ok(ScrubState::default()),
            Some(text) => json("setting.scrub", &String::from_utf8_lossy(&text)),
        }
    }

    /// Walks whenever it is time, until stopped.
    pub async fn run_scrub(self, options: ScrubOptions, stop: CancellationToken) {
        if options.every_ms == 0 {
            return;
        }
        loop {
            if let Err(error) = self.scrub_when_due(options, &stop).await {
                tracing::warn!(%error, "the scrub goes on later: {error}");
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn scrub_when_due(
        &self,
        options: ScrubOptions,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let mut state = self.scrub_state().await?;
        let now_ms = self.0.clock.now_ms();
        // Also when the interval was shortened, or never set.
        let latest_ms = state.finished_ms.max(state.started_ms).max(0) + options.every_ms;
        if state.started_ms == 0 && state.next_ms == 0 {
            state.next_ms = now_ms + options.every_ms;
            return self.save_scrub(&state, false).await.map(drop);
        }
        let due = state.next_ms > 0 && state.next_ms <= now_ms
            || state.started_ms > 0 && latest_ms <= now_ms;
        if !state.is_running() && !due {
            return Ok(());
        }
        if !self.save_scrub(&state, true).await? {
            return Ok(());
        }
        let done = self.scrub(options, false, stop).await?;
        if !done.is_running() {
            tracing::info!(
                bytes = done.done_bytes,
                "scrubbed {} blobs and {} objects in their rows: {} damaged, {} healed",
                done.blobs,
                done.inline_objects,
                done.damaged,
                done.healed
            );
        }
        Ok(())
    }

    /// One walk, or the rest of the one that was begun; `afresh` begins anew. Returns where it stands at the end or when stopped.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] while another process walks.
    pub async fn scrub(
        &self,
        options: ScrubOptions,
        afresh: bool,
        stop: &CancellationToken,
    ) -> Result<ScrubState, StoreError> {
        let mut state = self.scrub_state().await?;
        let now_ms = self.0.clock.now_ms();
        if afresh || !state.is_running() {
            state = ScrubState {
                started_ms: now_ms.max(1),
                total_bytes: self.0.catalog.blob_bytes().await?.max(0) as u64,
                ..ScrubState::default()
            };
        }
        let mut walk = Walk {
            store: self.clone(),
            state,
            pace: Pace {
                bytes_per_s: options.bytes_per_s,
                since_ms: now_ms,
                bytes: 0,
            },
            stop: stop.clone(),
            saved_ms: now_ms,
        };
        walk.save().await?;
        let walked = walk.walk().await;
        if let Ok(true) = walked {
            let now_ms = self.0.clock.now_ms();
            walk.state.finished_ms = now_ms.max(1);
            walk.state.next_ms = match options.every_ms {
                0 => 0,
                every => now_ms + every,
            };
            walk.state.at = Position::default();
        }
        walk.save().await?;
        let holder = self.0.instance.clone();
        let change = self.0.catalog.write(move |tx| {
            Box::pin(async move { Ok::<_, StoreError>(tx.release_lease(LEASE, &holder).await?) })
        });
        change.await?;
        walked?;
        Ok(walk.state)
    }

    /// Saves the state, with `held` only while holding the lease; `false` when another process has it.
    async fn save_scrub(&self, state: &ScrubState, held: bool) -> Result<bool, StoreError> {
        let (holder, now_ms) = (self.0.instance.clone(), self.0.clock.now_ms());
        let text = to_json(state);
        let change = self.0.catalog.write(move |tx| {
            Box::pin(async move {
                if held
                    && !tx
                        .take_lease(LEASE, &holder, now_ms, now_ms + LEASE_MS)
                        .await?
                {
                    return Ok::<_, StoreError>(false);
                }
                tx.put_setting(SETTING, text.as_bytes()).await?;
                Ok(true)
            })
        });
        change.await
    }
}

/// One walk under way.
struct Walk {
    store: Store,
    state: ScrubState,
    pace: Pace,
    stop: CancellationToken,
    saved_ms: Millis,
}

impl Walk {
    /// `true` at the end, `false` when stopped before.
    async fn walk(&mut self) -> Result<bool, StoreError> {
        while self.state.at.object.is_none() {
            let after = self.state.at.blob.clone();
            let rows = self.store.0.catalog.blobs_after(&after, PAGE).await?;
            if rows.is_empty() {
                self.state.at.object = Some(0);
            }
            for row in rows {
                if matches!(row.state()?, BlobState::Live | BlobState::Quarantined)
                    && !self.blob(&row).await?
                {
                    return Ok(false);
                }
                self.state.at = Position {
                    blob: row.id()?.to_string(),
                    ..Position::default()
                };
                self.save_now_and_then().await?;
            }
        }
        loop {
            let after = self.state.at.object.unwrap_or(0);
            let rows = self.store.0.catalog.object_rows_after(after, PAGE).await?;
            let Some(last) = rows.last().map(|row| row.id) else {
                return Ok(true);
            };
            let mut bytes = 0;
            for row in rows.into_iter().filter(|row| row.is_inline) {
                let object = Object::from_row(row)?;
                bytes += object.size;
                self.state.inline_objects += 1;
                if !self.store.is_sound_inline(&object).await?
                    && !object.extras.damaged
                    && self.store.mark_damaged(&object).await?
                {
                    self.state.damaged += 1;
                }
            }
            self.state.at.object = Some(last);
            if !self.rest(bytes).await {
                return Ok(false);
            }
            self.save_now_and_then().await?;
        }
    }

    /// One blob, from where the walk stands in it; `false` when stopped on the way.
    async fn blob(&mut self, row: &BlobRow) -> Result<bool, StoreError> {
        let (id, size) = (row.id()?, row.size_bytes.max(0) as u64);
        let total = size.div_ceil(SUM_BLOCK_BYTES);
        let sums = self.store.0.catalog.blob_sums(id).await?;
        let sums: Arc<[[u8; 32]]> = sums.unwrap_or_default().as_chunks().0.into();
        let inspection = match self.store.0.blobs.inspect(id).await {
            Ok(inspection) => Some(inspection),
            Err(BlobError::Missing { .. }) => {
                self.state.at.bad = (0..total).take(BLOCKS_MAX).collect();
                None
            }
            // Nothing can be said of it until its disk is back.
            Err(BlobError::DiskAway { .. }) => return Ok(true),
            Err(error) => return Err(error.into()),
        };
        while let Some(inspection) = &inspection
            && self.state.at.block < total
        {
            let end = (self.state.at.block + self.step_blocks()).min(total);
            let bad = self.compare(inspection, size, &sums, end).await?;
            let bytes = (end * SUM_BLOCK_BYTES).min(size) - self.state.at.block * SUM_BLOCK_BYTES;
            self.state.at.bad.extend(bad);
            self.state.at.bad.truncate(BLOCKS_MAX);
            self.state.at.block = end;
            self.state.done_bytes += bytes;
            metrics::counter!(SCRUB_BYTES_TOTAL).increment(bytes);
            if !self.rest(bytes).await {
                return Ok(false);
            }
            self.save_now_and_then().await?;
        }
        let set_aside = inspection.is_some_and(|inspection| inspection.is_set_aside());
        let bad = std::mem::take(&mut self.state.at.bad);
        match self.store.settle_blob(row, bad, set_aside).await? {
            Fate::Healed { .. } | Fate::Remade => self.state.healed += 1,
            Fate::Damaged { known: false, .. } => self.state.damaged += 1,
            _ => {}
        }
        self.state.blobs += 1;
        Ok(true)
    }

    /// At most a quarter of a second's bytes at once.
    fn step_blocks(&self) -> u64 {
        match self.pace.bytes_per_s {
            0 => STEP_BLOCKS,
            rate => (rate / 4 / SUM_BLOCK_BYTES).clamp(1, STEP_BLOCKS),
        }
    }

    /// The damaged blocks up to `end`; rests when somebody else wanted the disk meanwhile.
    async fn compare(
        &self,
        inspection: &Inspection,
        size: u64,
        sums: &Arc<[[u8; 32]]>,
        end: u64,
    ) -> Result<Vec<u64>, StoreError> {
        let blobs = &self.store.0.blobs;
        let (others, begun) = (blobs.foreground(), tokio::time::Instant::now());
        let bad = inspection
            .compare(size, sums, self.state.at.block..end)
            .await?;
        if blobs.foreground() != others {
            let rest = begun.elapsed().saturating_mul(REST_FACTOR).min(REST_MAX);
            let _stopped_early = tokio::time::timeout(rest, self.stop.cancelled()).await;
        }
        Ok(bad)
    }

    /// Waits until the pace allows more; `false` when stopped.
    async fn rest(&mut self, bytes: u64) -> bool {
        self.pace.rest(&self.store.0.clock, bytes, &self.stop).await
    }

    async fn save_now_and_then(&mut self) -> Result<(), StoreError> {
        if self.store.0.clock.now_ms() - self.saved_ms < SAVE_MS {
            return Ok(());
        }
        self.save().await
    }

    async fn save(&mut self) -> Result<(), StoreError> {
        if !self.store.save_scrub(&self.state, true).await? {
            return Err(StoreError::Unavailable(
                "another process of this appliance scrubs now".into(),
            ));
        }
        self.saved_ms = self.store.0.clock.now_ms();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    #[test]
    fn the_pace_is_kept_and_never_made_up_for() {
        let mut pace = Pace {
            bytes_per_s: 1000,
            since_ms: 0,
            bytes: 0,
        };
        assert_eq!(pace.owed_ms(0, 500), 500);
        assert_eq!(pace.owed_ms(200, 0), 300);
        assert_eq!(pace.owed_ms(500, 500), 500);
        // After ten idle seconds a second's bytes cost a second again.
        assert_eq!(pace.owed_ms(11_000, 0), 0);
        assert_eq!(pace.owed_ms(11_000, 1000), 1000);
        let mut free = Pace {
            bytes_per_s: 0,
            ..pace
        };
        assert_eq!(free.owed_ms(0, u64::MAX), 0);
    }
}
