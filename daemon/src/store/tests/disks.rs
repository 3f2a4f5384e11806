//! Several disks: where files go, what a missing one takes with it, and how one is emptied.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::*;
use crate::blob::{DiskOptions, Slice};
use crate::catalog::Protocol;

const MIB: usize = 1 << 20;

/// A house with a disk `usb` beside its main directory.
struct Disks {
    house: House,
    usb: PathBuf,
    clock: Clock,
}

async fn open_with(dir: &TempDir, usb: &Path, clock: &Clock) -> Store {
    let plain = super::open(dir).await;
    let disk = DiskOptions {
        name: "usb".into(),
        path: usb.to_owned(),
        reserve_bytes: 0,
    };
    let store = Store::new(StoreParts {
        catalog: plain.catalog().clone(),
        blobs: plain.blobs().clone().with_disks(vec![disk]),
        clock: clock.clone(),
        planner: Arc::new(|_| Vec::new()),
        bell: crate::queue::Bell::new(),
        inline_bytes_max: 16 * 1024,
        master: crate::kernel::MasterKey::from_bytes([7; 32]),
    });
    store.look_at_disks().await.unwrap();
    store
}

impl Disks {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let usb = dir.path().join("usb");
        std::fs::create_dir(&usb).unwrap();
        let clock = Clock::manual(1_000_000);
        let store = open_with(&dir, &usb, &clock).await;
        store.create_bucket(&bucket(), "me").await.unwrap();
        let house = House { store, dir };
        Self { house, usb, clock }
    }

    fn store(&self) -> &Store {
        &self.house.store
    }

    /// Puts an object on one of the two; on one file system both have the same space.
    async fn put_on(&self, disk: &str, name: &str, bytes: &[u8]) {
        let other = if disk == "usb" { "main" } else { "usb" };
        self.store().blobs().set_draining(other, true);
        put(self.store(), name, bytes).await;
        self.store().blobs().set_draining(other, false);
        let place = if disk == "usb" {
            &self.usb
        } else {
            self.house.dir.path()
        };
        assert!(self.lies_in(place, name).await, "{name} lies on {disk}");
    }

    async fn lies_in(&self, place: &Path, name: &str) -> bool {
        let object = self.store().object(&bucket(), &key(name), None).await;
        let extents = self.store().catalog().extents(object.unwrap().row_id).await;
        let blob = extents.unwrap()[0].blob.to_string();
        place.join("blobs").join(&blob[30..]).join(blob).exists()
    }

    /// As an unmount leaves it: the directory is there and empty.
    fn unplug(&self) -> PathBuf {
        let away = self.house.dir.path().join("unplugged");
        std::fs::rename(&self.usb, &away).unwrap();
        std::fs::create_dir(&self.usb).unwrap();
        away
    }

    fn plug(&self, away: &Path) {
        std::fs::remove_dir(&self.usb).unwrap();
        std::fs::rename(away, &self.usb).unwrap();
    }

    /// Empties a disk, the clock running on whenever the drain waits for it.
    async fn drain(&self, name: &str) -> Drained {
        self.store().mark_draining(name, true).await.unwrap();
        self.clock.advance_ms(60_000);
        let stop = CancellationToken::new();
        let drained = self.store().drain_disk(name, 0, &stop, |_| {}).await;
        drained.unwrap()
    }
}

fn files_below(place: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        count += if path.is_dir() { files_below(&path) } else { 1 };
    }
    count
}

