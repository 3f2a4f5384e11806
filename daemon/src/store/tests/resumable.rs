//! Resumable uploads: drops, restarts, and what expires.

use futures::FutureExt as _;

use super::*;

pub(super) fn resumable(length: Option<u64>) -> NewResumable {
    NewResumable {
        role: crate::catalog::UploadRole::Whole,
        protocol: crate::catalog::Protocol::Tus,
        bucket: bucket(),
        key: Some(key("film.mkv")),
        headers: ObjectHeaders::default(),
        tags: Tags::new(),
        owner: "me".into(),
        length,
        metadata: "{}".into(),
        idle_ms: Some(1000),
        lane: None,
    }
}

#[tokio::test]
async fn an_upload_keeps_every_byte_over_drops_and_restarts() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let bytes = noise(5_000_000, 4);
    let id = store
        .begin_upload(resumable(Some(bytes.len() as u64)))
        .await
        .unwrap()
        .id;
    let mut session = store.append(id, 0, None).await.unwrap();
    session
        .write(Bytes::copy_from_slice(&bytes[..1_234_567]))
        .await
        .unwrap();
    let stop = session.taken_over();
    let newer = tokio::spawn({
        let store = store.clone();
        async move { store.settle_upload(id).await }
    });
    stop.await;
    drop(session);
    assert_eq!(newer.await.unwrap().unwrap().offset, 1_234_567);
    assert!(matches!(
        store.append(id, 5, None).await,
        Err(StoreError::OffsetConflict {
            current: 1_234_567,
            given: 5
        })
    ));
    // A restart: another process finds the same offset and goes on.
    let store = open(&house.dir).await;
    assert_eq!(store.reconcile().await.unwrap().orphans, 0);
    let mut session = store.append(id, 1_234_567, None).await.unwrap();
    session
        .write(Bytes::copy_from_slice(&bytes[1_234_567..4_000_000]))
        .await
        .unwrap();
    session.release().await.unwrap();
    let mut session = store.append(id, 4_000_000, None).await.unwrap();
    let over = session.write(Bytes::from(vec![0; 2_000_000])).await;
    assert!(matches!(
        over,
        Err(StoreError::TooLarge { limit: 5_000_000 })
    ));
    session
        .write(Bytes::copy_from_slice(&bytes[4_000_000..]))
        .await
        .unwrap();
    let published = session.finish().await.unwrap();
    assert_eq!(
        published.object.content_id.0,
        *blake3::hash(&bytes).as_bytes()
    );
    assert_eq!(get(&store, "film.mkv").await.unwrap(), bytes);
    let upload = store.upload(id).await.unwrap();
    assert!(upload.finished.is_some() && upload.offset == 5_000_000);
    clean(&store).await;
}

#[tokio::test]
async fn the_newest_request_wins_over_those_that_wait_as_well() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let upload = store.begin_upload(resumable(Some(100))).await.unwrap();
    let id = upload.id;
    let running = store.append(id, 0, None).await.unwrap();
    let mut waiting = Box::pin(store.append(id, 0, None));
    assert!(futures::poll!(&mut waiting).is_pending());
    let mut newest = Box::pin(store.settle_upload(id));
    assert!(futures::poll!(&mut newest).is_pending());
    running.taken_over().await;
    let ((), overtaken) = tokio::join!(async { drop(running.release().await) }, waiting);
    // It has its turn, and hears at once that somebody newer waits.
    let overtaken = overtaken.unwrap();
    overtaken.taken_over().now_or_never().unwrap();
    let (released, settled) = tokio::join!(overtaken.release(), newest);
    assert_eq!(released.unwrap(), 0);
    assert!(!settled.unwrap().is_complete);
}

#[tokio::test]
async fn a_restart_does_not_wait_for_the_lease_of_the_dead() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let id = store
        .begin_upload(resumable(Some(300_000)))
        .await
        .unwrap()
        .id;
    let mut session = store.append(id, 0, None).await.unwrap();
    session.write(Bytes::from(noise(200_000, 6))).await.unwrap();
    session.checkpoint().await.unwrap();
    // The lease in the row outlives its daemon; the lock of the file does not.
    session.abandon();
    store.settle().await;
    let next = open(&house.dir).await;
    let mut session = next.append(id, 200_000, None).await.unwrap();
    session.write(Bytes::from(noise(100_000, 7))).await.unwrap();
    session.finish().await.unwrap();
    clean(&next).await;
}

#[tokio::test]
async fn an_upload_that_was_cut_after_its_last_byte_is_ended_when_it_is_asked_about() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let bytes = noise(300_000, 8);
    let length = Some(bytes.len() as u64);
    let id = store.begin_upload(resumable(length)).await.unwrap().id;
    let mut session = store.append(id, 0, None).await.unwrap();
    session.write(Bytes::copy_from_slice(&bytes)).await.unwrap();
    session.checkpoint().await.unwrap();
    // All is durable, and nothing is an object yet.
    session.abandon();
    store.settle().await;
    let store = open(&house.dir).await;
    assert!(!store.settle_upload(id).await.unwrap().is_complete);
    let upload = store.conclude_upload(id).await.unwrap();
    assert!(upload.is_complete && upload.offset == 300_000);
    assert_eq!(get(&store, "film.mkv").await.unwrap(), bytes);
    assert!(store.conclude_upload(id).await.unwrap().is_complete);
    clean(&store).await;
}

#[tokio::test]
async fn ended_and_expired_uploads_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(&dir).await;
    let clock = Clock::manual(1_000_000);
    Arc::get_mut(&mut store.0).unwrap().clock = clock.clone();
    store.create_bucket(&bucket(), "me").await.unwrap();
    let ended = store.begin_upload(resumable(None)).await.unwrap().id;
    let expired = store.begin_upload(resumable(Some(9))).await.unwrap().id;
    store.terminate_upload(ended).await.unwrap();
    assert!(matches!(
        store.upload(ended).await,
        Err(StoreError::NoSuchUpload(_))
    ));
    assert_eq!(store.sweep_uploads().await.unwrap(), 0);
    clock.advance_ms(1001);
    assert_eq!(store.sweep_uploads().await.unwrap(), 1);
    assert!(matches!(
        store.upload(expired).await,
        Err(StoreError::NoSuchUpload(_))
    ));
    let empty = store.begin_upload(resumable(Some(0))).await.unwrap().id;
    store
        .append(empty, 0, None)
        .await
        .unwrap()
        .finish()
        .await
        .unwrap();
    assert_eq!(get(&store, "film.mkv").await.unwrap(), b"");
    store.settle().await;
    assert_eq!(store.blobs().files().count(), 0);
    clean(&store).await;
}
