//! Locks against everything that removes, with a clock moved by hand.

use super::*;
use crate::kernel::{Millis, VersionId};

const DAY_MS: Millis = 24 * 60 * 60 * 1000;
/// 2026-11-21T10:00:00Z.
pub(super) const MORNING: Millis = 1_795_255_200_000;

/// A store whose time stands still until it is moved.
pub(super) async fn at(clock: &Clock) -> House {
    let dir = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&Options::Sqlite(dir.path().join("catalog.sqlite")))
        .await
        .unwrap();
    let blobs = Blobs::open(BlobOptions {
        dir: dir.path().join("blobs"),
        reserve_bytes: 0,
    })
    .await
    .unwrap();
    let store = Store::new(StoreParts {
        catalog,
        blobs,
        clock: clock.clone(),
        planner: Arc::new(|_| Vec::new()),
        bell: crate::queue::Bell::new(),
        inline_bytes_max: 16 * 1024,
        master: crate::kernel::MasterKey::from_bytes([7; 32]),
    });
    House { store, dir }
}

async fn remove(store: &Store, name: &str, version: &VersionId, bypass: bool) -> bool {
    let removal = Removal {
        bucket: bucket(),
        key: key(name),
        version: Some(version.clone()),
        condition: Condition::default(),
        bypass_governance: bypass,
        owner: "me".into(),
    };
    match store.remove(removal).await {
        Ok(deleted) => deleted.existed,
        Err(StoreError::Locked(_)) => false,
        Err(other) => panic!("{other}"),
    }
}

fn retained(mode: RetentionMode, until_ms: Millis) -> LockChange {
    LockChange::Retain {
        retention: Some(Retention { mode, until_ms }),
        bypass: false,
    }
}

#[tokio::test]
async fn what_is_locked_outlives_every_way_of_deleting() {
    let clock = Clock::manual(MORNING);
    let house = at(&clock).await;
    let store = &house.store;
    store
        .create_locking_bucket(&bucket(), "me", serde_json::Map::new())
        .await
        .unwrap();
    let lock = BucketLock {
        default_retention: Some(DefaultRetention {
            mode: RetentionMode::Governance,
            period: Period::Days(2),
        }),
    };
    store.set_bucket_lock(&bucket(), lock).await.unwrap();
    let big = put(store, "a", &noise(50_000, 1)).await.object;
    let kept = big.extras.lock.unwrap().retention.unwrap();
    assert_eq!(kept.until_ms, MORNING + 2 * DAY_MS);
    put(store, "a", b"newer").await;
    let hidden = store
        .delete(&bucket(), &key("a"), None, Condition::default(), "me")
        .await
        .unwrap();
    assert!(hidden.is_delete_marker, "hiding removes nothing");
    assert!(!remove(store, "a", &big.version_id, false).await);
    let suspended = store.set_versioning(&bucket(), Versioning::Suspended).await;
    assert!(matches!(suspended, Err(StoreError::BucketState(_))));
    assert!(matches!(
        store.delete_bucket(&bucket()).await,
        Err(StoreError::BucketNotEmpty(_))
    ));
    let change = retained(RetentionMode::Compliance, MORNING + 3 * DAY_MS);
    assert!(
        matches!(
            store.change_lock(&big, change).await,
            Err(StoreError::Locked(_))
        ),
        "another mode asks for the right to bypass"
    );
    clock.advance_ms(2 * DAY_MS);
    store.change_lock(&big, change).await.unwrap();
    assert!(!remove(store, "a", &big.version_id, true).await);
    clock.advance_ms(DAY_MS);
    assert!(remove(store, "a", &big.version_id, false).await);
    clean(store).await;
}

#[tokio::test]
async fn a_hold_has_no_end_but_its_lifting() {
    let clock = Clock::manual(MORNING);
    let house = at(&clock).await;
    let store = &house.store;
    store
        .create_locking_bucket(&bucket(), "me", serde_json::Map::new())
        .await
        .unwrap();
    let object = put(store, "a", b"evidence").await.object;
    assert_eq!(object.extras.lock, None);
    store
        .change_lock(&object, LockChange::Hold(true))
        .await
        .unwrap();
    clock.advance_ms(10_000 * DAY_MS);
    assert!(!remove(store, "a", &object.version_id, true).await);
    store
        .change_lock(&object, LockChange::Hold(false))
        .await
        .unwrap();
    assert!(remove(store, "a", &object.version_id, false).await);
}

