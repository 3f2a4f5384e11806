//! Damage on the disk: found, healed where a copy is, refused where none is, and never served.

use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::*;
use crate::catalog::EventKind;

const MIB: usize = 1 << 20;

fn options() -> ScrubOptions {
    ScrubOptions {
        every_ms: 1000,
        bytes_per_s: 0,
    }
}

async fn scrub(store: &Store) -> ScrubState {
    let stop = CancellationToken::new();
    let state = store.scrub(options(), false, &stop).await.unwrap();
    assert!(!state.is_running(), "{state:?}");
    state
}

/// The file in which an object lies.
async fn file_of(house: &House, name: &str) -> PathBuf {
    let object = house.store.object(&bucket(), &key(name), None).await;
    let extents = house.store.catalog().extents(object.unwrap().row_id).await;
    let blob = extents.unwrap()[0].blob.to_string();
    house.dir.path().join("blobs").join(&blob[30..]).join(blob)
}

fn flip(path: &std::path::Path, at: usize) {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at as u64).unwrap();
    file.sync_all().unwrap();
}

fn set_aside(house: &House) -> usize {
    let quarantine = house.dir.path().join("blobs/quarantine");
    std::fs::read_dir(quarantine).unwrap().count()
}

async fn damage_events(store: &Store) -> Vec<String> {
    let events = store.catalog().events_after(0, 1000).await.unwrap();
    events
        .into_iter()
        .filter(|event| event.kind == EventKind::ObjectDamaged.as_str())
        .map(|event| String::from_utf8(event.key.unwrap()).unwrap())
        .collect()
}

async fn read(
    store: &Store,
    name: &str,
    range: std::ops::Range<usize>,
) -> Result<Vec<u8>, StoreError> {
    let object = store.object(&bucket(), &key(name), None).await?;
    let reader = store.reader(&object).await?;
    let range = range.start as u64..range.end as u64;
    reader.check(range.clone())?;
    Ok(reader.read(range).await?.to_vec())
}

#[tokio::test]
async fn a_flipped_bit_is_found_told_and_never_served_while_the_rest_is() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let (bytes, other) = (noise(4 * MIB - 7, 1), noise(2 * MIB, 2));
    put(store, "a", &bytes).await;
    put(store, "b", &other).await;
    assert_eq!(
        get(store, "a").await.unwrap(),
        bytes,
        "and the file is open now"
    );
    flip(&file_of(&house, "a").await, MIB + 5);

    let state = scrub(store).await;
    assert_eq!((state.blobs, state.damaged, state.healed), (2, 1, 0));
    assert_eq!(state.done_bytes, (bytes.len() + other.len()) as u64);
    assert_eq!(damage_events(store).await, ["a"]);

    for range in [
        0..bytes.len(),
        MIB..MIB + 1,
        2 * MIB - 1..2 * MIB,
        0..MIB + 1,
    ] {
        let refused = read(store, "a", range.clone()).await;
        assert!(
            matches!(refused, Err(StoreError::ObjectDamaged(_))),
            "{range:?}"
        );
    }
    for range in [0..MIB, 2 * MIB..bytes.len(), 3 * MIB + 1..3 * MIB + 2] {
        assert_eq!(read(store, "a", range.clone()).await.unwrap(), bytes[range]);
    }
    assert_eq!(get(store, "b").await.unwrap(), other);

    // A body that was begun without asking breaks off before the damage.
    let object = store.object(&bucket(), &key("a"), None).await.unwrap();
    let mut body = store.reader(&object).await.unwrap().body(0..object.size);
    let mut got = Vec::new();
    let failure = loop {
        match body.frame().await.unwrap() {
            Ok(frame) => got.extend_from_slice(frame.data_ref().unwrap()),
            Err(error) => break error,
        }
    };
    assert!(matches!(failure, StoreError::ObjectDamaged(_)), "{failure}");
    assert_eq!(got, bytes[..MIB]);

    // It cannot be spread by a copy, and another walk tells nothing twice.
    let copy = Copy {
        source: object,
        bucket: bucket(),
        key: key("copy"),
        headers: None,
        tags: None,
        extras: ObjectExtras::default(),
        owner: "me".into(),
        condition: Condition::default(),
    };
    let refused = store.copy(copy).await;
    assert!(matches!(refused, Err(StoreError::ObjectDamaged(_))));
    assert_eq!(scrub(store).await.damaged, 0);
    assert_eq!(damage_events(store).await.len(), 1);

    let gone = store
        .delete(&bucket(), &key("a"), None, Condition::default(), "me")
        .await;
    assert!(gone.unwrap().existed);
    store.settle().await;
    assert_eq!(
        set_aside(&house),
        0,
        "what was set aside goes with its object"
    );
    clean(store).await;
}

