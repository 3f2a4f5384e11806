//! Playing by part of a title, and opening the console.

use super::{Context, explain, links};
use crate::term::{
    self, human,
    prompt::{self, NoAnswer},
    text::Text,
    theme::{BOLD, DIM, NAME, PLAIN},
};
use clap::{Args, ValueEnum};
use nebula_client::{
    Client, Error, Exit, Remote,
    api::{
        Asset, AssetState, AssetsQuery, MAX_PAGE_ITEMS, PlaybackMode, PlayerQuery, Problem,
        problem::code, routes,
    },
};
use serde_json::json;
use std::process::{Command, Stdio};

/// How long the link of a player works: longer than any film with its pauses.
const LINK_S: u64 = 24 * 3600;
/// How many candidates are offered.
const MAX_OFFERED: usize = 9;
/// How much better than the next the best must be to be played unasked.
const CLEARLY: f64 = 0.08;

/// What is played, and where.
#[derive(Debug, Args)]
pub struct Play {
    /// Part of a title, or bucket:key
    #[arg(value_name = "TITLE", required = true, num_args = 1..)]
    pub title: Vec<String>,
    /// With which player
    #[arg(long, value_name = "PLAYER", default_value = "auto")]
    pub player: Player,
    /// Print the address instead of starting a player
    #[arg(long)]
    pub print: bool,
    /// Say what the player is given and why, and start none
    #[arg(long, conflicts_with = "print")]
    pub explain: bool,
    /// Decide for this player: chromium, firefox, safari, hls.js, vlc, mpv, ffplay, kodi, exoplayer, dlna
    #[arg(long = "as", value_name = "PLAYER")]
    pub named: Option<String>,
    /// Decide for a picture of at most this many lines
    #[arg(long, value_name = "N")]
    pub lines: Option<u32>,
    /// Decide for a network of this many bits per second
    #[arg(long, value_name = "RATE", value_parser = bits)]
    pub bitrate: Option<u64>,
}

/// Players that are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Player {
    Auto,
    Mpv,
    Vlc,
    Browser,
}

/// `4M` is four million: rates count in thousands.
fn bits(text: &str) -> Result<u64, String> {
    let (digits, times) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1e3),
        None => match text.strip_suffix(['m', 'M']) {
            Some(digits) => (digits, 1e6),
            None => (text, 1.0),
        },
    };
    let number = digits.parse::<f64>().ok().filter(|n| *n > 0.0 && *n < 1e9);
    let number = number.ok_or_else(|| format!("'{text}' is no rate; 4M would be one"))?;
    Ok((number * times) as u64)
}

impl Play {
    /// What is known of the player.
    fn stated(&self) -> PlayerQuery {
        let started = match self.player {
            Player::Auto | Player::Mpv => Some("mpv"),
            Player::Vlc => Some("vlc"),
            // Which one is not known here.
            Player::Browser => None,
        };
        PlayerQuery {
            player: self.named.clone().or_else(|| started.map(str::to_owned)),
            lines: self.lines,
            bitrate_bps: self.bitrate,
            ..PlayerQuery::default()
        }
    }
}

