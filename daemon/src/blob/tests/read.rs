use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http_body::Body;
use proptest::prelude::*;

use super::super::buffer::{BUFFER_BYTES, Buffers};
use super::super::{BlobBody, BlobError, BlobReader, Blobs, Bypass, READ_BYTES_MAX, Slice};
use super::{keep, noise, room};
use crate::kernel::BlobId;
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Puts the pages of a reader's files out of the cache, so that reads find a cold disk.
fn chill(reader: &BlobReader) {
    for (file, _, _) in reader.files().unwrap() {
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}

async fn collect(reader: &BlobReader, range: std::ops::Range<u64>) -> Vec<u8> {
    let pieces: Vec<Bytes> = reader.body(range).try_collect().await.unwrap();
    assert!(
        pieces
            .iter()
            .all(|p| !p.is_empty() && p.len() <= BUFFER_BYTES)
    );
    pieces.concat()
}

/// What comes out of a connection that a body goes to, through the process and past it.
async fn arrives(mut body: BlobBody, bypass: &Bypass) -> Vec<u8> {
    let (mut from, mut to) = UnixStream::pair().unwrap();
    let reading = std::thread::spawn(move || {
        let mut got = Vec::new();
        to.read_to_end(&mut got).unwrap();
        got
    });
    while let Some(piece) = body.try_next().await.unwrap() {
        if Bypass::is_stand_in(&piece) {
            let mut sent = 0;
            while sent < piece.len() {
                sent += bypass.send(&from, &piece[sent..]).unwrap();
            }
        } else {
            from.write_all(&piece).unwrap();
        }
    }
    drop(from);
    reading.join().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn runs_arrive_whole_whichever_way_they_go(
        steps in prop::collection::vec((0_usize..20_000, prop_oneof![1_usize..60_000, 1_usize..1_500_000]), 1..40),
        cold in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (_dir, blobs) = room().await;
            let bytes = [noise(700_000), noise(1_800_000)];
            let ids = [keep(&blobs, &bytes[0]).await, keep(&blobs, &bytes[1]).await];
            let (mut whole, mut slices) = (Vec::new(), Vec::new());
            for (n, range) in [(0, 50_000..700_000), (1, 7..1_800_000), (0, 0..100_000)] {
                whole.extend_from_slice(&bytes[n][range.clone()]);
                let (offset, length) = (range.start as u64, range.len() as u64);
                slices.push(Slice { blob: ids[n], offset, length });
            }
            let (mut at, mut runs, mut expected) = (0, Vec::new(), Vec::new());
            for (gap, len) in steps {
                let run = whole.len().min(at + gap)..whole.len().min(at + gap + len);
                at = run.end;
                expected.extend_from_slice(&whole[run.clone()]);
                runs.push(run.start as u64..run.end as u64);
            }
            let reader = blobs.reader(slices).await.unwrap();
            if cold {
                chill(&reader);
            }
            let bypass = Bypass::default();
            let body = reader.runs(runs.into_iter()).past(Some(&bypass));
            assert_eq!(body.remaining(), expected.len() as u64);
            assert!(arrives(body, &bypass).await == expected, "other bytes");
        });
    }

    #[test]
    fn slices_read_as_one_string(
        cuts in prop::collection::vec((0_usize..3, 0_usize..900_000, 0_usize..900_000), 0..6),
        ranges in prop::collection::vec((0_u64..3_000_000, 0_u64..3_000_000), 1..5),
        cold in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (_dir, blobs) = room().await;
            let bytes = [noise(10), noise(300_000), noise(900_000)];
            let mut ids = Vec::new();
            for bytes in &bytes {
                ids.push(keep(&blobs, bytes).await);
            }
            let (mut whole, mut slices) = (Vec::new(), Vec::new());
            for (n, a, b) in cuts {
                let (a, b) = (a.min(bytes[n].len()), b.min(bytes[n].len()));
                let (a, b) = (a.min(b), a.max(b));
                whole.extend_from_slice(&bytes[n][a..b]);
                slices.push(Slice { blob: ids[n], offset: a as u64, length: (b - a) as u64 });
            }
            let reader = blobs.reader(slices.clone()).await.unwrap();
            let size = whole.len() as u64;
            assert_eq!(reader.size(), size);
            for (a, b) in ranges {
                let range = a.min(b)..a.max(b);
                let expected = &whole[range.start.min(size) as usize..range.end.min(size) as usize];
                let body = reader.body(range.clone());
                assert_eq!(Body::size_hint(&body).exact(), Some(expected.len() as u64));
                if cold {
                    chill(&reader);
                }
                assert_eq!(collect(&reader, range.clone()).await, expected);
                assert_eq!(reader.read_range(range.clone()).await.unwrap(), expected);
                // What was opened for this range alone gives the same.
                let narrow = blobs.reader_within(slices.clone(), None, range.clone()).await.unwrap();
                assert_eq!(narrow.size(), size);
                assert_eq!(collect(&narrow, range.clone()).await, expected);
                // Short runs that lie close, then a long one, then one far behind.
                let short = (0..450).map(|n| range.start + n * 1500..range.start + n * 1500 + n);
                let runs: Vec<Range<u64>> = short.chain([range.clone(), 5..9]).collect();
                let clip = |at: u64| at.min(size) as usize;
                let clipped = runs.iter().map(|run| &whole[clip(run.start)..clip(run.end)]);
                let expected = clipped.collect::<Vec<_>>().concat();
                if cold {
                    chill(&reader);
                }
                let body = reader.runs(runs.into_iter());
                assert_eq!(Body::size_hint(&body).exact(), Some(expected.len() as u64));
                let pieces: Vec<Bytes> = body.try_collect().await.unwrap();
                assert_eq!(pieces.concat(), expected);
            }
        });
    }
}

