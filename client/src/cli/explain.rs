//! What a player is given of a film, and why.

use super::Context;
use crate::term::{
    human,
    table::{Column, Table},
    text::Text,
    theme::{BOLD, BUSY, DIM, GOOD, NAME, PLAIN},
};
use nebula_client::api::{Asset, KnownBy, PlaybackStream, TrackKind};
use serde_json::json;

/// Prints the decision; without one the film is still being looked at.
pub fn print(cx: &Context, asset: &Asset) {
    if cx.global.json {
        super::print_json(
            &json!({"bucket": asset.bucket, "key": asset.key, "title": asset.title,
            "playback": asset.playback}),
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
        title = title.and(DIM, format!("  {}", human::playtime(ms)));
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
