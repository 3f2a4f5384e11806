//! Parts of an S3 multipart upload.

use sqlx::FromRow;

use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use super::extent::Extent;
use super::lookup::from_sqlite;
use crate::kernel::{Millis, UploadId};

/// A row of `part`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct PartRow {
    /// 1 to 10,000.
    pub number: i64,
    /// Bytes.
    pub size_bytes: i64,
    /// MD5 in hex.
    pub etag: String,
    /// JSON: checksums by algorithm.
    pub checksums: String,
    extents: String,
    /// When it was stored.
    pub modified_ms: Millis,
}

from_sqlite! { PartRow:
    number size_bytes etag checksums extents modified_ms
}

impl PartRow {
    /// A part to be stored.
    pub fn new(
        number: u32,
        size: u64,
        etag: String,
        checksums: String,
        extents: &[Extent],
        modified_ms: Millis,
    ) -> Self {
        let extents = serde_json::to_string(extents).unwrap_or_default();
        Self {
            number: i64::from(number),
            size_bytes: size as i64,
            etag,
            checksums,
            extents,
            modified_ms,
        }
    }

    /// Where its bytes lie.
    pub fn extents(&self) -> Result<Vec<Extent>, CatalogError> {
        serde_json::from_str(&self.extents)
            .map_err(|e| CatalogError::Corrupt(format!("part.extents: {e}")))
    }
}

pub(super) const PUT: &str = "INSERT INTO part (upload_id, number, size_bytes, etag, checksums, extents, modified_ms) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (upload_id, number) DO UPDATE SET size_bytes = excluded.size_bytes, \
     etag = excluded.etag, checksums = excluded.checksums, extents = excluded.extents, modified_ms = excluded.modified_ms";
pub(super) const GET: &str = "SELECT number, size_bytes, etag, checksums, extents, modified_ms FROM part WHERE upload_id = $1 AND number = $2";
pub(super) const LIST: &str = "SELECT number, size_bytes, etag, checksums, extents, modified_ms FROM part \
     WHERE upload_id = $1 AND number > $2 ORDER BY number LIMIT $3";
pub(super) const EVERY: &str =
    "SELECT number, size_bytes, etag, checksums, extents, modified_ms FROM part";
pub(super) const TOTAL: &str =
    "SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM part WHERE upload_id = $1";
pub(super) const DELETE: &str = "DELETE FROM part WHERE upload_id = $1";

impl Catalog {
    /// Up to `limit` parts with a number above `after`.
    pub async fn parts(
        &self,
        upload: UploadId,
        after: u32,
        limit: i64,
    ) -> Result<Vec<PartRow>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_as(LIST)
            .bind(upload.to_string())
            .bind(i64::from(after))
            .bind(limit)
            .fetch_all(pool).await)?)
    }

    /// Bytes of all parts of an upload.
    pub async fn part_bytes(&self, upload: UploadId) -> Result<i64, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_scalar(TOTAL).bind(upload.to_string()).fetch_one(pool).await)?,
        )
    }

    /// Every part of every upload, for the check of reference counts.
    pub async fn every_part(&self) -> Result<Vec<PartRow>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_as(EVERY).fetch_all(pool).await)?)
    }
}

impl Tx {
    /// One part.
    pub async fn part(
        &mut self,
        upload: UploadId,
        number: u32,
    ) -> Result<Option<PartRow>, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query_as(GET).bind(upload.to_string()).bind(i64::from(number)).fetch_optional(conn).await)?,
        )
    }

    /// Every part of an upload, by number.
    pub async fn parts(&mut self, upload: UploadId) -> Result<Vec<PartRow>, CatalogError> {
        Ok(on_tx!(self, conn => sqlx::query_as(LIST)
            .bind(upload.to_string())
            .bind(0_i64)
            .bind(i64::from(crate::kernel::limits::PARTS_MAX))
            .fetch_all(conn).await)?)
    }

    /// Stores a part, in place of an earlier one of the same number.
    pub async fn put_part(&mut self, upload: UploadId, part: &PartRow) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(PUT)
            .bind(upload.to_string())
            .bind(part.number)
            .bind(part.size_bytes)
            .bind(&part.etag)
            .bind(&part.checksums)
            .bind(&part.extents)
            .bind(part.modified_ms)
            .execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Forgets every part of an upload.
    pub async fn delete_parts(&mut self, upload: UploadId) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(DELETE).bind(upload.to_string()).execute(conn).await.map(|_| ()))?;
        Ok(())
    }
}
