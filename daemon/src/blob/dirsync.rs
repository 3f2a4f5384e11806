//! Directory syncs, shared: whoever waits while one runs is served by the next one, together with all others that wait.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use super::BlobError;
use super::room::blocking;
use crate::telemetry::metrics::BLOB_FSYNC_WAITERS;

/// The syncs of one directory.
#[derive(Debug, Default)]
pub(super) struct DirSync {
    /// Changes that asked to be made durable.
    asked: AtomicU64,
    /// The last of them that is; locked while a sync runs.
    done: Mutex<u64>,
}

impl DirSync {
    /// Returns when every change made to `dir` before the call is durable.
    pub(super) async fn sync(&self, dir: &Path, root: &Path) -> Result<(), BlobError> {
        let mine = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut done = self.done.lock().await;
        if *done >= mine {
            return Ok(());
        }
        let covers = self.asked.load(Ordering::SeqCst);
        let (dir, root) = (dir.to_path_buf(), root.to_path_buf());
        blocking("syncing a directory", move || {
            sync_dir(&dir).map_err(|error| BlobError::sort("syncing a directory", &root, error))
        })
        .await?;
        metrics::histogram!(BLOB_FSYNC_WAITERS).record((covers - *done) as f64);
        *done = covers;
        Ok(())
    }
}

/// Makes the entries of a directory durable.
pub(super) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}
