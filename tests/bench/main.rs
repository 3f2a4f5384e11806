//! `make bench`: ours beside the peers that people would use instead, in one run on one machine.
//!
//! Each row names its unit, our figure, each peer's, and ours divided by the best of theirs; medians of rounds in which
//! all take turns. Processor time and memory are those of the server and all its children; the load generator runs beside
//! them on the same machine and takes its share of it, the same from both. There are no targets in here: it prints what
//! it found. Everything happens on loopback, in a directory of its own that is gone afterwards.
//!
//! `cargo bench -p nebula-tests -- --quick` takes about a minute and is good for trends only; `growth` fills a bucket with
//! a million objects and looks whether anything became slower.
#![forbid(unsafe_code)]

mod compare;
mod growth;
mod ladder;
mod listing;
mod load;
mod multipart;
mod objects;
mod peers;
mod ranges;
mod segments;
mod server;
mod sign;
mod tus;
mod usage;
mod warm;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;

use compare::Pace;
use server::Server;

/// The whole in about a quarter of an hour: many short rounds rather than few long ones, as a shared machine changes its
/// pace from one second to the next.
const FULL: Pace = Pace {
    rounds: 9,
    rounds_large: 3,
    time: Duration::from_millis(600),
    large_mib: 1024,
    listed_keys: 100_000,
    film_s: 12,
    row: None,
};
/// And in about one.
const QUICK: Pace = Pace {
    rounds: 1,
    rounds_large: 1,
    time: Duration::from_millis(700),
    large_mib: 128,
    listed_keys: 2_000,
    film_s: 4,
    row: None,
};
/// What bodies are made of, over and over.
const PIECE_BYTES: usize = 1 << 20;

#[tokio::main]
async fn main() -> ExitCode {
    let mut pace = FULL;
    let mut only = None;
    let mut row = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => pace = QUICK,
            "--row" => row = arguments.next().map(|part| &*part.leak()),
            // Given by cargo.
            "--bench" => {}
            "ranges" | "segments" | "objects" | "ladder" | "tus" | "growth" => {
                only = Some(argument);
            }
            _ => {
                eprintln!(
                    "usage: [--quick] [--row PART-OF-ITS-NAME] [ranges|segments|objects|ladder|tus|growth]"
                );
                return ExitCode::from(2);
            }
        }
    }
    pace.row = row;
    // An interrupted run must leave nothing behind either: dropping it ends the servers and removes the files.
    let outcome = tokio::select! {
        outcome = bench(pace, only.as_deref()) => outcome,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn bench(pace: Pace, only: Option<&str>) -> Result<()> {
    let place = tempfile::Builder::new().prefix("nebula-bench-").tempdir()?;
    let mut piece = vec![0; PIECE_BYTES];
    getrandom::fill(&mut piece).context("no random bytes")?;
    let piece = Bytes::from(piece);
    let wanted = |name| only.is_none_or(|only| only == name);

    introduce(pace);
    if only == Some("growth") {
        return growth::rows(pace, place.path()).await;
    }
    if wanted("tus") {
        tus::rows(pace, place.path(), &piece).await?;
    }
    if only == Some("tus") {
        return Ok(());
    }
    if wanted("segments") {
        segments::rows(pace, place.path()).await?;
    }
    if only == Some("segments") {
        return Ok(());
    }
    let ours = Server::ours(place.path()).await.context("nebulad")?;
    objects::furnish(pace, &ours, &piece)
        .await
        .context("nebulad")?;
    if wanted("ranges") {
        ranges::rows(pace, place.path(), &ours).await?;
    }
    if wanted("objects") {
        objects::rows(pace, place.path(), &ours, &piece).await?;
    }
    if wanted("ladder") {
        ladder::row(pace, place.path(), &ours).await?;
    }
    Ok(())
}

fn introduce(pace: Pace) {
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?");
    let disk = std::env::temp_dir();
    println!(
        "Ours is nebulad with its defaults: every acknowledgement durable. Medians of {} rounds in turns.\n\
         ratio = ours / the best peer; ↑ more is better, ↓ less is better. {threads} processors, load {load} before the start; \
         data in {}.",
        pace.rounds,
        Path::new(&disk).display()
    );
}
