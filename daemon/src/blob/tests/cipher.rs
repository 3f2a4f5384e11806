use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use bytes::Bytes;
use futures::TryStreamExt as _;
use proptest::prelude::*;
use tempfile::TempDir;

use super::super::cipher::FRAME_BYTES;
use super::super::{
    BlobError, Blobs, DataKey, Encryption, SealedBlob, Slice, Verdict, plain_len, sealed_len,
};
use super::{noise, room};
use crate::kernel::BlobId;

const FRAME: usize = FRAME_BYTES as usize;
const SEALED_FRAME: usize = FRAME + 16;

async fn put(blobs: &Blobs, key: &DataKey, bytes: &[u8], piece: usize) -> SealedBlob {
    let encryption = Encryption {
        key: key.clone(),
        hash_plain: true,
    };
    let mut writer = blobs
        .create_with(Some(bytes.len() as u64), Some(encryption))
        .await
        .unwrap();
    for piece in bytes.chunks(piece) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.seal(true).await.unwrap()
}

/// Reads a range of a blob that is said to hold `length` bytes.
async fn read(
    blobs: &Blobs,
    key: &DataKey,
    id: BlobId,
    length: u64,
    range: std::ops::Range<u64>,
) -> Result<Vec<u8>, BlobError> {
    let slice = Slice {
        blob: id,
        offset: 0,
        length,
    };
    let reader = blobs.reader_with(vec![slice], Some(key)).await?;
    let pieces: Vec<Bytes> = reader.body(range).try_collect().await?;
    Ok(pieces.concat())
}

fn path(dir: &TempDir, id: BlobId) -> PathBuf {
    let id = id.to_string();
    dir.path().join("blobs").join(&id[30..]).join(id)
}

/// A blob of three frames, the last one short.
async fn three(dir: &TempDir, blobs: &Blobs, key: &DataKey) -> (BlobId, Vec<u8>, PathBuf) {
    let bytes = noise(2 * FRAME + 5000);
    let id = put(blobs, key, &bytes, 300_000).await.keep().id();
    (id, bytes, path(dir, id))
}

#[test]
fn lengths_of_files_and_of_plaintext_follow_from_each_other() {
    let frame = FRAME_BYTES;
    for plain in [0, 1, frame - 1, frame, frame + 1, 7 * frame, 7 * frame + 9] {
        assert_eq!(plain_len(sealed_len(plain)), Some(plain), "{plain}");
    }
    assert_eq!(sealed_len(0), 16);
    assert_eq!(sealed_len(frame + 1), frame + 1 + 32);
    for none in [
        0,
        1,
        15,
        frame + 17,
        frame + 31,
        frame + 32,
        2 * (frame + 16) + 16,
    ] {
        assert_eq!(plain_len(none), None, "{none}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_range_of_an_encrypted_blob_is_that_of_its_plaintext(
        size in prop_oneof![
            prop::sample::select(&[0, 1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME][..]),
            0..3 * FRAME,
        ],
        piece in 1_000_usize..2_000_000,
        cuts in prop::collection::vec((0.0..1.0_f64, 0.0..1.0_f64), 1..6),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (_dir, blobs) = room().await;
            let (key, bytes) = (DataKey::random(), noise(size));
            let sealed = put(&blobs, &key, &bytes, piece).await;
            assert_eq!(sealed.size, sealed_len(size as u64));
            assert_eq!(sealed.md5, <[u8; 16]>::from(<md5::Md5 as md5::Digest>::digest(&bytes)));
            assert_eq!(sealed.plain, Some(*blake3::hash(&bytes).as_bytes()));
            let (id, file, sums) = (sealed.id, sealed.size, sealed.digest.sums.clone());
            drop(sealed.keep());
            // Who checks files knows no key.
            assert_eq!(blobs.verify(id, file, &sums).await.unwrap(), Verdict::Whole);
            let place = |share: f64| (share * (size + 1) as f64) as usize;
            let all = (0.0, 1.0);
            for (a, b) in cuts.into_iter().chain([all]) {
                let (a, b) = (place(a.min(b)), place(a.max(b)).min(size));
                let read = read(&blobs, &key, id, size as u64, a as u64..b as u64).await.unwrap();
                assert!(read == bytes[a..b], "{a}..{b} of {size}");
            }
            // Extents are slices: they begin and end anywhere.
            let (from, to) = (size / 3, size - size / 5);
            let slice = Slice { blob: id, offset: from as u64, length: (to - from) as u64 };
            let reader = blobs.reader_with(vec![slice, slice], Some(&key)).await.unwrap();
            let twice = reader.read_all().await.unwrap();
            assert!(twice == [&bytes[from..to], &bytes[from..to]].concat(), "twice {from}..{to}");
        });
    }
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_refused_where_it_is_read_and_only_there() {
    let (dir, blobs) = room().await;
    let key = DataKey::random();
    let (id, bytes, path) = three(&dir, &blobs, &key).await;
    let size = bytes.len() as u64;
    let stored = std::fs::read(&path).unwrap();
    assert!(!stored.windows(64).any(|window| window == &bytes[..64]));
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let ends = [
        0,
        FRAME - 1,
        FRAME,
        SEALED_FRAME - 1,
        SEALED_FRAME,
        stored.len() - 1,
    ];
    for at in ends
        .into_iter()
        .chain((1..20).map(|n| n * stored.len() / 20))
    {
        file.write_all_at(&[stored[at] ^ 1 << (at % 8)], at as u64)
            .unwrap();
        let damaged = at / SEALED_FRAME;
        for frame in 0..3 {
            let range = (frame * FRAME) as u64..((frame + 1) * FRAME).min(bytes.len()) as u64;
            let read = read(&blobs, &key, id, size, range.clone()).await;
            if frame == damaged {
                let block = frame as u64;
                assert!(
                    matches!(read, Err(BlobError::Damaged { block: b, .. }) if b == block),
                    "byte {at}: {read:?}"
                );
            } else {
                assert!(read.unwrap() == bytes[range.start as usize..range.end as usize]);
            }
        }
        file.write_all_at(&[stored[at]], at as u64).unwrap();
    }
    assert!(read(&blobs, &key, id, size, 0..size).await.unwrap() == bytes);
}

