//! What is remembered of an unfinished upload: one journal per node, source and destination.
//!
//! It names the file (size, modification time, inode), how it is cut into parts, the address of each part's upload,
//! and the sum of each block from before its first byte is sent: whatever a node may hold of it is known here, and held against the file before anything is finished.

use super::source::{Fingerprint, Source};
use crate::{Error, journal::Journal, xdg};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// A journal untouched for this long belongs to an upload that has expired.
const MAX_AGE: Duration = Duration::from_hours(60 * 24);

/// What is remembered of shorter files need not outlive a power cut: that costs more than to send them again.
const SYNCED_FROM_BYTES: u64 = 1 << 20;

/// The directory of journals.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

/// One journal, locked.
#[derive(Debug)]
pub(super) struct State {
    journal: Journal,
    /// What the journal says; none when it is empty.
    left: Option<Left>,
}

/// What an earlier call left.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) head: Head,
    /// The address of each part's upload that was begun.
    pub(super) urls: BTreeMap<usize, String>,
    /// The address of the upload that joins them.
    pub(super) joined: Option<String>,
    /// The sums of the blocks that may have been sent.
    pub(super) sums: BTreeMap<usize, [u8; 32]>,
}

/// What an upload is about; its first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) server: String,
    pub(super) source: PathBuf,
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) content_type: String,
    pub(super) fingerprint: Fingerprint,
    /// Drawn by lot: the node knows the parts as those of one file by it, and a repeated creation as one.
    pub(super) name: String,
    /// Where each part begins and how long it is.
    pub(super) parts: Vec<(u64, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Begin(Head),
    /// A part's upload; forgotten by the node without an address.
    Part(usize, Option<String>),
    /// The upload that joins the parts.
    Joined(String),
    /// A block's sum in hex.
    Sum(usize, String),
}

/// The pen for what happens on the way. Clones write into one journal, or nowhere.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    journal: Option<Journal>,
    is_synced: bool,
    /// Blocks whose sums are in the journal.
    noted: Arc<Mutex<HashSet<usize>>>,
}

impl StateDir {
    /// This user's.
    pub fn of_user() -> Self {
        Self(xdg::state_dir().join("uploads"))
    }

