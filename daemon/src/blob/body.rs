//! A range of bytes as an HTTP body.
//!
//! What lies in the page cache is read at once, by the thread that feeds the socket: handing it to another would cost more than the copy.
//! What does not is read by one blocking read, during which the socket's thread serves others.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::{io, io::IoSliceMut};

use bytes::Bytes;
use futures::Stream;
use http_body::{Body, Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

use super::BlobError;
use super::buffer::{BUFFER_BYTES, Buffer};
use super::bypass::{Bypass, RUN_BYTES_MIN};
use super::cipher::FRAME_BYTES;
use super::reader::{BlobReader, Opened, Part};
use crate::kernel::limits::SUM_BLOCK_BYTES;

/// Streams a range of a [`BlobReader`] in pieces of at most 256 KiB; reads nothing that is not asked for.
#[derive(Debug)]
pub struct BlobBody {
    reader: BlobReader,
    /// What is left.
    range: Range<u64>,
    /// Number of the part that `range.start` lies in.
    part: usize,
    /// A read of cold pages, or the opening of a frame, on its way.
    cold: Option<JoinHandle<io::Result<Bytes>>>,
    /// The frame of an encrypted blob that is being sent.
    opened: Option<Opened>,
    /// The way past this process, where whoever sends the body has one.
    bypass: Option<Bypass>,
}

impl BlobBody {
    pub(super) fn new(reader: &BlobReader, range: Range<u64>) -> Self {
        Self {
            reader: reader.clone(),
            part: reader
                .parts
                .partition_point(|part| part.span.end <= range.start),
            range,
            cold: None,
            opened: None,
            bypass: None,
        }
    }

    /// Lets bytes go past this process; only for the connection whose way it is.
    #[must_use]
    pub fn past(mut self, bypass: Option<&Bypass>) -> Self {
        self.bypass = bypass.cloned();
        self
    }

    /// Bytes still to come.
    pub fn remaining(&self) -> u64 {
        self.range.end - self.range.start
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
        self.range.start += piece.len() as u64;
        if let Some(part) = self.reader.parts.get(self.part)
            && self.range.start >= part.span.end
        {
            self.part += 1;
        }
        piece
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
        self.range.start = self.range.end;
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
                        this.range.start = this.range.end;
                        return Poll::Ready(Some(Err(BlobError::Damaged { id, block })));
                    }
                    len = good as usize;
                }
                if let Some(bypass) = &this.bypass
                    && len >= RUN_BYTES_MIN
                    && is_cached(&part.file, at, len)
                {
                    let stand_in = bypass.put(&part.file, at, len);
                    return Poll::Ready(Some(Ok(this.advance(stand_in))));
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
        let Some(cold) = &mut this.cold else {
            return Poll::Ready(None);
        };
        let done = ready!(Pin::new(cold).poll(cx));
        this.cold = None;
        Poll::Ready(Some(match done {
            Ok(Ok(bytes)) => Ok(this.arrived(bytes)),
            Ok(Err(error)) => Err(this.fail(error)),
            Err(_) => Err(this.fail(io::Error::other("the daemon is ending"))),
        }))
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

/// Reads what is in the page cache; `None` when nothing is, or when the file system cannot tell (preadv2(2), `RWF_NOWAIT`).
fn read_cached(file: &File, space: &mut [u8], at: u64) -> io::Result<Option<usize>> {
    let mut slices = [IoSliceMut::new(space)];
    match rustix::io::preadv2(file, &mut slices, at, ReadWriteFlags::NOWAIT) {
        // The end of the file is for the blocking read to find: some file systems answer 0 where they mean "not now".
        Ok(0) | Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(None),
        Ok(len) => Ok(Some(len)),
        Err(error) => Err(error.into()),
    }
}

/// Whether sending these bytes will most likely wait for no disk: their first and last are in the page cache, and what lies
/// between came and goes with them.
fn is_cached(file: &File, at: u64, len: usize) -> bool {
    [at, at + len as u64 - 1]
        .into_iter()
        .all(|at| matches!(read_cached(file, &mut [0], at), Ok(Some(1))))
}

/// Fills the buffer, whatever it takes.
fn read_cold(file: &File, mut buffer: Buffer, at: u64) -> io::Result<Bytes> {
    let space = buffer.space();
    let len = space.len();
    file.read_exact_at(space, at)?;
    Ok(buffer.into_bytes(len))
}
