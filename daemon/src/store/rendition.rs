//! Segments of renditions: blobs that no object names, kept by their row alone.

use super::body::ObjectReader;
use super::writer::{Sealed, SealedBytes};
use super::{Store, StoreError};
use crate::blob::Slice;
use crate::catalog::{IdleRendition, NewSegment, SegmentRow};
use crate::kernel::{BlobId, ContentId, Millis};

/// Renditions that are looked at in one go.
const EVICTED_AT_ONCE: i64 = 64;

/// What was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Renditions.
    pub renditions: u64,
    /// Bytes of their segments.
    pub bytes: u64,
}

/// What is known of a segment beside its bytes.
#[derive(Clone, Debug)]
pub struct SegmentOf {
    /// Of which content.
    pub content: ContentId,
    /// Of which rendition.
    pub recipe: String,
    /// From 0.
    pub number: i64,
    /// The init segment it needs.
    pub init_number: i64,
    /// Start on the film's timeline.
    pub start_ticks: i64,
    /// Sum of its samples' durations.
    pub duration_ticks: i64,
}

impl SegmentOf {
    fn row(self, blob: BlobId, size: u64, is_encrypted: bool, now_ms: Millis) -> NewSegment {
        NewSegment {
            content: self.content,
            recipe: self.recipe,
            number: self.number,
            blob,
            size_bytes: size as i64,
            init_number: self.init_number,
            start_ticks: self.start_ticks,
            duration_ticks: self.duration_ticks,
            is_encrypted,
            now_ms,
        }
    }
}

impl Store {
    /// Enters sealed bytes as a segment; `false` when the segment is there already, and then these bytes are gone.
    ///
    /// The bytes must have been written with `always_blob`, and with [`Store::derived_encryption`].
    ///
    /// # Errors
    /// Those of the catalog; [`StoreError::Failed`] for bytes that lie in memory.
    pub async fn put_segment(&self, of: SegmentOf, sealed: Sealed) -> Result<bool, StoreError> {
        let SealedBytes::Blob(blob) = sealed.bytes else {
            return Err(StoreError::Failed("a segment is always a blob".into()));
        };
        let now_ms = self.0.clock.now_ms();
        // The row of the blob speaks of the file, that of the segment of its plaintext.
        let (id, file_bytes, size) = (blob.id, blob.size, sealed.size);
        let digest = blob.digest.clone();
        let row = of.row(id, size, sealed.encryption.is_some(), now_ms);
        let catalog = self.0.catalog.clone();
        let committed = self
            .finish(Some(blob), async move {
                catalog
                    .write(move |tx| {
                        Box::pin(async move {
                            tx.insert_live_blob(
                                id,
                                file_bytes,
                                1,
                                &digest.blake3,
                                &digest.sums,
                                now_ms,
                            )
                            .await?;
                            if tx.insert_rendition_segment(&row).await? {
                                Ok(())
                            } else {
                                // Undoes the blob's row, and so its file goes too.
                                Err(StoreError::PreconditionFailed("segment"))
                            }
                        })
                    })
                    .await
            })
            .await;
        match committed {
            Ok(()) => Ok(true),
            Err(StoreError::PreconditionFailed(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens the bytes of a segment.
    ///
    /// # Errors
    /// [`StoreError::ObjectDamaged`] when its file is missing.
    pub async fn segment_reader(
        &self,
        content: ContentId,
        segment: &SegmentRow,
    ) -> Result<ObjectReader, StoreError> {
        let length = u64::try_from(segment.size_bytes).unwrap_or(0);
        let key = if segment.is_encrypted {
            Some(self.derived_key(content).await?)
        } else {
            None
        };
        let slice = Slice {
            blob: segment.blob()?,
            offset: 0,
            length,
        };
        let blobs = &self.0.blobs;
        let reader = blobs.reader_within(vec![slice], key.as_ref(), 0..length);
        Ok(ObjectReader::of_blobs(reader.await?))
    }

    /// Gives up renditions that nobody watched since `before_ms`, those of contents without an object first and then the longest unwatched, until `excess` of their bytes are gone or nothing more may go.
    ///
    /// A rendition whose content has no object goes in any case.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn evict_renditions(
        &self,
        before_ms: Millis,
        excess: u64,
    ) -> Result<Evicted, StoreError> {
        let mut gone = Evicted::default();
        let catalog = &self.0.catalog;
        loop {
            let lonely = catalog.lonely_renditions(before_ms, EVICTED_AT_ONCE);
            let lonely = lonely.await?;
            if lonely.is_empty() {
                break;
            }
            for one in lonely {
                self.evict(one, true, &mut gone).await?;
            }
        }
        while gone.bytes < excess {
            let idle = catalog.idle_renditions(before_ms, EVICTED_AT_ONCE).await?;
            let before = gone;
            for one in idle {
                if gone.bytes < excess {
                    self.evict(one, false, &mut gone).await?;
                }
            }
            // All of them are watched by now.
            if gone == before {
                break;
            }
        }
        Ok(gone)
    }

    async fn evict(
        &self,
        idle: IdleRendition,
        forget: bool,
        gone: &mut Evicted,
    ) -> Result<(), StoreError> {
        let now_ms = self.0.clock.now_ms();
        let bytes = u64::try_from(idle.size_bytes).unwrap_or(0);
        let evicted = self.0.catalog.write(move |tx| {
            Box::pin(async move {
                let Some(blobs) = tx.evict_rendition(&idle, forget, now_ms).await? else {
                    return Ok(None);
                };
                let mut dead = Vec::new();
                for blob in blobs {
                    if tx.release_blob(blob, 1).await? {
                        dead.push(blob);
                    }
                }
                Ok::<_, StoreError>(Some(dead))
            })
        });
        if let Some(dead) = evicted.await? {
            self.bury(dead).await;
            gone.renditions += 1;
            gone.bytes += bytes;
        }
        Ok(())
    }
}
