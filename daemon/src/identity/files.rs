//! The two secret files of the data directory: made once, whole, mode 0600.
//!
//! The one place of this room that touches the disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::kernel::Id;

/// Largest secret file that is read.
const FILE_BYTES_MAX: u64 = 4096;

/// Why a secret file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The disk or the permissions refuse.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Others than its owner may read or change it.
    #[error("{path} is open to others (mode {mode:03o}); run: chmod 600 {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds something else.
    #[error("{path} does not hold {expected}; restore it from a backup")]
    Content {
        /// The file.
        path: PathBuf,
        /// What belongs there.
        expected: &'static str,
    },
}

impl FileError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self::Io {
            path: path.into(),
            error,
        }
    }

    pub(super) fn content(path: &Path, expected: &'static str) -> Self {
        Self::Content {
            path: path.into(),
            expected,
        }
    }
}

/// The text of a file that nobody else may read; `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, FileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::io(path, error)),
    };
    let metadata = file.metadata().map_err(|e| FileError::io(path, e))?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::Open {
            path: path.into(),
            mode,
        });
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(|e| FileError::io(path, e))?;
    Ok(Some(text))
}

/// The text of a file; made from `fresh` when there is none, whole or not at all.
///
/// Of two that make it at once, one wins and both read the winner's: a hard link refuses an existing name.
pub(super) fn read_or_create(
    path: &Path,
    fresh: impl FnOnce() -> String,
) -> Result<String, FileError> {
    if let Some(text) = read(path)? {
        return Ok(text);
    }
    let written = with_temporary(path, &fresh(), |temporary| {
        match std::fs::hard_link(temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    });
    written.map_err(|error| FileError::io(path, error))?;
    let gone = || FileError::io(path, io::ErrorKind::NotFound.into());
    read(path)?.ok_or_else(gone)
}

/// Replaces a file, whole or not at all.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), FileError> {
    with_temporary(path, text, |temporary| std::fs::rename(temporary, path))
        .map_err(|error| FileError::io(path, error))
}

/// Removes a file that may be there.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FileError::io(path, error)),
        _ => Ok(()),
    }
}

/// Writes and syncs a file beside `path`, lets `publish` give it its name, and syncs the directory.
fn with_temporary(
    path: &Path,
    text: &str,
    publish: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let temporary = directory.join(format!(".{}.new", Id::random()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        publish(&temporary)
    })();
    // After a rename the name is gone; after anything else it must go.
    let _ = std::fs::remove_file(&temporary);
    written?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_open_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        assert_eq!(read_or_create(&path, || "one".into()).unwrap(), "one");
        assert_eq!(read_or_create(&path, || "two".into()).unwrap(), "one");
        replace(&path, "three").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("three"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
        remove(&path).unwrap();
        remove(&path).unwrap();
    }
}
