//! What can go wrong with bytes on disk, by what a caller can do about it.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::kernel::BlobId;

/// Why bytes could not be written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No space beyond the reserve, or the quota is used up; removing objects helps.
    #[error(
        "the disk is full: {wanted} bytes asked, {free} bytes free of which {reserve} are kept in reserve; remove objects or enlarge the disk"
    )]
    Full {
        /// Bytes asked for, as far as known; 0 when a write met the end of the disk.
        wanted: u64,
        /// Bytes the file system still gives.
        free: u64,
        /// Bytes of these that are kept free.
        reserve: u64,
    },
    /// The file system has bytes but no inodes left.
    #[error("the file system has no inodes left; remove objects or make it anew with more inodes")]
    NoInodes,
    /// The file system is mounted read-only, which kernels also do after a disk failure.
    #[error("the data directory {dir} is read-only; look at the kernel's log, then remount it")]
    ReadOnly {
        /// The directory of the blobs.
        dir: PathBuf,
    },
    /// The directory is not there any more: a disk was unmounted or has died.
    #[error("the data directory {dir} is gone ({source}); mount its disk again")]
    Unavailable {
        /// The directory of the blobs.
        dir: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What was asked for is on a disk that is away, or on none.
    #[error("disk {disks} is away ({why}); mount it again")]
    DiskAway {
        /// Names of the disks that are away.
        disks: String,
        /// Why, of the first.
        why: String,
    },
    /// There is no file of this blob.
    #[error("blob {id} has no file; run `nebulad fsck`")]
    Missing {
        /// The blob.
        id: BlobId,
    },
    /// The file ends before the bytes that were asked for.
    #[error("blob {id} has {size} bytes where {wanted} were expected; run `nebulad fsck`")]
    Short {
        /// The blob.
        id: BlobId,
        /// Bytes of the file.
        size: u64,
        /// Bytes that it must have at least.
        wanted: u64,
    },
    /// Bytes do not match their sums.
    #[error("blob {id} is damaged in block {block} (of 1 MiB each); run `nebulad fsck`")]
    Damaged {
        /// The blob.
        id: BlobId,
        /// Number of the first damaged block.
        block: u64,
    },
    /// Somebody else is writing this blob and did not stop in time.
    #[error("blob {id} is still being written; try again in a moment")]
    Busy {
        /// The blob.
        id: BlobId,
    },
    /// More bytes in one piece than memory is meant to hold: stream them.
    #[error("{wanted} bytes are too many to read in one piece (at most {max})")]
    TooLong {
        /// Bytes asked for.
        wanted: u64,
        /// Most that may be asked for.
        max: u64,
    },
    /// Anything else the kernel refused.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl BlobError {
    /// Sorts an error of the kernel by what can be done about it.
    pub(super) fn sort(what: &'static str, dir: &Path, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT) => super::space::no_space(dir),
            Some(Errno::ROFS) => Self::ReadOnly { dir: dir.into() },
            Some(
                Errno::NOENT
                | Errno::NOTDIR
                | Errno::NODEV
                | Errno::NXIO
                | Errno::STALE
                | Errno::NOTCONN,
            ) => Self::Unavailable {
                dir: dir.into(),
                source,
            },
            _ => Self::Io { what, source },
        }
    }

    /// The same for one blob's file, whose absence is its own case.
    pub(super) fn sort_file(
        what: &'static str,
        dir: &Path,
        id: BlobId,
        source: impl Into<io::Error>,
    ) -> Self {
        let source = source.into();
        if source.kind() == io::ErrorKind::NotFound && dir.is_dir() {
            return Self::Missing { id };
        }
        Self::sort(what, dir, source)
    }

    /// A blocking task that was cancelled by the end of the runtime, or that panicked.
    pub(super) fn lost(what: &'static str) -> Self {
        Self::Io {
            what,
            source: io::Error::other("the work was cut off by the end of the daemon"),
        }
    }
}
