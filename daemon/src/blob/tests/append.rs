use bytes::Bytes;
use futures::FutureExt as _;
use proptest::prelude::*;

use super::super::lane::{Lane, OnDrop, Sink};
use super::super::{BlobError, Blobs, Checkpoint};
use super::{count, get, noise, open, room};
use crate::kernel::BlobId;

#[derive(Clone, Debug)]
enum Op {
    Write(usize),
    Checkpoint,
    /// The appender goes away as when a connection breaks; the file's length is what counts.
    Drop,
    /// As after a crash of the machine: go on from the last checkpoint.
    BackToCheckpoint,
    /// A new handle on the same directory.
    Restart,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => prop_oneof![0_usize..5000, 0_usize..1_500_000].prop_map(Op::Write),
        1 => Just(Op::Checkpoint),
        2 => Just(Op::Drop),
        1 => Just(Op::BackToCheckpoint),
        1 => Just(Op::Restart),
    ];
    prop::collection::vec(op, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn uploads_end_whole_whatever_happens(ops in ops()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(story(ops));
    }
}

async fn story(ops: Vec<Op>) {
    let (dir, mut blobs) = room().await;
    let id = blobs.create_open().await.unwrap().id();
    let mut bytes: Vec<u8> = Vec::new();
    let mut safe = Checkpoint {
        offset: 0,
        sums: Vec::new(),
    };
    let mut appender = blobs.append(id, 0, &[]).await.unwrap();
    for op in ops {
        match op {
            Op::Write(len) => {
                let more = noise(len);
                bytes.extend_from_slice(&more);
                for piece in more.chunks(200_000) {
                    appender.write(Bytes::copy_from_slice(piece)).await.unwrap();
                }
            }
            Op::Checkpoint => {
                safe = appender.checkpoint().await.unwrap();
                assert_eq!(safe.offset, bytes.len() as u64);
            }
            Op::Drop => {
                drop(appender);
                appender = blobs
                    .append(id, bytes.len() as u64, &safe.sums)
                    .await
                    .unwrap();
            }
            Op::BackToCheckpoint => {
                drop(appender);
                bytes.truncate(safe.offset as usize);
                appender = blobs.append(id, safe.offset, &safe.sums).await.unwrap();
            }
            Op::Restart => {
                drop(appender);
                blobs = open(&dir).await;
                appender = blobs.append(id, bytes.len() as u64, &[]).await.unwrap();
            }
        }
    }
    let done = appender.finish().await.unwrap();
    assert_eq!(done.size, bytes.len() as u64);
    assert_eq!(done.digest.blake3, *blake3::hash(&bytes).as_bytes());
    assert_eq!(get(&blobs, id, bytes.len()).await, bytes);
    assert_eq!(count(&dir, &blobs), (1, 0));
}

async fn upload(blobs: &Blobs, bytes: &[u8]) -> BlobId {
    let id = blobs.create_open().await.unwrap().id();
    let mut appender = blobs.append(id, 0, &[]).await.unwrap();
    appender.write(Bytes::copy_from_slice(bytes)).await.unwrap();
    assert_eq!(appender.flush().await.unwrap(), bytes.len() as u64);
    id
}

#[tokio::test]
async fn the_length_is_what_was_received() {
    let (_dir, blobs) = room().await;
    let id = upload(&blobs, &noise(1234)).await;
    assert_eq!(blobs.len(id).await.unwrap(), 1234);
    blobs.truncate(id, 1000).await.unwrap();
    assert_eq!(blobs.len(id).await.unwrap(), 1000);
    assert!(matches!(
        blobs.truncate(id, 1001).await,
        Err(BlobError::Short { size: 1000, .. })
    ));
    assert!(matches!(
        blobs.append(id, 1001, &[]).await,
        Err(BlobError::Short { size: 1000, .. })
    ));
}

#[tokio::test]
async fn space_taken_ahead_shows_in_no_length() {
    let (_dir, blobs) = room().await;
    let id = blobs.create_open().await.unwrap().id();
    let mut appender = blobs.append(id, 0, &[]).await.unwrap();
    appender.reserve(8 << 20).await.unwrap();
    appender.write(noise(500).into()).await.unwrap();
    appender.checkpoint().await.unwrap();
    assert_eq!(blobs.len(id).await.unwrap(), 500);
    assert!(matches!(
        appender.reserve(u64::MAX / 4).await,
        Err(BlobError::Full { .. })
    ));
    assert_eq!(appender.finish().await.unwrap().size, 500);
}

#[tokio::test(start_paused = true)]
async fn one_writer_at_a_time() {
    let (_dir, blobs) = room().await;
    let id = upload(&blobs, b"abc").await;
    let first = blobs.append(id, 3, &[]).await.unwrap();
    assert!(matches!(
        blobs.append(id, 3, &[]).await,
        Err(BlobError::Busy { .. })
    ));
    drop(first);
    assert!(blobs.append(id, 3, &[]).await.is_ok());
}

#[tokio::test]
async fn an_upload_without_a_file_is_missing() {
    let (_dir, blobs) = room().await;
    let id = BlobId::random();
    assert!(matches!(
        blobs.append(id, 0, &[]).await,
        Err(BlobError::Missing { .. })
    ));
    assert!(matches!(
        blobs.len(id).await,
        Err(BlobError::Missing { .. })
    ));
    blobs.remove(id).await.unwrap();
    blobs.quarantine(id, &[0]).await.unwrap();
}

/// Holds a thread until it is let go.
struct Held(std::sync::mpsc::Receiver<()>);

impl Sink for Held {
    fn accept(&mut self, _: &[Bytes]) -> Result<(), BlobError> {
        // The other end is dropped to let go.
        let _ = self.0.recv();
        Ok(())
    }
}

#[tokio::test]
async fn a_write_that_is_given_up_loses_nothing_that_was_taken_before() {
    let (_dir, blobs) = room().await;
    let id = blobs.create_open().await.unwrap().id();
    let mut appender = blobs.append(id, 0, &[]).await.unwrap();
    let home = blobs.room_of(id).await.unwrap();
    // Every thread that writes is busy elsewhere.
    let mut busy = Vec::new();
    for _ in 0..home.lanes.threads_max() {
        let (free, held) = std::sync::mpsc::channel();
        let lane = Lane::new(
            &home.lanes,
            Held(held),
            home.tracker.clone(),
            OnDrop::Finish,
        );
        lane.queue(Bytes::from_static(b"x"));
        lane.nudge();
        busy.push((lane, free));
    }
    let piece = Bytes::from(noise(50_000));
    let mut taken = 0;
    while appender.write(piece.clone()).now_or_never().is_some() {
        taken += piece.len() as u64;
        assert!(taken < 64 << 20, "what waits is bounded");
    }
    drop(busy);
    let kept = appender.checkpoint().await.unwrap().offset;
    assert!(kept >= taken, "{kept} of {taken}");
    drop(appender);
    let bytes = get(&blobs, id, kept as usize).await;
    let wanted = piece.iter().cycle().take(kept as usize);
    assert!(bytes.iter().eq(wanted));
}
