//! The versions of a bucket with what lifecycle rules look at.

use sqlx::FromRow;

use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use crate::kernel::{Millis, ObjectKey, VersionId};

/// A version as a rule sees it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct HistoryRow {
    /// Row id.
    pub id: i64,
    key: Vec<u8>,
    version_id: String,
    /// Whether a plain read sees this version.
    pub is_latest: bool,
    /// Whether this version says that the object is gone.
    pub is_delete_marker: bool,
    size_bytes: i64,
    /// JSON: tags.
    pub tags: String,
    /// JSON: access list, lock, encryption.
    pub extras: String,
    /// When it was published.
    pub modified_ms: Millis,
}

impl HistoryRow {
    /// The key.
    pub fn key(&self) -> Result<ObjectKey, CatalogError> {
        let text = String::from_utf8_lossy(&self.key);
        text.parse()
            .map_err(|e| CatalogError::Corrupt(format!("object_version.key {text}: {e}")))
    }

    /// The key's bytes.
    pub fn key_bytes(&self) -> &[u8] {
        &self.key
    }

    /// The version.
    pub fn version_id(&self) -> Result<VersionId, CatalogError> {
        self.version_id.parse().map_err(|_| {
            CatalogError::Corrupt(format!("object_version.version_id {}", self.version_id))
        })
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size_bytes as u64
    }
}

pub(super) const PAGE: &str = "SELECT id, key, version_id, is_latest, is_delete_marker, size_bytes, tags, extras, modified_ms \
     FROM object_version WHERE bucket_id = $1 AND key >= $2 AND key < $3 AND (key > $2 OR id < $4) ORDER BY key, id DESC LIMIT $5";
pub(super) const IS_LONE: &str = "SELECT NOT EXISTS (SELECT 1 FROM object_version WHERE bucket_id = $1 AND key = $2 AND id <> $3)";

impl Catalog {
    /// Versions and delete markers of the keys from `from` to before `until`, by key and then newest first; of the key `from` only those with a row id below.
    pub async fn history(
        &self,
        bucket_id: i64,
        from: &[u8],
        until: &[u8],
        below: i64,
        limit: i64,
    ) -> Result<Vec<HistoryRow>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_as(PAGE)
            .bind(bucket_id)
            .bind(from)
            .bind(until)
            .bind(below)
            .bind(limit)
            .fetch_all(pool).await)?)
    }
}

impl Tx {
    /// Whether a key has no version but this one.
    pub async fn is_lone_version(
        &mut self,
        bucket_id: i64,
        key: &ObjectKey,
        id: i64,
    ) -> Result<bool, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query_scalar(IS_LONE).bind(bucket_id).bind(key.as_bytes()).bind(id).fetch_one(conn).await)?,
        )
    }
}
