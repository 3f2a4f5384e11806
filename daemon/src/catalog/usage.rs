//! What owners take and may take, and the count of it all anew.

use sqlx::FromRow;

use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use super::db::{ask, run};
use super::lookup::from_sqlite;

/// A row of `owner_usage`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct OwnerUsageRow {
    /// An access key id, or a name in the tailnet.
    pub owner: String,
    /// Bytes of all its versions.
    pub usage_bytes: i64,
    /// Versions that are not delete markers.
    pub usage_objects: i64,
    /// How many bytes it may take; `None` for any.
    pub quota_bytes: Option<i64>,
    /// How many versions it may have; `None` for any.
    pub quota_objects: Option<i64>,
}

from_sqlite! { OwnerUsageRow:
    owner usage_bytes usage_objects quota_bytes quota_objects
}

/// A figure of usage that is not what the versions add up to.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct WrongUsageRow {
    /// The bucket or owner.
    pub name: String,
    /// Bytes by its row.
    pub usage_bytes: i64,
    /// Versions by its row.
    pub usage_objects: i64,
    /// Bytes as counted.
    pub counted_bytes: i64,
    /// Versions as counted.
    pub counted_objects: i64,
}

/// The owner of a version as it is counted: doors write it with its kind in front or without.
macro_rules! account {
    () => {
        "CASE WHEN owner LIKE 'key:%' THEN substr(owner, 5) WHEN owner LIKE 'tailnet:%' THEN substr(owner, 9) \
         WHEN owner LIKE 'tailnet-node:%' THEN substr(owner, 14) ELSE owner END"
    };
}

/// What the versions of each owner add up to.
macro_rules! counted {
    () => {
        concat!(
            "SELECT ",
            account!(),
            " AS owner, CAST(SUM(size_bytes) AS BIGINT) AS bytes, CAST(SUM(CASE WHEN is_delete_marker THEN 0 ELSE 1 END) AS BIGINT) AS objects \
             FROM object_version GROUP BY 1"
        )
    };
}

pub(super) const ADD: &str = "INSERT INTO owner_usage (owner, usage_bytes, usage_objects) VALUES ($1, $2, $3) \
     ON CONFLICT (owner) DO UPDATE SET usage_bytes = owner_usage.usage_bytes + excluded.usage_bytes, \
     usage_objects = owner_usage.usage_objects + excluded.usage_objects";
pub(super) const GET: &str = "SELECT owner, usage_bytes, usage_objects, quota_bytes, quota_objects FROM owner_usage WHERE owner = $1";
pub(super) const LIST: &str = "SELECT owner, usage_bytes, usage_objects, quota_bytes, quota_objects FROM owner_usage ORDER BY owner";
pub(super) const SET_QUOTA: &str = "INSERT INTO owner_usage (owner, quota_bytes, quota_objects) VALUES ($1, $2, $3) \
     ON CONFLICT (owner) DO UPDATE SET quota_bytes = excluded.quota_bytes, quota_objects = excluded.quota_objects";
pub(super) const WRONG_OWNERS: &str = concat!(
    "SELECT COALESCE(u.owner, c.owner) AS name, COALESCE(u.usage_bytes, 0) AS usage_bytes, COALESCE(u.usage_objects, 0) AS usage_objects, \
     COALESCE(c.bytes, 0) AS counted_bytes, COALESCE(c.objects, 0) AS counted_objects FROM owner_usage u FULL JOIN (",
    counted!(),
    ") c ON c.owner = u.owner WHERE COALESCE(u.usage_bytes, 0) <> COALESCE(c.bytes, 0) OR COALESCE(u.usage_objects, 0) <> COALESCE(c.objects, 0)"
);
pub(super) const WRONG_BUCKETS: &str = "SELECT b.name, b.usage_bytes, b.usage_objects, COALESCE(c.bytes, 0) AS counted_bytes, COALESCE(c.objects, 0) AS counted_objects \
     FROM bucket b LEFT JOIN (SELECT bucket_id, CAST(SUM(size_bytes) AS BIGINT) AS bytes, CAST(SUM(CASE WHEN is_delete_marker THEN 0 ELSE 1 END) AS BIGINT) AS objects \
     FROM object_version GROUP BY bucket_id) c ON c.bucket_id = b.id WHERE b.usage_bytes <> COALESCE(c.bytes, 0) OR b.usage_objects <> COALESCE(c.objects, 0)";
pub(super) const ZERO_OWNERS: &str = "UPDATE owner_usage SET usage_bytes = 0, usage_objects = 0";
pub(super) const RECOUNT_OWNERS: &str = concat!(
    "INSERT INTO owner_usage (owner, usage_bytes, usage_objects) SELECT c.owner, c.bytes, c.objects FROM (",
    counted!(),
    ") c WHERE TRUE ON CONFLICT (owner) DO UPDATE SET usage_bytes = excluded.usage_bytes, usage_objects = excluded.usage_objects"
);
pub(super) const RECOUNT_BUCKETS: &str = "UPDATE bucket SET \
     usage_bytes = (SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM object_version o WHERE o.bucket_id = bucket.id), \
     usage_objects = (SELECT COUNT(*) FROM object_version o WHERE o.bucket_id = bucket.id AND NOT o.is_delete_marker)";

impl Catalog {
    /// What an owner takes and may take; `None` when it never owned anything.
    pub async fn owner_usage(&self, owner: &str) -> Result<Option<OwnerUsageRow>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_as(GET).bind(owner).fetch_optional(pool).await)?)
    }

    /// What every owner takes and may take.
    pub async fn owner_usages(&self) -> Result<Vec<OwnerUsageRow>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_as(LIST).fetch_all(pool).await)?)
    }

    /// Owners whose figures are not what their versions add up to; one statement, so that it sees one moment.
    pub async fn wrong_owner_usages(&self) -> Result<Vec<WrongUsageRow>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_as(WRONG_OWNERS).fetch_all(pool).await)?)
    }

    /// The same of buckets.
    pub async fn wrong_bucket_usages(&self) -> Result<Vec<WrongUsageRow>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_as(WRONG_BUCKETS).fetch_all(pool).await)?)
    }
}

impl Tx {
    /// Adds to what an owner takes; near the end of a transaction, as PostgreSQL holds the row's lock until the commit.
    pub async fn add_owner_usage(
        &mut self,
        owner: &str,
        bytes: i64,
        objects: i64,
    ) -> Result<(), CatalogError> {
        run!(self, ADD, owner, bytes, objects)?;
        Ok(())
    }

    /// What an owner takes and may take, as this transaction left it.
    pub async fn owner_usage(
        &mut self,
        owner: &str,
    ) -> Result<Option<OwnerUsageRow>, CatalogError> {
        Ok(ask!(self, GET, owner)?)
    }

    /// Bounds what an owner may take.
    pub async fn set_owner_quota(
        &mut self,
        owner: &str,
        bytes: Option<i64>,
        objects: Option<i64>,
    ) -> Result<(), CatalogError> {
        // Bucket rows say whether any owner is bound.
        self.touched.buckets();
        self.known.buckets.clear();
        on_tx!(self, conn => sqlx::query(SET_QUOTA).bind(owner).bind(bytes).bind(objects).execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Counts what every bucket and owner takes anew.
    pub async fn recount_usage(&mut self) -> Result<(), CatalogError> {
        self.known.buckets.clear();
        for sql in [RECOUNT_BUCKETS, ZERO_OWNERS, RECOUNT_OWNERS] {
            on_tx!(self, conn => sqlx::query(sql).execute(&mut *conn).await.map(|_| ()))?;
        }
        Ok(())
    }
}
