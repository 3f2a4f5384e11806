//! The storyboard: small pictures of a film's keyframes on sheets, and a WebVTT that says where each one is.

use nebula_hwaccel::geometry;
use nebula_hwaccel::index::TrackKind;
use nebula_hwaccel::protocol::{self, Sheet, StoryboardSpec};
use serde_json::json;

use super::film::Film;
use super::follow::of_object;
use super::hls::tag;
use super::library::{Media, MediaError};
use super::order::{About, Order};
use super::payload::{about, catalog_error, content, media_error};
use super::webvtt::{self, Stretch};
use super::worker::BenchError;
use crate::catalog::{
    NewJob, NewRendition, RenditionKind, RenditionRow, RenditionShape, RenditionState, SegmentRow,
};
use crate::kernel::{ContentId, Millis};
use crate::queue::{Job, kind};
use crate::store::{Object, SegmentOf};

/// The key of the cache; its number is raised when sheets look different.
pub const RECIPE: &str = "storyboard-1";
/// Longest side of a tile, in pixels.
const TILE_PX: u32 = 256;
/// Tiles in a row and in a column of a sheet.
const SHEET_TILES: u32 = 5;
/// Tiles are at least so far apart, in seconds.
const STEP_S_MIN: f64 = 2.0;
/// A long film has about so many.
const TILES: f64 = 400.0;
/// Keyframes come a little early when times are rounded to milliseconds.
const TOLERANCE_S: f64 = 0.002;
/// Shorter films have none, in seconds.
const FILM_S_MIN: f64 = 1.0;
/// It is made when somebody asks, who waits a little.
const PRIORITY: i64 = 1;
/// It may take so long, in seconds, and so much longer per tile.
const DEADLINE_S: u64 = 300;
const TILE_S: u64 = 5;

/// What is asked of a worker; `None` where there is no picture, or too little of it.
pub fn plan(film: &Film) -> Option<StoryboardSpec> {
    let timeline = film.timeline.as_ref()?;
    let track = film.picture()?;
    let TrackKind::Video(picture) = &track.kind else {
        return None;
    };
    let total_s = timeline.total_s();
    if total_s < FILM_S_MIN {
        return None;
    }
    let step_s = (total_s / TILES).max(STEP_S_MIN) - TOLERANCE_S;
    let tick_s = track.time_base.as_f64();
    let mut times: Vec<i64> = Vec::new();
    for sample in film.index.tables[timeline.track].iter().filter(|s| s.key) {
        let time = sample.pts();
        let far = |last: &i64| time.saturating_sub(*last) as f64 * tick_s >= step_s;
        if times.last().is_none_or(far) && times.len() < protocol::MAX_TILES {
            times.push(time);
        }
    }
    let shown = (picture.display_width.max(1), picture.display_height.max(1));
    let width = if shown.1 > shown.0 {
        (TILE_PX * shown.0 / shown.1).max(2)
    } else {
        TILE_PX
    };
    let tile = geometry::fit_width(shown, width);
    (!times.is_empty()).then_some(StoryboardSpec {
        track: track.id,
        times,
        tile,
        columns: SHEET_TILES,
        rows: SHEET_TILES,
    })
}

/// How a film's storyboard stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Board {
    /// The WebVTT.
    Ready(String),
    /// A job makes it.
    Coming,
    /// There is none and will be none.
    Nothing,
}

/// The job that makes it; one per content is queued at a time.
fn job(about: &About, now_ms: Millis) -> NewJob {
    let job = NewJob::new(kind::STORYBOARD, json!(about), now_ms)
        .once(format!("storyboard:{}", about.content))
        .priority(PRIORITY);
    of_object(job, about)
}

impl Media {
    /// The storyboard of a film; one that is not there is asked for.
    pub async fn storyboard(&self, film: &Film, object: &Object) -> Result<Board, MediaError> {
        let Some(spec) = plan(film) else {
            return Ok(Board::Nothing);
        };
        let content = object.content_id;
        let catalog = self.0.store.catalog();
        let rows = catalog.renditions(content).await?;
        let row = rows.iter().find(|row| row.recipe == RECIPE);
        match row.map(RenditionRow::state).transpose()? {
            Some(RenditionState::Ready) => {
                self.watch(content, RECIPE);
                let sheets = catalog.rendition_segments(content, RECIPE).await?;
                Ok(Board::Ready(
                    self.board(film, &spec, content, &sheets).await?,
                ))
            }
            Some(RenditionState::Failed) => Ok(Board::Nothing),
            Some(RenditionState::Building | RenditionState::Evicted) | None => {
                let job = job(&About::of(object), self.0.store.clock().now_ms());
                self.0.jobs.insert(job).await?;
                Ok(Board::Coming)
            }
        }
    }

    /// One sheet.
    pub async fn sheet(
        &self,
        content: ContentId,
        number: u32,
    ) -> Result<Option<SegmentRow>, MediaError> {
        self.rendition_segment(content, RECIPE, number).await
    }

