//! Disks and databases that fail under a running appliance: what is lost is said, the rest is served, and nothing needs a restart.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use nebula_client::api::CreateBucket;
use nebula_tests::postgres::Postgres;
use nebula_tests::{Appliance, Seed, Setup, wait, within};

/// For one test.
const LIMIT: Duration = Duration::from_mins(3);
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

async fn put(appliance: &Appliance, key: &str, content: &[u8]) -> Result<(), (String, u16)> {
    let put = appliance.s3().put_object().bucket("films").key(key);
    let body = ByteStream::from(content.to_vec());
    put.body(body).send().await.map(drop).map_err(refusal)
}

async fn get(
    appliance: &Appliance,
    key: &str,
    range: Option<&str>,
) -> Result<Vec<u8>, (String, u16)> {
    let get = appliance.s3().get_object().bucket("films").key(key);
    let answer = get.set_range(range.map(Into::into)).send().await;
    let body = answer.map_err(refusal)?.body.collect().await.unwrap();
    Ok(body.to_vec())
}

fn refusal<E>(error: SdkError<E>) -> (String, u16)
where
    E: ProvideErrorMetadata + std::fmt::Debug,
{
    let status = error.raw_response().map(|answer| answer.status().as_u16());
    let code = error.code().unwrap_or_default().to_owned();
    (code, status.unwrap_or_default())
}

