//! Buckets.

use std::sync::Arc;

use super::object::json;
use super::{Store, StoreError, lock};
use crate::catalog::{BucketRow, Durability, EventKind, NewBucket, NewEvent, Tx, Versioning};
use crate::kernel::BucketName;

impl Store {
    /// Makes a bucket without versioning, durable.
    ///
    /// # Errors
    /// [`StoreError::BucketExists`].
    pub async fn create_bucket(
        &self,
        name: &BucketName,
        owner: &str,
    ) -> Result<BucketRow, StoreError> {
        self.create_bucket_with(name, owner, serde_json::Map::new())
            .await
    }

    /// The same with settings that hold from its first moment.
    ///
    /// # Errors
    /// [`StoreError::BucketExists`].
    pub async fn create_bucket_with(
        &self,
        name: &BucketName,
        owner: &str,
        settings: serde_json::Map<String, serde_json::Value>,
    ) -> Result<BucketRow, StoreError> {
        self.enter_bucket(self.plain_bucket(name, owner), settings)
            .await
    }

    /// A bucket without versioning, durable, to be made now.
    pub(super) fn plain_bucket(&self, name: &BucketName, owner: &str) -> NewBucket {
        NewBucket {
            name: name.clone(),
            owner: owner.into(),
            versioning: Versioning::Off,
            durability: Durability::Strict,
            created_ms: self.0.clock.now_ms(),
        }
    }

    /// Enters a bucket, with settings where it begins with some.
    pub(super) async fn enter_bucket(
        &self,
        new: NewBucket,
        settings: serde_json::Map<String, serde_json::Value>,
    ) -> Result<BucketRow, StoreError> {
        let row = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    if !tx.insert_bucket(&new).await? {
                        return Err(StoreError::BucketExists(new.name.to_string()));
                    }
                    if !settings.is_empty() {
                        let made = existing(tx, &new.name).await?;
                        let settings = serde_json::Value::Object(settings).to_string();
                        tx.set_bucket_settings(made.id, &settings).await?;
                    }
                    let event = bucket_event(EventKind::BucketCreated, &new.name, new.created_ms);
                    tx.insert_event(&event).await?;
                    existing(tx, &new.name).await
                })
            })
            .await?;
        self.touch();
        Ok(row)
    }

    /// The bucket of this name, mostly without asking the database: its settings are those of now, its usage figures may be older.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`].
    pub async fn bucket(&self, name: &BucketName) -> Result<Arc<BucketRow>, StoreError> {
        self.0
            .catalog
            .bucket(name)
            .await?
            .ok_or_else(|| StoreError::NoSuchBucket(name.to_string()))
    }

    /// The bucket of this name with the usage of this moment.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`].
    pub async fn bucket_with_usage(&self, name: &BucketName) -> Result<BucketRow, StoreError> {
        self.0
            .catalog
            .bucket_with_usage(name)
            .await?
            .ok_or_else(|| StoreError::NoSuchBucket(name.to_string()))
    }

    /// Every bucket, by name.
    pub async fn buckets(&self) -> Result<Vec<BucketRow>, StoreError> {
        Ok(self.0.catalog.buckets().await?)
    }

    /// Removes an empty bucket.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`]; [`StoreError::BucketNotEmpty`] while it holds a version, a delete marker or an unfinished upload.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<(), StoreError> {
        let now_ms = self.0.clock.now_ms();
        let name = name.clone();
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let bucket = existing(tx, &name).await?;
                    tx.delete_finished_uploads(bucket.id).await?;
                    if !tx.delete_bucket(bucket.id).await? {
                        return Err(StoreError::BucketNotEmpty(name.to_string()));
                    }
                    tx.insert_event(&bucket_event(EventKind::BucketDeleted, &name, now_ms))
                        .await?;
                    Ok(())
                })
            })
            .await?;
        self.touch();
        Ok(())
    }

    /// Switches versioning; a bucket that once had it can be suspended but never goes back to `off`.
    ///
    /// # Errors
    /// [`StoreError::BucketState`] when a bucket that can lock its objects should stop keeping versions.
    pub async fn set_versioning(
        &self,
        name: &BucketName,
        versioning: Versioning,
    ) -> Result<(), StoreError> {
        let name = name.clone();
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let bucket = existing(tx, &name).await?;
                    if versioning != Versioning::Enabled && lock::of_bucket(&bucket)?.is_some() {
                        return Err(StoreError::BucketState(
                            "a bucket with object lock cannot stop keeping versions".into(),
                        ));
                    }
                    Ok(tx.set_bucket_versioning(bucket.id, versioning).await?)
                })
            })
            .await
    }

    /// Changes what an acknowledged write promises.
    pub async fn set_durability(
        &self,
        name: &BucketName,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let name = name.clone();
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let bucket = existing(tx, &name).await?;
                    Ok(tx.set_bucket_durability(bucket.id, durability).await?)
                })
            })
            .await
    }

    /// Whether writes to a bucket may be answered before they are synced; a bucket that is not there promises nothing either way.
    pub async fn is_relaxed(&self, name: &BucketName) -> Result<bool, StoreError> {
        let row = self.0.catalog.bucket(name).await?;
        Ok(row.is_some_and(|row| row.durability() == Durability::Relaxed))
    }

    /// One setting of a bucket, such as `tagging` or `cors`; `None` when it was never set.
    pub async fn bucket_setting(
        &self,
        name: &BucketName,
        setting: &str,
    ) -> Result<Option<serde_json::Value>, StoreError> {
        let mut all: serde_json::Map<_, _> =
            json("bucket.settings", &self.bucket(name).await?.settings)?;
        Ok(all.remove(setting))
    }

    /// Sets or, with `None`, clears one setting of a bucket; its neighbours stay as they are.
    pub async fn set_bucket_setting(
        &self,
        name: &BucketName,
        setting: &'static str,
        value: Option<serde_json::Value>,
    ) -> Result<(), StoreError> {
        let name = name.clone();
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let bucket = existing(tx, &name).await?;
                    let settings = with_setting(&bucket, setting, value)?;
                    Ok(tx.set_bucket_settings(bucket.id, &settings).await?)
                })
            })
            .await
    }
}

