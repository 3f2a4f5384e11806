//! Temporary keys that were lent: who lent them, and whether they were taken back. What they may do is sealed in their tokens.

use sqlx::FromRow;

use super::db::run;
use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use crate::kernel::{AccessKeyId, Millis};

/// A row of `temporary_key`.
#[derive(Clone, PartialEq, Eq, Debug, FromRow)]
pub struct TemporaryKeyRow {
    /// A valid [`AccessKeyId`].
    pub id: String,
    /// The access key behind it; empty when it was revoked without being known here.
    pub parent: String,
    /// What it is for.
    pub name: String,
    /// When it was lent.
    pub created_ms: Millis,
    /// From when on it is refused.
    pub expires_ms: Millis,
    /// Since when it is refused before that.
    pub revoked_ms: Option<Millis>,
    /// When it was last used, to within a minute.
    pub last_used_ms: Option<Millis>,
}

pub(super) const INSERT: &str = "INSERT INTO temporary_key (id, parent, name, created_ms, expires_ms) VALUES ($1, $2, $3, $4, $5)";
pub(super) const BY_ID: &str = "SELECT id, parent, name, created_ms, expires_ms, revoked_ms, last_used_ms \
     FROM temporary_key WHERE tenant = 'default' AND id = $1";
pub(super) const LIST: &str = "SELECT id, parent, name, created_ms, expires_ms, revoked_ms, last_used_ms \
     FROM temporary_key WHERE tenant = 'default' AND revoked_ms IS NULL AND expires_ms > $3 AND id > $1 ORDER BY id LIMIT $2";
pub(super) const LIST_OF: &str = "SELECT id, parent, name, created_ms, expires_ms, revoked_ms, last_used_ms \
     FROM temporary_key WHERE parent = $4 AND revoked_ms IS NULL AND expires_ms > $3 AND id > $1 ORDER BY id LIMIT $2";
pub(super) const COUNT_OF: &str =
    "SELECT COUNT(*) FROM temporary_key WHERE parent = $1 AND expires_ms > $2";
pub(super) const REVOKED: &str =
    "SELECT id FROM temporary_key WHERE revoked_ms IS NOT NULL AND expires_ms > $1";
pub(super) const REVOKE: &str = "INSERT INTO temporary_key (id, parent, name, created_ms, expires_ms, revoked_ms) VALUES ($1, '', '', $2, $3, $2) \
     ON CONFLICT (id) DO UPDATE SET revoked_ms = excluded.revoked_ms WHERE temporary_key.revoked_ms IS NULL";
pub(super) const DELETE_OF: &str = "DELETE FROM temporary_key WHERE parent = $1";
pub(super) const DELETE_ENDED: &str = "DELETE FROM temporary_key WHERE expires_ms <= $1";
pub(super) const TOUCH: &str = "UPDATE temporary_key SET last_used_ms = $2 WHERE id = $1";

impl Catalog {
    /// The temporary key of this id, revoked or not.
    pub async fn temporary_key(
        &self,
        id: &AccessKeyId,
    ) -> Result<Option<TemporaryKeyRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(BY_ID).bind(id.as_str()).fetch_optional(pool).await)?,
        )
    }

    /// Up to `limit` temporary keys behind the id `after` that work at `now_ms`, by id; those of one `parent`, when it is named.
    pub async fn temporary_keys(
        &self,
        parent: Option<&AccessKeyId>,
        after: &str,
        limit: u32,
        now_ms: Millis,
    ) -> Result<Vec<TemporaryKeyRow>, CatalogError> {
        let limit = i64::from(limit);
        Ok(match parent {
            None => on_pool!(self, pool => sqlx::query_as(LIST)
                .bind(after)
                .bind(limit)
                .bind(now_ms)
                .fetch_all(pool).await)?,
            Some(parent) => on_pool!(self, pool => sqlx::query_as(LIST_OF)
                .bind(after)
                .bind(limit)
                .bind(now_ms)
                .bind(parent.as_str())
                .fetch_all(pool).await)?,
        })
    }

    /// Ids of those that were revoked and would work otherwise.
    pub async fn revoked_temporary_keys(
        &self,
        now_ms: Millis,
    ) -> Result<Vec<String>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_scalar(REVOKED).bind(now_ms).fetch_all(pool).await)?)
    }
}

impl Tx {
    /// Enters a temporary key.
    pub async fn insert_temporary_key(
        &mut self,
        row: &TemporaryKeyRow,
    ) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(INSERT)
            .bind(&row.id)
            .bind(&row.parent)
            .bind(&row.name)
            .bind(row.created_ms)
            .bind(row.expires_ms)
            .execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// How many of a key's own still count at `now_ms`.
    pub async fn count_temporary_keys(
        &mut self,
        parent: &AccessKeyId,
        now_ms: Millis,
    ) -> Result<i64, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query_scalar(COUNT_OF).bind(parent.as_str()).bind(now_ms).fetch_one(conn).await)?,
        )
    }

    /// Revokes one, known or not; one that is not known is remembered until `until_ms`. `false` when it was revoked before.
    pub async fn revoke_temporary_key(
        &mut self,
        id: &AccessKeyId,
        now_ms: Millis,
        until_ms: Millis,
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(REVOKE)
            .bind(id.as_str())
            .bind(now_ms)
            .bind(until_ms)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Forgets those of a key that ended with it.
    pub async fn delete_temporary_keys_of(
        &mut self,
        parent: &AccessKeyId,
    ) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(DELETE_OF).bind(parent.as_str()).execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Forgets those whose time is over.
    pub async fn delete_ended_temporary_keys(
        &mut self,
        now_ms: Millis,
    ) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(DELETE_ENDED).bind(now_ms).execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Notes a use.
    pub async fn touch_temporary_key(
        &mut self,
        id: &AccessKeyId,
        used_ms: Millis,
    ) -> Result<(), CatalogError> {
        run!(self, TOUCH, id.as_str(), used_ms)?;
        Ok(())
    }
}
