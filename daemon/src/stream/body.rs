//! A segment on its way out: heads from memory, and runs or pieces of the object's bytes.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use crate::media::{Packaged, Part, Piece, piece_span};
use crate::store::{ArrivingBody, ArrivingReader, Bypass, ObjectBody, ObjectReader, StoreError};

/// Pieces are read together over so many bytes of the object at most.
const WINDOW_BYTES: u64 = 256 << 10;
/// Over more than this between two pieces is jumped rather than read.
const GAP_BYTES_MAX: u64 = 64 << 10;
/// A run of fewer bytes than this is read together with the next: where picture and sound take turns, a run is a frame.
const SHORT_RUN_BYTES: u64 = 32 << 10;
/// Unless so much lies between them.
const RUN_GAP_BYTES_MAX: u64 = 8 << 10;

/// Whose bytes a segment is made of.
pub(super) trait Bodies: Unpin {
    type Body: Body<Data = Bytes, Error = StoreError> + Unpin;

    /// A range of them.
    fn body(&self, range: Range<u64>) -> Self::Body;

    /// Ranges one after the other as one body, past this process where that is possible; `None` where it cannot.
    fn runs(
        &self,
        _runs: impl Iterator<Item = Range<u64>>,
        _bypass: Option<&Bypass>,
    ) -> Option<Self::Body> {
        None
    }

    /// One of them, past this process where that is possible.
    fn past(&self, range: Range<u64>, _bypass: Option<&Bypass>) -> Self::Body {
        self.body(range)
    }
}

impl Bodies for ObjectReader {
    type Body = ObjectBody;

    fn body(&self, range: Range<u64>) -> ObjectBody {
        Self::body(self, range)
    }

    fn past(&self, range: Range<u64>, bypass: Option<&Bypass>) -> ObjectBody {
        Self::body(self, range).past(bypass)
    }

    fn runs(
        &self,
        runs: impl Iterator<Item = Range<u64>>,
        bypass: Option<&Bypass>,
    ) -> Option<ObjectBody> {
        Self::runs(self, runs).map(|body| body.past(bypass))
    }
}

impl Bodies for ArrivingReader {
    type Body = ArrivingBody;

    fn body(&self, range: Range<u64>) -> ArrivingBody {
        self.clone().body(range.start, Some(range.end))
    }
}

/// Any range of a packaged segment.
pub(super) struct SegmentBody<R: Bodies> {
    reader: R,
    bypass: Option<Bypass>,
    parts: VecDeque<Part>,
    current: Option<Current<R::Body>>,
    left: u64,
}

/// What is being read of the object.
enum Current<B> {
    /// Bytes that go out as they come.
    Run(B),
    /// Bytes of which the runs go out as they come, and what lies between them does not.
    Runs {
        body: B,
        /// Where the next byte of the body lies in the object.
        at: u64,
        wanted: VecDeque<Range<u64>>,
        ready: VecDeque<Bytes>,
    },
    /// Bytes of which some go out, when all are here.
    Window {
        body: B,
        start: u64,
        read: BytesMut,
        pieces: Vec<Piece>,
    },
}

impl<R: Bodies> SegmentBody<R> {
    /// The bytes in `range` of the segment, which lies within its size; long runs go past this process where the
    /// connection has a way.
    pub(super) fn new(
        segment: &Packaged,
        reader: R,
        range: Range<u64>,
        bypass: Option<&Bypass>,
    ) -> Self {
        Self {
            reader,
            bypass: bypass.cloned(),
            left: range.end.saturating_sub(range.start),
            parts: segment.within(range).into(),
            current: None,
        }
    }

    /// Begins to read the next part; bytes that need no reading are given at once.
    fn begin(&mut self, part: Part) -> Option<Bytes> {
        match part {
            Part::Made(bytes) => return Some(bytes),
            Part::Run(run) => {
                let further = self.parts.iter().map_while(|part| match part {
                    Part::Run(run) => Some(run.clone()),
                    Part::Made(_) | Part::Pieces(_) => None,
                });
                let runs = std::iter::once(run.clone()).chain(further);
                if let Some(body) = self.reader.runs(runs, self.bypass.as_ref()) {
                    while let Some(Part::Run(_)) = self.parts.front() {
                        self.parts.pop_front();
                    }
                    self.current = Some(Current::Run(body));
                    return None;
                }
                let wanted = self.near(run.clone());
                self.current = Some(if wanted.len() == 1 {
                    Current::Run(self.reader.past(run, self.bypass.as_ref()))
                } else {
                    let end = wanted.back().map_or(run.end, |last| last.end);
                    Current::Runs {
                        body: self.reader.body(run.start..end),
                        at: run.start,
                        wanted,
                        ready: VecDeque::new(),
                    }
                });
            }
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

impl<R: Bodies> SegmentBody<R> {
    /// A run and those behind it that are read together with it, as they are short and lie close.
    fn near(&mut self, run: Range<u64>) -> VecDeque<Range<u64>> {
        let short = |run: &Range<u64>| run.end - run.start < SHORT_RUN_BYTES;
        let mut near = VecDeque::from([run]);
        while let (Some(last), Some(Part::Run(next))) = (near.back(), self.parts.front()) {
            let gap = next.start.checked_sub(last.end);
            let close = gap.is_some_and(|gap| gap <= RUN_GAP_BYTES_MAX);
            if !close || !short(last) || !short(next) {
                break;
            }
            near.push_back(next.clone());
            self.parts.pop_front();
        }
        near
    }
}

/// The parts of `bytes`, which begin `at` a place of the object, that lie in the wanted runs; runs that end there are done.
fn taken(bytes: &Bytes, at: u64, wanted: &mut VecDeque<Range<u64>>) -> VecDeque<Bytes> {
    let end = at + bytes.len() as u64;
    let mut taken = VecDeque::new();
    while let Some(run) = wanted.front() {
        let (from, to) = (run.start.max(at), run.end.min(end));
        if from < to {
            taken.push_back(bytes.slice((from - at) as usize..(to - at) as usize));
        }
        if run.end > end {
            break;
        }
        wanted.pop_front();
    }
    taken
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

impl<R: Bodies> Body for SegmentBody<R> {
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
                Some(Current::Runs {
                    body,
                    at,
                    wanted,
                    ready,
                }) => match ready.pop_front() {
                    Some(bytes) => Some(bytes),
                    None => match ready!(Pin::new(body).poll_frame(cx)) {
                        Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                        Some(Ok(frame)) => {
                            if let Ok(data) = frame.into_data() {
                                *ready = taken(&data, *at, wanted);
                                *at += data.len() as u64;
                            }
                            None
                        }
                        None => {
                            self.current = None;
                            None
                        }
                    },
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
    fn of_what_is_read_the_runs_are_taken() {
        let object: Vec<u8> = (0..=255).collect();
        let runs = [10u64..20, 20..31, 40..41, 90..200];
        let wanted: Vec<u8> = runs.iter().cloned().flatten().map(|at| at as u8).collect();
        for step in [1, 7, 64, 256] {
            let mut left = VecDeque::from(runs.clone());
            let mut out = Vec::new();
            for (number, chunk) in object[10..200].chunks(step).enumerate() {
                let at = 10 + (number * step) as u64;
                for bytes in taken(&Bytes::copy_from_slice(chunk), at, &mut left) {
                    out.extend_from_slice(&bytes);
                }
            }
            assert_eq!(out, wanted, "{step}");
            assert!(left.is_empty(), "{step}");
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