/// Finds, links, and starts a player.
pub async fn run(cx: &Context, args: &Play) -> Result<Exit, Error> {
    let client = cx.client()?;
    let words = args.title.join(" ");
    let stated = args.stated();
    let asset = match words.parse::<Remote>() {
        Ok(remote) if !remote.is_folder() => by_name(&client, &remote, &stated).await?,
        _ => {
            let found = by_title(cx, &client, &words).await?;
            // A list does not say how each would be played.
            let whole = client.asset_for(&found.bucket, &found.key, &stated).await?;
            whole.unwrap_or(found)
        }
    };
    if asset.state == AssetState::Failed {
        let reason = asset.reason.as_deref().unwrap_or("no reason was given");
        let title = format!("{} cannot be played: {reason}", asset.title);
        return Err(Error::Said(Box::new(
            Problem::new(422, "not_playable", &title)
                .hint(format!("nebula pull '{}:{}'", asset.bucket, asset.key)),
        )));
    }
    if args.explain {
        explain::print(cx, &asset);
        return Ok(Exit::Ok);
    }
    let urls = if client.has_credentials() {
        let remote = Remote {
            bucket: asset.bucket.clone(),
            key: asset.key.clone(),
        };
        let link = links::make(&client, &remote, LINK_S).await?;
        link.urls.unwrap_or_default()
    } else {
        // The tailnet knows this machine, and so the player on it.
        asset.urls.clone()
    };
    let file = client.absolute(&urls.file);
    let hls = urls.hls.as_deref().map(|h| client.absolute(h));
    let hls = hls.map(|address| with_player(&address, &stated));
    let mode = asset.playback.as_ref().map(|playback| playback.mode);
    let best = match (&hls, mode) {
        (Some(hls), mode) if mode != Some(PlaybackMode::Direct) => hls.clone(),
        _ => file.clone(),
    };
    if cx.global.json {
        super::print_json(
            &json!({"bucket": asset.bucket, "key": asset.key, "title": asset.title,
            "file": file, "hls": hls, "playback": asset.playback}),
        );
    }
    if args.print {
        if !cx.global.json {
            anstream::println!("{best}");
        }
        return Ok(Exit::Ok);
    }
    if !cx.global.json && !cx.global.quiet {
        anstream::eprintln!("{}", playing(&asset));
    }
    start(args.player, &asset.title, from_s(&asset), &best, &file)
}

/// The address of a master playlist that says what the player takes.
fn with_player(address: &str, stated: &PlayerQuery) -> String {
    let Ok(mut whole) = reqwest::Url::parse(address) else {
        return address.to_owned();
    };
    let members = serde_json::to_value(stated).unwrap_or_default();
    for (name, value) in members.as_object().into_iter().flatten() {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        whole.query_pairs_mut().append_pair(name, &value);
    }
    whole.into()
}

/// Where to go on, in seconds; what is nearly over starts again.
fn from_s(asset: &Asset) -> u64 {
    let (at, whole) = (
        asset.position_ms.unwrap_or(0),
        asset.duration_ms.unwrap_or(0),
    );
    if at < whole / 20 * 19 { at / 1000 } else { 0 }
}

fn playing(asset: &Asset) -> Text {
    let mut line = Text::styled(DIM, "▶ ").and(BOLD, &asset.title);
    if let Some(ms) = asset.duration_ms {
        line = line.and(DIM, format!("  {}", human::length(ms)));
    }
    if from_s(asset) > 0 {
        line = line.and(
            DIM,
            format!("  from {}", human::length(from_s(asset) * 1000)),
        );
    }
    if let Some(playback) = &asset.playback {
        line = line.and(
            DIM,
            format!("  {}: {}", playback.mode.as_str(), playback.reason),
        );
    }
    line
}

async fn by_name(client: &Client, remote: &Remote, stated: &PlayerQuery) -> Result<Asset, Error> {
    let asset = client.asset_for(&remote.bucket, &remote.key, stated);
    match asset.await? {
        Some(asset) => Ok(asset),
        None if client
            .object(&remote.bucket, &remote.key, None)
            .await?
            .is_some() =>
        {
            Err(Error::NotFound(Box::new(
                Problem::new(
                    404,
                    code::ASSET_NOT_FOUND,
                    &format!("{remote} is no film and no music"),
                )
                .hint(format!("nebula pull '{remote}'")),
            )))
        }
        None => Err(super::rm::nothing_at(remote)),
    }
}

