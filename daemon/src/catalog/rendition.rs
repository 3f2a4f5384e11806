//! Renditions: what was made of a content for players that cannot take it as it is.
//!
//! A rendition is a cache: each segment is a blob of its own that can be made again, and counts as one reference of it.

use sqlx::FromRow;

use super::db::{Catalog, CatalogError, Pools, Tx, on_pool, on_tx};
use crate::kernel::{BlobId, ContentId, Millis};

/// What a rendition is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenditionKind {
    /// A rung of the ladder.
    Video,
    /// A sound track in a codec that every player takes.
    Audio,
    /// Sheets of small pictures.
    Storyboard,
    /// Subtitles that are pictures, as one file.
    Pictures,
}

impl RenditionKind {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Storyboard => "storyboard",
            Self::Pictures => "pictures",
        }
    }
}

/// How far a rendition is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RenditionState {
    /// Segments arrive.
    Building,
    /// Every segment is there.
    Ready,
    /// It will not come.
    Failed,
    /// It was made and gave way to others; it is made again when somebody watches.
    Evicted,
}

impl RenditionState {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Evicted => "evicted",
        }
    }

    /// Reads what [`RenditionState::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Building, Self::Ready, Self::Failed, Self::Evicted]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// A row of `rendition`.
#[derive(Clone, Debug, PartialEq, FromRow)]
pub struct RenditionRow {
    /// Rung and encoder settings: part of the key.
    pub recipe: String,
    /// `720p`, `audio`, …
    pub name: String,
    kind: String,
    state: String,
    /// RFC 6381, once known.
    pub codecs: Option<String>,
    /// In pixels, as shown.
    pub width: Option<i64>,
    /// In pixels.
    pub height: Option<i64>,
    /// Frames per second.
    pub frame_rate: Option<f64>,
    /// Ticks per second of its segments' times; 0 before the first.
    pub timescale: i64,
    /// How many segments it has when complete.
    pub segments_total: i64,
    /// When it was begun.
    pub created_ms: Millis,
    /// When it last changed.
    pub updated_ms: Millis,
}

impl RenditionRow {
    /// What it is.
    pub fn kind(&self) -> RenditionKind {
        [
            RenditionKind::Audio,
            RenditionKind::Storyboard,
            RenditionKind::Pictures,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == self.kind)
        .unwrap_or(RenditionKind::Video)
    }

    /// How far it is.
    pub fn state(&self) -> Result<RenditionState, CatalogError> {
        RenditionState::parse(&self.state)
            .ok_or_else(|| CatalogError::Corrupt(format!("rendition.state {}", self.state)))
    }
}

/// A rendition to be begun, or what became known of one.
#[derive(Clone, Debug)]
pub struct NewRendition {
    /// Of which content.
    pub content: ContentId,
    /// Rung and encoder settings.
    pub recipe: String,
    /// `720p`, `audio`, …
    pub name: String,
    /// What it is.
    pub kind: RenditionKind,
    /// How many segments it will have.
    pub segments_total: i64,
    /// Now.
    pub now_ms: Millis,
}

/// What the first segment of a rendition tells about it.
#[derive(Clone, Debug, PartialEq)]
pub struct RenditionShape {
    /// RFC 6381.
    pub codecs: String,
    /// In pixels, of a picture.
    pub width: Option<i64>,
    /// In pixels, of a picture.
    pub height: Option<i64>,
    /// Frames per second, of a picture.
    pub frame_rate: Option<f64>,
    /// Ticks per second of the segments' times.
    pub timescale: i64,
}

/// A row of `rendition_segment`.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct SegmentRow {
    /// From 0.
    pub number: i64,
    blob_id: String,
    /// Bytes.
    pub size_bytes: i64,
    /// The init segment it needs.
    pub init_number: i64,
    /// Start on the film's timeline.
    pub start_ticks: i64,
    /// Sum of its samples' durations.
    pub duration_ticks: i64,
    /// Whether its file is encrypted.
    pub is_encrypted: bool,
}

impl SegmentRow {
    /// Where its bytes are.
    pub fn blob(&self) -> Result<BlobId, CatalogError> {
        self.blob_id.parse().map_err(|_| {
            CatalogError::Corrupt(format!("rendition_segment.blob_id {}", self.blob_id))
        })
    }
}

