//! Comparing a file with its sums.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::BlobError;
use super::room::{Blobs, Room, blocking};
use super::sums::{SUM_BYTES, block_sum};
use crate::kernel::BlobId;
use crate::kernel::limits::SUM_BLOCK_BYTES;

/// Blocks read by one trip to a blocking thread, after which the walk can be stopped.
const STEP_BLOCKS: u64 = 16;
/// Damaged blocks that are named; a file with more is beyond counting.
pub(super) const DAMAGED_BLOCKS_MAX: usize = 1024;

/// What a check of one blob found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// All bytes are as they were written.
    Whole,
    /// Some are not, or cannot be read.
    Damaged {
        /// Numbers of the damaged blocks of 1 MiB, ascending, the first 1,024.
        blocks: Vec<u64>,
    },
    /// There is no file.
    Missing,
    /// The file has another length.
    WrongSize {
        /// The length it has.
        size: u64,
    },
}

impl Blobs {
    /// Reads a file and compares it with the size and the sums of its row.
    pub async fn verify(&self, id: BlobId, size: u64, sums: &[u8]) -> Result<Verdict, BlobError> {
        let room = Arc::clone(&self.0);
        let opened = blocking("opening a file", move || open(&room, id)).await;
        let (file, found) = match opened {
            Ok(opened) => opened,
            Err(BlobError::Missing { .. }) => return Ok(Verdict::Missing),
            Err(error) => return Err(error),
        };
        if found != size {
            return Ok(Verdict::WrongSize { size: found });
        }
        let total = size.div_ceil(SUM_BLOCK_BYTES);
        let sums: Arc<[[u8; SUM_BYTES]]> = sums.as_chunks().0.into();
        let mut blocks = Vec::new();
        let mut next = 0;
        while next < total && blocks.len() < DAMAGED_BLOCKS_MAX {
            let (room, file, sums) = (Arc::clone(&self.0), Arc::clone(&file), Arc::clone(&sums));
            let step = next..(next + STEP_BLOCKS).min(total);
            next = step.end;
            let damaged = blocking("verifying a file", move || {
                compare(&file, size, &sums, step).map_err(|e| room.error("verifying a file", e))
            });
            blocks.extend(damaged.await?);
        }
        blocks.truncate(DAMAGED_BLOCKS_MAX);
        Ok(if blocks.is_empty() {
            Verdict::Whole
        } else {
            Verdict::Damaged { blocks }
        })
    }
}

fn open(room: &Room, id: BlobId) -> Result<(Arc<File>, u64), BlobError> {
    let error = |e: io::Error| room.file_error("opening a file", id, e);
    let file = File::open(room.path_of(id)).map_err(error)?;
    let size = file.metadata().map_err(error)?.len();
    Ok((Arc::new(file), size))
}

/// Numbers of the blocks among `blocks` that differ from their sums; a block that the disk cannot read is one of them.
fn compare(
    file: &File,
    size: u64,
    sums: &[[u8; SUM_BYTES]],
    blocks: std::ops::Range<u64>,
) -> io::Result<Vec<u64>> {
    let mut buffer = vec![0; SUM_BLOCK_BYTES as usize];
    let mut damaged = Vec::new();
    for number in blocks {
        let at = number * SUM_BLOCK_BYTES;
        let bytes = &mut buffer[..(size - at).min(SUM_BLOCK_BYTES) as usize];
        match file.read_exact_at(bytes, at) {
            Ok(()) => {}
            Err(error) if unreadable(&error) => {
                damaged.push(number);
                continue;
            }
            Err(error) => return Err(error),
        }
        let expected = sums.get(number as usize).copied();
        if expected.is_none() || block_sum(number, bytes) != expected {
            damaged.push(number);
        }
    }
    Ok(damaged)
}

/// A medium error, or an end of file where there was none a moment ago.
fn unreadable(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.kind() == io::ErrorKind::UnexpectedEof
        || matches!(
            Errno::from_io_error(error),
            Some(Errno::IO | Errno::BADMSG | Errno::ILSEQ)
        )
}
