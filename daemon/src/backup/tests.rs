//! Backups told as short stories over real files; the whole appliance on both databases is compared in `tests/it`.
#![expect(clippy::unwrap_used, reason = "tests")]

mod export;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tempfile::TempDir;

use super::*;
use crate::blob::{BlobOptions, Blobs};
use crate::catalog::{Catalog, NewJob, Options, Protocol, UploadRole, Versioning};
use crate::kernel::{BucketName, Clock, MasterKey, ObjectKey};
use crate::queue::Bell;
use crate::store::{
    Condition, CustomerKey, Encryption, EncryptionAsked, Finding, NewResumable, ObjectExtras,
    ObjectHeaders, PutObject, Store, StoreParts, Tags, WriteOptions,
};

const MIB: usize = 1 << 20;
const START_MS: i64 = 1_800_000_000_000;

/// An appliance without doors.
struct House {
    store: Store,
    clock: Clock,
    dir: PathBuf,
}

impl House {
    async fn open(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let (catalog, blobs) = rooms(dir).await;
        let clock = Clock::manual(START_MS);
        let planned = clock.clone();
        let store = Store::new(StoreParts {
            catalog,
            blobs,
            clock: clock.clone(),
            planner: Arc::new(move |object| {
                let job = NewJob::new("index", serde_json::json!({}), planned.now_ms());
                vec![job.once(format!("index:{}", object.content_id))]
            }),
            bell: Bell::new(),
            master: MasterKey::from_bytes([7; 32]),
            inline_bytes_max: 16 * 1024,
        });
        let house = Self {
            store,
            clock,
            dir: dir.to_owned(),
        };
        if house.store.bucket(&bucket()).await.is_err() {
            house.store.create_bucket(&bucket(), "me").await.unwrap();
        }
        house
    }

    async fn put(&self, name: &str, bytes: &[u8]) {
        self.put_as(name, bytes, None).await;
    }

    async fn put_as(&self, name: &str, bytes: &[u8], asked: Option<EncryptionAsked>) {
        let options = WriteOptions {
            encryption: asked.map(Encryption::new),
            ..WriteOptions::default()
        };
        let mut writer = self.store.writer(options).await.unwrap();
        writer.write(Bytes::copy_from_slice(bytes)).await.unwrap();
        let sealed = writer.seal().await.unwrap();
        let put = PutObject {
            bucket: bucket(),
            key: key(name),
            headers: ObjectHeaders::default(),
            tags: Tags::new(),
            extras: ObjectExtras::default(),
            owner: "me".into(),
            condition: Condition::default(),
            etag: None,
        };
        self.store.publish(put, sealed).await.unwrap();
    }

    async fn get(&self, name: &str) -> Result<Vec<u8>, crate::store::StoreError> {
        let object = self.store.object(&bucket(), &key(name), None).await?;
        let body = self.store.reader(&object).await?.body(0..object.size);
        Ok(body.collect().await?.to_bytes().to_vec())
    }

    async fn delete(&self, name: &str) {
        self.store
            .delete(&bucket(), &key(name), None, Condition::default(), "me")
            .await
            .unwrap();
    }

    fn options(&self) -> SaveOptions {
        SaveOptions {
            data_dir: self.dir.clone(),
            ..SaveOptions::default()
        }
    }

    async fn save(&self, target: &Target) -> Saved {
        self.clock.advance_ms(1000);
        save(&self.store, target, &self.options()).await.unwrap()
    }

    async fn files(&self) -> usize {
        self.store.settle().await;
        self.store.blobs().files().count()
    }

    async fn close(self) {
        self.store.settle().await;
        self.store.catalog().close().await;
    }
}

async fn rooms(dir: &Path) -> (Catalog, Blobs) {
    let catalog = Options::Sqlite(dir.join("nebula.db"));
    let blobs = BlobOptions {
        dir: dir.join("blobs"),
        reserve_bytes: 0,
    };
    (
        Catalog::open(&catalog).await.unwrap(),
        Blobs::open(blobs).await.unwrap(),
    )
}

