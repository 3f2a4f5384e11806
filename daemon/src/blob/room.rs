//! The handle to all blobs of one data directory.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::BlobError;
use super::abreast::Meeting;
use super::buffer::Buffers;
use super::dirsync::{DirSync, sync_dir};
use super::disks::Disks;
use super::filesync::EARLY_SYNCS_MAX;
use super::held::{self, BlobLock};
use super::idle::Idle;
use super::lane::Lanes;
use super::open::OpenFiles;
use super::space::Space;
use crate::kernel::BlobId;

/// Directories that the files are spread over, by the last two digits of their ids.
pub(super) const DIRS: usize = 256;

/// The name of the directory that is always there.
pub(super) const MAIN: &str = "main";

/// Where the bytes live.
#[derive(Clone, Debug)]
pub struct BlobOptions {
    /// The directory, made when absent; nothing else may live in it.
    pub dir: PathBuf,
    /// Bytes of the file system that are never filled.
    pub reserve_bytes: u64,
}

/// All blobs of one data directory; cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs(pub(super) Arc<Room>, pub(super) Arc<Disks>);

/// What every handle, writer and reader shares.
#[derive(Debug)]
pub(super) struct Room {
    /// What people call its disk.
    pub(super) name: String,
    pub(super) dir: PathBuf,
    pub(super) tmp: PathBuf,
    pub(super) quarantine: PathBuf,
    pub(super) reserve: u64,
    /// One for each directory.
    dirs: Vec<DirSync>,
    pub(super) quarantine_sync: DirSync,
    pub(super) open_files: OpenFiles,
    pub(super) buffers: Arc<Buffers>,
    /// In which uploads are gathered.
    pub(super) blocks: Arc<Buffers>,
    /// Of the uploads that are hashed now.
    pub(super) meeting: Meeting,
    /// Work of writers that goes on after they were dropped.
    pub(super) tracker: TaskTracker,
    /// The memory and threads that writers share.
    pub(super) lanes: Lanes,
    /// The same for their MD5, whose threads wait for each other.
    pub(super) md5_lanes: Lanes,
    /// For walks over every byte.
    pub(super) idle: Idle,
    /// Counts reads and writes of the disk that somebody waits for.
    pub(super) foreground: AtomicU64,
    /// Turns to set the disk to work before it must.
    pub(super) early_syncs: Arc<Semaphore>,
    /// Held from asking for free space until it is taken, so that two do not take the same.
    pub(super) taking: Mutex<()>,
}

impl Blobs {
    /// Opens the directory, making what is missing, and removes what a crash left in `tmp/`.
    pub async fn open(options: BlobOptions) -> Result<Self, BlobError> {
        blocking("opening the blobs", move || {
            let buffers = [Buffers::of_bodies(), Buffers::of_uploads()].map(Arc::new);
            let room = Room::prepare(options, MAIN.into(), buffers, TaskTracker::new())?;
            Ok(Self(Arc::new(room), Arc::default()))
        })
        .await
    }

    /// Total and free space and the reserve of the disk on which most is free.
    pub fn space(&self) -> Result<Space, BlobError> {
        let room = self.pick(0, "").unwrap_or_else(|_| Arc::clone(&self.0));
        Space::of(&room.dir, room.reserve)
    }

    /// Refuses a body of this length when it would eat the reserve; to be asked before the body is read.
    pub fn admit(&self, declared_bytes: u64) -> Result<(), BlobError> {
        self.pick(declared_bytes, "").map(drop)
    }

    /// Makes the empty file of an upload, durable in its directory, to be filled by [`Blobs::append`].
    ///
    /// Keep the lock until the catalog has the row, or the orphan collector may take the file.
    pub async fn create_open(&self) -> Result<BlobLock, BlobError> {
        self.create_reserved(0).await
    }

    /// Bytes of the file: of an upload, those received so far.
    pub async fn len(&self, id: BlobId) -> Result<u64, BlobError> {
        let room = self.room_of(id).await?;
        blocking("reading a file's length", move || {
            let found = fs::metadata(room.path_of(id));
            Ok(found
                .map_err(|e| room.file_error("reading a file's length", id, e))?
                .len())
        })
        .await
    }

    /// Cuts the file of an upload to `len` bytes, durably; a shorter file is [`BlobError::Short`].
    pub async fn truncate(&self, id: BlobId, len: u64) -> Result<(), BlobError> {
        let room = self.room_of(id).await?;
        let file = room.lock_file(id).await?;
        blocking("cutting a file", move || {
            let error = |e: io::Error| room.file_error("cutting a file", id, e);
            let size = file.metadata().map_err(error)?.len();
            if size < len {
                return Err(BlobError::Short {
                    id,
                    size,
                    wanted: len,
                });
            }
            file.set_len(len).map_err(error)?;
            file.sync_data().map_err(error)
        })
        .await
    }