#[tokio::test]
async fn a_bucket_without_lock_takes_none() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let mut held = named("a", Condition::default());
    held.extras.lock = Some(ObjectLock {
        retention: None,
        legal_hold: Some(true),
    });
    let sealed = seal(store, &noise(100_000, 2), false).await;
    let refused = store.publish(held, sealed).await;
    assert!(matches!(refused, Err(StoreError::NotLockable(_))));
    store.settle().await;
    assert_eq!(store.blobs().files().count(), 0);
    let object = put(store, "a", b"1").await.object;
    let refused = store.change_lock(&object, LockChange::Hold(true)).await;
    assert!(matches!(refused, Err(StoreError::NotLockable(_))));
    let refused = store
        .set_bucket_lock(&bucket(), BucketLock::default())
        .await;
    assert!(matches!(refused, Err(StoreError::BucketState(_))));
    store
        .set_versioning(&bucket(), Versioning::Enabled)
        .await
        .unwrap();
    store
        .set_bucket_lock(&bucket(), BucketLock::default())
        .await
        .unwrap();
    // The null version of the time before can be locked too, and then nothing replaces it.
    store
        .change_lock(&object, LockChange::Hold(true))
        .await
        .unwrap();
    put(store, "a", b"2").await;
    assert!(!remove(store, "a", &object.version_id, true).await);
    let old = store
        .object(&bucket(), &key("a"), Some(&object.version_id))
        .await
        .unwrap();
    assert_eq!(old.size, 1);
}

#[tokio::test]
async fn a_deletion_is_decided_by_what_is_there() {
    let clock = Clock::manual(MORNING);
    let house = at(&clock).await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let on = |if_match: Option<&str>, at: Option<i64>, if_size: Option<u64>| Condition {
        if_match: if_match.map(str::to_owned),
        if_modified_at_s: at,
        if_size,
        ..Condition::default()
    };
    let outcome = |condition: Condition| async move {
        let deleted = store
            .delete(&bucket(), &key("a"), None, condition, "me")
            .await;
        match deleted {
            Ok(deleted) if deleted.existed => "deleted",
            Ok(_) => "nothing",
            Err(StoreError::NoSuchKey(_)) => "missing",
            Err(StoreError::PreconditionFailed(_)) => "failed",
            Err(other) => panic!("{other}"),
        }
    };
    let now_s = MORNING / 1000;
    for missing in [on(Some("*"), None, None), on(None, Some(0), None)] {
        assert_eq!(outcome(missing).await, "missing");
    }
    assert_eq!(outcome(Condition::default()).await, "nothing");
    put(store, "a", b"four").await;
    for wrong in [
        on(Some("\"x\""), None, None),
        on(None, Some(now_s - 1), None),
        on(None, None, Some(5)),
        on(Some("*"), Some(now_s), Some(5)),
    ] {
        assert_eq!(outcome(wrong).await, "failed");
    }
    let right = on(Some("*"), Some(now_s), Some(4));
    assert_eq!(outcome(right).await, "deleted");
    store
        .set_versioning(&bucket(), Versioning::Enabled)
        .await
        .unwrap();
    put(store, "a", b"four").await;
    assert_eq!(outcome(Condition::default()).await, "deleted");
    // A delete marker is there, but it is nothing that `*` would mean.
    assert_eq!(outcome(on(Some("*"), None, None)).await, "missing");
    assert_eq!(outcome(on(Some("\"x\""), None, None)).await, "failed");
    assert_eq!(outcome(on(None, None, Some(4))).await, "failed");
    assert_eq!(outcome(on(None, Some(now_s), None)).await, "deleted");
}

#[tokio::test]
async fn what_was_deleted_or_overwritten_comes_back() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    store
        .set_versioning(&bucket(), Versioning::Enabled)
        .await
        .unwrap();
    let first = put(store, "a", &noise(50_000, 1)).await.object;
    put(store, "a", b"second").await;
    let again = store.undelete(&bucket(), &key("a"), "me").await;
    assert!(matches!(again, Err(StoreError::NotDeleted(_))));
    for _ in 0..2 {
        store
            .delete(&bucket(), &key("a"), None, Condition::default(), "me")
            .await
            .unwrap();
    }
    let back = store.undelete(&bucket(), &key("a"), "me").await.unwrap();
    assert_eq!((back.size, back.is_latest), (6, true));
    assert_eq!(get(store, "a").await.unwrap(), b"second");
    let restored = store
        .restore(&bucket(), &key("a"), &first.version_id, "me")
        .await
        .unwrap();
    assert_ne!(restored.object.version_id, first.version_id);
    assert_eq!(get(store, "a").await.unwrap(), noise(50_000, 1));
    let all = ListRequest {
        versions: true,
        limit: 1000,
        ..ListRequest::default()
    };
    let page = store.list(&bucket(), &all).await.unwrap();
    assert_eq!(page.items.len(), 3, "nothing above it was lost");
    let missing = store.undelete(&bucket(), &key("b"), "me").await;
    assert!(matches!(missing, Err(StoreError::NoSuchKey(_))));
    store
        .delete(&bucket(), &key("b"), None, Condition::default(), "me")
        .await
        .unwrap();
    let empty = store.undelete(&bucket(), &key("b"), "me").await;
    assert!(matches!(empty, Err(StoreError::NoSuchKey(_))));
    assert!(
        store.object(&bucket(), &key("b"), None).await.is_err(),
        "a marker that hides nothing stays"
    );
    clean(store).await;
}
