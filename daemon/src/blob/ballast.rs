//! Space kept in hand for the moment when a disk is full to its last byte, reserve and all: to let it go makes room for the rows that a deletion writes.
//!
//! The reserve keeps our own writes away from that moment; what others write beside us it cannot.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use rustix::fs::FallocateFlags;

use super::BlobError;
use super::room::{Blobs, Room, blocking};
use super::space::Space;

/// Enough for the rows of some ten thousand deletions.
const BALLAST_BYTES: u64 = 8 * 1024 * 1024;

impl Blobs {
    /// Takes the space, unless it is taken or the reserve does not leave it.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn take_ballast(&self) -> Result<(), BlobError> {
        let blobs = self.clone();
        blocking("keeping space in hand", move || {
            let room = &blobs.0;
            let Some(path) = room.ballast().filter(|path| !path.exists()) else {
                return Ok(());
            };
            let space = Space::of(&room.dir, room.reserve)?;
            if space.read_only || space.admit(BALLAST_BYTES).is_err() {
                return Ok(());
            }
            let error = |e: io::Error| room.error("keeping space in hand", e);
            let file = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&path)
                .map_err(error)?;
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, BALLAST_BYTES) {
                Ok(()) => Ok(()),
                // A file system that promises no space keeps none in hand.
                Err(_) => fs::remove_file(&path).map_err(error),
            }
        })
        .await
    }

    /// Lets the space go; `false` when there was none.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn drop_ballast(&self) -> Result<bool, BlobError> {
        let blobs = self.clone();
        blocking("letting space go", move || {
            let room = &blobs.0;
            let Some(path) = room.ballast() else {
                return Ok(false);
            };
            match fs::remove_file(path) {
                Ok(()) => {
                    tracing::error!(
                        "the disk is full to its last byte: the space kept for deletions is let go"
                    );
                    Ok(true)
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(room.error("letting space go", error)),
            }
        })
        .await
    }
}

impl Room {
    /// Beside the directory of the blobs, where the catalog is as well.
    fn ballast(&self) -> Option<PathBuf> {
        Some(self.dir.parent()?.join("ballast"))
    }
}
