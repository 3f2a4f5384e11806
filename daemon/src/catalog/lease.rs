//! Leases: what only one of two overlapping daemons may do at a time.

use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use crate::kernel::Millis;

pub(super) const TAKE: &str = "INSERT INTO lease (name, holder, until_ms) VALUES ($1, $2, $3) \
     ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until_ms = excluded.until_ms \
     WHERE lease.holder = excluded.holder OR lease.until_ms <= $4";
pub(super) const RELEASE: &str = "DELETE FROM lease WHERE name = $1 AND holder = $2";
pub(super) const HOLDER: &str = "SELECT holder FROM lease WHERE name = $1 AND until_ms > $2";

impl Catalog {
    /// Who holds a lease now.
    pub async fn lease_holder(
        &self,
        name: &str,
        now_ms: Millis,
    ) -> Result<Option<String>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_scalar(HOLDER).bind(name).bind(now_ms).fetch_optional(pool).await)?,
        )
    }
}

impl Tx {
    /// Takes or renews a lease until `until_ms`; `false` when another holds it.
    pub async fn take_lease(
        &mut self,
        name: &str,
        holder: &str,
        now_ms: Millis,
        until_ms: Millis,
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(TAKE)
            .bind(name)
            .bind(holder)
            .bind(until_ms)
            .bind(now_ms)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Gives a lease back before it ends.
    pub async fn release_lease(&mut self, name: &str, holder: &str) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(RELEASE).bind(name).bind(holder).execute(conn).await.map(|_| ()))?;
        Ok(())
    }
}
