//! Files that the catalog does not know yet: held by a lock, removed when nobody wants them.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FlockOperation;
use tokio_util::task::TaskTracker;

use crate::kernel::BlobId;

/// A file with an exclusive lock that is removed on drop, unless [`Held::keep`] says otherwise.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: BlobId,
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    keep: bool,
    tracker: TaskTracker,
}

impl Held {
    /// Makes a file in `dir` and locks it.
    ///
    /// A sweeper may lock and remove the file in the instant between its creation and our lock; then another name is tried.
    pub(super) fn create(dir: &Path, id: BlobId, tracker: &TaskTracker) -> io::Result<Self> {
        let path = dir.join(id.to_string());
        for _ in 0..CREATE_TRIES_MAX {
            let file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            if try_lock(&file)? && rustix::fs::fstat(&file)?.st_nlink > 0 {
                return Ok(Self {
                    id,
                    file: Arc::new(file),
                    path,
                    keep: false,
                    tracker: tracker.clone(),
                });
            }
        }
        Err(io::Error::other("a sweeper took every new file"))
    }

    /// Moves the file; the lock stays on it.
    pub(super) fn rename(&mut self, to: PathBuf) -> io::Result<()> {
        std::fs::rename(&self.path, &to)?;
        self.path = to;
        Ok(())
    }

    /// From now on the drop unlocks only.
    pub(super) fn keep(mut self) -> BlobLock {
        self.keep = true;
        BlobLock {
            id: self.id,
            _file: Arc::clone(&self.file),
        }
    }
}

/// A sweeper of another daemon can be in the way once; more often means that something is wrong.
const CREATE_TRIES_MAX: usize = 16;

impl Drop for Held {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let path = std::mem::take(&mut self.path);
        let file = Arc::clone(&self.file);
        // Unlocked only after the removal: the descriptor goes along.
        let remove = move || {
            let _gone_or_swept_later = std::fs::remove_file(path);
            drop(file);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(self.tracker.spawn_blocking_on(remove, &runtime)),
            Err(_) => remove(),
        }
    }
}

/// Takes the exclusive lock of a file; `false` when somebody else has it.
pub(super) fn try_lock(file: &File) -> io::Result<bool> {
    try_flock(file, FlockOperation::NonBlockingLockExclusive)
}

/// Takes a lock of a file that others may share; `false` when somebody has it alone.
pub(super) fn try_share(file: &File) -> io::Result<bool> {
    try_flock(file, FlockOperation::NonBlockingLockShared)
}

fn try_flock(file: &File, how: FlockOperation) -> io::Result<bool> {
    match rustix::fs::flock(file, how) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Protects the file of a blob from the orphan collector of any daemon until it is dropped, which should be after the catalog has the row.
///
/// The drop never removes the file: a commit whose outcome is unknown leaves at most an orphan.
#[derive(Debug)]
pub struct BlobLock {
    pub(super) id: BlobId,
    _file: Arc<File>,
}

impl BlobLock {
    /// The blob.
    pub fn id(&self) -> BlobId {
        self.id
    }
}
