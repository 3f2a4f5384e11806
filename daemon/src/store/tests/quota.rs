//! Usage and quotas, under writers that meet and figures that were spoilt.

use super::*;

fn bound(bytes: Option<u64>, objects: Option<u64>) -> Quota {
    Quota { bytes, objects }
}

async fn try_put(store: &Store, name: &str, size: usize, owner: &str) -> Result<(), StoreError> {
    let sealed = seal(store, &noise(size, 1), false).await;
    let mut put = named(name, Condition::default());
    put.owner = owner.into();
    store.publish(put, sealed).await.map(|_| ())
}

fn exceeded(result: &Result<(), StoreError>) -> bool {
    matches!(result, Err(StoreError::QuotaExceeded(_)))
}

async fn held(store: &Store, owner: &str) -> (u64, u64) {
    let usage = store.owner_usage(owner).await.unwrap().usage;
    (usage.bytes, usage.objects)
}

#[tokio::test]
async fn a_bucket_holds_what_its_quota_allows() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    try_put(store, "a", 60_000, "me").await.unwrap();
    let quota = bound(Some(100_000), None);
    store.set_bucket_quota(&bucket(), quota).await.unwrap();
    assert_eq!(store.bucket_quota(&bucket()).await.unwrap(), quota);
    let refused = try_put(store, "b", 40_001, "me").await;
    assert!(exceeded(&refused), "{refused:?}");
    store.settle().await;
    assert_eq!(store.blobs().files().count(), 1, "its file is gone");
    // What is replaced makes room.
    let name = key("a");
    let admit = |key, bytes| {
        let bucket = bucket();
        async move { store.admit(&bucket, key, "me", bytes).await }
    };
    assert!(exceeded(&admit(None, 40_001).await));
    assert!(admit(Some(&name), 100_000).await.is_ok());
    assert!(exceeded(&admit(Some(&name), 100_001).await));
    try_put(store, "a", 100_000, "me").await.unwrap();
    assert!(exceeded(&try_put(store, "a", 100_001, "me").await));
    // A bound below what is there stops growth, and nothing else.
    let quota = bound(Some(10), Some(1));
    store.set_bucket_quota(&bucket(), quota).await.unwrap();
    try_put(store, "a", 90_000, "me").await.unwrap();
    assert!(exceeded(&try_put(store, "b", 0, "me").await));
    store
        .set_bucket_quota(&bucket(), Quota::default())
        .await
        .unwrap();
    try_put(store, "b", 1, "me").await.unwrap();
    clean(store).await;
}

#[tokio::test]
async fn parts_of_an_unfinished_upload_count_until_it_ends() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let quota = bound(Some(100_000), None);
    store.set_bucket_quota(&bucket(), quota).await.unwrap();
    let id = store
        .begin_multipart(NewMultipart {
            bucket: bucket(),
            key: key("big"),
            headers: ObjectHeaders::default(),
            tags: Tags::new(),
            extras: crate::store::ObjectExtras::default(),
            owner: "me".into(),
            checksum: None,
        })
        .await
        .unwrap();
    let sealed = seal(store, &noise(60_000, 1), true).await;
    let part = store.put_part(id, &bucket(), &key("big"), 1, sealed).await;
    assert_eq!(part.unwrap().size, 60_000);
    let bucket = bucket();
    assert!(exceeded(&store.admit(&bucket, None, "me", 40_001).await));
    assert!(store.admit(&bucket, None, "me", 40_000).await.is_ok());
    let dropped = store.abort_multipart(id, &bucket, &key("big")).await;
    dropped.unwrap();
    assert!(store.admit(&bucket, None, "me", 100_000).await.is_ok());
    clean(store).await;
}

#[tokio::test]
async fn an_owner_is_counted_over_all_buckets_whatever_the_door_calls_it() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    store
        .set_versioning(&bucket(), Versioning::Enabled)
        .await
        .unwrap();
    try_put(store, "a", 20_000, "key:NEB1").await.unwrap();
    try_put(store, "a", 30, "NEB1").await.unwrap();
    try_put(store, "a", 5, "other").await.unwrap();
    assert_eq!(held(store, "NEB1").await, (20_030, 2));
    assert_eq!(held(store, "key:NEB1").await, (20_030, 2));
    let quota = bound(Some(20_040), Some(3));
    store.set_owner_quota("NEB1", quota).await.unwrap();
    assert!(exceeded(&try_put(store, "b", 11, "key:NEB1").await));
    try_put(store, "b", 10, "key:NEB1").await.unwrap();
    assert!(exceeded(&try_put(store, "c", 0, "NEB1").await));
    try_put(store, "c", 50_000, "other").await.unwrap();
    // What another deletes is credited to whom it belonged; a delete marker is nobody's.
    store
        .delete(&bucket(), &key("c"), None, Condition::default(), "NEB1")
        .await
        .unwrap();
    assert_eq!(held(store, "other").await, (50_005, 2));
    let listed = store.owner_usages().await.unwrap();
    let owners: Vec<_> = listed.iter().map(|one| one.owner.as_str()).collect();
    assert_eq!(owners, ["NEB1", "other"]);
    assert_eq!(listed[0].quota, quota);
    clean(store).await;
}

#[tokio::test]
async fn of_many_writers_at_once_only_those_that_fit_succeed() {
    let house = House::new().await;
    let store = house.store.clone();
    store.create_bucket(&bucket(), "me").await.unwrap();
    store
        .set_bucket_quota(&bucket(), bound(Some(5 * 20_000), None))
        .await
        .unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..20 {
        let store = store.clone();
        writers.spawn(async move { try_put(&store, &format!("{n}"), 20_000, "me").await });
    }
    let outcomes = writers.join_all().await;
    let refused = outcomes.iter().filter(|one| exceeded(one)).count();
    assert_eq!(refused, 15, "{outcomes:?}");
    assert_eq!(held(&store, "me").await, (100_000, 5));
    store.settle().await;
    assert_eq!(store.blobs().files().count(), 5);
    clean(&store).await;
}

#[tokio::test]
async fn figures_that_are_wrong_are_found_and_counted_anew() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    try_put(store, "a", 20_000, "me").await.unwrap();
    let id = store.bucket(&bucket()).await.unwrap().id;
    store
        .catalog()
        .write(move |tx| {
            Box::pin(async move {
                tx.add_bucket_usage(id, 1, 0).await?;
                tx.add_owner_usage("nobody", 7, 1).await?;
                Ok::<_, StoreError>(())
            })
        })
        .await
        .unwrap();
    let report = store.fsck(false).await.unwrap();
    let found: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("usage of bucket films: its row says 20001 bytes"));
    assert!(found[1].starts_with("usage of owner nobody: its row says 7 bytes"));
    store.recount_usage().await.unwrap();
    clean(store).await;
    assert_eq!(held(store, "me").await, (20_000, 1));
}
