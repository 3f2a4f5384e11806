//! Holding files still: while a backup copies them, dead blobs keep their files.
//!
//! A backup takes the hold, then its snapshot.
//! Whatever the snapshot refers to either lives, or died in a commit after the hold; and files are removed only after that commit, by someone who then sees the hold.
//! The hold is a lease: one whose owner died ends by itself.

use super::{Store, StoreError};
use crate::kernel::Millis;

/// The lease of whoever holds files still; one backup runs at a time.
const HOLD: &str = "backup";
/// Dead blobs removed in one round.
const DEAD_MAX: i64 = 1000;

impl Store {
    /// Takes or renews the hold for `for_ms`; `false` while another process has it.
    pub async fn hold_files(&self, for_ms: Millis) -> Result<bool, StoreError> {
        let now_ms = self.0.clock.now_ms();
        let holder = self.0.instance.clone();
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    Ok(tx
                        .take_lease(HOLD, &holder, now_ms, now_ms + for_ms)
                        .await?)
                })
            })
            .await
    }

    /// Lets files go again; what died meanwhile is removed by the next sweep.
    pub async fn release_files(&self) -> Result<(), StoreError> {
        let holder = self.0.instance.clone();
        self.0
            .catalog
            .write(move |tx| Box::pin(async move { Ok(tx.release_lease(HOLD, &holder).await?) }))
            .await
    }

    /// Whether somebody holds files still at this moment.
    pub(super) async fn files_are_held(&self) -> bool {
        let now_ms = self.0.clock.now_ms();
        match self.0.catalog.lease_holder(HOLD, now_ms).await {
            Ok(holder) => holder.is_some(),
            Err(error) => {
                tracing::warn!(%error, "files of dead blobs stay for now: {error}");
                true
            }
        }
    }

    /// Removes the files of dead blobs that nobody holds; returns how many were asked for.
    ///
    /// # Errors
    /// Those of the catalog; a file that cannot be removed stays for the next time.
    pub async fn sweep_dead(&self) -> Result<usize, StoreError> {
        let mut asked = 0;
        while !self.files_are_held().await {
            let dead = self.0.catalog.dead_blobs(DEAD_MAX).await?;
            let first = dead.first().copied();
            let count = dead.len();
            self.bury_now(dead).await;
            asked += count;
            // A file that cannot be removed keeps its row: do not ask for it for ever.
            let stuck = self.0.catalog.dead_blobs(1).await?.first().copied() == first;
            if count < DEAD_MAX as usize || stuck {
                break;
            }
        }
        Ok(asked)
    }
}