    /// Removes the file, be it in its place or set aside; nothing happens when there is none.
    pub async fn remove(&self, id: BlobId) -> Result<(), BlobError> {
        let mut found = false;
        for room in self.rooms() {
            found |= super::moves::remove_in(&room, id).await?;
        }
        // It may lie on a disk that is away: then its row must stay until it was looked for there.
        if found || self.all_disks_here() {
            return Ok(());
        }
        self.room_of(id).await.map(drop)
    }

    /// Grows with every read and write of the disk that somebody waits for, so that background work can step back.
    pub fn foreground(&self) -> u64 {
        let rooms = self.rooms();
        let counts = rooms.iter().map(|r| r.foreground.load(Ordering::Relaxed));
        counts.fold(0, u64::wrapping_add)
    }

    /// Waits until dropped appenders have written what they took and dropped writers have removed their files; the last step of a shutdown.
    pub async fn settle(&self) {
        self.0.tracker.close();
        self.0.tracker.wait().await;
        self.0.tracker.reopen();
    }
}

impl Room {
    /// Opens the directory of a further disk, whose work counts as that of `main`.
    pub(super) fn open(options: BlobOptions, name: String, main: &Self) -> Result<Self, BlobError> {
        let buffers = [&main.buffers, &main.blocks].map(Arc::clone);
        Self::prepare(options, name, buffers, main.tracker.clone())
    }

    fn prepare(
        options: BlobOptions,
        name: String,
        [buffers, blocks]: [Arc<Buffers>; 2],
        tracker: TaskTracker,
    ) -> Result<Self, BlobError> {
        let dir = options.dir;
        prepare(&dir).map_err(|e| BlobError::sort("preparing the blob directory", &dir, e))?;
        let tmp = dir.join("tmp");
        sweep(&tmp).map_err(|e| BlobError::sort("clearing unfinished files", &dir, e))?;
        Ok(Self {
            name,
            quarantine: dir.join("quarantine"),
            tmp,
            reserve: options.reserve_bytes,
            dirs: (0..DIRS).map(|_| DirSync::default()).collect(),
            quarantine_sync: DirSync::default(),
            open_files: OpenFiles::default(),
            buffers,
            blocks,
            meeting: Meeting::default(),
            tracker,
            lanes: Lanes::few_threads(),
            md5_lanes: Lanes::thread_each(),
            idle: Idle::default(),
            foreground: AtomicU64::new(0),
            early_syncs: Arc::new(Semaphore::new(EARLY_SYNCS_MAX)),
            taking: Mutex::new(()),
            dir,
        })
    }

    /// Where files of this id lie.
    pub(super) fn dir_of(&self, id: BlobId) -> PathBuf {
        self.dir.join(format!("{:02x}", last_byte(id)))
    }

    /// The file of this id.
    pub(super) fn path_of(&self, id: BlobId) -> PathBuf {
        self.dir_of(id).join(id.to_string())
    }

    /// Makes changes of the directory of this id durable.
    pub(super) async fn sync_dir_of(&self, id: BlobId) -> Result<(), BlobError> {
        let sync = &self.dirs[usize::from(last_byte(id))];
        sync.sync(&self.dir_of(id), &self.dir).await
    }

    pub(super) fn admit(&self, bytes: u64) -> Result<(), BlobError> {
        Space::of(&self.dir, self.reserve)?.admit(bytes)
    }

    pub(super) fn error(&self, what: &'static str, error: impl Into<io::Error>) -> BlobError {
        BlobError::sort(what, &self.dir, error)
    }

    pub(super) fn file_error(
        &self,
        what: &'static str,
        id: BlobId,
        error: impl Into<io::Error>,
    ) -> BlobError {
        BlobError::sort_file(what, &self.dir, id, error)
    }
}

fn last_byte(id: BlobId) -> u8 {
    id.0.as_bytes()[15]
}

/// Runs disk work on a blocking thread.
pub(super) fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> impl Future<Output = Result<T, BlobError>> + Send {
    // Handed over at once, or every caller's future would have room for it.
    let task = tokio::task::spawn_blocking(work);
    async move {
        match task.await {
            Ok(done) => done,
            Err(_) => Err(BlobError::lost(what)),
        }
    }
}

/// Makes the directories, readable by nobody else.
fn prepare(dir: &Path) -> io::Result<()> {
    let mut private = DirBuilder::new();
    private.mode(0o700);
    private.recursive(true).create(dir)?;
    private.recursive(false);
    let names = (0..DIRS).map(|n| format!("{n:02x}"));
    let mut made = false;
    for name in names.chain(["tmp".into(), "quarantine".into()]) {
        match private.create(dir.join(name)) {
            Ok(()) => made = true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    if made {
        sync_dir(dir)?;
        if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
            sync_dir(parent)?;
        }
    }
    Ok(())
}

/// Removes files that nobody holds; what is not ours stays.
fn sweep(tmp: &Path) -> io::Result<()> {
    for entry in fs::read_dir(tmp)? {
        let entry = entry?;
        let ours = entry.file_name().to_str().map(str::parse::<BlobId>);
        if !matches!(ours, Some(Ok(_))) {
            continue;
        }
        let path = entry.path();
        match File::open(&path) {
            Ok(file) if held::try_lock(&file)? => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            },
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
