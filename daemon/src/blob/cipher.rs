//! Encrypted blobs: a row of frames, each sealed on its own, so that any range can be read and any changed bit is refused.
//!
//! A frame is up to 1 MiB of plaintext under AES-256-GCM, followed by its tag of 16 bytes.
//! Every frame but the last is full; an empty blob is one empty frame.
//! Each blob has a key of its own, derived with BLAKE3 from the data key of its object and the id of the blob, which is never used twice.
//! So a nonce need only be unique within its file: it is the number of the frame, and whether the frame is the last.
//! A frame that was moved, taken from another blob, or made the last by cutting the file does not open.
//!
//! Offsets and lengths of slices always count plaintext; sizes and sums of blobs count the file as it lies on the disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use aes_gcm::aead::{AeadInOut as _, KeyInit as _};
use aes_gcm::{Aes256Gcm, Nonce};
use bytes::Bytes;

use super::BlobError;
use crate::kernel::BlobId;

/// Plaintext of one frame.
pub(super) const FRAME_BYTES: u64 = 1024 * 1024;
/// What each frame has on top.
const TAG_BYTES: u64 = 16;
/// Names this layout, for the derivation of keys: another layout takes another name.
const CONTEXT: &str = "nebula 2026-11 frames of an encrypted blob";

/// The secret from which the keys of an object's blobs are derived: 256 random bits, or what a customer's key yields.
#[derive(Clone)]
pub struct DataKey([u8; 32]);

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DataKey(…)")
    }
}

impl DataKey {
    /// A fresh key.
    ///
    /// # Panics
    /// When the operating system has no randomness to give, which no caller can act on.
    pub fn random() -> Self {
        let mut key = [0; 32];
        getrandom::fill(&mut key).expect("the kernel gives random bytes");
        Self(key)
    }

    /// The key with these bytes.
    pub const fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// The bytes, to be wrapped by another key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key of one blob.
    pub(super) fn of_blob(&self, id: BlobId) -> BlobCipher {
        let mut material = [0; 48];
        material[..32].copy_from_slice(&self.0);
        material[32..].copy_from_slice(id.0.as_bytes());
        BlobCipher(Aes256Gcm::new(
            &blake3::derive_key(CONTEXT, &material).into(),
        ))
    }

    /// Seals what is small enough to lie in a row, as the only frame of a blob that has no file.
    pub fn seal_small(&self, plain: &[u8]) -> Vec<u8> {
        let mut frame = Vec::with_capacity(plain.len() + TAG_BYTES as usize);
        frame.extend_from_slice(plain);
        self.of_blob(ROW).seal(0, true, &mut frame);
        frame
    }

    /// Opens what [`DataKey::seal_small`] made; `None` when it was altered or another key sealed it.
    pub fn open_small(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut frame = sealed.to_vec();
        self.of_blob(ROW).open(0, true, &mut frame).then_some(frame)
    }
}

/// Stands for the id of bytes that lie in a row; no file bears it.
const ROW: BlobId = BlobId(crate::kernel::Id::from_bytes([0; 16]));

/// Bytes of the file of a blob with so much plaintext.
pub fn sealed_len(plain: u64) -> u64 {
    plain + TAG_BYTES * plain.div_ceil(FRAME_BYTES).max(1)
}

/// Bytes of plaintext in a file of this length; `None` for a length that no encrypted blob has.
pub fn plain_len(sealed: u64) -> Option<u64> {
    let frames = sealed.div_ceil(FRAME_BYTES + TAG_BYTES);
    let plain = sealed.checked_sub(frames * TAG_BYTES)?;
    (sealed > 0 && sealed_len(plain) == sealed).then_some(plain)
}

/// Where the frames of a range of plaintext lie in the file.
pub(super) fn file_range(plain: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let sealed = FRAME_BYTES + TAG_BYTES;
    plain.start / FRAME_BYTES * sealed..plain.end.div_ceil(FRAME_BYTES) * sealed
}

/// The cipher of one blob.
pub(super) struct BlobCipher(Aes256Gcm);

impl std::fmt::Debug for BlobCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BlobCipher(…)")
    }
}

impl BlobCipher {
    fn nonce(number: u64, last: bool) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[0] = u8::from(last);
        nonce[4..].copy_from_slice(&number.to_be_bytes());
        nonce
    }

    /// Seals a frame in place; it grows by its tag.
    fn seal(&self, number: u64, last: bool, frame: &mut Vec<u8>) {
        let nonce = Nonce::from(Self::nonce(number, last));
        let sealed = self.0.encrypt_in_place(&nonce, &[], frame);
        sealed.expect("a frame is far below the cipher's limit of 64 GiB");
    }

    /// Opens a frame in place; `false` when it is not what was sealed here, and then it must not be used.
    fn open(&self, number: u64, last: bool, frame: &mut Vec<u8>) -> bool {
        let nonce = Nonce::from(Self::nonce(number, last));
        self.0.decrypt_in_place(&nonce, &[], frame).is_ok()
    }
}

/// Cuts plaintext into frames and seals them, holding back one, as only a byte more tells that it is not the last.
#[derive(Debug)]
pub(super) struct FrameWriter {
    cipher: BlobCipher,
    frame: Vec<u8>,
    number: u64,
    /// Of the plaintext, where somebody wants it.
    hasher: Option<Box<blake3::Hasher>>,
}

impl FrameWriter {
    pub(super) fn new(cipher: BlobCipher, hash_plain: bool) -> Self {
        Self {
            cipher,
            frame: Vec::new(),
            number: 0,
            hasher: hash_plain.then(Box::default),
        }
    }

    /// Takes plaintext and hands each frame that is full, sealed, to `store`.
    pub(super) fn take(
        &mut self,
        mut bytes: &[u8],
        mut store: impl FnMut(&[u8]) -> Result<(), BlobError>,
    ) -> Result<(), BlobError> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        while !bytes.is_empty() {
            let room = FRAME_BYTES as usize - self.frame.len();
            if room == 0 {
                self.cipher.seal(self.number, false, &mut self.frame);
                store(&self.frame)?;
                self.frame.clear();
                self.number += 1;
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.frame.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Seals the last frame, hands it to `store`, and tells the BLAKE3 of the plaintext where it was wanted.
    pub(super) fn finish(
        mut self,
        store: impl FnOnce(&[u8]) -> Result<(), BlobError>,
    ) -> Result<Option<[u8; 32]>, BlobError> {
        self.cipher.seal(self.number, true, &mut self.frame);
        store(&self.frame)?;
        Ok(self.hasher.map(|hasher| *hasher.finalize().as_bytes()))
    }
}

/// An open file of frames.
#[derive(Debug)]
pub(super) struct Frames {
    file: Arc<File>,
    cipher: BlobCipher,
    /// Bytes of the file.
    sealed: u64,
}

impl Frames {
    pub(super) fn new(file: Arc<File>, cipher: BlobCipher, sealed: u64) -> Self {
        Self {
            file,
            cipher,
            sealed,
        }
    }

    /// Reads and opens one frame; `InvalidData` says that it was altered or sealed with another key.
    pub(super) fn read(&self, number: u64) -> io::Result<Bytes> {
        let at = number * (FRAME_BYTES + TAG_BYTES);
        let left = self.sealed.saturating_sub(at);
        let len = left.min(FRAME_BYTES + TAG_BYTES);
        let mut frame = vec![0; len as usize];
        self.file.read_exact_at(&mut frame, at)?;
        if !self.cipher.open(number, len == left, &mut frame) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(frame.into())
    }
}
