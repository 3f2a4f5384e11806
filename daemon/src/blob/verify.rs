//! Comparing a file with its sums.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::BlobError;
use super::held::Held;
use super::room::{Blobs, Room, blocking};
use super::sums::{SUM_BYTES, block_sum};
use crate::kernel::BlobId;
use crate::kernel::limits::SUM_BLOCK_BYTES;

/// Blocks read by one trip to the idle thread, after which the walk can be stopped.
const STEP_BLOCKS: u64 = 16;
/// Damaged blocks that are named; a file with more is beyond counting.
pub(super) const DAMAGED_BLOCKS_MAX: usize = 1024;
/// What direct reads want of addresses, offsets and lengths (open(2), `O_DIRECT`).
const ALIGN: usize = 4096;

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

/// A file opened to be examined, past the page cache where the file system allows it: what the disk holds is the question, and nobody's cached pages are pushed out by it.
#[derive(Debug)]
pub struct Inspection {
    room: Arc<Room>,
    id: BlobId,
    file: Arc<File>,
    size: u64,
    set_aside: bool,
}

impl Blobs {
    /// Opens a file for examination, be it in its place or set aside.
    ///
    /// # Errors
    /// [`BlobError::Missing`] when it is in neither.
    pub async fn inspect(&self, id: BlobId) -> Result<Inspection, BlobError> {
        Self::inspect_in(self.room_of(id).await?, id).await
    }

    /// The same in one room.
    pub(super) async fn inspect_in(room: Arc<Room>, id: BlobId) -> Result<Inspection, BlobError> {
        blocking("opening a file", move || {
            let error = |e: io::Error| room.file_error("opening a file", id, e);
            let (file, set_aside) = match open(&room.path_of(id)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    (open(&room.aside(id)).map_err(error)?, true)
                }
                opened => (opened.map_err(error)?, false),
            };
            Ok(Inspection {
                id,
                size: file.metadata().map_err(error)?.len(),
                file: Arc::new(file),
                set_aside,
                room: Arc::clone(&room),
            })
        })
        .await
    }
}

impl Inspection {
    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether it was found damaged before.
    pub fn is_set_aside(&self) -> bool {
        self.set_aside
    }

    /// Numbers of the blocks among `blocks` of a blob of `size` bytes that differ from their sums, cannot be read, or lie behind the end of the file.
    pub async fn compare(
        &self,
        size: u64,
        sums: &Arc<[[u8; SUM_BYTES]]>,
        blocks: std::ops::Range<u64>,
    ) -> Result<Vec<u64>, BlobError> {
        let (room, file, sums) = (Arc::clone(&self.room), Arc::clone(&self.file), sums.clone());
        let work = move || {
            compare(&file, size, &sums, blocks).map_err(|e| room.error("verifying a file", e))
        };
        self.room.idle.run("verifying a file", work).await
    }

    /// Compares the whole file.
    pub(super) async fn verify(&self, size: u64, sums: &[u8]) -> Result<Verdict, BlobError> {
        if self.size != size {
            return Ok(Verdict::WrongSize { size: self.size });
        }
        let sums: Arc<[[u8; SUM_BYTES]]> = sums.as_chunks().0.into();
        let total = size.div_ceil(SUM_BLOCK_BYTES);
        let mut blocks = Vec::new();
        let mut next = 0;
        while next < total && blocks.len() < DAMAGED_BLOCKS_MAX {
            let step = next..(next + STEP_BLOCKS).min(total);
            next = step.end;
            blocks.extend(self.compare(size, &sums, step).await?);
        }
        blocks.truncate(DAMAGED_BLOCKS_MAX);
        Ok(if blocks.is_empty() {
            Verdict::Whole
        } else {
            Verdict::Damaged { blocks }
        })
    }

