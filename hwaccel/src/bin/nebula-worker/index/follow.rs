//! The follow job: an object is described while it arrives.
//!
//! An mp4 whose table is there, at its head or at its tail, is described whole at once.
//! Anything else is read forward as it comes, and its index told again whenever a segment's worth is more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ffmpeg_next::ffi::AVMediaType;
use nebula_hwaccel::index::{self, MediaIndex, TrackKind};
use nebula_hwaccel::protocol::{Failure, FromWorker, Stage, Summary};

use super::scan::{self, Follower, Found, How, Track};
use super::{assemble, looks_encrypted};
use crate::av::{Access, Input};
use crate::control::Link;
use crate::failure::JobError;
use crate::source::Source;

/// More boxes than this at the top, or in the table, are not looked through.
const BOXES_MAX: u32 = 64;
/// Telling again takes at most a part like this of the time,
const PAUSE_FACTOR: u32 = 10;
/// unless the samples have become more by at least such a part since: then all telling together costs a few times the last.
const GROWTH: usize = 16;
/// Sound alone is told again after so much more of it, in microseconds.
const SOUND_STEP_US: i64 = 1_000_000;
/// Sound that lags further behind the picture, in microseconds, is not waited for.
const SOUND_LAG_US: i64 = 5_000_000;
/// A track that has not begun after so much of the others, in microseconds, is not waited for.
const LATE_TRACK_US: i64 = 10_000_000;

/// Follows the object to its end, or to where all is known.
pub fn run(link: &Arc<Link>, source: &Source) -> Result<Summary, JobError> {
    if source.known_size() == Some(0) {
        return Err(JobError::new(Failure::Empty, "the object has no bytes"));
    }
    link.progress(0.0, Stage::Opening, 0.0)?;
    if has_table(source)?
        && let Some(media) = from_table(link, source)?
    {
        tell(link, &media, true)?;
        return Ok(Summary::default());
    }
    let mut input = open(source, Access::Forward)?;
    let mut teller = Teller {
        link,
        source,
        steps: Steps::default(),
    };
    let scanned = scan::run(link, source, &mut input, How::Follow(&mut teller))?;
    link.check()?;
    if let Some(failure) = source.failure() {
        return Err(failure);
    }
    let (media, notes) = scanned.assemble(source, &input)?;
    tell(link, &media, true)?;
    Ok(Summary {
        notes,
        ..Summary::default()
    })
}

fn open(source: &Source, access: Access) -> Result<Input, JobError> {
    Input::open_as(source, access).map_err(|error| {
        if let Some(failure) = source.failure() {
            return failure;
        }
        if access == Access::Table && looks_encrypted(source) {
            return JobError::new(Failure::Encrypted, "the tracks are encrypted");
        }
        JobError::av(Failure::NotMedia, &error)
    })
}

fn tell(link: &Link, media: &MediaIndex, is_whole: bool) -> Result<(), JobError> {
    let bytes = index::encode(media)
        .map_err(|error| JobError::new(Failure::TooLarge, error.to_string()))?;
    link.send(&FromWorker::IndexSoFar { bytes, is_whole })
}

/// Whether this is an mp4 with one table of all its samples. A table behind the data is waited for, or fails to be read.
fn has_table(source: &Source) -> Result<bool, JobError> {
    let mut at = 0;
    for count in 0..BOXES_MAX {
        let Some((kind, head, size)) = box_at(source, at)? else {
            return Ok(false);
        };
        let known = [
            b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"pnot",
        ];
        if !known.contains(&&kind) || (count == 0 && &kind == b"uuid") {
            return Ok(false);
        }
        let Some(size) = size else {
            return Ok(false);
        };
        if &kind == b"moov" {
            return Ok(!is_fragmented(source, at + head, at.saturating_add(size))?);
        }
        at = at.saturating_add(size);
    }
    Ok(false)
}

