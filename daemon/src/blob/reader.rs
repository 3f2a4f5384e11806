//! Reading: a string of bytes made of slices of blobs.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;

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
}

/// One open slice.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) file: Arc<File>,
    pub(super) id: BlobId,
    /// First byte within the file.
    pub(super) offset: u64,
    /// First byte within the whole, and the byte after the last.
    pub(super) span: Range<u64>,
}

impl Blobs {
    /// Opens the files of the slices, in order, and checks that each is long enough.
    pub async fn reader(&self, slices: Vec<Slice>) -> Result<BlobReader, BlobError> {
        let mut parts = Vec::with_capacity(slices.len());
        let mut at = 0_u64;
        for slice in slices.into_iter().filter(|slice| slice.length > 0) {
            let file = self.0.open_file(slice.blob).await?;
            self.0.check_len(&file, slice)?;
            let end = at.saturating_add(slice.length);
            parts.push(Part {
                file,
                id: slice.blob,
                offset: slice.offset,
                span: at..end,
            });
            at = end;
        }
        Ok(BlobReader {
            room: Arc::clone(&self.0),
            parts: parts.into(),
            size: at,
        })
    }
}

impl Room {
    /// The open file of a blob; one whose last name is gone is opened anew, so that nobody reads what another daemon removed.
    async fn open_file(self: &Arc<Self>, id: BlobId) -> Result<Arc<File>, BlobError> {
        if let Some(file) = self.open_files.get(id) {
            let stat = rustix::fs::fstat(&file).map_err(|e| self.error("reading a file", e))?;
            if stat.st_nlink > 0 {
                return Ok(file);
            }
            drop(self.open_files.forget(id));
        }
        let room = Arc::clone(self);
        blocking("opening a file", move || {
            let file = File::open(room.path_of(id))
                .map_err(|e| room.file_error("opening a file", id, e))?;
            let file = Arc::new(file);
            drop(room.open_files.put(id, Arc::clone(&file)));
            Ok(file)
        })
        .await
    }

    /// Asks an open file, which takes no disk access.
    fn check_len(&self, file: &File, slice: Slice) -> Result<(), BlobError> {
        let stat = rustix::fs::fstat(file).map_err(|e| self.error("reading a file", e))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let wanted = slice.offset.saturating_add(slice.length);
        if size >= wanted {
            return Ok(());
        }
        Err(BlobError::Short {
            id: slice.blob,
            size,
            wanted,
        })
    }
}

impl BlobReader {
    /// Bytes of the whole.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Streams a range, cut to what there is.
    pub fn body(&self, range: Range<u64>) -> BlobBody {
        let end = range.end.min(self.size);
        BlobBody::new(self, range.start.min(end)..end)
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

    /// The open files in order, each with the first byte and the number of bytes to be read of it: for handing descriptors to a worker process.
    pub fn files(&self) -> Vec<(Arc<File>, u64, u64)> {
        self.parts
            .iter()
            .map(|part| {
                (
                    Arc::clone(&part.file),
                    part.offset,
                    part.span.end - part.span.start,
                )
            })
            .collect()
    }
}
