//! Subtitles that are pictures (PGS, VobSub): kept as files of their own kind, for players that draw them.

use nebula_hwaccel::index::{TrackFacts, TrackKind};
use nebula_hwaccel::protocol::PictureTrack;
use nebula_hwaccel::subtitle::PictureFormat;

use super::film::Film;
use super::follow;
use super::library::{Media, MediaError};
use super::order::About;
use super::payload::{about, content, text_tracks};
use super::worker::BenchError;
use crate::catalog::{
    NewRendition, RenditionKind, RenditionRow, RenditionShape, RenditionState, SegmentRow,
};
use crate::kernel::ContentId;
use crate::queue::Job;
use crate::store::{Object, SegmentOf};

/// How the pictures of a track stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pictures {
    /// The file.
    Ready(SegmentRow),
    /// A job reads them.
    Coming,
    /// There are none.
    Nothing,
}

/// What a track of pictures is delivered as.
pub fn format(facts: &TrackFacts) -> Option<PictureFormat> {
    match (&facts.kind, facts.codec.as_str()) {
        (TrackKind::Subtitle { .. }, "hdmv_pgs_subtitle") => Some(PictureFormat::Pgs),
        (TrackKind::Subtitle { .. }, "dvd_subtitle") => Some(PictureFormat::Vobsub),
        _ => None,
    }
}

/// The key of the cache.
fn recipe(format: PictureFormat, track: u32) -> String {
    match format {
        PictureFormat::Pgs => format!("sup-{track}"),
        PictureFormat::Vobsub => format!("sub-{track}"),
    }
}

/// Whether the pictures of a track gave way to others, so that they have to be read again.
pub(super) fn gave_way(rows: &[RenditionRow], track: u32) -> bool {
    let gone = |format| {
        let recipe = recipe(format, track);
        let row = rows.iter().find(|row| row.recipe == recipe);
        row.is_some_and(|row| row.state().ok() == Some(RenditionState::Evicted))
    };
    gone(PictureFormat::Pgs) || gone(PictureFormat::Vobsub)
}

impl Media {
    /// The file of a track of pictures; one that gave way to others is read again.
    pub async fn pictures(
        &self,
        film: &Film,
        object: &Object,
        track: u32,
    ) -> Result<Pictures, MediaError> {
        let mut tracks = film.index.facts.tracks.iter();
        let facts = tracks.find(|facts| facts.id == track);
        let Some(format) = facts.and_then(format) else {
            return Ok(Pictures::Nothing);
        };
        let content = object.content_id;
        let row = self
            .rendition_segment(content, &recipe(format, track), 0)
            .await?;
        if let Some(row) = row {
            return Ok(Pictures::Ready(row));
        }
        let rows = self.0.store.catalog().renditions(content).await?;
        let read = self.0.store.catalog().subtitles(content).await?;
        let read = read.iter().any(|row| row.track == i64::from(track));
        if read && !gave_way(&rows, track) {
            return Ok(Pictures::Nothing);
        }
        let now_ms = self.0.store.clock().now_ms();
        let job = follow::subtitles_job(&About::of(object), vec![track], now_ms);
        self.0.jobs.insert(job).await?;
        Ok(Pictures::Coming)
    }

    /// The index of a track of VobSub.
    pub async fn pictures_index(
        &self,
        content: ContentId,
        track: u32,
    ) -> Result<Option<Vec<u8>>, MediaError> {
        self.rendition_init(content, &recipe(PictureFormat::Vobsub, track), 0)
            .await
    }

    /// Keeps the pictures that a worker gathered, as a rendition of one segment.
    pub(super) async fn keep_pictures(
        &self,
        job: &Job,
        track: PictureTrack,
    ) -> Result<(), BenchError> {
        let about = about(job)?;
        let content = content(&about)?;
        if !text_tracks(job)?.contains(&track.track) {
            return Err(BenchError::Refused(
                "the worker sent pictures that nobody asked for".into(),
            ));
        }
        let recipe = recipe(track.format, track.track);
        let now_ms = self.0.store.clock().now_ms();
        let new = NewRendition {
            content,
            recipe: recipe.clone(),
            name: recipe.clone(),
            kind: RenditionKind::Pictures,
            segments_total: 1,
            now_ms,
        };
        let index = track.index.into_bytes();
        self.write(move |tx| {
            Box::pin(async move {
                tx.begin_rendition(&new).await?;
                tx.put_rendition_init(content, &new.recipe, 0, &index).await
            })
        })
        .await?;
        let of = SegmentOf {
            content,
            recipe: recipe.clone(),
            number: 0,
            init_number: 0,
            start_ticks: 0,
            duration_ticks: 0,
        };
        self.put_segment_bytes(&about, of, track.bytes).await?;
        let shape = RenditionShape {
            codecs: String::new(),
            width: None,
            height: None,
            frame_rate: None,
            timescale: 1,
        };
        self.write(move |tx| {
            Box::pin(async move {
                tx.shape_rendition(content, &recipe, &shape, now_ms).await?;
                tx.set_rendition_state(content, &recipe, RenditionState::Ready, now_ms)
                    .await
                    .map(|_| ())
            })
        })
        .await
    }
}