#[tokio::test]
async fn damage_is_healed_from_another_file_of_the_same_bytes() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let bytes = noise(3 * MIB + 9, 1);
    put(store, "a", &bytes).await;
    put(store, "b", &bytes).await;
    let (a, b) = (file_of(&house, "a").await, file_of(&house, "b").await);
    flip(&a, 17);
    std::fs::remove_file(&b).unwrap();
    assert_eq!(scrub(store).await.damaged, 2, "no good copy of either");

    // A good copy appears: both are written anew from it.
    put(store, "c", &bytes).await;
    assert_eq!(scrub(store).await.healed, 2);
    for name in ["a", "b", "c"] {
        assert_eq!(get(store, name).await.unwrap(), bytes, "{name}");
    }
    assert_eq!(set_aside(&house), 0);
    clean(store).await;
}

#[tokio::test]
async fn a_file_that_was_put_right_by_hand_is_served_again() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let bytes = noise(2 * MIB, 1);
    put(store, "a", &bytes).await;
    let path = file_of(&house, "a").await;
    flip(&path, 3);
    assert_eq!(scrub(store).await.damaged, 1);
    let aside = house
        .dir
        .path()
        .join("blobs/quarantine")
        .join(path.file_name().unwrap());
    std::fs::remove_file(&aside).unwrap();
    std::fs::write(&aside, &bytes).unwrap();
    assert_eq!(scrub(store).await.damaged, 0);
    assert_eq!(get(store, "a").await.unwrap(), bytes);
    assert_eq!(set_aside(&house), 0);
    clean(store).await;
}

#[tokio::test]
async fn damage_in_a_row_is_found_as_well() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    put(store, "small", b"some bytes").await;
    put(store, "sound", b"other bytes").await;
    sql(
        store,
        "UPDATE object_version SET inline = CAST('some butes' AS BLOB) WHERE key = CAST('small' AS BLOB)",
    )
    .await;
    let state = scrub(store).await;
    assert_eq!((state.inline_objects, state.damaged), (2, 1));
    let refused = get(store, "small").await;
    assert!(matches!(refused, Err(StoreError::ObjectDamaged(_))));
    assert_eq!(get(store, "sound").await.unwrap(), b"other bytes");
    assert_eq!(damage_events(store).await, ["small"]);
    assert_eq!(scrub(store).await.damaged, 0, "told once");
    put(store, "small", b"some bytes").await;
    assert_eq!(get(store, "small").await.unwrap(), b"some bytes");
}

#[tokio::test]
async fn a_walk_that_is_stopped_goes_on_where_it_was() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let bytes = noise(5 * MIB, 1);
    put(store, "a", &bytes).await;
    put(store, "b", b"in its row").await;
    flip(&file_of(&house, "a").await, 0);
    // Stopped before it begins: each turn is one step, here of one MiB.
    let (stop, slow) = (CancellationToken::new(), 4 * MIB as u64);
    stop.cancel();
    let options = ScrubOptions {
        bytes_per_s: slow,
        ..options()
    };
    for step in 1..=5 {
        let state = open(&house.dir)
            .await
            .scrub(options, false, &stop)
            .await
            .unwrap();
        assert!(state.is_running());
        assert_eq!(state.done_bytes, (step * MIB) as u64);
    }
    let state = scrub(store).await;
    assert_eq!(
        state.done_bytes,
        bytes.len() as u64,
        "nothing was read twice"
    );
    assert_eq!(
        state.damaged, 1,
        "and what the first step saw was not forgotten"
    );
    assert!(state.next_ms > 0);
}

#[tokio::test]
async fn one_process_walks_at_a_time() {
    let house = House::new().await;
    let now_ms = house.store.clock().now_ms();
    let taken = house.store.catalog().write(move |tx| {
        Box::pin(async move {
            Ok::<_, StoreError>(
                tx.take_lease("store.scrub", "another", now_ms, now_ms + 60_000)
                    .await?,
            )
        })
    });
    assert!(taken.await.unwrap());
    let stop = CancellationToken::new();
    let refused = house.store.scrub(options(), false, &stop).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
    assert_eq!(
        house.store.scrub_state().await.unwrap(),
        ScrubState::default()
    );
}