async fn by_title(cx: &Context, client: &Client, words: &str) -> Result<Asset, Error> {
    let query = |search: Option<&str>| AssetsQuery {
        search: search.map(str::to_owned),
        limit: Some(MAX_PAGE_ITEMS),
        ..AssetsQuery::default()
    };
    let mut found = client.assets(&query(Some(words))).await?.items;
    if found.is_empty() {
        // The node matches whole words; typing errors are ours to forgive.
        found = client.assets(&query(None)).await?.items;
    }
    let mut ranked: Vec<(f64, Asset)> = found
        .into_iter()
        .map(|a| (likeness(words, &a.title).max(likeness(words, &a.key)), a))
        .filter(|(score, _)| *score > 0.5)
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.key.cmp(&b.1.key)));
    let clear = match ranked.as_slice() {
        [] => {
            return Err(Error::NotFound(Box::new(
                Problem::new(
                    404,
                    code::ASSET_NOT_FOUND,
                    &format!("Nothing here is called '{words}'"),
                )
                .hint("nebula ls shows the buckets, nebula ls BUCKET: what is in one."),
            )));
        }
        [_] => true,
        [first, second, ..] => first.0 > second.0 + CLEARLY,
    };
    let which = if clear || cx.global.json {
        0
    } else {
        choose(words, &ranked)?
    };
    Ok(ranked.swap_remove(which).1)
}

/// Asks which of several was meant; without a terminal it is the best.
fn choose(words: &str, ranked: &[(f64, Asset)]) -> Result<usize, Error> {
    if !term::progress_on_terminal() {
        return Ok(0);
    }
    anstream::eprintln!("Several titles match '{words}':");
    for (i, (_, asset)) in ranked.iter().take(MAX_OFFERED).enumerate() {
        let line = Text::styled(NAME, format!(" {} ", i + 1))
            .and(PLAIN, &asset.title)
            .and(DIM, format!("  {}:{}", asset.bucket, asset.key));
        anstream::eprintln!("{line}");
    }
    match prompt::ask("Which one? [1] ", false) {
        Ok(answer) if answer.is_empty() => Ok(0),
        Ok(answer) => match answer.parse::<usize>() {
            Ok(n) if (1..=ranked.len().min(MAX_OFFERED)).contains(&n) => Ok(n - 1),
            _ => Err(Error::Usage {
                message: format!("'{answer}' is none of them."),
                hint: None,
            }),
        },
        Err(NoAnswer::NoTerminal) => Ok(0),
        Err(NoAnswer::Interrupted) => Err(Error::Usage {
            message: "Nothing was chosen.".into(),
            hint: None,
        }),
        Err(NoAnswer::Failed(e)) => Err(Error::local("ask at", "/dev/tty", e)),
    }
}

