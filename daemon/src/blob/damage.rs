//! Files that were found damaged: set aside with a list of the bad blocks, so that the good ones stay readable and the bad ones are never served.
//!
//! `quarantine/<id>` is the file and `quarantine/<id>.blocks` the list, one number per line.
//! The file loses its write permission first, by which readers that have it open, in this daemon or another, notice and open it anew.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;

use super::moves::{remove_in, settle_in};
use super::room::{Blobs, Room, blocking};
use super::verify::DAMAGED_BLOCKS_MAX;
use super::{BlobError, Verdict};
use crate::kernel::BlobId;
use crate::kernel::limits::SUM_BLOCK_BYTES;

/// Permissions of a file in order, and of one that was set aside.
const SOUND: u32 = 0o600;
const SET_ASIDE: u32 = 0o400;

/// Whether the permissions of an open file say that it was set aside since.
pub(super) fn is_set_aside(mode: u32) -> bool {
    mode & 0o200 == 0
}

/// Blocks that are not served, ascending.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Damage(Vec<u64>);

impl Damage {
    /// Adds blocks.
    fn extend(&mut self, blocks: &[u64]) {
        self.0.extend_from_slice(blocks);
        self.0.sort_unstable();
        self.0.dedup();
        self.0.truncate(DAMAGED_BLOCKS_MAX);
    }

    /// A full list names the first blocks only; everything behind them counts as damaged.
    fn contains(&self, block: u64) -> bool {
        self.0.binary_search(&block).is_ok()
            || (self.0.len() >= DAMAGED_BLOCKS_MAX && self.0.last().is_some_and(|l| block > *l))
    }

    /// The first damaged block that the bytes `range` of the file touch.
    pub(super) fn first_in(&self, range: Range<u64>) -> Option<u64> {
        if range.is_empty() {
            return None;
        }
        let (first, last) = (
            range.start / SUM_BLOCK_BYTES,
            (range.end - 1) / SUM_BLOCK_BYTES,
        );
        let listed = self.0.partition_point(|block| *block < first);
        match self.0.get(listed) {
            Some(block) if *block <= last => Some(*block),
            None if self.contains(last) => Some(first),
            _ => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let blocks = text.lines().map(str::parse).collect::<Result<_, _>>();
        blocks.ok().map(Self)
    }
}

impl Blobs {
    /// Sets a damaged file aside, durably: from now on `blocks` of it are refused, the others are read as before.
    ///
    /// Of a file that was set aside before, more blocks are refused; of one that is not there, only the list is kept.
    pub async fn quarantine(&self, id: BlobId, blocks: &[u64]) -> Result<(), BlobError> {
        let room = self.room_of(id).await?;
        let home = Arc::clone(&room);
        let blocks = blocks.to_vec();
        blocking("setting a file aside", move || {
            let error = |e: io::Error| room.error("setting a file aside", e);
            let mut damage = room.damage(id).unwrap_or(Damage(Vec::new()));
            damage.extend(&blocks);
            room.write_list(id, &damage).map_err(error)?;
            let path = room.path_of(id);
            drop(room.open_files.forget(id));
            let moved = fs::set_permissions(&path, Permissions::from_mode(SET_ASIDE))
                .and_then(|()| fs::rename(&path, room.aside(id)));
            match moved {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(error(e)),
                _ => Ok(()),
            }
        })
        .await?;
        sync_aside(&home, id).await
    }

    /// Puts a file that was set aside back into its place: it was found whole after all.
    pub async fn readmit(&self, id: BlobId) -> Result<(), BlobError> {
        let room = self.room_of(id).await?;
        let home = Arc::clone(&room);
        blocking("putting a file back", move || {
            let error = |e: io::Error| room.file_error("putting a file back", id, e);
            let aside = room.aside(id);
            fs::set_permissions(&aside, Permissions::from_mode(SOUND)).map_err(error)?;
            fs::rename(&aside, room.path_of(id)).map_err(error)?;
            remove_if_there(&room.list(id)).map_err(error)
        })
        .await?;
        sync_aside(&home, id).await
    }

