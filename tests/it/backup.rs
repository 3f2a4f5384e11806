//! Backup and restore of whole appliances, on both databases, to a directory and to an S3 endpoint, while writes go on.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketVersioningStatus, ChecksumAlgorithm, ChecksumMode, CompletedMultipartUpload,
    CompletedPart, ServerSideEncryption, VersioningConfiguration,
};
use nebula_tests::postgres::Postgres;
use nebula_tests::{Appliance, Seed, Setup, within};
use serde_json::Value;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

const LIMIT: Duration = Duration::from_mins(5);
const CONFIG: &str = "[identity]\ntailscale = \"off\"\n[data]\nreserve_bytes = 16777216\n";
const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_sqlite_is_on_postgresql_by_way_of_an_s3_endpoint() {
    let Some(server) = Postgres::start() else {
        return;
    };
    within(LIMIT, async {
        let attic = Appliance::start().await;
        attic
            .s3()
            .create_bucket()
            .bucket("backups")
            .send()
            .await
            .unwrap();
        let place = tempfile::tempdir().unwrap();
        let passphrase = place.path().join("passphrase");
        fs::write(&passphrase, "correct horse battery staple\n").unwrap();
        let target = Place {
            words: vec![
                "s3://backups/house one".into(),
                "--s3-endpoint".into(),
                attic.url(),
                "--passphrase-file".into(),
                passphrase.display().to_string(),
            ],
            environment: vec![
                ("AWS_ACCESS_KEY_ID", attic.key().access_key.clone()),
                ("AWS_SECRET_ACCESS_KEY", attic.key().secret_key.clone()),
            ],
        };
        there_and_back(Setup::default(), &target, Some(server.url())).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_postgresql_is_on_sqlite_by_way_of_a_directory() {
    let Some(server) = Postgres::start() else {
        return;
    };
    within(LIMIT, async {
        let place = tempfile::tempdir().unwrap();
        let target = Place {
            words: vec![place.path().join("kept").display().to_string()],
            environment: Vec::new(),
        };
        let setup = Setup::default().database(&server.url());
        there_and_back(setup, &target, None).await;
    })
    .await;
}

/// Where a backup goes, in words and variables.
struct Place {
    words: Vec<String>,
    environment: Vec<(&'static str, String)>,
}

impl Place {
    async fn run(&self, mut command: Command, more: &[&str]) -> Value {
        command.args(&self.words).args(more).arg("--json");
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        let output = command.output().await.expect("nebulad runs");
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{more:?}: {said}{complained}");
        serde_json::from_str(said.lines().next().unwrap()).unwrap()
    }

    async fn backup(&self, appliance: &Appliance, more: &[&str]) -> Value {
        self.run(Command::from(appliance.role(&["backup"])), more)
            .await
    }
}

async fn there_and_back(setup: Setup, target: &Place, database: Option<String>) {
    let mut seed = Seed::new("backup");
    let appliance = setup.start().await;
    let s3 = appliance.s3();
    fill(&s3, &mut seed).await;
    let steady = image(&s3, "steady").await;

    // A backup beside a writer is of one moment: what stands still is there as it is.
    let stop = CancellationToken::new();
    let writing = tokio::spawn(write(s3.clone(), stop.clone(), seed.split()));
    let secrets: &[&str] = match target.words.len() {
        1 => &["--include-secrets"],
        _ => &[],
    };
    let first = target.backup(&appliance, secrets).await;
    assert_eq!(first["has_secrets"], true);
    assert_eq!(first["damaged"], Value::Array(Vec::new()));
    stop.cancel();
    let written = writing.await.unwrap();
    assert!(written > 0, "nothing was written meanwhile");
    let whole = restored(
        target,
        first["id"].as_str().unwrap(),
        database.as_deref(),
        None,
    )
    .await;
    let found = whole.s3_as(&appliance.key().access_key, &appliance.key().secret_key);
    assert_eq!(image(&found, "steady").await, steady);
    drop(whole);

    // Once it is quiet, everything is equal, and little was sent.
    let second = target.backup(&appliance, secrets).await;
    let sent = second["sent_bytes"].as_u64().unwrap();
    assert!(
        sent < first["sent_bytes"].as_u64().unwrap(),
        "{first} {second}"
    );
    let verified = target.backup(&appliance, &["--verify"]).await;
    assert_eq!(verified["damaged"], Value::Array(Vec::new()));
    let buckets = ["busy", "steady", "versions"];
    let mut before = BTreeMap::new();
    for bucket in buckets {
        before.extend(image(&s3, bucket).await);
    }
    assert!(before.len() > 20, "{}", before.len());
    let pruned = target.backup(&appliance, &["--prune", "1"]).await;
    assert_eq!(pruned["removed"].as_array().unwrap().len(), 1);
    // The first restore has filled the one there was.
    let database = database.map(|_| Postgres::start().unwrap());
    let url = database.as_ref().map(Postgres::url);
    let id = second["id"].as_str().unwrap();
    let mut whole = restored(target, id, url.as_deref(), Some(&appliance)).await;
    let found = whole.s3_as(&appliance.key().access_key, &appliance.key().secret_key);
    let mut after = BTreeMap::new();
    for bucket in buckets {
        after.extend(image(&found, bucket).await);
    }
    assert_eq!(after, before);
    // It is an appliance like any other.
    put(&found, "steady", "new", seed.bytes(100_000)).await;
    assert!(whole.stop().await.success());
    whole.fsck(true).await;
}

/// Restores a snapshot and starts what it makes.
async fn restored(
    target: &Place,
    id: &str,
    database: Option<&str>,
    key_of: Option<&Appliance>,
) -> Restored {
    let place = tempfile::tempdir().unwrap();
    let config = place.path().join("nebula.toml");
    fs::write(&config, CONFIG).unwrap();
    let data = place.path().join("data");
    let mut command = Command::new(nebula_tests::binary("nebulad"));
    command.env_clear().arg("restore").arg("--config");
    command.arg(&config).arg("--data-dir").arg(&data);
    if let Some(url) = database {
        command.env("NEBULA_DATABASE_URL", url);
    }
    let done = target.run(command, &["--snapshot", id]).await;
    assert_eq!(done["keys_left_out"], 0);
    if let Some(appliance) = key_of {
        let key = |dir: &Path| fs::read(dir.join("master.key")).unwrap();
        assert_eq!(key(&data), key(appliance.data_dir()));
    }
    let setup = Setup::default().data_dir(&data);
    let setup = match database {
        Some(url) => setup.database(url),
        None => setup,
    };
    Restored {
        appliance: setup.start().await,
        _place: place,
    }
}

/// An appliance whose data directory goes with it.
struct Restored {
    appliance: Appliance,
    _place: tempfile::TempDir,
}

impl std::ops::Deref for Restored {
    type Target = Appliance;

    fn deref(&self) -> &Appliance {
        &self.appliance
    }
}

impl std::ops::DerefMut for Restored {
    fn deref_mut(&mut self) -> &mut Appliance {
        &mut self.appliance
    }
}

async fn put(s3: &Client, bucket: &str, key: &str, content: Vec<u8>) {
    let put = s3.put_object().bucket(bucket).key(key);
    put.body(ByteStream::from(content)).send().await.unwrap();
}

/// Objects of every kind.
async fn fill(s3: &Client, seed: &mut Seed) {
    for bucket in ["steady", "busy", "versions"] {
        s3.create_bucket().bucket(bucket).send().await.unwrap();
    }
    for (key, size) in [
        ("empty", 0),
        ("small", 100),
        ("inline/most", 16 << 10),
        ("file", 300_000),
        ("long", 9 * MIB + 17),
        ("a key/with spaces & ümläute", 40_000),
    ] {
        put(s3, "steady", key, seed.bytes(size)).await;
    }
    s3.put_object()
        .bucket("steady")
        .key("dressed")
        .content_type("text/plain")
        .cache_control("max-age=5")
        .content_disposition("attachment")
        .metadata("colour", "blue")
        .tagging("a=1&b=2")
        .checksum_algorithm(ChecksumAlgorithm::Crc32C)
        .body(ByteStream::from(seed.bytes(50_000)))
        .send()
        .await
        .unwrap();
    for (key, size) in [("sealed/small", 1000), ("sealed/large", 3 * MIB)] {
        let put = s3.put_object().bucket("steady").key(key);
        let put = put.server_side_encryption(ServerSideEncryption::Aes256);
        let put = put.body(ByteStream::from(seed.bytes(size)));
        put.send().await.unwrap();
    }
    let copy = s3.copy_object().bucket("steady").key("copy");
    copy.copy_source("steady/long").send().await.unwrap();
    multipart(s3, seed).await;
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled);
    s3.put_bucket_versioning()
        .bucket("versions")
        .versioning_configuration(enabled.build())
        .send()
        .await
        .unwrap();
    for round in 0..3 {
        put(s3, "versions", "again", seed.bytes(100 + round * 40_000)).await;
        let delete = s3.delete_object().bucket("versions").key("again");
        delete.send().await.unwrap();
    }
    put(s3, "versions", "last", seed.bytes(10)).await;
}

async fn multipart(s3: &Client, seed: &mut Seed) {
    let create = s3.create_multipart_upload().bucket("steady").key("parts");
    let created = create.send().await.unwrap();
    let id = created.upload_id().unwrap();
    let mut parts = Vec::new();
    for (number, size) in [(1, 5 * MIB), (2, 70_000)] {
        let part = s3.upload_part().bucket("steady").key("parts");
        let part = part.upload_id(id).part_number(number);
        let sent = part.body(seed.bytes(size).into()).send().await.unwrap();
        let part = CompletedPart::builder().part_number(number);
        parts.push(part.set_e_tag(sent.e_tag).build());
    }
    let whole = CompletedMultipartUpload::builder().set_parts(Some(parts));
    let complete = s3.complete_multipart_upload().bucket("steady").key("parts");
    let complete = complete.upload_id(id).multipart_upload(whole.build());
    complete.send().await.unwrap();
}

/// Puts, overwrites and deletes until it is stopped; gives how many.
async fn write(s3: Client, stop: CancellationToken, mut seed: Seed) -> u64 {
    let mut done = 0;
    while !stop.is_cancelled() {
        let key = format!("{}", seed.within(0, 30));
        if seed.within(0, 4) == 0 {
            let delete = s3.delete_object().bucket("busy").key(&key);
            delete.send().await.unwrap();
        } else {
            let size = seed.within(0, 120_000) as usize;
            put(&s3, "busy", &key, seed.bytes(size)).await;
        }
        done += 1;
    }
    done
}

/// Everything that a client can see of a bucket, version by version.
async fn image(s3: &Client, bucket: &str) -> BTreeMap<String, String> {
    let mut image = BTreeMap::new();
    let versioning = s3.get_bucket_versioning().bucket(bucket).send();
    let versioning = versioning.await.unwrap();
    image.insert(bucket.to_owned(), format!("{:?}", versioning.status()));
    let listed = s3.list_object_versions().bucket(bucket).send();
    let listed = listed.await.unwrap();
    assert_eq!(listed.is_truncated(), Some(false));
    for marker in listed.delete_markers() {
        let name = format!("{bucket}/{:?} {:?}", marker.key(), marker.version_id());
        image.insert(name, format!("{marker:?}"));
    }
    for version in listed.versions() {
        let (key, id) = (version.key().unwrap(), version.version_id().unwrap());
        let get = s3.get_object().bucket(bucket).key(key).version_id(id);
        let got = get.checksum_mode(ChecksumMode::Enabled).send();
        let mut got = got.await.unwrap();
        let body = std::mem::take(&mut got.body).collect().await.unwrap();
        let hash = blake3::hash(&body.into_bytes());
        let tags = s3.get_object_tagging().bucket(bucket).key(key);
        let tags = tags.version_id(id).send().await.unwrap();
        let metadata: BTreeMap<_, _> = got.metadata().into_iter().flatten().collect();
        let seen = format!(
            "{hash} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {metadata:?} {:?} {:?}",
            version.e_tag(),
            version.size(),
            version.is_latest(),
            version.last_modified(),
            got.content_type(),
            got.cache_control(),
            got.content_disposition(),
            got.checksum_crc32_c(),
            got.parts_count(),
            got.server_side_encryption(),
            tags.tag_set(),
            version.owner(),
        );
        image.insert(format!("{bucket}/{key} {id}"), seen);
    }
    image
}
