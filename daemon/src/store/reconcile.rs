//! What a start sets right: files without a row go, rows without a purpose go.

use super::{Store, StoreError};
use crate::kernel::BlobId;
use crate::telemetry::metrics::BLOB_ORPHANS_REMOVED_TOTAL;

/// What a start found and set right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Files of dead blobs that were removed.
    pub dead: usize,
    /// Files without a row that were removed.
    pub orphans: usize,
    /// Uploads past their time that were removed.
    pub uploads: usize,
}

impl Store {
    /// Sets right what a crash left; safe beside another daemon on the same data directory.
    ///
    /// A crash leaves no row without its file, as a row is committed after its file is durable; so there is nothing to repair, only to collect. What went wrong otherwise is for [`Store::repair`].
    pub async fn reconcile(&self) -> Result<Reconciled, StoreError> {
        let mut done = Reconciled {
            dead: self.sweep_dead().await?,
            ..Reconciled::default()
        };
        done.orphans = self.collect_orphans().await?;
        done.uploads = self.sweep_uploads().await?;
        Ok(done)
    }

    /// Removes files that no row knows and nobody holds; returns how many.
    pub(super) async fn collect_orphans(&self) -> Result<usize, StoreError> {
        let known = |ids| self.with_rows(ids);
        let removed = self.0.blobs.collect_orphans(known).await?.len();
        metrics::counter!(BLOB_ORPHANS_REMOVED_TOTAL).increment(removed as u64);
        Ok(removed)
    }

    /// Files that no row knows and nobody holds: one that is held is about to get its row.
    pub(super) async fn orphans(&self) -> Result<Vec<BlobId>, StoreError> {
        self.0.blobs.orphans(|ids| self.with_rows(ids)).await
    }

    /// Those of them that have a row.
    async fn with_rows(&self, ids: Vec<BlobId>) -> Result<Vec<BlobId>, StoreError> {
        let mut known = Vec::with_capacity(ids.len());
        for id in ids {
            if self.0.catalog.blob(id).await?.is_some() {
                known.push(id);
            }
        }
        Ok(known)
    }
}
