//! What is remembered is never behind the database: two stores on one directory, as during a deploy, each writing and both reading.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;

use super::*;

const KEYS: [&str; 3] = ["a", "b", "c/d"];
/// In the row, and in a file.
const SIZES: [usize; 3] = [0, 300, 20_000];

#[derive(Clone, Debug)]
enum Op {
    Put(usize, usize, u8),
    Delete(usize),
    Undelete(usize),
    Tag(usize, u8),
    Copy(usize, usize),
    Versioning(Versioning),
    Setting(u8),
    Remake,
}

fn ops() -> impl Strategy<Value = Vec<(bool, Op)>> {
    let key = 0..KEYS.len();
    let op = prop_oneof![
        5 => (key.clone(), 0..SIZES.len(), any::<u8>()).prop_map(|(k, s, n)| Op::Put(k, s, n)),
        2 => key.clone().prop_map(Op::Delete),
        2 => key.clone().prop_map(Op::Undelete),
        2 => (key.clone(), any::<u8>()).prop_map(|(k, n)| Op::Tag(k, n)),
        1 => (key.clone(), key).prop_map(|(from, to)| Op::Copy(from, to)),
        1 => prop_oneof![Just(Versioning::Enabled), Just(Versioning::Suspended)].prop_map(Op::Versioning),
        1 => any::<u8>().prop_map(Op::Setting),
        1 => Just(Op::Remake),
    ];
    proptest::collection::vec((any::<bool>(), op), 1..40)
}

/// Bytes and the value of the tag `n` of each key that is there.
type Model = BTreeMap<&'static str, (Vec<u8>, Option<String>)>;

async fn apply(store: &Store, model: &mut Model, op: Op) {
    match op {
        Op::Put(at, size, seed) => {
            let bytes = noise(SIZES[size], seed);
            put(store, KEYS[at], &bytes).await;
            model.insert(KEYS[at], (bytes, None));
        }
        Op::Delete(at) => {
            let (bucket, key) = (bucket(), key(KEYS[at]));
            let deleted = store.delete(&bucket, &key, None, Condition::default(), "me");
            deleted.await.unwrap();
            model.remove(KEYS[at]);
        }
        // Takes a delete marker away, so that an older version is the latest again: its bytes are asked for by its id.
        Op::Undelete(at) => {
            let found = store.object(&bucket(), &key(KEYS[at]), None).await;
            let Err(StoreError::DeleteMarker { version_id, .. }) = found else {
                return;
            };
            let marker = version_id.parse().unwrap();
            let (bucket, key) = (bucket(), key(KEYS[at]));
            let removed = store.delete(&bucket, &key, Some(&marker), Condition::default(), "me");
            removed.await.unwrap();
            let listed = ListRequest {
                limit: 1,
                prefix: key.to_string(),
                ..ListRequest::default()
            };
            let page = store.list(&bucket, &listed).await.unwrap();
            if let Some(item) = page.items.first() {
                let old = store.object(&bucket, &key, Some(&item.version_id));
                let old = old.await.unwrap();
                let body = store.reader(&old).await.unwrap().body(0..old.size);
                let bytes = body.collect().await.unwrap().to_bytes().to_vec();
                model.insert(KEYS[at], (bytes, old.tags.get("n").cloned()));
            }
        }
        Op::Tag(at, value) => {
            if let Ok(object) = store.head(&bucket(), &key(KEYS[at]), None).await {
                let tags: Tags = [("n".to_owned(), value.to_string())].into_iter().collect();
                store.set_tags(&object, tags).await.unwrap();
                model.get_mut(KEYS[at]).unwrap().1 = Some(value.to_string());
            }
        }
        Op::Copy(from, to) => {
            if let Ok(source) = store.object(&bucket(), &key(KEYS[from]), None).await {
                let copy = Copy {
                    source,
                    bucket: bucket(),
                    key: key(KEYS[to]),
                    headers: None,
                    tags: None,
                    extras: ObjectExtras::default(),
                    owner: "me".into(),
                    condition: Condition::default(),
                };
                store.copy(copy).await.unwrap();
                let same = model[KEYS[from]].clone();
                model.insert(KEYS[to], same);
            }
        }
        Op::Versioning(versioning) => store.set_versioning(&bucket(), versioning).await.unwrap(),
        Op::Setting(value) => {
            let bucket = bucket();
            let set = store.set_bucket_setting(&bucket, "note", Some(json!(value)));
            set.await.unwrap();
        }
        // A bucket that goes and comes again may get the row id that it had.
        Op::Remake => {
            if model.is_empty() && store.delete_bucket(&bucket()).await.is_ok() {
                store.create_bucket(&bucket(), "me").await.unwrap();
            }
        }
    }
}

