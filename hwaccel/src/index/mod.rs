//! The sample index: everything a packager must know about a media file without parsing the file.
//!
//! A sandboxed worker makes it once when a file arrives; whoever serves the file reads only this.
//! [`encode`] gives compact bytes (3 to 4 a sample for mp4, about 6 for mkv), [`decode`] gives them back in full and
//! [`facts`] only their head.
//!
//! # Times
//! All times are *presentation times as a player sees them*: edit lists are applied, so a track's first shown sample
//! may have any time, and a B-frame's `dts` may be negative. They are in the track's own [`TrackFacts::time_base`].
//! [`MediaFacts::start_us`] is the earliest presentation time of any audio or video track.
//!
//! # Positions
//! Where [`TrackFacts::copyable`] is [`Copyable::Contiguous`], the bytes `offset..offset + size` of the object *are* the
//! sample as an `mdat` holds it, each one compared with what the demuxer gave or taken from a table that cannot differ,
//! and [`TrackFacts::sample_entry`] is the `stsd` entry to put in front. In any other track the offsets are 0.
//! Where it is [`Copyable::Gathered`], the track's [`Layout`] says which bytes of the object make a sample, with lengths
//! in front of its NAL units: transport streams, AVI, start codes and ADTS headers come to this.
//!
//! # Format
//! `NBIX`, a version byte, then the facts (postcard) and one table per track, each behind a length (LEB128).
//! A table is a sample count and blocks of [`BLOCK_SAMPLES`]; a block starts with the absolute time and offset of its
//! first sample and has six columns (size, gap to the end of the previous sample, step of `dts`, duration beyond the
//! step, composition offset, key), each in the smallest of four codings (see `column.rs`).
//! In version 2, written only where a track needs it, each table is followed by the track's layout (see `layout.rs`),
//! which is empty for a contiguous one.
//! Reading is bounded by the limits below and never panics, whatever the bytes.

mod column;
mod layout;
mod table;
mod types;

pub use layout::{LENGTH_BYTES, Layout, MAX_RUNS, MAX_UNITS, Piece};
pub use types::{
    AudioFacts, Chapter, Copyable, MediaFacts, Rational, Sample, TrackFacts, TrackKind, VideoFacts,
    VideoRange,
};

use std::panic::resume_unwind;
use std::thread;

use column::Cursor;

/// Samples per block of a table.
pub const BLOCK_SAMPLES: usize = 1024;
/// The largest encoded index; it must fit a message of [`crate::protocol`].
pub const MAX_INDEX_BYTES: usize = 40 << 20;
/// The most tracks.
pub const MAX_TRACKS: usize = 128;
/// The most samples of all tracks together: a film of nine hours with two sound tracks; 128 MB when read in full.
pub const MAX_SAMPLES: usize = 4_000_000;

/// A table of so many bytes takes longer to read than a thread to begin: about ten minutes of sound.
const LONG_TABLE_BYTES: usize = 64 * 1024;

const MAGIC: &[u8; 4] = b"NBIX";
/// Tables alone.
const FORMAT: u8 = 1;
/// Tables and layouts.
const FORMAT_LAID_OUT: u8 = 2;

/// Why an index cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// A limit is exceeded.
    #[error("the index exceeds the limit of {limit} {what}")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: usize,
    },
    /// Not an index, or of another format version.
    #[error("these bytes are no media index of this version")]
    Foreign,
    /// An index, but broken.
    #[error("the media index is damaged: {0}")]
    Damaged(&'static str),
}

/// Facts and sample tables of one media file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MediaIndex {
    /// What is known about the file.
    pub facts: MediaFacts,
    /// One table per track of the facts, in the same order, in decoding order; empty for a track that cannot be played.
    pub tables: Vec<Vec<Sample>>,
    /// One layout per track, `None` where samples are contiguous; empty when all are.
    pub layouts: Vec<Option<Layout>>,
}

impl MediaIndex {
    /// The layout of a track whose samples are gathered.
    pub fn layout(&self, track: usize) -> Option<&Layout> {
        self.layouts.get(track)?.as_ref()
    }
}

