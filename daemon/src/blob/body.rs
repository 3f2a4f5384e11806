//! A range of bytes as an HTTP body.
//!
//! What lies in the page cache is read at once, by the thread that feeds the socket: handing it to another would cost more than the copy.
//! What does not is read by one blocking read, during which the socket's thread serves others.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::Stream;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinHandle;

use super::BlobError;
use super::buffer::{BUFFER_BYTES, Buffer};
use super::bypass::{Bypass, RUN_BYTES_MIN, STAND_IN_BYTES_MAX};
use super::cached::read_cached;
use super::cipher::FRAME_BYTES;
use super::gather::{Batch, GAP_BYTES_MAX, RUNS_MAX};
use super::reader::{BlobReader, Opened, Part};
use crate::kernel::limits::SUM_BLOCK_BYTES;

/// Streams a range of a [`BlobReader`] in pieces of at most 256 KiB; reads nothing that is not asked for.
#[derive(Debug)]
pub struct BlobBody {
    reader: BlobReader,
    /// What is left of the run that is being read.
    range: Range<u64>,
    /// The runs behind it, none of them empty, and the bytes of all of them.
    further: VecDeque<Range<u64>>,
    further_bytes: u64,
    /// Number of the part that `range.start` lies in.
    part: usize,
    /// A read of cold pages, or the opening of a frame, on its way.
    cold: Option<JoinHandle<io::Result<Bytes>>>,
    /// The frame of an encrypted blob that is being sent.
    opened: Option<Opened>,
    /// The way past this process, where whoever sends the body has one.
    bypass: Option<Bypass>,
    /// The byte after the last that was found in the page cache, of the whole and in the same part.
    cached_to: Option<u64>,
}

impl BlobBody {
    pub(super) fn new(reader: &BlobReader, range: Range<u64>) -> Self {
        Self {
            reader: reader.clone(),
            part: reader
                .parts
                .partition_point(|part| part.span.end <= range.start),
            range,
            further: VecDeque::new(),
            further_bytes: 0,
            cold: None,
            opened: None,
            bypass: None,
            cached_to: None,
        }
    }

    /// Goes on with further runs.
    pub(super) fn then(mut self, runs: impl Iterator<Item = Range<u64>>) -> Self {
        self.further = runs.filter(|run| !run.is_empty()).collect();
        let bytes = self.further.iter().map(|run| run.end - run.start);
        self.further_bytes = bytes.sum();
        self.settle();
        self
    }

