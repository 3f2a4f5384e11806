//! What is made of a content: encrypted where its object is, and made again when it is damaged.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::catalog::{NewJob, NewRendition, RenditionKind, RenditionState};
use crate::kernel::ContentId;

const RECIPE: &str = "720p-1";

/// An object with the content, encrypted or not, and a rendition of it with one segment.
async fn film(house: &House, sealed: bool, plain: &[u8]) -> (Object, ContentId) {
    let store = &house.store;
    let encryption = sealed.then(|| Encryption::new(EncryptionAsked::Appliance));
    let options = WriteOptions {
        encryption,
        ..WriteOptions::default()
    };
    let mut writer = store.writer(options).await.unwrap();
    writer
        .write(noise(40_000, u8::from(sealed)).into())
        .await
        .unwrap();
    let name = if sealed { "sealed" } else { "open" };
    let written = writer.seal().await.unwrap();
    let put = named(name, Condition::default());
    let object = store.publish(put, written).await.unwrap().object;
    let content = object.content_id;
    let rendition = NewRendition {
        content,
        recipe: RECIPE.into(),
        name: "720p".into(),
        kind: RenditionKind::Video,
        segments_total: 1,
        now_ms: 1,
    };
    let begin = store.catalog().write(move |tx| {
        Box::pin(async move {
            tx.begin_rendition(&rendition).await?;
            let ready = RenditionState::Ready;
            tx.set_rendition_state(content, RECIPE, ready, 1).await?;
            Ok::<_, StoreError>(())
        })
    });
    begin.await.unwrap();
    let options = WriteOptions {
        always_blob: true,
        encryption: store.derived_encryption(&object).await.unwrap(),
        ..WriteOptions::default()
    };
    let mut writer = store.writer(options).await.unwrap();
    writer.write(plain.to_vec().into()).await.unwrap();
    let of = SegmentOf {
        content,
        recipe: RECIPE.into(),
        number: 0,
        init_number: 0,
        start_ticks: 0,
        duration_ticks: 1,
    };
    let written = writer.seal().await.unwrap();
    assert!(store.put_segment(of, written).await.unwrap());
    (object, content)
}

async fn segment(store: &Store, content: ContentId) -> Vec<u8> {
    let row = store.catalog().rendition_segment(content, RECIPE, 0).await;
    let row = row.unwrap().unwrap();
    let reader = store.segment_reader(content, &row).await.unwrap();
    reader
        .read(0..row.size_bytes as u64)
        .await
        .unwrap()
        .to_vec()
}

async fn segment_file(house: &House, content: ContentId) -> std::path::PathBuf {
    let row = house
        .store
        .catalog()
        .rendition_segment(content, RECIPE, 0)
        .await;
    let blob = row.unwrap().unwrap().blob().unwrap().to_string();
    house.dir.path().join("blobs").join(&blob[30..]).join(blob)
}

#[tokio::test]
async fn what_is_made_of_an_encrypted_object_is_encrypted_too() {
    let mut house = House::new().await;
    let clock = Clock::manual(1_000_000);
    Arc::get_mut(&mut house.store.0).unwrap().clock = clock.clone();
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let plain = noise(1_500_000, 7);
    for sealed in [false, true] {
        let (object, content) = film(&house, sealed, &plain).await;
        assert_eq!(segment(store, content).await, plain);
        let stored = std::fs::read(segment_file(&house, content).await).unwrap();
        assert_eq!(stored == plain, !sealed);
        let shown = plain
            .windows(64)
            .step_by(100_000)
            .any(|piece| stored.windows(64).any(|window| window == piece));
        assert_eq!(shown, !sealed, "pieces of it");
        let poster = store.seal_derived(&object, b"JPEG".to_vec()).await.unwrap();
        let again = store.seal_derived(&object, b"JPEG".to_vec()).await.unwrap();
        assert_eq!(poster == b"JPEG", !sealed);
        assert_eq!(poster == again, !sealed, "never twice under one key");
        let opened = store.open_derived(content, poster.clone()).await.unwrap();
        assert_eq!(opened, b"JPEG");
        if sealed {
            let mut wrong = poster.clone();
            *wrong.last_mut().unwrap() ^= 1;
            let refused = store.open_derived(content, wrong).await;
            assert!(matches!(refused, Err(StoreError::Damaged(_))));
            let other = store.open_derived(ContentId([9; 32]), poster).await;
            assert!(matches!(other, Err(StoreError::Damaged(_))));
            // A rotation wraps its key as well, and drops the old one without losing it.
            store.rotate_keys().await.unwrap();
            clock.advance_ms(2 * 60 * 60 * 1000);
            let rotated = store.rotate_keys().await.unwrap();
            assert!(rotated.dropped > 0 && rotated.rewrapped > 0, "{rotated:?}");
            assert_eq!(segment(store, content).await, plain);
        }
    }
    clean(store).await;
}

#[tokio::test]
async fn a_damaged_segment_is_forgotten_and_planned_again() {
    let planned = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&planned);
    let planner: Planner = Arc::new(move |object| {
        count.fetch_add(1, Ordering::Relaxed);
        let payload = serde_json::json!({ "content": object.content_id.to_string() });
        vec![NewJob::new("index", payload, 1)]
    });
    let mut house = House::new().await;
    Arc::get_mut(&mut house.store.0).unwrap().planner = planner;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let (_, content) = film(&house, true, &noise(1_500_000, 7)).await;
    assert_eq!(planned.load(Ordering::Relaxed), 1, "by its publication");
    let file = segment_file(&house, content).await;
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1_200_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let stop = tokio_util::sync::CancellationToken::new();
    let options = ScrubOptions {
        every_ms: 1000,
        bytes_per_s: 0,
    };
    let state = store.scrub(options, true, &stop).await.unwrap();
    assert_eq!((state.damaged, state.healed), (0, 1), "{state:?}");
    let row = store.catalog().rendition_segment(content, RECIPE, 0).await;
    assert!(row.unwrap().is_none());
    let renditions = store.catalog().renditions(content).await.unwrap();
    assert_eq!(renditions[0].state().unwrap(), RenditionState::Building);
    assert_eq!(planned.load(Ordering::Relaxed), 2, "to be made whole again");
    assert!(!file.exists());
    assert_eq!(store.catalog().quarantined_blobs().await.unwrap(), 0);
    clean(store).await;
}
