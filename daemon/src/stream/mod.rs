//! The door of players: an object's bytes, a film's playlists and segments, posters, and the same behind signed links.
//!
//! | path | what |
//! |---|---|
//! | `/-/file/{bucket}/{key}` | the object itself, byte ranges |
//! | `/-/hls/{bucket}/{key}/master.m3u8` and its neighbours | the film as HLS, packaged as it is asked for, also while it is uploaded; `manifest.mpd` is the same as DASH |
//! | `/-/hls/{bucket}/{key}/s3.m3u8`, `s3-7.vtt`, `s3.vtt` | texts of track 3 as WebVTT; with `t` and sixteen digits those of a file beside the film; `s4.sup`, or `s4.sub` with `s4.idx`, are pictures |
//! | `/-/hls/{bucket}/{key}/chapters.json`, `chapters.vtt`, `storyboard.vtt` | chapters, and small pictures for seeking |
//! | `/-/link/{token}/file/…`, `/-/link/{token}/hls/…` | the same two; the token is in the path, so relative URLs inherit it |
//! | `/-/api/v1/posters/{bucket}/{key}` | a picture of the film |
//! | `/-/api/v1/worker/…` | jobs for workers on other machines |
//!
//! Each request is authorised by itself ([`Action::ReadObject`](crate::identity::Action) on the object) before anything is looked up, so what a caller may not read is
//! as if it were not there. Addresses beside a master playlist carry a part of the content id; what is behind one never
//! changes and may be kept for ever, and an object that was replaced answers 404 there rather than with other samples.
//!
//! The door parses no container, decides no right and opens no file.

mod access;
mod arriving;
mod arriving_film;
mod body;
mod extras;
mod file;
mod hls;
mod poster;
mod shortcut;
#[cfg(test)]
mod tests;
mod worker;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::media::Media;

pub use shortcut::Shortcut;

/// What the door stands on.
#[derive(Clone)]
pub struct StreamParts {
    /// The media room, with its store.
    pub media: Media,
}

type Door = Arc<StreamParts>;

/// The routes; to be put behind [`crate::http::context`].
pub fn router(parts: StreamParts) -> Router {
    let preflight = || async { crate::http::media_preflight() };
    Router::new()
        .route("/-/file/{*rest}", get(file::by_name).options(preflight))
        .route("/-/hls/{*rest}", get(hls::by_name).options(preflight))
        .route(
            "/-/link/{token}/file/{*rest}",
            get(file::by_link).options(preflight),
        )
        .route(
            "/-/link/{token}/hls/{*rest}",
            get(hls::by_link).options(preflight),
        )
        .route(
            "/-/api/v1/posters/{*rest}",
            get(poster::by_name).options(preflight),
        )
        .route("/-/api/v1/worker/jobs/{id}/open", post(worker::open))
        .route("/-/api/v1/worker/jobs/{id}/input", get(worker::input))
        .route(
            "/-/api/v1/worker/jobs/{id}/report",
            post(worker::report).layer(axum::extract::DefaultBodyLimit::max(
                worker::REPORT_BYTES_MAX,
            )),
        )
        .with_state(Arc::new(parts))
}
