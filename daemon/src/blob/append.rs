//! The file of an upload: it grows in place, and its length is what was received.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use super::BlobError;
use super::filesync::FileSync;
use super::held;
use super::room::{Blobs, Room, blocking};
use super::sums::{BlobDigest, Summer};
use super::tail::Tail;
use super::write::FileSink;
use crate::kernel::BlobId;
use crate::kernel::limits::SUM_BLOCK_BYTES;

/// How long a new writer waits for the last bytes of the one it replaces.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(2);
/// Time between two looks at the lock; `flock` cannot be awaited.
const LOCK_POLL: Duration = Duration::from_millis(2);

/// How far an upload is safe, and how to go on from there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Bytes on stable storage.
    pub offset: u64,
    /// Sums of the full blocks among them, for [`Blobs::append`].
    pub sums: Vec<u8>,
}

/// The end of an upload's file being written, with its lock.
///
/// Dropping it keeps every byte that [`BlobAppender::write`] took: what waits is still written, and the lock is free only then.
#[derive(Debug)]
pub struct BlobAppender {
    pub(super) room: Arc<Room>,
    pub(super) id: BlobId,
    pub(super) sync: Arc<FileSync>,
    pub(super) tail: Tail,
    pub(super) written: watch::Receiver<u64>,
}

/// An upload's file that is complete and durable; the row has it already, so there is nothing to keep.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FinishedBlob {
    /// The id.
    pub id: BlobId,
    /// Length in bytes.
    pub size: u64,
    /// BLAKE3 of the whole and of each MiB.
    pub digest: BlobDigest,
}

impl Blobs {
    /// Continues the file of an upload at `offset`, with the sums of a [`Checkpoint`] at or before it (or none).
    ///
    /// A file that is longer is cut to `offset`; one that is shorter is [`BlobError::Short`].
    /// Bytes between the sums and `offset` are read again: after a checkpoint that is less than one block (all, if less than two are known).
    /// An appender that is just ending is waited for, one that is not is [`BlobError::Busy`].
    pub async fn append(
        &self,
        id: BlobId,
        offset: u64,
        sums: &[u8],
    ) -> Result<BlobAppender, BlobError> {
        let home = self.room_of(id).await?;
        let file = home.lock_file(id).await?;
        let summer = Summer::resume(sums, offset);
        let room = Arc::clone(&home);
        let mut sink = blocking("continuing a file", move || {
            let error = |e: io::Error| room.file_error("continuing a file", id, e);
            let size = file.metadata().map_err(error)?.len();
            if size < offset {
                return Err(BlobError::Short {
                    id,
                    size,
                    wanted: offset,
                });
            }
            if size > offset {
                file.set_len(offset).map_err(error)?;
            }
            let mut summer = summer;
            sum_again(&file, 0, &mut summer, offset).map_err(error)?;
            let held = Arc::clone(&file);
            Ok(FileSink::growing(Arc::clone(&room), held, file, summer))
        })
        .await?;
        let (tell, written) = watch::channel(offset);
        sink.written = Some(tell);
        Ok(BlobAppender {
            id,
            sync: Arc::clone(&sink.sync),
            tail: home.tail(sink),
            written,
            room: home,
        })
    }
}

impl Room {
    /// The end of a file that an upload continues.
    pub(super) fn tail(self: &Arc<Self>, sink: FileSink<Arc<File>>) -> Tail {
        Tail::new(&self.blocks, &self.lanes, sink, self.tracker.clone())
    }

    /// Opens a file for writing and takes its lock, waiting a moment for another writer's last bytes.
    pub(super) async fn lock_file(self: &Arc<Self>, id: BlobId) -> Result<Arc<File>, BlobError> {
        self.lock_with(id, held::try_lock).await
    }

    /// Opens a file for writing beside others and takes a share of its lock, waiting a moment for whoever has it alone.
    pub(super) async fn share_file(self: &Arc<Self>, id: BlobId) -> Result<Arc<File>, BlobError> {
        self.lock_with(id, held::try_share).await
    }