    async fn board(
        &self,
        film: &Film,
        spec: &StoryboardSpec,
        content: ContentId,
        sheets: &[SegmentRow],
    ) -> Result<String, MediaError> {
        let mut list: Vec<Stretch> = Vec::new();
        let time_base = film.picture().map(|track| track.time_base);
        for sheet in sheets {
            let number = u32::try_from(sheet.number).unwrap_or(0);
            let Some(times) = self.rendition_init(content, RECIPE, number).await? else {
                continue;
            };
            let times: Vec<i64> = postcard::from_bytes(&times)
                .map_err(|error| MediaError::Damaged(format!("storyboard: {error}")))?;
            for (at, time) in (0u32..).zip(times) {
                let (x, y) = (at % spec.columns, at / spec.columns);
                let us = time_base.map_or(0, |base| base.micros(time)) - film.origin_us();
                list.push(Stretch {
                    start_us: us,
                    end_us: us,
                    text: format!(
                        "storyboard-{number}.jpg?c={}#xywh={},{},{},{}",
                        tag(content),
                        x * spec.tile.0,
                        y * spec.tile.1,
                        spec.tile.0,
                        spec.tile.1
                    ),
                });
            }
        }
        // Each picture stands for the time up to the next, the first from the very beginning.
        let mut end_us = film
            .timeline
            .as_ref()
            .map_or(0, |grid| (grid.total_s() * 1e6) as i64);
        for (at, stretch) in list.iter_mut().enumerate().rev() {
            if at == 0 {
                stretch.start_us = 0;
            }
            stretch.end_us = end_us;
            end_us = stretch.start_us;
        }
        Ok(webvtt::stretches(&list))
    }

    pub(super) async fn open_storyboard(
        &self,
        content: ContentId,
    ) -> Result<Result<Order, &'static str>, BenchError> {
        let film = self.film(content).await;
        let Some(film) = film.map_err(|error| media_error(&error))? else {
            return Ok(Err("the object has no index any more"));
        };
        let Some(spec) = plan(&film) else {
            return Ok(Err("the film has no picture to show"));
        };
        let catalog = self.0.store.catalog();
        let rows = catalog.renditions(content).await;
        let rows = rows.map_err(|error| catalog_error(&error))?;
        let is_there = rows
            .iter()
            .any(|row| row.recipe == RECIPE && row.state().ok() == Some(RenditionState::Ready));
        if is_there {
            return Ok(Err("the storyboard is there"));
        }
        let now_ms = self.0.store.clock().now_ms();
        let sheets = spec
            .times
            .len()
            .div_ceil((SHEET_TILES * SHEET_TILES) as usize);
        let new = NewRendition {
            content,
            recipe: RECIPE.into(),
            name: "storyboard".into(),
            kind: RenditionKind::Storyboard,
            segments_total: sheets as i64,
            now_ms,
        };
        let shape = RenditionShape {
            codecs: String::new(),
            width: Some(i64::from(spec.tile.0)),
            height: Some(i64::from(spec.tile.1)),
            frame_rate: None,
            timescale: 1,
        };
        self.write(move |tx| {
            Box::pin(async move {
                tx.begin_rendition(&new).await?;
                tx.shape_rendition(content, RECIPE, &shape, now_ms).await
            })
        })
        .await?;
        let deadline_s = DEADLINE_S + TILE_S * spec.times.len() as u64;
        Ok(Ok(Order {
            job: protocol::Job::Storyboard(spec),
            size_bytes: 0,
            deadline_s,
        }))
    }

    pub(super) async fn keep_sheet(&self, job: &Job, sheet: Sheet) -> Result<(), BenchError> {
        let about = about(job)?;
        let content = content(&about)?;
        if job.kind != kind::STORYBOARD
            || sheet.times.len() > protocol::MAX_TILES
            || sheet.number as usize >= protocol::MAX_TILES
        {
            return Err(BenchError::Refused(
                "the worker sent a sheet that makes no sense".into(),
            ));
        }
        let number = i64::from(sheet.number);
        let times = postcard::to_stdvec(&sheet.times)
            .map_err(|error| BenchError::Refused(format!("a sheet cannot be kept: {error}")))?;
        self.write(move |tx| {
            Box::pin(async move { tx.put_rendition_init(content, RECIPE, number, &times).await })
        })
        .await?;
        let of = SegmentOf {
            content,
            recipe: RECIPE.into(),
            number,
            init_number: number,
            start_ticks: 0,
            duration_ticks: 0,
        };
        self.put_segment_bytes(&about, of, sheet.jpeg).await
    }

    /// The storyboard is whole, or will never be.
    pub(super) async fn end_storyboard(&self, job: &Job, whole: bool) -> Result<(), BenchError> {
        let content = content(&about(job)?)?;
        let now_ms = self.0.store.clock().now_ms();
        let state = if whole {
            RenditionState::Ready
        } else {
            RenditionState::Failed
        };
        self.write(move |tx| {
            Box::pin(async move {
                tx.set_rendition_state(content, RECIPE, state, now_ms)
                    .await
                    .map(|_| ())
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::timeline::tests::film;

    #[test]
    fn tiles_are_keyframes_at_least_two_seconds_apart() {
        let spec = plan(&Film::new(film(20, 25))).expect("a picture");
        assert_eq!(spec.times.len(), 10);
        assert!(
            spec.times
                .windows(2)
                .all(|pair| pair[1] - pair[0] == 2 * 12_800)
        );
        assert_eq!(spec.tile, (256, 144));
        let long = plan(&Film::new(film(4000, 25))).expect("a picture");
        assert!(long.times.len() <= 400, "{}", long.times.len());
        assert!(plan(&Film::new(film(0, 25))).is_none());
    }

    #[test]
    fn an_upright_film_has_upright_tiles() {
        let mut index = film(4, 25);
        if let TrackKind::Video(picture) = &mut index.facts.tracks[0].kind {
            (picture.display_width, picture.display_height) = (1080, 1920);
        }
        assert_eq!(plan(&Film::new(index)).expect("a picture").tile, (144, 256));
    }
}
