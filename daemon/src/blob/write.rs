//! New blobs: written once, sealed, then never changed.

use std::fs::File;
use std::io::{self, IoSlice};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use nebula_md5::Md5;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use tokio::sync::watch;

use super::BlobError;
use super::cipher::{DataKey, FrameWriter, sealed_len};
use super::filesync::FileSync;
use super::held::{BlobLock, Held};
use super::lane::{LANE_PIECES_MAX, Lane, OnDrop, Sink};
use super::room::{Blobs, Room, blocking};
use super::stretch::Mark;
use super::sums::{BlobDigest, Summer};
use crate::kernel::BlobId;

/// Bytes that are gathered before a file is made; a blob that ends before costs one trip to a blocking thread.
const GATHER_BYTES_MAX: usize = 256 * 1024;
/// Pieces of one write call (Linux takes 1,024).
const WRITE_PIECES_MAX: usize = 256;

/// A blob being written; dropping it without [`BlobWriter::seal`] leaves nothing behind.
#[derive(Debug)]
pub struct BlobWriter {
    room: Arc<Room>,
    id: BlobId,
    size_hint: Option<u64>,
    encryption: Option<Encryption>,
    stage: Stage,
}

/// How the bytes of a blob are to be encrypted.
#[derive(Clone, Debug)]
pub struct Encryption {
    /// From which the blob's key is derived.
    pub key: DataKey,
    /// Whether the BLAKE3 of the plaintext is wanted as well.
    pub hash_plain: bool,
}

#[derive(Debug)]
enum Stage {
    /// Too little yet to make a file.
    Gather { pieces: Vec<Bytes>, bytes: usize },
    /// Writing and hashing side by side.
    Stream {
        file: Lane<FileSink<Held>>,
        md5: Lane<Md5Sink>,
    },
    /// An earlier call failed or was cut off.
    Broken,
}

impl Blobs {
    /// Begins a blob; `size_hint` is its length if known, and refuses at once what does not fit.
    pub async fn create(&self, size_hint: Option<u64>) -> Result<BlobWriter, BlobError> {
        self.create_with(size_hint, None).await
    }

    /// The same for bytes that are to be encrypted, if `encryption` says so; `size_hint` counts plaintext.
    #[expect(
        clippy::unused_async,
        reason = "callers must not rely on the file being made later"
    )]
    pub async fn create_with(
        &self,
        size_hint: Option<u64>,
        encryption: Option<Encryption>,
    ) -> Result<BlobWriter, BlobError> {
        let size_hint = match encryption {
            Some(_) => size_hint.map(sealed_len),
            None => size_hint,
        };
        Ok(BlobWriter {
            room: self.pick(size_hint.unwrap_or(0), "")?,
            id: BlobId::random(),
            size_hint,
            encryption,
            stage: Stage::Gather {
                pieces: Vec::new(),
                bytes: 0,
            },
        })
    }
}

impl Blobs {
    /// Begins the blob that had this id elsewhere, with its bytes as they were stored there: for a restore.
    pub fn create_as(&self, id: BlobId, size: u64) -> Result<BlobWriter, BlobError> {
        Ok(BlobWriter {
            room: self.pick(size, "")?,
            id,
            size_hint: Some(size),
            encryption: None,
            stage: Stage::Gather {
                pieces: Vec::new(),
                bytes: 0,
            },
        })
    }
}

impl BlobWriter {
    /// The id that the blob will have.
    pub fn id(&self) -> BlobId {
        self.id
    }

    /// Takes the next bytes, waiting while the disk or a hash is behind; once this was cut off or has failed, the blob can only be dropped.
    pub async fn write(&mut self, piece: Bytes) -> Result<(), BlobError> {
        if piece.is_empty() {
            return Ok(());
        }
        if let Stage::Gather { pieces, bytes } = &mut self.stage {
            *bytes += piece.len();
            pieces.push(piece);
            if *bytes <= GATHER_BYTES_MAX && pieces.len() < LANE_PIECES_MAX {
                return Ok(());
            }
            return self.start().await;
        }
        // A caller that gives up halfway must not go on with a hash that lacks a piece.
        let stage = std::mem::replace(&mut self.stage, Stage::Broken);
        let Stage::Stream { file, md5 } = &stage else {
            return Err(BlobError::lost("writing a blob"));
        };
        file.push(piece.clone()).await?;
        md5.push(piece).await?;
        self.stage = stage;
        Ok(())
    }

