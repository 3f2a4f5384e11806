//! The parts of a multipart upload: stored each as a blob of its own, or as further references to the bytes of an object.

use std::collections::BTreeMap;
use std::ops::Range;

use super::bucket::existing;
use super::checksum::ChecksumAlgorithm;
use super::copy::pour;
use super::encryption::CustomerKey;
use super::multipart::ours;
use super::object::{Object, json, to_json};
use super::publish::{FreshBlob, refer};
use super::writer::{Sealed, SealedBytes, WriteOptions};
use super::{Store, StoreError};
use crate::catalog::{Extent, PartRow, Tx, UploadState};
use crate::kernel::{BlobId, BucketName, ContentId, ETag, Millis, ObjectKey, UploadId};

/// The customers' keys of a part that is copied.
#[derive(Clone, Debug, Default)]
pub struct PartKeys {
    /// Of the object that it is made of.
    pub source: Option<CustomerKey>,
    /// Of the upload that it becomes a part of.
    pub target: Option<CustomerKey>,
}

/// A stored part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// 1 to 10,000.
    pub number: u32,
    /// Bytes.
    pub size: u64,
    /// The entity tag to name at completion.
    pub etag: ETag,
    /// Checksums in base64.
    pub checksums: BTreeMap<ChecksumAlgorithm, String>,
    /// When it was stored.
    pub modified_ms: Millis,
}

pub(super) fn part(row: &PartRow) -> Result<Part, StoreError> {
    Ok(Part {
        number: row.number as u32,
        size: row.size_bytes as u64,
        etag: ETag::from_stored(row.etag.clone()),
        checksums: json("part.checksums", &row.checksums)?,
        modified_ms: row.modified_ms,
    })
}

impl Store {
    /// Stores a part, in place of an earlier one of this number; its bytes were taken with `always_blob`.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`].
    pub async fn put_part(
        &self,
        id: UploadId,
        bucket: &BucketName,
        key: &ObjectKey,
        number: u32,
        sealed: Sealed,
    ) -> Result<Part, StoreError> {
        let etag = sealed.etag();
        let SealedBytes::Blob(blob) = sealed.bytes else {
            return Err(StoreError::Failed("a part was taken into memory".into()));
        };
        let extent = Extent {
            blob: blob.id,
            offset: 0,
            length: sealed.size,
        };
        let now_ms = self.0.clock.now_ms();
        let row = PartRow::new(
            number,
            sealed.size,
            etag.to_string(),
            to_json(&sealed.checksums),
            &[extent],
            now_ms,
        );
        let stored = part(&row)?;
        let fresh = Some(FreshBlob::from(&blob));
        let store = self.clone();
        let (bucket, key) = (bucket.clone(), key.clone());
        self.finish(Some(blob), async move {
            store.enter_part(id, bucket, key, row, fresh).await
        })
        .await?;
        Ok(stored)
    }