    /// Writes the file of `id` anew from the one of `from`, which must hold the same bytes: read, compared with the sums, synced, and only then in its place.
    ///
    /// Whoever reads the damaged file now goes on with it; a file that was set aside goes.
    ///
    /// # Errors
    /// [`BlobError::Damaged`] when the other file is damaged as well.
    pub async fn heal(
        &self,
        id: BlobId,
        from: BlobId,
        size: u64,
        sums: &[u8],
    ) -> Result<(), BlobError> {
        let source = self.inspect(from).await?;
        if source.size() < size {
            return Err(BlobError::Short {
                id: from,
                size: source.size(),
                wanted: size,
            });
        }
        let to = self.pick(size, "")?;
        let copied = source
            .copy(&to, id, size, sums.as_chunks().0.into())
            .await?;
        drop(settle_in(&to, copied).await?);
        // Now that the new file is durable the old one goes, wherever it lies.
        for room in self.rooms() {
            if !Arc::ptr_eq(&room, &to) {
                remove_in(&room, id).await?;
            }
        }
        let room = to;
        blocking("removing a healed file", move || {
            room.remove_aside(id)
                .map_err(|e| room.error("removing a healed file", e))
        })
        .await
    }

    /// Compares a file with the size and the sums of its row, be it in its place or set aside.
    pub async fn verify(&self, id: BlobId, size: u64, sums: &[u8]) -> Result<Verdict, BlobError> {
        let inspection = match self.inspect(id).await {
            Ok(inspection) => inspection,
            Err(BlobError::Missing { .. }) => return Ok(Verdict::Missing),
            Err(error) => return Err(error),
        };
        inspection.verify(size, sums).await
    }
}

async fn sync_aside(room: &Room, id: BlobId) -> Result<(), BlobError> {
    room.quarantine_sync
        .sync(&room.quarantine, &room.dir)
        .await?;
    room.sync_dir_of(id).await
}

impl Room {
    /// Where the file of this id lies when it was set aside.
    pub(super) fn aside(&self, id: BlobId) -> PathBuf {
        self.quarantine.join(id.to_string())
    }

    pub(super) fn list(&self, id: BlobId) -> PathBuf {
        self.quarantine.join(format!("{id}.blocks"))
    }

    /// The list beside a file that was set aside.
    fn damage(&self, id: BlobId) -> Option<Damage> {
        Damage::parse(&fs::read_to_string(self.list(id)).ok()?)
    }

    /// Opens a file that was set aside; without a readable list no block of it is trusted.
    pub(super) fn open_aside(&self, id: BlobId) -> io::Result<(File, Damage)> {
        let file = File::open(self.aside(id))?;
        let everything = || Damage((0..DAMAGED_BLOCKS_MAX as u64).collect());
        Ok((file, self.damage(id).unwrap_or_else(everything)))
    }

    fn write_list(&self, id: BlobId, damage: &Damage) -> io::Result<()> {
        let fresh = self.quarantine.join(format!("{id}.new"));
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(SOUND)
            .open(&fresh)?;
        for block in &damage.0 {
            writeln!(file, "{block}")?;
        }
        file.sync_all()?;
        fs::rename(fresh, self.list(id))
    }

    /// Removes what lies aside of this id; nothing happens when nothing does.
    pub(super) fn remove_aside(&self, id: BlobId) -> io::Result<()> {
        remove_if_there(&self.aside(id))?;
        remove_if_there(&self.list(id))
    }
}

fn remove_if_there(path: &std::path::Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_damaged_where_it_touches_a_bad_block() {
        let mib = SUM_BLOCK_BYTES;
        let damage = Damage(vec![1, 4]);
        assert_eq!(damage.first_in(0..mib), None);
        assert_eq!(damage.first_in(0..mib + 1), Some(1));
        assert_eq!(damage.first_in(2 * mib..4 * mib), None);
        assert_eq!(damage.first_in(2 * mib..9 * mib), Some(4));
        assert_eq!(damage.first_in(5 * mib..99 * mib), None);
        assert_eq!(damage.first_in(mib..mib), None);
    }

    #[test]
    fn behind_a_full_list_everything_is_bad() {
        let mut damage = Damage(Vec::new());
        damage.extend(&(0..3000).map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(damage.0.len(), DAMAGED_BLOCKS_MAX);
        let beyond = 1_000_001 * SUM_BLOCK_BYTES;
        assert_eq!(damage.first_in(beyond..beyond + 1), Some(1_000_001));
        assert_eq!(damage.first_in(SUM_BLOCK_BYTES..SUM_BLOCK_BYTES + 1), None);
    }

    #[test]
    fn a_list_that_makes_no_sense_is_no_list() {
        assert_eq!(Damage::parse("1\n7\n"), Some(Damage(vec![1, 7])));
        assert_eq!(Damage::parse("1\nx\n"), None);
    }
}
