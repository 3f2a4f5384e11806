//! What must go wrong goes wrong well: refused with a reason, nothing half-made, and the daemon serves on.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use nebula_client::api::{AssetState, CreateBucket, Job, JobState, JobsQuery};
use nebula_tests::{Appliance, Seed, Setup, films, wait, within};
use tempfile::TempDir;

/// For one test.
const LIMIT: Duration = Duration::from_mins(2);
const MIB: usize = 1 << 20;

async fn with_bucket(setup: Setup) -> Appliance {
    let appliance = setup.start().await;
    let films = CreateBucket {
        name: "films".into(),
        ..CreateBucket::default()
    };
    appliance.client().create_bucket(&films).await.unwrap();
    appliance
}

/// The code and status of a refusal.
fn refused<T: std::fmt::Debug, E>(result: Result<T, SdkError<E>>) -> (String, u16)
where
    E: ProvideErrorMetadata + std::fmt::Debug,
{
    let error = result.unwrap_err();
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    let status = status.unwrap_or_else(|| panic!("no answer: {error:?}"));
    (error.code().unwrap_or_default().to_owned(), status)
}

/// After everything bad the daemon serves, and what is stored is in order.
async fn well(appliance: &Appliance) {
    let ready = appliance.get("/-/readyz").send().await.unwrap();
    assert_eq!(ready.status(), 200);
    appliance.fsck(true).await;
}

#[tokio::test]
async fn a_wrong_signature_is_refused() {
    within(LIMIT, async {
        let appliance = with_bucket(Setup::default()).await;
        let access_key = &appliance.key().access_key;
        let wrong = appliance.s3_as(access_key, "not-the-secret-of-this-key-0123456789ab");
        let answer = wrong.list_objects_v2().bucket("films").send().await;
        assert_eq!(refused(answer), ("SignatureDoesNotMatch".into(), 403));
        let put = wrong.put_object().bucket("films").key("a");
        let answer = put.body(ByteStream::from_static(b"a")).send().await;
        assert_eq!(refused(answer), ("SignatureDoesNotMatch".into(), 403));
        let nobody = appliance.s3_as("NBNOBODYKNOWSME00000", "whatever");
        let answer = nobody.list_objects_v2().bucket("films").send().await;
        assert_eq!(refused(answer), ("InvalidAccessKeyId".into(), 403));
        let listed = appliance
            .s3()
            .list_objects_v2()
            .bucket("films")
            .send()
            .await;
        assert_eq!(listed.unwrap().key_count(), Some(0), "nothing was stored");
        well(&appliance).await;
    })
    .await;
}

/// A clock that is an hour ahead.
#[derive(Debug)]
struct Ahead;