/// What there is of a rendition.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct RenditionTally {
    /// Rung and encoder settings.
    pub recipe: String,
    /// Segments.
    pub segments: i64,
    /// Their bytes.
    pub size_bytes: i64,
    /// Their durations, in ticks of the rendition.
    pub duration_ticks: i64,
}

/// A rendition that nobody watched for a while.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct IdleRendition {
    content_id: Vec<u8>,
    /// Rung and encoder settings.
    pub recipe: String,
    /// Of its segments.
    pub size_bytes: i64,
    /// When it was made or last watched.
    pub used_ms: Millis,
}

impl IdleRendition {
    /// Of which content.
    pub fn content(&self) -> Result<ContentId, CatalogError> {
        let bytes = self.content_id.as_slice().try_into();
        bytes
            .map(ContentId)
            .map_err(|_| CatalogError::Corrupt("rendition.content_id".into()))
    }
}

/// A segment to be entered; its blob must be there.
#[derive(Clone, Debug)]
pub struct NewSegment {
    /// Of which content.
    pub content: ContentId,
    /// Of which rendition.
    pub recipe: String,
    /// From 0.
    pub number: i64,
    /// Where its bytes are.
    pub blob: BlobId,
    /// Bytes.
    pub size_bytes: i64,
    /// The init segment it needs.
    pub init_number: i64,
    /// Start on the film's timeline.
    pub start_ticks: i64,
    /// Sum of its samples' durations.
    pub duration_ticks: i64,
    /// Whether its file is encrypted.
    pub is_encrypted: bool,
    /// Now.
    pub now_ms: Millis,
}

pub(super) const OF_CONTENT: &str = "SELECT recipe, name, kind, state, codecs, width, height, frame_rate, timescale, segments_total, created_ms, updated_ms \
     FROM rendition WHERE tenant = 'default' AND content_id = $1 ORDER BY kind DESC, height DESC, recipe";
pub(super) const BEGIN: &str = "INSERT INTO rendition (content_id, recipe, name, kind, state, segments_total, created_ms, updated_ms, used_ms) \
     VALUES ($1, $2, $3, $4, 'building', $5, $6, $6, $6) ON CONFLICT (tenant, content_id, recipe) DO UPDATE \
     SET state = CASE WHEN rendition.state IN ('failed', 'evicted') THEN 'building' ELSE rendition.state END, \
     updated_ms = excluded.updated_ms, used_ms = excluded.used_ms";
pub(super) const SHAPE: &str = "UPDATE rendition SET codecs = $3, width = $4, height = $5, frame_rate = $6, timescale = $7, updated_ms = $8 \
     WHERE tenant = 'default' AND content_id = $1 AND recipe = $2";
pub(super) const SET_STATE: &str = "UPDATE rendition SET state = $3, updated_ms = $4 \
     WHERE tenant = 'default' AND content_id = $1 AND recipe = $2 AND state <> $3";
pub(super) const PUT_INIT: &str = "INSERT INTO rendition_init (content_id, recipe, number, bytes) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (tenant, content_id, recipe, number) DO UPDATE SET bytes = excluded.bytes";
pub(super) const INIT: &str = "SELECT bytes FROM rendition_init WHERE tenant = 'default' AND content_id = $1 AND recipe = $2 AND number = $3";
pub(super) const LAST_INIT: &str = "SELECT number, bytes FROM rendition_init WHERE tenant = 'default' AND content_id = $1 AND recipe = $2 ORDER BY number DESC LIMIT 1";
pub(super) const INSERT_SEGMENT: &str = "INSERT INTO rendition_segment (content_id, recipe, number, blob_id, size_bytes, init_number, start_ticks, duration_ticks, used_ms, is_encrypted) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (tenant, content_id, recipe, number) DO NOTHING";
pub(super) const SEGMENTS: &str = "SELECT number, blob_id, size_bytes, init_number, start_ticks, duration_ticks, is_encrypted \
     FROM rendition_segment WHERE tenant = 'default' AND content_id = $1 AND recipe = $2 ORDER BY number";
/// All of them as one row, as [`super::listing`] has it.
pub(super) const SEGMENTS_PAGE: &str = "SELECT json_group_array(json_array(number, blob_id, size_bytes, init_number, start_ticks, duration_ticks, is_encrypted)) \
     FROM rendition_segment WHERE tenant = 'default' AND content_id = $1 AND recipe = $2";