#[tokio::test]
async fn a_range_needs_the_files_that_it_touches_and_no_other() {
    let (_dir, blobs) = room().await;
    let bytes = noise(1000);
    let kept = keep(&blobs, &bytes).await;
    let gone = BlobId::random();
    let slice = |blob| Slice {
        blob,
        offset: 0,
        length: 1000,
    };
    let slices = vec![slice(gone), slice(kept), slice(gone)];
    let within = |range| blobs.reader_within(slices.clone(), None, range);
    let reader = within(1000..2000).await.unwrap();
    assert_eq!(collect(&reader, 1000..2000).await, bytes);
    // Bytes that nobody opened are not there, rather than wrong.
    assert_eq!(collect(&reader, 0..3000).await, bytes);
    for range in [0..1, 999..1001, 1999..2001] {
        assert!(within(range).await.is_err());
    }
}

async fn reader(blobs: &Blobs, bytes: &[u8]) -> BlobReader {
    let blob = keep(blobs, bytes).await;
    let length = bytes.len() as u64;
    let slices = vec![Slice {
        blob,
        offset: 0,
        length,
    }];
    blobs.reader(slices).await.unwrap()
}

#[tokio::test]
async fn a_short_file_is_an_error_not_zeros() {
    let (_dir, blobs) = room().await;
    let bytes = noise(600_000);
    let blob = keep(&blobs, &bytes).await;
    let slice = |length| {
        vec![Slice {
            blob,
            offset: 0,
            length,
        }]
    };
    assert!(matches!(
        blobs.reader(slice(600_001)).await,
        Err(BlobError::Short { size: 600_000, .. })
    ));
    assert!(matches!(
        blobs.reader(slice(u64::MAX)).await,
        Err(BlobError::Short { .. })
    ));

    let reader = blobs.reader(slice(600_000)).await.unwrap();
    blobs.truncate(blob, 300_000).await.unwrap();
    let mut body = reader.body(0..600_000);
    let mut got = Vec::new();
    let failure = loop {
        match body.next().await.unwrap() {
            Ok(piece) => got.extend_from_slice(&piece),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(failure, BlobError::Short { size: 300_000, .. }),
        "{failure}"
    );
    assert!(bytes.starts_with(&got));
    assert!(body.next().await.is_none());
}

#[tokio::test]
async fn a_removed_file_is_missing_to_new_readers_and_whole_to_old_ones() {
    let (_dir, blobs) = room().await;
    let bytes = noise(500_000);
    let old = reader(&blobs, &bytes).await;
    let blob = blobs.files().next().unwrap().unwrap().id;
    // As another daemon removes it, which cannot know what this one has open.
    let other = super::super::Blobs::open(super::super::BlobOptions {
        dir: blobs.0.dir.clone(),
        reserve_bytes: 0,
    });
    other.await.unwrap().remove(blob).await.unwrap();
    let slices = vec![Slice {
        blob,
        offset: 0,
        length: 1,
    }];
    assert!(matches!(
        blobs.reader(slices).await,
        Err(BlobError::Missing { .. })
    ));
    assert_eq!(old.read_all().await.unwrap(), bytes);
}

#[tokio::test]
async fn too_much_in_one_piece_is_refused() {
    let (_dir, blobs) = room().await;
    let blob = keep(&blobs, &noise(1 << 20)).await;
    let slices = vec![
        Slice {
            blob,
            offset: 0,
            length: 1 << 20
        };
        65
    ];
    let reader = blobs.reader(slices).await.unwrap();
    assert!(matches!(
        reader.read_all().await,
        Err(BlobError::TooLong {
            max: READ_BYTES_MAX,
            ..
        })
    ));
}

#[test]
fn buffers_are_used_again_and_bounded() {
    let buffers = Arc::new(Buffers::of_bodies());
    let mut held = Vec::new();
    let mut bytes = 0;
    for _ in 0..200 {
        let mut buffer = buffers.take(usize::MAX);
        let len = buffer.space().len();
        bytes += len;
        held.push(buffer.into_bytes(len));
    }
    assert!(bytes <= 64 * BUFFER_BYTES + 136 * 32 * 1024);
    drop(held);
    let mut again = buffers.take(BUFFER_BYTES);
    assert_eq!(again.space().len(), BUFFER_BYTES);
    assert_eq!(again.into_bytes(10).len(), 10);
}