    /// Copies the first `size` bytes into a new file of the id `to` in another room, synced, and compares them on the way.
    pub(super) async fn copy(
        &self,
        room: &Arc<Room>,
        to: BlobId,
        size: u64,
        sums: Arc<[[u8; SUM_BYTES]]>,
    ) -> Result<Held, BlobError> {
        let (room, file, id) = (Arc::clone(room), Arc::clone(&self.file), self.id);
        let work = move || {
            let error = |e: io::Error| room.error("copying a file", e);
            room.admit(size)?;
            let held = Held::create(&room.tmp, to, &room.tracker).map_err(error)?;
            let mut buffer = Aligned::new();
            for block in 0..size.div_ceil(SUM_BLOCK_BYTES) {
                let at = block * SUM_BLOCK_BYTES;
                let len = (size - at).min(SUM_BLOCK_BYTES) as usize;
                let damaged = || BlobError::Damaged { id, block };
                let bytes = match buffer.read(&file, at, len) {
                    Err(e) if unreadable(&e) => return Err(damaged()),
                    read => read.map_err(error)?,
                };
                if sums.get(block as usize).copied() != block_sum(block, bytes) {
                    return Err(damaged());
                }
                held.file.write_all_at(bytes, at).map_err(error)?;
            }
            held.file.sync_all().map_err(error)?;
            Ok(held)
        };
        self.room.idle.run("copying a file", work).await
    }
}

/// Opens past the page cache; some file systems cannot.
fn open(path: &Path) -> io::Result<File> {
    let direct = File::options()
        .read(true)
        .custom_flags(OFlags::DIRECT.bits().cast_signed())
        .open(path);
    match direct {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => File::open(path),
        opened => opened,
    }
}

/// One block of memory at an address that direct reads accept.
struct Aligned {
    memory: Vec<u8>,
    from: usize,
}

impl Aligned {
    fn new() -> Self {
        let memory = vec![0; SUM_BLOCK_BYTES as usize + ALIGN];
        // Of bytes the distance is always known; if it were not, the read would say so and go the other way.
        let from = memory.as_ptr().align_offset(ALIGN).min(ALIGN);
        Self { memory, from }
    }

    /// `len` bytes of the file, at most a block; `at` is the start of a block.
    fn read(&mut self, file: &File, at: u64, len: usize) -> io::Result<&[u8]> {
        let space = &mut self.memory[self.from..];
        let room = len.next_multiple_of(ALIGN).min(SUM_BLOCK_BYTES as usize);
        let mut done = 0;
        while done < len {
            match file.read_at(&mut space[done..room], at + done as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(some) => done += some,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                    // A disk of larger sectors, or a read that was cut at an odd place: by the cache, then.
                    let flags = rustix::fs::fcntl_getfl(file)?;
                    if !flags.contains(OFlags::DIRECT) {
                        return Err(error);
                    }
                    rustix::fs::fcntl_setfl(file, flags - OFlags::DIRECT)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(&space[..len])
    }
}

/// Numbers of the blocks among `blocks` that differ from their sums; a block that the disk cannot read is one of them.
fn compare(
    file: &File,
    size: u64,
    sums: &[[u8; SUM_BYTES]],
    blocks: std::ops::Range<u64>,
) -> io::Result<Vec<u64>> {
    let mut buffer = Aligned::new();
    let mut damaged = Vec::new();
    for number in blocks {
        let at = number * SUM_BLOCK_BYTES;
        let len = size.saturating_sub(at).min(SUM_BLOCK_BYTES) as usize;
        let bytes = match buffer.read(file, at, len) {
            Ok(bytes) => bytes,
            Err(error) if unreadable(&error) => {
                damaged.push(number);
                continue;
            }
            Err(error) => return Err(error),
        };
        let expected = sums.get(number as usize).copied();
        if expected.is_none() || block_sum(number, bytes) != expected {
            damaged.push(number);
        }
    }
    Ok(damaged)
}

/// A medium error, or an end of file where there should be none.
fn unreadable(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
        || matches!(
            Errno::from_io_error(error),
            Some(Errno::IO | Errno::BADMSG | Errno::ILSEQ)
        )
}
