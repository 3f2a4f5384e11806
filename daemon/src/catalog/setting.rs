//! Small facts of the appliance, by name.

use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};

pub(super) const GET: &str = "SELECT value FROM setting WHERE name = $1";
pub(super) const PUT: &str = "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
pub(super) const PUT_IF_ABSENT: &str =
    "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

impl Catalog {
    /// The value under a name.
    pub async fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_scalar(GET).bind(name).fetch_optional(pool).await)?)
    }
}

impl Tx {
    /// Replaces the value under a name.
    pub async fn put_setting(&mut self, name: &str, value: &[u8]) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(PUT).bind(name).bind(value).execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Sets the value unless another daemon was first; returns the one that stands.
    pub async fn setting_or_insert(
        &mut self,
        name: &str,
        value: &[u8],
    ) -> Result<Vec<u8>, CatalogError> {
        on_tx!(self, conn => sqlx::query(PUT_IF_ABSENT).bind(name).bind(value).execute(&mut *conn).await.map(|_| ()))?;
        Ok(on_tx!(self, conn => sqlx::query_scalar(GET).bind(name).fetch_one(conn).await)?)
    }
}
