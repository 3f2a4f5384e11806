//! Listing: keyset pages over (bucket, key), in byte order.
//!
//! A query asks for rows within a half-open interval of keys.
//! With a delimiter, the caller asks for one row, sees which common prefix it lies under, and asks again from behind that prefix: the cost follows what is shown, not what lies under it.
//!
//! SQLite answers with one row that holds the page as JSON: the driver hands every row from thread to thread by itself,
//! which costs more than finding it and writing it down.

use serde::Deserialize;
use sqlx::FromRow;

use super::db::{Catalog, CatalogError, Pools};
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

macro_rules! rows {
    ($rest:literal) => {
        concat!(
            "SELECT id, key, version_id, is_latest, is_delete_marker, size_bytes, etag, owner, checksums, modified_ms \
             FROM object_version WHERE bucket_id = $1 AND key >= $2 AND key < $3 AND ",
            $rest
        )
    };
}
macro_rules! objects {
    () => {
        rows!("is_latest AND NOT is_delete_marker ORDER BY key LIMIT $4")
    };
}
macro_rules! versions {
    () => {
        rows!("(key > $2 OR id < $5) ORDER BY key, id DESC LIMIT $4")
    };
}
/// What is long in `checksums` are the parts' own, which no listing shows.
macro_rules! page {
    ($rows:expr) => {
        concat!(
            "SELECT json_group_array(json_array(id, hex(key), version_id, is_latest, is_delete_marker, size_bytes, etag, owner, \
             iif(length(checksums) < 1024, checksums, json_remove(checksums, '$.parts')), modified_ms)) AS page FROM (",
            $rows,
            ")"
        )
    };
}
pub(super) const OBJECTS: &str = objects!();
pub(super) const OBJECTS_PAGE: &str = page!(objects!());
pub(super) const VERSIONS: &str = versions!();
pub(super) const VERSIONS_PAGE: &str = page!(versions!());
/// From the first key on, each key's common prefix and then the first key behind all that lies under it, until one has none.
pub(super) const FOLDS_PAGE: &str = "WITH RECURSIVE step (n, folded) AS (SELECT 0, NULL UNION ALL \
     SELECT n + 1, substr(key, 1, $5 + nullif(instr(substr(key, $5 + 1), $6), 0) + length($6) - 1) \
     FROM step JOIN object_version ON id = (SELECT id FROM object_version WHERE bucket_id = $1 \
     AND key >= CASE n WHEN 0 THEN $2 ELSE CAST(folded || x'ff' AS BLOB) END AND key < $3 \
     AND is_latest AND NOT is_delete_marker ORDER BY key LIMIT 1) \
     WHERE n < $4 AND (n = 0 OR folded IS NOT NULL)) \
     SELECT json_group_array(hex(folded)) AS page FROM step WHERE folded IS NOT NULL";

/// A row of a page: the columns in their order.
type Cells<'p> = (
    i64,
    &'p str,
    String,
    u8,
    u8,
    i64,
    String,
    String,
    String,
    Millis,
);

/// Reads what the statements of pages say.
fn entries(page: &str) -> Result<Vec<ListEntry>, CatalogError> {
    let corrupt = |what: String| CatalogError::Corrupt(format!("a page of object_version: {what}"));
    let mut read = serde_json::Deserializer::from_str(page);
    let cells = Vec::<Cells<'_>>::deserialize(&mut read).map_err(|e| corrupt(e.to_string()))?;
    let mut entries = Vec::with_capacity(cells.len());
    for (id, key, version_id, latest, marker, size_bytes, etag, owner, checksums, modified_ms) in
        cells
    {
        entries.push(ListEntry {
            id,
            key: hex::decode(key).map_err(|e| corrupt(format!("key {key}: {e}")))?,
            version_id,
            is_latest: latest != 0,
            is_delete_marker: marker != 0,
            size_bytes,
            etag,
            owner,
            checksums,
            modified_ms,
        });
    }
    // The order within an aggregate is promised by nobody.
    entries.sort_by(|a, b| a.key.cmp(&b.key).then(b.id.cmp(&a.id)));
    Ok(entries)
}

/// Reads what [`FOLDS_PAGE`] says.
fn folds(page: &str) -> Result<Vec<String>, CatalogError> {
    let corrupt = |what: String| CatalogError::Corrupt(format!("common prefixes: {what}"));
    let names: Vec<&str> = serde_json::from_str(page).map_err(|e| corrupt(e.to_string()))?;
    let mut prefixes = Vec::with_capacity(names.len());
    for name in names {
        let bytes = hex::decode(name).map_err(|e| corrupt(e.to_string()))?;
        prefixes.push(String::from_utf8(bytes).map_err(|e| corrupt(e.to_string()))?);
    }
    prefixes.sort();
    Ok(prefixes)
}

impl Catalog {
    /// A run of common prefixes of latest objects, in order, up to a key that folds into none.
    ///
    /// `delimiter` is looked for behind the first `prefix_bytes` of each key.
    /// On PostgreSQL always none: runs of rows say the same.
    pub async fn folds(
        &self,
        rows: ListRows<'_>,
        prefix_bytes: usize,
        delimiter: &str,
    ) -> Result<Vec<String>, CatalogError> {
        let Pools::Sqlite(pool) = &self.pools else {
            return Ok(Vec::new());
        };
        let page: String = sqlx::query_scalar(FOLDS_PAGE)
            .bind(rows.bucket_id)
            .bind(rows.from)
            .bind(rows.until.unwrap_or(END))
            .bind(rows.limit)
            .bind(prefix_bytes as i64)
            .bind(delimiter.as_bytes())
            .fetch_one(pool)
            .await?;
        folds(&page)
    }

    /// One run of rows.
    pub async fn list(
        &self,
        rows: ListRows<'_>,
        query: ListQuery,
    ) -> Result<Vec<ListEntry>, CatalogError> {
        let until = rows.until.unwrap_or(END);
        let (sql, page, below) = match query {
            ListQuery::Objects => (OBJECTS, OBJECTS_PAGE, None),
            ListQuery::Versions { below } => (VERSIONS, VERSIONS_PAGE, Some(below)),
        };
        match &self.pools {
            Pools::Sqlite(pool) => {
                let query = sqlx::query_scalar(page)
                    .bind(rows.bucket_id)
                    .bind(rows.from)
                    .bind(until)
                    .bind(rows.limit);
                let query = match below {
                    Some(below) => query.bind(below),
                    None => query,
                };
                let page: String = query.fetch_one(pool).await?;
                entries(&page)
            }
            Pools::Postgres(pool) => {
                let query = sqlx::query_as(sql)
                    .bind(rows.bucket_id)
                    .bind(rows.from)
                    .bind(until)
                    .bind(rows.limit);
                let query = match below {
                    Some(below) => query.bind(below),
                    None => query,
                };
                Ok(query.fetch_all(pool).await?)
            }
        }
    }
}