    /// Lets bytes go past this process; only for the connection whose way it is.
    #[must_use]
    pub fn past(mut self, bypass: Option<&Bypass>) -> Self {
        self.bypass = bypass.cloned();
        self
    }

    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.range.end - self.range.start + self.further_bytes
    }

    /// The part to read from, where in its file, and how much.
    fn next_read(&self) -> Option<(&Part, u64, usize)> {
        let part = self.reader.parts.get(self.part)?;
        let at = part.offset + (self.range.start - part.span.start);
        let mut len = self.range.end.min(part.span.end) - self.range.start;
        if part.frames.is_some() {
            len = len.min(FRAME_BYTES - at % FRAME_BYTES);
        }
        Some((part, at, len.min(BUFFER_BYTES as u64) as usize))
    }

    /// Counts a piece as read.
    fn advance(&mut self, piece: Bytes) -> Bytes {
        let mut left = piece.len() as u64;
        loop {
            let step = left.min(self.range.end - self.range.start);
            self.range.start += step;
            left -= step;
            self.settle();
            if left == 0 || self.range.is_empty() {
                return piece;
            }
        }
    }

    /// Goes on to the next run where one is done, and to the part that it begins in.
    fn settle(&mut self) {
        if self.range.is_empty()
            && let Some(next) = self.further.pop_front()
        {
            self.further_bytes -= next.end - next.start;
            self.range = next;
        }
        let at = self.range.start;
        let parts = &self.reader.parts;
        let here = parts.get(self.part);
        if here.is_none_or(|part| !part.span.contains(&at)) {
            self.part = parts.partition_point(|part| part.span.end <= at);
            self.cached_to = None;
        }
    }

    /// Nothing more is given.
    fn end(&mut self) {
        self.range.start = self.range.end;
        self.further.clear();
        self.further_bytes = 0;
    }

    /// What can go past this process in one go, at most so many bytes: runs of this part, each of them long and in the page cache.
    fn passing(&self, part: &Part, most: u64) -> VecDeque<Range<u64>> {
        let mut passing = VecDeque::new();
        let (mut left, mut cached_to) = (most, self.cached_to);
        let reach = part.residency.reach();
        let mut looked = 0..0;
        for run in std::iter::once(&self.range).chain(&self.further) {
            let end = run.end.min(part.span.end).min(run.start + left);
            if run.start < part.span.start || end < run.start + RUN_BYTES_MIN as u64 {
                break;
            }
            let mut at = run.start;
            while at < end {
                let far = (at + reach).min(part.span.end);
                let to = end.min(far);
                if at < looked.start || to > looked.end {
                    // One look for all runs within its reach.
                    let ends = self.further.iter().take(RUNS_MAX).map(|run| run.end);
                    let last = ends.take_while(|end| *end <= far).last();
                    let gap = cached_to.and_then(|to| at.checked_sub(to));
                    let follows = gap.is_some_and(|gap| gap <= GAP_BYTES_MAX);
                    looked = at..last.map_or(to, |last| last.max(to));
                    let there = part.in_file(looked.clone());
                    if !part.residency.is_cached(&part.file, there, follows) {
                        break;
                    }
                }
                at = to;
                cached_to = Some(at);
            }
            if at > run.start {
                passing.push_back(run.start..at);
                left -= at - run.start;
            }
            if at < run.end {
                break;
            }
        }
        passing
    }

    /// Runs of the same part that are read together with this one, in its file.
    fn batch(&self, part: &Part) -> Option<Batch> {
        if self.further.is_empty() || part.damage.is_some() {
            return None;
        }
        let near = self
            .further
            .iter()
            .take_while(|run| part.span.start <= run.start && run.end <= part.span.end);
        let near: VecDeque<Range<u64>> = near
            .take(RUNS_MAX)
            .map(|run| part.in_file(run.clone()))
            .collect();
        let first = part.in_file(self.range.start..self.range.end.min(part.span.end));
        let end = part.offset + (part.span.end - part.span.start);
        Batch::of(&self.reader.room.buffers, first, &near, end)
    }

    /// The next piece of an encrypted part, when its frame is open.
    fn opened_piece(&mut self, at: u64, len: usize) -> Option<Bytes> {
        let frame = at / FRAME_BYTES;
        let part = self.part;
        let is = |opened: &Opened| opened.part == part && opened.frame == frame;
        if !self.opened.as_ref().is_some_and(is) {
            self.opened = self.reader.recent(part, frame);
        }
        let bytes = &self.opened.as_ref()?.bytes;
        let from = (at - frame * FRAME_BYTES) as usize;
        Some(bytes.slice(from.min(bytes.len())..(from + len).min(bytes.len())))
    }

    /// What came of a read: a piece, or the frame that the next piece lies in.
    fn arrived(&mut self, bytes: Bytes) -> Bytes {
        let encrypted = self
            .next_read()
            .filter(|(part, ..)| part.frames.is_some())
            .map(|(_, at, len)| (at, len));
        let Some((at, len)) = encrypted else {
            return self.advance(bytes);
        };
        let opened = Opened {
            part: self.part,
            frame: at / FRAME_BYTES,
            bytes,
        };
        self.reader.remember(&opened);
        self.opened = Some(opened);
        let piece = self.opened_piece(at, len).unwrap_or_default();
        self.advance(piece)
    }

    /// What comes of a read on its way.
    fn poll_cold(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BlobError>>> {
        let Some(cold) = &mut self.cold else {
            return Poll::Ready(None);
        };
        let done = ready!(Pin::new(cold).poll(cx));
        self.cold = None;
        Poll::Ready(Some(match done {
            Ok(Ok(bytes)) => Ok(self.arrived(bytes)),
            Ok(Err(error)) => Err(self.fail(error)),
            Err(_) => Err(self.fail(io::Error::other("the daemon is ending"))),
        }))
    }

    /// The failure that ends the body.
    fn fail(&mut self, error: io::Error) -> BlobError {
        let room = self.next_read().map(|(part, ..)| Arc::clone(&part.room));
        let known = self
            .next_read()
            .and_then(|(part, at, len)| match error.kind() {
                io::ErrorKind::UnexpectedEof => Some(BlobError::Short {
                    id: part.id,
                    size: part.file.metadata().map_or(at, |meta| meta.len()),
                    wanted: at + len as u64,
                }),
                io::ErrorKind::InvalidData => Some(BlobError::Damaged {
                    id: part.id,
                    block: at / FRAME_BYTES,
                }),
                _ => None,
            });
        self.end();
        match known {
            Some(known) => known,
            None => room
                .as_ref()
                .unwrap_or(&self.reader.room)
                .error("reading a file", error),
        }
    }
}

