//! Reading: a string of bytes made of slices of blobs.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;

use super::cached::Residency;
use super::cipher::{DataKey, Frames, file_range, plain_len};
use super::damage::{Damage, is_set_aside};
use super::open::Open;
use super::room::{Blobs, Room, blocking};
use super::{BlobBody, BlobError};
use crate::kernel::BlobId;

/// Most bytes that [`BlobReader::read_range`] returns in one piece; more is to be streamed.
pub const READ_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A part of one blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slice {
    /// The blob.
    pub blob: BlobId,
    /// First byte within it.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// Slices of blobs, opened, as one string of bytes; cheap to clone.
///
/// The files stay readable as long as this lives, even if they are removed meanwhile.
#[derive(Clone, Debug)]
pub struct BlobReader {
    pub(super) room: Arc<Room>,
    pub(super) parts: Arc<[Part]>,
    size: u64,
    /// What of the whole lies in `parts`.
    window: Range<u64>,
    /// The frame that was opened last, for readers of many small ranges.
    recent: Option<Arc<Mutex<Option<Opened>>>>,
}

/// An opened frame of an encrypted part.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    /// Number of the part.
    pub(super) part: usize,
    /// Number of the frame within the blob.
    pub(super) frame: u64,
    pub(super) bytes: Bytes,
}

/// One open slice.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) room: Arc<Room>,
    pub(super) file: Arc<File>,
    pub(super) residency: Arc<Residency>,
    pub(super) id: BlobId,
    /// What of the file is not served.
    pub(super) damage: Option<Arc<Damage>>,
    /// First byte within the file, or within the plaintext of an encrypted one.
    pub(super) offset: u64,
    /// First byte within the whole, and the byte after the last.
    pub(super) span: Range<u64>,
    /// What opens the bytes of an encrypted blob.
    pub(super) frames: Option<Arc<Frames>>,
}

impl Blobs {
    /// Opens the files of the slices, in order, and checks that each is long enough.
    pub async fn reader(&self, slices: Vec<Slice>) -> Result<BlobReader, BlobError> {
        self.reader_with(slices, None).await
    }

    /// The same for encrypted blobs, if there is a key; their slices count plaintext.
    pub async fn reader_with(
        &self,
        slices: Vec<Slice>,
        key: Option<&DataKey>,
    ) -> Result<BlobReader, BlobError> {
        self.reader_within(slices, key, 0..u64::MAX).await
    }

    /// The same where only the bytes of one range will be asked for: only their files are opened, be the slices thousands.
    pub async fn reader_within(
        &self,
        slices: Vec<Slice>,
        key: Option<&DataKey>,
        within: Range<u64>,
    ) -> Result<BlobReader, BlobError> {
        let mut parts: Vec<Part> = Vec::new();
        let mut at = 0_u64;
        for slice in slices.into_iter().filter(|slice| slice.length > 0) {
            let end = at.saturating_add(slice.length);
            if end <= within.start || at >= within.end {
                at = end;
                continue;
            }
            let (room, open, size, damage) = self.open_file(slice.blob).await?;
            let Open { file, residency } = open;
            let checked = check_len(size, slice, key.is_some());
            // What is missing at its end is on the list of what is damaged.
            if damage.is_none() {
                checked?;
            }
            let frames = key
                .map(|key| Frames::new(Arc::clone(&file), key.of_blob(slice.blob), size))
                .map(Arc::new);
            parts.push(Part {
                room,
                file,
                residency,
                id: slice.blob,
                damage,
                offset: slice.offset,
                span: at..end,
                frames,
            });
            at = end;
        }
        let first = parts.first().map_or(0, |part| part.span.start);
        let last = parts.last().map_or(0, |part| part.span.end);
        Ok(BlobReader {
            room: Arc::clone(&self.0),
            parts: parts.into(),
            size: at,
            window: first..last,
            recent: key.map(|_| Arc::default()),
        })
    }
}

/// Where a file lies, the open file, its length, and what of it is not served.
type Place = (Arc<Room>, Open, u64, Option<Arc<Damage>>);

impl Blobs {
    /// The open file of a blob, wherever it lies; one that stays open costs no look at the disks.
    async fn open_file(&self, id: BlobId) -> Result<Place, BlobError> {
        let mut room = Arc::clone(&self.0);
        if !self.1.is_empty() {
            let open = |room: &Arc<Room>| {
                room.open_files
                    .get(id)
                    .is_some_and(|open| current(&open.file).is_some())
            };
            room = match self.rooms().into_iter().find(open) {
                Some(room) => room,
                None => self.room_of(id).await?,
            };
        }
        let (open, size, damage) = room.open_file(id).await?;
        Ok((room, open, size, damage))
    }
}

/// The length of an open file that still has a name and was not set aside; without a disk access.
fn current(file: &File) -> Option<u64> {
    let stat = rustix::fs::fstat(file).ok()?;
    let here = stat.st_nlink > 0 && !is_set_aside(stat.st_mode);
    here.then(|| u64::try_from(stat.st_size).unwrap_or(0))
}