/// Every file of a directory and those below it.
fn files(place: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

async fn role(appliance: &Appliance, arguments: &[&str]) -> (bool, String) {
    let mut command = tokio::process::Command::from(appliance.role(arguments));
    let output = command.output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}

#[tokio::test]
async fn a_flipped_bit_never_reaches_a_client() {
    within(LIMIT, async {
        let mut appliance = with_bucket(Setup::default()).await;
        let content = Seed::new("flip").bytes(3 * MIB);
        put(&appliance, "film", &content).await.unwrap();
        let blobs = files(&appliance.data_dir().join("blobs"));
        let file = std::fs::File::options().write(true).open(&blobs[0]);
        let wrong = [content[MIB + 9] ^ 1];
        file.unwrap()
            .write_all_at(&wrong, (MIB + 9) as u64)
            .unwrap();

        let (sound, said) = role(&appliance, &["scrub"]).await;
        assert!(!sound, "{said}");
        assert!(said.contains("1 found damaged"), "{said}");
        let refused = get(&appliance, "film", None).await;
        assert_eq!(refused.unwrap_err(), ("InternalError".into(), 500));
        let start = get(&appliance, "film", Some("bytes=0-1048575")).await;
        assert_eq!(start.unwrap(), content[..MIB]);
        let end = get(&appliance, "film", Some("bytes=2097152-")).await;
        assert_eq!(end.unwrap(), content[2 * MIB..]);
        let answer = appliance.get("/-/file/films/film").send().await.unwrap();
        assert_eq!(answer.status(), 500);
        let problem = answer.text().await.unwrap();
        assert!(problem.contains("object_damaged"), "{problem}");
        let status = appliance.client().status().await.unwrap();
        assert_eq!((status.scrub.quarantined, status.scrub.damaged), (1, 1));

        let (clean, said) = role(&appliance, &["fsck"]).await;
        assert!(!clean && said.contains("films/film"), "{said}");
        let repair = ["fsck", "--repair", "--delete-damaged"];
        let (done, said) = role(&appliance, &repair).await;
        assert!(!done && said.contains("another daemon lives in"), "{said}");
        appliance.stop().await;
        let (clean, said) = role(&appliance, &repair).await;
        assert!(clean && said.contains("deleted films/film"), "{said}");
        appliance.restart().await;
        let gone = get(&appliance, "film", None).await;
        assert_eq!(gone.unwrap_err(), ("NoSuchKey".into(), 404));
        appliance.fsck(true).await;
    })
    .await;
}

#[tokio::test]
async fn a_disk_is_emptied_beside_a_serving_daemon_and_a_missing_one_is_named() {
    within(LIMIT, async {
        let place = tempfile::tempdir().unwrap();
        let usb = place.path().join("usb");
        std::fs::create_dir(&usb).unwrap();
        let config = format!(
            "disks = [{{ name = \"usb\", path = \"{}\" }}]\n",
            usb.display()
        );
        let appliance = with_bucket(Setup::default().config(&config)).await;
        let status = appliance.client().status().await.unwrap();
        let names: Vec<&str> = status
            .storage
            .disks
            .iter()
            .map(|d| d.name.as_str())
            .collect();
        assert_eq!(names, ["main", "usb"]);
        // New files go where most is free; with the main directory closed to them, to the other.
        let (done, said) = role(&appliance, &["drain", "main"]).await;
        assert!(done, "{said}");
        let mut seed = Seed::new("disk");
        let content: Vec<Vec<u8>> = (0..4).map(|n| seed.bytes(MIB + n)).collect();
        for (n, bytes) in content.iter().enumerate() {
            put(&appliance, &format!("f{n}"), bytes).await.unwrap();
        }
        assert_eq!(files(&usb.join("blobs")).len(), 4);
        let (done, said) = role(&appliance, &["drain", "--undo", "main"]).await;
        assert!(done, "{said}");

        let away = place.path().join("away");
        std::fs::rename(&usb, &away).unwrap();
        let client = appliance.client();
        wait::until_async("the disk is missed", async || {
            let status = client.status().await.unwrap();
            status.storage.disks[1].away.is_some()
        })
        .await;
        let refused = get(&appliance, "f0", None).await;
        assert_eq!(refused.unwrap_err(), ("ServiceUnavailable".into(), 503));
        let answer = appliance.get("/-/file/films/f0").send().await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        let problem = answer.text().await.unwrap();
        assert!(problem.contains("disk usb is away"), "{problem}");
        put(&appliance, "new", &content[0]).await.unwrap();
        let ready = appliance.get("/-/readyz").send().await.unwrap();
        assert_eq!(ready.status(), 200, "the rest is served");
        std::fs::rename(&away, &usb).unwrap();
        wait::until_async("the disk is back", async || {
            get(&appliance, "f0", None).await.is_ok()
        })
        .await;

        let (done, said) = role(&appliance, &["drain", "usb"]).await;
        assert!(done && said.contains("usb is empty"), "{said}");
        assert_eq!(files(&usb).len(), 1, "only its marker is left");
        for (n, bytes) in content.iter().enumerate() {
            assert_eq!(
                &get(&appliance, &format!("f{n}"), None).await.unwrap(),
                bytes
            );
        }
        appliance.fsck(true).await;
    })
    .await;
}

#[tokio::test]
async fn a_database_that_goes_and_comes_back_needs_no_restart() {
    within(LIMIT, async {
        let Some(mut server) = Postgres::start() else {
            return;
        };
        let setup = Setup::default().database(&server.url());
        let appliance = with_bucket(setup).await;
        put(&appliance, "before", b"before").await.unwrap();
        server.stop();
        let refused = put(&appliance, "while", b"while").await;
        assert_eq!(refused.unwrap_err(), ("ServiceUnavailable".into(), 503));
        let answer = appliance.get("/-/file/films/before").send().await.unwrap();
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
        let ready = appliance.get("/-/readyz").send().await.unwrap();
        assert_eq!(ready.status(), 503, "it tells the truth");
        server.start_again();
        wait::until_async("it is ready again", async || {
            let ready = appliance.get("/-/readyz").send().await;
            ready.is_ok_and(|answer| answer.status() == 200)
        })
        .await;
        put(&appliance, "after", b"after").await.unwrap();
        for key in ["before", "after"] {
            let read = get(&appliance, key, None).await.unwrap();
            assert_eq!(read, key.as_bytes());
        }
        let refused = get(&appliance, "while", None).await;
        assert_eq!(refused.unwrap_err(), ("NoSuchKey".into(), 404));
        appliance.fsck(true).await;
    })
    .await;
}
