//! A walk over all files, for whoever compares them with the catalog.

use std::fs::{self, ReadDir};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use super::BlobError;
use super::room::{Blobs, DIRS, Room};
use crate::kernel::{BlobId, Millis};

/// One file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlobFileInfo {
    /// The blob.
    pub id: BlobId,
    /// Length in bytes.
    pub size: u64,
    /// When it was last written.
    pub modified_ms: Millis,
}

/// All files, in no order; blocking, so to be drawn on a blocking thread.
///
/// A file that vanishes during the walk, and names that are no ids, are passed over.
#[derive(Debug)]
pub struct BlobFiles {
    room: Arc<Room>,
    next_dir: usize,
    entries: Option<ReadDir>,
}

impl Blobs {
    /// Walks over all files in place.
    pub fn files(&self) -> BlobFiles {
        BlobFiles {
            room: Arc::clone(&self.0),
            next_dir: 0,
            entries: None,
        }
    }
}

impl BlobFiles {
    /// The next entry, as the kernel gives it.
    fn step(&mut self) -> io::Result<Option<BlobFileInfo>> {
        loop {
            let Some(entries) = &mut self.entries else {
                if self.next_dir == DIRS {
                    return Ok(None);
                }
                let dir = self.room.dir.join(format!("{:02x}", self.next_dir));
                self.next_dir += 1;
                self.entries = Some(fs::read_dir(dir)?);
                continue;
            };
            let Some(entry) = entries.next().transpose()? else {
                self.entries = None;
                continue;
            };
            let name = entry.file_name();
            let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            match entry.metadata() {
                Ok(meta) if meta.is_file() => {
                    return Ok(Some(BlobFileInfo {
                        id,
                        size: meta.len(),
                        modified_ms: meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000,
                    }));
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
}

impl Iterator for BlobFiles {
    type Item = Result<BlobFileInfo, BlobError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        step.map_err(|e| self.room.error("listing blobs", e))
            .transpose()
    }
}
