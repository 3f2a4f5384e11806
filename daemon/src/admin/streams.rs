//! Who watches at this moment.

use axum::extract::State;
use nebula_api::{Page, PlaybackMode, PlayerQuery, Stream};

use super::{AdminParts, assets};
use crate::http::Problem;
use crate::identity::{Action, Caller, Resource};
use crate::media::decide::{Capabilities, Decision, decide};
use crate::media::{Film, RenditionList, Viewer, ViewerKey};

pub(super) async fn list(
    State(parts): State<AdminParts>,
    caller: Caller,
) -> Result<axum::Json<Page<Stream>>, Problem> {
    if caller.is_anonymous() {
        return Err(Problem::unauthenticated(
            "Who watches is told to people who say who they are.",
        ));
    }
    let everybody = caller.may(Action::ReadJobs, &Resource::Node).allow;
    let own = caller.actor().to_string();
    let mut items = Vec::new();
    for (key, viewer) in parts.media.viewers().list(parts.store.clock().now_ms()) {
        if everybody || key.actor == own {
            let film = parts
                .media
                .film(key.content)
                .await
                .map_err(assets::problem)?;
            items.push(wire(&key, &viewer, film.as_deref()));
        }
    }
    Ok(axum::Json(Page { items, next: None }))
}

fn wire(key: &ViewerKey, viewer: &Viewer, film: Option<&Film>) -> Stream {
    let (mode, rendition) = what(viewer, film);
    let duration_s = film.and_then(|film| Some(film.timeline.as_ref()?.total_s()));
    // What is known of the player since it asked for a playlist, else by its name.
    let client = viewer.client.as_deref().cloned().unwrap_or_else(|| {
        let known = Capabilities::of(&PlayerQuery::default(), key.player.as_deref());
        known.unwrap_or_default()
    });
    let decision = film.map(|film| decide(&client, film, &RenditionList::default(), false));
    Stream {
        actor: key.actor.clone(),
        address: key.address.map(|address| address.to_string()),
        player: key.player.clone(),
        bucket: viewer.bucket.to_string(),
        key: viewer.key.to_string(),
        mode,
        reason: reason(mode, film, decision.as_ref()),
        rendition,
        decision: decision.map(|decision| decision.brief()),
        position_ms: viewer.position_ms,
        duration_ms: duration_s.map(|seconds| (seconds * 1000.0) as u64),
        started_at_ms: viewer.started_ms,
        seen_at_ms: viewer.seen_ms,
    }
}

/// What reaches a viewer, by the streams it asks for.
fn what(viewer: &Viewer, film: Option<&Film>) -> (PlaybackMode, String) {
    let copied = |stream: &str| film.is_some_and(|film| film.stream(stream).is_some());
    let made = |stream: &Option<String>| stream.as_deref().is_some_and(|stream| !copied(stream));
    // A recipe is the rung's name and a hash.
    let name = |stream: &str| {
        let name = stream.rsplit_once('-').map_or(stream, |(name, _)| name);
        name.to_owned()
    };
    match (&viewer.picture, &viewer.sound) {
        (None, None) => (PlaybackMode::Direct, "file".into()),
        (Some(picture), _) if made(&viewer.picture) => (PlaybackMode::Transcode, name(picture)),
        (picture, Some(sound)) if made(&viewer.sound) => {
            let mode = if picture.is_some() {
                PlaybackMode::Audio
            } else {
                PlaybackMode::Transcode
            };
            (mode, name(sound))
        }
        _ => (PlaybackMode::Remux, "original".into()),
    }
}

/// Why it gets what it gets: what was decided for it, where that is what it asks for, else its own choice.
fn reason(mode: PlaybackMode, film: Option<&Film>, decision: Option<&Decision>) -> String {
    if let Some(decision) = decision.filter(|decision| decision.mode == mode) {
        return decision.reason.clone();
    }
    let container = film.map_or("", |film| film.index.facts.container.as_str());
    match mode {
        PlaybackMode::Direct => "the player chose to read the file itself".into(),
        PlaybackMode::Remux => {
            format!("the player chose what is in the {container} file, cut into segments")
        }
        PlaybackMode::Audio => "the player chose sound that was made anew".into(),
        _ => "the player chose a smaller rung".into(),
    }
}