    /// Makes the file and sends what was gathered on its way.
    async fn start(&mut self) -> Result<(), BlobError> {
        let Stage::Gather { pieces, .. } = std::mem::replace(&mut self.stage, Stage::Broken) else {
            return Err(BlobError::lost("writing a blob"));
        };
        let (room, id, hint) = (Arc::clone(&self.room), self.id, self.size_hint);
        let encryption = self.encryption.take();
        let make = move || new_file(&room, id, hint, encryption);
        let sink = blocking("making a file", make).await?;
        let tracker = &self.room.tracker;
        let file = Lane::new(&self.room.lanes, sink, tracker.clone(), OnDrop::Forget);
        let md5 = Md5Sink::new(&self.room);
        let md5 = Lane::new(&self.room.md5_lanes, md5, tracker.clone(), OnDrop::Forget);
        for piece in pieces {
            file.push(piece.clone()).await?;
            md5.push(piece).await?;
        }
        self.stage = Stage::Stream { file, md5 };
        Ok(())
    }

    /// Ends the blob and moves it into place.
    ///
    /// With `durable` its bytes and its directory entry are on stable storage when this returns; without, a power failure may lose it.
    pub async fn seal(self, durable: bool) -> Result<SealedBlob, BlobError> {
        let (room, id) = (Arc::clone(&self.room), self.id);
        let encryption = self.encryption;
        let sealed = match self.stage {
            Stage::Gather { pieces, .. } => {
                blocking("writing a blob", move || {
                    let md5 = room.meeting.update(Md5::default(), &pieces)?;
                    let mut sink = new_file(&room, id, None, encryption)?;
                    sink.accept(&pieces)?;
                    place(&room, sink, md5.finish(), durable)
                })
                .await?
            }
            Stage::Stream { file, md5 } => {
                let sink = file.close().await?;
                let md5 = md5.close().await?.finish();
                blocking("sealing a blob", move || place(&room, sink, md5, durable)).await?
            }
            Stage::Broken => return Err(BlobError::lost("writing a blob")),
        };
        if durable {
            self.room.sync_dir_of(id).await?;
        }
        Ok(sealed)
    }
}

/// Makes the file of a new blob where no reader looks, with its space if the length is known.
fn new_file(
    room: &Arc<Room>,
    id: BlobId,
    size_hint: Option<u64>,
    encryption: Option<Encryption>,
) -> Result<FileSink<Held>, BlobError> {
    let held =
        Held::create(&room.tmp, id, &room.tracker).map_err(|e| room.error("making a file", e))?;
    let file = Arc::clone(&held.file);
    let mut sink = FileSink::new(Arc::clone(room), held, file, Summer::new());
    if let Some(size) = size_hint {
        sink.reserve(size)?;
    }
    sink.frames =
        encryption.map(|how| Box::new(FrameWriter::new(how.key.of_blob(id), how.hash_plain)));
    Ok(sink)
}

/// Data sync and move; the directory sync is the caller's, who shares it.
fn place(
    room: &Room,
    sink: FileSink<Held>,
    md5: [u8; 16],
    durable: bool,
) -> Result<SealedBlob, BlobError> {
    let Ended {
        mut held,
        size,
        digest,
        plain,
    } = sink.end(durable)?;
    let id = held.id;
    held.rename(room.path_of(id))
        .map_err(|e| room.error("moving a file into place", e))?;
    Ok(SealedBlob {
        id,
        size,
        md5,
        digest,
        plain,
        held,
    })
}