async fn findings(store: &Store) -> Vec<Finding> {
    store.fsck(true).await.unwrap().findings
}

/// Changes rows behind the catalog's back.
async fn sql(store: &Store, text: &'static str) {
    use sqlx::Connection as _;
    let file = store.catalog().file().unwrap().display().to_string();
    let url = format!("sqlite:{file}");
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query(text).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn what_can_be_repaired_is_and_nothing_else_changes() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let bytes = noise(2 * MIB + 5, 1);
    for name in ["a", "b", "c", "d"] {
        put(store, name, &bytes).await;
    }
    put(store, "small", b"small").await;
    // One too long, one damaged with copies, one whose file is gone, wrong figures, wrong counts, an orphan.
    let long = file_of(&house, "a").await;
    let file = std::fs::File::options().write(true).open(&long).unwrap();
    file.write_all_at(b"more", bytes.len() as u64).unwrap();
    flip(&file_of(&house, "b").await, MIB);
    std::fs::remove_file(file_of(&house, "c").await).unwrap();
    sql(
        store,
        "UPDATE bucket SET usage_bytes = 7, usage_objects = 1",
    )
    .await;
    sql(store, "UPDATE blob SET refs = 5").await;
    let orphan = crate::kernel::BlobId::random().to_string();
    let place = house.dir.path().join("blobs").join(&orphan[30..]);
    std::fs::write(place.join(&orphan), b"nobody's").unwrap();

    let found = findings(store).await;
    let has = |wanted: fn(&Finding) -> bool| found.iter().any(wanted);
    assert!(has(|f| matches!(f, Finding::WrongSize { .. })));
    assert!(has(|f| matches!(f, Finding::Damaged { .. })));
    assert!(has(|f| matches!(f, Finding::MissingFile { .. })));
    assert!(has(|f| matches!(f, Finding::WrongUsage { .. })));
    assert!(has(|f| matches!(f, Finding::Orphan { .. })));
    assert_eq!(found.len(), 5 + 4, "{found:?}");

    let repairs = store.repair(found, false).await.unwrap();
    assert!(repairs.iter().all(|repair| repair.repaired), "{repairs:?}");
    clean(store).await;
    for name in ["a", "b", "c", "d"] {
        assert_eq!(get(store, name).await.unwrap(), bytes, "{name}");
    }
    assert_eq!(get(store, "small").await.unwrap(), b"small");
    let usage = store.bucket(&bucket()).await.unwrap();
    assert_eq!(usage.usage_bytes, (4 * bytes.len() + 5) as i64);
}

#[tokio::test]
async fn what_is_lost_is_said_and_goes_only_when_told() {
    let house = House::new().await;
    let store = &house.store;
    store.create_bucket(&bucket(), "me").await.unwrap();
    let bytes = noise(3 * MIB, 1);
    put(store, "lost", &bytes).await;
    put(store, "cut", &noise(2 * MIB, 2)).await;
    put(store, "kept", &noise(MIB, 3)).await;
    flip(&file_of(&house, "lost").await, MIB);
    sql(
        store,
        "UPDATE extent SET length_bytes = length_bytes - 1 \
         WHERE object_id = (SELECT id FROM object_version WHERE key = CAST('cut' AS BLOB))",
    )
    .await;
    let found = findings(store).await;
    let repairs = store.repair(found, false).await.unwrap();
    assert_eq!(repairs.len(), 2);
    for repair in &repairs {
        assert!(!repair.repaired);
        assert!(repair.outcome.contains("lost"), "{}", repair.outcome);
    }
    assert!(repairs.iter().any(|r| r.outcome.contains("films/lost")));
    // Refused where it is damaged, served where it is not, and still listed.
    assert!(matches!(
        get(store, "cut").await,
        Err(StoreError::ObjectDamaged(_))
    ));
    assert!(read(store, "lost", 0..3 * MIB).await.is_err());
    assert_eq!(read(store, "lost", 0..MIB).await.unwrap(), bytes[..MIB]);
    let found = findings(store).await;
    assert_eq!(found.len(), 2, "{found:?}");

    let repairs = store.repair(found, true).await.unwrap();
    assert!(repairs.iter().all(|repair| repair.repaired), "{repairs:?}");
    clean(store).await;
    for name in ["lost", "cut"] {
        assert!(matches!(
            get(store, name).await,
            Err(StoreError::NoSuchKey(_))
        ));
    }
    assert_eq!(get(store, "kept").await.unwrap(), noise(MIB, 3));
}
