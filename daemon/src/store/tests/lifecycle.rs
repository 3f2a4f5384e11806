//! Rules over time, with a clock moved by hand.

use std::time::Duration;

use super::lock::{MORNING, at};
use super::*;
use crate::kernel::Millis;

const DAY_MS: Millis = 24 * 60 * 60 * 1000;

fn rule(prefix: &str) -> LifecycleRule {
    LifecycleRule {
        id: format!("rule of {prefix}"),
        enabled: true,
        filter: RuleFilter {
            prefix: Some(prefix.into()),
            ..RuleFilter::default()
        },
        ..LifecycleRule::default()
    }
}

async fn set(store: &Store, rules: Vec<LifecycleRule>) {
    let rules = LifecycleRules { rules };
    store.set_lifecycle(&bucket(), Some(&rules)).await.unwrap();
}

async fn walk(store: &Store) -> Ended {
    let runner = LifecycleRunner::new(store.clone(), Duration::from_secs(3600));
    runner.walk().await.unwrap().unwrap()
}

async fn versions(store: &Store, name: &str) -> Vec<(bool, u64)> {
    let all = ListRequest {
        versions: true,
        limit: 1000,
        prefix: name.into(),
        ..ListRequest::default()
    };
    let page = store.list(&bucket(), &all).await.unwrap();
    let item = |item: &ListItem| (item.is_delete_marker, item.size);
    page.items.iter().map(item).collect()
}

#[tokio::test]
async fn objects_end_when_their_days_are_over_and_say_so_before() {
    let clock = Clock::manual(MORNING);
    let house = at(&clock).await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let mut days = rule("tmp/");
    days.expiration = Some(Expiration::Days(1));
    let mut date = rule("old/");
    date.expiration = Some(Expiration::DateMs(MORNING - 10 * 3_600_000));
    set(store, vec![days, date]).await;
    for name in ["tmp/small", "old/a", "keep/a"] {
        put(store, name, b"1").await;
    }
    let big = put(store, "tmp/big", &noise(100_000, 1)).await.object;
    let expiry = store.expiry_of(&big).await.unwrap().unwrap();
    assert_eq!(expiry.at_ms, MORNING + 38 * 3_600_000);
    assert_eq!(expiry.rule, "rule of tmp/");
    let ended = walk(store).await;
    assert_eq!((ended.current, ended.locked), (1, 0), "the date has passed");
    clock.advance_ms(expiry.at_ms - MORNING - 1);
    assert_eq!(walk(store).await, Ended::default());
    clock.advance_ms(1);
    assert_eq!(walk(store).await.current, 2);
    assert_eq!(walk(store).await, Ended::default());
    assert!(get(store, "keep/a").await.is_ok());
    assert!(get(store, "tmp/big").await.is_err());
    let events = store.catalog().events_after(0, 100).await.unwrap();
    let last = events.last().unwrap();
    assert_eq!(last.kind, "object.deleted");
    assert!(last.payload.contains("rule of tmp/"), "{}", last.payload);
    clean(store).await;
}

#[tokio::test]
async fn old_versions_go_by_age_and_rank_and_then_the_lone_marker() {
    let clock = Clock::manual(MORNING);
    let house = at(&clock).await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    store
        .set_versioning(&bucket(), Versioning::Enabled)
        .await
        .unwrap();
    let mut noncurrent = rule("");
    noncurrent.noncurrent = Some(NoncurrentExpiration {
        days: 1,
        newer: Some(2),
    });
    noncurrent.expiration = Some(Expiration::DeleteMarker(true));
    for size in 1..=5 {
        put(store, "a", &noise(size, 1)).await;
        clock.advance_ms(DAY_MS);
    }
    put(store, "b", b"1").await;
    let all = async |name: &str| versions(store, name).await;
    set(store, vec![noncurrent.clone()]).await;
    clock.advance_ms(3 * DAY_MS);
    assert_eq!(walk(store).await.noncurrent, 2);
    let left = [(false, 5), (false, 4), (false, 3)];
    assert_eq!(all("a").await, left, "two replaced ones are spared");
    let delete = Condition::default();
    store
        .delete(&bucket(), &key("a"), None, delete.clone(), "me")
        .await
        .unwrap();
    store
        .delete(&bucket(), &key("b"), None, delete, "me")
        .await
        .unwrap();
    noncurrent.noncurrent = Some(NoncurrentExpiration {
        days: 1,
        newer: None,
    });
    set(store, vec![noncurrent]).await;
    clock.advance_ms(DAY_MS);
    let ended = walk(store).await;
    assert_eq!((ended.noncurrent, ended.markers), (2, 0), "{ended:?}");
    clock.advance_ms(DAY_MS);
    let ended = walk(store).await;
    assert_eq!((ended.noncurrent, ended.markers), (2, 2), "{ended:?}");
    assert!(all("").await.is_empty());
    store.delete_bucket(&bucket()).await.unwrap();
    clean(store).await;
}