pub(super) const SEGMENT: &str = "SELECT number, blob_id, size_bytes, init_number, start_ticks, duration_ticks, is_encrypted \
     FROM rendition_segment WHERE tenant = 'default' AND content_id = $1 AND recipe = $2 AND number = $3";
pub(super) const TALLY: &str = "SELECT recipe, COUNT(*) AS segments, CAST(SUM(size_bytes) AS BIGINT) AS size_bytes, CAST(SUM(duration_ticks) AS BIGINT) AS duration_ticks \
     FROM rendition_segment WHERE tenant = 'default' AND content_id = $1 GROUP BY recipe";
pub(super) const GROW: &str = "UPDATE rendition SET size_bytes = size_bytes + $3, used_ms = CASE WHEN used_ms < $4 THEN $4 ELSE used_ms END \
     WHERE tenant = 'default' AND content_id = $1 AND recipe = $2";
pub(super) const USE: &str = "UPDATE rendition SET used_ms = $3 WHERE tenant = 'default' AND content_id = $1 AND recipe = $2 AND used_ms < $3";
pub(super) const CACHED_BYTES: &str =
    "SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM rendition WHERE tenant = 'default'";
pub(super) const IDLE: &str = "SELECT content_id, recipe, size_bytes, used_ms FROM rendition \
     WHERE tenant = 'default' AND used_ms < $1 AND size_bytes > 0 ORDER BY used_ms LIMIT $2";
pub(super) const LONELY: &str = "SELECT r.content_id, r.recipe, r.size_bytes, r.used_ms FROM rendition r WHERE r.tenant = 'default' AND r.used_ms < $1 \
     AND NOT EXISTS (SELECT 1 FROM object_version o WHERE o.tenant = r.tenant AND o.content_id = r.content_id) LIMIT $2";
pub(super) const EVICT: &str = "UPDATE rendition SET state = CASE WHEN state = 'failed' THEN state ELSE 'evicted' END, size_bytes = 0, updated_ms = $4 \
     WHERE tenant = 'default' AND content_id = $1 AND recipe = $2 AND used_ms = $3";
pub(super) const FORGET: &str =
    "DELETE FROM rendition WHERE tenant = 'default' AND content_id = $1 AND recipe = $2";
pub(super) const SEGMENT_BLOBS: &str = "SELECT blob_id FROM rendition_segment WHERE tenant = 'default' AND content_id = $1 AND recipe = $2";
pub(super) const DELETE_INITS: &str =
    "DELETE FROM rendition_init WHERE tenant = 'default' AND content_id = $1 AND recipe = $2";
pub(super) const DELETE_SEGMENTS: &str =
    "DELETE FROM rendition_segment WHERE tenant = 'default' AND content_id = $1 AND recipe = $2";
pub(super) const SEGMENT_OF_BLOB: &str =
    "SELECT content_id, recipe, number, size_bytes FROM rendition_segment WHERE blob_id = $1";
pub(super) const DELETE_SEGMENT: &str = "DELETE FROM rendition_segment WHERE tenant = 'default' AND content_id = $1 AND recipe = $2 AND number = $3";
pub(super) const COUNT_SEGMENTS: &str = "SELECT COUNT(*) FROM rendition_segment WHERE tenant = 'default' AND content_id = $1 AND recipe = $2";

/// Reads what [`SEGMENTS_PAGE`] says.
fn segments(page: &str) -> Result<Vec<SegmentRow>, CatalogError> {
    let cells: Vec<(i64, String, i64, i64, i64, i64, u8)> = serde_json::from_str(page)
        .map_err(|e| CatalogError::Corrupt(format!("rows of rendition_segment: {e}")))?;
    let row =
        |(number, blob_id, size_bytes, init_number, start_ticks, duration_ticks, encrypted)| {
            SegmentRow {
                number,
                blob_id,
                size_bytes,
                init_number,
                start_ticks,
                duration_ticks,
                is_encrypted: encrypted != 0,
            }
        };
    let mut rows: Vec<SegmentRow> = cells.into_iter().map(row).collect();
    // The order within an aggregate is promised by nobody.
    rows.sort_unstable_by_key(|row| row.number);
    Ok(rows)
}

