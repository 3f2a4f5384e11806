//! What a watched folder has sent: one line per file, so that a restart sends nothing again.

use crate::{Error, journal::Journal, upload::Fingerprint, xdg};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// A ledger with more lines than this for each of its files is written anew.
const LINES_PER_FILE_MAX: usize = 4;

/// The ledger of one folder and one destination, locked.
#[derive(Debug)]
pub(super) struct Ledger {
    journal: Journal,
    sent: BTreeMap<String, Fingerprint>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    name: String,
    sent: Fingerprint,
}

impl Ledger {
    /// Where this user's are.
    pub(super) fn dir_of_user() -> PathBuf {
        xdg::state_dir().join("watch")
    }

    /// Opens and locks it; another process that watches the same for the same is an error. Blocks.
    pub(super) fn open(
        dir: &Path,
        server: &str,
        folder: &Path,
        destination: &str,
    ) -> Result<Self, Error> {
        let mut hasher = blake3::Hasher::new();
        let folder_name = folder.as_os_str().as_encoded_bytes();
        for part in [server.as_bytes(), folder_name, destination.as_bytes()] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Journal::make_dir(dir)?;
        let path = dir.join(format!("{}.jsonl", &hasher.finalize().to_hex()[..24]));
        let (journal, lines) = Journal::open::<Line>(&path, &folder.display().to_string())?;
        let count = lines.len();
        let sent: BTreeMap<_, _> = lines
            .into_iter()
            .map(|line| (line.name, line.sent))
            .collect();
        let ledger = Self { journal, sent };
        if count > LINES_PER_FILE_MAX * ledger.sent.len() {
            // What is lost here by a crash is compared by its hash and not sent again either.
            ledger.journal.clear()?;
            for (name, sent) in &ledger.sent {
                let (name, sent) = (name.clone(), sent.clone());
                ledger.journal.add(&Line { name, sent })?;
            }
        }
        Ok(ledger)
    }

    /// Whether this very state of the file was sent.
    pub(super) fn has(&self, name: &str, now: &Fingerprint) -> bool {
        self.sent.get(name) == Some(now)
    }

    /// How many files were sent.
    pub(super) fn len(&self) -> usize {
        self.sent.len()
    }

    /// Notes that it was. Blocks.
    pub(super) fn add(&mut self, name: &str, sent: Fingerprint) -> Result<(), Error> {
        self.journal.add_durably(&Line {
            name: name.to_owned(),
            sent: sent.clone(),
        })?;
        self.sent.insert(name.to_owned(), sent);
        Ok(())
    }
}
