//! Listing: keyset pages over (bucket, key), in byte order.
//!
//! A query asks for rows within a half-open interval of keys.
//! With a delimiter, the caller asks for one row, sees which common prefix it lies under, and asks again from behind that prefix: the cost follows what is shown, not what lies under it.
//! On SQLite that whole walk is one request.

use rusqlite::OptionalExtension as _;
use sqlx::FromRow;

use super::db::{Catalog, CatalogError, on_pool};
use super::lookup::FromSqlite;
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
    /// Whether its keys may have older versions.
    pub has_history: bool,
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
    ($checksums:literal, $index:literal, $rest:literal) => {
        concat!(
            "SELECT id, key, version_id, is_latest, is_delete_marker, size_bytes, etag, owner, ",
            $checksums,
            ", modified_ms FROM object_version ",
            $index,
            "WHERE bucket_id = $1 AND key >= $2 AND key < $3 AND ",
            $rest
        )
    };
}
macro_rules! objects {
    ($checksums:literal, $index:literal) => {
        rows!(
            $checksums,
            $index,
            "is_latest AND NOT is_delete_marker ORDER BY key LIMIT $4"
        )
    };
}
macro_rules! versions {
    ($checksums:literal, $index:literal) => {
        rows!(
            $checksums,
            $index,
            "(key > $2 OR id < $4) ORDER BY key, id DESC LIMIT $5"
        )
    };
}
/// What is long in `checksums` are the parts' own, which no listing shows; the index has it in these very words.
macro_rules! short {
    ($rows:ident, $index:literal) => {
        $rows!(
            "iif(length(checksums) < 1024, checksums, json_remove(checksums, '$.parts'))",
            $index
        )
    };
}
pub(super) const OBJECTS: &str = objects!("checksums", "");
pub(super) const VERSIONS: &str = versions!("checksums", "");
// One index of SQLite holds all that is shown, but of older versions as well: where a key may have thousands of them, it is
// cheaper to go to the rows from the one that has the latest alone.
pub(super) const OBJECTS_SHORT: &str = short!(objects, "INDEXED BY object_history ");
pub(super) const OBJECTS_AMONG_VERSIONS: &str = short!(objects, "INDEXED BY object_latest ");
pub(super) const VERSIONS_SHORT: &str = short!(versions, "INDEXED BY object_history ");
/// The first key of an interval; for a single one, the smaller index and the row cost less than the larger index.
pub(super) const NEXT_KEY: &str = "SELECT key FROM object_version INDEXED BY object_latest \
     WHERE bucket_id = $1 AND key >= $2 AND key < $3 AND is_latest AND NOT is_delete_marker ORDER BY key LIMIT 1";

impl FromSqlite for ListEntry {
    fn from_sqlite(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            key: row.get(1)?,
            version_id: row.get(2)?,
            is_latest: row.get(3)?,
            is_delete_marker: row.get(4)?,
            size_bytes: row.get(5)?,
            etag: row.get(6)?,
            owner: row.get(7)?,
            checksums: row.get(8)?,
            modified_ms: row.get(9)?,
        })
    }
}

/// What a key folds into: it with the first delimiter behind the prefix, and nothing more.
fn folded(key: &[u8], prefix_bytes: usize, delimiter: &[u8]) -> Option<Vec<u8>> {
    let rest = key.get(prefix_bytes..)?;
    let at = rest
        .windows(delimiter.len())
        .position(|part| part == delimiter)?;
    Some(key[..prefix_bytes + at + delimiter.len()].to_vec())
}

impl Catalog {
    /// A run of common prefixes of latest objects, in order, up to a key that folds into none.
    ///
    /// `delimiter`, which is not empty, is looked for behind the first `prefix_bytes` of each key.
    /// On PostgreSQL always none: runs of rows say the same.
    pub async fn folds(
        &self,
        rows: ListRows<'_>,
        prefix_bytes: usize,
        delimiter: &str,
    ) -> Result<Vec<String>, CatalogError> {
        let Some(listings) = &self.listings else {
            return Ok(Vec::new());
        };
        let (bucket_id, limit) = (rows.bucket_id, rows.limit as usize);
        let mut from = rows.from.to_vec();
        let until = rows.until.unwrap_or(END).to_vec();
        let delimiter = delimiter.as_bytes().to_vec();
        let walk = move |connection: &rusqlite::Connection| {
            // All steps see the same moment, be it one that is shared with those who asked together.
            let is_alone = connection.is_autocommit();
            let moment = is_alone.then(|| connection.unchecked_transaction());
            let moment = moment.transpose()?;
            let mut next = connection.prepare_cached(NEXT_KEY)?;
            let mut folds = Vec::new();
            while folds.len() < limit {
                let found = next.query_row((bucket_id, &from, &until), |row| {
                    Ok(folded(row.get_ref(0)?.as_blob()?, prefix_bytes, &delimiter))
                });
                let Some(Some(fold)) = found.optional()? else {
                    break;
                };
                from.clone_from(&fold);
                from.push(END[0]);
                folds.push(fold);
            }
            drop(next);
            if let Some(moment) = moment {
                moment.finish()?;
            }
            Ok(folds)
        };
        let text = |fold| {
            String::from_utf8(fold)
                .map_err(|e| CatalogError::Corrupt(format!("object_version.key: {e}")))
        };
        listings.run(walk).await?.into_iter().map(text).collect()
    }

    /// One run of rows.
    pub async fn list(
        &self,
        rows: ListRows<'_>,
        query: ListQuery,
    ) -> Result<Vec<ListEntry>, CatalogError> {
        let until = rows.until.unwrap_or(END);
        let (bucket_id, limit) = (rows.bucket_id, rows.limit);
        if let Some(listings) = &self.listings {
            let (from, until) = (rows.from.to_vec(), until.to_vec());
            return match query {
                ListQuery::Objects => {
                    let sql = if rows.has_history {
                        OBJECTS_AMONG_VERSIONS
                    } else {
                        OBJECTS_SHORT
                    };
                    let interval = (bucket_id, from, until, limit);
                    listings.all(sql, interval).await
                }
                ListQuery::Versions { below } => {
                    let interval = (bucket_id, from, until, below, limit);
                    listings.all(VERSIONS_SHORT, interval).await
                }
            };
        }
        Ok(on_pool!(self, pool => {
            let (sql, below) = match query {
                ListQuery::Objects => (OBJECTS, None),
                ListQuery::Versions { below } => (VERSIONS, Some(below)),
            };
            let query = sqlx::query_as(sql).bind(bucket_id).bind(rows.from).bind(until);
            let query = match below {
                Some(below) => query.bind(below),
                None => query,
            };
            query.bind(limit).fetch_all(pool).await
        })?)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::catalog::Options;

    /// What SQLite is going to do.
    async fn plan(catalog: &Catalog, sql: &'static str) -> String {
        let explain = move |connection: &rusqlite::Connection| {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}"))?;
            let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3));
            steps.collect::<Result<Vec<_>, _>>()
        };
        let listings = catalog.listings.as_ref().unwrap();
        listings.run(explain).await.unwrap().join("; ")
    }

    #[tokio::test]
    async fn what_is_listed_stands_in_the_index_that_is_walked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("catalog.sqlite");
        let catalog = Catalog::open(&Options::Sqlite(file)).await.unwrap();
        for sql in [OBJECTS_SHORT, VERSIONS_SHORT] {
            let plan = plan(&catalog, sql).await;
            assert!(
                plan.contains("COVERING INDEX object_history"),
                "{plan}: {sql}"
            );
            assert!(!plan.contains(';'), "{plan}: {sql}");
        }
        catalog.close().await;
    }
}
