//! The store's promises, told as short stories over a real catalog and real files.
#![expect(clippy::unwrap_used, reason = "tests")]

mod damage;
mod derived;
mod disks;
mod encryption;
mod ending;
mod fsck;
mod lifecycle;
mod lock;
mod memory;
mod model;
mod quota;
mod resumable;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tempfile::TempDir;

use resumable::resumable;

use super::*;
use crate::blob::BlobOptions;
use crate::catalog::{Options, Versioning};
use crate::kernel::{BucketName, ObjectKey};

struct House {
    store: Store,
    dir: TempDir,
}

impl House {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            store: open(&dir).await,
            dir,
        }
    }
}

async fn open(dir: &TempDir) -> Store {
    let catalog = Catalog::open(&Options::Sqlite(dir.path().join("catalog.sqlite")))
        .await
        .unwrap();
    let blobs = Blobs::open(BlobOptions {
        dir: dir.path().join("blobs"),
        reserve_bytes: 0,
    })
    .await
    .unwrap();
    let planner: Planner = Arc::new(|_| Vec::new());
    Store::new(StoreParts {
        catalog,
        blobs,
        clock: Clock::system(),
        planner,
        bell: crate::queue::Bell::new(),
        inline_bytes_max: 16 * 1024,
        master: crate::kernel::MasterKey::from_bytes([7; 32]),
    })
}

fn bucket() -> BucketName {
    "films".parse().unwrap()
}

fn key(name: &str) -> ObjectKey {
    name.parse().unwrap()
}

fn named(name: &str, condition: Condition) -> PutObject {
    PutObject {
        bucket: bucket(),
        key: key(name),
        headers: ObjectHeaders::default(),
        tags: Tags::new(),
        extras: crate::store::ObjectExtras::default(),
        owner: "me".into(),
        condition,
        etag: None,
    }
}

async fn seal(store: &Store, bytes: &[u8], always_blob: bool) -> Sealed {
    let options = WriteOptions {
        size: Some(bytes.len() as u64),
        always_blob,
        ..WriteOptions::default()
    };
    let mut writer = store.writer(options).await.unwrap();
    for piece in bytes.chunks(70_000) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    writer.seal().await.unwrap()
}

async fn put(store: &Store, name: &str, bytes: &[u8]) -> Published {
    let sealed = seal(store, bytes, false).await;
    store
        .publish(named(name, Condition::default()), sealed)
        .await
        .unwrap()
}

async fn get(store: &Store, name: &str) -> Result<Vec<u8>, StoreError> {
    let object = store.object(&bucket(), &key(name), None).await?;
    let body = store.reader(&object).await?.body(0..object.size);
    Ok(body.collect().await?.to_bytes().to_vec())
}

fn noise(size: usize, seed: u8) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[seed]);
    let mut bytes = vec![0; size];
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

async fn clean(store: &Store) {
    store.settle().await;
    let report = store.fsck(true).await.unwrap();
    assert_eq!(report.findings, [], "{report:?}");
}

#[tokio::test]
async fn bytes_come_back_as_they_went_in_and_replaced_ones_go() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    for size in [0, 1, 16 * 1024, 16 * 1024 + 1, 3_000_000] {
        let bytes = noise(size, 1);
        let published = put(store, "a", &bytes).await;
        assert_eq!(published.object.size, size as u64);
        assert_eq!(get(store, "a").await.unwrap(), bytes, "{size}");
    }
    let usage = store.bucket_with_usage(&bucket()).await.unwrap();
    assert_eq!((usage.usage_bytes, usage.usage_objects), (3_000_000, 1));
    let deleted = store
        .delete(&bucket(), &key("a"), None, Condition::default(), "me")
        .await
        .unwrap();
    assert!(deleted.existed && !deleted.is_delete_marker);
    assert!(matches!(
        get(store, "a").await,
        Err(StoreError::NoSuchKey(_))
    ));
    let usage = store.bucket_with_usage(&bucket()).await.unwrap();
    assert_eq!((usage.usage_bytes, usage.usage_objects), (0, 0));
    store.settle().await;
    assert_eq!(store.blobs().files().count(), 0);
    clean(store).await;
    store.delete_bucket(&bucket()).await.unwrap();
    assert!(matches!(
        put_fails(store).await,
        StoreError::NoSuchBucket(_)
    ));
}