async fn compare(store: &Store, model: &Model, op: &str) {
    for name in KEYS {
        // The first makes the key known, the second fills the memory, the third is answered by it.
        for _ in 0..3 {
            let expected = model.get(name);
            let head = store.head(&bucket(), &key(name), None).await.ok();
            let tag = head.and_then(|head| head.tags.get("n").cloned());
            assert_eq!(tag, expected.and_then(|e| e.1.clone()), "{name} after {op}");
            let bytes = get(store, name).await.ok();
            assert_eq!(bytes, expected.map(|e| e.0.clone()), "{name} after {op}");
        }
    }
}

#[test]
fn what_one_store_acknowledged_the_other_sees_at_once() {
    let mut runner = TestRunner::new(Config {
        cases: 12,
        failure_persistence: None,
        ..Config::default()
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let history = |ops: Vec<(bool, Op)>| {
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let stores = [open(&dir).await, open(&dir).await];
            stores[0].create_bucket(&bucket(), "me").await.unwrap();
            let mut model = Model::new();
            for (which, op) in ops {
                let said = format!("{op:?}");
                let setting = match &op {
                    Op::Setting(value) => Some(json!(value)),
                    _ => None,
                };
                Box::pin(apply(&stores[usize::from(which)], &mut model, op)).await;
                for store in &stores {
                    compare(store, &model, &said).await;
                    if let Some(value) = &setting {
                        let now = store.bucket_setting(&bucket(), "note").await.unwrap();
                        assert_eq!(now.as_ref(), Some(value), "{said}");
                    }
                }
            }
            for store in &stores {
                store.catalog().close().await;
            }
        });
        Ok(())
    };
    runner.run(&ops(), history).unwrap();
}

/// Writers on both stores count a key up; whoever reads after an acknowledgement never sees less, wherever he reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_reads_what_is_older_than_an_acknowledgement() {
    const WRITES: u64 = 60;
    let dir = tempfile::tempdir().unwrap();
    let stores = Arc::new([open(&dir).await, open(&dir).await]);
    stores[0].create_bucket(&bucket(), "me").await.unwrap();
    let told: Arc<[AtomicU64; 2]> = Arc::default();
    let names = ["a", "b"];
    for (store, name) in stores.iter().zip(names) {
        put(store, name, b"0").await;
    }
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..2 {
        let (store, counts) = (stores[writer].clone(), Arc::clone(&told));
        tasks.spawn(async move {
            for n in 1..=WRITES {
                put(&store, names[writer], n.to_string().as_bytes()).await;
                counts[writer].store(n, Ordering::SeqCst);
            }
        });
        for reader in 0..2 {
            let (stores, told) = (Arc::clone(&stores), Arc::clone(&told));
            tasks.spawn(async move {
                loop {
                    let least = told[writer].load(Ordering::SeqCst);
                    let read = get(&stores[reader], names[writer]).await.unwrap();
                    let read: u64 = String::from_utf8(read).unwrap().parse().unwrap();
                    assert!(read >= least, "read {read} after {least} was acknowledged");
                    if least == WRITES {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            });
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}
