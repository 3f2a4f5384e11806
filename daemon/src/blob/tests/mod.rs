//! The room's promises, on real files in a directory of their own.
#![expect(clippy::unwrap_used, reason = "tests")]

mod append;
mod cipher;
mod full;
mod read;
mod sums;
mod sweep;
mod write;

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tempfile::TempDir;

use super::{BlobOptions, Blobs, SealedBlob, Slice};
use crate::kernel::BlobId;

/// Blobs in a directory that goes when the test does.
async fn room() -> (TempDir, Blobs) {
    let dir = TempDir::new().unwrap();
    let blobs = open(&dir).await;
    (dir, blobs)
}

async fn open(dir: &TempDir) -> Blobs {
    let options = BlobOptions {
        dir: dir.path().join("blobs"),
        reserve_bytes: 0,
    };
    Blobs::open(options).await.unwrap()
}

/// Bytes that differ everywhere, so that a shift or a swap shows.
fn noise(len: usize) -> Vec<u8> {
    static SEED: AtomicU64 = AtomicU64::new(1);
    let mut state = SEED
        .fetch_add(1, Ordering::Relaxed)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = vec![0; len];
    for piece in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        piece.copy_from_slice(&state.to_le_bytes()[..piece.len()]);
    }
    bytes
}

/// Writes a blob in pieces of `piece` bytes.
async fn put(blobs: &Blobs, bytes: &[u8], piece: usize) -> SealedBlob {
    let mut writer = blobs.create(Some(bytes.len() as u64)).await.unwrap();
    for piece in bytes.chunks(piece) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.seal(true).await.unwrap()
}

/// Writes a blob that stays.
async fn keep(blobs: &Blobs, bytes: &[u8]) -> BlobId {
    put(blobs, bytes, 100_000).await.keep().id()
}

async fn get(blobs: &Blobs, id: BlobId, length: usize) -> Bytes {
    let slices = vec![Slice {
        blob: id,
        offset: 0,
        length: length as u64,
    }];
    let reader = blobs.reader(slices).await.unwrap();
    reader.read_all().await.unwrap()
}

/// Files in place, and files in `tmp/`.
fn count(dir: &TempDir, blobs: &Blobs) -> (usize, usize) {
    let tmp = std::fs::read_dir(dir.path().join("blobs/tmp")).unwrap();
    (blobs.files().count(), tmp.count())
}
