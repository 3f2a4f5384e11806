//! Reading what a job carries, and saying what went wrong with it.

use super::library::MediaError;
use super::order::{About, LadderPayload, SubtitlesPayload, Wanted, WantedShape};
use super::worker::BenchError;
use crate::catalog::{CatalogError, EventKind, NewEvent, RenditionKind};
use crate::kernel::{ContentId, Millis};
use crate::queue::Job;
use crate::store::StoreError;

pub(super) fn about(job: &Job) -> Result<About, BenchError> {
    serde_json::from_value(job.payload.clone()).map_err(|error| {
        BenchError::Refused(format!(
            "the payload of job {} cannot be read: {error}",
            job.id
        ))
    })
}

pub(super) fn content(about: &About) -> Result<ContentId, BenchError> {
    about
        .content()
        .ok_or_else(|| BenchError::Refused(format!("`{}` is no content id", about.content)))
}

pub(super) fn wanted(job: &Job) -> Result<Vec<Wanted>, BenchError> {
    let payload: LadderPayload = serde_json::from_value(job.payload.clone()).map_err(|error| {
        BenchError::Refused(format!(
            "the payload of job {} cannot be read: {error}",
            job.id
        ))
    })?;
    Ok(payload.renditions)
}

/// Which tracks a `subtitles` job is about; none where it is about a file of subtitles.
pub(super) fn text_tracks(job: &Job) -> Result<Vec<u32>, BenchError> {
    let payload: SubtitlesPayload =
        serde_json::from_value(job.payload.clone()).map_err(|error| {
            BenchError::Refused(format!(
                "the payload of job {} cannot be read: {error}",
                job.id
            ))
        })?;
    Ok(payload.tracks)
}

/// A worker may only fill what its job asks for.
pub(super) fn known(job: &Job, recipe: &str) -> Result<(), BenchError> {
    if wanted(job)?.iter().any(|one| one.recipe == recipe) {
        return Ok(());
    }
    Err(BenchError::Refused(format!(
        "job {} asks for no rendition `{recipe}`",
        job.id
    )))
}

pub(super) fn kind_of(shape: &WantedShape) -> RenditionKind {
    match shape {
        WantedShape::Video { .. } => RenditionKind::Video,
        WantedShape::Audio { .. } => RenditionKind::Audio,
    }
}

pub(super) fn event(
    kind: EventKind,
    about: &About,
    payload: &serde_json::Value,
    time_ms: Millis,
) -> NewEvent {
    NewEvent {
        time_ms,
        kind,
        bucket: Some(about.bucket.clone()),
        key: Some(about.key.clone()),
        version_id: Some(about.version.clone()),
        payload: payload.to_string(),
    }
}

pub(super) fn store_error(error: &StoreError) -> BenchError {
    BenchError::Unavailable(error.to_string())
}

pub(super) fn catalog_error(error: &CatalogError) -> BenchError {
    BenchError::Unavailable(error.to_string())
}

pub(super) fn media_error(error: &MediaError) -> BenchError {
    BenchError::Unavailable(error.to_string())
}
