//! Quotas and usage: how much a bucket and an owner may hold, and how much they do.
//!
//! The figures are changed in the transaction of the change they count, so they are exact after a crash and under any number of writers; a quota is decided there too, by the figure as it would become.
//! A declared length is compared before a body is read as well, so that nobody sends for nothing.

use serde::{Deserialize, Serialize};

use super::object::json;
use super::{Store, StoreError};
use crate::catalog::{BucketRow, NewUpload, ObjectRow, OwnerUsageRow, Tx, Versioning};
use crate::kernel::{BucketName, ObjectKey};

/// The setting of a bucket that bounds it.
const SETTING: &str = "quota";

/// How much may be held, old versions counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Bytes; `None` for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Versions that are not delete markers; `None` for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
}

/// How much is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Bytes of all versions.
    pub bytes: u64,
    /// Versions that are not delete markers.
    pub objects: u64,
}

/// What an owner holds and may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerUsage {
    /// An access key id, or a name in the tailnet.
    pub owner: String,
    /// What it holds.
    pub usage: Usage,
    /// What it may hold.
    pub quota: Quota,
}

/// A change of what an owner holds in a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delta<'o> {
    pub(super) owner: &'o str,
    pub(super) bytes: i64,
    pub(super) objects: i64,
}

impl<'o> Delta<'o> {
    /// That a version is gone.
    pub(super) fn less(row: &'o ObjectRow) -> Self {
        Self {
            owner: &row.owner,
            bytes: -(row.size() as i64),
            objects: -i64::from(!row.is_delete_marker),
        }
    }
}

impl Usage {
    fn of(bytes: i64, objects: i64) -> Self {
        Self {
            bytes: u64::try_from(bytes).unwrap_or(0),
            objects: u64::try_from(objects).unwrap_or(0),
        }
    }
}

impl Quota {
    /// The quota of a bucket; none when it cannot be read.
    pub fn of(bucket: &BucketRow) -> Self {
        of_bucket(bucket).unwrap_or_default()
    }

    /// Whether nothing is bounded.
    pub fn is_unbounded(self) -> bool {
        self == Self::default()
    }

    /// Refuses a growth that ends above the bound; what does not grow may stay above it.
    fn check(self, of: &str, after: Usage, grows: (bool, bool)) -> Result<(), StoreError> {
        let refuse = |bound: u64, unit: &str| {
            Err(StoreError::QuotaExceeded(format!(
                "the quota of {of} is {bound} {unit}"
            )))
        };
        match (self.bytes, self.objects) {
            (Some(bound), _) if grows.0 && after.bytes > bound => refuse(bound, "bytes"),
            (_, Some(bound)) if grows.1 && after.objects > bound => refuse(bound, "objects"),
            _ => Ok(()),
        }
    }
}

/// The owner as it is counted: doors write it with its kind in front or without.
pub(super) fn account(owner: &str) -> &str {
    ["key:", "tailnet:", "tailnet-node:"]
        .iter()
        .find_map(|kind| owner.strip_prefix(kind))
        .unwrap_or(owner)
}

fn of_bucket(bucket: &BucketRow) -> Result<Quota, StoreError> {
    /// The one setting that is of interest here.
    #[derive(Deserialize)]
    struct Only {
        quota: Option<Quota>,
    }
    if !bucket.settings.contains(SETTING) {
        return Ok(Quota::default());
    }
    let only: Only = json("bucket.settings", &bucket.settings)?;
    Ok(only.quota.unwrap_or_default())
}

fn of_owner(row: OwnerUsageRow) -> OwnerUsage {
    let bound = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok());
    OwnerUsage {
        usage: Usage::of(row.usage_bytes, row.usage_objects),
        quota: Quota {
            bytes: bound(row.quota_bytes),
            objects: bound(row.quota_objects),
        },
        owner: row.owner,
    }
}

/// Counts a change, and refuses it where a quota says so; last in a transaction, as PostgreSQL holds the rows until the commit.
pub(super) async fn count(
    tx: &mut Tx,
    bucket: &BucketRow,
    added: Option<Delta<'_>>,
    removed: Option<Delta<'_>>,
) -> Result<(), StoreError> {
    let mut deltas: Vec<Delta<'_>> = Vec::with_capacity(2);
    for mut delta in added.into_iter().chain(removed) {
        delta.owner = account(delta.owner);
        match deltas.iter_mut().find(|one| one.owner == delta.owner) {
            Some(one) => {
                one.bytes += delta.bytes;
                one.objects += delta.objects;
            }
            None => deltas.push(delta),
        }
    }
    // Always in the same order, so that two transactions never wait for each other.
    deltas.sort_by_key(|delta| delta.owner);
    deltas.retain(|delta| delta.bytes != 0 || delta.objects != 0);
    let bytes = deltas.iter().map(|delta| delta.bytes).sum();
    let objects = deltas.iter().map(|delta| delta.objects).sum();
    if (bytes, objects) != (0, 0) {
        tx.add_bucket_usage(bucket.id, bytes, objects).await?;
    }
    for delta in &deltas {
        tx.add_owner_usage(delta.owner, delta.bytes, delta.objects)
            .await?;
    }
    // Asked for only where there is a bound: most writes end without waiting for an answer.
    let quota = of_bucket(bucket)?;
    if !quota.is_unbounded() {
        let (held, count) = tx.bucket_usage(bucket.id).await?;
        let of = format!("the bucket `{}`", bucket.name);
        quota.check(&of, Usage::of(held, count), (bytes > 0, objects > 0))?;
    }
    for delta in deltas.iter().filter(|_| bucket.owners_are_bound) {
        if let Some(row) = tx.owner_usage(delta.owner).await? {
            let owner = of_owner(row);
            let grows = (delta.bytes > 0, delta.objects > 0);
            let of = format!("the access key `{}`", owner.owner);
            owner.quota.check(&of, owner.usage, grows)?;
        }
    }
    Ok(())
}