#[tokio::test]
async fn a_missing_disk_takes_its_own_objects_and_nothing_else_and_comes_back() {
    let disks = Disks::new().await;
    let store = disks.store();
    let (here, there) = (noise(2 * MIB, 1), noise(2 * MIB, 2));
    disks.put_on("main", "here", &here).await;
    disks.put_on("usb", "there", &there).await;
    disks.put_on("usb", "doomed", &there).await;
    put(store, "small", b"in its row").await;

    let away = disks.unplug();
    // Also for a daemon that was started without it.
    let store = &open_with(&disks.house.dir, &disks.usb, &disks.clock).await;
    let failed = get(store, "there").await;
    match failed {
        Err(StoreError::DiskAway(why)) => assert!(why.contains("disk usb is away"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(get(store, "here").await.unwrap(), here);
    assert_eq!(get(store, "small").await.unwrap(), b"in its row");
    // Writes go elsewhere, and what is deleted is gone for everybody at once.
    put(store, "new", &here).await;
    store
        .delete(&bucket(), &key("doomed"), None, Condition::default(), "me")
        .await
        .unwrap();
    // Nothing of it is taken for damage, and no check calls it lost.
    let stop = CancellationToken::new();
    let options = ScrubOptions {
        every_ms: 0,
        bytes_per_s: 0,
    };
    let scrubbed = store.scrub(options, true, &stop).await.unwrap();
    assert_eq!(scrubbed.damaged, 0);
    let findings = store.fsck(true).await.unwrap().findings;
    let told = findings
        .iter()
        .any(|f| matches!(f, Finding::DiskAway { .. }));
    assert!(told, "{findings:?}");
    assert!(
        !findings
            .iter()
            .any(|f| matches!(f, Finding::MissingFile { .. }))
    );
    assert!(store.disks()[1].away.is_some());

    disks.plug(&away);
    assert!(store.look_at_disks().await.unwrap());
    assert_eq!(get(store, "there").await.unwrap(), there);
    store.reconcile().await.unwrap();
    clean(store).await;
}

#[tokio::test]
async fn a_disk_that_vanishes_under_a_running_daemon_is_noticed_at_once() {
    let disks = Disks::new().await;
    let store = disks.store();
    disks.put_on("usb", "there", &noise(MIB, 1)).await;
    let object = store.object(&bucket(), &key("there"), None).await.unwrap();
    let away = disks.unplug();
    // The file was never opened here: under the mount point there is nothing.
    let failed = store.reader(&object).await.err();
    assert!(
        matches!(failed, Some(StoreError::DiskAway(_))),
        "{failed:?}"
    );
    put(store, "new", &noise(MIB, 2)).await;
    disks.plug(&away);
    store.look_at_disks().await.unwrap();
    assert_eq!(get(store, "there").await.unwrap(), noise(MIB, 1));
    clean(store).await;
}

#[tokio::test]
async fn a_disk_that_left_the_configuration_with_files_on_it_is_missed() {
    let disks = Disks::new().await;
    disks.put_on("usb", "there", &noise(MIB, 1)).await;
    let without = super::open(&disks.house.dir).await;
    without.look_at_disks().await.unwrap();
    let failed = get(&without, "there").await;
    assert!(matches!(failed, Err(StoreError::DiskAway(_))), "{failed:?}");
    assert!(disks.drain("usb").await.is_empty);
    without.look_at_disks().await.unwrap();
    assert_eq!(get(&without, "there").await.unwrap(), noise(MIB, 1));
    clean(&without).await;
}

#[tokio::test]
async fn another_disk_in_its_place_is_not_taken_for_it() {
    let disks = Disks::new().await;
    let away = disks.unplug();
    std::fs::write(disks.usb.join("nebula-disk"), "another\n").unwrap();
    disks.store().look_at_disks().await.unwrap();
    let why = disks.store().disks()[1].away.clone().unwrap();
    assert!(why.contains("another disk or appliance"), "{why}");
    assert_eq!(files_below(&disks.usb), 1, "and nothing was written to it");
    std::fs::remove_file(disks.usb.join("nebula-disk")).unwrap();
    disks.store().look_at_disks().await.unwrap();
    assert!(disks.store().disks()[1].away.is_some(), "nor an empty one");
    disks.plug(&away);
    assert!(disks.store().look_at_disks().await.unwrap());
}

#[tokio::test]
async fn a_disk_is_emptied_while_it_is_read_and_written() {
    let disks = Disks::new().await;
    let store = disks.store();
    let mut expected = BTreeMap::new();
    for n in 0..5_u8 {
        let (name, bytes) = (format!("f{n}"), noise(MIB + usize::from(n), n));
        disks.put_on("usb", &name, &bytes).await;
        expected.insert(name, bytes);
    }
    disks.put_on("main", "stays", &noise(MIB, 9)).await;
    // One is damaged, one is being read, one upload rests and one goes on.
    let damaged = store.object(&bucket(), &key("f4"), None).await.unwrap();
    let blob = store.catalog().extents(damaged.row_id).await.unwrap()[0].blob;
    let path = disks.usb.join("blobs").join(&blob.to_string()[30..]);
    std::fs::write(path.join(blob.to_string()), noise(MIB + 4, 99)).unwrap();
    let object = store.object(&bucket(), &key("f0"), None).await.unwrap();
    let reader = store.reader(&object).await.unwrap();
    store.blobs().set_draining("main", true);
    let resting = begin(store, "resting").await;
    let session = store.append(resting, 0, None).await.unwrap();
    write(session, &noise(70_000, 20))
        .await
        .release()
        .await
        .unwrap();
    let going = begin(store, "going").await;
    let session = store.append(going, 0, None).await.unwrap();
    let session = write(session, &noise(70_000, 21)).await;
    store.blobs().set_draining("main", false);

    let ended = async {
        session.release().await.unwrap();
    };
    let (drained, ()) = tokio::join!(disks.drain("usb"), ended);
    assert!(drained.is_empty, "{drained:?}");
    assert_eq!(drained.left, [""; 0]);
    assert_eq!(files_below(&disks.usb), 1, "only its marker is left");

    assert_eq!(reader.read(0..10).await.unwrap(), expected["f0"][..10]);
    let lost = expected.remove("f4").unwrap();
    let refused = get(store, "f4").await;
    assert!(
        matches!(refused, Err(StoreError::ObjectDamaged(_))),
        "{} bytes",
        lost.len()
    );
    for (name, bytes) in &expected {
        assert_eq!(&get(store, name).await.unwrap(), bytes, "{name}");
    }
    for (id, seed) in [(resting, 20), (going, 21)] {
        let session = store.append(id, 70_000, None).await.unwrap();
        write(session, &noise(30_000, seed))
            .await
            .finish()
            .await
            .unwrap();
    }
    // What comes now goes elsewhere.
    put(store, "new", &noise(MIB, 30)).await;
    assert!(!disks.lies_in(&disks.usb, "new").await);
    store
        .delete(&bucket(), &key("f4"), None, Condition::default(), "me")
        .await
        .unwrap();
    clean(store).await;
}

#[tokio::test]
async fn a_move_that_was_cut_off_leaves_two_right_places_and_goes_on() {
    let disks = Disks::new().await;
    let store = disks.store();
    let bytes = noise(3 * MIB, 1);
    disks.put_on("usb", "a", &bytes).await;
    disks.put_on("usb", "b", &bytes).await;
    let object = store.object(&bucket(), &key("a"), None).await.unwrap();
    let extent = store.catalog().extents(object.row_id).await.unwrap()[0];
    let sums = store
        .catalog()
        .blob_sums(extent.blob)
        .await
        .unwrap()
        .unwrap();
    // The copy is there, and the daemon dies before the old file goes.
    let copied = store
        .blobs()
        .copy_off(extent.blob, "usb", extent.length, &sums);
    drop(copied.await.unwrap());
    let again = open_with(&disks.house.dir, &disks.usb, &disks.clock).await;
    again.reconcile().await.unwrap();
    assert_eq!(get(&again, "a").await.unwrap(), bytes);
    let away = disks.unplug();
    again.look_at_disks().await.unwrap();
    assert_eq!(
        get(&again, "a").await.unwrap(),
        bytes,
        "either place will do"
    );
    disks.plug(&away);
    again.look_at_disks().await.unwrap();

    assert!(disks.drain("usb").await.is_empty);
    for name in ["a", "b"] {
        assert_eq!(get(&again, name).await.unwrap(), bytes, "{name}");
    }
    clean(&again).await;
    let slice = Slice {
        blob: extent.blob,
        offset: 0,
        length: extent.length,
    };
    assert!(
        store.blobs().reader(vec![slice]).await.is_ok(),
        "also where it was open"
    );
}

#[tokio::test]
async fn a_disk_that_others_filled_to_the_last_byte_takes_deletions() {
    let dir = tempfile::tempdir().unwrap();
    let mount = |arguments: &[&str]| {
        let mut command = std::process::Command::new("mount");
        let done = command.args(arguments).arg(dir.path()).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=32m", "nebula-test"]) {
        println!("SKIPPED: a full disk needs the right to mount a tmpfs (run as root)");
        return;
    }
    let store = super::open(&dir).await;
    store.create_bucket(&bucket(), "me").await.unwrap();
    put(&store, "large", &noise(4 * MIB, 1)).await;
    for n in 0..50_u8 {
        put(&store, &format!("small{n}"), &noise(10_000, n)).await;
    }
    store.blobs().take_ballast().await.unwrap();
    let mut filler = std::fs::File::create(dir.path().join("filler")).unwrap();
    let piece = noise(4096, 9);
    while std::io::Write::write_all(&mut filler, &piece).is_ok() {}

    // Whatever the log of the database has room for, at last there is none.
    let mut refused = false;
    for n in 0..2000_u32 {
        let name: BucketName = format!("more{n}").parse().unwrap();
        if let Err(error) = store.create_bucket(&name, "me").await {
            assert!(matches!(error, StoreError::Full), "{error}");
            refused = true;
            break;
        }
    }
    assert!(refused, "the database never ran out of space");
    for name in ["large", "small0", "small1"] {
        let gone = store
            .delete(&bucket(), &key(name), None, Condition::default(), "me")
            .await;
        assert!(gone.unwrap().existed, "{name}");
    }
    // What was removed is room for others, at once.
    put(&store, "again", &noise(MIB, 2)).await;
    assert_eq!(get(&store, "small2").await.unwrap(), noise(10_000, 2));
    store.catalog().close().await;
    drop((store, filler));
    let gone = std::process::Command::new("umount")
        .arg("--lazy")
        .arg(dir.path())
        .status();
    assert!(gone.unwrap().success());
}

#[tokio::test]
async fn a_database_that_another_process_holds_is_waited_for() {
    use sqlx::Connection as _;
    let disks = Disks::new().await;
    let store = disks.store().clone();
    let url = format!("sqlite:{}", store.catalog().file().unwrap().display());
    let mut other = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut other)
        .await
        .unwrap();
    none_of(&store, "b").await;
    let writer = store.clone();
    let waiting = tokio::spawn(async move { put(&writer, "a", b"a").await });
    // Readers are not kept waiting, and nothing of the writer is seen before its commit.
    none_of(&store, "a").await;
    assert!(!waiting.is_finished());
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    waiting.await.unwrap();
    assert_eq!(get(&store, "a").await.unwrap(), b"a");
}

async fn none_of(store: &Store, name: &str) {
    assert!(matches!(
        get(store, name).await,
        Err(StoreError::NoSuchKey(_))
    ));
}

async fn begin(store: &Store, name: &str) -> crate::kernel::UploadId {
    let new = NewResumable {
        protocol: Protocol::Tus,
        role: crate::catalog::UploadRole::Whole,
        bucket: bucket(),
        key: Some(key(name)),
        headers: ObjectHeaders::default(),
        tags: Tags::new(),
        owner: "me".into(),
        length: Some(100_000),
        metadata: "{}".into(),
        idle_ms: None,
        lane: None,
    };
    store.begin_upload(new).await.unwrap().id
}

async fn write(mut session: UploadSession, bytes: &[u8]) -> UploadSession {
    session.write(Bytes::copy_from_slice(bytes)).await.unwrap();
    session
}
