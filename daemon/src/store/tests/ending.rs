//! What a stop finds half done.

use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::catalog::UploadRole;

/// Longer than a stop takes that waits for nothing.
const A_WHILE: Duration = Duration::from_millis(300);

/// A caller goes away while the files of its upload are made, and the daemon stops before they are.
async fn stopped_while_it_begins(new: NewResumable) {
    let house = House::new().await;
    let store = house.store.clone();
    store.create_bucket(&bucket(), "me").await.unwrap();
    // The one thread for disk work is taken, so the files come late.
    let (open_gate, gate) = mpsc::channel::<()>();
    let busy = tokio::task::spawn_blocking(move || gate.recv());
    let caller = tokio::spawn({
        let store = store.clone();
        async move { store.begin_upload(new).await }
    });
    while store.0.endings.tasks.is_empty() {
        tokio::task::yield_now().await;
    }
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    let mut stop = tokio::spawn(async move {
        store.close().await;
        store.catalog().close().await;
        store
    });
    let early = tokio::time::timeout(A_WHILE, &mut stop).await;
    assert!(early.is_err(), "the stop waited for nothing");
    open_gate.send(()).unwrap();
    busy.await.unwrap().unwrap();
    let stopped = stop.await.unwrap();

    let next = open(&house.dir).await;
    let report = next.fsck(true).await.unwrap();
    assert_eq!(report.findings, [], "no file without a row");
    assert_eq!(next.open_uploads(9).await.unwrap().len(), 1);

    // Whoever comes behind the stop is refused, and leaves nothing either.
    let late = stopped.begin_upload(resumable(Some(9))).await;
    assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");
    let report = next.fsck(true).await.unwrap();
    assert_eq!(report.findings, [], "no file without a row");
}

fn with_one_thread_for_disks(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(1)
        .enable_all()
        .build();
    runtime.unwrap().block_on(test);
}

#[test]
fn a_stop_waits_for_an_upload_that_is_being_begun() {
    with_one_thread_for_disks(stopped_while_it_begins(resumable(Some(300_000))));
}

#[test]
fn a_stop_waits_for_a_lane_that_is_being_begun() {
    let mebibyte = 1 << 20;
    let lane = NewResumable {
        role: UploadRole::Partial,
        lane: Some(NewLane {
            of: "0123456789abcdef".into(),
            start: 0,
            total: 2 * mebibyte,
        }),
        ..resumable(Some(mebibyte))
    };
    with_one_thread_for_disks(stopped_while_it_begins(lane));
}
