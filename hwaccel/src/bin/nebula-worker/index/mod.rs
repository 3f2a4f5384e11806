//! The index job: read the whole object once, say what is in it and where each sample lies, and take a poster.

mod describe;
mod entry;
mod follow;
mod gather;
mod poster;
mod scan;

use std::sync::Arc;

use nebula_hwaccel::index::{self, Copyable, MediaFacts, MediaIndex, TrackFacts, TrackKind};
use nebula_hwaccel::protocol::{Failure, FromWorker, Stage, Summary};

use crate::av::{self, Input};
use crate::control::Link;
use crate::failure::JobError;
use crate::source::Source;

pub use follow::run as follow;

/// Chapters beyond this are left out.
const CHAPTERS_MAX: usize = 1024;
/// Notes beyond this are left out.
const NOTES_MAX: usize = 20;
/// How much of an object's head is searched for signs of encryption when no demuxer takes it.
const HEAD_BYTES: usize = 256 << 10;

/// Makes index and poster.
pub fn run(link: &Arc<Link>, source: &Source, poster: bool) -> Result<Summary, JobError> {
    if source.size() == 0 {
        return Err(JobError::new(Failure::Empty, "the object has no bytes"));
    }
    link.progress(0.0, Stage::Opening, 0.0)?;
    let mut input = open(source)?;
    let scanned = scan::run(link, source, &mut input, scan::How::Whole)?;
    link.check()?;
    if let Some(failure) = source.failure() {
        return Err(failure);
    }
    let (media, notes) = scanned.assemble(source, &input)?;
    let bytes = index::encode(&media)
        .map_err(|error| JobError::new(Failure::TooLarge, error.to_string()))?;
    link.send(&FromWorker::Index { bytes })?;
    let mut summary = Summary {
        notes,
        ..Summary::default()
    };
    if poster {
        link.progress(0.95, Stage::Poster, 0.0)?;
        match poster::take(source, &media) {
            Ok(Some(message)) => link.send(&message)?,
            Ok(None) => {}
            Err(error) => {
                link.check()?;
                summary.notes.push(format!("no poster: {error}"));
            }
        }
    }
    Ok(summary)
}

/// Opens the object, with the reason where that fails.
pub fn open(source: &Source) -> Result<Input, JobError> {
    Input::open(source).map_err(|error| {
        if let Some(failure) = source.failure() {
            return failure;
        }
        if looks_encrypted(source) {
            return JobError::new(
                Failure::Encrypted,
                "the tracks are encrypted (common encryption)",
            );
        }
        JobError::av(Failure::NotMedia, &error)
    })
}

/// Whether the head of the object names encrypted sample entries.
fn looks_encrypted(source: &Source) -> bool {
    let mut head = vec![0; HEAD_BYTES.min(usize::try_from(source.size()).unwrap_or(HEAD_BYTES))];
    source.read_exact_at(0, &mut head).unwrap_or(false)
        && head
            .windows(4)
            .any(|word| matches!(word, b"encv" | b"enca" | b"pssh"))
}

impl scan::Scanned {
    fn assemble(
        self,
        source: &Source,
        input: &Input,
    ) -> Result<(MediaIndex, Vec<String>), JobError> {
        assemble(
            source,
            input,
            self.tracks.iter(),
            self.notes,
            self.encrypted,
        )
    }
}

fn assemble<'a>(
    source: &Source,
    input: &Input,
    tracks: impl Iterator<Item = &'a scan::Track>,
    mut notes: Vec<String>,
    encrypted: bool,
) -> Result<(MediaIndex, Vec<String>), JobError> {
    let mut media = MediaIndex::default();
    for track in tracks {
        match describe::track(track) {
            Ok((facts, samples)) => {
                let gathered = facts.copyable == Copyable::Gathered;
                media
                    .layouts
                    .push(track.layout.clone().filter(|_| gathered));
                media.facts.tracks.push(facts);
                media.tables.push(samples);
            }
            Err(note) => notes.push(note),
        }
    }
    let timed = || {
        media
            .facts
            .tracks
            .iter()
            .filter(|track| !matches!(track.kind, TrackKind::Subtitle { .. }))
    };
    if timed().next().is_none() {
        let reason = if encrypted {
            Failure::Encrypted
        } else {
            Failure::NoPlayableTrack
        };
        let detail = if encrypted {
            "the tracks are encrypted".to_owned()
        } else {
            let why = if notes.is_empty() {
                String::new()
            } else {
                format!(": {}", notes.join("; "))
            };
            format!("there is no picture or sound that can be played{why}")
        };
        return Err(JobError::new(reason, detail));
    }
    let start_us = timed()
        .map(|track| track.time_base.micros(track.start_ticks))
        .min()
        .unwrap_or(0);
    let end_us = timed().map(end_us).max().unwrap_or(0);
    let duration_us = u64::try_from(end_us.saturating_sub(start_us)).unwrap_or(0);
    let bytes: u64 = media
        .tables
        .iter()
        .flatten()
        .map(|sample| u64::from(sample.size))
        .sum();
    if let Some(promised) = input.duration_us().and_then(|us| u64::try_from(us).ok())
        && promised > duration_us + duration_us / 10 + 1_000_000
    {
        let (have, said) = (duration_us as f64 / 1e6, promised as f64 / 1e6);
        notes.push(format!(
            "the file ends after {have:.1} of {said:.1} seconds"
        ));
    }
    let mut tags = input.tags();
    let title = tags
        .iter()
        .position(|(key, _)| key == "title")
        .map(|at| tags.remove(at).1);
    notes.truncate(NOTES_MAX);
    media.facts = MediaFacts {
        container: describe::container(&input.format()),
        size_bytes: source.known_size().unwrap_or(0),
        duration_us,
        start_us,
        bitrate_bps: bits_per_second(bytes, duration_us),
        title,
        tags,
        chapters: input.chapters(CHAPTERS_MAX),
        tracks: std::mem::take(&mut media.facts.tracks),
        notes: notes.clone(),
    };
    Ok((media, notes))
}

fn end_us(track: &TrackFacts) -> i64 {
    track.time_base.micros(
        track
            .start_ticks
            .saturating_add_unsigned(track.duration_ticks),
    )
}

fn bits_per_second(bytes: u64, duration_us: u64) -> u64 {
    if duration_us == 0 {
        return 0;
    }
    u64::try_from(u128::from(bytes) * 8_000_000 / u128::from(duration_us)).unwrap_or(u64::MAX)
}

/// Errors of libav and of the wire, both reasons to have no poster.
#[derive(Debug)]
pub enum PosterError {
    Av(av::AvError),
    TooLarge,
}

impl std::fmt::Display for PosterError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Av(error) => error.fmt(f),
            Self::TooLarge => f.write_str("the picture does not fit the limit"),
        }
    }
}

impl From<av::AvError> for PosterError {
    fn from(error: av::AvError) -> Self {
        Self::Av(error)
    }
}
