//! Uploads that are interrupted: what arrived is kept, the rest is sent, and both sides are equal.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use nebula_tests::{Appliance, Cli, Seed, Setup, wait, within};
use reqwest::Method;
use serde_json::Value;

/// For one test.
const LIMIT: Duration = Duration::from_mins(2);
/// Long enough to be caught in the middle.
const LARGE_BYTES: usize = 192 << 20;
const MIB: usize = 1 << 20;

fn noise(cli: &Cli, name: &str, bytes: usize) -> (PathBuf, String) {
    let path = cli.at(name);
    let content = Seed::new(name).bytes(bytes);
    std::fs::write(&path, &content).unwrap();
    (path, blake3::hash(&content).to_hex().to_string())
}

fn hash(path: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut file = std::fs::File::open(path).unwrap();
    std::io::copy(&mut file, &mut hasher).unwrap();
    hasher.finalize().to_hex().to_string()
}

/// Waits until an upload has some bytes safely on disk.
async fn under_way(appliance: &Appliance) {
    let client = appliance.client();
    wait::until_async("an upload is under way", async || {
        let uploads = client.all_uploads().await.unwrap();
        uploads.iter().any(|upload| upload.offset_bytes > 0)
    })
    .await;
}

async fn pulled(cli: &Cli, key: &str) -> String {
    let to = cli.at("back");
    cli.ok(&["pull", &format!("films:{key}"), to.to_str().unwrap()])
        .await;
    hash(&to)
}

#[tokio::test]
async fn a_push_outlives_a_killed_daemon() {
    within(LIMIT, async {
        let mut appliance = Appliance::start().await;
        let cli = appliance.cli();
        cli.login().await;
        cli.ok(&["mb", "films"]).await;
        let (path, sent) = noise(&cli, "large.bin", LARGE_BYTES);
        let push = cli.spawn(&["push", path.to_str().unwrap(), "films:", "--json"]);
        under_way(&appliance).await;
        appliance.kill();
        appliance.restart().await;
        let ran = nebula_tests::Ran::from(push.wait_with_output().await.unwrap());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let said = ran
            .stdout
            .lines()
            .find(|line| line.contains("\"pushed\""))
            .unwrap();
        let said: Value = serde_json::from_str(said).unwrap();
        assert_eq!(said["blake3"], sent.as_str(), "{said}");
        assert_eq!(pulled(&cli, "large.bin").await, sent);
        assert!(appliance.client().all_uploads().await.unwrap().is_empty());
        appliance.fsck(true).await;
    })
    .await;
}

#[tokio::test]
async fn a_push_started_anew_goes_on_where_both_sides_were_killed() {
    within(LIMIT, async {
        let mut appliance = Appliance::start().await;
        let cli = appliance.cli();
        cli.login().await;
        cli.ok(&["mb", "films"]).await;
        let (path, sent) = noise(&cli, "large.bin", LARGE_BYTES);
        let arguments = ["push", path.to_str().unwrap(), "films:"];
        let mut push = cli.spawn(&arguments);
        under_way(&appliance).await;
        push.kill().await.unwrap();
        appliance.kill();
        appliance.restart().await;
        let uploads = appliance.client().all_uploads().await.unwrap();
        let kept: u64 = uploads.iter().map(|upload| upload.offset_bytes).sum();
        assert!(kept > 0, "nothing was kept");
        let nothing = appliance.client().object("films", "large.bin", None).await;
        assert!(nothing.unwrap().is_none(), "half an object is visible");

        let said = cli.json(&arguments).await;
        let pushed = said.iter().find(|line| line["type"] == "pushed").unwrap();
        assert_eq!(pushed["blake3"], sent.as_str(), "{pushed}");
        let again = pushed["sent_bytes"].as_u64().unwrap();
        assert_eq!(
            again,
            LARGE_BYTES as u64 - kept,
            "what was kept is not sent again"
        );
        assert_eq!(pulled(&cli, "large.bin").await, sent);
    })
    .await;
}

/// Creates an upload and returns its path.
async fn created(appliance: &Appliance, key: &str, size: usize) -> String {
    let metadata = format!(
        "bucket {},filename {}",
        STANDARD.encode("films"),
        STANDARD.encode(key)
    );
    let created = appliance
        .request(Method::POST, "/-/tus/")
        .header("Tus-Resumable", "1.0.0")
        .header("Upload-Length", size)
        .header("Upload-Metadata", metadata)
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 201);
    let location = created.headers()["location"].to_str().unwrap();
    location[location.find("/-/tus/").unwrap()..].to_owned()
}

