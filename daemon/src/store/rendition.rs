//! Segments of renditions: blobs that no object names, kept by their row alone.

use super::body::ObjectReader;
use super::writer::{Sealed, SealedBytes};
use super::{Store, StoreError};
use crate::blob::Slice;
use crate::catalog::{NewSegment, SegmentRow};
use crate::kernel::{BlobId, ContentId, Millis};

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
    fn row(self, blob: BlobId, size: u64, now_ms: Millis) -> NewSegment {
        NewSegment {
            content: self.content,
            recipe: self.recipe,
            number: self.number,
            blob,
            size_bytes: size as i64,
            init_number: self.init_number,
            start_ticks: self.start_ticks,
            duration_ticks: self.duration_ticks,
            now_ms,
        }
    }
}

impl Store {
    /// Enters sealed bytes as a segment; `false` when the segment is there already, and then these bytes are gone.
    ///
    /// The bytes must have been written with `always_blob`.
    ///
    /// # Errors
    /// Those of the catalog; [`StoreError::Failed`] for bytes that lie in memory.
    pub async fn put_segment(&self, of: SegmentOf, sealed: Sealed) -> Result<bool, StoreError> {
        let SealedBytes::Blob(blob) = sealed.bytes else {
            return Err(StoreError::Failed("a segment is always a blob".into()));
        };
        let now_ms = self.0.clock.now_ms();
        let (id, size) = (blob.id, sealed.size);
        let digest = blob.digest.clone();
        let row = of.row(id, size, now_ms);
        let catalog = self.0.catalog.clone();
        let committed = self
            .finish(Some(blob), async move {
                catalog
                    .write(move |tx| {
                        Box::pin(async move {
                            tx.insert_live_blob(id, size, 1, &digest.blake3, &digest.sums, now_ms)
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
    pub async fn segment_reader(&self, segment: &SegmentRow) -> Result<ObjectReader, StoreError> {
        let slice = Slice {
            blob: segment.blob()?,
            offset: 0,
            length: u64::try_from(segment.size_bytes).unwrap_or(0),
        };
        Ok(ObjectReader::of_blobs(
            self.0.blobs.reader(vec![slice]).await?,
        ))
    }
}
