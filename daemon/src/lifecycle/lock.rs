//! Who lives in a data directory: one daemon, or two while one replaces the other.
//!
//! Two files, each locked with flock(2) by at most one process and holding a few words about it:
//!
//! - `daemon.lock`: the resident. A plain start needs it, and needs `candidate.lock` to be free besides.
//! - `candidate.lock`: a deploy candidate, beside a resident that drains or will. When the resident is gone, by a
//!   clean end or by kill -9, the candidate takes `daemon.lock` and leaves `candidate.lock`: it is the resident now.
//!
//! The kernel drops a lock with its process, so nothing is ever stale. The lock keeps out mistakes, not races between
//! two that belong there: whatever both may touch has a lease in the catalog.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::telemetry::build;

const RESIDENT: &str = "daemon.lock";
const CANDIDATE: &str = "candidate.lock";
/// How often a candidate looks whether the resident is gone.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a candidate waits for the candidate before it to become the resident.
const TURN: Duration = Duration::from_secs(20);
/// A holder's words are short; more would not be ours.
const WORDS_BYTES_MAX: u64 = 4096;

/// What a holder says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// When it took the directory, RFC 3339.
    pub started: String,
    /// Where it listens.
    pub listen: String,
    /// The commit it was built from.
    pub build: String,
}

impl Holder {
    /// This process, listening at `listen` since `started`.
    pub fn this_process(started: String, listen: String) -> Self {
        Self {
            pid: std::process::id(),
            started,
            listen,
            build: build::ID.to_owned(),
        }
    }
}

/// Why a data directory cannot be lived in.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another daemon lives there.
    #[error(
        "another daemon lives in {dir}\n  \
         who    pid {pid}, since {started}, at {listen}, build {build}\n  \
         cure   stop it first, or give this one its own directory with --data-dir",
        dir = .dir.display(), pid = .holder.pid, started = .holder.started,
        listen = .holder.listen, build = .holder.build
    )]
    Inhabited {
        /// The data directory.
        dir: PathBuf,
        /// Who lives there.
        holder: Holder,
    },
    /// Two candidates at once would be three daemons.
    #[error(
        "a deploy is under way in {dir}\n  \
         who    candidate pid {pid}, since {started}, build {build}\n  \
         cure   wait until the daemon that it replaces has drained",
        dir = .dir.display(), pid = .holder.pid, started = .holder.started, build = .holder.build
    )]
    Deploying {
        /// The data directory.
        dir: PathBuf,
        /// The candidate.
        holder: Holder,
    },
    /// The lock file itself cannot be used.
    #[error("{path} cannot be locked: {source}\n  cure   make the data directory writable for this user", path = .path.display())]
    Unusable {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// As what a daemon comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenure {
    /// The only one.
    Resident,
    /// To replace a resident that may still be there.
    Candidate,
}

/// The right to live in a data directory, for as long as this value lives.
#[derive(Debug)]
pub struct DataDirLock {
    dir: PathBuf,
    holder: Holder,
    resident: Option<File>,
    candidate: Option<File>,
}

impl DataDirLock {
    /// Takes the directory, or says who has it.
    pub fn take(dir: &Path, tenure: Tenure, holder: Holder) -> Result<Self, LockError> {
        let mut lock = Self {
            dir: dir.to_owned(),
            holder,
            resident: None,
            candidate: None,
        };
        match tenure {
            Tenure::Resident => {
                lock.resident =
                    Some(
                        lock.lock(RESIDENT)?
                            .map_err(|holder| LockError::Inhabited {
                                dir: dir.to_owned(),
                                holder,
                            })?,
                    );
                // Held for the moment of the start only: a candidate may be between the two.
                lock.candidate =
                    Some(
                        lock.lock(CANDIDATE)?
                            .map_err(|holder| LockError::Inhabited {
                                dir: dir.to_owned(),
                                holder,
                            })?,
                    );
                lock.candidate = None;
            }
            Tenure::Candidate => {
                lock.candidate =
                    Some(
                        lock.lock(CANDIDATE)?
                            .map_err(|holder| LockError::Deploying {
                                dir: dir.to_owned(),
                                holder,
                            })?,
                    );
                lock.promote()?;
            }
        }
        Ok(lock)
    }

