//! Subtitles: the texts of a film's tracks, and of files of subtitles beside films.

use sqlx::FromRow;

use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use crate::kernel::{ContentId, Millis};

/// What is kept of a track without texts.
const NOTHING: &[u8] = &[];

/// A row of `subtitle`, without its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRow)]
pub struct SubtitleRow {
    /// Number of the track in the film; 0 for a file of subtitles.
    pub track: i64,
    /// How many texts there are; none where the track was read in vain.
    pub cues: i64,
}

pub(super) const PUT: &str = "INSERT INTO subtitle (content_id, track, cues, bytes, created_ms) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (tenant, content_id, track) DO UPDATE SET cues = excluded.cues, bytes = excluded.bytes";
pub(super) const PUT_EMPTY: &str = "INSERT INTO subtitle (content_id, track, cues, bytes, created_ms) VALUES ($1, $2, 0, $3, $4) \
     ON CONFLICT (tenant, content_id, track) DO NOTHING";
pub(super) const OF_CONTENT: &str =
    "SELECT track, cues FROM subtitle WHERE tenant = 'default' AND content_id = $1 ORDER BY track";
pub(super) const CUES: &str =
    "SELECT bytes FROM subtitle WHERE tenant = 'default' AND content_id = $1 AND track = $2";
pub(super) const DELETE_LONELY: &str = "DELETE FROM subtitle WHERE tenant = 'default' AND created_ms < $1 \
     AND NOT EXISTS (SELECT 1 FROM object_version o WHERE o.tenant = subtitle.tenant AND o.content_id = subtitle.content_id)";

impl Catalog {
    /// The tracks of a content that were read, in the file's order.
    pub async fn subtitles(&self, content: ContentId) -> Result<Vec<SubtitleRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(OF_CONTENT).bind(content.0.as_slice()).fetch_all(pool).await)?,
        )
    }

    /// The texts of one track, as they were put.
    pub async fn subtitle_cues(
        &self,
        content: ContentId,
        track: u32,
    ) -> Result<Option<Vec<u8>>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_scalar(CUES).bind(content.0.as_slice()).bind(i64::from(track)).fetch_optional(pool).await)?,
        )
    }
}

impl Tx {
    /// Enters the texts of one track; those that were there are replaced.
    pub async fn put_subtitle(
        &mut self,
        content: ContentId,
        track: u32,
        cues: usize,
        bytes: &[u8],
        now_ms: Millis,
    ) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(PUT)
            .bind(content.0.as_slice())
            .bind(i64::from(track))
            .bind(i64::try_from(cues).unwrap_or(i64::MAX))
            .bind(bytes)
            .bind(now_ms)
            .execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Notes that a track was read and holds no text, unless texts of it are there.
    pub async fn put_no_subtitle(
        &mut self,
        content: ContentId,
        track: u32,
        now_ms: Millis,
    ) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(PUT_EMPTY)
            .bind(content.0.as_slice())
            .bind(i64::from(track))
            .bind(NOTHING)
            .bind(now_ms)
            .execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Forgets the texts of contents that no object has any more and that were read before `before_ms`; returns how many.
    pub async fn delete_lonely_subtitles(
        &mut self,
        before_ms: Millis,
    ) -> Result<u64, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query(DELETE_LONELY).bind(before_ms).execute(conn).await.map(|done| done.rows_affected()))?,
        )
    }
}
