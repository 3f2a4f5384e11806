//! Listing: keyset pages over (bucket, key), in byte order.
//!
//! A query asks for rows within a half-open interval of keys.
//! With a delimiter, the caller asks for one row, sees which common prefix it lies under, and asks again from behind that prefix: the cost follows what is shown, not what lies under it.

use sqlx::FromRow;

use super::db::{Catalog, CatalogError, on_pool};
use crate::kernel::{Millis, ObjectKey};

/// One row of a listing.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct ListEntry {
    /// Row id.
    pub id: i64,
    key: Vec<u8>,
    /// The version.
    pub version_id: String,
    /// Whether a plain read sees this version.
    pub is_latest: bool,
    /// Whether this version says that the object is gone.
    pub is_delete_marker: bool,
    size_bytes: i64,
    /// The entity tag, without quotes.
    pub etag: String,
    /// Who wrote it.
    pub owner: String,
    /// JSON: checksums, part sizes.
    pub checksums: String,
    /// When it was published.
    pub modified_ms: Millis,
}

impl ListEntry {
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

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size_bytes as u64
    }
}

/// Which rows.
#[derive(Clone, Copy, Debug)]
pub struct ListRows<'q> {
    /// Row id of the bucket.
    pub bucket_id: i64,
    /// First key of the interval, inclusive.
    pub from: &'q [u8],
    /// End of the interval, exclusive; `None` for no end.
    pub until: Option<&'q [u8]>,
    /// At most this many rows.
    pub limit: i64,
}

/// Which versions.
#[derive(Clone, Copy, Debug)]
pub enum ListQuery {
    /// The latest version of each key that is no delete marker.
    Objects,
    /// Every version and delete marker, newest first within a key; of the key `from` only those with a row id below.
    Versions {
        /// Exclusive upper bound of the row id within the first key.
        below: i64,
    },
}

/// Above every key: keys are UTF-8, which never holds this byte.
const END: &[u8] = &[0xff];

pub(super) const OBJECTS: &str = "SELECT id, key, version_id, is_latest, is_delete_marker, size_bytes, etag, owner, checksums, modified_ms \
     FROM object_version WHERE bucket_id = $1 AND key >= $2 AND key < $3 AND is_latest AND NOT is_delete_marker ORDER BY key LIMIT $4";
pub(super) const VERSIONS: &str = "SELECT id, key, version_id, is_latest, is_delete_marker, size_bytes, etag, owner, checksums, modified_ms \
     FROM object_version WHERE bucket_id = $1 AND key >= $2 AND key < $3 AND (key > $2 OR id < $5) ORDER BY key, id DESC LIMIT $4";

impl Catalog {
    /// One run of rows.
    pub async fn list(
        &self,
        rows: ListRows<'_>,
        query: ListQuery,
    ) -> Result<Vec<ListEntry>, CatalogError> {
        let until = rows.until.unwrap_or(END);
        Ok(match query {
            ListQuery::Objects => on_pool!(self, pool => sqlx::query_as(OBJECTS)
                .bind(rows.bucket_id)
                .bind(rows.from)
                .bind(until)
                .bind(rows.limit)
                .fetch_all(pool).await)?,
            ListQuery::Versions { below } => on_pool!(self, pool => sqlx::query_as(VERSIONS)
                .bind(rows.bucket_id)
                .bind(rows.from)
                .bind(until)
                .bind(rows.limit)
                .bind(below)
                .fetch_all(pool).await)?,
        })
    }
}