/// Whether a `moov` announces fragments.
fn is_fragmented(source: &Source, mut at: u64, end: u64) -> Result<bool, JobError> {
    for _ in 0..BOXES_MAX {
        if at >= end {
            return Ok(false);
        }
        let Some((kind, _, Some(size))) = box_at(source, at)? else {
            return Ok(true);
        };
        if &kind == b"mvex" {
            return Ok(true);
        }
        at = at.saturating_add(size);
    }
    Ok(true)
}

/// Type, length of the head and length of a box; without a length it goes on to the end.
#[expect(clippy::type_complexity, reason = "read in two places, right here")]
fn box_at(source: &Source, at: u64) -> Result<Option<([u8; 4], u64, Option<u64>)>, JobError> {
    let read = |at, into: &mut [u8]| match source.read_exact_at(at, into) {
        Ok(there) => Ok(there),
        Err(error) => Err(source.failure().unwrap_or_else(|| error.into())),
    };
    let mut short = [0; 8];
    if !read(at, &mut short)? {
        return Ok(None);
    }
    let [s0, s1, s2, s3, kind @ ..] = short;
    let (head, size) = match u32::from_be_bytes([s0, s1, s2, s3]) {
        0 => (8, None),
        1 => {
            let mut long = [0; 8];
            if !read(at + 8, &mut long)? {
                return Ok(None);
            }
            (16, Some(u64::from_be_bytes(long)))
        }
        size => (8, Some(u64::from(size))),
    };
    if size.is_some_and(|size| size < head) {
        return Ok(None);
    }
    Ok(Some((kind, head, size)))
}

/// The whole index from the table alone, where that is what the bytes would say.
fn from_table(link: &Arc<Link>, source: &Source) -> Result<Option<MediaIndex>, JobError> {
    let mut input = open(source, Access::Table)?;
    if !scan::table_suffices(&input) {
        return Ok(None);
    }
    let scanned = scan::run(link, source, &mut input, How::Table)?;
    link.check()?;
    if scanned.encrypted {
        return Err(JobError::new(
            Failure::Encrypted,
            "the tracks are encrypted",
        ));
    }
    let (media, _) = scanned.assemble(source, &input)?;
    // A table without key samples calls all of them keys; the bitstream may know better.
    let told = |(facts, samples): (&index::TrackFacts, &Vec<index::Sample>)| {
        !matches!(facts.kind, TrackKind::Video(_))
            || samples.len() < 2
            || samples.iter().any(|sample| !sample.key)
    };
    let tracks = media.facts.tracks.iter().zip(&media.tables);
    Ok(tracks.into_iter().all(told).then_some(media))
}

/// Tells the index as it grows.
struct Teller<'a> {
    link: &'a Link,
    source: &'a Source,
    steps: Steps,
}

impl Follower for Teller<'_> {
    fn is_due(&mut self, input: &Input, tracks: &[Option<Track>], last: usize) -> bool {
        let source = self.source;
        let known_us = |track: &Track| match track.coming(source, input).last() {
            Some(last) => time_of(track, last),
            None => time_us(track),
        };
        self.steps.is_due(tracks, last, known_us)
    }

    fn tell(&mut self, input: &Input, tracks: &mut [Option<Track>]) -> Result<(), JobError> {
        let began = Instant::now();
        let mut read = Vec::new();
        for track in tracks.iter_mut().flatten() {
            read.push(track.samples.len());
            let coming = track.coming(self.source, input);
            track.samples.extend(coming);
        }
        let begun = tracks
            .iter()
            .flatten()
            .filter(|track| !track.samples.is_empty());
        // What cannot be described yet may be later.
        let told = match assemble(self.source, input, begun, Vec::new(), false) {
            Ok((media, _)) => tell(self.link, &media, false),
            Err(_) => Ok(()),
        };
        for (track, read) in tracks.iter_mut().flatten().zip(read) {
            track.samples.truncate(read);
        }
        told?;
        self.steps.pause(began.elapsed());
        Ok(())
    }
}

