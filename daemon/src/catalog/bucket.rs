//! Buckets and their usage figures.

use std::sync::Arc;

use sqlx::FromRow;

use super::db::{Catalog, CatalogError, Link, Tx, on_pool, on_tx};
use super::db::{ask, run};
use super::lookup::from_sqlite;
use super::memory::Found;
use crate::kernel::{BucketName, Millis};

/// Whether a bucket keeps old versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Versioning {
    /// Never switched on: one `null` version per key.
    Off,
    /// Every write makes a version.
    Enabled,
    /// Old versions stay, new writes replace the `null` version.
    Suspended,
}

impl Versioning {
    /// As stored and as the JSON API shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Enabled => "enabled",
            Self::Suspended => "suspended",
        }
    }

    /// Reads what [`Versioning::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Off, Self::Enabled, Self::Suspended]
            .into_iter()
            .find(|v| v.as_str() == text)
    }
}

/// What an acknowledgement of a write to a bucket promises.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// The bytes and their row survive a power loss.
    Strict,
    /// The bytes may be lost in a power loss: for what can be made again.
    Relaxed,
}

impl Durability {
    /// As stored and as the JSON API shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Relaxed => "relaxed",
        }
    }

    /// Reads what [`Durability::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Strict, Self::Relaxed]
            .into_iter()
            .find(|d| d.as_str() == text)
    }
}

/// A bucket to be made.
#[derive(Clone, Debug)]
pub struct NewBucket {
    /// Its name, unique within the tenant.
    pub name: BucketName,
    /// Access key id or tailnet login of the maker.
    pub owner: String,
    /// Whether old versions are kept.
    pub versioning: Versioning,
    /// What an acknowledged write promises.
    pub durability: Durability,
    /// Now.
    pub created_ms: Millis,
}

/// A row of `bucket`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct BucketRow {
    /// Row id, used by every table that refers to the bucket.
    pub id: i64,
    /// A valid [`BucketName`].
    pub name: String,
    /// Who made it.
    pub owner: String,
    versioning: String,
    durability: String,
    /// JSON: tagging, CORS, lifecycle, policy and whatever later doors keep per bucket.
    pub settings: String,
    /// Bytes of all versions.
    pub usage_bytes: i64,
    /// Versions that are not delete markers.
    pub usage_objects: i64,
    /// When it was made.
    pub created_ms: Millis,
    /// Whether any owner at all has a quota: where none has, a write need not ask. Not told by lists.
    pub owners_are_bound: bool,
}

from_sqlite! { BucketRow:
    id name owner versioning durability settings usage_bytes usage_objects created_ms owners_are_bound
}

impl BucketRow {
    /// Whether old versions are kept.
    pub fn versioning(&self) -> Versioning {
        Versioning::parse(&self.versioning).unwrap_or(Versioning::Off)
    }

    /// What an acknowledged write promises.
    pub fn durability(&self) -> Durability {
        Durability::parse(&self.durability).unwrap_or(Durability::Strict)
    }
}

pub(super) const INSERT: &str = "INSERT INTO bucket (name, owner, versioning, durability, created_ms) \
     VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, name) DO NOTHING";
pub(super) const BY_NAME: &str = "SELECT id, name, owner, versioning, durability, settings, usage_bytes, usage_objects, created_ms, \
     EXISTS (SELECT 1 FROM owner_usage WHERE quota_bytes IS NOT NULL OR quota_objects IS NOT NULL) AS owners_are_bound \
     FROM bucket WHERE tenant = 'default' AND name = $1";
pub(super) const LIST: &str = "SELECT id, name, owner, versioning, durability, settings, usage_bytes, usage_objects, created_ms, FALSE AS owners_are_bound \
     FROM bucket WHERE tenant = 'default' ORDER BY name";
pub(super) const DELETE: &str = "DELETE FROM bucket WHERE id = $1 \
     AND NOT EXISTS (SELECT 1 FROM object_version WHERE bucket_id = $1) AND NOT EXISTS (SELECT 1 FROM upload WHERE bucket_id = $1)";
pub(super) const SET_VERSIONING: &str = "UPDATE bucket SET versioning = $2 WHERE id = $1";
pub(super) const SET_DURABILITY: &str = "UPDATE bucket SET durability = $2 WHERE id = $1";
pub(super) const SET_SETTINGS: &str = "UPDATE bucket SET settings = $2 WHERE id = $1";
pub(super) const ADD_USAGE: &str = "UPDATE bucket SET usage_bytes = usage_bytes + $2, usage_objects = usage_objects + $3 WHERE id = $1";
pub(super) const USAGE: &str = "SELECT usage_bytes, usage_objects FROM bucket WHERE id = $1";

