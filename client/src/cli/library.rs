//! The shelf: films and series, and who watches them.

use super::Context;
use crate::term::{
    self, human,
    table::{Column, Table},
    text::Text,
    theme::{BAD, BUSY, DIM, GOOD, NAME, PLAIN},
};
use clap::Args;
use nebula_client::{
    Error, Exit,
    api::{AssetState, LibraryItem, LibraryQuery, Stream, TrackKind},
};

/// What is listed.
#[derive(Debug, Args)]
pub struct Library {
    /// Words that the title, the series or the key contain
    #[arg(value_name = "WORDS")]
    pub words: Vec<String>,
    /// The episodes of this series
    #[arg(long, value_name = "NAME")]
    pub series: Option<String>,
    /// How many of the newest
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub limit: u32,
}

/// Lists films and series, or the episodes of one series.
pub async fn run(cx: &Context, args: &Library) -> Result<Exit, Error> {
    let words = args.words.join(" ");
    let query = LibraryQuery {
        search: Some(words.clone()).filter(|words| !words.is_empty()),
        series: args.series.clone(),
        limit: Some(args.limit),
        cursor: None,
    };
    let page = cx.client()?.library(&query).await?;
    if cx.global.json {
        page.items.iter().for_each(super::print_json);
        return Ok(Exit::Ok);
    }
    if page.items.is_empty() {
        if term::on_terminal() {
            anstream::println!(
                "There is no film {}.",
                match (&args.series, &query.search) {
                    (Some(series), _) => format!("in a series called '{series}'"),
                    (None, Some(words)) => format!("with the words '{words}'"),
                    (None, None) => "yet; push one".into(),
                }
            );
        }
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&[
        Column::Gives("title"),
        Column::Left("what"),
        Column::Right("length"),
        Column::Left("picture"),
        Column::Left("sound"),
        Column::Gives("object"),
    ]);
    for item in &page.items {
        table.row(row(item));
    }
    let more = if page.next.is_some() {
        ", and more"
    } else {
        ""
    };
    let footer = format!("{}{more}", human::count(page.items.len() as u64, "title"));
    table.print(args.series.as_deref().unwrap_or("Library"), &footer);
    if page.items.iter().any(|item| item.episodes.is_some()) {
        cx.next(
            "see the episodes of a series",
            "nebula library --series NAME",
        );
    }
    Ok(Exit::Ok)
}

fn row(item: &LibraryItem) -> [Text; 6] {
    let film = &item.asset;
    let what = match (item.episodes, &film.episode) {
        (Some(episodes), _) => {
            let seasons = human::count(item.seasons.unwrap_or(1).into(), "season");
            Text::styled(
                PLAIN,
                format!("{seasons}, {}", human::count(episodes.into(), "episode")),
            )
        }
        (None, Some(episode)) => {
            Text::styled(PLAIN, format!("{}×{:02}", episode.season, episode.number))
        }
        (None, None) => Text::styled(
            PLAIN,
            film.year.map(|year| year.to_string()).unwrap_or_default(),
        ),
    };
    let series = item.episodes.is_some();
    let length = match (film.state, film.duration_ms) {
        (AssetState::Failed, _) => Text::styled(BAD, "cannot be played"),
        (AssetState::Ready, Some(ms)) if !series => {
            let length = Text::styled(PLAIN, human::length(ms));
            match film.position_ms.filter(|at| *at > 0) {
                Some(at) => length.and(BUSY, format!(" at {}", human::length(at))),
                None => length,
            }
        }
        (AssetState::Indexing, _) => Text::styled(DIM, "being looked at"),
        _ => Text::default(),
    };
    let picture = film.tracks.iter().find(|t| t.kind == TrackKind::Video);
    let picture = picture.filter(|_| !series).map(|track| {
        let lines = track.height.map(|lines| format!("{lines}p "));
        let hdr = track.range.as_deref().filter(|range| *range != "sdr");
        Text::styled(
            PLAIN,
            format!("{}{}", lines.unwrap_or_default(), track.codec),
        )
        .and(GOOD, if hdr.is_some() { " HDR" } else { "" })
    });
    let sounds = film.tracks.iter().filter(|t| t.kind == TrackKind::Audio);
    let sounds: Vec<&str> = sounds
        .map(|t| t.language.as_deref().unwrap_or(&t.codec))
        .collect();
    [
        Text::styled(NAME, &item.title),
        what,
        length,
        picture.unwrap_or_default(),
        Text::styled(
            PLAIN,
            if series {
                String::new()
            } else {
                sounds.join(" ")
            },
        ),
        Text::styled(
            DIM,
            if series {
                String::new()
            } else {
                format!("{}:{}", film.bucket, film.key)
            },
        ),
    ]
}

/// Lists who watches.
pub async fn streams(cx: &Context) -> Result<Exit, Error> {
    let streams = cx.client()?.streams().await?.items;
    if cx.global.json {
        streams.iter().for_each(super::print_json);
    } else if streams.is_empty() {
        if term::on_terminal() {
            anstream::println!("Nobody watches at this moment.");
        }
    } else {
        let mut table = Table::new(&[
            Column::Left("who"),
            Column::Left("film"),
            Column::Right("at"),
            Column::Left("gets"),
            Column::Gives("why"),
        ]);
        for stream in &streams {
            table.row(watching(stream));
        }
        let footer = human::count(streams.len() as u64, "viewer");
        table.print("Watching now", &footer);
    }
    Ok(Exit::Ok)
}

fn watching(stream: &Stream) -> [Text; 5] {
    let at = match (stream.position_ms, stream.duration_ms) {
        (Some(at), Some(whole)) => {
            format!("{} of {}", human::length(at), human::length(whole))
        }
        _ => String::new(),
    };
    let address = stream.address.as_deref().unwrap_or_default();
    [
        Text::styled(NAME, &stream.actor).and(DIM, format!(" {address}")),
        Text::styled(PLAIN, format!("{}:{}", stream.bucket, stream.key)),
        Text::styled(PLAIN, at),
        Text::styled(
            BUSY,
            format!("{} ({})", stream.rendition, stream.mode.as_str()),
        ),
        Text::styled(DIM, &stream.reason),
    ]
}
