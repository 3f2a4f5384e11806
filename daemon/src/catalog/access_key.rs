//! Access keys; their secrets arrive sealed and leave sealed.

use sqlx::FromRow;

use super::db::run;
use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use super::lookup::from_sqlite;
use crate::kernel::{AccessKeyId, Millis};

/// A row of `access_key`, to be written or as read.
#[derive(Clone, PartialEq, Eq, FromRow)]
pub struct AccessKeyRow {
    /// A valid [`AccessKeyId`].
    pub id: String,
    /// What it is for, in its maker's words.
    pub name: String,
    /// The secret, sealed by the master key with the id as associated data.
    pub secret: Vec<u8>,
    /// JSON list of grants.
    pub grants: String,
    /// Whether it may do everything.
    pub is_root: bool,
    /// Switched off for now.
    pub disabled: bool,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created_ms: Millis,
    /// From when on it is refused.
    pub expires_ms: Option<Millis>,
    /// When it was last used, to within a minute.
    pub last_used_ms: Option<Millis>,
}

from_sqlite! { AccessKeyRow:
    id name secret grants is_root disabled created_by created_ms expires_ms last_used_ms
}

impl std::fmt::Debug for AccessKeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessKeyRow")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

pub(super) const INSERT: &str = "INSERT INTO access_key (id, name, secret, grants, is_root, disabled, created_by, created_ms, expires_ms) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING";
pub(super) const BY_ID: &str = "SELECT id, name, secret, grants, is_root, disabled, created_by, created_ms, expires_ms, last_used_ms \
     FROM access_key WHERE tenant = 'default' AND id = $1";
pub(super) const ROOT: &str = "SELECT id, name, secret, grants, is_root, disabled, created_by, created_ms, expires_ms, last_used_ms \
     FROM access_key WHERE tenant = 'default' AND is_root ORDER BY created_ms, id LIMIT 1";
pub(super) const LIST: &str = "SELECT id, name, secret, grants, is_root, disabled, created_by, created_ms, expires_ms, last_used_ms \
     FROM access_key WHERE tenant = 'default' AND id > $1 ORDER BY id LIMIT $2";
pub(super) const COUNT: &str = "SELECT COUNT(*) FROM access_key WHERE tenant = 'default'";
pub(super) const DELETE: &str = "DELETE FROM access_key WHERE id = $1 AND NOT is_root";
pub(super) const DELETE_ROOTS_BUT: &str = "DELETE FROM access_key WHERE is_root AND id <> $1";
pub(super) const SET_SECRET: &str = "UPDATE access_key SET secret = $2 WHERE id = $1";
/// Only while nobody has given the key another secret since it was read.
pub(super) const SWAP_SECRET: &str =
    "UPDATE access_key SET secret = $3 WHERE id = $1 AND secret = $2";
pub(super) const SET_DISABLED: &str =
    "UPDATE access_key SET disabled = $2 WHERE id = $1 AND NOT is_root";
pub(super) const SET_GRANTS: &str =
    "UPDATE access_key SET grants = $2 WHERE id = $1 AND NOT is_root";
pub(super) const TOUCH: &str = "UPDATE access_key SET last_used_ms = $2 WHERE id = $1 AND (last_used_ms IS NULL OR last_used_ms < $2)";

impl Catalog {
    /// The key of this id.
    pub async fn access_key(&self, id: &AccessKeyId) -> Result<Option<AccessKeyRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(BY_ID).bind(id.as_str()).fetch_optional(pool).await)?,
        )
    }

    /// Up to `limit` keys behind the id `after`, by id.
    pub async fn access_keys(
        &self,
        after: &str,
        limit: u32,
    ) -> Result<Vec<AccessKeyRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(LIST).bind(after).bind(i64::from(limit)).fetch_all(pool).await)?,
        )
    }
}

impl Tx {
    /// The root key, when one was made.
    pub async fn root_access_key(&mut self) -> Result<Option<AccessKeyRow>, CatalogError> {
        Ok(on_tx!(self, conn => sqlx::query_as(ROOT).fetch_optional(conn).await)?)
    }

    /// The key of this id, as this transaction sees it.
    pub async fn access_key(
        &mut self,
        id: &AccessKeyId,
    ) -> Result<Option<AccessKeyRow>, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query_as(BY_ID).bind(id.as_str()).fetch_optional(conn).await)?,
        )
    }

    /// How many keys there are.
    pub async fn count_access_keys(&mut self) -> Result<i64, CatalogError> {
        Ok(on_tx!(self, conn => sqlx::query_scalar(COUNT).fetch_one(conn).await)?)
    }

    /// Adds a key; `false` when its id is taken. `last_used_ms` is not written.
    pub async fn insert_access_key(&mut self, row: &AccessKeyRow) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(INSERT)
            .bind(&row.id)
            .bind(&row.name)
            .bind(&row.secret)
            .bind(&row.grants)
            .bind(row.is_root)
            .bind(row.disabled)
            .bind(&row.created_by)
            .bind(row.created_ms)
            .bind(row.expires_ms)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Removes a key that is not root; `false` when there is none.
    pub async fn delete_access_key(&mut self, id: &AccessKeyId) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(DELETE).bind(id.as_str()).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Removes every root key but this one.
    pub async fn delete_roots_but(&mut self, id: &AccessKeyId) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(DELETE_ROOTS_BUT).bind(id.as_str()).execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Replaces the sealed secret; `false` when there is no such key.
    pub async fn set_access_key_secret(
        &mut self,
        id: &AccessKeyId,
        sealed: &[u8],
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(SET_SECRET).bind(id.as_str()).bind(sealed).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Seals a secret anew; `false` when it was replaced since it was read, or the key is gone.
    pub async fn swap_access_key_secret(
        &mut self,
        id: &AccessKeyId,
        old: &[u8],
        new: &[u8],
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(SWAP_SECRET).bind(id.as_str()).bind(old).bind(new).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Switches a key that is not root off or on; `false` when there is none.
    pub async fn set_access_key_disabled(
        &mut self,
        id: &AccessKeyId,
        disabled: bool,
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(SET_DISABLED).bind(id.as_str()).bind(disabled).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Replaces the grants (JSON) of a key that is not root; `false` when there is none.
    pub async fn set_access_key_grants(
        &mut self,
        id: &AccessKeyId,
        grants: &str,
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(SET_GRANTS).bind(id.as_str()).bind(grants).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Notes a use of a key.
    pub async fn touch_access_key(
        &mut self,
        id: &AccessKeyId,
        used_ms: Millis,
    ) -> Result<(), CatalogError> {
        run!(self, TOUCH, id.as_str(), used_ms)?;
        Ok(())
    }
}