/// The compact form.
///
/// # Errors
/// [`IndexError::TooLarge`], or [`IndexError::Damaged`] when tables and facts do not match.
pub fn encode(index: &MediaIndex) -> Result<Vec<u8>, IndexError> {
    if index.tables.len() != index.facts.tracks.len() {
        return Err(IndexError::Damaged("as many tables as tracks are needed"));
    }
    if index.tables.len() > MAX_TRACKS {
        return Err(IndexError::TooLarge {
            what: "tracks",
            limit: MAX_TRACKS,
        });
    }
    if index.tables.iter().map(Vec::len).sum::<usize>() > MAX_SAMPLES {
        return Err(IndexError::TooLarge {
            what: "samples",
            limit: MAX_SAMPLES,
        });
    }
    let laid_out = index.layouts.iter().any(Option::is_some);
    if laid_out && index.layouts.len() != index.tables.len() {
        return Err(IndexError::Damaged("as many layouts as tracks are needed"));
    }
    let facts = postcard::to_stdvec(&index.facts)
        .map_err(|_| IndexError::Damaged("the facts cannot be written"))?;
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    out.push(if laid_out { FORMAT_LAID_OUT } else { FORMAT });
    column::put_section(&mut out, &facts);
    for (track, samples) in index.tables.iter().enumerate() {
        column::put_section(&mut out, &table::encode(samples)?);
        if laid_out {
            let layout = index.layout(track).map(layout::encode).unwrap_or_default();
            column::put_section(&mut out, &layout);
        }
    }
    if out.len() > MAX_INDEX_BYTES {
        return Err(IndexError::TooLarge {
            what: "bytes",
            limit: MAX_INDEX_BYTES,
        });
    }
    Ok(out)
}

/// Facts and tables from the compact form.
///
/// # Errors
/// [`IndexError`], whatever the bytes are.
pub fn decode(bytes: &[u8]) -> Result<MediaIndex, IndexError> {
    let (facts, laid_out, mut cursor) = open(bytes)?;
    let mut sections = Vec::with_capacity(facts.tracks.len());
    let mut budget = MAX_SAMPLES;
    for _ in &facts.tracks {
        let table = cursor.section()?;
        budget -= table::count(table, budget)?;
        let layout = if laid_out { cursor.section()? } else { &[] };
        sections.push((table, layout));
    }
    let tables = tables(&sections)?;
    let mut layouts = Vec::new();
    if laid_out {
        for ((_, section), samples) in sections.iter().zip(&tables) {
            let there = (!section.is_empty()).then(|| layout::decode(section, samples));
            layouts.push(there.transpose()?);
        }
    }
    if !cursor.is_empty() {
        return Err(IndexError::Damaged("bytes are left over"));
    }
    Ok(MediaIndex {
        facts,
        tables,
        layouts,
    })
}

/// The tables of tracks; those of a long film each by a thread of its own, as somebody waits for its first playlist.
fn tables<'s>(sections: &[(&'s [u8], &[u8])]) -> Result<Vec<Vec<Sample>>, IndexError> {
    fn decode(table: &[u8]) -> Result<Vec<Sample>, IndexError> {
        table::decode(table, MAX_SAMPLES)
    }
    thread::scope(|scope| {
        let begin = |section: &(&'s [u8], &[u8])| {
            let table = section.0;
            if table.len() < LONG_TABLE_BYTES {
                return None;
            }
            // Where there is no thread to be had, this one does it.
            let thread = thread::Builder::new();
            thread.spawn_scoped(scope, move || decode(table)).ok()
        };
        let begun: Vec<_> = sections.iter().map(begin).collect();
        let tables = sections.iter().zip(begun);
        tables
            .map(|((table, _), begun)| match begun {
                // A thread that panics is a bug, and stays one here.
                Some(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                None => decode(table),
            })
            .collect()
    })
}

/// Only the facts: a few microseconds, whatever the length of the film.
///
/// # Errors
/// [`IndexError`], whatever the bytes are.
pub fn facts(bytes: &[u8]) -> Result<MediaFacts, IndexError> {
    open(bytes).map(|(facts, ..)| facts)
}

/// The facts, whether layouts follow the tables, and the rest.
fn open(bytes: &[u8]) -> Result<(MediaFacts, bool, Cursor<'_>), IndexError> {
    if bytes.len() > MAX_INDEX_BYTES {
        return Err(IndexError::TooLarge {
            what: "bytes",
            limit: MAX_INDEX_BYTES,
        });
    }
    let (laid_out, body) = match bytes.strip_prefix(MAGIC.as_slice()) {
        Some([FORMAT, body @ ..]) => (false, body),
        Some([FORMAT_LAID_OUT, body @ ..]) => (true, body),
        _ => return Err(IndexError::Foreign),
    };
    let mut cursor = Cursor::new(body);
    let facts: MediaFacts = postcard::from_bytes(cursor.section()?)
        .map_err(|_| IndexError::Damaged("the facts cannot be read"))?;
    if facts.tracks.len() > MAX_TRACKS {
        return Err(IndexError::TooLarge {
            what: "tracks",
            limit: MAX_TRACKS,
        });
    }
    if facts
        .tracks
        .iter()
        .any(|track| track.time_base.num == 0 || track.time_base.den == 0)
    {
        return Err(IndexError::Damaged("a time base of zero"));
    }
    Ok((facts, laid_out, cursor))
}

#[cfg(test)]
mod tests;