#[tokio::test]
async fn a_file_that_was_cut_is_refused_even_by_who_believes_the_shorter_length() {
    let (dir, blobs) = room().await;
    let key = DataKey::random();
    let (id, bytes, path) = three(&dir, &blobs, &key).await;
    let size = bytes.len() as u64;
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    let whole = file.metadata().unwrap().len();
    for cut in [
        whole - 1,
        2 * SEALED_FRAME as u64,
        SEALED_FRAME as u64,
        20,
        0,
    ] {
        file.set_len(cut).unwrap();
        let honest = read(&blobs, &key, id, size, 0..10).await;
        assert!(matches!(honest, Err(BlobError::Short { .. })), "{honest:?}");
        if let Some(shorter) = plain_len(cut) {
            let last = shorter - 1..shorter;
            let fooled = read(&blobs, &key, id, shorter, last).await;
            assert!(
                matches!(fooled, Err(BlobError::Damaged { .. })),
                "{fooled:?}"
            );
        }
    }
}

#[tokio::test]
async fn frames_that_changed_places_or_blobs_are_refused() {
    let (dir, blobs) = room().await;
    let key = DataKey::random();
    let (id, bytes, path_of) = three(&dir, &blobs, &key).await;
    let (_, _, path_of_other) = three(&dir, &blobs, &key).await;
    let size = bytes.len() as u64;
    let (stored, other) = (
        std::fs::read(&path_of).unwrap(),
        std::fs::read(&path_of_other).unwrap(),
    );
    let swapped = [
        &stored[SEALED_FRAME..2 * SEALED_FRAME],
        &stored[..SEALED_FRAME],
        &stored[2 * SEALED_FRAME..],
    ];
    let repeated = [
        &stored[..SEALED_FRAME],
        &stored[..SEALED_FRAME],
        &stored[2 * SEALED_FRAME..],
    ];
    // The same object's key, the same place, but another blob.
    let foreign = [
        &stored[..SEALED_FRAME],
        &other[SEALED_FRAME..2 * SEALED_FRAME],
        &stored[2 * SEALED_FRAME..],
    ];
    for altered in [swapped, repeated, foreign] {
        std::fs::write(&path_of, altered.concat()).unwrap();
        let read = read(&blobs, &key, id, size, 0..size).await;
        assert!(matches!(read, Err(BlobError::Damaged { .. })), "{read:?}");
    }
    std::fs::write(&path_of, &stored).unwrap();
    let with_another = read(&blobs, &DataKey::random(), id, size, 0..1).await;
    assert!(matches!(with_another, Err(BlobError::Damaged { .. })));
    assert!(read(&blobs, &key, id, size, 0..size).await.unwrap() == bytes);
}

#[test]
fn what_lies_in_a_row_opens_only_unaltered_and_with_its_key() {
    let key = DataKey::random();
    for size in [0, 1, 16 * 1024] {
        let bytes = noise(size);
        let sealed = key.seal_small(&bytes);
        assert_eq!(sealed.len(), size + 16);
        assert_eq!(key.open_small(&sealed), Some(bytes));
        assert_eq!(DataKey::random().open_small(&sealed), None);
        for at in (0..sealed.len()).step_by(97) {
            let mut altered = sealed.clone();
            altered[at] ^= 0x10;
            assert_eq!(key.open_small(&altered), None, "byte {at}");
            assert_eq!(key.open_small(&sealed[..at]), None, "first {at} bytes");
        }
    }
}