impl aws_smithy_async::time::TimeSource for Ahead {
    fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_hours(1)
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_refused_as_that() {
    within(LIMIT, async {
        let appliance = with_bucket(Setup::default()).await;
        let skewed = appliance
            .s3()
            .config()
            .to_builder()
            .time_source(Ahead)
            .build();
        let skewed = aws_sdk_s3::Client::from_conf(skewed);
        let answer = skewed.list_objects_v2().bucket("films").send().await;
        assert_eq!(refused(answer), ("RequestTimeTooSkewed".into(), 403));
        well(&appliance).await;
    })
    .await;
}

#[tokio::test]
async fn an_unknown_bucket_is_named_on_every_door() {
    within(LIMIT, async {
        let appliance = Appliance::start().await;
        let s3 = appliance.s3();
        let put = s3.put_object().bucket("nothing").key("a");
        let answer = put.body(ByteStream::from_static(b"a")).send().await;
        assert_eq!(refused(answer), ("NoSuchBucket".into(), 404));
        let answer = s3.list_objects_v2().bucket("nothing").send().await;
        assert_eq!(refused(answer), ("NoSuchBucket".into(), 404));
        for path in ["/-/file/nothing/a", "/-/hls/nothing/a/master.m3u8"] {
            let answer = appliance.get(path).send().await.unwrap();
            assert_eq!(answer.status(), 404, "{path}");
        }
        let cli = appliance.cli();
        cli.login().await;
        std::fs::write(cli.at("a"), "a").unwrap();
        for arguments in [&["push", "a", "nothing:"][..], &["ls", "nothing:"]] {
            let ran = cli.run(arguments).await;
            assert_eq!(ran.code, Some(6), "{ran:?}");
            assert!(ran.stderr.contains("nothing"), "{ran:?}");
        }
        well(&appliance).await;
    })
    .await;
}

#[tokio::test]
async fn a_key_of_one_byte_too_many_is_refused() {
    within(LIMIT, async {
        let appliance = with_bucket(Setup::default()).await;
        let s3 = appliance.s3();
        for (length, fits) in [(1024, true), (1025, false)] {
            let put = s3.put_object().bucket("films").key("k".repeat(length));
            let answer = put.body(ByteStream::from_static(b"a")).send().await;
            if fits {
                answer.unwrap();
            } else {
                assert_eq!(refused(answer), ("KeyTooLongError".into(), 400));
            }
        }
        well(&appliance).await;
    })
    .await;
}

async fn put(appliance: &Appliance, key: &str, content: Vec<u8>) {
    let put = appliance.s3().put_object().bucket("films").key(key);
    put.body(ByteStream::from(content)).send().await.unwrap();
}

/// Waits until the media room has made up its mind about an object.
async fn judged(appliance: &Appliance, key: &str) -> (AssetState, String) {
    let client = appliance.client();
    let mut found = None;
    wait::until_async("the object is judged", async || {
        let asset = client.asset("films", key).await.unwrap();
        found = asset.filter(|asset| asset.state != AssetState::Indexing);
        found.is_some()
    })
    .await;
    let asset = found.unwrap();
    (asset.state, asset.reason.unwrap_or_default())
}

async fn index_job(appliance: &Appliance, key: &str) -> Job {
    let query = JobsQuery {
        kind: Some("index".into()),
        ..JobsQuery::default()
    };
    let client = appliance.client();
    let settled = async || {
        let jobs = client.jobs(&query).await.unwrap().items;
        let about = |job: &Job| job.object.as_ref().is_some_and(|object| object.key == key);
        jobs.into_iter()
            .find(|job| about(job) && !job.state.is_active())
    };
    // The verdict on the asset is committed a moment before the job is settled.
    wait::until_async("the index job ends", async || settled().await.is_some()).await;
    settled().await.unwrap()
}

#[tokio::test]
async fn what_is_no_film_is_a_failed_job_with_a_reason() {
    within(LIMIT, async {
        let appliance = with_bucket(Setup::default()).await;
        put(&appliance, "text.mp4", b"This is no film.\n".repeat(2000)).await;
        put(&appliance, "noise.mkv", Seed::new("noise").bytes(MIB)).await;
        put(&appliance, "nothing.mp4", Vec::new()).await;
        for key in ["text.mp4", "noise.mkv"] {
            let (state, reason) = judged(&appliance, key).await;
            assert_eq!(state, AssetState::Failed, "{key}");
            assert!(!reason.is_empty(), "{key} failed without a reason");
            let job = index_job(&appliance, key).await;
            assert_eq!(job.state, JobState::Failed, "{key}: {job:?}");
            assert!(job.reason.is_some(), "{key}: {job:?}");
        }
        // Nothing to look at is not even tried, or fails as well; it is never ready.
        let asset = appliance.client().asset("films", "nothing.mp4").await;
        assert!(
            asset
                .unwrap()
                .is_none_or(|asset| asset.state != AssetState::Ready)
        );
        for key in ["text.mp4", "nothing.mp4"] {
            let master = format!("/-/hls/films/{key}/master.m3u8");
            let answer = appliance.get(&master).send().await.unwrap();
            assert!(
                answer.status().is_client_error(),
                "{key}: {}",
                answer.status()
            );
        }
        // The bytes are whole all the same.
        let text = appliance
            .get("/-/file/films/text.mp4")
            .send()
            .await
            .unwrap();
        assert_eq!(text.bytes().await.unwrap().len(), 34_000);
        let nothing = appliance
            .get("/-/file/films/nothing.mp4")
            .send()
            .await
            .unwrap();
        assert_eq!(nothing.status(), 200);
        assert!(nothing.bytes().await.unwrap().is_empty());
        well(&appliance).await;
    })
    .await;
}

#[tokio::test]
async fn a_truncated_film_is_judged_and_never_harms() {
    within(LIMIT, async {
        let Some(film) = films::mp4() else { return };
        let content = std::fs::read(film).unwrap();
        let appliance = with_bucket(Setup::default()).await;
        // Without its end; without most of its head; and the head alone.
        put(
            &appliance,
            "half.mp4",
            content[..content.len() / 2].to_vec(),
        )
        .await;
        put(&appliance, "head.mp4", content[..2000].to_vec()).await;
        put(&appliance, "whole.mp4", content).await;
        let (state, reason) = judged(&appliance, "head.mp4").await;
        assert_eq!(state, AssetState::Failed);
        assert!(!reason.is_empty());
        let (state, reason) = judged(&appliance, "half.mp4").await;
        println!("half a film is {} ({reason})", state.as_str());
        if state == AssetState::Failed {
            assert!(!reason.is_empty());
        }
        let (state, _) = judged(&appliance, "whole.mp4").await;
        assert_eq!(state, AssetState::Ready, "the good one beside them plays");
        well(&appliance).await;
    })
    .await;
}

#[tokio::test]
async fn nothing_at_all_can_be_stored_and_read() {
    within(LIMIT, async {
        let appliance = with_bucket(Setup::default()).await;
        let cli = appliance.cli();
        cli.login().await;
        std::fs::write(cli.at("empty"), "").unwrap();
        cli.ok(&["push", "empty", "films:"]).await;
        put(&appliance, "empty-too", Vec::new()).await;
        for key in ["empty", "empty-too"] {
            let read = appliance.s3().get_object().bucket("films").key(key);
            let read = read.send().await.unwrap();
            assert_eq!(read.content_length(), Some(0), "{key}");
            assert!(read.body.collect().await.unwrap().into_bytes().is_empty());
        }
        cli.ok(&["pull", "films:empty", "back"]).await;
        assert_eq!(std::fs::read(cli.at("back")).unwrap(), b"");
        well(&appliance).await;
    })
    .await;
}

/// A file system of its own, in memory; unmounted on drop.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    pub(crate) fn mount(mib: usize) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: a small disk needs root to be mounted");
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m,mode=0700");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(place.path());
        let mounted = mount.output();
        if !mounted.as_ref().is_ok_and(|made| made.status.success()) {
            eprintln!("SKIPPED: a small disk cannot be mounted here: {mounted:?}");
            return None;
        }
        Some(Self(place))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a daemon that a failed test left behind does not keep it.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(self.path())
            .status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_takes_deletes() {
    within(LIMIT, async {
        let Some(disk) = SmallDisk::mount(96) else {
            return;
        };
        let mut appliance = with_bucket(Setup::default().data_dir(disk.path())).await;
        let s3 = appliance.s3();
        let mut seed = Seed::new("full disk");
        // More than the disk could ever hold is refused by its declared length.
        let put_of = |key: &str, content: Vec<u8>| {
            let put = s3.put_object().bucket("films").key(key);
            put.body(ByteStream::from(content)).send()
        };
        let answer = put_of("huge", seed.bytes(120 * MIB)).await;
        assert_eq!(refused(answer), ("InsufficientStorage".into(), 507));

        let mut stored = Vec::new();
        let refusal = loop {
            let key = format!("{:03}", stored.len());
            let content = seed.bytes(8 * MIB);
            let hash = blake3::hash(&content);
            match put_of(&key, content).await {
                Ok(_) => stored.push((key, hash)),
                Err(error) => break refused(Err::<(), _>(error)),
            }
            assert!(stored.len() < 12, "the disk never gets full");
        };
        assert_eq!(refusal, ("InsufficientStorage".into(), 507));
        assert!(stored.len() >= 3, "only {} objects fit", stored.len());

        let cli = appliance.cli();
        cli.login().await;
        std::fs::write(cli.at("more"), seed.bytes(16 * MIB)).unwrap();
        let ran = cli.run(&["push", "more", "films:"]).await;
        assert_ne!(ran.code, Some(0));
        assert!(
            ran.stderr.to_lowercase().contains("full") || ran.stderr.contains("space"),
            "{ran:?}"
        );

        for (key, hash) in &stored {
            let read = s3
                .get_object()
                .bucket("films")
                .key(key)
                .send()
                .await
                .unwrap();
            let content = read.body.collect().await.unwrap().into_bytes();
            assert_eq!(blake3::hash(&content), *hash, "{key}");
        }
        // A restart on a full disk works as well.
        appliance.kill();
        appliance.restart().await;
        let (first, _) = stored.remove(0);
        let s3 = appliance.s3();
        s3.delete_object()
            .bucket("films")
            .key(&first)
            .send()
            .await
            .unwrap();
        let content = seed.bytes(4 * MIB);
        wait::until_async("the room is given back", async || {
            let put = s3.put_object().bucket("films").key("fits-again");
            put.body(ByteStream::from(content.clone()))
                .send()
                .await
                .is_ok()
        })
        .await;
        well(&appliance).await;
        let status = appliance.stop().await;
        assert!(status.success(), "{status}");
    })
    .await;
}

#[tokio::test]
async fn a_second_daemon_harms_nothing() {
    within(LIMIT, async {
        let appliance = with_bucket(Setup::default()).await;
        put(&appliance, "kept", b"kept".to_vec()).await;
        let mut second = appliance.role(&["serve", "--listen", "127.0.0.1:0"]);
        let second = tokio::task::spawn_blocking(move || second.output().unwrap());
        let second = second.await.unwrap();
        assert!(!second.status.success());
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(said.contains("another daemon lives in"), "{said}");
        // And one on the port that is taken says so, and leaves its own directory empty-handed.
        let elsewhere = tempfile::tempdir().unwrap();
        let mut third = Command::new(nebula_tests::binary("nebulad"));
        third
            .env_clear()
            .args(["serve", "--listen", appliance.address(), "--data-dir"])
            .arg(elsewhere.path());
        let third = tokio::task::spawn_blocking(move || third.output().unwrap());
        let said = String::from_utf8_lossy(&third.await.unwrap().stderr).into_owned();
        assert!(said.contains("the port is in use"), "{said}");
        let kept = appliance.get("/-/file/films/kept").send().await.unwrap();
        assert_eq!(kept.bytes().await.unwrap(), "kept");
        well(&appliance).await;
    })
    .await;
}
