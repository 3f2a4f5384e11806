//! Signed links: what each opens, and whether it was revoked. The signature is the identity room's.

use sqlx::FromRow;

use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use crate::kernel::{LinkId, Millis};

/// A row of `link`.
#[derive(Clone, PartialEq, Eq, Debug, FromRow)]
pub struct LinkRow {
    /// A valid [`LinkId`].
    pub id: String,
    /// The actor that made it, as its `Display` writes it.
    pub created_by: String,
    /// The bucket it opens.
    pub bucket: String,
    /// The key, or the prefix of keys.
    pub key_prefix: Vec<u8>,
    /// Whether `key_prefix` is a prefix.
    pub is_prefix: bool,
    /// When it was made.
    pub created_ms: Millis,
    /// From when on it is refused.
    pub expires_ms: Millis,
    /// Since when it is refused.
    pub revoked_ms: Option<Millis>,
}

pub(super) const INSERT: &str = "INSERT INTO link (id, created_by, bucket, key_prefix, is_prefix, created_ms, expires_ms) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";
pub(super) const BY_ID: &str = "SELECT id, created_by, bucket, key_prefix, is_prefix, created_ms, expires_ms, revoked_ms \
     FROM link WHERE tenant = 'default' AND id = $1";
pub(super) const LIST: &str = "SELECT id, created_by, bucket, key_prefix, is_prefix, created_ms, expires_ms, revoked_ms \
     FROM link WHERE tenant = 'default' AND revoked_ms IS NULL AND expires_ms > $3 AND id > $1 ORDER BY id LIMIT $2";
pub(super) const REVOKE: &str =
    "UPDATE link SET revoked_ms = $2 WHERE id = $1 AND revoked_ms IS NULL";
pub(super) const REVOKE_BY_MAKER: &str =
    "UPDATE link SET revoked_ms = $2 WHERE created_by = $1 AND revoked_ms IS NULL";
pub(super) const DELETE_DEAD: &str = "DELETE FROM link WHERE expires_ms < $1";

impl Catalog {
    /// The link of this id, revoked or not.
    pub async fn link(&self, id: LinkId) -> Result<Option<LinkRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(BY_ID).bind(id.to_string()).fetch_optional(pool).await)?,
        )
    }

    /// Up to `limit` links behind the id `after` that work at `now_ms`, by id.
    pub async fn links(
        &self,
        after: &str,
        limit: u32,
        now_ms: Millis,
    ) -> Result<Vec<LinkRow>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_as(LIST)
            .bind(after)
            .bind(i64::from(limit))
            .bind(now_ms)
            .fetch_all(pool).await)?)
    }
}

impl Tx {
    /// Adds a link; `revoked_ms` is not written.
    pub async fn insert_link(&mut self, row: &LinkRow) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(INSERT)
            .bind(&row.id)
            .bind(&row.created_by)
            .bind(&row.bucket)
            .bind(&row.key_prefix)
            .bind(row.is_prefix)
            .bind(row.created_ms)
            .bind(row.expires_ms)
            .execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Stops a link; `false` when there is none that works.
    pub async fn revoke_link(&mut self, id: LinkId, now_ms: Millis) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(REVOKE).bind(id.to_string()).bind(now_ms).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Stops every link that this actor made.
    pub async fn revoke_links_of(
        &mut self,
        created_by: &str,
        now_ms: Millis,
    ) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(REVOKE_BY_MAKER).bind(created_by).bind(now_ms).execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Forgets links that expired before `before_ms`.
    pub async fn delete_dead_links(&mut self, before_ms: Millis) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(DELETE_DEAD).bind(before_ms).execute(conn).await.map(|_| ()))?;
        Ok(())
    }
}
