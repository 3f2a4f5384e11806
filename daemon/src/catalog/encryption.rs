//! Rows that hold a wrapped data key, for the walk that wraps them anew.

use sqlx::FromRow;

use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};

/// An object version or an upload whose extras speak of encryption.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct EncryptedRow<Id> {
    /// Its row id.
    pub id: Id,
    /// JSON: access list, lock, encryption.
    pub extras: String,
}

pub(super) const OBJECTS: &str = "SELECT id, extras FROM object_version WHERE id > $1 AND extras LIKE '%\"sse\":%' ORDER BY id LIMIT $2";
pub(super) const UPLOADS: &str =
    "SELECT id, extras FROM upload WHERE id > $1 AND extras LIKE '%\"sse\":%' ORDER BY id LIMIT $2";
pub(super) const SWAP_OBJECT: &str =
    "UPDATE object_version SET extras = $3 WHERE id = $1 AND extras = $2";
pub(super) const SWAP_UPLOAD: &str = "UPDATE upload SET extras = $3 WHERE id = $1 AND extras = $2";

impl Catalog {
    /// Up to `limit` encrypted object versions with a row id above `after`.
    pub async fn encrypted_objects_after(
        &self,
        after: i64,
        limit: i64,
    ) -> Result<Vec<EncryptedRow<i64>>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(OBJECTS).bind(after).bind(limit).fetch_all(pool).await)?,
        )
    }

    /// Up to `limit` encrypted uploads with an id above `after`.
    pub async fn encrypted_uploads_after(
        &self,
        after: &str,
        limit: i64,
    ) -> Result<Vec<EncryptedRow<String>>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(UPLOADS).bind(after).bind(limit).fetch_all(pool).await)?,
        )
    }
}

impl Tx {
    /// Replaces the extras of a version unless somebody else has changed them meanwhile.
    pub async fn swap_object_extras(
        &mut self,
        id: i64,
        old: &str,
        new: &str,
    ) -> Result<bool, CatalogError> {
        self.touched.object(id);
        let done = on_tx!(self, conn => sqlx::query(SWAP_OBJECT)
            .bind(id)
            .bind(old)
            .bind(new)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }

    /// Replaces the extras of an upload unless somebody else has changed them meanwhile.
    pub async fn swap_upload_extras(
        &mut self,
        id: &str,
        old: &str,
        new: &str,
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(SWAP_UPLOAD)
            .bind(id)
            .bind(old)
            .bind(new)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done > 0)
    }
}
