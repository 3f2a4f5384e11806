//! Where a track's samples lie when they do not lie in one piece each.
//!
//! Two steps lead from a sample to bytes of the object. [`Run`]s put the track's own stream of bytes together: in MPEG
//! transport streams pieces of 184 bytes with four of a header between them, in AVI one piece per chunk. [`Unit`]s say
//! which parts of that stream a sample is made of: a NAL unit behind a start code, a frame behind its ADTS header.
//! So a start code is replaced by a length, and nothing else of a sample is ever made here.

use std::ops::Range;

use super::column::{Cursor, put_column, put_section, put_unsigned};
use super::{BLOCK_SAMPLES, IndexError, Sample};

/// The most runs of a track: a transport stream of about twenty gigabytes; 128 MB when read in full.
pub const MAX_RUNS: usize = 4_000_000;
/// The most units of a track.
pub const MAX_UNITS: usize = 4_000_000;
/// Bytes of the length in front of a unit.
pub const LENGTH_BYTES: u32 = 4;

/// The way from a track's samples to the object's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// Whether each unit is led by its length in four bytes, most significant first.
    pub lengths: bool,
    runs: Vec<Run>,
    units: Vec<Unit>,
    /// First unit of each sample and, last, their number.
    firsts: Vec<u32>,
}

/// Pieces of one length at equal steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// Place of the first byte in the track's stream.
    start: u64,
    /// Place of the first byte in the object.
    offset: u64,
    /// Bytes of each piece.
    bytes: u32,
    /// From the start of one piece to that of the next.
    stride: u32,
    /// Pieces.
    count: u32,
}

/// A part of the track's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unit {
    start: u64,
    bytes: u32,
}

/// What a sample is made of, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// Bytes that stand nowhere in the object: the length of what follows.
    Length([u8; LENGTH_BYTES as usize]),
    /// `count` pieces of `bytes` bytes of the object, each `stride` behind the one before.
    Object {
        /// First byte of the first piece.
        offset: u64,
        /// Of each piece.
        bytes: u32,
        /// At least `bytes`.
        stride: u32,
        /// At least 1.
        count: u32,
    },
}

impl Piece {
    /// How many bytes it gives.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Length(length) => length.len() as u64,
            Self::Object { bytes, count, .. } => u64::from(*bytes) * u64::from(*count),
        }
    }

    /// The part of an object's piece between two of its own bytes, as at most three pieces.
    pub fn clipped(&self, range: Range<u64>) -> impl Iterator<Item = Self> + use<> {
        let mut parts = [None; 3];
        if let Self::Object {
            offset,
            bytes,
            stride,
            count,
        } = *self
            && bytes > 0
        {
            let each = u64::from(bytes);
            let end = range.end.min(each * u64::from(count));
            let mut at = range.start.min(end);
            for part in &mut parts {
                let (index, inside) = (at / each, at % each);
                let left = end - at;
                if left == 0 {
                    break;
                }
                let offset = offset + index * u64::from(stride) + inside;
                let (bytes, count) = if inside == 0 && left >= each {
                    (each, left / each)
                } else {
                    (left.min(each - inside), 1)
                };
                at += bytes * count;
                *part = Some(Self::Object {
                    offset,
                    bytes: bytes as u32,
                    stride,
                    count: count as u32,
                });
            }
        }
        parts.into_iter().flatten()
    }
}

impl Layout {
    /// An empty layout, to be filled from the first sample to the last.
    pub fn new(lengths: bool) -> Self {
        Self {
            lengths,
            firsts: vec![0],
            ..Self::default()
        }
    }

    /// Appends bytes of the object to the track's stream and tells where they start in it.
    ///
    /// # Errors
    /// [`IndexError::TooLarge`].
    pub fn append(&mut self, offset: u64, bytes: u32) -> Result<u64, IndexError> {
        let start = self.stream_bytes();
        if bytes == 0 {
            return Ok(start);
        }
        if let Some(last) = self.runs.last_mut() {
            let step = offset.checked_sub(last.offset);
            let whole = last.count == 1 && last.offset + u64::from(last.bytes) == offset;
            if let Some(joined) = last.bytes.checked_add(bytes).filter(|_| whole) {
                // What follows without a gap is one piece.
                last.bytes = joined;
                last.stride = joined;
                return Ok(start);
            }
            let step = step.and_then(|step| u32::try_from(step).ok());
            if last.bytes == bytes
                && last.count == 1
                && let Some(step) = step.filter(|step| *step >= bytes)
            {
                last.stride = step;
                last.count = 2;
                return Ok(start);
            }
            let next = last.offset + u64::from(last.stride) * u64::from(last.count);
            if last.bytes == bytes && last.count > 1 && next == offset && last.count < u32::MAX {
                last.count += 1;
                return Ok(start);
            }
        }
        if self.runs.len() >= MAX_RUNS {
            return Err(IndexError::TooLarge {
                what: "runs",
                limit: MAX_RUNS,
            });
        }
        self.runs.push(Run {
            start,
            offset,
            bytes,
            stride: bytes,
            count: 1,
        });
        Ok(start)
    }

