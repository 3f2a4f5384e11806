//! One file that several uploads fill, each a stretch of it.
//!
//! The length of such a file says nothing, so each upload has a small file of its own, its *mark*: the number of bytes that the kernel was given for its stretch.
//! A mark is written behind its bytes and never synced: it outlives the process, as they do.
//! After a power failure it may be ahead of them, so it names the boot that it belongs to, and one of another boot says nothing; what was synced is known to the catalog.
//! Who writes a stretch has the lock of its mark alone, and a share of the common file's, which keeps that from being moved.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, LazyLock};

use tokio::sync::watch;

use super::BlobError;
use super::append::{BlobAppender, sum_again};
use super::held::BlobLock;
use super::held::Held;
use super::room::{Blobs, blocking};
use super::sums::Summer;
use super::write::{FileSink, take_space};
use crate::kernel::BlobId;
use crate::kernel::limits::SUM_BLOCK_BYTES;

/// A stretch of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// The file.
    pub file: BlobId,
    /// Where it begins; a multiple of 1 MiB, so that its blocks are those of the file.
    pub start: u64,
}

/// Names this boot of the machine; `None` where the kernel does not tell, and then no mark counts.
static BOOT: LazyLock<Option<[u8; 16]>> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    hex::decode(text.trim().replace('-', ""))
        .ok()?
        .try_into()
        .ok()
});

/// Bytes of a mark: the boot, then the count, least significant byte first.
const MARK_BYTES: usize = 24;

/// Notes how far a stretch is.
#[derive(Debug)]
pub(super) struct Mark {
    pub(super) file: Arc<File>,
    pub(super) start: u64,
}

impl Mark {
    /// Notes the bytes of the stretch that are in the file.
    pub(super) fn note(&self, bytes: u64) -> io::Result<()> {
        let mut mark = [0; MARK_BYTES];
        let (boot, count) = mark.split_at_mut(16);
        boot.copy_from_slice(&BOOT.unwrap_or_default());
        count.copy_from_slice(&bytes.to_le_bytes());
        self.file.write_all_at(&mark, 0)
    }
}

/// Reads a mark of this boot.
fn noted(file: &File) -> io::Result<Option<u64>> {
    let mut mark = [0; MARK_BYTES];
    match file.read_exact_at(&mut mark, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let (boot, count) = mark.split_at(16);
    let is_ours = BOOT.is_some_and(|now| now == boot);
    Ok(is_ours.then(|| {
        count
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }))
}

impl Blobs {
    /// Makes a file for bytes of this total length, with their space, durable in its directory.
    ///
    /// Keep the lock until the catalog has the row, or the orphan collector may take the file.
    ///
    /// # Errors
    /// [`BlobError::Full`] when they do not fit.
    pub async fn create_reserved(&self, total_bytes: u64) -> Result<BlobLock, BlobError> {
        let blobs = self.clone();
        let id = BlobId::random();
        let (room, held) = blocking("making a file", move || {
            let room = blobs.pick(total_bytes, "")?;
            let held = Held::create(&room.dir_of(id), id, &room.tracker)
                .map_err(|e| room.error("making a file", e))?;
            if total_bytes > 0 {
                take_space(&room, &held.file, 0, total_bytes)?;
            }
            Ok((room, held))
        })
        .await?;
        room.sync_dir_of(id).await?;
        Ok(held.keep())
    }

    /// Bytes of a stretch that its mark knows of; `None` when it says nothing.
    pub async fn marked(&self, mark: BlobId) -> Result<Option<u64>, BlobError> {
        let room = self.room_of(mark).await?;
        blocking("reading a mark", move || {
            let file = File::open(room.path_of(mark));
            let file = file.map_err(|e| room.file_error("reading a mark", mark, e))?;
            noted(&file).map_err(|e| room.file_error("reading a mark", mark, e))
        })
        .await
    }

    /// Continues a stretch at its byte `offset`, with the sums of a checkpoint at or before it (or none).
    ///
    /// # Errors
    /// [`BlobError::Busy`] while somebody else writes the stretch or moves its file.
    pub async fn append_stretch(
        &self,
        mark: BlobId,
        stretch: Stretch,
        offset: u64,
        sums: &[u8],
    ) -> Result<BlobAppender, BlobError> {
        let home = self.room_of(mark).await?;
        let held = home.lock_file(mark).await?;
        let home = self.room_of(stretch.file).await?;
        let file = home.share_file(stretch.file).await?;
        let mut summer = Summer::stretch(stretch.start / SUM_BLOCK_BYTES, sums, offset);
        let room = Arc::clone(&home);
        let mut sink = blocking("continuing a file", move || {
            let error = |e: io::Error| room.file_error("continuing a file", stretch.file, e);
            sum_again(&file, stretch.start, &mut summer, offset).map_err(error)?;
            let mark = Mark {
                file: Arc::clone(&held),
                start: stretch.start,
            };
            // What is behind the offset counts no more, whatever the file holds there.
            mark.note(offset).map_err(error)?;
            Ok(FileSink::stretch(
                Arc::clone(&room),
                held,
                file,
                summer,
                mark,
            ))
        })
        .await?;
        let (tell, written) = watch::channel(offset);
        sink.written = Some(tell);
        Ok(BlobAppender {
            id: mark,
            written,
            sync: Arc::clone(&sink.sync),
            tail: home.tail(sink),
            room: home,
        })
    }
}

impl BlobAppender {
    /// Ends a stretch: every byte is durable; returns how many there are, and the sums of its blocks.
    pub async fn finish_stretch(self) -> Result<(u64, Vec<u8>), BlobError> {
        let sink = self.tail.close().await?;
        blocking("ending a file", move || sink.end_stretch()).await
    }
}