impl Catalog {
    /// The bucket of this name, mostly without a statement: its settings are those of now, its usage figures may be older.
    pub async fn bucket(&self, name: &BucketName) -> Result<Option<Arc<BucketRow>>, CatalogError> {
        let found = self
            .memory
            .as_ref()
            .map(|memory| memory.bucket(name.as_str()));
        if let Some(Found::Here(row)) = found {
            return Ok(Some(row));
        }
        let row = self.bucket_with_usage(name).await?.map(Arc::new);
        if let (Some(memory), Some(Found::Ask(since)), Some(row)) = (&self.memory, found, &row) {
            memory.put_bucket(since, row);
        }
        Ok(row)
    }

    /// The bucket of this name with the usage of this moment.
    pub async fn bucket_with_usage(
        &self,
        name: &BucketName,
    ) -> Result<Option<BucketRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(BY_NAME).bind(name.as_str()).fetch_optional(pool).await)?,
        )
    }

    /// Every bucket, by name.
    pub async fn buckets(&self) -> Result<Vec<BucketRow>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_as(LIST).fetch_all(pool).await)?)
    }
}

impl Tx {
    /// The bucket of this name, as this transaction sees it.
    pub async fn bucket(&mut self, name: &BucketName) -> Result<Option<BucketRow>, CatalogError> {
        let known = self
            .known
            .buckets
            .iter()
            .find(|row| row.name == name.as_str());
        if let Some(row) = known {
            return Ok(Some(row.clone()));
        }
        let row: Option<BucketRow> = ask!(self, BY_NAME, name.as_str())?;
        // On PostgreSQL others write at the same time.
        if let (Link::Sqlite(_), Some(row)) = (&self.link, &row) {
            self.known.buckets.push(row.clone());
        }
        Ok(row)
    }

    /// Makes a bucket; `false` when the name is taken.
    pub async fn insert_bucket(&mut self, new: &NewBucket) -> Result<bool, CatalogError> {
        self.touched.buckets();
        self.known.buckets.clear();
        let done = on_tx!(self, conn => sqlx::query(INSERT)
            .bind(new.name.as_str())
            .bind(&new.owner)
            .bind(new.versioning.as_str())
            .bind(new.durability.as_str())
            .bind(new.created_ms)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Removes an empty bucket; `false` when it still holds a version or an unfinished upload.
    pub async fn delete_bucket(&mut self, id: i64) -> Result<bool, CatalogError> {
        self.touched.buckets();
        self.known.buckets.clear();
        let done = on_tx!(self, conn => sqlx::query(DELETE).bind(id).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Switches versioning.
    pub async fn set_bucket_versioning(
        &mut self,
        id: i64,
        versioning: Versioning,
    ) -> Result<(), CatalogError> {
        self.touched.buckets();
        self.known.buckets.clear();
        run!(self, SET_VERSIONING, id, versioning.as_str())?;
        Ok(())
    }

    /// Changes what an acknowledged write promises.
    pub async fn set_bucket_durability(
        &mut self,
        id: i64,
        durability: Durability,
    ) -> Result<(), CatalogError> {
        self.touched.buckets();
        self.known.buckets.clear();
        run!(self, SET_DURABILITY, id, durability.as_str())?;
        Ok(())
    }

    /// Replaces the JSON settings.
    pub async fn set_bucket_settings(
        &mut self,
        id: i64,
        settings: &str,
    ) -> Result<(), CatalogError> {
        self.touched.buckets();
        self.known.buckets.clear();
        run!(self, SET_SETTINGS, id, settings)?;
        Ok(())
    }

    /// Adds to the usage figures, which nobody remembers; last in a transaction, as PostgreSQL holds the row's lock until the commit.
    pub async fn add_bucket_usage(
        &mut self,
        id: i64,
        bytes: i64,
        objects: i64,
    ) -> Result<(), CatalogError> {
        for row in self.known.buckets.iter_mut().filter(|row| row.id == id) {
            row.usage_bytes += bytes;
            row.usage_objects += objects;
        }
        run!(self, ADD_USAGE, id, bytes, objects)?;
        Ok(())
    }

    /// The usage figures as this transaction left them: bytes and versions.
    pub async fn bucket_usage(&mut self, id: i64) -> Result<(i64, i64), CatalogError> {
        let row: Option<(i64, i64)> = ask!(self, USAGE, id)?;
        Ok(row.unwrap_or_default())
    }
}