#[tokio::test]
async fn a_lock_outlives_the_rules() {
    let clock = Clock::manual(MORNING);
    let house = at(&clock).await;
    let store = &house.store;
    store
        .create_locking_bucket(&bucket(), "me", serde_json::Map::new())
        .await
        .unwrap();
    let mut all = rule("");
    all.expiration = Some(Expiration::Days(1));
    all.noncurrent = Some(NoncurrentExpiration {
        days: 1,
        newer: None,
    });
    set(store, vec![all]).await;
    let kept = put(store, "a", b"kept").await.object;
    let retention = Some(Retention {
        mode: RetentionMode::Governance,
        until_ms: MORNING + 30 * DAY_MS,
    });
    let change = LockChange::Retain {
        retention,
        bypass: false,
    };
    store.change_lock(&kept, change).await.unwrap();
    clock.advance_ms(10 * DAY_MS);
    assert_eq!(walk(store).await.current, 1, "it is hidden");
    clock.advance_ms(10 * DAY_MS);
    let ended = walk(store).await;
    assert_eq!((ended.noncurrent, ended.locked, ended.markers), (0, 1, 0));
    assert_eq!(versions(store, "a").await, [(true, 0), (false, 4)]);
    clock.advance_ms(10 * DAY_MS);
    let ended = walk(store).await;
    assert_eq!((ended.noncurrent, ended.markers), (1, 1));
}

#[tokio::test]
async fn stale_uploads_are_dropped_with_their_parts() {
    let clock = Clock::manual(MORNING);
    let house = at(&clock).await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let mut abort = rule("up/");
    abort.abort_days = Some(2);
    set(store, vec![abort]).await;
    let mut begun = Vec::new();
    for name in ["up/a", "other"] {
        let new = NewMultipart {
            bucket: bucket(),
            key: key(name),
            headers: ObjectHeaders::default(),
            tags: Tags::new(),
            extras: ObjectExtras::default(),
            owner: "me".into(),
            checksum: None,
        };
        let id = store.begin_multipart(new).await.unwrap();
        let sealed = seal(store, &noise(30_000, 1), true).await;
        store
            .put_part(id, &bucket(), &key(name), 1, sealed)
            .await
            .unwrap();
        begun.push(id);
    }
    assert_eq!(walk(store).await, Ended::default());
    clock.advance_ms(3 * DAY_MS);
    assert_eq!(walk(store).await.uploads, 1);
    let left = store
        .multipart_uploads(&bucket(), "", "", 10)
        .await
        .unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id().unwrap(), begun[1]);
    store.settle().await;
    assert_eq!(store.blobs().files().count(), 1);
}

#[tokio::test]
async fn a_walk_goes_on_where_another_was_cut_and_one_daemon_walks_at_a_time() {
    let clock = Clock::manual(MORNING);
    let house = at(&clock).await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let mut all = rule("");
    all.expiration = Some(Expiration::Days(1));
    set(store, vec![all]).await;
    // Two pages and a little, so that a walk has a place to be cut at.
    for n in 0..600 {
        put(store, &format!("{n:03}"), b"1").await;
    }
    clock.advance_ms(3 * DAY_MS);
    let now_ms = clock.now_ms();
    let take = |holder: &'static str, until_ms: Millis| {
        store.catalog().write(move |tx| {
            Box::pin(async move {
                tx.put_setting("lifecycle.position", br#"{"bucket":"films","key":"500"}"#)
                    .await?;
                tx.take_lease("store.lifecycle", holder, now_ms, until_ms)
                    .await
            })
        })
    };
    let took: Result<bool, crate::catalog::CatalogError> = take("another", now_ms + 1000).await;
    assert!(took.unwrap());
    let runner = LifecycleRunner::new(store.clone(), Duration::from_secs(3600));
    assert_eq!(runner.walk().await.unwrap(), None, "another daemon walks");
    clock.advance_ms(1000);
    assert_eq!(walk(store).await.current, 100, "from where it was cut");
    assert_eq!(
        walk(store).await.current,
        500,
        "and then from the beginning"
    );
    let usage = store.bucket_with_usage(&bucket()).await.unwrap();
    assert_eq!((usage.usage_bytes, usage.usage_objects), (0, 0));
}
