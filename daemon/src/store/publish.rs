//! Giving bytes a name: the one place where an object version comes into being.

use serde_json::json as object;

use super::bucket::existing;
use super::checksum::Checksums;
use super::delete::remove_version;
use super::extras::ObjectExtras;
use super::headers::{ObjectHeaders, Tags};
use super::object::{Object, to_json};
use super::quota::Delta;
use super::writer::{Sealed, SealedBytes};
use super::{Planner, Store, StoreError, lock, quota};
use crate::blob::{BlobDigest, SealedBlob};
use crate::catalog::{
    BlobState, EventKind, Extent, NewEvent, NewObject, ObjectRow, Tx, Versioning,
};
use crate::kernel::{BlobId, BucketName, ContentId, ETag, Millis, ObjectKey, VersionId};

/// What must be true of the key at the moment of the commit (RFC 9110 §13.1.1 and §13.1.2).
#[derive(Clone, Debug, Default)]
pub struct Condition {
    /// `If-Match`: a list of entity tags or `*`.
    pub if_match: Option<String>,
    /// `If-None-Match`: a list of entity tags or `*`.
    pub if_none_match: Option<String>,
    /// When it was published, to the second (`x-amz-if-match-last-modified-time`).
    pub if_modified_at_s: Option<i64>,
    /// Its bytes (`x-amz-if-match-size`).
    pub if_size: Option<u64>,
}

impl Condition {
    /// Decides a write against the latest version, which may be a delete marker or absent.
    pub(super) fn check(
        &self,
        latest: Option<&ObjectRow>,
        key: &ObjectKey,
    ) -> Result<(), StoreError> {
        let current = latest.filter(|row| !row.is_delete_marker);
        if let Some(tags) = &self.if_match {
            match current {
                None => return Err(StoreError::NoSuchKey(key.to_string())),
                Some(row) if !row.etag().matches_any(tags) => {
                    return Err(StoreError::PreconditionFailed("If-Match"));
                }
                Some(_) => {}
            }
        }
        if let Some(row) = current {
            self.check_facts(row)?;
        }
        if let (Some(tags), Some(row)) = (&self.if_none_match, current)
            && row.etag().matches_any_weakly(tags)
        {
            return Err(StoreError::PreconditionFailed("If-None-Match"));
        }
        Ok(())
    }

    /// Decides a deletion against the version that it is about.
    ///
    /// Deleting nothing succeeds whatever the condition; a delete marker is something, but has no tag, and nothing that `*` would mean (Amazon S3, DeleteObject).
    pub(super) fn check_deletion(
        &self,
        named: Option<&ObjectRow>,
        key: &ObjectKey,
    ) -> Result<(), StoreError> {
        let is_conditional =
            self.if_match.is_some() || self.if_modified_at_s.is_some() || self.if_size.is_some();
        match (named, self.if_match.as_deref()) {
            (None, _) if !is_conditional => Ok(()),
            (Some(row), _) if !row.is_delete_marker => self.check(Some(row), key),
            (None, _) | (Some(_), Some("*")) => Err(StoreError::NoSuchKey(key.to_string())),
            (Some(_), Some(_)) => Err(StoreError::PreconditionFailed("If-Match")),
            (Some(row), None) => self.check_facts(row),
        }
    }

    fn check_facts(&self, row: &ObjectRow) -> Result<(), StoreError> {
        let modified_at_s = row.modified_ms.div_euclid(1000);
        if self.if_modified_at_s.is_some_and(|at| at != modified_at_s) {
            return Err(StoreError::PreconditionFailed(
                "x-amz-if-match-last-modified-time",
            ));
        }
        if self.if_size.is_some_and(|size| size != row.size()) {
            return Err(StoreError::PreconditionFailed("x-amz-if-match-size"));
        }
        Ok(())
    }
}

/// An object to be published.
#[derive(Clone, Debug)]
pub struct PutObject {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// System headers and user metadata.
    pub headers: ObjectHeaders,
    /// Tags.
    pub tags: Tags,
    /// Access list, lock and encryption.
    pub extras: ObjectExtras,
    /// Who writes it.
    pub owner: String,
    /// What must be true of the key.
    pub condition: Condition,
    /// The entity tag, when it is not the MD5 of the bytes.
    pub etag: Option<ETag>,
}

/// A copy to be made: of rows only, where the bytes can stay as they are.
#[derive(Clone, Debug)]
pub struct Copy {
    /// What to copy.
    pub source: Object,
    /// The bucket of the copy.
    pub bucket: BucketName,
    /// The key of the copy.
    pub key: ObjectKey,
    /// New headers; `None` keeps the source's.
    pub headers: Option<ObjectHeaders>,
    /// New tags; `None` keeps the source's.
    pub tags: Option<Tags>,
    /// Access list, lock and encryption.
    pub extras: ObjectExtras,
    /// Who writes it.
    pub owner: String,
    /// What must be true of the key.
    pub condition: Condition,
}