/// An upload over raw tus whose body we let through piece by piece.
struct Slow {
    path: String,
    body: futures::channel::mpsc::Sender<Result<Bytes, std::io::Error>>,
    patch: tokio::task::JoinHandle<reqwest::Result<reqwest::Response>>,
}

impl Slow {
    async fn begin(appliance: &Appliance, key: &str, size: usize) -> Self {
        let path = created(appliance, key, size).await;
        let (body, pieces) = futures::channel::mpsc::channel(1);
        let patch = appliance
            .request(Method::PATCH, &path)
            .header("Tus-Resumable", "1.0.0")
            .header("Upload-Offset", 0)
            .header("Content-Type", "application/offset+octet-stream")
            .body(reqwest::Body::wrap_stream(pieces))
            .send();
        let patch = tokio::spawn(patch);
        Self { path, body, patch }
    }

    async fn send(&mut self, bytes: &[u8]) {
        use futures::SinkExt as _;
        let piece = Bytes::copy_from_slice(bytes);
        self.body.send(Ok(piece)).await.unwrap();
    }
}

async fn offset(appliance: &Appliance, path: &str) -> usize {
    let answer = appliance
        .request(Method::HEAD, path)
        .header("Tus-Resumable", "1.0.0")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let offset = answer.headers()["upload-offset"].to_str().unwrap();
    offset.parse().unwrap()
}

async fn finish(appliance: &Appliance, path: &str, from: usize, content: &[u8]) {
    let answer = appliance
        .request(Method::PATCH, path)
        .header("Tus-Resumable", "1.0.0")
        .header("Upload-Offset", from)
        .header("Content-Type", "application/offset+octet-stream")
        .body(content[from..].to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.headers()["upload-offset"], content.len().to_string());
}

#[tokio::test]
async fn sigterm_in_mid_upload_keeps_every_received_byte() {
    within(LIMIT, async {
        let setup = Setup::default().config("[server]\ndrain_s = 2\n");
        let mut appliance = setup.start().await;
        let content = Seed::new("sigterm").bytes(7 * MIB + 321);
        let arrived = 3 * MIB + 123;
        let films = nebula_client::api::CreateBucket {
            name: "films".into(),
            ..Default::default()
        };
        appliance.client().create_bucket(&films).await.unwrap();
        let mut slow = Slow::begin(&appliance, "film.bin", content.len()).await;
        slow.send(&content[..arrived]).await;
        let client = appliance.client();
        wait::until_async("the daemon has what we sent", async || {
            let uploads = client.all_uploads().await.unwrap();
            uploads[0].offset_bytes == arrived as u64
        })
        .await;

        // The body is still open: the daemon must end it, not wait for it.
        let status = appliance.stop().await;
        assert!(status.success(), "{status}");
        // Whatever the daemon answered, if anything: what counts is the offset.
        let _ = slow.patch.await;
        appliance.restart().await;
        assert_eq!(offset(&appliance, &slow.path).await, arrived);
        finish(&appliance, &slow.path, arrived, &content).await;
        let answer = appliance
            .get("/-/file/films/film.bin")
            .send()
            .await
            .unwrap();
        let back = answer.bytes().await.unwrap();
        assert_eq!(blake3::hash(&back), blake3::hash(&content));
    })
    .await;
}

/// What a client is told that is wrong twice, or speaks through a proxy that knows few methods.
#[tokio::test]
async fn the_offset_is_judged_before_the_size_and_the_named_method_is_the_one() {
    let mut appliance = Appliance::start().await;
    let films = nebula_client::api::CreateBucket {
        name: "films".into(),
        ..Default::default()
    };
    appliance.client().create_bucket(&films).await.unwrap();
    let path = created(&appliance, "small.bin", 5).await;
    let patch = |offset: &'static str, meant: Option<&'static str>, body: &'static str| {
        let mut request = appliance
            .request(Method::PATCH, &path)
            .header("tus-resumable", "1.0.0")
            .header("upload-offset", offset)
            .header("content-type", "application/offset+octet-stream")
            .body(body);
        if let Some(method) = meant {
            request = request.header("x-http-method-override", method);
        }
        request.send()
    };
    assert_eq!(patch("3", None, "hello").await.unwrap().status(), 409);
    assert_eq!(patch("0", None, "hello you").await.unwrap().status(), 413);
    patch("0", Some("HEAD"), "hello").await.unwrap();
    assert_eq!(offset(&appliance, &path).await, 0);
    assert_eq!(patch("0", None, "hello").await.unwrap().status(), 204);
    appliance.stop().await;
}