async fn put_fails(store: &Store) -> StoreError {
    let sealed = seal(store, &noise(100_000, 2), false).await;
    let error = store
        .publish(named("a", Condition::default()), sealed)
        .await
        .unwrap_err();
    store.settle().await;
    assert_eq!(
        store.blobs().files().count(),
        0,
        "a refused object leaves no file"
    );
    error
}

#[tokio::test]
async fn conditions_are_decided_in_the_commit() {
    let house = House::new().await;
    let store = house.store.clone();
    store.create_bucket(&bucket(), "me").await.unwrap();
    let absent = Condition {
        if_none_match: Some("*".into()),
        ..Condition::default()
    };
    let mut racers = tokio::task::JoinSet::new();
    for n in 0..16 {
        let (store, absent) = (store.clone(), absent.clone());
        racers.spawn(async move {
            let sealed = seal(&store, &noise(20_000 + n, 3), false).await;
            store.publish(named("lock", absent), sealed).await.is_ok()
        });
    }
    let won = racers
        .join_all()
        .await
        .into_iter()
        .filter(|won| *won)
        .count();
    assert_eq!(won, 1);
    let etag = store
        .head(&bucket(), &key("lock"), None)
        .await
        .unwrap()
        .etag;
    let same = Condition {
        if_match: Some(etag.quoted()),
        ..Condition::default()
    };
    let sealed = seal(&store, b"next", false).await;
    store
        .publish(named("lock", same.clone()), sealed)
        .await
        .unwrap();
    let sealed = seal(&store, b"late", false).await;
    let late = store.publish(named("lock", same), sealed).await;
    assert!(matches!(
        late,
        Err(StoreError::PreconditionFailed("If-Match"))
    ));
    assert_eq!(get(&store, "lock").await.unwrap(), b"next");
    clean(&store).await;
}

#[tokio::test]
async fn versions_stack_and_delete_markers_hide() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    put(store, "v", b"null").await;
    store
        .set_versioning(&bucket(), Versioning::Enabled)
        .await
        .unwrap();
    let first = put(store, "v", &noise(50_000, 1)).await.object;
    put(store, "v", b"second").await;
    let marker = store
        .delete(&bucket(), &key("v"), None, Condition::default(), "me")
        .await
        .unwrap();
    assert!(marker.is_delete_marker);
    assert!(matches!(
        get(store, "v").await,
        Err(StoreError::DeleteMarker { .. })
    ));
    let all = ListRequest {
        versions: true,
        limit: 1000,
        ..ListRequest::default()
    };
    let page = store.list(&bucket(), &all).await.unwrap();
    assert_eq!(page.items.len(), 4);
    assert!(page.items[0].is_delete_marker && page.items[0].is_latest);
    // Undelete: removing the marker brings the newest version back.
    let version = marker.version_id.unwrap();
    store
        .delete(
            &bucket(),
            &key("v"),
            Some(&version),
            Condition::default(),
            "me",
        )
        .await
        .unwrap();
    assert_eq!(get(store, "v").await.unwrap(), b"second");
    let old = store
        .object(&bucket(), &key("v"), Some(&first.version_id))
        .await
        .unwrap();
    assert_eq!(old.size, 50_000);
    store
        .set_versioning(&bucket(), Versioning::Suspended)
        .await
        .unwrap();
    put(store, "v", b"null again").await;
    assert_eq!(
        store.list(&bucket(), &all).await.unwrap().items.len(),
        3,
        "the null version is replaced"
    );
    clean(store).await;
}

#[tokio::test]
async fn copies_share_bytes_until_the_last_is_gone() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let bytes = noise(2_500_000, 9);
    let source = put(store, "a", &bytes).await.object;
    let copy = Copy {
        source,
        bucket: bucket(),
        key: key("b"),
        headers: None,
        tags: None,
        extras: crate::store::ObjectExtras::default(),
        owner: "me".into(),
        condition: Condition::default(),
    };
    store.copy(copy).await.unwrap();
    store.settle().await;
    assert_eq!(store.blobs().files().count(), 1);
    store
        .delete(&bucket(), &key("a"), None, Condition::default(), "me")
        .await
        .unwrap();
    assert_eq!(get(store, "b").await.unwrap(), bytes);
    clean(store).await;
    store
        .delete(&bucket(), &key("b"), None, Condition::default(), "me")
        .await
        .unwrap();
    store.settle().await;
    assert_eq!(store.blobs().files().count(), 0);
}