/// Decides on a new upload's declared length in the transaction that enters its row, so that two cannot both be promised the last space.
pub(super) async fn reserve(
    tx: &mut Tx,
    bucket: &BucketRow,
    new: &NewUpload,
) -> Result<(), StoreError> {
    let quota = of_bucket(bucket)?;
    if new.length.is_none() || (quota.is_unbounded() && !bucket.owners_are_bound) {
        return Ok(());
    }
    let replaced = match bucket.versioning() {
        Versioning::Enabled => None,
        _ => tx.object(bucket.id, &new.key).await?,
    };
    let freed = replaced.map_or(0, |row| row.size());
    let after = |bytes: i64, promised: i64| Usage {
        bytes: u64::try_from(bytes.saturating_add(promised))
            .unwrap_or(0)
            .saturating_sub(freed),
        objects: 0,
    };
    let grows = (new.length.is_some_and(|length| length > freed), false);
    if !quota.is_unbounded() {
        // Holds the bucket's figures on PostgreSQL, where another may be promised something at the same time.
        tx.add_bucket_usage(bucket.id, 0, 0).await?;
        let (held, _) = tx.bucket_usage(bucket.id).await?;
        let promised = tx.unfinished_of_bucket(bucket.id).await?;
        let of = format!("the bucket `{}`", bucket.name);
        quota.check(&of, after(held, promised), grows)?;
    }
    if bucket.owners_are_bound {
        let name = account(&new.owner);
        tx.add_owner_usage(name, 0, 0).await?;
        if let Some(row) = tx.owner_usage(name).await? {
            let owner = of_owner(row);
            let promised = tx.unfinished_of_owner(name).await?;
            let held = i64::try_from(owner.usage.bytes).unwrap_or(i64::MAX);
            let of = format!("the access key `{}`", owner.owner);
            owner.quota.check(&of, after(held, promised), grows)?;
        }
    }
    Ok(())
}

impl Store {
    /// Refuses what would go beyond a quota by its declared length; the commit decides again.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`]; [`StoreError::QuotaExceeded`].
    pub async fn admit(
        &self,
        bucket: &BucketName,
        key: Option<&ObjectKey>,
        owner: &str,
        bytes: u64,
    ) -> Result<(), StoreError> {
        let row = self.bucket(bucket).await?;
        let quota = of_bucket(&row)?;
        if quota.is_unbounded() && !row.owners_are_bound {
            return Ok(());
        }
        let row = self.bucket_with_usage(bucket).await?;
        let owner = self.owner_usage(owner).await?;
        // What is replaced makes room for what replaces it.
        let replaced = match key.filter(|_| row.versioning() != Versioning::Enabled) {
            Some(key) => self.0.catalog.object_head(bucket, key).await?,
            None => None,
        };
        let freed = replaced.map_or(0, |row| row.size());
        // What unfinished uploads declared is promised to them.
        let (of_bucket, of_owner) = self
            .0
            .catalog
            .unfinished_bytes(row.id, &owner.owner)
            .await?;
        let beside = |usage: Usage, promised: i64| Usage {
            bytes: usage
                .bytes
                .saturating_add(bytes)
                .saturating_add(u64::try_from(promised).unwrap_or(0))
                .saturating_sub(freed),
            ..usage
        };
        let held = beside(Usage::of(row.usage_bytes, row.usage_objects), of_bucket);
        let grows = (bytes > freed, false);
        quota.check(&format!("the bucket `{bucket}`"), held, grows)?;
        let of = format!("the access key `{}`", owner.owner);
        owner.quota.check(&of, beside(owner.usage, of_owner), grows)
    }

    /// How much a bucket may hold.
    pub async fn bucket_quota(&self, bucket: &BucketName) -> Result<Quota, StoreError> {
        of_bucket(&*self.bucket(bucket).await?)
    }

    /// Bounds what a bucket may hold; what it holds already stays.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`].
    pub async fn set_bucket_quota(
        &self,
        bucket: &BucketName,
        quota: Quota,
    ) -> Result<(), StoreError> {
        let value = (!quota.is_unbounded()).then(|| serde_json::json!(quota));
        self.set_bucket_setting(bucket, SETTING, value).await
    }

    /// What an owner holds and may hold.
    pub async fn owner_usage(&self, owner: &str) -> Result<OwnerUsage, StoreError> {
        let owner = account(owner);
        let row = self.0.catalog.owner_usage(owner).await?;
        Ok(row.map_or_else(
            || OwnerUsage {
                owner: owner.to_owned(),
                usage: Usage::default(),
                quota: Quota::default(),
            },
            of_owner,
        ))
    }

    /// What every owner holds and may hold.
    pub async fn owner_usages(&self) -> Result<Vec<OwnerUsage>, StoreError> {
        let rows = self.0.catalog.owner_usages().await?;
        Ok(rows.into_iter().map(of_owner).collect())
    }

    /// Bounds what an owner may hold; what it holds already stays.
    pub async fn set_owner_quota(&self, owner: &str, quota: Quota) -> Result<(), StoreError> {
        let owner = account(owner).to_owned();
        let bound = |n: Option<u64>| n.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let (bytes, objects) = (bound(quota.bytes), bound(quota.objects));
                    Ok(tx.set_owner_quota(&owner, bytes, objects).await?)
                })
            })
            .await
    }

    /// Counts what every bucket and owner holds anew, for repairs.
    pub async fn recount_usage(&self) -> Result<(), StoreError> {
        self.0
            .catalog
            .write(|tx| Box::pin(async move { Ok(tx.recount_usage().await?) }))
            .await
    }
}