impl Room {
    /// The open file of a blob; one whose last name is gone is opened anew, so that nobody reads what another daemon removed or set aside.
    async fn open_file(
        self: &Arc<Self>,
        id: BlobId,
    ) -> Result<(Open, u64, Option<Arc<Damage>>), BlobError> {
        if let Some(open) = self.open_files.get(id) {
            if let Some(size) = current(&open.file) {
                return Ok((open, size, None));
            }
            drop(self.open_files.forget(id));
        }
        let room = Arc::clone(self);
        blocking("opening a file", move || {
            let error = |e| room.file_error("opening a file", id, e);
            let file = match File::open(room.path_of(id)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    let (file, damage) = room.open_aside(id).map_err(error)?;
                    let size = file.metadata().map_err(error)?.len();
                    return Ok((file.into(), size, Some(Arc::new(damage))));
                }
                opened => opened.map_err(error)?,
            };
            let size = file.metadata().map_err(error)?.len();
            let open = Open::from(file);
            drop(room.open_files.put(id, open.clone()));
            Ok((open, size, None))
        })
        .await
    }
}

/// Whether a file of so many bytes holds a slice.
fn check_len(size: u64, slice: Slice, encrypted: bool) -> Result<(), BlobError> {
    let wanted = slice.offset.saturating_add(slice.length);
    let held = if encrypted {
        plain_len(size)
    } else {
        Some(size)
    };
    if held.is_some_and(|held| held >= wanted) {
        return Ok(());
    }
    Err(BlobError::Short {
        id: slice.blob,
        size,
        wanted,
    })
}

impl Part {
    /// Where bytes of the whole, which lie in this part, are in its file.
    pub(super) fn in_file(&self, whole: Range<u64>) -> Range<u64> {
        let at = |whole: u64| self.offset + (whole - self.span.start);
        at(whole.start)..at(whole.end)
    }

    /// The first damaged block that these bytes need, counted as [`Part::offset`] counts.
    pub(super) fn first_damaged(&self, range: Range<u64>) -> Option<u64> {
        let damage = self.damage.as_ref()?;
        damage.first_in(match self.frames {
            Some(_) => file_range(range),
            None => range,
        })
    }
}

impl BlobReader {
    /// Bytes of the whole.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Whether every byte of a range may be served.
    ///
    /// # Errors
    /// [`BlobError::Damaged`] with the first block that may not.
    pub fn check(&self, range: Range<u64>) -> Result<(), BlobError> {
        for part in self.parts.iter() {
            let start = range.start.max(part.span.start);
            let end = range.end.min(part.span.end);
            if start >= end {
                continue;
            }
            let at = |whole: u64| part.offset + (whole - part.span.start);
            if let Some(block) = part.first_damaged(at(start)..at(end)) {
                return Err(BlobError::Damaged { id: part.id, block });
            }
        }
        Ok(())
    }

    /// Streams a range, cut to what was opened; it breaks off before the first byte that may not be served.
    pub fn body(&self, range: Range<u64>) -> BlobBody {
        BlobBody::new(self, self.opened(range))
    }

    /// Streams ranges one after the other, each as [`BlobReader::body`] does.
    pub fn runs(&self, runs: impl Iterator<Item = Range<u64>>) -> BlobBody {
        let mut runs = runs.map(|run| self.opened(run));
        let first = runs.next().unwrap_or(0..0);
        BlobBody::new(self, first).then(runs)
    }

    /// What of a range was opened.
    fn opened(&self, range: Range<u64>) -> Range<u64> {
        let end = range.end.min(self.window.end);
        let start = range.start.max(self.window.start);
        start.min(end)..end
    }

    /// All bytes in one piece, at most [`READ_BYTES_MAX`].
    pub async fn read_all(&self) -> Result<Bytes, BlobError> {
        self.read_range(0..self.size).await
    }

    /// The bytes of a range in one piece, cut to what there is, at most [`READ_BYTES_MAX`].
    pub async fn read_range(&self, range: Range<u64>) -> Result<Bytes, BlobError> {
        let mut body = self.body(range);
        let wanted = body.remaining();
        if wanted > READ_BYTES_MAX {
            return Err(BlobError::TooLong {
                wanted,
                max: READ_BYTES_MAX,
            });
        }
        let first = body.try_next().await?.unwrap_or_default();
        if body.remaining() == 0 {
            return Ok(first);
        }
        let mut all = BytesMut::with_capacity(wanted as usize);
        all.extend_from_slice(&first);
        while let Some(more) = body.try_next().await? {
            all.extend_from_slice(&more);
        }
        Ok(all.freeze())
    }

    /// The frame that was opened last, if it is this one.
    pub(super) fn recent(&self, part: usize, frame: u64) -> Option<Opened> {
        let recent = self.recent.as_ref()?;
        let recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
        let is = |opened: &&Opened| opened.part == part && opened.frame == frame;
        recent.as_ref().filter(is).cloned()
    }

    /// Keeps the frame that was opened last.
    pub(super) fn remember(&self, opened: &Opened) {
        if let Some(recent) = &self.recent {
            *recent.lock().unwrap_or_else(PoisonError::into_inner) = Some(opened.clone());
        }
    }

    /// Whether what lies in the files is not what is read.
    pub fn is_encrypted(&self) -> bool {
        self.recent.is_some()
    }

    /// The open files in order, each with the first byte and the number of bytes to be read of it: for handing descriptors to a worker process; `None` when parts of them may not be read.
    pub fn files(&self) -> Option<Vec<(Arc<File>, u64, u64)>> {
        if self.parts.iter().any(|part| part.damage.is_some()) {
            return None;
        }
        let files = self
            .parts
            .iter()
            .map(|part| {
                (
                    Arc::clone(&part.file),
                    part.offset,
                    part.span.end - part.span.start,
                )
            })
            .collect();
        Some(files)
    }
}