/// How well what was typed names a title, 0 to 1: its letters in a row, its words, or nearly so.
fn likeness(typed: &str, title: &str) -> f64 {
    let letters = |s: &str| -> String {
        s.chars()
            .filter(|c| c.is_alphanumeric())
            .flat_map(char::to_lowercase)
            .collect()
    };
    let words = |s: &str| -> Vec<String> {
        s.split(|c: char| !c.is_alphanumeric())
            .filter(|w| !w.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let (typed_letters, title_letters) = (letters(typed), letters(title));
    if typed_letters.is_empty() || title_letters.is_empty() {
        return 0.0;
    }
    let share = typed_letters.chars().count() as f64 / title_letters.chars().count() as f64;
    if title_letters.starts_with(&typed_letters) {
        return 0.9 + 0.1 * share;
    }
    if title_letters.contains(&typed_letters) {
        return 0.8 + 0.1 * share;
    }
    let title_words = words(title);
    let typed_words = words(typed);
    let sum: f64 = typed_words
        .iter()
        .map(|typed| {
            title_words
                .iter()
                .map(|word| strsim::jaro_winkler(typed, word))
                .fold(0.0, f64::max)
        })
        .sum();
    let mean = sum / typed_words.len().max(1) as f64;
    // A near miss on every word is worth less than any hit.
    if mean > 0.85 { 0.8 * mean } else { 0.4 * mean }
}

/// Starts the player and stays with it; a browser is left alone.
fn start(
    player: Player,
    title: &str,
    from_s: u64,
    stream: &str,
    file: &str,
) -> Result<Exit, Error> {
    let mpv = || {
        let mut command = Command::new("mpv");
        command
            .arg(format!("--force-media-title={title}"))
            .arg(format!("--start={from_s}"))
            .arg("--")
            .arg(stream);
        command
    };
    let vlc = || {
        let mut command = Command::new("vlc");
        command.arg("--meta-title").arg(title);
        command
            .arg("--start-time")
            .arg(from_s.to_string())
            .arg(stream);
        command
    };
    match player {
        Player::Mpv => attend("mpv", mpv()),
        Player::Vlc => attend("vlc", vlc()),
        Player::Browser => browse(file),
        Player::Auto => match attend("mpv", mpv()) {
            Err(Missing(_)) => match attend("vlc", vlc()) {
                Err(Missing(_)) => browse(file),
                other => other,
            },
            other => other,
        },
    }
    .map_err(|Missing(what)| {
        Error::Said(Box::new(
            Problem::new(
                0,
                "no_player",
                &format!("There is no {what} on this machine"),
            )
            .hint(format!(
                "Install mpv, or open this address elsewhere: {stream}"
            )),
        ))
    })?
}

/// The program is not installed.
struct Missing(&'static str);

type Started = Result<Result<Exit, Error>, Missing>;

fn attend(name: &'static str, mut command: Command) -> Started {
    match command.status() {
        Ok(status) if status.success() => Ok(Ok(Exit::Ok)),
        Ok(_) => Ok(Ok(Exit::Failure)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(Missing(name)),
        Err(e) => Ok(Err(Error::local("start", name, e))),
    }
}

fn browse(address: &str) -> Started {
    for opener in ["xdg-open", "open", "wslview"] {
        let spawned = Command::new(opener)
            .arg(address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match spawned {
            Ok(_) => return Ok(Ok(Exit::Ok)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Ok(Err(Error::local("start", opener, e))),
        }
    }
    Err(Missing("player and no browser"))
}

/// Opens the node's console.
pub fn console(cx: &Context, print: bool) -> Result<Exit, Error> {
    let address = cx.client()?.absolute(routes::CONSOLE);
    if cx.global.json {
        super::print_json(&json!({"console": address}));
    } else if print || !cx.global.quiet {
        anstream::println!("{address}");
    }
    if print {
        return Ok(Exit::Ok);
    }
    browse(&address).map_err(|Missing(_)| {
        Error::Said(Box::new(
            Problem::new(0, "no_browser", "There is no browser to open here")
                .hint(format!("Open {address} elsewhere.")),
        ))
    })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_the_player_takes() {
        let stated = PlayerQuery {
            player: Some("hls.js".into()),
            lines: Some(720),
            ..PlayerQuery::default()
        };
        assert_eq!(
            with_player("http://node:1/-/hls/b/a%20b.mkv/master.m3u8", &stated),
            "http://node:1/-/hls/b/a%20b.mkv/master.m3u8?lines=720&player=hls.js"
        );
        assert_eq!(bits("1.5M"), Ok(1_500_000));
        assert_eq!(bits("800k"), Ok(800_000));
        assert!(bits("fast").is_err() && bits("-1").is_err() && bits("NaN").is_err());
    }

    #[test]
    fn part_of_a_title_is_enough() {
        let titles = ["Big Buck Bunny", "Big Fish", "Sintel", "Tears of Steel"];
        let best = |typed: &str| {
            let mut ranked: Vec<(f64, &str)> =
                titles.iter().map(|t| (likeness(typed, t), *t)).collect();
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
            (ranked[0].1, ranked[0].0 > 0.5)
        };
        assert_eq!(best("bigbuck"), ("Big Buck Bunny", true));
        assert_eq!(best("bunny"), ("Big Buck Bunny", true));
        assert_eq!(best("steel"), ("Tears of Steel", true));
        assert_eq!(best("sintell"), ("Sintel", true));
        assert_eq!(best("buny big"), ("Big Buck Bunny", true));
        assert!(!best("casablanca").1);
    }
}
