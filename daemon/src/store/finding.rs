//! What a check can find, in words: what it is, and what a repair does about it.

use std::fmt;

use super::damage::told;
use crate::kernel::{BlobId, UploadId};

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A disk is away, so that nothing can be said of what lies on it.
    DiskAway {
        /// Its name.
        disk: String,
        /// Why.
        why: String,
    },
    /// A blob is known and its file is not there.
    MissingFile {
        /// The blob.
        blob: BlobId,
    },
    /// A file has another size than its row says.
    WrongSize {
        /// The blob.
        blob: BlobId,
        /// By its row.
        row_bytes: u64,
        /// By its file.
        file_bytes: u64,
    },
    /// The bytes of a file do not match its sums.
    Damaged {
        /// The blob.
        blob: BlobId,
        /// Which MiBs.
        blocks: Vec<u64>,
    },
    /// A file was found damaged before.
    SetAside {
        /// The blob.
        blob: BlobId,
        /// The objects whose bytes lie in it.
        objects: Vec<String>,
    },
    /// A blob is counted wrongly.
    WrongRefs {
        /// The blob.
        blob: BlobId,
        /// By its row.
        row_refs: i64,
        /// As counted.
        counted_refs: i64,
    },
    /// A file that no row knows.
    Orphan {
        /// The blob.
        blob: BlobId,
    },
    /// A blob that nothing refers to and that is not removed yet.
    Dead {
        /// The blob.
        blob: BlobId,
    },
    /// An object's extents do not add up to its size.
    WrongExtents {
        /// The object's row id.
        object: i64,
        /// By its row.
        row_bytes: u64,
        /// By its extents.
        extent_bytes: u64,
    },
    /// The bytes of an object in its row do not match their hash, or it was marked as damaged before.
    DamagedObject {
        /// The object's row id.
        object: i64,
        /// Its bucket and key.
        name: String,
    },
    /// The usage of a bucket or an owner is not what its versions add up to.
    WrongUsage {
        /// Which.
        of: String,
        /// Bytes and versions by its row.
        row: (i64, i64),
        /// Bytes and versions as counted.
        counted: (i64, i64),
    },
    /// An upload whose time is over.
    StaleUpload {
        /// The upload.
        upload: UploadId,
    },
}

impl Finding {
    /// Whether it is what a busy or just stopped appliance looks like, and goes by itself.
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::Dead { .. } | Self::StaleUpload { .. })
    }

    /// Whether rows and files that were read one after the other look like this while something changes.
    pub(super) fn may_be_a_change(&self) -> bool {
        match self {
            Self::MissingFile { .. }
            | Self::WrongSize { .. }
            | Self::WrongRefs { .. }
            | Self::Orphan { .. }
            | Self::Dead { .. }
            | Self::WrongExtents { .. }
            | Self::WrongUsage { .. } => true,
            Self::DiskAway { .. }
            | Self::Damaged { .. }
            | Self::SetAside { .. }
            | Self::DamagedObject { .. }
            | Self::StaleUpload { .. } => false,
        }
    }

    /// Whether both tell of the same thing, maybe with other figures.
    pub(super) fn is_of_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::WrongRefs { blob: one, .. }, Self::WrongRefs { blob: two, .. }) => one == two,
            (Self::WrongUsage { of: one, .. }, Self::WrongUsage { of: two, .. }) => one == two,
            _ => self == other,
        }
    }

    /// What `nebulad fsck --repair` does about it.
    pub fn cure(&self) -> &'static str {
        match self {
            Self::MissingFile { .. } | Self::Damaged { .. } => {
                "written anew from another file of the same bytes if there is one; else set aside, so that its damaged MiBs are refused and the others served"
            }
            Self::WrongSize { .. } => {
                "cut to its size if it is only too long; else as for damage: written anew from a copy, or set aside"
            }
            Self::SetAside { .. } => {
                "written anew if a file of the same bytes has appeared; else nothing: upload the objects again, restore them, or give them up with --delete-damaged"
            }
            Self::DiskAway { .. } => "nothing: mount it and look again",
            Self::WrongRefs { .. } => "counted anew; what nothing refers to is removed",
            Self::Orphan { .. } | Self::Dead { .. } | Self::StaleUpload { .. } => "removed",
            Self::WrongExtents { .. } | Self::DamagedObject { .. } => {
                "marked, so that it is refused; its bytes cannot be recovered from here: upload it again, restore it, or give it up with --delete-damaged"
            }
            Self::WrongUsage { .. } => "counted anew",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiskAway { disk, why } => write!(f, "disk {disk} is away: {why}"),
            Self::MissingFile { blob } => write!(f, "blob {blob}: its file is missing"),
            Self::WrongSize {
                blob,
                row_bytes,
                file_bytes,
            } => write!(
                f,
                "blob {blob}: its row says {row_bytes} bytes, its file has {file_bytes}"
            ),
            Self::Damaged { blob, blocks } => {
                write!(f, "blob {blob}: MiB {blocks:?} do not match their sums")
            }
            Self::SetAside { blob, objects } => write!(
                f,
                "blob {blob}: set aside as damaged; it holds {}",
                told(objects)
            ),
            Self::WrongRefs {
                blob,
                row_refs,
                counted_refs,
            } => write!(
                f,
                "blob {blob}: its row counts {row_refs} references, there are {counted_refs}"
            ),
            Self::Orphan { blob } => write!(f, "blob {blob}: a file without a row"),
            Self::Dead { blob } => write!(f, "blob {blob}: nothing refers to it"),
            Self::WrongExtents {
                object,
                row_bytes,
                extent_bytes,
            } => write!(
                f,
                "object row {object}: its row says {row_bytes} bytes, its extents hold {extent_bytes}"
            ),
            Self::DamagedObject { name, .. } => {
                write!(f, "object {name}: its rows in the catalog are damaged")
            }
            Self::WrongUsage { of, row, counted } => write!(
                f,
                "{of}: its row says {} bytes in {} objects, there are {} in {}",
                row.0, row.1, counted.0, counted.1
            ),
            Self::StaleUpload { upload } => write!(f, "upload {upload}: its time is over"),
        }
    }
}