/// When to tell again: when the picture has passed a key sample and the sound has caught up with it.
#[derive(Default)]
struct Steps {
    /// The time of the first packet.
    first_us: Option<i64>,
    /// Whether every track has begun, or is late.
    has_begun: bool,
    /// The last key picture.
    key_us: Option<i64>,
    /// Passed key pictures that were not told of, or before the sound had come so far: the first and the last.
    passed_us: Option<(i64, i64)>,
    told_us: i64,
    told_samples: usize,
    not_before: Option<Instant>,
}

fn kind(track: &Track) -> AVMediaType {
    track.info.parameters.raw().codec_type
}

/// The time of a track's last packet in microseconds.
fn time_us(track: &Track) -> Option<i64> {
    time_of(track, track.samples.last()?)
}

fn time_of(track: &Track, found: &Found) -> Option<i64> {
    Some(track.info.time_base.micros(found.pts.or(found.dts)?))
}

impl Steps {
    /// `known_us` gives the time of the last packet of a track that is known, be its bytes there or not.
    fn is_due(
        &mut self,
        tracks: &[Option<Track>],
        last: usize,
        known_us: impl Fn(&Track) -> Option<i64>,
    ) -> bool {
        let tracks = || tracks.iter().enumerate();
        let track = tracks().find(|(at, _)| *at == last);
        let Some(track) = track.and_then(|(_, track)| track.as_ref()) else {
            return false;
        };
        let Some(now_us) = time_us(track) else {
            return false;
        };
        let known = || tracks().filter_map(|(_, track)| track.as_ref());
        let first_us = *self.first_us.get_or_insert(now_us);
        if !self.has_begun {
            let waited_for =
                |track: &&Track| track.is_timed() && track.info.parameters.codec_name() != "none";
            let missing = known()
                .filter(waited_for)
                .any(|track| track.samples.is_empty());
            self.has_begun = !missing || now_us.saturating_sub(first_us) > LATE_TRACK_US;
        }
        let is_picture = |track: &Track| kind(track) == AVMediaType::AVMEDIA_TYPE_VIDEO;
        if is_picture(track) {
            let found = track.samples.last();
            if found.is_some_and(|found| found.key && found.intra != Some(false)) {
                self.key_us = Some(now_us);
            } else if let Some(key_us) = self.key_us.filter(|key_us| now_us > *key_us) {
                // A picture that is shown later was read: nothing shown before the key is still to come.
                let first = self.passed_us.map_or(key_us, |(first, _)| first);
                self.passed_us = Some((first, key_us));
                self.key_us = None;
            }
        } else if !known().any(is_picture) && now_us >= self.told_us + SOUND_STEP_US {
            self.passed_us = Some((now_us, now_us));
        }
        let Some((passed_us, latest_us)) = self.passed_us.filter(|_| self.has_begun) else {
            return false;
        };
        let sound_us = known()
            .filter(|track| kind(track) == AVMediaType::AVMEDIA_TYPE_AUDIO)
            .filter_map(known_us)
            .min();
        let has_sound_of = |time_us: i64| sound_us.is_none_or(|sound_us| sound_us >= time_us);
        let is_late = now_us.saturating_sub(passed_us) > SOUND_LAG_US;
        if !has_sound_of(passed_us) && !is_late {
            return false;
        }
        let samples: usize = known().map(|track| track.samples.len()).sum();
        let has_grown = samples >= self.told_samples + self.told_samples / GROWTH;
        if !has_grown && self.not_before.is_some_and(|time| Instant::now() < time) {
            return false;
        }
        self.told_samples = samples;
        self.told_us = now_us;
        self.passed_us = Some((latest_us, latest_us)).filter(|_| !has_sound_of(latest_us));
        true
    }

    fn pause(&mut self, took: Duration) {
        self.not_before = Some(Instant::now() + took * PAUSE_FACTOR);
    }
}