impl Store {
    /// Replaces the notification rules of a bucket (JSON), and leaves a test event for each target that they name.
    pub async fn set_notification(
        &self,
        name: &BucketName,
        rules: serde_json::Value,
        targets: Vec<String>,
    ) -> Result<(), StoreError> {
        let now_ms = self.0.clock.now_ms();
        let name = name.clone();
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let bucket = existing(tx, &name).await?;
                    let mut all: serde_json::Map<_, _> = json("bucket.settings", &bucket.settings)?;
                    all.insert("notification".into(), rules);
                    tx.set_bucket_settings(bucket.id, &serde_json::Value::Object(all).to_string())
                        .await?;
                    if targets.is_empty() {
                        return Ok::<_, StoreError>(());
                    }
                    let test = bucket_event(EventKind::NotificationTest, &name, now_ms);
                    let payload = serde_json::json!({ "targets": targets }).to_string();
                    Ok(tx.insert_event(&NewEvent { payload, ..test }).await?)
                })
            })
            .await?;
        self.touch();
        Ok(())
    }
}

/// The settings of a bucket with one of them set or, with `None`, cleared.
pub(super) fn with_setting(
    bucket: &BucketRow,
    setting: &str,
    value: Option<serde_json::Value>,
) -> Result<String, StoreError> {
    let mut all: serde_json::Map<_, _> = json("bucket.settings", &bucket.settings)?;
    match value {
        Some(value) => all.insert(setting.into(), value),
        None => all.remove(setting),
    };
    Ok(serde_json::Value::Object(all).to_string())
}

/// The bucket as a transaction sees it, or the error that a door shows.
pub(super) async fn existing(tx: &mut Tx, name: &BucketName) -> Result<BucketRow, StoreError> {
    tx.bucket(name)
        .await?
        .ok_or_else(|| StoreError::NoSuchBucket(name.to_string()))
}

fn bucket_event(kind: EventKind, name: &BucketName, time_ms: i64) -> NewEvent {
    NewEvent {
        time_ms,
        kind,
        bucket: Some(name.to_string()),
        key: None,
        version_id: None,
        payload: "{}".into(),
    }
}
