//! A cursor over an upload that arrives, and the body made of it.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::{Arriving, LOOK_EVERY, Piece, Reach, SILENCE_MAX, Seen};
use crate::blob::Slice;
use crate::store::{Object, ObjectReader, StoreError};

/// Reads an upload while it arrives; keeps to the files it began with. Copies count as one reader.
#[derive(Clone)]
pub struct ArrivingReader {
    pub(super) of: Arriving,
    pub(super) pieces: Vec<Piece>,
    pub(super) object: Option<(Box<Object>, ObjectReader)>,
    pub(super) _permit: Arc<OwnedSemaphorePermit>,
}

impl ArrivingReader {
    /// The upload.
    pub fn arriving(&self) -> &Arriving {
        &self.of
    }

    /// Where the bytes end that are there from `at` on, waiting until `deadline` for the first of them.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn reach(&mut self, at: u64, deadline: Instant) -> Result<Reach, StoreError> {
        let of = Arc::clone(&self.of.0);
        let arrivals = &of.store.0.arrivals;
        let mut changed = arrivals.changed.subscribe();
        let mut is_looked = false;
        loop {
            changed.mark_unchanged();
            if let Some((object, _)) = &self.object {
                return Ok(Reach::Finished(object.clone()));
            }
            let (end, mut live) = self.there(at);
            if end > at {
                return Ok(Reach::Until(end));
            }
            if !is_looked {
                is_looked = true;
                match of.look().await? {
                    Seen::Gone => return Ok(Reach::Gone),
                    Seen::Finished(object, ended_ms) => {
                        let pieces = &self.pieces;
                        if !of.continues(&object, ended_ms, pieces, at).await? {
                            return Ok(Reach::Gone);
                        }
                        let reader = of.store.reader(&object).await?;
                        self.object = Some((object, reader));
                    }
                    Seen::Open { pieces } => {
                        // A part that was replaced: what was read before is not what will be the object.
                        let same = |(old, new): (&Piece, &Piece)| old.slice.blob == new.slice.blob;
                        let known = self.pieces.len();
                        if pieces.len() < known || !self.pieces.iter().zip(&pieces).all(same) {
                            return Ok(Reach::Gone);
                        }
                        self.pieces = pieces;
                    }
                }
                continue;
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(Reach::Until(at));
            }
            tokio::select! {
                _ = changed.changed() => is_looked = false,
                () = more(live.as_mut()) => {}
                () = tokio::time::sleep_until(deadline.min(now + LOOK_EVERY)) => is_looked = false,
            }
        }
    }

    /// Where the bytes end that are known to be there from the first on.
    pub fn front(&mut self) -> u64 {
        self.there(0).0
    }

    /// Where the bytes end that are known to be there from `at` on, and what tells of more at that end.
    fn there(&mut self, at: u64) -> (u64, Option<watch::Receiver<u64>>) {
        let arrivals = &self.of.0.store.0.arrivals;
        let mut end = at;
        let mut live = None;
        for piece in &mut self.pieces {
            let full = piece.full.map(|full| piece.start.saturating_add(full));
            if full.is_some_and(|full| full <= end) {
                continue;
            }
            if piece.start > end {
                break;
            }
            live = piece.upload.and_then(|id| arrivals.of(id));
            if let Some(live) = &mut live {
                let written = *live.borrow_and_update();
                piece.slice.length = piece.slice.length.max(written);
            }
            end = end.max(piece.end());
            if !piece.is_whole() {
                break;
            }
        }
        (end, live)
    }

    /// Bytes from `range`, at least one and at most a piece of a few hundred kilobytes, waiting for the first until `deadline`; none when it did not come.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`] when the upload went away; those of the disk.
    pub async fn read(
        &mut self,
        range: Range<u64>,
        deadline: Instant,
    ) -> Result<Bytes, StoreError> {
        const PIECE_BYTES: u64 = 256 << 10;
        let range = range.start..range.end.min(range.start + PIECE_BYTES);
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        match self.reach(range.start, deadline).await? {
            Reach::Gone => Err(StoreError::NoSuchUpload(self.of.0.id.to_string())),
            Reach::Finished(_) => {
                let Some((object, reader)) = &self.object else {
                    return Err(StoreError::NoSuchUpload(self.of.0.id.to_string()));
                };
                reader.read(range.start..range.end.min(object.size)).await
            }
            Reach::Until(end) => {
                let end = end.min(range.end);
                let Some(piece) = self
                    .pieces
                    .iter()
                    .find(|piece| piece.start <= range.start && piece.end() > range.start)
                else {
                    return Ok(Bytes::new());
                };
                let slice = Slice {
                    offset: piece.slice.offset + (range.start - piece.start),
                    length: end.min(piece.end()) - range.start,
                    ..piece.slice
                };
                let inner = &self.of.0;
                let reader = inner
                    .store
                    .0
                    .blobs
                    .reader_with(vec![slice], inner.data.as_ref())
                    .await?;
                Ok(reader.read_all().await?)
            }
        }
    }

    /// A body of the bytes in `range`, each waited for; it breaks off when one does not come within half a minute or the upload goes away.
    ///
    /// Without an end it ends with the upload.
    pub fn body(self, start: u64, end: Option<u64>) -> ArrivingBody {
        let pieces = futures::stream::unfold(Some((self, start)), move |state| async move {
            let (mut reader, at) = state?;
            if end.is_some_and(|end| at >= end) {
                return None;
            }
            match reader.next(at, end).await {
                Ok(Some(bytes)) => {
                    let next = at + bytes.len() as u64;
                    Some((Ok(bytes), Some((reader, next))))
                }
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        ArrivingBody {
            pieces: pieces.boxed(),
            left: end.map(|end| end.saturating_sub(start)),
        }
    }

    /// The next piece of a body; `None` at the end of an upload of unknown length.
    async fn next(&mut self, at: u64, end: Option<u64>) -> Result<Option<Bytes>, StoreError> {
        let deadline = Instant::now() + SILENCE_MAX;
        let upto = match (end, self.reach(at, deadline).await?) {
            (Some(end), _) => end,
            (None, Reach::Finished(object)) => object.size,
            (None, _) => u64::MAX,
        };
        if at >= upto {
            return Ok(None);
        }
        let bytes = self.read(at..upto, deadline).await?;
        if bytes.is_empty() {
            return Err(StoreError::Unavailable(format!(
                "byte {at} of the upload did not come within {} s",
                SILENCE_MAX.as_secs()
            )));
        }
        Ok(Some(bytes))
    }
}

/// Completes when the session behind wrote more or ended; never without one.
async fn more(live: Option<&mut watch::Receiver<u64>>) {
    match live {
        // A session that ended is told by the count of sessions too; an error must not spin.
        Some(live) => {
            if live.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
        None => std::future::pending().await,
    }
}

/// A response body over an upload that arrives.
pub struct ArrivingBody {
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, StoreError>> + Send>>,
    left: Option<u64>,
}

impl Body for ArrivingBody {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        let next = ready!(self.pieces.poll_next_unpin(cx));
        if let (Some(Ok(bytes)), Some(left)) = (&next, &mut self.left) {
            *left = left.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
