//! Files that no row knows: what a crash between the file and its commit leaves.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::sync::Arc;

use super::BlobError;
use super::held;
use super::room::{Blobs, DIRS, Room, blocking};
use crate::kernel::BlobId;

/// Ids asked about at once; also the most files held open by a collection.
const BATCH: usize = 64;

impl Blobs {
    /// Removes every file that nobody holds and that `known` does not know; returns the ids of the removed.
    ///
    /// `known` gets ids and returns those of them that have a row.
    /// It is asked again after a file's lock was taken, because whoever held the lock may have committed the row in between.
    /// When it fails the collection stops, with nothing removed that was not certain.
    pub async fn collect_orphans<F, R, E>(&self, known: F) -> Result<Vec<BlobId>, E>
    where
        F: FnMut(Vec<BlobId>) -> R,
        R: Future<Output = Result<Vec<BlobId>, E>>,
        E: From<BlobError>,
    {
        self.each_orphan(known, true).await
    }

    /// The same files, left where they are.
    pub async fn orphans<F, R, E>(&self, known: F) -> Result<Vec<BlobId>, E>
    where
        F: FnMut(Vec<BlobId>) -> R,
        R: Future<Output = Result<Vec<BlobId>, E>>,
        E: From<BlobError>,
    {
        self.each_orphan(known, false).await
    }

    async fn each_orphan<F, R, E>(&self, mut known: F, is_removed: bool) -> Result<Vec<BlobId>, E>
    where
        F: FnMut(Vec<BlobId>) -> R,
        R: Future<Output = Result<Vec<BlobId>, E>>,
        E: From<BlobError>,
    {
        let mut found = Vec::new();
        let rooms = self.rooms();
        let dirs = rooms
            .iter()
            .flat_map(|room| (0..DIRS).map(move |dir| (room, dir)));
        for (home, dir) in dirs {
            let room = Arc::clone(home);
            let ids = blocking("listing blobs", move || list(&room, dir)).await?;
            for batch in ids.chunks(BATCH) {
                let strays = without(batch, known(batch.to_vec()).await?);
                if strays.is_empty() {
                    continue;
                }
                let room = Arc::clone(home);
                let held = blocking("locking orphans", move || lock(&room, strays)).await?;
                let ids: Vec<BlobId> = held.iter().map(|(id, _)| *id).collect();
                let orphans = without(&ids, known(ids.clone()).await?);
                for id in orphans {
                    if is_removed {
                        super::moves::remove_in(home, id).await?;
                    }
                    found.push(id);
                }
                drop(held);
            }
        }
        Ok(found)
    }
}

fn without(ids: &[BlobId], known: Vec<BlobId>) -> Vec<BlobId> {
    let known: HashSet<BlobId> = known.into_iter().collect();
    let strays = ids.iter().filter(|id| !known.contains(id));
    strays.copied().collect()
}

fn list(room: &Room, dir: usize) -> Result<Vec<BlobId>, BlobError> {
    let path = room.dir.join(format!("{dir:02x}"));
    let names = fs::read_dir(path).and_then(|entries| {
        entries
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<Vec<_>>>()
    });
    let names = names.map_err(|e| room.error("listing blobs", e))?;
    Ok(names
        .iter()
        .filter_map(|name| name.to_str()?.parse().ok())
        .collect())
}

/// The files that nobody else holds, locked.
fn lock(room: &Room, ids: Vec<BlobId>) -> Result<Vec<(BlobId, File)>, BlobError> {
    let mut locked = Vec::new();
    for id in ids {
        let file = match File::open(room.path_of(id)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(room.error("opening a file", error)),
        };
        if held::try_lock(&file).map_err(|e| room.error("locking a file", e))? {
            locked.push((id, file));
        }
    }
    Ok(locked)
}
