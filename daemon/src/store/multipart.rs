//! S3 multipart: parts are blobs of their own, and completion turns them into the extents of one object.

use std::collections::BTreeMap;

use md5::Digest as _;
use serde::{Deserialize, Serialize};

use super::bucket::existing;
use super::checksum::{ChecksumAlgorithm, ChecksumKind, Checksums, PartSummary, combine};
use super::extras::ObjectExtras;
use super::finish::FINISHED_KEPT_MS;
use super::headers::{ObjectHeaders, Tags};
use super::object::{json, to_json};
use super::parts::{content_of, part, release_parts};
use super::publish::{Condition, Draft, Outcome, Published, PutObject, Source, publish_in};
use super::{Planner, Store, StoreError};
use crate::catalog::{
    Extent, NewUpload, PartRow, Protocol, Tx, UploadRole, UploadRow, UploadState,
};
use crate::kernel::limits::PART_BYTES_MIN;
use crate::kernel::{BucketName, ContentId, ETag, Millis, ObjectKey, UploadId};

/// A multipart upload to be begun.
#[derive(Clone, Debug)]
pub struct NewMultipart {
    /// The bucket.
    pub bucket: BucketName,
    /// The key of the object to be.
    pub key: ObjectKey,
    /// Its headers.
    pub headers: ObjectHeaders,
    /// Its tags.
    pub tags: Tags,
    /// Access list, lock and encryption of the object to be.
    pub extras: ObjectExtras,
    /// Who begins it.
    pub owner: String,
    /// The checksum that every part carries, when one was chosen, and how the object's follows from them.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// What only this protocol keeps in the upload's row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultipartMetadata {
    /// The checksum chosen at the beginning.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// A part as the client names it at completion.
#[derive(Clone, Debug)]
pub struct CompletedPart {
    /// Its number.
    pub number: u32,
    /// Its entity tag, quoted or not.
    pub etag: String,
    /// Its checksums, where the client repeats them.
    pub checksums: BTreeMap<ChecksumAlgorithm, String>,
}

impl Store {
    /// Begins a multipart upload.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`].
    pub async fn begin_multipart(&self, new: NewMultipart) -> Result<UploadId, StoreError> {
        let id = UploadId::random();
        let now_ms = self.0.clock.now_ms();
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let bucket = existing(tx, &new.bucket).await?;
                    tx.insert_upload(&NewUpload {
                        id,
                        protocol: Protocol::S3,
                        role: UploadRole::Whole,
                        bucket_id: bucket.id,
                        key: new.key,
                        owner: new.owner,
                        length: None,
                        blob: None,
                        lane: None,
                        headers: to_json(&new.headers),
                        tags: to_json(&new.tags),
                        metadata: to_json(&MultipartMetadata {
                            checksum: new.checksum,
                        }),
                        extras: to_json(&new.extras),
                        created_ms: now_ms,
                        expires_ms: None,
                    })
                    .await?;
                    Ok::<_, StoreError>(())
                })
            })
            .await?;
        Ok(id)
    }

    /// The row of a multipart upload to this key, open or completed a short while ago.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`].
    pub async fn multipart(
        &self,
        id: UploadId,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<(UploadRow, MultipartMetadata), StoreError> {
        let row = self.0.catalog.upload(id).await?;
        let row = ours(row, id, bucket, key)?;
        let metadata = json("upload.metadata", &row.metadata)?;
        Ok((row, metadata))
    }

    /// Turns the named parts into one object; repeating it after a success answers the same.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`], [`StoreError::InvalidPart`], [`StoreError::InvalidPartOrder`], [`StoreError::PartTooSmall`], and those of [`Store::publish`]; then the upload stays open.
    pub async fn complete_multipart(
        &self,
        id: UploadId,
        bucket: &BucketName,
        key: &ObjectKey,
        parts: Vec<CompletedPart>,
        condition: Condition,
    ) -> Result<Published, StoreError> {
        let (row, _) = self.multipart(id, bucket, key).await?;
        if let (UploadState::Finished, Some(version)) = (row.state(), &row.version_id) {
            let version = version
                .parse()
                .map_err(|_| StoreError::Damaged(format!("upload.version_id {version}")))?;
            let object = self.head(bucket, key, Some(&version)).await?;
            return Ok(Published {
                is_versioned: !object.version_id.is_null(),
                object,
            });
        }
        let store = self.clone();
        let (bucket, key) = (bucket.clone(), key.clone());
        self.finish(None, async move {
            let now_ms = store.0.clock.now_ms();
            let planner = store.0.planner.clone();
            let change = store.0.catalog.write(move |tx| {
                Box::pin(async move {
                    complete_in(tx, id, &bucket, &key, &parts, condition, &planner, now_ms).await
                })
            });
            let outcome = change.await?;
            store.published(outcome).await
        })
        .await
    }

    /// Drops a multipart upload and its parts.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`].
    pub async fn abort_multipart(
        &self,
        id: UploadId,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<(), StoreError> {
        let (bucket, key) = (bucket.clone(), key.clone());
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
                    let parts = tx.parts(id).await?;
                    tx.delete_parts(id).await?;
                    tx.delete_upload(id).await?;
                    release_parts(tx, &parts).await
                })
            })
            .await?;
        self.bury(dead).await;
        Ok(())
    }

    /// Open multipart uploads of a bucket after (`key`, `id`), by key and id.
    pub async fn multipart_uploads(
        &self,
        bucket: &BucketName,
        key: &str,
        id: &str,
        limit: usize,
    ) -> Result<Vec<UploadRow>, StoreError> {
        let bucket = self.bucket(bucket).await?;
        Ok(self
            .0
            .catalog
            .bucket_uploads(bucket.id, key.as_bytes(), id, limit as i64)
            .await?)
    }
}