async fn restored(
    dir: &Path,
    target: &Target,
    passphrase: Option<Passphrase>,
) -> Result<Restored, BackupError> {
    fs::create_dir_all(dir).unwrap();
    claim(dir)?;
    let (catalog, blobs) = rooms(dir).await;
    let options = RestoreOptions {
        data_dir: dir.to_owned(),
        snapshot: None,
        passphrase,
    };
    let restored = restore(&catalog, &blobs, target, &options).await;
    catalog.close().await;
    let restored = restored?;
    finish(dir)?;
    Ok(restored)
}

fn bucket() -> BucketName {
    "films".parse().unwrap()
}

fn key(name: &str) -> ObjectKey {
    name.parse().unwrap()
}

fn noise(size: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new()
        .update(&[seed])
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

struct Places {
    _dir: TempDir,
    old: PathBuf,
    new: PathBuf,
    kept: PathBuf,
    target: Target,
}

impl Places {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("kept");
        Self {
            old: dir.path().join("old"),
            new: dir.path().join("new"),
            target: Target::directory(kept.clone()),
            kept,
            _dir: dir,
        }
    }
}

/// The rows of a catalog, as a backup sees them.
async fn rows(catalog: &Catalog) -> Vec<(String, Vec<Vec<crate::catalog::Value>>)> {
    let mut snapshot = catalog.snapshot(false).await.unwrap();
    let mut all = Vec::new();
    for table in snapshot.tables() {
        let mut rows = Vec::new();
        let read = snapshot.rows(&table, |row| {
            rows.push(row);
            Ok::<_, BackupError>(())
        });
        read.await.unwrap();
        all.push((table.table, rows));
    }
    all
}

#[tokio::test]
async fn what_is_restored_is_what_was_row_by_row_and_byte_by_byte() {
    let places = Places::new();
    let house = House::open(&places.old).await;
    fs::write(house.dir.join("master.key"), "the key\n").unwrap();
    for (name, size) in [
        ("empty", 0),
        ("small", 10),
        ("file", 100_000),
        ("long", 9 * MIB + 1),
    ] {
        house.put(name, &noise(size, 1)).await;
    }
    house
        .store
        .set_versioning(&bucket(), Versioning::Enabled)
        .await
        .unwrap();
    house.put("small", &noise(20_000, 2)).await;
    house.delete("file").await;
    let mut options = house.options();
    options.include_secrets = true;
    let saved = save(&house.store, &places.target, &options).await.unwrap();
    assert!(saved.manifest.has_secrets);
    assert_eq!(saved.manifest.objects, 6);
    let before = rows(house.store.catalog()).await;
    house.close().await;

    let done = restored(&places.new, &places.target, None).await.unwrap();
    assert_eq!(done.keys_left_out, 0);
    let (catalog, _blobs) = rooms(&places.new).await;
    assert_eq!(rows(&catalog).await, before);
    catalog.close().await;
    let house = House::open(&places.new).await;
    assert_eq!(house.get("long").await.unwrap(), noise(9 * MIB + 1, 1));
    assert_eq!(house.get("small").await.unwrap(), noise(20_000, 2));
    assert_eq!(house.store.fsck(true).await.unwrap().findings, []);
    let kept = fs::read_to_string(places.new.join("master.key")).unwrap();
    assert_eq!(kept, "the key\n");
    // Numbers go on above what was given out before.
    house.put("next", b"x").await;
    let next = house.store.object(&bucket(), &key("next"), None).await;
    assert!(next.unwrap().row_id > 6);
}

#[tokio::test]
async fn only_what_is_new_is_sent() {
    let places = Places::new();
    let house = House::open(&places.old).await;
    house.put("a", &noise(5 * MIB, 1)).await;
    house.put("b", &noise(100_000, 2)).await;
    let first = house.save(&places.target).await;
    assert_eq!(first.sent_blobs, 2);
    assert!(first.sent_bytes > 5 * MIB as u64);
    let second = house.save(&places.target).await;
    assert_eq!(second.sent_blobs, 0);
    assert!(second.sent_bytes < 100_000, "{}", second.sent_bytes);
    house.put("c", &noise(200_000, 3)).await;
    let third = house.save(&places.target).await;
    assert_eq!(third.sent_blobs, 1);
    // Pieces that vanished, as an interrupted run leaves it, are sent again.
    let pieces: Vec<_> = walk(&places.kept.join("blobs"));
    fs::remove_file(&pieces[0]).unwrap();
    fs::write(&pieces[1], b"torn").unwrap();
    house.save(&places.target).await;
    let verified = verify(&places.target, None, None).await.unwrap();
    assert_eq!(verified.damaged, Vec::<String>::new());
}

fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[tokio::test]
async fn files_that_a_backup_may_need_stay_until_it_lets_go_or_dies() {
    let places = Places::new();
    let house = House::open(&places.old).await;
    house.put("a", &noise(100_000, 1)).await;
    assert!(house.store.hold_files(600_000).await.unwrap());
    house.delete("a").await;
    assert_eq!(house.files().await, 1, "held");
    assert_eq!(house.store.sweep_dead().await.unwrap(), 0);
    house.store.release_files().await.unwrap();
    assert_eq!(house.store.sweep_dead().await.unwrap(), 1);
    assert_eq!(house.files().await, 0);

    house.put("b", &noise(100_000, 2)).await;
    assert!(house.store.hold_files(600_000).await.unwrap());
    house.delete("b").await;
    house.store.settle().await;
    // Whoever held it was killed.
    house.clock.advance_ms(600_001);
    assert_eq!(house.store.sweep_dead().await.unwrap(), 1);
    assert_eq!(house.files().await, 0);
}

#[tokio::test]
async fn two_backups_at_once_are_one_too_many() {
    let places = Places::new();
    let house = House::open(&places.old).await;
    let other = House::open(&places.old).await;
    assert!(other.store.hold_files(600_000).await.unwrap());
    let refused = save(&house.store, &places.target, &house.options()).await;
    assert!(matches!(refused, Err(BackupError::Busy)), "{refused:?}");
}

#[tokio::test]
async fn an_encrypted_target_opens_with_its_passphrase_only_and_holds_the_keys() {
    let places = Places::new();
    let house = House::open(&places.old).await;
    fs::write(house.dir.join("master.key"), "the key\n").unwrap();
    house.put("secret film", &noise(5 * MIB, 1)).await;
    let right = Passphrase::new("correct horse battery staple");
    let mut options = house.options();
    options.passphrase.clone_from(&right);
    let saved = save(&house.store, &places.target, &options).await.unwrap();
    assert!(saved.manifest.has_secrets);
    for path in walk(&places.kept) {
        let bytes = fs::read(&path).unwrap();
        for plain in [&b"secret film"[..], b"the key", &noise(5 * MIB, 1)[..64]] {
            let found = bytes.windows(plain.len()).any(|window| window == plain);
            assert!(!found, "{} is readable", path.display());
        }
    }
    let none = restored(&places.new, &places.target, None).await;
    assert!(matches!(none, Err(BackupError::Passphrase(_))), "{none:?}");
    let wrong = restored(&places.new, &places.target, Passphrase::new("x")).await;
    assert!(
        matches!(wrong, Err(BackupError::Passphrase(_))),
        "{wrong:?}"
    );
    // The failed ones left nothing in the way.
    restored(&places.new, &places.target, right).await.unwrap();
    let house = House::open(&places.new).await;
    assert_eq!(house.get("secret film").await.unwrap(), noise(5 * MIB, 1));
    assert!(places.new.join("master.key").exists());
    let plain = save(&house.store, &places.target, &house.options()).await;
    assert!(
        matches!(plain, Err(BackupError::Passphrase(_))),
        "{plain:?}"
    );
}

#[tokio::test]
async fn damage_in_the_target_is_found_and_never_restored() {
    let places = Places::new();
    let house = House::open(&places.old).await;
    house.put("a", &noise(9 * MIB, 1)).await;
    house.save(&places.target).await;
    for folder in ["blobs", "catalog", "snapshots"] {
        let victim = walk(&places.kept.join(folder)).pop().unwrap();
        let good = fs::read(&victim).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        fs::write(&victim, &bad).unwrap();
        let verified = verify(&places.target, None, None).await;
        let found = verified.is_err_and(|error| matches!(error, BackupError::Damaged { .. }))
            || !verify(&places.target, None, None)
                .await
                .is_ok_and(|verified| verified.damaged.is_empty());
        assert!(found, "{folder}");
        let refused = restored(&places.new, &places.target, None).await;
        assert!(
            matches!(refused, Err(BackupError::Damaged { .. })),
            "{folder}: {refused:?}"
        );
        fs::write(&victim, &good).unwrap();
    }
    let done = restored(&places.new, &places.target, None).await.unwrap();
    assert_eq!(done.fetched_bytes, 9 * MIB as u64);
    let again = restored(&places.new, &places.target, None).await;
    assert!(matches!(again, Err(BackupError::NotEmpty(_))), "{again:?}");
}

