//! What a player is given of a film, and why.

use super::Context;
use crate::term::{
    human,
    table::{Column, Table},
    text::Text,
    theme::{BOLD, BUSY, DIM, GOOD, NAME, PLAIN},
};
use nebula_client::api::{
    Asset, KnownBy, PlaybackStream, RenditionState, SubtitleFormat, TrackKind,
};
use serde_json::json;

/// Prints the decision; without one the film is still being looked at.
pub fn print(cx: &Context, asset: &Asset) {
    if cx.global.json {
        super::print_json(
            &json!({"bucket": asset.bucket, "key": asset.key, "title": asset.title,
            "playback": asset.playback, "sounds": asset.sounds, "subtitles": asset.subtitles,
            "chapters": asset.chapters, "storyboard": asset.storyboard}),
        );
        return;
    }
    let Some(playback) = &asset.playback else {
        anstream::println!("{} is still being looked at.", asset.title);
        return;
    };
    let known = match playback.known_by {
        KnownBy::Stated => "as it was said",
        KnownBy::UserAgent => "by its name",
        KnownBy::Assumed | KnownBy::Other => "as nobody said more",
    };
    let mut title = Text::styled(BOLD, &asset.title);
    if let Some(ms) = asset.duration_ms {
        title = title.and(DIM, format!("  {}", human::length(ms)));
    }
    anstream::println!("{title}");
    let decision = Text::styled(BUSY, playback.mode.as_str())
        .and(PLAIN, format!(": {}", playback.reason))
        .and(DIM, format!("  (for {}, {known})", playback.player));
    anstream::println!("{decision}");
    let mut table = Table::new(&[
        Column::Left("what"),
        Column::Left("codec"),
        Column::Right("size"),
        Column::Right("rate"),
        Column::Left("given"),
        Column::Gives("why not, or in doubt"),
    ]);
    for stream in &playback.streams {
        table.row(row(stream));
    }
    let given = playback.streams.iter().filter(|stream| stream.given);
    let footer = format!(
        "{} of {} in its master playlist",
        given.count(),
        human::count(playback.streams.len() as u64, "stream")
    );
    table.print("What there is", &footer);
    choices(asset);
}

/// What a viewer can choose, a line for each kind of which there is any.
fn choices(asset: &Asset) {
    let sounds = asset.sounds.iter().map(|sound| {
        let heard = sound.default.then_some("heard");
        let made = match sound.state {
            _ if sound.original => None,
            RenditionState::Ready | RenditionState::Evicted => Some("as AAC"),
            RenditionState::Failed => Some("for few players"),
            _ => Some("AAC is being made"),
        };
        noted(&sound.name, heard.into_iter().chain(made))
    });
    let subtitles = asset.subtitles.iter().map(|one| {
        let shown = one.default.then_some("shown");
        let pictures = (one.format != SubtitleFormat::Webvtt).then_some("pictures");
        noted(&one.name, shown.into_iter().chain(pictures))
    });
    let chapters = asset.chapters.iter();
    let chapters =
        chapters.map(|chapter| format!("{} {}", human::length(chapter.start_ms), chapter.title));
    let board = asset.storyboard.iter().map(|board| match board.state {
        RenditionState::Ready => "ready".to_owned(),
        RenditionState::Running => "being made".to_owned(),
        _ => "made when it is asked for".to_owned(),
    });
    for (what, list) in [
        ("Sound", sounds.collect::<Vec<_>>()),
        ("Subtitles", subtitles.collect()),
        ("Chapters", chapters.collect()),
        ("Storyboard", board.collect()),
    ] {
        if !list.is_empty() {
            let line = Text::styled(DIM, format!("{what:<11}")).and(PLAIN, list.join(", "));
            anstream::println!("{line}");
        }
    }
}

/// A name, and what is to be said of it in brackets.
fn noted<'a>(name: &str, notes: impl Iterator<Item = &'a str>) -> String {
    let notes: Vec<&str> = notes.collect();
    if notes.is_empty() {
        name.to_owned()
    } else {
        format!("{name} ({})", notes.join(", "))
    }
}

fn row(stream: &PlaybackStream) -> [Text; 6] {
    let size = match (stream.width, stream.height) {
        (Some(width), Some(height)) => format!("{width}×{height}"),
        _ => String::new(),
    };
    let kind = if stream.kind == TrackKind::Audio {
        "sound "
    } else {
        ""
    };
    let given = if stream.given {
        Text::styled(GOOD, "yes")
    } else {
        Text::styled(DIM, "no")
    };
    [
        Text::styled(NAME, format!("{kind}{}", stream.name)),
        Text::styled(PLAIN, &stream.codecs),
        Text::styled(PLAIN, size),
        Text::styled(
            PLAIN,
            format!("{:.1} Mbit/s", stream.bitrate_bps as f64 / 1e6),
        ),
        given,
        Text::styled(DIM, stream.reason.as_deref().unwrap_or_default()),
    ]
}