    /// Takes the directory like [`DataDirLock::take`], but as a candidate waits a moment for the one before it: two
    /// deploys in a row shall not fail because the first one's predecessor is just about to end.
    pub async fn take_in_turn(
        dir: &Path,
        tenure: Tenure,
        holder: Holder,
    ) -> Result<Self, LockError> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        let begun = tokio::time::Instant::now();
        loop {
            look.tick().await;
            match Self::take(dir, tenure, holder.clone()) {
                Err(LockError::Deploying { .. }) if begun.elapsed() < TURN => {}
                taken => return taken,
            }
        }
    }

    /// Whether this daemon is the resident.
    pub fn is_resident(&self) -> bool {
        self.resident.is_some()
    }

    /// Makes a candidate the resident if the old one is gone; says whether this daemon is the resident now.
    pub fn promote(&mut self) -> Result<bool, LockError> {
        if self.resident.is_none()
            && let Ok(file) = self.lock(RESIDENT)?
        {
            self.resident = Some(file);
            self.candidate = None;
        }
        Ok(self.is_resident())
    }

    /// Holds the directory until `over`, becoming the resident as soon as it can; gives itself back, to be held until
    /// the process ends.
    pub async fn hold(mut self, over: CancellationToken) -> Self {
        let mut look = tokio::time::interval(LOOK_EVERY);
        while !self.is_resident() {
            if over.run_until_cancelled(look.tick()).await.is_none() {
                return self;
            }
            // An error now would be one later as well; the directory is shared meanwhile, which is safe.
            if let Ok(true) = self.promote() {
                info!("the daemon before this one is gone: the data directory is ours");
            }
        }
        over.cancelled().await;
        self
    }

    /// Locks one file: the file when it was free, the words of its holder when not.
    fn lock(&self, name: &str) -> Result<Result<File, Holder>, LockError> {
        let path = self.dir.join(name);
        let unusable = |source| LockError::Unusable {
            path: path.clone(),
            source,
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut words = String::new();
                // Between its lock and its words a holder is nobody in particular; its lock counts all the same.
                let _ = file.take(WORDS_BYTES_MAX).read_to_string(&mut words);
                return Ok(Err(serde_json::from_str(&words).unwrap_or_default()));
            }
            Err(TryLockError::Error(source)) => return Err(unusable(source)),
        }
        let words = serde_json::to_vec(&self.holder).expect("four plain fields are JSON");
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(&words))
            .map_err(unusable)?;
        Ok(Ok(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(listen: &str) -> Holder {
        Holder::this_process("2026-01-01T00:00:00Z".to_owned(), listen.to_owned())
    }

    #[test]
    fn a_second_daemon_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let first = DataDirLock::take(dir.path(), Tenure::Resident, holder("one:1")).expect("free");
        assert!(first.is_resident());
        let error = DataDirLock::take(dir.path(), Tenure::Resident, holder("two:2"))
            .expect_err("inhabited")
            .to_string();
        assert!(error.contains("at one:1"), "{error}");
        assert!(
            error.contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
        drop(first);
        DataDirLock::take(dir.path(), Tenure::Resident, holder("two:2")).expect("free again");
    }

    #[test]
    fn a_candidate_lives_beside_the_resident_and_inherits() {
        let dir = tempfile::tempdir().expect("a directory");
        let old = DataDirLock::take(dir.path(), Tenure::Resident, holder("old")).expect("free");
        let mut new = DataDirLock::take(dir.path(), Tenure::Candidate, holder("new"))
            .expect("a candidate may");
        assert!(
            !new.promote().expect("looks"),
            "the resident is still there"
        );
        let third = DataDirLock::take(dir.path(), Tenure::Candidate, holder("third"));
        assert!(
            matches!(third, Err(LockError::Deploying { .. })),
            "{third:?}"
        );
        drop(old);
        // In the gap between the two, nobody else gets in.
        let plain = DataDirLock::take(dir.path(), Tenure::Resident, holder("plain"));
        assert!(
            matches!(plain, Err(LockError::Inhabited { .. })),
            "{plain:?}"
        );
        drop(plain);
        assert!(new.promote().expect("looks"));
        let plain = DataDirLock::take(dir.path(), Tenure::Resident, holder("plain"));
        assert!(
            matches!(plain, Err(LockError::Inhabited { holder, .. }) if holder.listen == "new")
        );
        // The next deploy finds a resident and may come beside it.
        DataDirLock::take(dir.path(), Tenure::Candidate, holder("next"))
            .expect("the slot is free again");
    }

    #[test]
    fn a_candidate_in_an_empty_house_is_the_resident() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = DataDirLock::take(dir.path(), Tenure::Candidate, holder("only")).expect("free");
        assert!(lock.is_resident());
    }
}