impl Catalog {
    /// Every rendition of a content: pictures first, highest first.
    pub async fn renditions(&self, content: ContentId) -> Result<Vec<RenditionRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(OF_CONTENT).bind(content.0.as_slice()).fetch_all(pool).await)?,
        )
    }

    /// The segments of a rendition that are there, in order.
    pub async fn rendition_segments(
        &self,
        content: ContentId,
        recipe: &str,
    ) -> Result<Vec<SegmentRow>, CatalogError> {
        match &self.pools {
            Pools::Sqlite(pool) => {
                let query = sqlx::query_scalar(SEGMENTS_PAGE).bind(content.0.as_slice());
                let page: String = query.bind(recipe).fetch_one(pool).await?;
                segments(&page)
            }
            Pools::Postgres(pool) => {
                let query = sqlx::query_as(SEGMENTS).bind(content.0.as_slice());
                Ok(query.bind(recipe).fetch_all(pool).await?)
            }
        }
    }

    /// How much there is of each rendition of a content that has segments.
    pub async fn rendition_tallies(
        &self,
        content: ContentId,
    ) -> Result<Vec<RenditionTally>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(TALLY).bind(content.0.as_slice()).fetch_all(pool).await)?,
        )
    }

    /// One segment of a rendition.
    pub async fn rendition_segment(
        &self,
        content: ContentId,
        recipe: &str,
        number: i64,
    ) -> Result<Option<SegmentRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(SEGMENT).bind(content.0.as_slice()).bind(recipe).bind(number).fetch_optional(pool).await)?,
        )
    }

    /// Bytes of all segments of all renditions.
    pub async fn cached_bytes(&self) -> Result<i64, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_scalar(CACHED_BYTES).fetch_one(pool).await)?)
    }

    /// Up to `limit` renditions that nobody watched since `before_ms`, the longest unwatched first.
    pub async fn idle_renditions(
        &self,
        before_ms: Millis,
        limit: i64,
    ) -> Result<Vec<IdleRendition>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(IDLE).bind(before_ms).bind(limit).fetch_all(pool).await)?,
        )
    }

    /// The same, only those of contents that no object has any more.
    pub async fn lonely_renditions(
        &self,
        before_ms: Millis,
        limit: i64,
    ) -> Result<Vec<IdleRendition>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(LONELY).bind(before_ms).bind(limit).fetch_all(pool).await)?,
        )
    }

    /// One init segment of a rendition.
    pub async fn rendition_init(
        &self,
        content: ContentId,
        recipe: &str,
        number: i64,
    ) -> Result<Option<Vec<u8>>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_scalar(INIT).bind(content.0.as_slice()).bind(recipe).bind(number).fetch_optional(pool).await)?,
        )
    }
}

