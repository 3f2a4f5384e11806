//! Files that stay open between readers, so that a player's seek costs no walk through directories.
//!
//! Whoever removes a blob lets go of it here first; a second daemon on the same directory may keep the space of a removed file occupied until it ends or needs the place, which is the length of a deploy.

use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cached::Residency;
use crate::kernel::BlobId;

/// Files kept open; well below the usual 1,024 descriptors of a process.
const OPEN_FILES_MAX: usize = 128;

/// An open file, and how its bytes were found lately.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) file: Arc<File>,
    pub(super) residency: Arc<Residency>,
}

impl From<File> for Open {
    fn from(file: File) -> Self {
        Self {
            file: Arc::new(file),
            residency: Arc::default(),
        }
    }
}

/// The least recently used goes first.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(Mutex<Cache>);

#[derive(Debug, Default)]
struct Cache {
    files: HashMap<BlobId, (Open, u64)>,
    uses: u64,
}

impl OpenFiles {
    /// The file, if it is open.
    pub(super) fn get(&self, id: BlobId) -> Option<Open> {
        let mut cache = self.lock();
        cache.uses += 1;
        let now = cache.uses;
        let (file, used) = cache.files.get_mut(&id)?;
        *used = now;
        Some(file.clone())
    }

    /// Keeps a file open; returns the one that had to make room, for the caller to close outside the lock.
    #[must_use]
    pub(super) fn put(&self, id: BlobId, file: Open) -> Option<Open> {
        let mut cache = self.lock();
        cache.uses += 1;
        let now = cache.uses;
        let mut oldest = None;
        if cache.files.len() >= OPEN_FILES_MAX && !cache.files.contains_key(&id) {
            oldest = cache
                .files
                .iter()
                .min_by_key(|(_, (_, used))| *used)
                .map(|(&id, _)| id);
        }
        let gone = oldest.and_then(|id| cache.files.remove(&id));
        let replaced = cache.files.insert(id, (file, now));
        gone.or(replaced).map(|(file, _)| file)
    }

    /// Lets go of a file that is about to be removed, so that its space becomes free.
    #[must_use]
    pub(super) fn forget(&self, id: BlobId) -> Option<Open> {
        self.lock().files.remove(&id).map(|(file, _)| file)
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
