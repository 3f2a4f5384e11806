//! A piece of the source as a request body: read ahead on a blocking thread, hashed on the way.

use super::source::{READ_BYTES, Source};
use bytes::Bytes;
use futures::Stream;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::mpsc;

/// How many reads wait for the network.
const READ_AHEAD: usize = 4;

/// How much of a body the network took.
#[derive(Debug, Clone, Default)]
pub(super) struct Taken(Arc<AtomicU64>);

impl Taken {
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The content from `offset` on, `length` bytes, and a count of what was taken of it.
pub(super) fn body(
    source: &Source,
    offset: u64,
    length: u64,
) -> (
    impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    Taken,
) {
    let (send, receive) = mpsc::channel(READ_AHEAD);
    let reader = source.clone();
    // Ends by itself when the request, and with it the receiver, is dropped.
    tokio::task::spawn_blocking(move || read(&reader, offset, length, &send));
    let taken = Taken::default();
    let count = taken.clone();
    let stream = futures::stream::unfold((receive, count), |(mut receive, count)| async move {
        let piece: io::Result<Bytes> = receive.recv().await?;
        if let Ok(piece) = &piece {
            count.0.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        Some((piece, (receive, count)))
    });
    (stream, taken)
}

fn read(source: &Source, offset: u64, length: u64, send: &mpsc::Sender<io::Result<Bytes>>) {
    let mut at = offset;
    let end = offset + length;
    while at < end {
        let take = usize::try_from(end - at).map_or(READ_BYTES, |left| left.min(READ_BYTES));
        let mut piece = vec![0; take];
        let read = source.read_exact_at(&mut piece, at);
        if read.is_ok() {
            source.absorb(&piece, at);
        }
        let failed = read.is_err();
        if send.blocking_send(read.map(|()| piece.into())).is_err() || failed {
            return;
        }
        at += take as u64;
    }
}