    /// Adds a sample of these parts of the track's stream, which lie behind those of the one before; gives its size.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn sample(&mut self, units: &[Range<u64>]) -> Result<u32, IndexError> {
        const WRONG: IndexError = IndexError::Damaged("a sample lies outside its track");
        let mut size = 0u32;
        for unit in units {
            let least = self.units.last().map_or(0, Unit::end);
            let bytes = unit.end.checked_sub(unit.start).ok_or(WRONG)?;
            let bytes = u32::try_from(bytes).map_err(|_| WRONG)?;
            if unit.start < least || unit.end > self.stream_bytes() {
                return Err(WRONG);
            }
            if self.units.len() >= MAX_UNITS {
                return Err(IndexError::TooLarge {
                    what: "units",
                    limit: MAX_UNITS,
                });
            }
            let led = if self.lengths { LENGTH_BYTES } else { 0 };
            size = size
                .checked_add(bytes)
                .and_then(|size| size.checked_add(led))
                .ok_or(WRONG)?;
            self.units.push(Unit {
                start: unit.start,
                bytes,
            });
        }
        self.firsts.push(self.units.len() as u32);
        Ok(size)
    }

    /// How many samples it describes.
    pub fn samples(&self) -> usize {
        self.firsts.len().saturating_sub(1)
    }

    /// Where each sample lies, if every one lies in one piece and is nothing more.
    pub fn contiguous(&self) -> Option<Vec<u64>> {
        if self.lengths || self.units.len() != self.samples() {
            return None;
        }
        let mut offsets = Vec::with_capacity(self.units.len());
        for sample in 0..self.samples() {
            match self.pieces(sample..sample + 1).as_slice() {
                [
                    Piece::Object {
                        offset, count: 1, ..
                    },
                ] => offsets.push(*offset),
                _ => return None,
            }
        }
        Some(offsets)
    }

    /// Memory of all of it.
    pub fn memory_bytes(&self) -> usize {
        self.runs.len() * size_of::<Run>()
            + self.units.len() * size_of::<Unit>()
            + self.firsts.len() * size_of::<u32>()
    }

    /// The end of what it takes from the object.
    pub fn object_end(&self) -> u64 {
        self.runs.iter().map(Run::object_end).max().unwrap_or(0)
    }

    /// The pieces of some samples, in order; nothing where there are no such samples.
    pub fn pieces(&self, samples: Range<usize>) -> Vec<Piece> {
        let firsts = (self.firsts.get(samples.start), self.firsts.get(samples.end));
        let (Some(from), Some(to)) = firsts else {
            return Vec::new();
        };
        let mut pieces = Vec::new();
        for unit in self.units.get(*from as usize..*to as usize).unwrap_or(&[]) {
            if self.lengths {
                pieces.push(Piece::Length(unit.bytes.to_be_bytes()));
            }
            let first = self.runs.partition_point(|run| run.end() <= unit.start);
            for run in &self.runs[first..] {
                if run.start >= unit.end() {
                    break;
                }
                let from = unit.start.max(run.start) - run.start;
                let to = unit.end().min(run.end()) - run.start;
                pieces.extend(run.piece().clipped(from..to));
            }
        }
        pieces
    }

    fn stream_bytes(&self) -> u64 {
        self.runs.last().map_or(0, Run::end)
    }
}

impl Unit {
    fn end(&self) -> u64 {
        self.start + u64::from(self.bytes)
    }
}

impl Run {
    fn end(&self) -> u64 {
        self.start + u64::from(self.bytes) * u64::from(self.count)
    }

    fn object_end(&self) -> u64 {
        self.offset + u64::from(self.stride) * u64::from(self.count - 1) + u64::from(self.bytes)
    }

    fn piece(&self) -> Piece {
        Piece::Object {
            offset: self.offset,
            bytes: self.bytes,
            stride: self.stride,
            count: self.count,
        }
    }
}

/// The compact form: a flag, then runs, units, and how many units each sample has, in blocks of columns.
pub(super) fn encode(layout: &Layout) -> Vec<u8> {
    let mut out = vec![u8::from(layout.lengths)];
    let mut end = 0u64;
    let mut body = Vec::new();
    blocks(&mut body, &layout.runs, 4, |run| {
        // Both lie below 2^63, as an object's size does.
        let gap = run.offset as i64 - end as i64;
        end = run.object_end();
        vec![
            gap,
            i64::from(run.bytes),
            i64::from(run.stride - run.bytes),
            i64::from(run.count),
        ]
    });
    put_section(&mut out, &body);
    body.clear();
    let mut end = 0u64;
    blocks(&mut body, &layout.units, 2, |unit| {
        let skipped = unit.start - end;
        end = unit.end();
        vec![skipped as i64, i64::from(unit.bytes)]
    });
    put_section(&mut out, &body);
    body.clear();
    let counts: Vec<u32> = layout
        .firsts
        .windows(2)
        .map(|pair| pair[1] - pair[0])
        .collect();
    blocks(&mut body, &counts, 1, |count| vec![i64::from(*count)]);
    put_section(&mut out, &body);
    out
}