    /// Another place, for tests.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self(dir.into())
    }

    /// Opens and locks the state of one upload. Blocks.
    pub(super) fn open(
        &self,
        server: &str,
        source: &Path,
        bucket: &str,
        key: &str,
    ) -> Result<State, Error> {
        self.sweep();
        let mut hasher = blake3::Hasher::new();
        for part in [
            server.as_bytes(),
            source.as_os_str().as_encoded_bytes(),
            bucket.as_bytes(),
            key.as_bytes(),
        ] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let name = &hasher.finalize().to_hex()[..24];
        Journal::make_dir(&self.0)?;
        let path = self.0.join(format!("{name}.jsonl"));
        let (journal, lines) = Journal::open(&path, &source.display().to_string())?;
        Ok(State {
            left: Left::of(lines),
            journal,
        })
    }

    /// Removes what has expired. Best effort.
    fn sweep(&self) {
        let now = SystemTime::now();
        let Ok(entries) = fs::read_dir(&self.0) else {
            return;
        };
        for entry in entries.flatten() {
            let modified = entry.metadata().and_then(|m| m.modified());
            let age = modified.map(|m| now.duration_since(m).unwrap_or_default());
            if age.is_ok_and(|age| age > MAX_AGE) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Left {
    fn of(lines: Vec<Line>) -> Option<Self> {
        let mut left: Option<Self> = None;
        for line in lines {
            match (line, &mut left) {
                (Line::Begin(head), _) => {
                    left = Some(Self {
                        head,
                        urls: BTreeMap::new(),
                        joined: None,
                        sums: BTreeMap::new(),
                    });
                }
                (Line::Part(part, Some(url)), Some(left)) => {
                    left.urls.insert(part, url);
                }
                (Line::Part(part, None), Some(left)) => {
                    left.urls.remove(&part);
                }
                (Line::Joined(url), Some(left)) => left.joined = Some(url),
                (Line::Sum(block, sum), Some(left)) => {
                    if let Ok(sum) = blake3::Hash::from_hex(sum) {
                        left.sums.insert(block, *sum.as_bytes());
                    }
                }
                (_, None) => {}
            }
        }
        left
    }

    /// Whether a node may have anything of it.
    pub(super) fn has_begun(&self) -> bool {
        !self.urls.is_empty() || !self.sums.is_empty()
    }

    /// Whether it is about the file as it is now.
    pub(super) fn is_of(&self, source: &Source) -> bool {
        self.head.fingerprint == *source.fingerprint()
    }
}

impl State {
    /// What an earlier call left; taken once.
    pub(super) fn take_left(&mut self) -> Option<Left> {
        self.left.take()
    }

    /// Begins anew with another upload.
    pub(super) fn begin(&self, head: &Head) -> Result<(), Error> {
        self.journal.clear()?;
        let line = Line::Begin(head.clone());
        if head.fingerprint.size_bytes >= SYNCED_FROM_BYTES {
            self.journal.add_durably(&line)
        } else {
            self.journal.add(&line)
        }
    }

    /// The pen for a file of this size; the sums of these blocks are in the journal already.
    pub(super) fn notes(&self, size_bytes: u64, noted: impl Iterator<Item = usize>) -> Notes {
        Notes {
            journal: Some(self.journal.clone()),
            is_synced: size_bytes >= SYNCED_FROM_BYTES,
            noted: Arc::new(Mutex::new(noted.collect())),
        }
    }

    /// Forgets the upload: it is finished or given up.
    pub(super) fn clear(&self) -> Result<(), Error> {
        self.journal.clear()
    }

    /// Removes the journal.
    pub(super) fn remove(self) {
        self.journal.remove();
    }
}

impl Notes {
    /// A part's upload was begun there, or is no more. Blocks.
    pub(super) fn part(&self, part: usize, url: Option<&str>) -> Result<(), Error> {
        self.add(&Line::Part(part, url.map(str::to_owned)))
    }

    /// The parts were joined there. Blocks.
    pub(super) fn joined(&self, url: &str) -> Result<(), Error> {
        self.add(&Line::Joined(url.to_owned()))
    }

    fn add(&self, line: &Line) -> Result<(), Error> {
        match &self.journal {
            Some(journal) if self.is_synced => journal.add_durably(line),
            Some(journal) => journal.add(line),
            None => Ok(()),
        }
    }

    /// A block is about to be sent. Blocks, for one `write`.
    pub(super) fn sum(&self, block: usize, sum: [u8; 32]) -> Result<(), Error> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let is_news = self
            .noted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(block);
        if is_news {
            let hex = blake3::Hash::from_bytes(sum).to_hex().to_string();
            journal.add(&Line::Sum(block, hex))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn state_is_remembered_locked_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let states = StateDir::at(dir.path().join("state"));
        let file = dir.path().join("film.mp4");
        fs::write(&file, b"content").unwrap();
        let open = || states.open("http://n", &file, "films", "film.mp4");
        let source = Source::open(&file).await.unwrap();
        let mut state = open().unwrap();
        assert!(state.take_left().is_none());
        let head = Head {
            server: "http://n".into(),
            source: file.clone(),
            bucket: "films".into(),
            key: "film.mp4".into(),
            content_type: "video/mp4".into(),
            fingerprint: source.fingerprint().clone(),
            name: "n".into(),
            parts: vec![(0, 4), (4, 3)],
        };
        state.begin(&head).unwrap();
        let notes = state.notes(5 << 20, std::iter::empty());
        notes.part(1, Some("/-/tus/1")).unwrap();
        notes.part(0, Some("/-/tus/0")).unwrap();
        notes.part(0, None).unwrap();
        notes.joined("/-/tus/whole").unwrap();
        notes.sum(0, [7; 32]).unwrap();
        notes.sum(0, [7; 32]).unwrap();
        assert!(matches!(open(), Err(Error::InUse { .. })));
        drop((state, notes));
        let mut state = open().unwrap();
        let left = state.take_left().unwrap();
        assert_eq!(left.head, head);
        assert_eq!(left.urls, BTreeMap::from([(1, "/-/tus/1".to_owned())]));
        assert_eq!(left.joined.as_deref(), Some("/-/tus/whole"));
        assert_eq!(left.sums, BTreeMap::from([(0, [7; 32])]));
        assert!(left.is_of(&source));
        fs::write(&file, b"other").unwrap();
        assert!(!left.is_of(&Source::open(&file).await.unwrap()));
        state.remove();
        assert!(open().unwrap().take_left().is_none());
    }
}
