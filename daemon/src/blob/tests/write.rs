use bytes::Bytes;
use md5::{Digest, Md5};
use proptest::prelude::*;

use super::super::filesync::EARLY_SYNC_BYTES;
use super::super::lane::{LANE_BYTES_MAX, Lane, Lanes, OnDrop, Sink};
use super::super::{BlobError, Verdict};
use super::{count, get, noise, put, room};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn what_is_written_is_read_and_hashed(len in prop_oneof![0_usize..2000, 0_usize..3_500_000], piece in 1_usize..700_000) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (dir, blobs) = room().await;
            let bytes = noise(len);
            // Tiny pieces of large blobs would test nothing but patience.
            let sealed = put(&blobs, &bytes, piece.max(len / 2000)).await;
            assert_eq!(sealed.size, len as u64);
            assert_eq!(sealed.md5, <[u8; 16]>::from(Md5::digest(&bytes)));
            assert_eq!(sealed.digest.blake3, *blake3::hash(&bytes).as_bytes());
            let sums = sealed.digest.sums.clone();
            let id = sealed.keep().id();
            assert_eq!(blobs.len(id).await.unwrap(), len as u64);
            assert_eq!(get(&blobs, id, len).await, bytes);
            assert_eq!(blobs.verify(id, len as u64, &sums).await.unwrap(), Verdict::Whole);
            assert_eq!(count(&dir, &blobs), (1, 0));
        });
    }
}

#[tokio::test]
async fn what_is_dropped_leaves_nothing() {
    let (dir, blobs) = room().await;
    for len in [10, 3_000_000] {
        let mut writer = blobs.create(None).await.unwrap();
        writer.write(noise(len).into()).await.unwrap();
        drop(writer);
        blobs.settle().await;
        assert_eq!(count(&dir, &blobs), (0, 0), "unsealed, {len} bytes");

        let sealed = put(&blobs, &noise(len), 100_000).await;
        assert_eq!(count(&dir, &blobs), (1, 0), "sealed, {len} bytes");
        drop(sealed);
        blobs.settle().await;
        assert_eq!(
            count(&dir, &blobs),
            (0, 0),
            "sealed and dropped, {len} bytes"
        );
    }
}

#[tokio::test]
async fn a_large_blob_is_synced_as_it_comes_and_is_whole() {
    let (dir, blobs) = room().await;
    let piece = noise(1 << 20);
    let bytes = piece.repeat(EARLY_SYNC_BYTES as usize / piece.len() * 2 + 3);
    let sealed = put(&blobs, &bytes, 300_000).await;
    assert_eq!(sealed.digest.blake3, *blake3::hash(&bytes).as_bytes());
    let (id, size, sums) = (sealed.id, sealed.size, sealed.digest.sums.clone());
    drop(sealed.keep());
    let verdict = blobs.verify(id, size, &sums).await.unwrap();
    assert_eq!(verdict, Verdict::Whole);
    blobs.settle().await;
    assert_eq!(count(&dir, &blobs), (1, 0));
}

#[tokio::test]
async fn many_write_at_once() {
    let (dir, blobs) = room().await;
    let writes = (0..64).map(|n| {
        let blobs = blobs.clone();
        tokio::spawn(async move {
            let bytes = noise(n * 10_000);
            let id = put(&blobs, &bytes, 7_000).await.keep().id();
            assert_eq!(get(&blobs, id, bytes.len()).await, bytes);
        })
    });
    for done in futures::future::join_all(writes).await {
        done.unwrap();
    }
    assert_eq!(count(&dir, &blobs), (64, 0));
}

#[tokio::test]
async fn a_hint_that_is_too_large_keeps_no_space() {
    use std::os::unix::fs::MetadataExt;
    let (dir, blobs) = room().await;
    let mut writer = blobs.create(Some(8 << 20)).await.unwrap();
    writer.write(noise(600_000).into()).await.unwrap();
    let id = writer.seal(true).await.unwrap().keep().id();
    let name = id.to_string();
    let path = dir.path().join("blobs").join(&name[30..]).join(&name);
    let meta = std::fs::metadata(path).unwrap();
    assert_eq!(meta.len(), 600_000);
    assert!(meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
}

/// Counts bytes, and fails at a mark.
struct Counter {
    seen: usize,
    fail_at: usize,
}

impl Sink for Counter {
    fn accept(&mut self, batch: &[Bytes]) -> Result<(), BlobError> {
        let len: usize = batch.iter().map(Bytes::len).sum();
        assert!(len < LANE_BYTES_MAX + 1000, "a batch is bounded");
        self.seen += len;
        assert!(self.fail_at != 77, "a bug");
        if self.seen >= self.fail_at {
            return Err(BlobError::NoInodes);
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_is_bounded_and_tells_of_its_failure() {
    let tracker = tokio_util::task::TaskTracker::new();
    let lane = |fail_at| {
        Lane::new(
            &Lanes::few_threads(),
            Counter { seen: 0, fail_at },
            tracker.clone(),
            OnDrop::Finish,
        )
    };
    let piece = Bytes::from(vec![0; 1000]);

    let good = lane(usize::MAX);
    for _ in 0..5000 {
        good.push(piece.clone()).await.unwrap();
    }
    assert_eq!(
        good.close().await.ok().map(|sink| sink.seen),
        Some(5_000_000)
    );

    let bad = lane(1_000_000);
    let failure = async {
        loop {
            if let Err(error) = bad.push(piece.clone()).await {
                return error;
            }
        }
    };
    assert!(matches!(failure.await, BlobError::NoInodes));
    assert!(bad.push(piece.clone()).await.is_err());
    assert!(bad.close().await.is_err());
}

#[tokio::test]
async fn a_panicking_sink_wakes_who_waits() {
    let tracker = tokio_util::task::TaskTracker::new();
    let lane = Lane::new(
        &Lanes::few_threads(),
        Counter {
            seen: 0,
            fail_at: 77,
        },
        tracker,
        OnDrop::Finish,
    );
    lane.push(Bytes::from_static(b"x")).await.unwrap();
    assert!(lane.close().await.is_err());
}
