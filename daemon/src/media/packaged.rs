//! A segment as it goes out: heads made from the index, and the object's own bytes between them.

use std::ops::Range;

use bytes::Bytes;
pub use nebula_hwaccel::index::Piece;
use nebula_hwaccel::index::{Layout, Sample};

/// A segment as it goes out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Packaged {
    /// What it is made of, in order.
    pub parts: Vec<Part>,
    /// Length of all of it.
    pub size_bytes: u64,
}

/// Some bytes of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Boxes without their media.
    Made(Bytes),
    /// A run of the object's bytes.
    Run(Range<u64>),
    /// Short pieces of the object, and lengths between them.
    Pieces(Vec<Piece>),
}

impl Packaged {
    /// Adds boxes.
    pub fn head(&mut self, bytes: Vec<u8>) {
        self.size_bytes += bytes.len() as u64;
        self.parts.push(Part::Made(bytes.into()));
    }

    /// Adds samples that lie in one piece each; nothing where one ends beyond all numbers.
    pub fn samples(&mut self, samples: &[Sample]) -> Option<()> {
        for sample in samples.iter().filter(|sample| sample.size > 0) {
            let end = sample.offset.checked_add(u64::from(sample.size))?;
            self.size_bytes += u64::from(sample.size);
            match self.parts.last_mut() {
                Some(Part::Run(run)) if run.end == sample.offset => run.end = end,
                _ => self.parts.push(Part::Run(sample.offset..end)),
            }
        }
        Some(())
    }

    /// Adds samples that are put together from pieces.
    pub fn gathered(&mut self, layout: &Layout, samples: Range<usize>) {
        let pieces = layout.pieces(samples);
        self.size_bytes += pieces.iter().map(Piece::size_bytes).sum::<u64>();
        self.parts.push(Part::Pieces(pieces));
    }

    /// What of the object is needed, for asking whether it is sound.
    pub fn spans(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.parts.iter().filter_map(|part| match part {
            Part::Made(_) => None,
            Part::Run(run) => Some(run.clone()),
            Part::Pieces(pieces) => {
                let spans = || pieces.iter().filter_map(span);
                let start = spans().map(|span| span.start).min()?;
                Some(start..spans().map(|span| span.end).max()?)
            }
        })
    }

    /// The parts of a range of the segment.
    pub fn within(&self, range: Range<u64>) -> Vec<Part> {
        let mut at = 0;
        let mut parts = Vec::new();
        for part in &self.parts {
            let size = part.size_bytes();
            let clip = range.start.clamp(at, at + size) - at..range.end.clamp(at, at + size) - at;
            at += size;
            if clip.is_empty() {
                continue;
            }
            parts.push(match part {
                Part::Made(bytes) => {
                    Part::Made(bytes.slice(clip.start as usize..clip.end as usize))
                }
                Part::Run(run) => Part::Run(run.start + clip.start..run.start + clip.end),
                Part::Pieces(_) if clip == (0..size) => part.clone(),
                Part::Pieces(pieces) => {
                    parts.extend(clipped(pieces, &clip));
                    continue;
                }
            });
        }
        parts
    }
}

impl Part {
    /// Length of it.
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Made(bytes) => bytes.len() as u64,
            Self::Run(run) => run.end - run.start,
            Self::Pieces(pieces) => pieces.iter().map(Piece::size_bytes).sum(),
        }
    }
}

/// What of the object a piece reaches over.
pub fn span(piece: &Piece) -> Option<Range<u64>> {
    match *piece {
        Piece::Length(_) => None,
        Piece::Object {
            offset,
            bytes,
            stride,
            count,
        } => {
            let last = u64::from(stride) * u64::from(count.saturating_sub(1));
            Some(offset..offset + last + u64::from(bytes))
        }
    }
}

/// A part of pieces; a length that is cut becomes bytes of its own.
fn clipped(pieces: &[Piece], clip: &Range<u64>) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut whole = Vec::new();
    let mut at = 0;
    for piece in pieces {
        let size = piece.size_bytes();
        let inside = clip.start.clamp(at, at + size) - at..clip.end.clamp(at, at + size) - at;
        at += size;
        if inside.is_empty() {
            continue;
        }
        match piece {
            _ if inside == (0..size) => whole.push(*piece),
            Piece::Object { .. } => whole.extend(piece.clipped(inside)),
            Piece::Length(length) => {
                if !whole.is_empty() {
                    parts.push(Part::Pieces(std::mem::take(&mut whole)));
                }
                let cut = &length[inside.start as usize..inside.end as usize];
                parts.push(Part::Made(Bytes::copy_from_slice(cut)));
            }
        }
    }
    if !whole.is_empty() {
        parts.push(Part::Pieces(whole));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of parts, from an object whose bytes tell their place.
    fn bytes(parts: &[Part]) -> Vec<u8> {
        let mut out = Vec::new();
        let object = |range: Range<u64>| range.map(|at| at as u8);
        for part in parts {
            match part {
                Part::Made(made) => out.extend_from_slice(made),
                Part::Run(run) => out.extend(object(run.clone())),
                Part::Pieces(pieces) => {
                    for piece in pieces {
                        match *piece {
                            Piece::Length(length) => out.extend(length),
                            Piece::Object {
                                offset,
                                bytes,
                                stride,
                                count,
                            } => {
                                for n in 0..u64::from(count) {
                                    let at = offset + n * u64::from(stride);
                                    out.extend(object(at..at + u64::from(bytes)));
                                }
                            }
                        }
                    }
                }
            }
        }
        out
    }

    #[test]
    fn every_range_of_a_segment_is_a_part_of_the_whole() {
        let mut layout = Layout::new(true);
        for packet in 0..9 {
            layout.append(packet * 20 + 4, 16).expect("a few");
        }
        let size = layout.sample(&[3..7, 11..140]).expect("inside");
        let mut segment = Packaged::default();
        segment.head(b"head".to_vec());
        segment.gathered(&layout, 0..1);
        segment.head(b"and".to_vec());
        let sample = Sample {
            offset: 30,
            size: 9,
            ..Sample::default()
        };
        segment.samples(&[sample, sample]).expect("small");
        let whole = bytes(&segment.parts);
        assert_eq!(whole.len() as u64, segment.size_bytes);
        assert_eq!(segment.size_bytes, u64::from(size) + 4 + 3 + 18);
        for from in 0..whole.len() {
            for to in from..=whole.len() {
                let part = segment.within(from as u64..to as u64);
                assert_eq!(bytes(&part), whole[from..to], "{from}..{to}");
            }
        }
        assert_eq!(segment.spans().next(), Some(7..176));
    }
}
