//! Further disks beside the main directory.
//!
//! A disk is a directory with a marker file that holds its id, so that an empty mount point or somebody else's disk is not taken for it; its blobs lie in `blobs/` below, as in the main directory.
//! Where a blob lies is where its file is found: the main directory first, then the disks in their order.
//! So a file can be moved without a row being changed, and two places at once, in the middle of a move, are both right.
//! New files go where most bytes are free.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::room::{Blobs, MAIN, Room, blocking};
use super::space::Space;
use super::{BlobError, BlobOptions};
use crate::kernel::BlobId;

/// The marker file of a disk.
const MARKER: &str = "nebula-disk";
/// Why a disk that is not configured is away.
const FORGOTTEN: &str = "it is not in the configuration, and was not emptied with `nebulad drain`";

/// A disk, as configured.
#[derive(Clone, Debug)]
pub struct DiskOptions {
    /// What people call it.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// Bytes of its file system that are never filled.
    pub reserve_bytes: u64,
}

/// How a disk is.
#[derive(Clone, Debug)]
pub struct DiskInfo {
    /// What people call it; `main` is the data directory's own.
    pub name: String,
    /// Its directory.
    pub path: PathBuf,
    /// Why it cannot be used now; `None` when it can.
    pub away: Option<String>,
    /// Whether nothing new goes there, as it is to be emptied.
    pub is_draining: bool,
    /// Its space, when it is there.
    pub space: Option<Space>,
}

/// The disks beside the main directory.
#[derive(Debug, Default)]
pub(super) struct Disks {
    list: Vec<Disk>,
    main_drains: AtomicBool,
    /// Names of disks that still hold files and are not configured any more.
    forgotten: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Disk {
    options: DiskOptions,
    drains: AtomicBool,
    state: Mutex<State>,
}

#[derive(Clone, Debug)]
enum State {
    /// The room in it, and the id that its marker holds.
    Here(Arc<Room>, String),
    Away(String),
}

impl Disk {
    fn state(&self) -> State {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn marker(&self) -> PathBuf {
        self.options.path.join(MARKER)
    }

    /// The room, after a look at the marker: under an unmounted disk lies an empty directory.
    fn room(&self) -> Option<Arc<Room>> {
        let State::Here(room, id) = self.state() else {
            return None;
        };
        match check_marker(&self.marker(), &id) {
            Ok(()) => Some(room),
            Err(why) => {
                tracing::error!(disk = %self.options.name, "disk {} is away: {why}", self.options.name);
                *self.lock() = State::Away(why);
                None
            }
        }
    }
}

impl Disks {
    /// Whether the main directory is all there is.
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty() && self.forgotten().is_empty()
    }

