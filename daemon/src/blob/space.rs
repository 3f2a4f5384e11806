//! Free space, and the refusal to eat the reserve.

use std::path::Path;

use super::BlobError;

/// Space of the file system that holds the blobs, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// Size of the file system.
    pub total: u64,
    /// What an unprivileged writer still gets, reserve included.
    pub free: u64,
    /// What is kept free for the catalog, logs and removal.
    pub reserve: u64,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

impl Space {
    /// Asks the kernel.
    pub(super) fn of(dir: &Path, reserve: u64) -> Result<Self, BlobError> {
        let fs = rustix::fs::statvfs(dir)
            .map_err(|error| BlobError::sort("asking for free space", dir, error))?;
        Ok(Self {
            total: fs.f_blocks.saturating_mul(fs.f_frsize),
            free: fs.f_bavail.saturating_mul(fs.f_frsize),
            reserve,
            read_only: fs.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
        })
    }

    /// Refuses `wanted` bytes that would eat the reserve.
    pub(super) fn admit(self, wanted: u64) -> Result<(), BlobError> {
        if wanted <= self.free.saturating_sub(self.reserve) && self.free > self.reserve {
            return Ok(());
        }
        Err(BlobError::Full {
            wanted,
            free: self.free,
            reserve: self.reserve,
        })
    }
}

/// What `ENOSPC` meant: bytes or inodes.
pub(super) fn no_space(dir: &Path) -> BlobError {
    match rustix::fs::statvfs(dir) {
        Ok(fs) if fs.f_files > 0 && fs.f_favail == 0 => BlobError::NoInodes,
        Ok(fs) => BlobError::Full {
            wanted: 0,
            free: fs.f_bavail.saturating_mul(fs.f_frsize),
            reserve: 0,
        },
        Err(_) => BlobError::Full {
            wanted: 0,
            free: 0,
            reserve: 0,
        },
    }
}
