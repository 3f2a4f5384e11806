//! Data syncs of one file that is being written, and how much of it stays in the page cache.
//!
//! The kernel reports a failed write-back once per open file, to whichever sync asks first.
//! So all syncs of a file go through here, and a failure stays: no later one may answer that all is well.
//!
//! An upload of hours fills the page cache with bytes that hardly anybody reads, and pushes out those of films that are watched.
//! So of a file that grows by uploads the cache keeps the end alone, where readers follow; what is synced and lies further back is read from the disk.

use std::fs::File;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::fs::Advice;
use rustix::io::Errno;

use super::room::Room;
use crate::telemetry::metrics::BLOB_FSYNC_SECONDS;

/// Bytes after which the disk is set to work while more bytes are coming, so that the last sync finds little to do.
pub(super) const EARLY_SYNC_BYTES: u64 = 32 * 1024 * 1024;
/// Of one disk at once: more threads that wait for it make it no faster.
pub(super) const EARLY_SYNCS_MAX: usize = 8;
/// The same for a file of which the page cache keeps the end alone: half as many synced bytes before its end are kept.
const BEHIND_SYNC_BYTES: u64 = 16 * 1024 * 1024;
/// The same of each where there are many, so that they go round in the same memory.
const BEHIND_SYNC_BYTES_LEAST: u64 = 2 * 1024 * 1024;
/// The same of all together, until there are so many that each has the least.
const BEHIND_ALL_BYTES: u64 = 64 * 1024 * 1024;

/// The syncs of one file.
#[derive(Debug)]
pub(super) struct FileSync {
    file: Arc<File>,
    /// Where the bytes end that are written.
    written: AtomicU64,
    /// Held while a sync runs.
    state: Mutex<State>,
    /// Bytes written since a sync was last started.
    unsynced: AtomicU64,
    /// An early sync was started and has not ended.
    early: AtomicBool,
    early_bytes: AtomicU64,
}

#[derive(Debug)]
struct State {
    failed: Option<Errno>,
    /// Where the bytes begin that the page cache may keep; `None` when it keeps all as the kernel likes.
    kept_from: Option<u64>,
}

impl FileSync {
    /// Of a file that the page cache keeps.
    pub(super) fn new(file: Arc<File>) -> Arc<Self> {
        Self::with(file, None, EARLY_SYNC_BYTES)
    }

    /// Of a file that grows from `from` on, and of which the page cache keeps the end alone.
    pub(super) fn behind(file: Arc<File>, from: u64) -> Arc<Self> {
        Self::with(file, Some(from), BEHIND_SYNC_BYTES)
    }

    fn with(file: Arc<File>, kept_from: Option<u64>, early_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            file,
            written: AtomicU64::new(0),
            state: Mutex::new(State {
                failed: None,
                kept_from,
            }),
            unsynced: AtomicU64::new(0),
            early: AtomicBool::new(false),
            early_bytes: AtomicU64::new(early_bytes),
        })
    }

    /// One of so many files that grow: the page cache keeps its part of what it may keep of all.
    pub(super) fn is_one_of(&self, files: usize) {
        let share = BEHIND_ALL_BYTES / files.max(1) as u64;
        let share = share.clamp(BEHIND_SYNC_BYTES_LEAST, BEHIND_SYNC_BYTES);
        self.early_bytes.store(share, Ordering::Relaxed);
    }

    /// Notes `len` bytes more, up to `end` of the file; sets the disk to work when it is time.
    pub(super) fn wrote(self: &Arc<Self>, end: u64, len: u64, room: &Room) {
        self.written.store(end, Ordering::Release);
        let unsynced = self.unsynced.fetch_add(len, Ordering::Relaxed) + len;
        if unsynced >= self.early_bytes.load(Ordering::Relaxed) {
            self.sync_early(room);
        }
    }

    /// Returns when all that was written before is on stable storage; blocking.
    pub(super) fn sync(&self) -> Result<(), Errno> {
        self.locked_sync().map(drop)
    }

    /// The same while more is to come: of what is synced, the page cache may let go all but the end.
    pub(super) fn sync_on_the_way(&self) -> Result<(), Errno> {
        let written = self.written.load(Ordering::Acquire);
        let mut state = self.locked_sync()?;
        if let Some(from) = &mut state.kept_from {
            let kept_bytes = self.early_bytes.load(Ordering::Relaxed) / 2;
            let upto = written.saturating_sub(kept_bytes);
            if let Some(len) = upto.checked_sub(*from).and_then(NonZeroU64::new) {
                // Advice: a kernel that does not take it keeps the pages.
                let _ = rustix::fs::fadvise(&self.file, *from, Some(len), Advice::DontNeed);
                *from = upto;
            }
        }
        Ok(())
    }

    fn locked_sync(&self) -> Result<MutexGuard<'_, State>, Errno> {
        self.unsynced.store(0, Ordering::Relaxed);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.failed {
            return Err(error);
        }
        let begun = Instant::now();
        rustix::fs::fdatasync(&self.file).inspect_err(|error| state.failed = Some(*error))?;
        metrics::histogram!(BLOB_FSYNC_SECONDS).record(begun.elapsed());
        Ok(state)
    }

    /// Starts a sync beside the writing, unless one runs, or too many of other files: then the next write asks again.
    ///
    /// Its failure is told by the next [`FileSync::sync`].
    fn sync_early(self: &Arc<Self>, room: &Room) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if self.early.swap(true, Ordering::SeqCst) {
            return;
        }
        let Ok(turn) = Arc::clone(&room.early_syncs).try_acquire_owned() else {
            self.early.store(false, Ordering::SeqCst);
            return;
        };
        let this = Arc::clone(self);
        let work = move || {
            let _told_later = this.sync_on_the_way();
            drop(turn);
            this.early.store(false, Ordering::SeqCst);
        };
        drop(room.tracker.spawn_blocking_on(work, &runtime));
    }
}
