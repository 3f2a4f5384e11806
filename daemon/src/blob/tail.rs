//! The growing end of an upload's file: small pieces are gathered to blocks before they are written.
//!
//! A piece is a view into what the connection read, however little of that it is, and keeps all of it in memory as long as it waits.
//! So pieces are copied into blocks of a bounded stock, and the connection reads into the same memory again.
//! A copy within the processor's cache is cheaper than what it saves: fresh memory for each read, and sums over pieces of odd lengths at odd places, while blocks end where those of the sums do.

use std::fs::File;
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use tokio_util::task::TaskTracker;

use super::BlobError;
use super::buffer::{BLOCK_BYTES, Buffer, Buffers};
use super::lane::{Lane, Lanes, OnDrop};
use super::write::FileSink;

/// Gathers and writes; dropping it still writes what it took.
#[derive(Debug)]
pub(super) struct Tail {
    lane: Lane<FileSink<Arc<File>>>,
    blocks: Arc<Buffers>,
    block: Option<Block>,
    /// Bytes from the beginning of what is summed to the end of what was taken.
    size: u64,
}

/// A block that is being filled.
#[derive(Debug)]
struct Block {
    buffer: Buffer,
    filled: usize,
}

impl Tail {
    pub(super) fn new(
        blocks: &Arc<Buffers>,
        lanes: &Lanes,
        sink: FileSink<Arc<File>>,
        tracker: TaskTracker,
    ) -> Self {
        Self {
            blocks: Arc::clone(blocks),
            block: None,
            size: sink.summer.size(),
            lane: Lane::new(lanes, sink, tracker, OnDrop::Finish),
        }
    }

    /// Takes the next bytes, waiting while the disk is behind.
    pub(super) async fn write(&mut self, mut piece: Bytes) -> Result<(), BlobError> {
        while !piece.is_empty() {
            let mut block = self.block.take().unwrap_or_else(|| {
                // As far as the next place where blocks end.
                let room = BLOCK_BYTES - (self.size % BLOCK_BYTES as u64) as usize;
                Block {
                    buffer: self.blocks.take(room),
                    filled: 0,
                }
            });
            let space = &mut block.buffer.space()[block.filled..];
            let len = piece.len().min(space.len());
            piece.copy_to_slice(&mut space[..len]);
            let is_full = len == space.len();
            block.filled += len;
            self.size += len as u64;
            if is_full {
                self.lane.push(block.into_bytes()).await?;
            } else {
                self.block = Some(block);
            }
        }
        Ok(())
    }

    /// Has what was taken written, be it little: nothing more comes at the moment.
    pub(super) fn nudge(&mut self) {
        let block = self.block.take();
        self.lane
            .nudge(block.map_or_else(Bytes::new, Block::into_bytes));
    }

    /// Waits until all that was taken is written, then lends the sink to `look`.
    pub(super) async fn idle<T>(
        &mut self,
        look: impl FnOnce(&mut Option<FileSink<Arc<File>>>) -> T,
    ) -> Result<T, BlobError> {
        self.nudge();
        self.lane.idle(look).await
    }

    /// Waits until all that was taken is written, and takes the sink back.
    pub(super) async fn close(mut self) -> Result<FileSink<Arc<File>>, BlobError> {
        self.idle(Option::take)
            .await?
            .ok_or_else(|| BlobError::lost("writing"))
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.nudge();
    }
}

impl Block {
    fn into_bytes(self) -> Bytes {
        self.buffer.into_bytes(self.filled)
    }
}
