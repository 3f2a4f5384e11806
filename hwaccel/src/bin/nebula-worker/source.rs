//! The object's bytes: an inherited descriptor, or ranges asked of the parent. Never a path.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nebula_hwaccel::protocol::{Failure, INPUT_FD, Input, MAX_READ_BYTES};

use crate::control::Link;
use crate::failure::JobError;

/// Ranges are asked for and kept in blocks of this size.
const BLOCK_BYTES: u64 = MAX_READ_BYTES as u64;
/// So many blocks are kept: enough for a header, a tail and three readers at different places.
const BLOCKS_KEPT: usize = 12;
/// Stands for a length that nobody knows yet.
const UNKNOWN_BYTES: u64 = i64::MAX as u64;

/// Cheap to clone; any thread may read.
#[derive(Clone)]
pub struct Source(Arc<Inner>);

struct Inner {
    bytes: Bytes,
    size: u64,
    read: AtomicU64,
    failed: Mutex<Option<String>>,
    link: Arc<Link>,
}

/// Number and bytes of each block kept, the last used first.
type Blocks = VecDeque<(u64, Arc<Vec<u8>>)>;

enum Bytes {
    None,
    File {
        file: File,
        base: u64,
    },
    Parent {
        blocks: Mutex<Blocks>,
    },
    /// The parent answers with runs of what has arrived, by their first byte.
    Arriving {
        runs: Mutex<Blocks>,
    },
    Memory(Vec<u8>),
}

impl Source {
    pub fn open(input: &Input, link: &Arc<Link>) -> Result<Self, JobError> {
        let (bytes, size) = match input {
            Input::None => (Bytes::None, 0),
            Input::Fd {
                offset_bytes,
                size_bytes,
            } => {
                // SAFETY: fcntl on a number is harmless, whatever it refers to.
                if unsafe { libc::fcntl(INPUT_FD, libc::F_GETFD) } < 0 {
                    return Err(JobError::new(
                        Failure::Read,
                        format!("descriptor {INPUT_FD} is not open"),
                    ));
                }
                // SAFETY: the descriptor is open, was inherited for this purpose, and nobody else here owns it.
                let file = unsafe { File::from_raw_fd(INPUT_FD) };
                (
                    Bytes::File {
                        file,
                        base: *offset_bytes,
                    },
                    *size_bytes,
                )
            }
            Input::Ranges { size_bytes } => (
                Bytes::Parent {
                    blocks: Mutex::default(),
                },
                *size_bytes,
            ),
            Input::Arriving { size_bytes } => (
                Bytes::Arriving {
                    runs: Mutex::default(),
                },
                // Offsets of libav are signed.
                size_bytes.unwrap_or(UNKNOWN_BYTES),
            ),
        };
        let inner = Inner {
            bytes,
            size,
            read: AtomicU64::new(0),
            failed: Mutex::default(),
            link: Arc::clone(link),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// Bytes made of another source's.
    pub fn of_memory(&self, bytes: Vec<u8>) -> Self {
        let size = bytes.len() as u64;
        Self(Arc::new(Inner {
            bytes: Bytes::Memory(bytes),
            size,
            read: AtomicU64::new(0),
            failed: Mutex::default(),
            link: Arc::clone(&self.0.link),
        }))
    }

    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// Bytes of the object; nothing while it arrives and was not announced.
    pub fn known_size(&self) -> Option<u64> {
        (self.0.size != UNKNOWN_BYTES).then_some(self.0.size)
    }

    pub fn link(&self) -> &Arc<Link> {
        &self.0.link
    }

    /// Bytes read so far, of the file or from the parent.
    pub fn read_bytes(&self) -> u64 {
        self.0.read.load(Ordering::Relaxed)
    }

    /// The first failure to read, if any: FFmpeg hides it behind an error of its own.
    pub fn failure(&self) -> Option<JobError> {
        let failed = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed
            .as_ref()
            .map(|detail| JobError::new(Failure::Read, detail.clone()))
    }

    /// Some bytes from `offset`; none only at the end.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.0.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = into.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let result = self.0.read(offset, &mut into[..wanted]);
        if let Err(error) = &result
            && !self.0.link.cancelled()
        {
            let mut failed = self.0.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert_with(|| {
                format!("the object cannot be read at byte {offset}: {error}")
            });
        }
        result
    }

    /// At least `least` bytes from `offset` and as many more as come at once, fewer only at the end; tells how many.
    pub fn read_some_at(&self, offset: u64, into: &mut [u8], least: usize) -> io::Result<usize> {
        let mut have = 0;
        while have < least.min(into.len()) {
            let read = self.read_at(offset + have as u64, &mut into[have..])?;
            if read == 0 {
                break;
            }
            have += read;
        }
        Ok(have)
    }

    /// Exactly `into.len()` bytes from `offset`, or false when the object ends before.
    pub fn read_exact_at(&self, mut offset: u64, mut into: &mut [u8]) -> io::Result<bool> {
        while !into.is_empty() {
            let read = self.read_at(offset, into)?;
            if read == 0 {
                return Ok(false);
            }
            offset += read as u64;
            into = &mut into[read..];
        }
        Ok(true)
    }
}

impl Inner {
    fn read(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        match &self.bytes {
            Bytes::None => Ok(0),
            Bytes::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let have = bytes.get(from..).unwrap_or_default();
                let read = have.len().min(into.len());
                into[..read].copy_from_slice(&have[..read]);
                Ok(read)
            }
            Bytes::File { file, base } => {
                let at = base
                    .checked_add(offset)
                    .ok_or_else(|| io::Error::other("offset out of range"))?;
                let read = file.read_at(into, at)?;
                if read == 0 {
                    return Err(io::Error::other("the file is shorter than the object"));
                }
                self.read.fetch_add(read as u64, Ordering::Relaxed);
                Ok(read)
            }
            Bytes::Arriving { runs } => {
                let (start, run) = self.arrived(runs, offset)?;
                let have = &run[(offset - start) as usize..];
                let read = have.len().min(into.len());
                into[..read].copy_from_slice(&have[..read]);
                Ok(read)
            }
            Bytes::Parent { blocks } => {
                let number = offset / BLOCK_BYTES;
                let block = self.block(blocks, number)?;
                let from = (offset - number * BLOCK_BYTES) as usize;
                let have = block.get(from..).unwrap_or_default();
                if have.is_empty() {
                    return Err(io::Error::other(
                        "the daemon sent fewer bytes than the object has",
                    ));
                }
                let read = have.len().min(into.len());
                into[..read].copy_from_slice(&have[..read]);
                Ok(read)
            }
        }
    }

