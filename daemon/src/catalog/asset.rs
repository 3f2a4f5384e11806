//! Assets: what is known of a content as media, whatever objects hold it.

use sqlx::FromRow;

use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use super::lookup::from_sqlite;
use crate::kernel::{ContentId, Millis};

/// How far the media room is with a content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AssetState {
    /// Its index is being made.
    Indexing,
    /// It plays.
    Ready,
    /// It cannot be played.
    Failed,
}

impl AssetState {
    /// As stored and as the JSON API shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Indexing => "indexing",
            Self::Ready => "ready",
            Self::Failed => "failed",
        }
    }

    /// Reads what [`AssetState::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Indexing, Self::Ready, Self::Failed]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// A row of `asset`, without its index and poster.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct AssetRow {
    state: String,
    /// Why it failed.
    pub reason: Option<String>,
    /// From the tags.
    pub title: Option<String>,
    /// How long it plays.
    pub duration_ms: Option<i64>,
    /// JSON: container, tracks, chapters, tags.
    pub info: String,
    /// When it was first seen.
    pub created_ms: Millis,
    /// When it last changed.
    pub updated_ms: Millis,
    /// Whether there is a picture of it.
    pub has_poster: bool,
}

from_sqlite! { AssetRow:
    state reason title duration_ms info created_ms updated_ms has_poster
}

impl AssetRow {
    /// The state.
    pub fn state(&self) -> Result<AssetState, CatalogError> {
        AssetState::parse(&self.state)
            .ok_or_else(|| CatalogError::Corrupt(format!("asset.state {}", self.state)))
    }
}

/// What an index job found.
#[derive(Clone, Debug)]
pub struct NewAsset {
    /// Of which content.
    pub content: ContentId,
    /// Whether it plays.
    pub state: AssetState,
    /// Why it does not.
    pub reason: Option<String>,
    /// From the tags.
    pub title: Option<String>,
    /// How long it plays.
    pub duration_ms: Option<i64>,
    /// JSON: container, tracks, chapters, tags.
    pub info: String,
    /// The compact sample index.
    pub sample_index: Option<Vec<u8>>,
    /// JPEG.
    pub poster: Option<Vec<u8>>,
    /// Now.
    pub now_ms: Millis,
}

/// The latest version of an object whose content was looked at as media.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct AssetObjectRow {
    /// Row id of the version; where a listing goes on.
    pub object_id: i64,
    /// Bucket name.
    pub bucket: String,
    key: Vec<u8>,
    /// Bytes.
    pub size_bytes: i64,
    content_id: Vec<u8>,
    /// When the object was published.
    pub modified_ms: Millis,
    /// The asset.
    #[sqlx(flatten)]
    pub asset: AssetRow,
}

impl AssetObjectRow {
    /// The key.
    pub fn key(&self) -> String {
        String::from_utf8_lossy(&self.key).into_owned()
    }

    /// The content.
    pub fn content(&self) -> Result<ContentId, CatalogError> {
        let bytes = self.content_id.as_slice().try_into();
        bytes
            .map(ContentId)
            .map_err(|_| CatalogError::Corrupt("object_version.content_id".into()))
    }
}

pub(super) const GET: &str = "SELECT state, reason, title, duration_ms, info, created_ms, updated_ms, poster IS NOT NULL AS has_poster \
     FROM asset WHERE tenant = 'default' AND content_id = $1";
pub(super) const INDEX: &str = "SELECT sample_index FROM asset WHERE tenant = 'default' AND content_id = $1 AND state = 'ready'";
pub(super) const POSTER: &str =
    "SELECT poster FROM asset WHERE tenant = 'default' AND content_id = $1";
pub(super) const PUT: &str = "INSERT INTO asset (content_id, state, reason, title, duration_ms, info, sample_index, poster, created_ms, updated_ms) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) ON CONFLICT (tenant, content_id) DO UPDATE SET state = excluded.state, \
     reason = excluded.reason, title = excluded.title, duration_ms = excluded.duration_ms, info = excluded.info, \
     sample_index = excluded.sample_index, poster = excluded.poster, updated_ms = excluded.updated_ms";
pub(super) const BEGIN: &str = "INSERT INTO asset (content_id, state, created_ms, updated_ms) VALUES ($1, 'indexing', $2, $2) \
     ON CONFLICT (tenant, content_id) DO NOTHING";