    fn forgotten(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.forgotten
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Blobs {
    /// Adds disks, each away until [`Blobs::look_at_disk`] has found it.
    #[must_use]
    pub fn with_disks(self, disks: Vec<DiskOptions>) -> Self {
        let disk = |options| Disk {
            options,
            drains: AtomicBool::new(false),
            state: Mutex::new(State::Away("nobody has looked at it yet".into())),
        };
        let disks = Disks {
            list: disks.into_iter().map(disk).collect(),
            ..Disks::default()
        };
        Self(self.0, Arc::new(disks))
    }

    /// Names of the disks beside the main directory.
    pub fn disk_names(&self) -> Vec<String> {
        let names = self.1.list.iter().map(|disk| disk.options.name.clone());
        names.collect()
    }

    /// Whether this is the main directory or one of the disks.
    pub fn has_disk(&self, name: &str) -> bool {
        name == MAIN || self.1.list.iter().any(|disk| disk.options.name == name)
    }

    /// How every disk is, the main directory first.
    pub fn disks(&self) -> Vec<DiskInfo> {
        let main = DiskInfo {
            name: MAIN.into(),
            path: self.0.dir.clone(),
            away: None,
            is_draining: self.1.main_drains.load(Ordering::Relaxed),
            space: Space::of(&self.0.dir, self.0.reserve).ok(),
        };
        let others = self.1.list.iter().map(|disk| {
            let (away, space) = match disk.state() {
                State::Away(why) => (Some(why), None),
                State::Here(room, _) => (None, Space::of(&room.dir, room.reserve).ok()),
            };
            DiskInfo {
                name: disk.options.name.clone(),
                path: disk.options.path.clone(),
                away,
                is_draining: disk.drains.load(Ordering::Relaxed),
                space,
            }
        });
        let forgotten = self.1.forgotten().clone();
        let forgotten = forgotten.into_iter().map(|name| DiskInfo {
            name,
            path: PathBuf::new(),
            away: Some(FORGOTTEN.into()),
            is_draining: false,
            space: None,
        });
        std::iter::once(main)
            .chain(others)
            .chain(forgotten)
            .collect()
    }

    /// Names disks that still hold files and are not configured: what lies on them is away, not lost.
    pub fn set_forgotten(&self, names: Vec<String>) {
        *self.1.forgotten() = names;
    }

    /// Says whether new files may go to a disk.
    pub fn set_draining(&self, name: &str, drains: bool) {
        if name == MAIN {
            self.1.main_drains.store(drains, Ordering::Relaxed);
        }
        let found = self.1.list.iter().find(|disk| disk.options.name == name);
        if let Some(disk) = found {
            disk.drains.store(drains, Ordering::Relaxed);
        }
    }

    /// Looks whether a disk is there with this id, and opens it; `fresh` gives an unmarked directory its marker. `true` when it has come (back) just now.
    ///
    /// # Errors
    /// [`BlobError::DiskAway`] with the reason.
    pub async fn look_at_disk(&self, name: &str, id: &str, fresh: bool) -> Result<bool, BlobError> {
        let found = self.1.list.iter().position(|d| d.options.name == name);
        let Some(at) = found else {
            return Ok(false);
        };
        let (blobs, id) = (self.clone(), id.to_owned());
        blocking("looking at a disk", move || {
            let disk = &blobs.1.list[at];
            let looked = mark(disk, &id, fresh).and_then(|()| match disk.state() {
                State::Here(..) => Ok(None),
                State::Away(_) => {
                    let options = BlobOptions {
                        dir: disk.options.path.join("blobs"),
                        reserve_bytes: disk.options.reserve_bytes,
                    };
                    let room = Room::open(options, disk.options.name.clone(), &blobs.0);
                    room.map(Some).map_err(|error| error.to_string())
                }
            });
            let mut state = disk.lock();
            match looked {
                Ok(None) => Ok(false),
                Ok(Some(room)) => {
                    *state = State::Here(Arc::new(room), id);
                    Ok(true)
                }
                Err(why) => {
                    *state = State::Away(why.clone());
                    Err(BlobError::DiskAway {
                        disks: disk.options.name.clone(),
                        why,
                    })
                }
            }
        })
        .await
    }

    /// The rooms that are there, the main one first.
    pub(super) fn rooms(&self) -> Vec<Arc<Room>> {
        let others = self.1.list.iter().filter_map(|disk| match disk.state() {
            State::Here(room, _) => Some(room),
            State::Away(_) => None,
        });
        std::iter::once(Arc::clone(&self.0)).chain(others).collect()
    }

    /// The room of a disk.
    pub(super) fn room_named(&self, name: &str) -> Result<Arc<Room>, BlobError> {
        let rooms = self.rooms();
        let found = rooms.into_iter().find(|room| room.name == name);
        found.ok_or_else(|| self.away(name))
    }

    fn away(&self, disks: &str) -> BlobError {
        let first = self.1.list.iter().find(|d| disks.contains(&d.options.name));
        let why = match first.map(Disk::state) {
            Some(State::Away(why)) => why,
            _ => FORGOTTEN.into(),
        };
        BlobError::DiskAway {
            disks: disks.into(),
            why,
        }
    }

    /// Names of the disks that are away, after a look at each; blocking.
    fn away_now(&self) -> Vec<String> {
        let away = self.1.list.iter().filter(|disk| disk.room().is_none());
        let away = away.map(|disk| disk.options.name.clone());
        away.chain(self.1.forgotten().iter().cloned()).collect()
    }

    /// Whether the main directory is there and can be written.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`] and [`BlobError::ReadOnly`]; a full disk is a normal state and no error.
    pub fn probe(&self) -> Result<(), BlobError> {
        let dir = &self.0.dir;
        let space = Space::of(dir, 0)?;
        match fs::metadata(&self.0.tmp) {
            _ if space.read_only => Err(BlobError::ReadOnly { dir: dir.clone() }),
            Err(error) => Err(self.0.error("looking at the data directory", error)),
            Ok(_) => Ok(()),
        }
    }

    /// Whether every disk is there, so that a file that is not found is missing.
    pub fn all_disks_here(&self) -> bool {
        let away = |disk: &Disk| matches!(disk.state(), State::Away(_));
        !self.1.list.iter().any(away) && self.1.forgotten().is_empty()
    }

    /// The room in which a blob's file lies; the main one when it is in none and no disk is away.
    ///
    /// # Errors
    /// [`BlobError::DiskAway`] when it is in none that is there.
    pub(super) async fn room_of(&self, id: BlobId) -> Result<Arc<Room>, BlobError> {
        if self.1.is_empty() {
            return Ok(Arc::clone(&self.0));
        }
        let blobs = self.clone();
        blocking("looking for a file", move || {
            let rooms = blobs.rooms();
            let places: [fn(&Room, BlobId) -> PathBuf; 3] =
                [Room::path_of, Room::aside, Room::list];
            for place in places {
                let here = |room: &&Arc<Room>| fs::symlink_metadata(place(room, id)).is_ok();
                if let Some(room) = rooms.iter().find(here) {
                    return Ok(Arc::clone(room));
                }
            }
            let away = blobs.away_now();
            if away.is_empty() {
                return Ok(Arc::clone(&blobs.0));
            }
            Err(blobs.away(&away.join(", ")))
        })
        .await
    }

    /// Where a new file of this length goes: where most is free, and not to `but`.
    pub(super) fn pick(&self, bytes: u64, but: &str) -> Result<Arc<Room>, BlobError> {
        if self.1.is_empty() {
            self.0.admit(bytes)?;
            return Ok(Arc::clone(&self.0));
        }
        let main_drains = self.1.main_drains.load(Ordering::Relaxed);
        let main = Some(Arc::clone(&self.0)).filter(|_| !main_drains);
        let others = self.1.list.iter().filter_map(|disk| {
            let drains = disk.drains.load(Ordering::Relaxed);
            disk.room().filter(|_| !drains)
        });
        let spaces = main
            .into_iter()
            .chain(others)
            .filter(|room| room.name != but)
            .filter_map(|room| Some((Space::of(&room.dir, room.reserve).ok()?, room)))
            .filter(|(space, _)| !space.read_only);
        let best = spaces.max_by_key(|(space, _)| space.free.saturating_sub(space.reserve));
        match best {
            Some((space, room)) => space.admit(bytes).map(|()| room),
            // Nowhere: the main directory says why.
            None => self.0.admit(bytes).map(|()| Arc::clone(&self.0)),
        }
    }
}

/// Compares the marker; `Err` says in words what is wrong.
fn check_marker(marker: &Path, id: &str) -> Result<(), String> {
    match fs::read_to_string(marker) {
        Ok(text) if text.trim() == id => Ok(()),
        Ok(_) => Err(format!(
            "{} is the marker of another disk or appliance",
            marker.display()
        )),
        Err(error) => Err(format!("{}: {error}; is it mounted?", marker.display())),
    }
}

/// Looks at the marker, and makes it in a directory that never had one.
fn mark(disk: &Disk, id: &str, fresh: bool) -> Result<(), String> {
    let marker = disk.marker();
    let (path, said) = (&disk.options.path, |error: io::Error| error.to_string());
    if !fresh || marker.exists() {
        return check_marker(&marker, id);
    }
    let there = fs::metadata(path)
        .map_err(|error| format!("{}: {error}; make it, or mount it", path.display()))?;
    if path.join("blobs").exists() {
        return Err(format!(
            "{} holds blobs and no marker: it is not a new disk",
            path.display()
        ));
    }
    let data = disk
        .options
        .path
        .parent()
        .and_then(|p| fs::metadata(p).ok());
    if data.is_some_and(|parent| parent.dev() == there.dev()) {
        tracing::warn!(disk = %disk.options.name, "disk {} lies on the file system of its parent directory; is it mounted?", disk.options.name);
    }
    let fresh = path.join(format!("{MARKER}.new"));
    let mut file = File::create(&fresh).map_err(said)?;
    writeln!(file, "{id}").map_err(said)?;
    file.sync_all().map_err(said)?;
    fs::rename(&fresh, &marker).map_err(said)?;
    super::dirsync::sync_dir(path).map_err(said)
}