/// What was published.
#[derive(Clone, Debug)]
pub struct Published {
    /// The new version.
    pub object: Object,
    /// Whether the bucket keeps versions, so that the version id is worth telling.
    pub is_versioned: bool,
}

/// Everything that the publishing transaction needs, whatever the bytes came from.
pub(super) struct Draft {
    pub(super) put: PutObject,
    pub(super) size: u64,
    pub(super) etag: ETag,
    pub(super) content_id: ContentId,
    pub(super) checksums: Checksums,
    pub(super) source: Source,
    /// How it came, as the event tells it: `put`, `copy` or `multipart`.
    pub(super) via: &'static str,
}

/// Where the bytes of a draft lie.
pub(super) enum Source {
    /// In the row.
    Inline(Vec<u8>),
    /// In a blob that has no row yet.
    Fresh(FreshBlob),
    /// In live blobs that gain a reference.
    Shared(Vec<Extent>),
    /// In live blobs whose references are handed over.
    Owned(Vec<Extent>),
}

/// What the row of a fresh blob says: of the file as it lies on the disk, which may be encrypted.
#[derive(Clone)]
pub(super) struct FreshBlob {
    pub(super) id: BlobId,
    pub(super) size: u64,
    pub(super) digest: BlobDigest,
}

impl From<&SealedBlob> for FreshBlob {
    fn from(blob: &SealedBlob) -> Self {
        Self {
            id: blob.id,
            size: blob.size,
            digest: blob.digest.clone(),
        }
    }
}

impl FreshBlob {
    /// Enters the row, with one reference.
    pub(super) async fn enter(&self, tx: &mut Tx, now_ms: Millis) -> Result<(), StoreError> {
        let digest = &self.digest;
        tx.insert_live_blob(self.id, self.size, 1, &digest.blake3, &digest.sums, now_ms)
            .await?;
        Ok(())
    }
}

/// The outcome of a publishing transaction.
pub(super) struct Outcome {
    pub(super) row: ObjectRow,
    pub(super) versioning: Versioning,
    pub(super) dead: Vec<BlobId>,
    pub(super) has_jobs: bool,
}

impl Store {
    /// Publishes sealed bytes under a name; when this returns, the object is durable and visible.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`], [`StoreError::PreconditionFailed`], [`StoreError::NoSuchKey`] for an `If-Match` on nothing; then the bytes are gone.
    pub async fn publish(&self, put: PutObject, sealed: Sealed) -> Result<Published, StoreError> {
        self.publish_via(put, sealed, "put").await
    }

    /// The same, with another word for the event: `post` for what a form brought.
    ///
    /// # Errors
    /// As [`Store::publish`].
    pub async fn publish_via(
        &self,
        mut put: PutObject,
        sealed: Sealed,
        via: &'static str,
    ) -> Result<Published, StoreError> {
        put.extras.sse = match &sealed.encryption {
            Some(encryption) => Some(self.encrypted(encryption).await?),
            None => None,
        };
        let etag = put.etag.clone().unwrap_or_else(|| sealed.etag());
        let checksums = Checksums {
            values: sealed.checksums,
            ..Checksums::default()
        };
        let (source, fresh) = match sealed.bytes {
            SealedBytes::Inline(bytes) => (Source::Inline(bytes), None),
            SealedBytes::Blob(blob) => (Source::Fresh(FreshBlob::from(&blob)), Some(blob)),
        };
        let draft = Draft {
            put,
            size: sealed.size,
            etag,
            content_id: sealed.content_id,
            checksums,
            source,
            via,
        };
        self.publish_draft(draft, fresh).await
    }

    pub(super) async fn publish_draft(
        &self,
        draft: Draft,
        fresh: Option<SealedBlob>,
    ) -> Result<Published, StoreError> {
        let store = self.clone();
        self.finish(fresh, async move {
            let now_ms = store.0.clock.now_ms();
            let planner = store.0.planner.clone();
            let change = store.0.catalog.write(move |tx| {
                Box::pin(async move { publish_in(tx, draft, &planner, now_ms).await })
            });
            let outcome = change.await?;
            store.published(outcome).await
        })
        .await
    }

    /// Runs a commit to its end even when the caller goes away, and holds the file of a fresh blob until the outcome is known.
    ///
    /// A file is removed only when the commit certainly did not happen; in doubt it stays, at worst as an orphan that the next start collects.
    pub(super) fn finish<T: Send + 'static>(
        &self,
        fresh: Option<SealedBlob>,
        commit: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        let blobs = self.0.blobs.clone();
        // Kept before the commit: should this task be torn down while it waits, an orphan is the worst that is left.
        let commit = async move {
            let lock = fresh.map(SealedBlob::keep);
            let outcome = commit.await;
            if let (Some(lock), Err(error)) = (&lock, &outcome)
                && !error.is_in_doubt()
                && let Err(error) = blobs.remove(lock.id()).await
            {
                tracing::warn!(blob.id = %lock.id(), %error, "the file of a refused object stays for now: {error}");
            }
            outcome
        };
        self.to_its_end(commit)
    }

    /// What every publication does after its commit.
    pub(super) async fn published(&self, outcome: Outcome) -> Result<Published, StoreError> {
        self.touch();
        if outcome.has_jobs {
            self.0.bell.ring();
        }
        self.bury(outcome.dead).await;
        let is_versioned = outcome.versioning == Versioning::Enabled;
        Ok(Published {
            object: Object::from_row(outcome.row)?,
            is_versioned,
        })
    }
}

