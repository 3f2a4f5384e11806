//! Bytes on their way out.

use std::fs::File;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::encryption::CustomerKey;
use super::object::Object;
use super::{Store, StoreError};
use crate::blob::{BlobBody, BlobReader, Bypass, Slice};

/// Reads the bytes of one object version; cheap to clone and good for any number of ranges.
#[derive(Clone)]
pub struct ObjectReader(Bytes0);

#[derive(Clone)]
enum Bytes0 {
    Inline(Bytes),
    Blobs(Arc<BlobReader>),
}

impl Store {
    /// Opens the bytes of an object.
    ///
    /// # Errors
    /// [`StoreError::ObjectDamaged`] when a file is missing; [`StoreError::NoSuchKey`] when the version was deleted since the look-up; [`StoreError::KeyRequired`] when only a customer's key opens it.
    pub async fn reader(&self, object: &Object) -> Result<ObjectReader, StoreError> {
        self.reader_with(object, None).await
    }

    /// The same with the key of a customer, which only what was encrypted with one needs.
    ///
    /// # Errors
    /// Those of [`Store::reader`]; [`StoreError::WrongKey`].
    pub async fn reader_with(
        &self,
        object: &Object,
        key: Option<&CustomerKey>,
    ) -> Result<ObjectReader, StoreError> {
        self.reader_within(object, key, 0..object.size).await
    }

    /// The same where only the bytes of one range will be asked for: an object of many parts opens no other.
    ///
    /// # Errors
    /// Those of [`Store::reader_with`], of the files in that range.
    pub async fn reader_within(
        &self,
        object: &Object,
        key: Option<&CustomerKey>,
        range: Range<u64>,
    ) -> Result<ObjectReader, StoreError> {
        object.refuse_damaged()?;
        let data = match object.encrypted() {
            None => None,
            Some(encrypted) => Some(self.decryption(encrypted, key).await?.data),
        };
        if object.is_inline {
            let stored = self.inline_of(object).await?;
            let Some(data) = data else {
                return Ok(ObjectReader(Bytes0::Inline(stored)));
            };
            let plain = data.open_small(&stored).ok_or_else(|| {
                StoreError::ObjectDamaged(format!("the bytes in object row {}", object.row_id))
            })?;
            return Ok(ObjectReader(Bytes0::Inline(plain.into())));
        }
        let extents = self.0.catalog.extents(object.row_id).await?;
        if extents.is_empty() && object.size > 0 {
            return Err(StoreError::NoSuchKey(object.key.to_string()));
        }
        let slices = extents.into_iter().map(|extent| Slice {
            blob: extent.blob,
            offset: extent.offset,
            length: extent.length,
        });
        let reader = self
            .0
            .blobs
            .reader_within(slices.collect(), data.as_ref(), range)
            .await?;
        Ok(ObjectReader(Bytes0::Blobs(Arc::new(reader))))
    }

    /// The bytes of a small object as they lie in the row, fetched again when the look-up left them out.
    pub(super) async fn inline_of(&self, object: &Object) -> Result<Bytes, StoreError> {
        if let Some(bytes) = &object.inline {
            return Ok(bytes.clone());
        }
        let row = self
            .0
            .catalog
            .object_version(&object.bucket, &object.key, &object.version_id)
            .await?;
        match row {
            Some(row) if row.id == object.row_id => Ok(row.inline.unwrap_or_default().into()),
            _ => Err(StoreError::NoSuchKey(object.key.to_string())),
        }
    }
}

impl ObjectReader {
    /// Bytes that lie in blobs.
    pub(super) fn of_blobs(reader: BlobReader) -> Self {
        Self(Bytes0::Blobs(Arc::new(reader)))
    }

    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        match &self.0 {
            Bytes0::Inline(bytes) => bytes.len() as u64,
            Bytes0::Blobs(reader) => reader.size(),
        }
    }

    /// Whether every byte in `range` may be served: to be asked while an error can still be told.
    ///
    /// # Errors
    /// [`StoreError::ObjectDamaged`].
    pub fn check(&self, range: Range<u64>) -> Result<(), StoreError> {
        match &self.0 {
            Bytes0::Inline(_) => Ok(()),
            Bytes0::Blobs(reader) => Ok(reader.check(range)?),
        }
    }

    /// A body of the bytes in `range`, which lies within the size; it breaks off before bytes that are damaged.
    pub fn body(&self, range: Range<u64>) -> ObjectBody {
        match &self.0 {
            Bytes0::Inline(bytes) => {
                let end = range.end.min(bytes.len() as u64) as usize;
                ObjectBody(Out::Inline(Some(
                    bytes.slice((range.start as usize).min(end)..end),
                )))
            }
            Bytes0::Blobs(reader) => ObjectBody(Out::Blob(reader.body(range))),
        }
    }

    /// A body of the bytes of ranges one after the other; `None` for a small object, whose bytes are at hand.
    pub fn runs(&self, runs: impl Iterator<Item = Range<u64>>) -> Option<ObjectBody> {
        match &self.0 {
            Bytes0::Inline(_) => None,
            Bytes0::Blobs(reader) => Some(ObjectBody(Out::Blob(reader.runs(runs)))),
        }
    }

    /// The bytes in `range`, at once: for small ranges.
    pub async fn read(&self, range: Range<u64>) -> Result<Bytes, StoreError> {
        match &self.0 {
            Bytes0::Inline(bytes) => {
                let end = range.end.min(bytes.len() as u64) as usize;
                Ok(bytes.slice((range.start as usize).min(end)..end))
            }
            Bytes0::Blobs(reader) => Ok(reader.read_range(range).await?),
        }
    }

    /// The open files beneath with the offset and length used of each, for handing to a worker; `None` when the bytes lie in the row or are encrypted, or some are damaged.
    pub fn files(&self) -> Option<Vec<(Arc<File>, u64, u64)>> {
        match &self.0 {
            Bytes0::Inline(_) => None,
            Bytes0::Blobs(reader) if reader.is_encrypted() => None,
            Bytes0::Blobs(reader) => reader.files(),
        }
    }
}

/// A response body over stored bytes.
pub struct ObjectBody(Out);

impl ObjectBody {
    /// Lets bytes of files go past this process; only for the connection whose way it is.
    #[must_use]
    pub fn past(self, bypass: Option<&Bypass>) -> Self {
        match self.0 {
            Out::Blob(body) => Self(Out::Blob(body.past(bypass))),
            inline @ Out::Inline(_) => Self(inline),
        }
    }
}

enum Out {
    Inline(Option<Bytes>),
    Blob(BlobBody),
}

impl Body for ObjectBody {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        match &mut self.0 {
            Out::Inline(bytes) => Poll::Ready(
                bytes
                    .take()
                    .filter(|b| !b.is_empty())
                    .map(|bytes| Ok(Frame::data(bytes))),
            ),
            Out::Blob(body) => Pin::new(body).poll_frame(cx).map_err(StoreError::from),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Out::Inline(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Out::Blob(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Out::Inline(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Out::Blob(body) => body.size_hint(),
        }
    }
}