#[tokio::test]
async fn listing_folds_and_pages_exactly() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    for n in 0..50 {
        put(store, &format!("a/{n:02}/x"), b"1").await;
        put(store, &format!("b{n:02}"), b"1").await;
    }
    put(store, "a", b"1").await;
    let whole = ListRequest {
        delimiter: "/".into(),
        limit: 1000,
        ..ListRequest::default()
    };
    let page = store.list(&bucket(), &whole).await.unwrap();
    assert_eq!(
        (page.prefixes.len(), page.items.len(), page.is_truncated),
        (1, 51, false)
    );
    for limit in [1, 2, 7, 51, 52] {
        let mut request = ListRequest {
            delimiter: "/".into(),
            limit,
            ..ListRequest::default()
        };
        let (mut keys, mut pages) = (Vec::new(), 0);
        loop {
            let page = store.list(&bucket(), &request).await.unwrap();
            let shown = page.items.len() + page.prefixes.len();
            assert!(shown <= limit && shown > 0);
            let mut names: Vec<String> =
                page.items.iter().map(|item| item.key.to_string()).collect();
            names.extend(page.prefixes);
            names.sort();
            keys.extend(names);
            pages += 1;
            if !page.is_truncated {
                break;
            }
            request.after = page.next_after;
        }
        assert_eq!(keys.len(), 52, "limit {limit}");
        assert!(keys.is_sorted());
        assert_eq!(pages, 52_usize.div_ceil(limit));
    }
    let deep = ListRequest {
        prefix: "a/".into(),
        delimiter: "/".into(),
        limit: 10,
        ..ListRequest::default()
    };
    let page = store.list(&bucket(), &deep).await.unwrap();
    assert_eq!(page.prefixes.first().map(String::as_str), Some("a/00/"));
    assert!(page.is_truncated && page.prefixes.len() == 10);
}

/// What a listing shows, by the definition: every key in order, folded behind the prefix.
fn listed<'k>(
    keys: impl Iterator<Item = &'k String>,
    prefix: &str,
    delimiter: &str,
) -> Vec<String> {
    let mut shown: Vec<String> = keys
        .filter_map(|key| {
            let rest = key.strip_prefix(prefix)?;
            let end = rest.find(delimiter).map(|at| at + delimiter.len());
            Some(key[..end.map_or(key.len(), |end| prefix.len() + end)].to_owned())
        })
        .collect();
    shown.dedup();
    shown
}

#[tokio::test]
async fn folders_and_files_in_any_order_fold_by_the_definition() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let mut keys = std::collections::BTreeSet::new();
    for n in 0..40 {
        keys.insert(format!("d{n:02}/x"));
        keys.insert(format!("d{n:02}/ü/y"));
        keys.insert(format!("e{n:02}{}", if n % 3 == 0 { "" } else { "/z" }));
        keys.insert(format!("deep/ü{n}/--/w"));
        keys.insert(format!("deep/{n}--a/--b"));
    }
    for key in ["d", "d/", "deep/", "deep//", "\u{10ffff}/a", "\u{10ffff}"] {
        keys.insert(key.to_owned());
    }
    for name in &keys {
        put(store, name, b"1").await;
    }
    // What only a delete marker is left of is no folder.
    let enabled = Versioning::Enabled;
    store.set_versioning(&bucket(), enabled).await.unwrap();
    for n in [3, 4, 5, 39] {
        for gone in [format!("d{n:02}/x"), format!("d{n:02}/ü/y")] {
            store
                .delete(&bucket(), &key(&gone), None, Condition::default(), "me")
                .await
                .unwrap();
            keys.remove(&gone);
        }
    }
    for (prefix, delimiter) in [
        ("", "/"),
        ("d", "/"),
        ("deep/", "/"),
        ("deep/", "--"),
        ("", "ü"),
        ("", "x"),
        ("deep/ü", "/--"),
    ] {
        for limit in [1, 2, 3, 10, 39, 1000] {
            let mut request = ListRequest {
                prefix: prefix.into(),
                delimiter: delimiter.into(),
                limit,
                ..ListRequest::default()
            };
            let mut shown = Vec::new();
            loop {
                let page = store.list(&bucket(), &request).await.unwrap();
                let items = page.items.iter().map(|item| item.key.to_string());
                let mut names: Vec<String> = items.chain(page.prefixes).collect();
                assert!(names.len() == limit || !page.is_truncated);
                names.sort();
                shown.extend(names);
                if !page.is_truncated {
                    break;
                }
                request.after = page.next_after;
            }
            let expected = listed(keys.iter(), prefix, delimiter);
            assert_eq!(shown, expected, "{prefix:?} {delimiter:?} {limit}");
        }
    }
}