impl Stream for BlobBody {
    type Item = Result<Bytes, BlobError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.remaining() == 0 {
            return Poll::Ready(None);
        }
        if this.cold.is_none() {
            let Some((part, at, mut len)) = this.next_read() else {
                return Poll::Ready(None);
            };
            if let Some(frames) = &part.frames {
                // A damaged frame does not open.
                let frames = Arc::clone(frames);
                if let Some(piece) = this.opened_piece(at, len) {
                    return Poll::Ready(Some(Ok(this.advance(piece))));
                }
                this.reader.room.foreground.fetch_add(1, Ordering::Relaxed);
                let open = move || frames.read(at / FRAME_BYTES);
                this.cold = Some(tokio::task::spawn_blocking(open));
            } else {
                if let Some(block) = part.first_damaged(at..at + len as u64) {
                    let good = (block * SUM_BLOCK_BYTES).saturating_sub(at);
                    if good == 0 {
                        let id = part.id;
                        this.end();
                        return Poll::Ready(Some(Err(BlobError::Damaged { id, block })));
                    }
                    len = good as usize;
                }
                if let Some(batch) = this.batch(part) {
                    match batch.cached(&part.file) {
                        Ok(Ok(piece)) => return Poll::Ready(Some(Ok(this.advance(piece)))),
                        Ok(Err(batch)) => {
                            this.reader.room.foreground.fetch_add(1, Ordering::Relaxed);
                            let file = Arc::clone(&part.file);
                            this.cold =
                                Some(tokio::task::spawn_blocking(move || batch.cold(&file)));
                            return this.poll_cold(cx);
                        }
                        Err(error) => return Poll::Ready(Some(Err(this.fail(error)))),
                    }
                }
                if let Some(bypass) = &this.bypass {
                    let most = match part.damage {
                        Some(_) => len,
                        None => STAND_IN_BYTES_MAX,
                    };
                    let passing = this.passing(part, most as u64);
                    if let Some(last) = passing.back() {
                        let cached_to = last.end;
                        let in_file = |run| part.in_file(run);
                        let runs = passing.into_iter().map(in_file).collect();
                        let stand_in = bypass.put(&part.file, runs);
                        this.cached_to = Some(cached_to);
                        return Poll::Ready(Some(Ok(this.advance(stand_in))));
                    }
                }
                let mut buffer = this.reader.room.buffers.take(len);
                match read_cached(&part.file, buffer.space(), at) {
                    Ok(Some(len)) => {
                        return Poll::Ready(Some(Ok(this.advance(buffer.into_bytes(len)))));
                    }
                    Ok(None) => {
                        this.reader.room.foreground.fetch_add(1, Ordering::Relaxed);
                        let file = Arc::clone(&part.file);
                        let read = move || read_cold(&file, buffer, at);
                        this.cold = Some(tokio::task::spawn_blocking(read));
                    }
                    Err(error) => return Poll::Ready(Some(Err(this.fail(error)))),
                }
            }
        }
        this.poll_cold(cx)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let pieces = self.remaining().div_ceil(BUFFER_BYTES as u64);
        (usize::try_from(pieces).unwrap_or(usize::MAX), None)
    }
}

impl Body for BlobBody {
    type Data = Bytes;
    type Error = BlobError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BlobError>>> {
        self.poll_next(cx)
            .map(|next| next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining())
    }
}

/// Fills the buffer, whatever it takes.
fn read_cold(file: &File, mut buffer: Buffer, at: u64) -> io::Result<Bytes> {
    let space = buffer.space();
    let len = space.len();
    file.read_exact_at(space, at)?;
    Ok(buffer.into_bytes(len))
}
