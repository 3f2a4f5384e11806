//! A stretch of the source as a request body: read ahead block by block on a blocking thread, hashed and noted before it is sent.

use super::{source::Source, state::Notes};
use crate::{Error, sums};
use bytes::Bytes;
use futures::Stream;
use std::{
    io,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::mpsc;

/// How much the network is handed at once.
const PIECE_BYTES: usize = 256 << 10;
/// How many pieces wait for the network; with the block that is read and the one that is sent, a lane holds at most three blocks.
const READ_AHEAD: usize = 4;

/// A count of what the network took.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken(Arc<AtomicU64>);

impl Taken {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Why a body ended early, where the source was the reason.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<Error>>>);

impl Failure {
    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// The content of a stretch; what is taken of it is counted in both `counts`.
pub(super) fn body(
    source: &Source,
    notes: &Notes,
    stretch: Range<u64>,
    counts: [Taken; 2],
) -> (
    impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    Failure,
) {
    let (send, receive) = mpsc::channel(READ_AHEAD);
    let (source, notes) = (source.clone(), notes.clone());
    let failure = Failure::default();
    let why = failure.clone();
    // Ends by itself when the request, and with it the receiver, is dropped.
    tokio::task::spawn_blocking(move || {
        if let Err(error) = read(&source, &notes, stretch, &send) {
            let said = io::Error::other(error.to_string());
            why.set(error);
            let _ = send.blocking_send(Err(said));
        }
    });
    let stream = futures::stream::unfold((receive, counts), |(mut receive, counts)| async move {
        let piece: io::Result<Bytes> = receive.recv().await?;
        if let Ok(piece) = &piece {
            for count in &counts {
                count.add(piece.len() as u64);
            }
        }
        Some((piece, (receive, counts)))
    });
    (stream, failure)
}

fn read(
    source: &Source,
    notes: &Notes,
    stretch: Range<u64>,
    send: &mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), Error> {
    let size_bytes = source.size_bytes();
    let block_bytes = sums::block_bytes(size_bytes);
    let mut at = stretch.start;
    while at < stretch.end {
        let block = usize::try_from(at / block_bytes).unwrap_or(usize::MAX);
        let (content, sum) = source.read_block(block)?;
        // Before the first byte of it is sent: then whatever the node may have got is known here.
        notes.sum(block, sum)?;
        let range = sums::block_range(size_bytes, block);
        let from = usize::try_from(at - range.start).unwrap_or(usize::MAX);
        let to = range.end.min(stretch.end);
        let mut rest = Bytes::from(content);
        rest.truncate(usize::try_from(to - range.start).unwrap_or(usize::MAX));
        let mut rest = rest.split_off(from.min(rest.len()));
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE_BYTES));
            if rest.is_empty() && to == stretch.end {
                // Before the node can have all of it: what was read until now is of one state of the file.
                source.see_unchanged()?;
            }
            if send.blocking_send(Ok(piece)).is_err() {
                return Ok(());
            }
        }
        at = to;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use futures::StreamExt as _;

    #[tokio::test]
    async fn a_change_in_the_middle_of_a_body_keeps_its_end_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("film");
        std::fs::write(&path, vec![1; 4_000_000]).unwrap();
        let source = Source::open(&path).await.unwrap();
        let counts = [Taken::default(), Taken::default()];
        let (stream, failure) = body(&source, &Notes::default(), 0..4_000_000, counts.clone());
        let mut stream = std::pin::pin!(stream);
        // Only a few pieces are read ahead.
        stream.next().await.unwrap().unwrap();
        std::fs::write(&path, vec![2; 4_000_000]).unwrap();
        let last = loop {
            match stream.next().await {
                Some(Ok(_)) => {}
                end => break end,
            }
        };
        assert!(last.unwrap().is_err(), "the body breaks off");
        assert!(counts[0].bytes() < 4_000_000);
        assert!(matches!(failure.take(), Some(Error::SourceChanged { .. })));
    }
}
