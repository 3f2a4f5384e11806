//! The end of an upload: its file becomes an object's bytes, encrypted where its bucket wants that.

use serde::Deserialize;

use super::body::ObjectReader;
use super::checksum::Checksums;
use super::copy::pour;
use super::encryption::Encrypted;
use super::headers::{ObjectHeaders, Tags};
use super::object::{Object, json};
use super::publish::{Condition, Draft, FreshBlob, Outcome, PutObject, Source, publish_in};
use super::upload::Upload;
use super::writer::{SealedBytes, WriteOptions};
use super::{ObjectExtras, Planner, Store, StoreError};
use crate::blob::{BlobDigest, SealedBlob, Slice};
use crate::catalog::{Extent, Tx, UploadRow};
use crate::kernel::{BlobId, BucketName, ContentId, ETag, Millis, UploadId};

/// How long a finished upload answers late questions.
pub(super) const FINISHED_KEPT_MS: Millis = 24 * 60 * 60 * 1000;

/// The bytes of an upload as its bucket wants them encrypted.
pub(super) struct EncryptedUpload {
    pub(super) says: Encrypted,
    pub(super) bytes: Source,
}

impl Store {
    /// The object that a finished upload became, as long as it is that one: a version without an id may have been replaced since.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn made_by(&self, upload: &Upload) -> Result<Option<Object>, StoreError> {
        let Some(version) = &upload.finished else {
            return Ok(None);
        };
        let found = self.head(&upload.bucket, &upload.key, Some(version)).await;
        let object = match found {
            Ok(object) => object,
            Err(
                StoreError::NoSuchKey(_)
                | StoreError::NoSuchVersion(_)
                | StoreError::NoSuchBucket(_)
                | StoreError::DeleteMarker { .. },
            ) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Both rows are of one commit.
        let ended_ms = upload.expires_ms.map(|at| at - FINISHED_KEPT_MS);
        let is_same = !version.is_null() || ended_ms == Some(object.modified_ms);
        Ok(is_same.then_some(object))
    }

    /// Encrypts the complete files of an upload, when its bucket encrypts by default: they are read and written once more.
    pub(super) async fn encrypted_upload(
        &self,
        row: &UploadRow,
        slices: Vec<Slice>,
    ) -> Result<Option<(EncryptedUpload, Option<SealedBlob>)>, StoreError> {
        let Some(encryption) = self.encryption(&bucket_of(row)?, None).await? else {
            return Ok(None);
        };
        let size = slices.iter().map(|slice| slice.length).sum();
        let options = WriteOptions {
            size: Some(size),
            encryption: Some(encryption.clone()),
            ..WriteOptions::default()
        };
        let mut writer = self.writer(options).await?;
        let reader = ObjectReader::of_blobs(self.0.blobs.reader(slices).await?);
        pour(reader.body(0..size), &mut writer).await?;
        let says = self.encrypted(&encryption).await?;
        Ok(Some(match writer.seal().await?.bytes {
            SealedBytes::Inline(bytes) => {
                let bytes = Source::Inline(bytes);
                (EncryptedUpload { says, bytes }, None)
            }
            SealedBytes::Blob(blob) => {
                let bytes = Source::Fresh(FreshBlob::from(&blob));
                (EncryptedUpload { says, bytes }, Some(blob))
            }
        }))
    }
}

/// What the door of an upload keeps in its row and its end obeys.
#[derive(Default, Deserialize)]
struct Wish {
    /// The object may not be there yet.
    #[serde(default)]
    only_new: bool,
}

/// The condition under which an upload was begun.
fn condition_of(row: &UploadRow) -> Result<Condition, StoreError> {
    let wish: Wish = if row.metadata.contains("only_new") {
        json("upload.metadata", &row.metadata)?
    } else {
        Wish::default()
    };
    Ok(Condition {
        if_none_match: wish.only_new.then(|| "*".to_owned()),
        ..Condition::default()
    })
}

/// The bucket of an upload.
pub(super) fn bucket_of(row: &UploadRow) -> Result<BucketName, StoreError> {
    row.bucket
        .parse()
        .map_err(|e| StoreError::Damaged(format!("bucket.name {}: {e}", row.bucket)))
}

/// Turns an upload with all its bytes into its object.
#[expect(
    clippy::too_many_arguments,
    reason = "the parts of one commit, used once"
)]
pub(super) async fn finish_in(
    tx: &mut Tx,
    id: UploadId,
    row: &UploadRow,
    size: u64,
    digest: BlobDigest,
    encrypted: Option<EncryptedUpload>,
    planner: &Planner,
    now_ms: Millis,
) -> Result<Outcome, StoreError> {
    let blob: BlobId = row
        .blob()?
        .ok_or_else(|| StoreError::NoSuchUpload(id.to_string()))?;
    let bucket = bucket_of(row)?;
    let headers: ObjectHeaders = json("upload.headers", &row.headers)?;
    let tags: Tags = json("upload.tags", &row.tags)?;
    let mut extras: ObjectExtras = json("upload.extras", &row.extras)?;
    let mut dead = Vec::new();
    let source = if encrypted.is_some() || size == 0 {
        // The upload's reference is the only one; its plaintext goes, or there is none and no extent can hold nothing.
        if tx.release_blob(blob, 1).await? {
            dead.push(blob);
        }
        match encrypted {
            Some(encrypted) => {
                extras.sse = Some(encrypted.says);
                encrypted.bytes
            }
            None => Source::Inline(Vec::new()),
        }
    } else {
        if !tx
            .finish_blob(blob, size, &digest.blake3, &digest.sums)
            .await?
        {
            return Err(StoreError::NoSuchUpload(id.to_string()));
        }
        // The reference goes from the upload to the object.
        Source::Owned(vec![Extent {
            blob,
            offset: 0,
            length: size,
        }])
    };
    let draft = Draft {
        put: PutObject {
            bucket,
            key: row.key()?,
            headers,
            tags,
            extras,
            owner: row.owner.clone(),
            condition: condition_of(row)?,
            etag: None,
        },
        size,
        etag: ETag::from_content(&digest.blake3),
        content_id: ContentId(digest.blake3),
        checksums: Checksums::default(),
        source,
        via: "put",
    };
    let mut outcome = publish_in(tx, draft, planner, now_ms).await?;
    outcome.dead.extend(dead);
    let version = outcome.row.version_id()?;
    if !tx
        .finish_upload(id, version.as_str(), size, Some(now_ms + FINISHED_KEPT_MS))
        .await?
    {
        return Err(StoreError::NoSuchUpload(id.to_string()));
    }
    Ok(outcome)
}