/// A complete blob that the catalog does not know yet.
///
/// Dropping it removes the file.
/// Call [`SealedBlob::keep`] right before the commit that enters the row, and drop the lock after it: a commit whose caller goes away halfway then leaves at most an orphan, never a row without a file.
#[derive(Debug)]
pub struct SealedBlob {
    /// The id.
    pub id: BlobId,
    /// Length of the file in bytes.
    pub size: u64,
    /// MD5 of the whole, of the plaintext where it is encrypted.
    pub md5: [u8; 16],
    /// BLAKE3 of the whole file and of each MiB of it.
    pub digest: BlobDigest,
    /// BLAKE3 of the plaintext, where it is encrypted and this was asked for.
    pub plain: Option<[u8; 32]>,
    held: Held,
}

impl SealedBlob {
    /// From now on the file stays; the lock protects it from the orphan collector until it is dropped.
    pub fn keep(self) -> BlobLock {
        self.held.keep()
    }
}

/// MD5 beside the write, abreast with that of other uploads: the slowest stage of all.
#[derive(Debug)]
struct Md5Sink {
    room: Arc<Room>,
    md5: Md5,
}

impl Md5Sink {
    fn new(room: &Arc<Room>) -> Self {
        Self {
            room: Arc::clone(room),
            md5: Md5::default(),
        }
    }

    fn finish(self) -> [u8; 16] {
        self.md5.finish()
    }
}

impl Sink for Md5Sink {
    fn accept(&mut self, batch: &[Bytes]) -> Result<(), BlobError> {
        let md5 = std::mem::take(&mut self.md5);
        self.md5 = self.room.meeting.update(md5, batch)?;
        Ok(())
    }
}

/// Writes bytes to the end of a file and sums them; `H` is held as long as the file is written.
#[derive(Debug)]
pub(super) struct FileSink<H> {
    room: Arc<Room>,
    held: H,
    pub(super) file: Arc<File>,
    /// A hash is large, and this moves from thread to thread.
    pub(super) summer: Box<Summer>,
    /// Bytes for which the file has space already.
    reserved: u64,
    pub(super) sync: Arc<FileSync>,
    /// Tells readers of a growing file how much of it is written.
    pub(super) written: Option<watch::Sender<u64>>,
    /// Seals what is to be written, where the blob is encrypted.
    frames: Option<Box<FrameWriter>>,
    /// Where in a shared file the bytes go, and what notes how many there are.
    mark: Option<Mark>,
}

/// A file that has all its bytes.
pub(super) struct Ended<H> {
    pub(super) held: H,
    pub(super) size: u64,
    pub(super) digest: BlobDigest,
    /// BLAKE3 of the plaintext, where it was asked for.
    pub(super) plain: Option<[u8; 32]>,
}

