//! What is remembered of one unfinished transfer: a file of JSON lines that only grows.
//!
//! One file per transfer, not one database for all: a line is one `write`, so it survives a killed process without a sync;
//! a torn last line is cut off and costs that line alone; transfers never wait for each other; and there is nothing to migrate, repair or link in.
//! The file is locked while a transfer works on it, so that two commands do not fight over one upload. It holds no secret.

use crate::{Error, xdg};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// A longer file is not ours: far above what the sums of the largest object take.
const MAX_BYTES: u64 = 256 << 20;

/// A transfer that was just dropped lets go once its reader has noticed: so often, so long apart, it is waited for.
const LOCK_TRIES: u32 = 25;
const LOCK_STEP: Duration = Duration::from_millis(20);

/// One journal, locked. Clones share the file.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    path: PathBuf,
    file: Arc<File>,
}

impl Journal {
    /// Opens and locks it, and reads its lines; `what` is what a person calls the transfer. Blocks.
    pub(crate) fn open<T: DeserializeOwned>(
        path: &Path,
        what: &str,
    ) -> Result<(Self, Vec<T>), Error> {
        let fail = |e| Error::local("write", path, e);
        let mut tries = 0;
        let file = loop {
            let file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)
                .map_err(fail)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => {
                    tries += 1;
                    std::thread::sleep(LOCK_STEP);
                    continue;
                }
                Err(TryLockError::WouldBlock) => return Err(Error::InUse { what: what.into() }),
                Err(TryLockError::Error(e)) => return Err(fail(e)),
            }
            // Whoever held the lock may have removed the file meanwhile.
            if file.metadata().map_err(fail)?.nlink() > 0 {
                break file;
            }
        };
        let mut text = Vec::new();
        (&file)
            .take(MAX_BYTES)
            .read_to_end(&mut text)
            .map_err(fail)?;
        let whole = text
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(whole as u64).map_err(fail)?;
        }
        // From a line that is none on, nothing is believed.
        let lines = text[..whole]
            .split(|b| *b == b'\n')
            .map_while(|line| serde_json::from_slice(line).ok())
            .collect();
        let journal = Self {
            path: path.to_owned(),
            file: Arc::new(file),
        };
        Ok((journal, lines))
    }

    /// Adds a line. Blocks, for one `write`.
    pub(crate) fn add(&self, line: &impl Serialize) -> Result<(), Error> {
        let write = || -> io::Result<()> {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            (&*self.file).write_all(&text)
        };
        write().map_err(|e| self.fail(e))
    }

    /// Adds a line that must outlive a power cut, and with it all before it. Blocks.
    pub(crate) fn add_durably(&self, line: &impl Serialize) -> Result<(), Error> {
        self.add(line)?;
        self.file.sync_data().map_err(|e| self.fail(e))
    }

    /// Begins anew. Blocks.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        self.file.set_len(0).map_err(|e| self.fail(e))
    }

    fn fail(&self, e: io::Error) -> Error {
        Error::local("write", &self.path, e)
    }

    /// Removes it: the transfer is done or given up.
    pub(crate) fn remove(self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Makes the directory it will be in, for its owner alone.
    pub(crate) fn make_dir(dir: &Path) -> Result<(), Error> {
        xdg::make_private_dir(dir).map_err(|e| Error::local("write", dir, e))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_torn_line_costs_itself_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("j");
        let (journal, lines) = Journal::open::<u32>(&path, "x").unwrap();
        assert!(lines.is_empty());
        journal.add(&1).unwrap();
        journal.add_durably(&2).unwrap();
        (&*journal.file).write_all(b"34").unwrap();
        assert!(matches!(
            Journal::open::<u32>(&path, "x"),
            Err(Error::InUse { .. })
        ));
        drop(journal);
        let (journal, lines) = Journal::open::<u32>(&path, "x").unwrap();
        assert_eq!(lines, [1, 2]);
        journal.add(&5).unwrap();
        drop(journal);
        let (journal, lines) = Journal::open::<u32>(&path, "x").unwrap();
        assert_eq!(lines, [1, 2, 5]);
        journal.clear().unwrap();
        journal.add(&6).unwrap();
        drop(journal);
        let (journal, lines) = Journal::open::<u32>(&path, "x").unwrap();
        assert_eq!(lines, [6]);
        journal.remove();
        assert!(!path.exists());
    }
}