impl Tx {
    /// Enters a rendition that is about to be made; one that is there is kept, and begun again when it had failed or was evicted.
    pub async fn begin_rendition(&mut self, new: &NewRendition) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(BEGIN)
            .bind(new.content.0.as_slice())
            .bind(&new.recipe)
            .bind(&new.name)
            .bind(new.kind.as_str())
            .bind(new.segments_total)
            .bind(new.now_ms)
            .execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Enters what the encoder says of a rendition.
    pub async fn shape_rendition(
        &mut self,
        content: ContentId,
        recipe: &str,
        shape: &RenditionShape,
        now_ms: Millis,
    ) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(SHAPE)
            .bind(content.0.as_slice())
            .bind(recipe)
            .bind(&shape.codecs)
            .bind(shape.width)
            .bind(shape.height)
            .bind(shape.frame_rate)
            .bind(shape.timescale)
            .bind(now_ms)
            .execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Changes the state of a rendition; `false` when it had it already.
    pub async fn set_rendition_state(
        &mut self,
        content: ContentId,
        recipe: &str,
        state: RenditionState,
        now_ms: Millis,
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(SET_STATE)
            .bind(content.0.as_slice())
            .bind(recipe)
            .bind(state.as_str())
            .bind(now_ms)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Forgets the segment whose bytes are a blob, so that its rendition is not whole any more and is made whole again; the content it is of, when there is one.
    pub async fn delete_segment_of_blob(
        &mut self,
        blob: BlobId,
        now_ms: Millis,
    ) -> Result<Option<ContentId>, CatalogError> {
        let found: Option<(Vec<u8>, String, i64, i64)> = on_tx!(self, conn => sqlx::query_as(SEGMENT_OF_BLOB).bind(blob.to_string()).fetch_optional(conn).await)?;
        let Some((content, recipe, number, size_bytes)) = found else {
            return Ok(None);
        };
        on_tx!(self, conn => sqlx::query(DELETE_SEGMENT)
            .bind(&content)
            .bind(&recipe)
            .bind(number)
            .execute(conn).await.map(|_| ()))?;
        let content = <[u8; 32]>::try_from(content).map(ContentId).map_err(|_| {
            CatalogError::Corrupt(format!("rendition_segment.content_id of {blob}"))
        })?;
        on_tx!(self, conn => sqlx::query(GROW)
            .bind(content.0.as_slice())
            .bind(&recipe)
            .bind(-size_bytes)
            .bind(now_ms)
            .execute(conn).await.map(|_| ()))?;
        self.set_rendition_state(content, &recipe, RenditionState::Building, now_ms)
            .await?;
        Ok(Some(content))
    }

    /// The newest init segment of a rendition and its number.
    pub async fn last_rendition_init(
        &mut self,
        content: ContentId,
        recipe: &str,
    ) -> Result<Option<(i64, Vec<u8>)>, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query_as(LAST_INIT).bind(content.0.as_slice()).bind(recipe).fetch_optional(conn).await)?,
        )
    }

    /// Enters an init segment.
    pub async fn put_rendition_init(
        &mut self,
        content: ContentId,
        recipe: &str,
        number: i64,
        bytes: &[u8],
    ) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(PUT_INIT)
            .bind(content.0.as_slice())
            .bind(recipe)
            .bind(number)
            .bind(bytes)
            .execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Enters a segment, which refers to its blob; `false` when it was there already or its rendition was evicted: then the transaction must not be committed.
    pub async fn insert_rendition_segment(
        &mut self,
        new: &NewSegment,
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(INSERT_SEGMENT)
            .bind(new.content.0.as_slice())
            .bind(&new.recipe)
            .bind(new.number)
            .bind(new.blob.to_string())
            .bind(new.size_bytes)
            .bind(new.init_number)
            .bind(new.start_ticks)
            .bind(new.duration_ticks)
            .bind(new.now_ms)
            .bind(new.is_encrypted)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        if done == 0 {
            return Ok(false);
        }
        let grown = on_tx!(self, conn => sqlx::query(GROW)
            .bind(new.content.0.as_slice())
            .bind(&new.recipe)
            .bind(new.size_bytes)
            .bind(new.now_ms)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(grown == 1)
    }

    /// Notes that somebody watches a rendition.
    pub async fn use_rendition(
        &mut self,
        content: ContentId,
        recipe: &str,
        now_ms: Millis,
    ) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(USE)
            .bind(content.0.as_slice())
            .bind(recipe)
            .bind(now_ms)
            .execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Takes the segments of a rendition away unless somebody used it since `idle` was read, and gives their blobs, whose references are the caller's to release; `None` when it was used.
    ///
    /// What is left says that it was evicted; with `forget`, nothing is left.
    pub async fn evict_rendition(
        &mut self,
        idle: &IdleRendition,
        forget: bool,
        now_ms: Millis,
    ) -> Result<Option<Vec<BlobId>>, CatalogError> {
        let (content, recipe) = (idle.content_id.as_slice(), &idle.recipe);
        let evicted = on_tx!(self, conn => sqlx::query(EVICT)
            .bind(content)
            .bind(recipe)
            .bind(idle.used_ms)
            .bind(now_ms)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        if evicted == 0 {
            return Ok(None);
        }
        let blobs: Vec<String> = on_tx!(self, conn => sqlx::query_scalar(SEGMENT_BLOBS).bind(content).bind(recipe).fetch_all(conn).await)?;
        on_tx!(self, conn => sqlx::query(DELETE_SEGMENTS).bind(content).bind(recipe).execute(conn).await.map(|_| ()))?;
        on_tx!(self, conn => sqlx::query(DELETE_INITS).bind(content).bind(recipe).execute(conn).await.map(|_| ()))?;
        if forget {
            on_tx!(self, conn => sqlx::query(FORGET).bind(content).bind(recipe).execute(conn).await.map(|_| ()))?;
        }
        let read = |blob: &String| {
            let id = blob.parse();
            id.map_err(|_| CatalogError::Corrupt(format!("rendition_segment.blob_id {blob}")))
        };
        Ok(Some(blobs.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// How many segments of a rendition are there.
    pub async fn count_rendition_segments(
        &mut self,
        content: ContentId,
        recipe: &str,
    ) -> Result<i64, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query_scalar(COUNT_SEGMENTS).bind(content.0.as_slice()).bind(recipe).fetch_one(conn).await)?,
        )
    }
}
