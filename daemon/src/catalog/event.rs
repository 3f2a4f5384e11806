//! The outbox: every change leaves an event row in its own transaction, read later by sequence.

use sqlx::FromRow;

use super::db::run;
use super::db::{Catalog, CatalogError, Pools, Tx, on_pool, on_tx};
use crate::kernel::Millis;

/// What happened; the wire form is the name in the JSON API and in server-sent events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// An object version was published.
    ObjectCreated,
    /// A version or a delete marker took its place.
    ObjectDeleted,
    /// A bucket was made.
    BucketCreated,
    /// A bucket was removed.
    BucketDeleted,
    /// A content can be played.
    AssetReady,
    /// A content cannot be played, with the reason in the payload.
    AssetFailed,
    /// A rendition is complete.
    RenditionReady,
    /// A job changed its state.
    JobChanged,
    /// A bucket's notification rules were set: their targets are told once.
    NotificationTest,
    /// Stored bytes of an object were found damaged.
    ObjectDamaged,
}

impl EventKind {
    const ALL: [Self; 10] = [
        Self::ObjectCreated,
        Self::ObjectDeleted,
        Self::BucketCreated,
        Self::BucketDeleted,
        Self::AssetReady,
        Self::AssetFailed,
        Self::RenditionReady,
        Self::JobChanged,
        Self::NotificationTest,
        Self::ObjectDamaged,
    ];

    /// As stored and as clients see it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ObjectCreated => "object.created",
            Self::ObjectDeleted => "object.deleted",
            Self::BucketCreated => "bucket.created",
            Self::BucketDeleted => "bucket.deleted",
            Self::AssetReady => "asset.ready",
            Self::AssetFailed => "asset.failed",
            Self::RenditionReady => "rendition.ready",
            Self::JobChanged => "job.changed",
            Self::NotificationTest => "notification.test",
            Self::ObjectDamaged => "object.damaged",
        }
    }

    /// Reads what [`EventKind::as_str`] wrote; a newer daemon's kind is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// An event to be written.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// When.
    pub time_ms: Millis,
    /// What.
    pub kind: EventKind,
    /// The bucket's name, when one is concerned.
    pub bucket: Option<String>,
    /// The object's key, when one is concerned.
    pub key: Option<String>,
    /// The version, when one is concerned.
    pub version_id: Option<String>,
    /// JSON details.
    pub payload: String,
}

/// A row of `event`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct EventRow {
    /// Position in the log; grows, with gaps.
    pub seq: i64,
    /// When.
    pub time_ms: Millis,
    /// An [`EventKind`] in its wire form.
    pub kind: String,
    /// The bucket's name.
    pub bucket: Option<String>,
    /// The object's key in UTF-8.
    pub key: Option<Vec<u8>>,
    /// The version.
    pub version_id: Option<String>,
    /// JSON details.
    pub payload: String,
}

pub(super) const INSERT: &str = "INSERT INTO event (time_ms, kind, bucket, key, version_id, payload) VALUES ($1, $2, $3, $4, $5, $6)";
pub(super) const AFTER_SQLITE: &str = "SELECT seq, time_ms, kind, bucket, key, version_id, payload FROM event WHERE seq > $1 ORDER BY seq LIMIT $2";
/// Below the oldest running transaction, so that no event can appear behind a reader's back.
pub(super) const AFTER_POSTGRES: &str = "SELECT seq, time_ms, kind, bucket, key, version_id, payload FROM event \
     WHERE seq > $1 AND txid < pg_snapshot_xmin(pg_current_snapshot()) ORDER BY seq LIMIT $2";
pub(super) const LAST: &str = "SELECT COALESCE(MAX(seq), 0) FROM event";
pub(super) const TRIM: &str = "DELETE FROM event WHERE time_ms < $1 AND seq <= (SELECT COALESCE(MIN(seq), 9223372036854775807) FROM event_consumer)";
pub(super) const CONSUMER: &str = "SELECT seq FROM event_consumer WHERE name = $1";
pub(super) const SET_CONSUMER: &str = "INSERT INTO event_consumer (name, seq) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET seq = excluded.seq";
/// A consumer that is new begins behind what the log holds.
pub(super) const BEGIN_CONSUMER: &str = "INSERT INTO event_consumer (name, seq) SELECT CAST($1 AS TEXT), COALESCE(MAX(seq), 0) FROM event WHERE TRUE \
     ON CONFLICT (name) DO NOTHING";
pub(super) const CONSUMERS: &str = "SELECT name FROM event_consumer ORDER BY name";
/// Only one that left something unread for so long: another daemon may have begun it just now.
pub(super) const FORGET_CONSUMER: &str = "DELETE FROM event_consumer WHERE name = $1 \
     AND EXISTS (SELECT 1 FROM event WHERE event.seq > event_consumer.seq AND time_ms < $2)";

impl Catalog {
    /// Up to `limit` events after `seq`, oldest first.
    pub async fn events_after(&self, seq: i64, limit: i64) -> Result<Vec<EventRow>, CatalogError> {
        let sql = if matches!(self.pools, Pools::Postgres(_)) {
            AFTER_POSTGRES
        } else {
            AFTER_SQLITE
        };
        Ok(on_pool!(self, pool => sqlx::query_as(sql).bind(seq).bind(limit).fetch_all(pool).await)?)
    }

    /// The newest sequence number; 0 in an empty log.
    pub async fn last_event(&self) -> Result<i64, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_scalar(LAST).fetch_one(pool).await)?)
    }

    /// How far a consumer has read; 0 when it never did.
    pub async fn consumer_offset(&self, name: &str) -> Result<i64, CatalogError> {
        let seq: Option<i64> = on_pool!(self, pool => sqlx::query_scalar(CONSUMER).bind(name).fetch_optional(pool).await)?;
        Ok(seq.unwrap_or(0))
    }

    /// Every consumer, by name.
    pub async fn consumers(&self) -> Result<Vec<String>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_scalar(CONSUMERS).fetch_all(pool).await)?)
    }
}

impl Tx {
    /// Writes an event.
    pub async fn insert_event(&mut self, new: &NewEvent) -> Result<(), CatalogError> {
        run!(
            self,
            INSERT,
            new.time_ms,
            new.kind.as_str(),
            &new.bucket,
            new.key.as_deref().map(str::as_bytes),
            &new.version_id,
            &new.payload,
        )?;
        Ok(())
    }

    /// Notes how far a consumer has read.
    pub async fn set_consumer_offset(&mut self, name: &str, seq: i64) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(SET_CONSUMER).bind(name).bind(seq).execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// How far a consumer has read; one that is new begins at the end of the log.
    pub async fn begin_consumer(&mut self, name: &str) -> Result<i64, CatalogError> {
        on_tx!(self, conn => sqlx::query(BEGIN_CONSUMER).bind(name).execute(&mut *conn).await.map(|_| ()))?;
        Ok(on_tx!(self, conn => sqlx::query_scalar(CONSUMER).bind(name).fetch_one(conn).await)?)
    }

    /// Forgets a consumer that has not read what happened before `before_ms`.
    pub async fn forget_consumer(
        &mut self,
        name: &str,
        before_ms: Millis,
    ) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(FORGET_CONSUMER).bind(name).bind(before_ms).execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Drops events older than `before_ms` that every consumer has read.
    pub async fn trim_events(&mut self, before_ms: Millis) -> Result<u64, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query(TRIM).bind(before_ms).execute(conn).await.map(|done| done.rows_affected()))?,
        )
    }
}