    async fn lock_with(
        self: &Arc<Self>,
        id: BlobId,
        take: fn(&File) -> io::Result<bool>,
    ) -> Result<Arc<File>, BlobError> {
        let room = Arc::clone(self);
        let file = blocking("opening a file", move || {
            let found = File::options()
                .read(true)
                .write(true)
                .open(room.path_of(id));
            found.map_err(|e| room.file_error("opening a file", id, e))
        })
        .await?;
        let locked = async {
            while !take(&file).map_err(|e| self.error("locking a file", e))? {
                tokio::time::sleep(LOCK_POLL).await;
            }
            Ok(())
        };
        match tokio::time::timeout(LOCK_WAIT_MAX, locked).await {
            Ok(done) => {
                done?;
                // It was moved to another disk, or removed, while the lock was waited for: to be looked for anew.
                let stat = rustix::fs::fstat(&file).map_err(|e| self.error("locking a file", e))?;
                match stat.st_nlink {
                    0 => Err(BlobError::Busy { id }),
                    _ => Ok(Arc::new(file)),
                }
            }
            Err(_) => Err(BlobError::Busy { id }),
        }
    }
}

impl BlobAppender {
    /// The blob.
    pub fn id(&self) -> BlobId {
        self.id
    }

    /// Follows how many bytes of the file are written, synced or not; it closes with the appender.
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.clone()
    }

    /// Takes space for an upload of this total length, so that it lies in one stretch and a disk that is too small is known at once.
    pub async fn reserve(&mut self, total_bytes: u64) -> Result<(), BlobError> {
        self.tail
            .idle(|sink| sink.as_mut().map(|sink| sink.reserve(total_bytes)))
            .await?
            .unwrap_or_else(|| Err(BlobError::lost("taking space for a file")))
    }

    /// Takes the next bytes, waiting while the disk is behind.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        self.tail.write(piece).await
    }

    /// Has what was taken written even if it is little, as nothing more comes at the moment.
    pub fn nudge(&mut self) {
        self.tail.nudge();
    }

    /// Waits until every byte taken is in the file (not yet on stable storage), and says how long it is.
    pub async fn flush(&mut self) -> Result<u64, BlobError> {
        self.tail
            .idle(|sink| sink.as_ref().map(|sink| sink.summer.size()))
            .await?
            .ok_or_else(|| BlobError::lost("writing a file"))
    }

    /// Makes every byte taken durable.
    pub async fn checkpoint(&mut self) -> Result<Checkpoint, BlobError> {
        let look = |sink: &mut Option<FileSink<Arc<File>>>| {
            sink.as_ref()
                .map(|sink| (sink.summer.size(), sink.summer.full_sums()))
        };
        let (offset, sums) = self
            .tail
            .idle(look)
            .await?
            .ok_or_else(|| BlobError::lost("writing a file"))?;
        let (room, sync) = (Arc::clone(&self.room), Arc::clone(&self.sync));
        blocking("syncing a file", move || {
            let synced = sync.sync_on_the_way();
            synced.map_err(|e| room.error("syncing a file", e))
        })
        .await?;
        Ok(Checkpoint { offset, sums })
    }

    /// Ends the upload: every byte is durable, and the blob never changes again.
    pub async fn finish(self) -> Result<FinishedBlob, BlobError> {
        let sink = self.tail.close().await?;
        let id = self.id;
        blocking("ending a file", move || {
            let ended = sink.end(true)?;
            Ok(FinishedBlob {
                id,
                size: ended.size,
                digest: ended.digest,
            })
        })
        .await
    }
}

/// Sums what the file holds from `start` on, between what is summed and `end`.
pub(super) fn sum_again(file: &File, start: u64, summer: &mut Summer, end: u64) -> io::Result<()> {
    // Most often there is nothing to read.
    let missing = end.saturating_sub(summer.size());
    let mut buffer = vec![0; missing.min(SUM_BLOCK_BYTES) as usize];
    while summer.size() < end {
        let len = (end - summer.size()).min(SUM_BLOCK_BYTES) as usize;
        file.read_exact_at(&mut buffer[..len], start + summer.size())?;
        summer.update(&buffer[..len]);
    }
    Ok(())
}
