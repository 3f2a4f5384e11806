//! Data syncs of one file that is being written.
//!
//! The kernel reports a failed write-back once per open file, to whichever sync asks first.
//! So all syncs of a file go through here, and a failure stays: no later one may answer that all is well.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use tokio_util::task::TaskTracker;

/// Bytes after which the disk is set to work while more bytes are coming, so that the last sync finds little to do.
pub(super) const EARLY_SYNC_BYTES: u64 = 32 * 1024 * 1024;

/// The syncs of one file.
#[derive(Debug)]
pub(super) struct FileSync {
    file: Arc<File>,
    /// Held while a sync runs.
    failed: Mutex<Option<Errno>>,
    /// An early sync was started and has not ended.
    early: AtomicBool,
}

impl FileSync {
    pub(super) fn new(file: Arc<File>) -> Arc<Self> {
        Arc::new(Self {
            file,
            failed: Mutex::new(None),
            early: AtomicBool::new(false),
        })
    }

    /// Returns when all that was written before is on stable storage; blocking.
    pub(super) fn sync(&self) -> Result<(), Errno> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        match *failed {
            Some(error) => Err(error),
            None => rustix::fs::fdatasync(&self.file).inspect_err(|error| *failed = Some(*error)),
        }
    }

    /// Starts a sync beside the writing, unless one runs; its failure is told by the next [`FileSync::sync`].
    pub(super) fn sync_early(self: &Arc<Self>, tracker: &TaskTracker) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        if self.early.swap(true, Ordering::SeqCst) {
            return;
        }
        let this = Arc::clone(self);
        let work = move || {
            let _told_later = this.sync();
            this.early.store(false, Ordering::SeqCst);
        };
        drop(tracker.spawn_blocking_on(work, &runtime));
    }
}
