//! Bringing back what a delete marker hides.

use super::bucket::existing;
use super::delete::remove_version;
use super::object::Object;
use super::publish::{Condition, Copy, Published};
use super::{ObjectExtras, Store, StoreError};
use crate::catalog::{EventKind, NewEvent};
use crate::kernel::{BucketName, ObjectKey, VersionId};

impl Store {
    /// Removes the delete markers that hide an object, so that its newest version is seen again.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`] when there is no version to bring back; [`StoreError::NotDeleted`] when nothing hides it.
    pub async fn undelete(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        owner: &str,
    ) -> Result<Object, StoreError> {
        let now_ms = self.0.clock.now_ms();
        let (name, at, owner) = (bucket.clone(), key.clone(), owner.to_owned());
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let bucket = existing(tx, &name).await?;
                    tx.lock_key(bucket.id, &at).await?;
                    let mut hidden = false;
                    loop {
                        let latest = tx
                            .object(bucket.id, &at)
                            .await?
                            .ok_or_else(|| StoreError::NoSuchKey(at.to_string()))?;
                        if !latest.is_delete_marker {
                            if !hidden {
                                return Err(StoreError::NotDeleted(at.to_string()));
                            }
                            // Whoever follows the events sees it come again.
                            let payload = serde_json::json!({ "size_bytes": latest.size(), "etag": latest.etag().as_str(), "owner": owner, "via": "undelete" });
                            tx.insert_event(&NewEvent {
                                time_ms: now_ms,
                                kind: EventKind::ObjectCreated,
                                bucket: Some(name.to_string()),
                                key: Some(at.to_string()),
                                version_id: Some(latest.version_id()?.to_string()),
                                payload: payload.to_string(),
                            })
                            .await?;
                            return Ok(());
                        }
                        hidden = true;
                        remove_version(tx, &latest, false, now_ms).await?;
                        tx.promote_latest(bucket.id, &at).await?;
                    }
                })
            })
            .await?;
        self.touch();
        self.head(bucket, key, None).await
    }

    /// Puts an old version on top again, as a new version with the same bytes; nothing is lost of those above it.
    ///
    /// # Errors
    /// Those of [`Store::object`] and of [`Store::copy`].
    pub async fn restore(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        version: &VersionId,
        owner: &str,
    ) -> Result<Published, StoreError> {
        let source = self.object(bucket, key, Some(version)).await?;
        // A lock is of a version, not of its bytes; and encryption is the copy's own matter.
        let extras = ObjectExtras {
            acl: source.extras.acl.clone(),
            ..ObjectExtras::default()
        };
        self.copy(Copy {
            source,
            bucket: bucket.clone(),
            key: key.clone(),
            headers: None,
            tags: None,
            extras,
            owner: owner.to_owned(),
            condition: Condition::default(),
        })
        .await
    }
}