/// Publishes a draft inside a transaction; the caller buries the dead after the commit.
pub(super) async fn publish_in(
    tx: &mut Tx,
    draft: Draft,
    planner: &Planner,
    now_ms: Millis,
) -> Result<Outcome, StoreError> {
    let Draft {
        mut put,
        size,
        etag,
        content_id,
        checksums,
        source,
        via,
    } = draft;
    let bucket = existing(tx, &put.bucket).await?;
    let versioning = bucket.versioning();
    tx.lock_key(bucket.id, &put.key).await?;
    let latest = tx.object(bucket.id, &put.key).await?;
    put.condition.check(latest.as_ref(), &put.key)?;
    put.extras.lock = lock::of_new(&bucket, put.extras.lock, now_ms)?;

    let version_id = if versioning == Versioning::Enabled {
        VersionId::random()
    } else {
        VersionId::null()
    };
    let (inline, extents) = take_source(tx, source, size, now_ms).await?;
    let mut dead = Vec::new();
    let mut freed = None;
    if versioning != Versioning::Enabled && latest.is_some() {
        let replaced = match &latest {
            Some(row) if row.version_id()?.is_null() => latest.clone(),
            _ => tx.object_version(bucket.id, &put.key, &version_id).await?,
        };
        if let Some(row) = replaced {
            dead = remove_version(tx, &row, false, now_ms).await?;
            freed = Some(row);
        }
    }
    if latest.is_some() {
        tx.demote_latest(bucket.id, &put.key).await?;
    }
    let new = NewObject {
        bucket_id: bucket.id,
        key: put.key.clone(),
        version_id,
        is_delete_marker: false,
        size,
        etag,
        content_id: Some(content_id),
        headers: to_json(&put.headers),
        tags: to_json(&put.tags),
        checksums: to_json(&checksums),
        extras: to_json(&put.extras),
        inline,
        owner: put.owner.clone(),
        modified_ms: now_ms,
    };
    let id = tx.insert_object(&new).await?;
    tx.insert_extents(id, &extents).await?;
    let row = ObjectRow::published(id, put.bucket.as_str(), &new);
    let published = Object::from_row(row.clone())?;
    tx.insert_event(&NewEvent {
        time_ms: now_ms,
        kind: EventKind::ObjectCreated,
        bucket: Some(put.bucket.to_string()),
        key: Some(put.key.to_string()),
        version_id: Some(new.version_id.to_string()),
        payload: object!({ "size_bytes": size, "etag": new.etag.as_str(), "owner": put.owner, "content_id": content_id.to_string(), "via": via }).to_string(),
    })
    .await?;
    let jobs = planner(&published);
    for job in &jobs {
        tx.insert_job(job).await?;
    }
    let added = Delta {
        owner: &put.owner,
        bytes: size as i64,
        objects: 1,
    };
    quota::count(tx, &bucket, Some(added), freed.as_ref().map(Delta::less)).await?;
    Ok(Outcome {
        row,
        versioning,
        dead,
        has_jobs: !jobs.is_empty(),
    })
}

/// Secures the bytes of a draft for the transaction: a row for a fresh blob, a reference for a shared one.
async fn take_source(
    tx: &mut Tx,
    source: Source,
    size: u64,
    now_ms: Millis,
) -> Result<(Option<Vec<u8>>, Vec<Extent>), StoreError> {
    match source {
        Source::Inline(bytes) => Ok((Some(bytes), Vec::new())),
        Source::Fresh(blob) => {
            blob.enter(tx, now_ms).await?;
            Ok((
                None,
                vec![Extent {
                    blob: blob.id,
                    offset: 0,
                    length: size,
                }],
            ))
        }
        Source::Shared(extents) => {
            for extent in &extents {
                refer(tx, extent.blob).await?;
            }
            Ok((None, extents))
        }
        Source::Owned(extents) => Ok((None, extents)),
    }
}

/// Adds a reference for a copy.
///
/// # Errors
/// [`StoreError::ObjectDamaged`] when the source is known to be damaged; [`StoreError::NoSuchKey`] when it was deleted meanwhile.
pub(super) async fn refer(tx: &mut Tx, blob: BlobId) -> Result<(), StoreError> {
    if tx.refer_blob(blob, 1).await? {
        return Ok(());
    }
    match tx.blob(blob).await? {
        Some(row) if row.state()? == BlobState::Quarantined => Err(StoreError::ObjectDamaged(
            format!("blob {blob} was found damaged"),
        )),
        _ => Err(StoreError::NoSuchKey(
            "the source was deleted while it was copied".into(),
        )),
    }
}
