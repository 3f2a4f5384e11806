//! Looking objects up.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::checksum::Checksums;
use super::extras::ObjectExtras;
use super::headers::{ObjectHeaders, Tags};
use super::{Store, StoreError};
use crate::catalog::{CatalogError, ObjectRow};
use crate::kernel::{BucketName, ContentId, ETag, Millis, ObjectKey, VersionId};

/// Objects that are kept as they were read out of their rows.
const READ_MAX: usize = 256;

/// Objects that were read out of their rows lately: for a small range of a hot film that costs more than to find the row.
///
/// Each is kept with its row and holds as long as the catalog gives that very row again, so nothing need be forgotten.
#[derive(Default)]
pub(super) struct ReadLately(Mutex<HashMap<i64, Read>>);

/// A row, and what was read out of it.
type Read = (Arc<ObjectRow>, Arc<Object>);

impl ReadLately {
    fn get(&self, row: &Arc<ObjectRow>) -> Option<Arc<Object>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, object) = known.get(&row.id)?;
        Arc::ptr_eq(from, row).then(|| Arc::clone(object))
    }

    fn put(&self, row: &Arc<ObjectRow>, object: &Arc<Object>) {
        // The bytes of small objects are in their rows: they are not held twice.
        if row.is_inline {
            return;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= READ_MAX && !known.contains_key(&row.id) {
            known.clear();
        }
        known.insert(row.id, (Arc::clone(row), Arc::clone(object)));
    }
}

/// One version of an object.
#[derive(Clone, Debug)]
pub struct Object {
    /// Row id: orders the versions of a key.
    pub row_id: i64,
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// The version; `null` in a bucket without versioning.
    pub version_id: VersionId,
    /// Whether a plain read sees this version.
    pub is_latest: bool,
    /// Bytes.
    pub size: u64,
    /// The entity tag.
    pub etag: ETag,
    /// What the bytes are, whatever they are called.
    pub content_id: ContentId,
    /// System headers and user metadata.
    pub headers: ObjectHeaders,
    /// Tags.
    pub tags: Tags,
    /// Checksums and the parts of a multipart object.
    pub checksums: Checksums,
    /// Access list, lock and encryption.
    pub extras: ObjectExtras,
    /// Who wrote it.
    pub owner: String,
    /// When it was published.
    pub modified_ms: Millis,
    /// The bytes of a small object, when the look-up was for reading.
    pub(super) inline: Option<Bytes>,
    /// Whether the bytes lie in the row rather than in blobs.
    pub(super) is_inline: bool,
}

pub(super) fn json<T: serde::de::DeserializeOwned>(
    what: &str,
    text: &str,
) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| CatalogError::Corrupt(format!("{what}: {e}")).into())
}

pub(super) fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("maps of strings always serialise")
}

impl Object {
    /// Whether [`Object::content_id`] is the BLAKE3 of the bytes: it is for all but multipart objects of several parts, or encrypted ones of any, and those whose key the customer keeps.
    pub fn is_hashed_whole(&self) -> bool {
        match self.encrypted() {
            None => self.checksums.parts.len() <= 1,
            Some(encrypted) => self.checksums.parts.is_empty() && !encrypted.is_customers(),
        }
    }

    /// Refuses an object whose rows are known to be damaged.
    pub(super) fn refuse_damaged(&self) -> Result<(), StoreError> {
        if self.extras.damaged {
            let why = "its rows in the catalog are damaged";
            return Err(StoreError::ObjectDamaged(why.into()));
        }
        Ok(())
    }

    pub(super) fn from_row(row: ObjectRow) -> Result<Self, StoreError> {
        let bucket = row
            .bucket
            .parse()
            .map_err(|e| CatalogError::Corrupt(format!("bucket.name {}: {e}", row.bucket)))?;
        Ok(Self {
            row_id: row.id,
            bucket,
            key: row.key()?,
            version_id: row.version_id()?,
            is_latest: row.is_latest,
            size: row.size(),
            etag: row.etag(),
            content_id: row.content_id().unwrap_or(ContentId([0; 32])),
            headers: json("object_version.headers", &row.headers)?,
            tags: json("object_version.tags", &row.tags)?,
            checksums: json("object_version.checksums", &row.checksums)?,
            extras: json("object_version.extras", &row.extras)?,
            owner: row.owner,
            modified_ms: row.modified_ms,
            inline: row.inline.map(Bytes::from),
            is_inline: row.is_inline,
        })
    }
}

impl Store {
    /// A version of an object, the latest by default, ready to be read.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`], [`StoreError::NoSuchKey`], [`StoreError::NoSuchVersion`], [`StoreError::DeleteMarker`].
    pub async fn object(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<&VersionId>,
    ) -> Result<Object, StoreError> {
        let row = match version {
            None => self.0.catalog.object(bucket, key).await?,
            Some(version) => self.0.catalog.object_version(bucket, key, version).await?,
        };
        self.found(row, bucket, key, version).await
    }

    /// The same without its bytes: for HEAD and for decisions.
    pub async fn head(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<&VersionId>,
    ) -> Result<Object, StoreError> {
        let row = match version {
            None => return Ok(Object::clone(&*self.look(bucket, key).await?)),
            Some(version) => self.0.catalog.object_version(bucket, key, version).await?,
        };
        self.found(row, bucket, key, version).await
    }

    /// The latest version, without its bytes, shared with whoever asks for it at the same time.
    ///
    /// # Errors
    /// Those of [`Store::head`].
    pub async fn look(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Arc<Object>, StoreError> {
        let row = self.0.catalog.object_head(bucket, key).await?;
        if let Some(object) = row.as_ref().and_then(|row| self.0.read_lately.get(row)) {
            return Ok(object);
        }
        let kept = row.clone();
        let row = row.map(Arc::unwrap_or_clone);
        let object = Arc::new(self.found(row, bucket, key, None).await?);
        if let Some(row) = kept {
            self.0.read_lately.put(&row, &object);
        }
        Ok(object)
    }

    /// Some version that holds this content.
    pub async fn object_with_content(
        &self,
        content: ContentId,
    ) -> Result<Option<Object>, StoreError> {
        Ok(self.objects_with_content(content, 1).await?.pop())
    }

    /// Up to `limit` versions that hold this content, those that are the latest of their keys first.
    pub async fn objects_with_content(
        &self,
        content: ContentId,
        limit: usize,
    ) -> Result<Vec<Object>, StoreError> {
        let rows = self.0.catalog.objects_with_content(content, limit as i64);
        rows.await?.into_iter().map(Object::from_row).collect()
    }

    /// Replaces the tags of a version; one that was deleted meanwhile stays deleted.
    pub async fn set_tags(&self, object: &Object, tags: Tags) -> Result<(), StoreError> {
        let row_id = object.row_id;
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    tx.set_object_tags(row_id, &to_json(&tags)).await?;
                    Ok::<_, StoreError>(())
                })
            })
            .await
    }

    async fn found(
        &self,
        row: Option<ObjectRow>,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<&VersionId>,
    ) -> Result<Object, StoreError> {
        match row {
            Some(row) if row.is_delete_marker => Err(StoreError::DeleteMarker {
                key: key.to_string(),
                version_id: row.version_id()?.to_string(),
                is_latest: row.is_latest,
            }),
            Some(row) => Object::from_row(row),
            None if self.0.catalog.bucket(bucket).await?.is_none() => {
                Err(StoreError::NoSuchBucket(bucket.to_string()))
            }
            None => Err(match version {
                Some(version) => StoreError::NoSuchVersion(version.to_string()),
                None => StoreError::NoSuchKey(key.to_string()),
            }),
        }
    }
}
