//! Bytes on their way in: held in memory while they may fit the row, else a blob from the first byte that does not.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use md5::Digest as _;

use super::checksum::{ChecksumAlgorithm, Hashers};
use super::encryption::Encryption;
use super::{Store, StoreError};
use crate::blob::{BlobWriter, SealedBlob};
use crate::kernel::limits::OBJECT_BYTES_MAX;
use crate::kernel::{ContentId, ETag};

/// How bytes are taken in.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// The declared length; the writer refuses more and [`ObjectWriter::seal`] refuses less.
    pub size: Option<u64>,
    /// Checksums to compute on the way.
    pub checksums: Vec<ChecksumAlgorithm>,
    /// Never keep the bytes in the row: parts of a multipart upload are always blobs.
    pub always_blob: bool,
    /// Answer before the bytes are synced: for what can be made again.
    pub relaxed: bool,
    /// How to encrypt them: see [`Store::encryption`].
    pub encryption: Option<Encryption>,
}

/// Takes the bytes of one object; dropping it leaves nothing behind.
pub struct ObjectWriter {
    store: Store,
    options: WriteOptions,
    hashers: Hashers,
    received: u64,
    sink: Sink,
}

enum Sink {
    Memory(BytesMut),
    Blob(Box<BlobWriter>),
}

/// Bytes that are safely stored but have no name yet; dropping them removes them.
pub struct Sealed {
    /// How many bytes.
    pub size: u64,
    /// Their MD5.
    pub md5: [u8; 16],
    /// The checksums asked for, in base64.
    pub checksums: BTreeMap<ChecksumAlgorithm, String>,
    /// What the bytes are.
    pub content_id: ContentId,
    pub(super) bytes: SealedBytes,
    pub(super) encryption: Option<Encryption>,
}

pub(super) enum SealedBytes {
    Inline(Vec<u8>),
    Blob(SealedBlob),
}

impl Sealed {
    /// The entity tag that S3 clients expect of a whole body: its MD5, unless the customer keeps the key.
    pub fn etag(&self) -> ETag {
        let is_customers = |encryption: &Encryption| encryption.is_customers();
        if self.encryption.as_ref().is_some_and(is_customers) {
            // A hash of what lies on the disk: it looks like an MD5, as clients expect, and tells nothing of the plaintext.
            let mut tag = [0; 16];
            tag.copy_from_slice(&self.content_id.0[..16]);
            return ETag::from_md5(tag);
        }
        ETag::from_md5(self.md5)
    }
}

impl Store {
    /// Begins to take bytes in.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the declared length does not fit, before any byte is read; [`StoreError::TooLarge`] above 5 TiB.
    pub async fn writer(&self, options: WriteOptions) -> Result<ObjectWriter, StoreError> {
        if let Some(size) = options.size {
            if size > OBJECT_BYTES_MAX {
                return Err(StoreError::TooLarge {
                    limit: OBJECT_BYTES_MAX,
                });
            }
            self.room_for(size).await?;
        }
        let small = |size: u64| size <= self.0.inline_bytes_max as u64;
        let sink = if !options.always_blob && options.size.is_none_or(small) {
            Sink::Memory(BytesMut::with_capacity(options.size.unwrap_or(0) as usize))
        } else {
            Sink::Blob(Box::new(self.blob(&options).await?))
        };
        Ok(ObjectWriter {
            store: self.clone(),
            hashers: Hashers::new(&options.checksums),
            options,
            received: 0,
            sink,
        })
    }

    async fn blob(&self, options: &WriteOptions) -> Result<BlobWriter, StoreError> {
        let encryption = options.encryption.as_ref().map(Encryption::of_blob);
        Ok(self.0.blobs.create_with(options.size, encryption).await?)
    }
}

impl ObjectWriter {
    /// Bytes taken so far.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Takes more bytes; waits while the disk is behind.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] beyond the declared length; those of the disk.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let limit = self.options.size.unwrap_or(OBJECT_BYTES_MAX);
        self.received += bytes.len() as u64;
        if self.received > limit {
            return Err(StoreError::TooLarge { limit });
        }
        self.hashers.update(&bytes);
        if let Sink::Memory(held) = &mut self.sink {
            if held.len() + bytes.len() <= self.store.0.inline_bytes_max
                && !self.options.always_blob
            {
                held.extend_from_slice(&bytes);
                return Ok(());
            }
            let mut blob = self.store.blob(&self.options).await?;
            let held = std::mem::take(held);
            if !held.is_empty() {
                blob.write(held.freeze()).await?;
            }
            self.sink = Sink::Blob(Box::new(blob));
        }
        if let Sink::Blob(blob) = &mut self.sink {
            blob.write(bytes).await?;
        }
        Ok(())
    }

    /// Ends the body: when this returns, the bytes are safely stored.
    ///
    /// # Errors
    /// [`StoreError::IncompleteBody`] below the declared length; those of the disk.
    pub async fn seal(self) -> Result<Sealed, StoreError> {
        if let Some(declared) = self.options.size
            && self.received < declared
        {
            return Err(StoreError::IncompleteBody {
                received: self.received,
                declared,
            });
        }
        let checksums = self.hashers.finish();
        let encryption = self.options.encryption;
        let (md5, content_id, bytes) = match self.sink {
            Sink::Memory(held) => {
                let stored = match &encryption {
                    Some(encryption) => encryption.data.seal_small(&held),
                    None => held.to_vec(),
                };
                // Of what a customer encrypted, only what lies here is named.
                let named = match &encryption {
                    Some(encryption) if encryption.is_customers() => &stored[..],
                    _ => &held,
                };
                (
                    md5::Md5::digest(&held).into(),
                    ContentId(*blake3::hash(named).as_bytes()),
                    SealedBytes::Inline(stored),
                )
            }
            Sink::Blob(blob) => {
                let sealed = blob.seal(!self.options.relaxed).await?;
                (
                    sealed.md5,
                    ContentId(sealed.plain.unwrap_or(sealed.digest.blake3)),
                    SealedBytes::Blob(sealed),
                )
            }
        };
        Ok(Sealed {
            size: self.received,
            md5,
            checksums,
            content_id,
            bytes,
            encryption,
        })
    }
}