    /// A run of bytes that holds the one at `offset`, asked for unless it came lately; empty at the end of the object.
    fn arrived(&self, runs: &Mutex<Blocks>, offset: u64) -> io::Result<(u64, Arc<Vec<u8>>)> {
        {
            let runs = runs.lock().unwrap_or_else(PoisonError::into_inner);
            let holds = |(start, run): &&(u64, Arc<Vec<u8>>)| {
                (*start..start + run.len() as u64).contains(&offset)
            };
            if let Some((start, run)) = runs.iter().find(holds) {
                return Ok((*start, Arc::clone(run)));
            }
        }
        let len = BLOCK_BYTES.min(self.size - offset) as u32;
        let come = self.link.read_range(offset, len)?;
        self.read.fetch_add(come.len() as u64, Ordering::Relaxed);
        let mut runs = runs.lock().unwrap_or_else(PoisonError::into_inner);
        // What arrives slowly comes in many small pieces.
        let before = runs.iter_mut().find(|(start, run)| {
            start + run.len() as u64 == offset && (run.len() as u64) < BLOCK_BYTES
        });
        if let Some((start, run)) = before {
            Arc::make_mut(run).extend_from_slice(&come);
            return Ok((*start, Arc::clone(run)));
        }
        let run = Arc::new(come);
        runs.push_front((offset, Arc::clone(&run)));
        runs.truncate(BLOCKS_KEPT);
        Ok((offset, run))
    }

    fn block(&self, blocks: &Mutex<Blocks>, number: u64) -> io::Result<Arc<Vec<u8>>> {
        {
            let mut blocks = blocks.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(at) = blocks.iter().position(|(have, _)| *have == number)
                && let Some(found) = blocks.remove(at)
            {
                let data = Arc::clone(&found.1);
                blocks.push_front(found);
                return Ok(data);
            }
        }
        let offset = number * BLOCK_BYTES;
        let len = BLOCK_BYTES.min(self.size - offset) as u32;
        let data = Arc::new(self.link.read_range(offset, len)?);
        self.read.fetch_add(data.len() as u64, Ordering::Relaxed);
        let mut blocks = blocks.lock().unwrap_or_else(PoisonError::into_inner);
        blocks.push_front((number, Arc::clone(&data)));
        blocks.truncate(BLOCKS_KEPT);
        Ok(data)
    }
}