fn blocks<T>(out: &mut Vec<u8>, rows: &[T], columns: usize, mut row: impl FnMut(&T) -> Vec<i64>) {
    put_unsigned(out, rows.len() as u64);
    for block in rows.chunks(BLOCK_SAMPLES) {
        let mut values = vec![Vec::with_capacity(block.len()); columns];
        for one in block {
            for (column, value) in values.iter_mut().zip(row(one)) {
                column.push(value);
            }
        }
        for column in &values {
            put_column(out, column);
        }
    }
}

/// Reads what [`encode`] wrote, for a track of these samples.
pub(super) fn decode(bytes: &[u8], samples: &[Sample]) -> Result<Layout, IndexError> {
    const RANGE: IndexError = IndexError::Damaged("a number is out of range");
    let mut cursor = Cursor::new(bytes);
    let lengths = match cursor.byte()? {
        0 => false,
        1 => true,
        _ => return Err(IndexError::Damaged("an unknown layout")),
    };
    let mut layout = Layout::new(lengths);
    let (mut start, mut end) = (0u64, 0u64);
    rows::<4>(
        cursor.section()?,
        MAX_RUNS,
        |[gap, bytes, beyond, count]| {
            let bytes = u32::try_from(bytes)
                .ok()
                .filter(|bytes| *bytes > 0)
                .ok_or(RANGE)?;
            let count = u32::try_from(count)
                .ok()
                .filter(|count| *count > 0)
                .ok_or(RANGE)?;
            let beyond = u32::try_from(beyond).map_err(|_| RANGE)?;
            let run = Run {
                start,
                offset: end.checked_add_signed(gap).ok_or(RANGE)?,
                bytes,
                stride: bytes.checked_add(beyond).ok_or(RANGE)?,
                count,
            };
            // Neither product exceeds 2^64, so only the sums are to be watched.
            let reach = u64::from(run.stride) * u64::from(count);
            end = run
                .offset
                .checked_add(reach)
                .filter(|end| *end < 1 << 63)
                .ok_or(RANGE)?;
            end -= u64::from(beyond);
            start = start
                .checked_add(u64::from(bytes) * u64::from(count))
                .filter(|start| *start < 1 << 63)
                .ok_or(RANGE)?;
            layout.runs.push(run);
            Ok(())
        },
    )?;
    let mut end = 0u64;
    rows::<2>(cursor.section()?, MAX_UNITS, |[skipped, bytes]| {
        let skipped = u64::try_from(skipped).map_err(|_| RANGE)?;
        let bytes = u32::try_from(bytes).map_err(|_| RANGE)?;
        let from = end.checked_add(skipped).ok_or(RANGE)?;
        end = from
            .checked_add(u64::from(bytes))
            .filter(|end| *end <= start)
            .ok_or(RANGE)?;
        layout.units.push(Unit { start: from, bytes });
        Ok(())
    })?;
    let mut first = 0u32;
    rows::<1>(cursor.section()?, samples.len(), |[count]| {
        let count = u32::try_from(count).map_err(|_| RANGE)?;
        first = first.checked_add(count).ok_or(RANGE)?;
        layout.firsts.push(first);
        Ok(())
    })?;
    if !cursor.is_empty()
        || layout.samples() != samples.len()
        || first as usize != layout.units.len()
    {
        return Err(IndexError::Damaged("layout and samples do not match"));
    }
    let led = if lengths { u64::from(LENGTH_BYTES) } else { 0 };
    for (pair, sample) in layout.firsts.windows(2).zip(samples) {
        let units = &layout.units[pair[0] as usize..pair[1] as usize];
        let size: u64 = units.iter().map(|unit| u64::from(unit.bytes) + led).sum();
        if size != u64::from(sample.size) {
            return Err(IndexError::Damaged("layout and samples do not match"));
        }
    }
    Ok(layout)
}

/// Rows of `N` columns, at most `most` of them, each handed on in order.
fn rows<const N: usize>(
    bytes: &[u8],
    most: usize,
    mut each: impl FnMut([i64; N]) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    let mut cursor = Cursor::new(bytes);
    let mut left = usize::try_from(cursor.unsigned()?)
        .ok()
        .filter(|count| *count <= most)
        .ok_or(IndexError::TooLarge {
            what: "rows",
            limit: most,
        })?;
    // A column of a block is a coding, a run and a value at least.
    if left.div_ceil(BLOCK_SAMPLES).saturating_mul(3 * N) > bytes.len() {
        return Err(IndexError::Damaged("it ends too early"));
    }
    let mut block = vec![[0i64; N]; left.min(BLOCK_SAMPLES)];
    while left > 0 {
        let count = left.min(BLOCK_SAMPLES);
        (0..N).try_for_each(|column| {
            cursor.column(count, |at, value| {
                block[at][column] = value;
                Ok(())
            })
        })?;
        for row in &block[..count] {
            each(*row)?;
        }
        left -= count;
    }
    if cursor.is_empty() {
        Ok(())
    } else {
        Err(IndexError::Damaged("bytes are left over"))
    }
}
