//! What can go wrong, by what a person can do about it.

use std::path::Path;

use crate::blob::BlobError;
use crate::catalog::CatalogError;
use crate::store::StoreError;

/// Why a backup or a restore did not happen.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target is no place to keep a backup.
    #[error("the target {0}")]
    Target(String),
    /// A file or directory on this machine.
    #[error("{what}: {source}")]
    File {
        /// What was being done, with the path.
        what: String,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// The target is encrypted and no passphrase was given, or the other way round.
    #[error("{0}")]
    Passphrase(&'static str),
    /// Nothing of that name in the target.
    #[error("the target has no snapshot {0}; `nebulad backup --list` shows them")]
    NoSnapshot(String),
    /// Stored bytes are not what was stored.
    #[error("{name} of the target is damaged ({why}); `nebulad backup --verify` names all that is")]
    Damaged {
        /// The object of the target.
        name: String,
        /// What does not fit.
        why: &'static str,
    },
    /// Made by a version that knows more than this one.
    #[error(
        "the target has format {0}, this version reads format 1: use the version that made it, or a newer one"
    )]
    Format(u32),
    /// Something is there that a restore would destroy.
    #[error("{0} is not empty: restore into a directory and a database that hold nothing")]
    NotEmpty(String),
    /// Another backup of this appliance runs.
    #[error(
        "another backup of this appliance is running, or was killed less than ten minutes ago; try again later"
    )]
    Busy,
    /// The hold on the files ran out, so blobs may be gone.
    #[error(
        "the appliance's database did not answer for so long that files were let go; start the backup again, it goes on where it was"
    )]
    LetGo,
    /// The database.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The files of the appliance.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl BackupError {
    pub(super) fn file(what: &str, path: &Path, source: std::io::Error) -> Self {
        Self::File {
            what: format!("{what} {}", path.display()),
            source,
        }
    }

    pub(super) fn damaged(name: impl Into<String>, why: &'static str) -> Self {
        Self::Damaged {
            name: name.into(),
            why,
        }
    }
}
