//! A segment on its way out: heads from memory, and runs or pieces of the object's bytes.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use crate::media::{Packaged, Part, Piece, piece_span};
use crate::store::{ObjectBody, ObjectReader, StoreError};

/// Pieces are read together over so many bytes of the object at most.
const WINDOW_BYTES: u64 = 256 << 10;
/// Over more than this between two pieces is jumped rather than read.
const GAP_BYTES_MAX: u64 = 64 << 10;

/// Any range of a packaged segment.
pub(super) struct SegmentBody {
    reader: ObjectReader,
    parts: VecDeque<Part>,
    current: Option<Current>,
    left: u64,
}

/// What is being read of the object.
enum Current {
    /// Bytes that go out as they come.
    Run(ObjectBody),
    /// Bytes of which some go out, when all are here.
    Window {
        body: ObjectBody,
        start: u64,
        read: BytesMut,
        pieces: Vec<Piece>,
    },
}

impl SegmentBody {
    /// The bytes in `range` of the segment, which lies within its size.
    pub(super) fn new(segment: &Packaged, reader: ObjectReader, range: Range<u64>) -> Self {
        Self {
            reader,
            left: range.end.saturating_sub(range.start),
            parts: segment.within(range).into(),
            current: None,
        }
    }

    /// Begins to read the next part; bytes that need no reading are given at once.
    fn begin(&mut self, part: Part) -> Option<Bytes> {
        match part {
            Part::Made(bytes) => return Some(bytes),
            Part::Run(run) => self.current = Some(Current::Run(self.reader.body(run))),
            Part::Pieces(pieces) => {
                let (taken, rest, span) = window(pieces);
                if !rest.is_empty() {
                    self.parts.push_front(Part::Pieces(rest));
                }
                self.current = Some(Current::Window {
                    body: self.reader.body(span.clone()),
                    start: span.start,
                    read: BytesMut::with_capacity((span.end - span.start) as usize),
                    pieces: taken,
                });
            }
        }
        None
    }
}

/// The first pieces that lie close together in the object, the others, and what these reach over.
fn window(pieces: Vec<Piece>) -> (Vec<Piece>, Vec<Piece>, Range<u64>) {
    let mut reach: Option<Range<u64>> = None;
    let mut taken = Vec::new();
    let mut pieces = pieces.into_iter();
    let mut rest = Vec::new();
    for piece in pieces.by_ref() {
        let Some(span) = piece_span(&piece) else {
            taken.push(piece);
            continue;
        };
        let start = reach.as_ref().map_or(span.start, |reach| reach.start);
        let near = reach
            .as_ref()
            .is_none_or(|reach| span.start >= reach.end && span.start - reach.end <= GAP_BYTES_MAX);
        let room = WINDOW_BYTES.saturating_sub(span.start.saturating_sub(start));
        if near && span.end - span.start <= room {
            reach = Some(start..span.end);
            taken.push(piece);
            continue;
        }
        if near && let Piece::Object { bytes, stride, .. } = piece {
            // As much of it as there is room for, and some of it in an empty window.
            let fitting = match room.checked_sub(u64::from(bytes)) {
                Some(room) => (room / u64::from(stride.max(1)) + 1) * u64::from(bytes),
                None if reach.is_none() => room,
                None => 0,
            };
            for part in piece.clipped(0..fitting) {
                reach = piece_span(&part).map(|span| start..span.end).or(reach);
                taken.push(part);
            }
            rest.extend(piece.clipped(fitting..u64::MAX));
        } else {
            rest.push(piece);
        }
        break;
    }
    rest.extend(pieces);
    (taken, rest, reach.unwrap_or(0..0))
}

/// The pieces of a window put together.
fn gathered(pieces: &[Piece], start: u64, read: &[u8]) -> Bytes {
    let size: u64 = pieces.iter().map(Piece::size_bytes).sum();
    let mut out = BytesMut::with_capacity(size as usize);
    for piece in pieces {
        match *piece {
            Piece::Length(length) => out.extend_from_slice(&length),
            Piece::Object {
                offset,
                bytes,
                stride,
                count,
            } => {
                let from = (offset - start) as usize;
                for each in 0..count as usize {
                    let from = from + each * stride as usize;
                    // A body that ended early leaves too little, which the connection reports.
                    out.extend_from_slice(read.get(from..from + bytes as usize).unwrap_or(&[]));
                }
            }
        }
    }
    out.freeze()
}

impl Body for SegmentBody {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        loop {
            let done = match &mut self.current {
                None => {
                    let Some(part) = self.parts.pop_front() else {
                        return Poll::Ready(None);
                    };
                    self.begin(part)
                }
                Some(Current::Run(body)) => match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Some(Ok(frame)) => frame.into_data().ok(),
                    None => {
                        self.current = None;
                        None
                    }
                },
                Some(Current::Window {
                    body,
                    start,
                    read,
                    pieces,
                }) => match ready!(Pin::new(body).poll_frame(cx)) {
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            read.extend_from_slice(&data);
                        }
                        None
                    }
                    None => {
                        let whole = gathered(pieces, *start, read);
                        self.current = None;
                        Some(whole)
                    }
                },
            };
            if let Some(bytes) = done.filter(|bytes| !bytes.is_empty()) {
                self.left = self.left.saturating_sub(bytes.len() as u64);
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(offset: u64, bytes: u32, stride: u32, count: u32) -> Piece {
        Piece::Object {
            offset,
            bytes,
            stride,
            count,
        }
    }

    #[test]
    fn windows_are_bounded_and_lose_nothing() {
        let pieces = vec![
            Piece::Length([0, 0, 1, 0]),
            piece(100, 184, 188, 5000),
            piece(3_000_000, 700_000, 700_000, 1),
            Piece::Length([0, 0, 0, 9]),
            piece(50, 9, 9, 1),
            piece(60, 2_000_000, 3_000_000, 3),
        ];
        let size: u64 = pieces.iter().map(Piece::size_bytes).sum();
        let (mut rest, mut seen) = (pieces, 0);
        while !rest.is_empty() {
            let (taken, others, span) = window(rest);
            assert!(span.end - span.start <= WINDOW_BYTES, "{span:?}");
            let bytes: u64 = taken.iter().map(Piece::size_bytes).sum();
            assert!(bytes > 0);
            let read = vec![0; (span.end - span.start) as usize];
            assert_eq!(gathered(&taken, span.start, &read).len() as u64, bytes);
            seen += bytes;
            rest = others;
        }
        assert_eq!(seen, size);
    }
}
