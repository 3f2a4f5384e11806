//! What is remembered of an unfinished upload: one small file per node, source and destination.
//!
//! The file is locked for as long as a push works on it, so two pushes of one file do not
//! fight over one upload. It holds no secret.

use super::source::{Fingerprint, Source};
use crate::{Error, xdg};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// A state file untouched for this long belongs to an upload that has expired.
const MAX_AGE: Duration = Duration::from_hours(60 * 24);
/// A longer state file is not ours.
const MAX_STATE_BYTES: u64 = 1 << 20;

/// The directory of state files.
#[derive(Debug, Clone)]
pub struct StateDir(PathBuf);

/// One state file, locked.
#[derive(Debug)]
pub struct State {
    path: PathBuf,
    file: File,
    content: Content,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content {
    server: String,
    source: PathBuf,
    bucket: String,
    key: String,
    fingerprint: Option<Fingerprint>,
    #[serde(default)]
    lanes: Vec<Lane>,
}

/// One tus upload that carries a stretch of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// The upload's address as the node gave it.
    pub url: String,
    /// Where in the source it begins.
    pub start_bytes: u64,
    /// How much of it it carries.
    pub length_bytes: u64,
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

    /// Opens and locks the state of one upload.
    pub fn open(
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
        let path = self.0.join(format!("{name}.json"));
        let fail = |e| Error::local("write", &path, e);
        xdg::make_private_dir(&self.0).map_err(fail)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::InUse {
                    what: source.display().to_string(),
                });
            }
            Err(TryLockError::Error(e)) => return Err(fail(e)),
        }
        let mut text = Vec::new();
        (&file)
            .take(MAX_STATE_BYTES)
            .read_to_end(&mut text)
            .map_err(fail)?;
        // A torn or foreign file is as good as none.
        let mut content: Content = serde_json::from_slice(&text).unwrap_or_default();
        server.clone_into(&mut content.server);
        source.clone_into(&mut content.source);
        bucket.clone_into(&mut content.bucket);
        key.clone_into(&mut content.key);
        Ok(State {
            path,
            file,
            content,
        })
    }

    /// Removes what has expired. Best effort.
    fn sweep(&self) {
        let now = SystemTime::now();
        let Ok(entries) = fs::read_dir(&self.0) else {
            return;
        };
        for entry in entries.flatten() {
            let old = entry
                .metadata()
                .and_then(|m| m.modified())
                .is_ok_and(|t| now.duration_since(t).is_ok_and(|age| age > MAX_AGE));
            if old {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl State {
    /// The lane that carries the whole source, if an upload was begun.
    pub fn lane(&self) -> Option<&Lane> {
        self.content.lanes.first()
    }

    /// Whether the remembered upload is of this very source.
    pub fn is_of(&self, source: &Source) -> bool {
        self.content.fingerprint.as_ref() == Some(source.fingerprint())
    }

    /// Remembers a new upload.
    pub(super) fn begin(&mut self, source: &Source, url: &str) -> Result<(), Error> {
        self.content.fingerprint = Some(source.fingerprint().clone());
        self.content.lanes = vec![Lane {
            url: url.to_owned(),
            start_bytes: 0,
            length_bytes: source.size_bytes(),
        }];
        self.write()
    }

    /// Forgets the upload, keeps the lock.
    pub(super) fn clear(&mut self) -> Result<(), Error> {
        self.content.fingerprint = None;
        self.content.lanes.clear();
        self.write()
    }

    /// Removes the file.
    pub(super) fn forget(self) {
        // What stays behind is found to be finished, or expired, by whoever reads it next.
        let _ = fs::remove_file(&self.path);
    }

    fn write(&mut self) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(&self.content).expect("plain data serialises");
        let Self { path, file, .. } = self;
        file.rewind()
            .and_then(|()| file.set_len(0))
            .and_then(|()| file.write_all(&text))
            .and_then(|()| file.sync_data())
            .map_err(|e| Error::local("write", path.as_path(), e))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn state_is_kept_locked_and_of_one_source() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("film.mp4");
        fs::write(&file, b"one").unwrap();
        let states = StateDir::at(dir.path().join("state"));
        let open = || states.open("http://n", &file, "films", "film.mp4");
        let source = Source::open(&file).await.unwrap();
        let mut state = open().unwrap();
        assert!(state.lane().is_none());
        state.begin(&source, "/-/tus/1").unwrap();
        assert!(matches!(open(), Err(Error::InUse { .. })));
        drop(state);
        let state = open().unwrap();
        assert_eq!(state.lane().unwrap().url, "/-/tus/1");
        assert!(state.is_of(&source));
        fs::write(&file, b"other").unwrap();
        assert!(!state.is_of(&Source::open(&file).await.unwrap()));
        state.forget();
        assert!(open().unwrap().lane().is_none());
    }

    #[test]
    fn a_torn_state_file_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let states = StateDir::at(dir.path());
        let state = states.open("a", Path::new("/b"), "c", "d").unwrap();
        fs::write(&state.path, b"{\"server\": \"http").unwrap();
        drop(state);
        let state = states.open("a", Path::new("/b"), "c", "d").unwrap();
        assert!(state.lane().is_none());
    }
}
