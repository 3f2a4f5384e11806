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

    /// Takes the next bytes, waiting while the disk is behind; a caller that gives up loses nothing of what it gave before.
    pub(super) async fn write(&mut self, mut piece: Bytes) -> Result<(), BlobError> {
        loop {
            if self.block.as_ref().is_some_and(Block::is_full) {
                // The block stays here until there is room for it.
                self.lane.room().await?;
                self.hand_on();
            }
            if piece.is_empty() {
                return Ok(());
            }
            let block = match &mut self.block {
                Some(block) => block,
                None => {
                    // As far as the next place where blocks end.
                    let room = BLOCK_BYTES - (self.size % BLOCK_BYTES as u64) as usize;
                    let buffer = match self.blocks.try_take(room) {
                        Some(buffer) => buffer,
                        // Some of those that are lent are our own, and on their way back.
                        None if self.lane.less().await? => continue,
                        None => self.blocks.take(room),
                    };
                    self.block.insert(Block { buffer, filled: 0 })
                }
            };
            self.size += block.fill(&mut piece) as u64;
        }
    }

    /// Has what was taken written, be it little: nothing more comes at the moment.
    pub(super) fn nudge(&mut self) {
        self.hand_on();
        self.lane.nudge();
    }

    fn hand_on(&mut self) {
        if let Some(block) = self.block.take() {
            self.lane.queue(block.into_bytes());
        }
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
    fn is_full(&self) -> bool {
        self.filled == self.buffer.as_ref().len()
    }

    /// Takes of a piece what there is space for, and says how much that is.
    fn fill(&mut self, piece: &mut Bytes) -> usize {
        let space = &mut self.buffer.space()[self.filled..];
        let len = piece.len().min(space.len());
        piece.copy_to_slice(&mut space[..len]);
        self.filled += len;
        len
    }

    fn into_bytes(self) -> Bytes {
        self.buffer.into_bytes(self.filled)
    }
}
