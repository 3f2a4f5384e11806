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
    /// Those still to be walked; the last one is being.
    rooms: Vec<Arc<Room>>,
    next_dir: usize,
    entries: Option<ReadDir>,
}

impl Blobs {
    /// Walks over all files in place.
    pub fn files(&self) -> BlobFiles {
        BlobFiles::of(self.rooms())
    }
}

impl BlobFiles {
    pub(super) fn of(rooms: Vec<Arc<Room>>) -> Self {
        Self {
            rooms,
            next_dir: 0,
            entries: None,
        }
    }

    /// The next entry, as the kernel gives it.
    fn step(&mut self) -> io::Result<Option<BlobFileInfo>> {
        loop {
            let Some(entries) = &mut self.entries else {
                let Some(room) = self.rooms.last() else {
                    return Ok(None);
                };
                if self.next_dir == DIRS {
                    self.rooms.pop();
                    self.next_dir = 0;
                    continue;
                }
                let dir = room.dir.join(format!("{:02x}", self.next_dir));
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
        step.map_err(|e| match self.rooms.last() {
            Some(room) => room.error("listing blobs", e),
            None => BlobError::lost("listing blobs"),
        })
        .transpose()
    }
}
