//! Emptying a disk while it is read and written.
//!
//! First every daemon is told that nothing new goes there; then file after file is copied, compared with its sums, synced, named, and removed where it was.
//! A file is found by looking for it, so no row changes; a crash in between leaves it in two places, both right, and the next run goes on.

use tokio_util::sync::CancellationToken;

use super::scrub::Pace;
use super::{Store, StoreError};
use crate::blob::{BlobError, DiskContent};
use crate::catalog::BlobState;
use crate::kernel::{BlobId, Millis};

/// How long after the word was given another daemon may still begin a file there: its look at the disks, twice.
const WORD_MS: Millis = 10_000;
/// How long to wait before what somebody writes is looked at again.
const WAIT: std::time::Duration = std::time::Duration::from_millis(500);
/// Files that stay and are named.
const LEFT_MAX: usize = 20;

/// What a drain did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Files moved.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that are still there.
    pub files_left: u64,
    /// What could not be moved, and why, the first of them.
    pub left: Vec<String>,
    /// Whether nothing is left.
    pub is_empty: bool,
}

impl Store {
    /// Moves everything off a disk, telling how far it is at each look and after each file; returns when it is empty, when only what cannot be moved is left, or when stopped.
    ///
    /// # Errors
    /// [`StoreError::DiskAway`] when it is not there; [`StoreError::Full`] when the others have no room.
    pub async fn drain_disk(
        &self,
        name: &str,
        bytes_per_s: u64,
        stop: &CancellationToken,
        tell: impl FnMut(&Drained),
    ) -> Result<Drained, StoreError> {
        self.mark_draining(name, true).await?;
        self.empty_disk(name, bytes_per_s, stop, tell).await
    }

    /// The same for a disk that is marked already; ends when the mark is taken away.
    pub(super) async fn empty_disk(
        &self,
        name: &str,
        bytes_per_s: u64,
        stop: &CancellationToken,
        mut tell: impl FnMut(&Drained),
    ) -> Result<Drained, StoreError> {
        let mut drained = Drained::default();
        let mut pace = Pace {
            bytes_per_s,
            since_ms: self.0.clock.now_ms(),
            bytes: 0,
        };
        loop {
            drained.left.clear();
            let content = self.0.blobs.content_of_disk(name).await?;
            let mut waits = content.unfinished > 0;
            let DiskContent {
                files,
                aside,
                unfinished,
            } = content;
            let is_empty = files.is_empty() && aside.is_empty() && !waits;
            drained.files_left = (files.len() + aside.len() + unfinished) as u64;
            tell(&drained);
            for (id, is_aside) in files
                .into_iter()
                .map(|id| (id, false))
                .chain(aside.into_iter().map(|id| (id, true)))
            {
                let moved = if is_aside {
                    self.move_damaged(id, name).await
                } else {
                    self.move_blob(id, name).await
                };
                let bytes = match moved? {
                    Moved::Bytes(bytes) => bytes,
                    Moved::Later => {
                        waits = true;
                        0
                    }
                    Moved::Never(why) => {
                        if drained.left.len() < LEFT_MAX {
                            drained.left.push(why);
                        }
                        continue;
                    }
                };
                drained.files += u64::from(bytes > 0);
                drained.bytes += bytes;
                drained.files_left = drained.files_left.saturating_sub(u64::from(bytes > 0));
                if !pace.rest(&self.0.clock, bytes, stop).await {
                    return Ok(drained);
                }
                if bytes > 0 {
                    tell(&drained);
                }
            }
            let notes = self.disk_notes().await?;
            let since_ms = notes.get(name).map_or(0, |noted| noted.draining_ms);
            if since_ms == 0 {
                return Ok(drained);
            }
            // Whether every daemon has heard by now that nothing goes there.
            let word_is_out = self.0.clock.now_ms() - since_ms >= WORD_MS;
            if is_empty && word_is_out {
                self.mark_drained(name).await?;
                drained.is_empty = true;
                return Ok(drained);
            }
            if !waits && !drained.left.is_empty() {
                return Ok(drained);
            }
            if tokio::time::timeout(WAIT, stop.cancelled()).await.is_ok() {
                return Ok(drained);
            }
        }
    }

    async fn move_blob(&self, id: BlobId, from: &str) -> Result<Moved, StoreError> {
        let Some(row) = self.0.catalog.blob(id).await? else {
            // An orphan, or one that is about to get its row: the collector tells them apart by its lock.
            self.collect_orphans().await?;
            return Ok(Moved::Later);
        };
        let size = row.size_bytes.max(0) as u64;
        let moved = match row.state()? {
            BlobState::Dead => {
                self.bury_now(vec![id]).await;
                return Ok(Moved::Later);
            }
            BlobState::Open => {
                let received = self.0.blobs.len(id).await?;
                let moved = self.0.blobs.move_upload(id, from).await;
                moved.map(|()| received.max(1))
            }
            BlobState::Live | BlobState::Quarantined => {
                let sums = self.0.catalog.blob_sums(id).await?.unwrap_or_default();
                match self.0.blobs.copy_off(id, from, size, &sums).await {
                    Ok(lock) => {
                        // Deleted while it was copied: then the copy is nobody's.
                        let now = self.0.catalog.blob(id).await?;
                        let gone = now.is_none_or(|now| now.state().ok() == Some(BlobState::Dead));
                        if gone {
                            self.0.blobs.remove(id).await?;
                        } else {
                            self.0.blobs.remove_from_disk(id, from).await?;
                        }
                        drop(lock);
                        Ok(size.max(1))
                    }
                    Err(error) => Err(error),
                }
            }
        };
        Ok(match moved {
            Ok(bytes) => Moved::Bytes(bytes),
            Err(BlobError::Busy { .. } | BlobError::Missing { .. }) => Moved::Later,
            Err(BlobError::Damaged { .. }) => {
                // Set aside (or healed) as the scrub would; then its good parts move.
                let (blocks, aside) = self.bad_blocks(&row).await?;
                self.settle_blob(&row, blocks, aside).await?;
                Moved::Later
            }
            Err(error @ BlobError::Io { .. }) => Moved::Never(format!("blob {id}: {error}")),
            Err(error) => return Err(error.into()),
        })
    }

    async fn move_damaged(&self, id: BlobId, from: &str) -> Result<Moved, StoreError> {
        match self.0.catalog.blob(id).await? {
            None => self.0.blobs.remove_from_disk(id, from).await?,
            Some(_) => match self.0.blobs.move_aside(id, from).await {
                Err(error @ BlobError::Io { .. }) => {
                    return Ok(Moved::Never(format!("damaged blob {id}: {error}")));
                }
                moved => moved?,
            },
        }
        Ok(Moved::Bytes(1))
    }
}

/// What became of one file.
enum Moved {
    /// It is elsewhere now.
    Bytes(u64),
    /// Somebody has it in hand: to be looked at again.
    Later,
    /// It cannot be moved.
    Never(String),
}