#[tokio::test]
async fn an_interrupted_restore_goes_on_and_believes_no_file_unread() {
    let places = Places::new();
    let house = House::open(&places.old).await;
    house.put("a", &noise(9 * MIB, 1)).await;
    house.put("b", &noise(100_000, 2)).await;
    house.save(&places.target).await;
    restored(&places.new, &places.target, None).await.unwrap();
    // As if it had been cut before its rows, and one file had been written in part.
    for name in ["nebula.db", "nebula.db-wal", "nebula.db-shm"] {
        let _ = fs::remove_file(places.new.join(name));
    }
    fs::write(places.new.join(UNFINISHED_FILE), "").unwrap();
    let long = walk(&places.new.join("blobs"));
    let long = long
        .into_iter()
        .find(|path| fs::metadata(path).unwrap().len() > MIB as u64);
    let long = long.unwrap();
    let mut bytes = fs::read(&long).unwrap();
    bytes[8 * MIB..].fill(0);
    fs::write(&long, bytes).unwrap();
    let done = restored(&places.new, &places.target, None).await.unwrap();
    assert_eq!(
        done.fetched_bytes,
        9 * MIB as u64,
        "the other one was there"
    );
    let house = House::open(&places.new).await;
    assert_eq!(house.get("a").await.unwrap(), noise(9 * MIB, 1));
    assert_eq!(house.get("b").await.unwrap(), noise(100_000, 2));
}

#[tokio::test]
async fn a_damaged_or_missing_blob_is_named_and_the_rest_is_saved() {
    let places = Places::new();
    let house = House::open(&places.old).await;
    house.put("good", &noise(100_000, 1)).await;
    house.put("flipped", &noise(100_000, 2)).await;
    house.put("missing", &noise(100_000, 3)).await;
    for file in walk(&house.dir.join("blobs")) {
        let mut bytes = fs::read(&file).unwrap();
        if bytes == noise(100_000, 2) {
            bytes[5] ^= 1;
            fs::write(&file, bytes).unwrap();
        } else if bytes == noise(100_000, 3) {
            fs::remove_file(&file).unwrap();
        }
    }
    let saved = house.save(&places.target).await;
    assert_eq!(saved.manifest.damaged.len(), 2);
    assert_eq!(walk(&places.kept.join("blobs")).len(), 1);
    let again = house.save(&places.target).await;
    assert_eq!(again.manifest.damaged.len(), 2);
    restored(&places.new, &places.target, None).await.unwrap();
    let house = House::open(&places.new).await;
    assert_eq!(house.get("good").await.unwrap(), noise(100_000, 1));
    for name in ["flipped", "missing"] {
        let read = house.get(name).await;
        assert!(
            matches!(read, Err(crate::store::StoreError::ObjectDamaged(_))),
            "{name}: {read:?}"
        );
    }
    let findings = house.store.fsck(true).await.unwrap().findings;
    assert_eq!(findings.len(), 2, "{findings:?}");
    let known = |finding: &Finding| matches!(finding, Finding::SetAside { .. });
    assert!(findings.iter().all(known), "{findings:?}");
}

