//! Deleting: a delete marker where versions are kept, else the version itself.

use super::bucket::existing;
use super::object::to_json;
use super::publish::Condition;
use super::{Store, StoreError, lock, quota};
use crate::catalog::{EventKind, NewEvent, NewObject, ObjectRow, Tx, Versioning};
use crate::kernel::{BlobId, BucketName, ETag, Millis, ObjectKey, VersionId};

/// What a deletion did; deleting nothing is a success, as S3 has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// The delete marker that was made, or the version that was removed.
    pub version_id: Option<VersionId>,
    /// Whether that version is (or was) a delete marker.
    pub is_delete_marker: bool,
    /// Whether there was anything to delete.
    pub existed: bool,
}

/// What is to be deleted, by whom, and when.
#[derive(Clone, Debug)]
pub struct Removal {
    /// The bucket.
    pub bucket: BucketName,
    /// The key.
    pub key: ObjectKey,
    /// One version of it; `None` deletes as the bucket's versioning has it.
    pub version: Option<VersionId>,
    /// What must be true of that version, or of the latest.
    pub condition: Condition,
    /// Whether retention in governance mode may be bypassed: the caller has the right and says so.
    pub bypass_governance: bool,
    /// Who deletes.
    pub owner: String,
}

impl Store {
    /// Deletes an object, or one named version of it.
    ///
    /// Without a version: where versioning is enabled a delete marker becomes the latest version; where it is suspended the `null` version is replaced by one; else the object goes.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`]; [`StoreError::PreconditionFailed`] when `condition` does not hold.
    pub async fn delete(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: Option<&VersionId>,
        condition: Condition,
        owner: &str,
    ) -> Result<Deleted, StoreError> {
        self.remove(Removal {
            bucket: bucket.clone(),
            key: key.clone(),
            version: version.cloned(),
            condition,
            bypass_governance: false,
            owner: owner.into(),
        })
        .await
    }

    /// The same, with the right to bypass retention in governance mode.
    ///
    /// # Errors
    /// Those of [`Store::delete`]; [`StoreError::Locked`] when the version is held or retained.
    pub async fn remove(&self, removal: Removal) -> Result<Deleted, StoreError> {
        match self.remove_once(removal.clone()).await {
            // The rows of a deletion need space too, and deletions are what gives it.
            Err(StoreError::Full) if self.0.blobs.drop_ballast().await? => {
                self.remove_once(removal).await
            }
            removed => removed,
        }
    }

    async fn remove_once(&self, removal: Removal) -> Result<Deleted, StoreError> {
        let now_ms = self.0.clock.now_ms();
        let (deleted, dead) = self
            .0
            .catalog
            .write(move |tx| Box::pin(async move { remove_in(tx, &removal, None, now_ms).await }))
            .await?;
        if deleted.existed || deleted.is_delete_marker {
            self.touch();
        }
        self.bury(dead).await;
        Ok(deleted)
    }
}

/// Deletes inside a transaction; the caller buries the dead after the commit. `rule` names the lifecycle rule that asks.
pub(super) async fn remove_in(
    tx: &mut Tx,
    target: &Removal,
    rule: Option<&str>,
    now_ms: Millis,
) -> Result<(Deleted, Vec<BlobId>), StoreError> {
    let bucket = existing(tx, &target.bucket).await?;
    tx.lock_key(bucket.id, &target.key).await?;
    let latest = tx.object(bucket.id, &target.key).await?;
    let versioning = bucket.versioning();
    // Only what was named, or what a plain read sees, can meet a condition.
    let named = match &target.version {
        Some(version) => tx.object_version(bucket.id, &target.key, version).await?,
        None => latest.clone(),
    };
    target
        .condition
        .check_deletion(named.as_ref(), &target.key)?;

    let mut freed = None;
    let mut dead = Vec::new();
    let mut deleted = Deleted::default();
    let doomed = match (&target.version, versioning) {
        (Some(_), _) | (None, Versioning::Off) => named,
        (None, Versioning::Enabled) => None,
        (None, Versioning::Suspended) => {
            tx.object_version(bucket.id, &target.key, &VersionId::null())
                .await?
        }
    };
    if let Some(row) = doomed {
        deleted.existed = true;
        deleted.is_delete_marker = row.is_delete_marker;
        deleted.version_id = Some(row.version_id()?);
        dead = remove_version(tx, &row, target.bypass_governance, now_ms).await?;
        if row.is_latest {
            tx.promote_latest(bucket.id, &target.key).await?;
        }
        freed = Some(row);
    } else if target.version.is_some() || versioning == Versioning::Off {
        return Ok((deleted, dead));
    }
    let marked = target.version.is_none() && versioning != Versioning::Off;
    if marked {
        let version_id = if versioning == Versioning::Enabled {
            VersionId::random()
        } else {
            VersionId::null()
        };
        tx.demote_latest(bucket.id, &target.key).await?;
        tx.insert_object(&marker(bucket.id, target, version_id.clone(), now_ms))
            .await?;
        deleted = Deleted {
            version_id: Some(version_id),
            is_delete_marker: true,
            existed: latest.is_some(),
        };
    }
    let via = if marked { "marker" } else { "delete" };
    let mut payload = serde_json::json!({ "is_delete_marker": deleted.is_delete_marker, "owner": target.owner, "via": via });
    if let Some(rule) = rule {
        payload["lifecycle_rule"] = rule.into();
    }
    tx.insert_event(&NewEvent {
        time_ms: now_ms,
        kind: EventKind::ObjectDeleted,
        bucket: Some(target.bucket.to_string()),
        key: Some(target.key.to_string()),
        version_id: deleted.version_id.as_ref().map(ToString::to_string),
        payload: payload.to_string(),
    })
    .await?;
    let less = freed.as_ref().map(quota::Delta::less);
    quota::count(tx, &bucket, None, less).await?;
    Ok((deleted, dead))
}

fn marker(bucket_id: i64, target: &Removal, version_id: VersionId, now_ms: Millis) -> NewObject {
    NewObject {
        bucket_id,
        key: target.key.clone(),
        version_id,
        is_delete_marker: true,
        size: 0,
        etag: ETag::from_stored(String::new()),
        content_id: None,
        headers: "{}".into(),
        tags: "{}".into(),
        checksums: to_json(&super::Checksums::default()),
        extras: "{}".into(),
        inline: None,
        owner: target.owner.clone(),
        modified_ms: now_ms,
    }
}

/// Removes a version's rows unless it is locked; returns the blobs that nothing refers to any more.
///
/// Nothing else removes a version, so that no way leads past its lock.
pub(super) async fn remove_version(
    tx: &mut Tx,
    row: &ObjectRow,
    bypass_governance: bool,
    now_ms: Millis,
) -> Result<Vec<BlobId>, StoreError> {
    if let Some(lock) = lock::of_extras(&row.extras)? {
        lock.release(bypass_governance, now_ms)?;
    }
    let mut dead = Vec::new();
    if !row.is_inline && !row.is_delete_marker {
        let extents = tx.extents(row.id).await?;
        tx.delete_extents(row.id).await?;
        for extent in extents {
            if tx.release_blob(extent.blob, 1).await? {
                dead.push(extent.blob);
            }
        }
    }
    tx.delete_object_row(row.id).await?;
    Ok(dead)
}
