//! Where each identity stopped watching what.

use sqlx::FromRow;

use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use crate::kernel::{ContentId, Millis};

/// A row of `watch_position`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct PositionRow {
    content_id: Vec<u8>,
    /// The bucket in which it was watched last.
    pub bucket: String,
    key: Vec<u8>,
    /// From the start of the film.
    pub position_ms: i64,
    /// Of the whole film.
    pub duration_ms: i64,
    /// When it was told.
    pub updated_ms: Millis,
}

impl PositionRow {
    /// The key under which it was watched last.
    pub fn key(&self) -> String {
        String::from_utf8_lossy(&self.key).into_owned()
    }

    /// Of which content.
    pub fn content(&self) -> Result<ContentId, CatalogError> {
        let bytes = self.content_id.as_slice().try_into();
        bytes
            .map(ContentId)
            .map_err(|_| CatalogError::Corrupt("watch_position.content_id".into()))
    }
}

/// A position as a player tells it.
#[derive(Clone, Debug)]
pub struct NewPosition {
    /// Who watches, as the identity room writes it.
    pub actor: String,
    /// What.
    pub content: ContentId,
    /// Under which name.
    pub bucket: String,
    /// Under which name.
    pub key: Vec<u8>,
    /// From the start of the film.
    pub position_ms: i64,
    /// Of the whole film.
    pub duration_ms: i64,
    /// Now.
    pub now_ms: Millis,
}

pub(super) const PUT: &str = "INSERT INTO watch_position (actor, content_id, bucket, key, position_ms, duration_ms, updated_ms) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant, actor, content_id) DO UPDATE SET bucket = excluded.bucket, \
     key = excluded.key, position_ms = excluded.position_ms, duration_ms = excluded.duration_ms, updated_ms = excluded.updated_ms";
pub(super) const GET: &str = "SELECT content_id, bucket, key, position_ms, duration_ms, updated_ms FROM watch_position \
     WHERE tenant = 'default' AND actor = $1 AND content_id = $2";
pub(super) const RECENT: &str = "SELECT content_id, bucket, key, position_ms, duration_ms, updated_ms FROM watch_position \
     WHERE tenant = 'default' AND actor = $1 AND updated_ms < $2 ORDER BY updated_ms DESC LIMIT $3";
pub(super) const DELETE: &str =
    "DELETE FROM watch_position WHERE tenant = 'default' AND actor = $1 AND content_id = $2";
pub(super) const TRIM: &str = "DELETE FROM watch_position WHERE tenant = 'default' AND actor = $1 AND updated_ms < \
     (SELECT updated_ms FROM watch_position WHERE tenant = 'default' AND actor = $1 ORDER BY updated_ms DESC LIMIT 1 OFFSET $2)";

impl Catalog {
    /// Where somebody stopped watching a content.
    pub async fn position(
        &self,
        actor: &str,
        content: ContentId,
    ) -> Result<Option<PositionRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(GET).bind(actor).bind(content.0.as_slice()).fetch_optional(pool).await)?,
        )
    }

    /// Up to `limit` positions of somebody, told before `before_ms`, the latest first.
    pub async fn positions(
        &self,
        actor: &str,
        before_ms: Millis,
        limit: i64,
    ) -> Result<Vec<PositionRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(RECENT).bind(actor).bind(before_ms).bind(limit).fetch_all(pool).await)?,
        )
    }
}

impl Tx {
    /// Enters a position in place of the last, and forgets what lies behind the latest `keep` of its identity.
    pub async fn put_position(&mut self, new: &NewPosition, keep: i64) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(PUT)
            .bind(&new.actor)
            .bind(new.content.0.as_slice())
            .bind(&new.bucket)
            .bind(&new.key)
            .bind(new.position_ms)
            .bind(new.duration_ms)
            .bind(new.now_ms)
            .execute(conn).await.map(|_| ()))?;
        on_tx!(self, conn => sqlx::query(TRIM).bind(&new.actor).bind(keep).execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Forgets a position; `false` when there was none.
    pub async fn delete_position(
        &mut self,
        actor: &str,
        content: ContentId,
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(DELETE).bind(actor).bind(content.0.as_slice()).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }
}