#[tokio::test]
async fn multipart_becomes_one_object_and_answers_twice() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let new = NewMultipart {
        bucket: bucket(),
        key: key("big"),
        headers: ObjectHeaders::default(),
        tags: Tags::new(),
        extras: crate::store::ObjectExtras::default(),
        owner: "me".into(),
        checksum: None,
    };
    let id = store.begin_multipart(new.clone()).await.unwrap();
    let parts = [noise(5 << 20, 1), noise(5 << 20, 2), noise(77, 3)];
    let mut named = Vec::new();
    for (n, bytes) in (1..).zip(&parts) {
        // The first try of each part is replaced by the second.
        for content in [&b"draft"[..], bytes] {
            let sealed = seal(store, content, true).await;
            let part = store
                .put_part(id, &bucket(), &key("big"), n, sealed)
                .await
                .unwrap();
            named.retain(|p: &CompletedPart| p.number != n);
            named.push(CompletedPart {
                number: n,
                etag: part.etag.quoted(),
                checksums: Default::default(),
            });
        }
    }
    assert!(matches!(
        store.delete_bucket(&bucket()).await,
        Err(StoreError::BucketNotEmpty(_))
    ));
    let done = store
        .complete_multipart(
            id,
            &bucket(),
            &key("big"),
            named.clone(),
            Condition::default(),
        )
        .await
        .unwrap();
    let again = store
        .complete_multipart(id, &bucket(), &key("big"), named, Condition::default())
        .await
        .unwrap();
    assert_eq!(done.object.etag, again.object.etag);
    assert!(done.object.etag.as_str().ends_with("-3"));
    assert_eq!(get(store, "big").await.unwrap(), parts.concat());
    let aborted = store.begin_multipart(new).await.unwrap();
    let sealed = seal(store, b"gone", true).await;
    store
        .put_part(aborted, &bucket(), &key("big"), 1, sealed)
        .await
        .unwrap();
    store
        .abort_multipart(aborted, &bucket(), &key("big"))
        .await
        .unwrap();
    assert!(matches!(
        store.multipart(aborted, &bucket(), &key("big")).await,
        Err(StoreError::NoSuchUpload(_))
    ));
    clean(store).await;
}

#[tokio::test]
async fn a_start_collects_what_a_crash_left() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    put(store, "kept", &noise(200_000, 1)).await;
    // A crash between the file and its row: the file is there, its lock is gone.
    let writer::SealedBytes::Blob(blob) = seal(store, &noise(100_000, 2), false).await.bytes else {
        unreachable!()
    };
    drop(blob.keep());
    // A file whose writer still runs is left alone.
    let running = seal(store, &noise(100_000, 3), false).await;
    assert_eq!(store.fsck(false).await.unwrap().findings.len(), 1);
    assert_eq!(
        store.reconcile().await.unwrap(),
        Reconciled {
            orphans: 1,
            ..Reconciled::default()
        }
    );
    store
        .publish(named("late", Condition::default()), running)
        .await
        .unwrap();
    clean(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_are_walked_for_many_at_once() {
    let house = House::new().await;
    let catalog = house.store.0.catalog.clone();
    house.store.create_bucket(&bucket(), "me").await.unwrap();
    for name in ["a/1", "b/1", "b/2", "c/1"] {
        put(&house.store, name, b"x").await;
    }
    let bucket_id = catalog.bucket(&bucket()).await.unwrap().unwrap().id;
    let asked = (0..200).map(|_| {
        let catalog = catalog.clone();
        tokio::spawn(async move {
            let rows = crate::catalog::ListRows {
                bucket_id,
                has_history: false,
                from: b"",
                until: None,
                limit: 10,
            };
            catalog.folds(rows, 0, "/").await.unwrap()
        })
    });
    for folds in futures::future::join_all(asked).await {
        assert_eq!(folds.unwrap(), ["a/", "b/", "c/"]);
    }
}
