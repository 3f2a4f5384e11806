//! The audit: who did what to what, and what came of it.

use sqlx::FromRow;

use super::db::run;
use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use crate::kernel::Millis;

/// A line of the audit to be written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewAudit {
    /// When.
    pub time_ms: Millis,
    /// The actor, as its `Display` writes it.
    pub actor: String,
    /// The action's word.
    pub action: &'static str,
    /// The resource: `node`, a bucket, or bucket and key with a slash between.
    pub resource: String,
    /// `done`, `refused` or `failed`.
    pub outcome: &'static str,
    /// What the decision rested on.
    pub rule: String,
    /// The caller's IP address, or empty.
    pub source: String,
}

/// A row of `audit`.
#[derive(Clone, PartialEq, Eq, Debug, FromRow)]
pub struct AuditRow {
    /// Grows with time.
    pub id: i64,
    /// When.
    pub time_ms: Millis,
    /// Who.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub resource: String,
    /// `done`, `refused` or `failed`.
    pub outcome: String,
    /// What the decision rested on.
    pub rule: String,
    /// The caller's IP address, or empty.
    pub source: String,
}

pub(super) const INSERT: &str = "INSERT INTO audit (time_ms, actor, action, resource, outcome, rule, source) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";
pub(super) const LIST: &str = "SELECT id, time_ms, actor, action, resource, outcome, rule, source FROM audit \
     WHERE tenant = 'default' AND id < $1 ORDER BY id DESC LIMIT $2";
pub(super) const TRIM: &str = "DELETE FROM audit WHERE time_ms < $1";

impl Catalog {
    /// Up to `limit` lines below the id `before`, newest first.
    pub async fn audit(&self, before: i64, limit: u32) -> Result<Vec<AuditRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(LIST).bind(before).bind(i64::from(limit)).fetch_all(pool).await)?,
        )
    }
}

impl Tx {
    /// Adds a line; in the transaction of the change itself, or in one of its own.
    pub async fn insert_audit(&mut self, line: &NewAudit) -> Result<(), CatalogError> {
        run!(
            self,
            INSERT,
            line.time_ms,
            &line.actor,
            line.action,
            &line.resource,
            line.outcome,
            &line.rule,
            &line.source,
        )?;
        Ok(())
    }

    /// Forgets lines older than `before_ms`.
    pub async fn trim_audit(&mut self, before_ms: Millis) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(TRIM).bind(before_ms).execute(conn).await.map(|_| ()))?;
        Ok(())
    }
}