#[tokio::test]
async fn thinning_out_keeps_what_the_newest_need() {
    let places = Places::new();
    let house = House::open(&places.old).await;
    house.put("a", &noise(100_000, 1)).await;
    house.put("b", &noise(100_000, 2)).await;
    house.save(&places.target).await;
    house.delete("a").await;
    house.save(&places.target).await;
    let newest = house.save(&places.target).await;
    assert_eq!(walk(&places.kept.join("blobs")).len(), 2);
    let pruned = prune(&house.store, &places.target, None, 1).await.unwrap();
    assert_eq!(pruned.snapshots.len(), 2);
    assert_eq!(walk(&places.kept.join("blobs")).len(), 1);
    let listed = list(&places.target, None).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, newest.manifest.id);
    restored(&places.new, &places.target, None).await.unwrap();
    let house = House::open(&places.new).await;
    assert_eq!(house.get("b").await.unwrap(), noise(100_000, 2));
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restore() {
    let places = Places::new();
    let house = House::open(&places.old).await;
    let film = noise(3 * MIB, 1);
    let new = NewResumable {
        protocol: Protocol::Tus,
        role: UploadRole::Whole,
        bucket: bucket(),
        key: Some(key("film")),
        headers: ObjectHeaders::default(),
        tags: Tags::new(),
        owner: "me".into(),
        length: Some(film.len() as u64),
        metadata: "{}".into(),
        idle_ms: None,
        lane: None,
    };
    let upload = house.store.begin_upload(new).await.unwrap();
    let append = async |house: &House, from: usize, to: usize| {
        let session = house.store.append(upload.id, from as u64, None).await;
        let mut session = session.unwrap();
        let bytes = Bytes::copy_from_slice(&film[from..to]);
        session.write(bytes).await.unwrap();
        session.release().await.unwrap();
    };
    append(&house, 0, MIB + 5).await;
    house.save(&places.target).await;
    append(&house, MIB + 5, 2 * MIB).await;
    // A later snapshot of a longer file leaves the earlier one whole.
    let first = list(&places.target, None).await.unwrap().remove(0).id;
    house.save(&places.target).await;
    let verified = verify(&places.target, None, Some(&first)).await.unwrap();
    assert_eq!(verified.damaged, Vec::<String>::new());
    assert_eq!(verified.bytes, MIB as u64 + 5);

    restored(&places.new, &places.target, None).await.unwrap();
    let house = House::open(&places.new).await;
    let found = house.store.upload(upload.id).await.unwrap();
    assert_eq!(found.offset, 2 * MIB as u64);
    let session = house.store.append(upload.id, found.offset, None).await;
    let mut session = session.unwrap();
    session
        .write(Bytes::copy_from_slice(&film[2 * MIB..]))
        .await
        .unwrap();
    session.finish().await.unwrap();
    assert_eq!(house.get("film").await.unwrap(), film);
    assert_eq!(house.store.fsck(true).await.unwrap().findings, []);
}

#[tokio::test]
async fn what_can_be_made_again_is_planned_again() {
    let places = Places::new();
    let house = House::open(&places.old).await;
    house.put("a", &noise(10, 1)).await;
    house.put("b", &noise(10, 1)).await;
    house.put("c", &noise(10, 2)).await;
    house.save(&places.target).await;
    restored(&places.new, &places.target, None).await.unwrap();
    let house = House::open(&places.new).await;
    assert_eq!(house.store.replan().await.unwrap(), 3);
    let jobs = house.store.catalog().job_counts().await.unwrap();
    let queued: u64 = jobs.iter().map(|(_, _, count)| count).sum();
    assert_eq!(queued, 2, "one for each content");
}

#[tokio::test]
async fn a_place_with_other_things_is_left_alone() {
    let places = Places::new();
    let house = House::open(&places.old).await;
    fs::create_dir_all(&places.kept).unwrap();
    fs::write(places.kept.join("holiday.jpg"), "x").unwrap();
    let refused = save(&house.store, &places.target, &house.options()).await;
    assert!(
        matches!(refused, Err(BackupError::Target(_))),
        "{refused:?}"
    );
    let elsewhere = Target::directory(places.kept.join("deeper"));
    house.save(&elsewhere).await;
    let other = House::open(&places.new).await;
    let refused = save(&other.store, &elsewhere, &other.options()).await;
    assert!(
        matches!(refused, Err(BackupError::Target(_))),
        "{refused:?}"
    );
    let refused = restored(&places.old, &elsewhere, None).await;
    assert!(
        matches!(refused, Err(BackupError::NotEmpty(_))),
        "{refused:?}"
    );
}