impl<H: Send + 'static> FileSink<H> {
    pub(super) fn new(room: Arc<Room>, held: H, file: Arc<File>, summer: Summer) -> Self {
        Self {
            room,
            held,
            sync: FileSync::new(Arc::clone(&file)),
            file,
            summer: Box::new(summer),
            reserved: 0,
            written: None,
            frames: None,
            mark: None,
        }
    }

    /// For a file that grows by uploads.
    pub(super) fn growing(room: Arc<Room>, held: H, file: Arc<File>, summer: Summer) -> Self {
        Self {
            sync: FileSync::behind(Arc::clone(&file), summer.size()),
            ..Self::new(room, held, file, summer)
        }
    }

    /// For a stretch of a file that others fill as well, and whose space is taken already.
    pub(super) fn stretch(
        room: Arc<Room>,
        held: H,
        file: Arc<File>,
        summer: Summer,
        mark: Mark,
    ) -> Self {
        Self {
            sync: FileSync::behind(Arc::clone(&file), mark.start + summer.size()),
            reserved: u64::MAX,
            mark: Some(mark),
            ..Self::new(room, held, file, summer)
        }
    }

    /// Syncs a stretch, and hands out its length and sums.
    pub(super) fn end_stretch(self) -> Result<(u64, Vec<u8>), BlobError> {
        let synced = self.sync.sync();
        synced.map_err(|e| self.room.error("syncing a file", e))?;
        Ok((self.summer.size(), self.summer.finish_stretch()))
    }

    /// Takes space for a file of `size` bytes in one stretch where the file system can.
    pub(super) fn reserve(&mut self, size: u64) -> Result<(), BlobError> {
        let from = self.summer.size();
        if size <= from || size <= self.reserved {
            return Ok(());
        }
        if take_space(&self.room, &self.file, from, size)? {
            self.reserved = size;
        }
        Ok(())
    }

    /// Gives back unused space, syncs the data if asked, and hands out what was held.
    pub(super) fn end(mut self, durable: bool) -> Result<Ended<H>, BlobError> {
        let plain = match self.frames.take() {
            Some(frames) => frames.finish(|frame| self.store(&[frame]))?,
            None => None,
        };
        let size = self.summer.size();
        if self.reserved > size {
            self.file
                .set_len(size)
                .map_err(|e| self.room.error("giving back space", e))?;
        }
        if durable {
            let synced = self.sync.sync();
            synced.map_err(|e| self.room.error("syncing a file", e))?;
        }
        Ok(Ended {
            held: self.held,
            size,
            digest: self.summer.finish(),
            plain,
        })
    }

    /// Writes pieces at the end of the file and sums them.
    fn store<P: AsRef<[u8]>>(&mut self, batch: &[P]) -> Result<(), BlobError> {
        self.room.foreground.fetch_add(1, Ordering::Relaxed);
        let size = self.summer.size();
        let at = self.mark.as_ref().map_or(0, |mark| mark.start) + size;
        let len: u64 = batch.iter().map(|piece| piece.as_ref().len() as u64).sum();
        if at + len > self.reserved {
            self.room.admit(len)?;
        }
        write_at(&self.file, batch, at).map_err(|e| self.room.error("writing a file", e))?;
        if let Some(mark) = &self.mark {
            let noted = mark.note(size + len);
            noted.map_err(|e| self.room.error("noting received bytes", e))?;
        }
        if let Some(written) = &self.written {
            written.send_replace(size + len);
            self.sync.is_one_of(self.room.lanes.count());
        }
        self.sync.wrote(at + len, len, &self.room);
        for piece in batch {
            self.summer.update(piece.as_ref());
        }
        Ok(())
    }
}

impl<H: Send + 'static> Sink for FileSink<H> {
    fn accept(&mut self, batch: &[Bytes]) -> Result<(), BlobError> {
        let Some(mut frames) = self.frames.take() else {
            return self.store(batch);
        };
        for piece in batch {
            frames.take(piece, |frame| self.store(&[frame]))?;
        }
        self.frames = Some(frames);
        Ok(())
    }
}

/// Takes the space of the bytes from `from` to `size` of a file, unless it has them; `false` where the file system cannot.
pub(super) fn take_space(
    room: &Room,
    file: &File,
    from: u64,
    size: u64,
) -> Result<bool, BlobError> {
    let stat = rustix::fs::fstat(file).map_err(|e| room.error("taking space for a file", e))?;
    // In units of 512 bytes, whatever the block size (stat(3)).
    let has = u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
    if has >= size {
        return Ok(true);
    }
    let _alone = room.taking.lock().unwrap_or_else(PoisonError::into_inner);
    room.admit(size - from.max(has))?;
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, from, size - from) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(error) => Err(room.error("taking space for a file", error)),
    }
}

/// Writes all pieces in order, many per call.
fn write_at<P: AsRef<[u8]>>(file: &File, pieces: &[P], mut at: u64) -> io::Result<()> {
    let (mut next, mut skip) = (0, 0);
    while next < pieces.len() {
        let few = pieces[next..].iter().take(WRITE_PIECES_MAX);
        let slices: Vec<IoSlice<'_>> = few
            .enumerate()
            .map(|(n, piece)| IoSlice::new(&piece.as_ref()[if n == 0 { skip } else { 0 }..]))
            .collect();
        let mut written = match rustix::io::pwritev(file, &slices, at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        at += written as u64;
        while next < pieces.len() && written >= pieces[next].as_ref().len() - skip {
            written -= pieces[next].as_ref().len() - skip;
            (next, skip) = (next + 1, 0);
        }
        skip += written;
    }
    Ok(())
}