pub(super) const LIST: &str = "SELECT o.id AS object_id, b.name AS bucket, o.key, o.size_bytes, o.content_id, o.modified_ms, \
     a.state, a.reason, a.title, a.duration_ms, a.info, a.created_ms, a.updated_ms, a.poster IS NOT NULL AS has_poster \
     FROM object_version o JOIN bucket b ON b.id = o.bucket_id \
     JOIN asset a ON a.tenant = o.tenant AND a.content_id = o.content_id \
     WHERE o.tenant = 'default' AND o.is_latest AND o.id < $1 ORDER BY o.id DESC LIMIT $2";
pub(super) const COUNT: &str = "SELECT COUNT(*) FROM asset WHERE tenant = 'default' AND state = $1";
pub(super) const DELETE_LONELY: &str = "DELETE FROM asset WHERE tenant = 'default' AND updated_ms < $1 \
     AND NOT EXISTS (SELECT 1 FROM object_version o WHERE o.tenant = asset.tenant AND o.content_id = asset.content_id)";

impl Catalog {
    /// What is known of a content as media.
    pub async fn asset(&self, content: ContentId) -> Result<Option<AssetRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(GET).bind(content.0.as_slice()).fetch_optional(pool).await)?,
        )
    }

    /// The compact sample index of a content that plays.
    pub async fn asset_index(&self, content: ContentId) -> Result<Option<Vec<u8>>, CatalogError> {
        if let Some(lookups) = &self.lookups {
            // Of a long film it is megabytes, which the pool's driver copies once more.
            let rows: Vec<(Option<Vec<u8>>,)> = lookups.all(INDEX, [content.0.to_vec()]).await?;
            return Ok(rows.into_iter().next().and_then(|(index,)| index));
        }
        let row: Option<Option<Vec<u8>>> = on_pool!(self, pool => sqlx::query_scalar(INDEX).bind(content.0.as_slice()).fetch_optional(pool).await)?;
        Ok(row.flatten())
    }

    /// The poster of a content, as JPEG.
    pub async fn asset_poster(&self, content: ContentId) -> Result<Option<Vec<u8>>, CatalogError> {
        let row: Option<Option<Vec<u8>>> = on_pool!(self, pool => sqlx::query_scalar(POSTER).bind(content.0.as_slice()).fetch_optional(pool).await)?;
        Ok(row.flatten())
    }

    /// Up to `limit` objects that were looked at as media, newest first, those below the row `before`.
    pub async fn asset_objects(
        &self,
        before: i64,
        limit: i64,
    ) -> Result<Vec<AssetObjectRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(LIST).bind(before).bind(limit).fetch_all(pool).await)?,
        )
    }

    /// How many contents are in this state.
    pub async fn count_assets(&self, state: AssetState) -> Result<i64, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_scalar(COUNT).bind(state.as_str()).fetch_one(pool).await)?,
        )
    }
}

impl Tx {
    /// What is known of a content as media, as this transaction sees it.
    pub async fn asset(&mut self, content: ContentId) -> Result<Option<AssetRow>, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query_as(GET).bind(content.0.as_slice()).fetch_optional(conn).await)?,
        )
    }

    /// Notes that a content is being looked at, unless it was before.
    pub async fn begin_asset(
        &mut self,
        content: ContentId,
        now_ms: Millis,
    ) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(BEGIN).bind(content.0.as_slice()).bind(now_ms).execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Enters what an index job found, in place of what was known before.
    pub async fn put_asset(&mut self, new: &NewAsset) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(PUT)
            .bind(new.content.0.as_slice())
            .bind(new.state.as_str())
            .bind(&new.reason)
            .bind(&new.title)
            .bind(new.duration_ms)
            .bind(&new.info)
            .bind(&new.sample_index)
            .bind(&new.poster)
            .bind(new.now_ms)
            .execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Forgets what was known of contents that no object has any more and that were looked at before `before_ms`; returns how many.
    pub async fn delete_lonely_assets(&mut self, before_ms: Millis) -> Result<u64, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query(DELETE_LONELY).bind(before_ms).execute(conn).await.map(|done| done.rows_affected()))?,
        )
    }
}
