//! Moving files from one disk to another while they are read.
//!
//! Copy, compare, sync, name, sync the name; only then does the old one go.
//! Who has the old one open reads on; who looks for the file meanwhile finds both, or the new one.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::sync::Arc;

use super::BlobError;
use super::held::{BlobLock, Held};
use super::room::{Blobs, Room, blocking};
use super::sums::SUM_BYTES;
use crate::kernel::BlobId;
use crate::kernel::limits::SUM_BLOCK_BYTES;

/// What still lies on a disk that is to be emptied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DiskContent {
    /// Files in their place.
    pub files: Vec<BlobId>,
    /// Files that were found damaged.
    pub aside: Vec<BlobId>,
    /// Files that somebody writes.
    pub unfinished: usize,
}

impl Blobs {
    /// What lies on a disk.
    pub async fn content_of_disk(&self, name: &str) -> Result<DiskContent, BlobError> {
        let room = self.room_named(name)?;
        blocking("listing a disk", move || {
            let mut content = DiskContent::default();
            for file in super::files::BlobFiles::of(vec![Arc::clone(&room)]) {
                content.files.push(file?.id);
            }
            let error = |e: io::Error| room.error("listing a disk", e);
            for entry in fs::read_dir(&room.quarantine).map_err(error)? {
                let name = entry.map_err(error)?.file_name();
                let id = name.to_str().map(|name| name.trim_end_matches(".blocks"));
                content
                    .aside
                    .extend(id.and_then(|id| id.parse::<BlobId>().ok()));
            }
            content.aside.sort_unstable();
            content.aside.dedup();
            content.unfinished = fs::read_dir(&room.tmp).map_err(error)?.count();
            Ok(content)
        })
        .await
    }

    /// Copies a complete blob to the disk with most space, compared with its sums; the copy is durable and in its place, and protected until the lock is dropped.
    ///
    /// # Errors
    /// [`BlobError::Damaged`] when it is not what it was; [`BlobError::Missing`] when it is not in its place on that disk any more.
    pub async fn copy_off(
        &self,
        id: BlobId,
        from: &str,
        size: u64,
        sums: &[u8],
    ) -> Result<BlobLock, BlobError> {
        let source = Self::inspect_in(self.room_named(from)?, id).await?;
        if source.is_set_aside() {
            return Err(BlobError::Missing { id });
        }
        if source.size() != size {
            return Err(BlobError::Damaged { id, block: 0 });
        }
        let to = self.pick(size, from)?;
        let sums: Arc<[[u8; SUM_BYTES]]> = sums.as_chunks().0.into();
        let held = source.copy(&to, id, size, sums).await?;
        settle_in(&to, held).await
    }

    /// Moves the file of an unfinished upload, which nobody may be writing.
    ///
    /// # Errors
    /// [`BlobError::Busy`] while somebody writes it.
    pub async fn move_upload(&self, id: BlobId, from: &str) -> Result<(), BlobError> {
        let room = self.room_named(from)?;
        let locked = room.lock_file(id).await?;
        let size = locked
            .metadata()
            .map_err(|e| room.error("moving a file", e))?;
        let to = self.pick(size.len(), from)?;
        let (target, file) = (Arc::clone(&to), Arc::clone(&locked));
        let copy = move || {
            let error = |e: io::Error| target.error("moving a file", e);
            let held = Held::create(&target.tmp, id, &target.tracker).map_err(error)?;
            let mut buffer = vec![0; SUM_BLOCK_BYTES as usize];
            let mut at = 0;
            loop {
                match file.read_at(&mut buffer, at).map_err(error)? {
                    0 => break,
                    len => held.file.write_all_at(&buffer[..len], at).map_err(error)?,
                }
                at = held.file.metadata().map_err(error)?.len();
            }
            held.file.sync_all().map_err(error)?;
            Ok(held)
        };
        let held = room.idle.run("moving a file", copy).await?;
        drop(settle_in(&to, held).await?);
        // The next writer, who may be waiting for the lock of the old file, finds that it has no name any more.
        remove_in(&room, id).await?;
        drop(locked);
        Ok(())
    }

    /// Moves a file that was found damaged, with its list.
    pub async fn move_aside(&self, id: BlobId, from: &str) -> Result<(), BlobError> {
        let room = self.room_named(from)?;
        let to = self.pick(0, from)?;
        let (source, target) = (Arc::clone(&room), Arc::clone(&to));
        let copy = move || {
            let error = |e: io::Error| target.error("moving a file", e);
            // The list first: a file without one is refused whole.
            for (old, new) in [
                (source.list(id), target.list(id)),
                (source.aside(id), target.aside(id)),
            ] {
                let fresh = new.with_extension("new");
                match fs::copy(&old, &fresh) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    copied => copied.map_err(error)?,
                };
                let file = fs::File::open(&fresh).map_err(error)?;
                file.set_permissions(Permissions::from_mode(0o400))
                    .and_then(|()| file.sync_all())
                    .and_then(|()| fs::rename(&fresh, &new))
                    .map_err(error)?;
            }
            Ok(())
        };
        room.idle.run("moving a file", copy).await?;
        to.quarantine_sync.sync(&to.quarantine, &to.dir).await?;
        remove_in(&room, id).await.map(drop)
    }

    /// Removes a file from one disk, wherever else it lies.
    pub async fn remove_from_disk(&self, id: BlobId, name: &str) -> Result<(), BlobError> {
        remove_in(&self.room_named(name)?, id).await.map(drop)
    }
}

/// Gives a copied file its place, durably.
pub(super) async fn settle_in(room: &Arc<Room>, held: Held) -> Result<BlobLock, BlobError> {
    let (inner, id) = (Arc::clone(room), held.id);
    let lock = blocking("moving a file into place", move || {
        let mut held = held;
        held.rename(inner.path_of(id))
            .map_err(|e| inner.error("moving a file into place", e))?;
        drop(inner.open_files.forget(id));
        Ok(held.keep())
    })
    .await?;
    room.sync_dir_of(id).await?;
    Ok(lock)
}

/// Removes a file of one room, in its place and aside; `true` when it was in its place.
pub(super) async fn remove_in(room: &Arc<Room>, id: BlobId) -> Result<bool, BlobError> {
    let room = Arc::clone(room);
    blocking("removing a file", move || {
        drop(room.open_files.forget(id));
        let error = |e: io::Error| room.error("removing a file", e);
        let found = match fs::remove_file(room.path_of(id)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            removed => removed.map(|()| true).map_err(error)?,
        };
        room.remove_aside(id).map_err(error)?;
        Ok(found)
    })
    .await
}