    /// Makes a part of a range of an object: rows only, unless the upload wants a checksum of it, the object is a small one, or either is encrypted.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`]; [`StoreError::InvalidRange`]; [`StoreError::KeyRequired`] and [`StoreError::WrongKey`] where a customer keeps the key of either.
    #[expect(
        clippy::too_many_arguments,
        reason = "the arguments of one request, used once"
    )]
    pub async fn copy_part(
        &self,
        id: UploadId,
        bucket: &BucketName,
        key: &ObjectKey,
        number: u32,
        source: &Object,
        range: Range<u64>,
        keys: &PartKeys,
    ) -> Result<Part, StoreError> {
        let (upload, metadata) = self.multipart(id, bucket, key).await?;
        let encryption = self
            .upload_encryption(&upload, keys.target.as_ref())
            .await?;
        if let Some(encrypted) = source.encrypted() {
            encrypted.check(keys.source.as_ref())?;
        }
        if range.start > range.end || range.end > source.size {
            return Err(StoreError::InvalidRange {
                size_bytes: source.size,
            });
        }
        let encrypted = encryption.is_some() || source.encrypted().is_some();
        if source.is_inline || metadata.checksum.is_some() || encrypted {
            let checksums = metadata
                .checksum
                .iter()
                .map(|(algorithm, _)| *algorithm)
                .collect();
            let size = Some(range.end - range.start);
            let mut writer = self
                .writer(WriteOptions {
                    size,
                    checksums,
                    always_blob: true,
                    relaxed: false,
                    encryption,
                })
                .await?;
            let reader = self.reader_with(source, keys.source.as_ref()).await?;
            pour(reader.body(range), &mut writer).await?;
            return self
                .put_part(id, bucket, key, number, writer.seal().await?)
                .await;
        }
        let extents = slice(&self.0.catalog.extents(source.row_id).await?, range.clone());
        let etag = hex::encode(&content_of(&extents).0[..16]);
        let now_ms = self.0.clock.now_ms();
        let row = PartRow::new(
            number,
            range.end - range.start,
            etag,
            "{}".into(),
            &extents,
            now_ms,
        );
        let stored = part(&row)?;
        self.enter_part(id, bucket.clone(), key.clone(), row, None)
            .await?;
        Ok(stored)
    }

    /// Enters a part: with a fresh blob, or with further references to live ones.
    async fn enter_part(
        &self,
        id: UploadId,
        bucket: BucketName,
        key: ObjectKey,
        row: PartRow,
        fresh: Option<FreshBlob>,
    ) -> Result<(), StoreError> {
        let now_ms = self.0.clock.now_ms();
        let dead = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let bucket_id = existing(tx, &bucket).await?.id;
                    tx.lock_key(bucket_id, &key).await?;
                    let upload = ours(tx.upload(id).await?, id, &bucket, &key)?;
                    if upload.state() != UploadState::Open {
                        return Err(StoreError::NoSuchUpload(id.to_string()));
                    }
                    if let Some(blob) = fresh {
                        blob.enter(tx, now_ms).await?;
                    } else {
                        for extent in row.extents()? {
                            refer(tx, extent.blob).await?;
                        }
                    }
                    let replaced = tx.part(id, row.number as u32).await?;
                    tx.put_part(id, &row).await?;
                    release_parts(tx, replaced.as_slice()).await
                })
            })
            .await?;
        self.bury(dead).await;
        Ok(())
    }

    /// Up to `limit` parts with a number above `after`.
    pub async fn parts(
        &self,
        id: UploadId,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Part>, StoreError> {
        self.0
            .catalog
            .parts(id, after, limit as i64)
            .await?
            .iter()
            .map(part)
            .collect()
    }
}

pub(super) async fn release_parts(
    tx: &mut Tx,
    parts: &[PartRow],
) -> Result<Vec<BlobId>, StoreError> {
    let mut dead = Vec::new();
    for part in parts {
        for extent in part.extents()? {
            if tx.release_blob(extent.blob, 1).await? {
                dead.push(extent.blob);
            }
        }
    }
    Ok(dead)
}

/// The extents of a range of a byte string made of `extents`.
fn slice(extents: &[Extent], range: Range<u64>) -> Vec<Extent> {
    let mut at = 0;
    let mut cut = Vec::new();
    for extent in extents {
        let (start, end) = (range.start.max(at), range.end.min(at + extent.length));
        if start < end {
            cut.push(Extent {
                blob: extent.blob,
                offset: extent.offset + (start - at),
                length: end - start,
            });
        }
        at += extent.length;
    }
    cut
}

/// Names the bytes of a list of extents: blobs never change, so equal lists are equal bytes.
pub(super) fn content_of(extents: &[Extent]) -> ContentId {
    let mut hasher = blake3::Hasher::new_derive_key("nebula 2026-11 content of extents");
    for extent in extents {
        hasher.update(extent.blob.0.as_bytes());
        hasher.update(&extent.offset.to_le_bytes());
        hasher.update(&extent.length.to_le_bytes());
    }
    ContentId(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_keeps_to_the_extents() {
        let blobs = [BlobId::random(), BlobId::random()];
        let whole = [
            Extent {
                blob: blobs[0],
                offset: 5,
                length: 10,
            },
            Extent {
                blob: blobs[1],
                offset: 0,
                length: 10,
            },
        ];
        assert_eq!(slice(&whole, 0..20), whole);
        assert_eq!(
            slice(&whole, 8..12),
            [
                Extent {
                    blob: blobs[0],
                    offset: 13,
                    length: 2
                },
                Extent {
                    blob: blobs[1],
                    offset: 0,
                    length: 2
                }
            ]
        );
        assert_eq!(
            slice(&whole, 10..11),
            [Extent {
                blob: blobs[1],
                offset: 0,
                length: 1
            }]
        );
        assert_eq!(slice(&whole, 20..20), []);
    }
}