/// An upload is found only under the name it was begun for.
pub(super) fn ours(
    row: Option<UploadRow>,
    id: UploadId,
    bucket: &BucketName,
    key: &ObjectKey,
) -> Result<UploadRow, StoreError> {
    let missing = || StoreError::NoSuchUpload(id.to_string());
    let row = row.ok_or_else(missing)?;
    let same = row.protocol == Protocol::S3.as_str()
        && row.bucket == bucket.as_str()
        && row.key()? == *key;
    if same { Ok(row) } else { Err(missing()) }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the arguments of one request, used once"
)]
async fn complete_in(
    tx: &mut Tx,
    id: UploadId,
    bucket: &BucketName,
    key: &ObjectKey,
    named: &[CompletedPart],
    condition: Condition,
    planner: &Planner,
    now_ms: Millis,
) -> Result<Outcome, StoreError> {
    let bucket_id = existing(tx, bucket).await?.id;
    tx.lock_key(bucket_id, key).await?;
    let upload = ours(tx.upload(id).await?, id, bucket, key)?;
    if upload.state() != UploadState::Open {
        return Err(StoreError::NoSuchUpload(id.to_string()));
    }
    let mut stored: BTreeMap<u32, PartRow> = tx
        .parts(id)
        .await?
        .into_iter()
        .map(|row| (row.number as u32, row))
        .collect();
    let chosen = choose(named, &mut stored)?;

    let mut extents = Vec::with_capacity(chosen.len());
    let mut summaries = Vec::with_capacity(chosen.len());
    let mut etags = md5::Md5::new();
    for row in &chosen {
        let part = part(row)?;
        etags.update(hex::decode(part.etag.as_str()).unwrap_or_default());
        summaries.push(PartSummary {
            number: part.number,
            size_bytes: part.size,
            values: part.checksums,
        });
        extents.extend(row.extents()?);
    }
    let metadata: MultipartMetadata = json("upload.metadata", &upload.metadata)?;
    let mut checksums = Checksums {
        parts: summaries,
        ..Checksums::default()
    };
    if let Some((algorithm, kind)) = metadata.checksum {
        checksums.kind = kind;
        checksums
            .values
            .extend(combine(algorithm, kind, &checksums.parts).map(|value| (algorithm, value)));
    }
    let draft = Draft {
        put: PutObject {
            bucket: bucket.clone(),
            key: key.clone(),
            headers: json("upload.headers", &upload.headers)?,
            tags: json("upload.tags", &upload.tags)?,
            extras: json("upload.extras", &upload.extras)?,
            owner: upload.owner.clone(),
            condition,
            etag: None,
        },
        size: checksums.parts.iter().map(|part| part.size_bytes).sum(),
        etag: ETag::from_parts(etags.finalize().into(), chosen.len()),
        content_id: content_in(tx, &extents).await?,
        checksums,
        source: Source::Owned(extents),
        via: "multipart",
    };
    let mut outcome = publish_in(tx, draft, planner, now_ms).await?;
    let unused: Vec<PartRow> = stored.into_values().collect();
    outcome.dead.extend(release_parts(tx, &unused).await?);
    tx.delete_parts(id).await?;
    let version = outcome.row.version_id()?;
    tx.finish_upload(
        id,
        version.as_str(),
        outcome.row.size(),
        Some(now_ms + FINISHED_KEPT_MS),
    )
    .await?;
    Ok(outcome)
}

/// Takes the named parts out of the stored ones.
fn choose(
    named: &[CompletedPart],
    stored: &mut BTreeMap<u32, PartRow>,
) -> Result<Vec<PartRow>, StoreError> {
    if named
        .windows(2)
        .any(|pair| pair[0].number >= pair[1].number)
    {
        return Err(StoreError::InvalidPartOrder);
    }
    let mut chosen = Vec::with_capacity(named.len());
    for wanted in named {
        let row = stored
            .remove(&wanted.number)
            .ok_or(StoreError::InvalidPart(wanted.number))?;
        let part = part(&row)?;
        let differs = |(algorithm, value): (&ChecksumAlgorithm, &String)| {
            part.checksums
                .get(algorithm)
                .is_some_and(|own| own != value)
        };
        if !part.etag.matches(&wanted.etag) || wanted.checksums.iter().any(differs) {
            return Err(StoreError::InvalidPart(wanted.number));
        }
        chosen.push(row);
    }
    let (Some(_), whole) = (chosen.last(), &chosen[..chosen.len().saturating_sub(1)]) else {
        return Err(StoreError::InvalidPart(1));
    };
    match whole
        .iter()
        .find(|row| (row.size_bytes as u64) < PART_BYTES_MIN)
    {
        Some(row) => Err(StoreError::PartTooSmall {
            number: row.number as u32,
            size_bytes: row.size_bytes as u64,
        }),
        None => Ok(chosen),
    }
}

/// The same, but the hash of the bytes themselves where they are one whole blob.
pub(super) async fn content_in(tx: &mut Tx, extents: &[Extent]) -> Result<ContentId, StoreError> {
    if let [only] = extents
        && let Some(blob) = tx.blob(only.blob).await?
        && only.offset == 0
        && only.length == blob.size_bytes as u64
        && let Some(hash) = blob.blake3.as_deref().and_then(|hash| hash.try_into().ok())
    {
        return Ok(ContentId(hash));
    }
    Ok(content_of(extents))
}
