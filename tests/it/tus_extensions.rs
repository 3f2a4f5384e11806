//! What tus 1.0 adds to the plain upload: checksums that count all or not at all, and uploads made of others.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nebula_daemon::store::{ChecksumAlgorithm, Hashers};
use nebula_tests::{Appliance, Seed, wait, within};
use reqwest::{Method, Response};

/// For one test.
const LIMIT: Duration = Duration::from_mins(2);
const MIB: usize = 1 << 20;

/// `sha1 …` of some bytes.
fn sum(bytes: &[u8]) -> String {
    let mut hashers = Hashers::new(&[ChecksumAlgorithm::Sha1]);
    hashers.update(bytes);
    format!("sha1 {}", hashers.finish()[&ChecksumAlgorithm::Sha1])
}

async fn films(appliance: &Appliance) {
    let films = nebula_client::api::CreateBucket {
        name: "films".into(),
        ..Default::default()
    };
    appliance.client().create_bucket(&films).await.unwrap();
}

fn metadata(key: &str) -> String {
    let encoded = |text: &str| BASE64_STANDARD.encode(text);
    format!("bucket {},filename {}", encoded("films"), encoded(key))
}

async fn post(appliance: &Appliance, headers: &[(&str, String)]) -> Response {
    let mut request = appliance
        .request(Method::POST, "/-/tus/")
        .header("Tus-Resumable", "1.0.0");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    request.send().await.unwrap()
}

fn path(answer: &Response) -> String {
    assert_eq!(answer.status(), 201);
    let location = answer.headers()["location"].to_str().unwrap();
    location[location.find("/-/tus/").unwrap()..].to_owned()
}

fn patch(appliance: &Appliance, path: &str, offset: usize) -> reqwest::RequestBuilder {
    appliance
        .request(Method::PATCH, path)
        .header("Tus-Resumable", "1.0.0")
        .header("Upload-Offset", offset)
        .header("Content-Type", "application/offset+octet-stream")
}

/// One header of the answer to HEAD.
async fn told(appliance: &Appliance, path: &str, header: &str) -> Option<String> {
    let answer = appliance
        .request(Method::HEAD, path)
        .header("Tus-Resumable", "1.0.0")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let value = answer.headers().get(header)?;
    Some(value.to_str().unwrap().to_owned())
}

async fn partial(appliance: &Appliance, bytes: &[u8]) -> String {
    let headers = [
        ("Upload-Length", bytes.len().to_string()),
        ("Upload-Concat", "partial".to_owned()),
    ];
    let path = path(&post(appliance, &headers).await);
    let answer = patch(appliance, &path, 0).body(bytes.to_vec()).send();
    assert_eq!(answer.await.unwrap().status(), 204);
    path
}

async fn read(appliance: &Appliance, key: &str) -> Option<Vec<u8>> {
    let answer = appliance.get(&format!("/-/file/films/{key}")).send();
    let answer = answer.await.unwrap();
    match answer.status().as_u16() {
        // It is read while it arrives; there it is when it is whole.
        200 if answer.headers().contains_key("upload-complete") => None,
        200 => Some(answer.bytes().await.unwrap().to_vec()),
        404 => None,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_checked_body_counts_whole_or_not_at_all_over_a_kill_too() {
    within(LIMIT, async {
        let mut appliance = Appliance::start().await;
        films(&appliance).await;
        let content = Seed::new("checked").bytes(3 * MIB + 77);
        let headers = [
            ("Upload-Length", content.len().to_string()),
            ("Upload-Metadata", metadata("checked.bin")),
        ];
        let path = path(&post(&appliance, &headers).await);
        let (first, rest) = content.split_at(MIB + 5);
        let sent = patch(&appliance, &path, 0).body(first.to_vec()).send();
        assert_eq!(sent.await.unwrap().status(), 204);

        let wrong = patch(&appliance, &path, first.len())
            .header("Upload-Checksum", sum(b"other bytes"))
            .body(rest.to_vec());
        assert_eq!(wrong.send().await.unwrap().status(), 460);
        let offset = told(&appliance, &path, "upload-offset").await;
        assert_eq!(offset, Some(first.len().to_string()));

        // Half of a checked body is in the file when the daemon dies.
        let (mut half, pieces) = futures::channel::mpsc::channel::<std::io::Result<_>>(1);
        let running = patch(&appliance, &path, first.len())
            .header("Upload-Checksum", sum(rest))
            .body(reqwest::Body::wrap_stream(pieces))
            .send();
        let running = tokio::spawn(running);
        let piece = bytes::Bytes::copy_from_slice(&rest[..MIB]);
        futures::SinkExt::send(&mut half, Ok(piece)).await.unwrap();
        let blobs = appliance.data_dir().join("blobs");
        wait::until_async("the bytes are in the file", async || {
            largest(&blobs) >= (first.len() + MIB) as u64
        })
        .await;
        appliance.kill();
        assert!(running.await.unwrap().is_err());
        appliance.restart().await;
        let offset = told(&appliance, &path, "upload-offset").await;
        assert_eq!(offset, Some(first.len().to_string()));

        let right = patch(&appliance, &path, first.len())
            .header("Upload-Checksum", sum(rest))
            .body(rest.to_vec());
        assert_eq!(right.send().await.unwrap().status(), 204);
        assert!(read(&appliance, "checked.bin").await == Some(content));
        appliance.stop().await;
    })
    .await;
}

/// Whether a file below a folder begins with these bytes.
fn holds(folder: &std::path::Path, bytes: &[u8]) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        if entry.path().is_dir() {
            return holds(&entry.path(), bytes);
        }
        std::fs::read(entry.path()).is_ok_and(|found| found.starts_with(bytes))
    })
}

fn largest(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(what) if what.is_dir() => largest(&entry.path()),
        Ok(what) => what.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).max().unwrap_or(0)
}

#[tokio::test]
async fn partial_uploads_become_one_object_and_a_repeated_request_changes_nothing() {
    within(LIMIT, async {
        let mut appliance = Appliance::start().await;
        films(&appliance).await;
        let content = Seed::new("parts").bytes(2 * MIB + 9);
        let (a, b) = content.split_at(MIB + 1);
        let (a, b) = tokio::join!(partial(&appliance, a), partial(&appliance, b));
        assert_eq!(read(&appliance, "whole.bin").await, None);
        let headers = [
            ("Upload-Concat", format!("final;{a} {b}")),
            ("Upload-Metadata", metadata("whole.bin")),
        ];
        let whole = path(&post(&appliance, &headers).await);
        assert!(read(&appliance, "whole.bin").await == Some(content.clone()));
        assert_eq!(path(&post(&appliance, &headers).await), whole);
        let concat = told(&appliance, &whole, "upload-concat").await;
        assert_eq!(concat, Some(format!("final;{a} {b}")));
        let refused = patch(&appliance, &whole, content.len()).body("x").send();
        assert_eq!(refused.await.unwrap().status(), 403);

        // The parts may go: the object has its own hold on the bytes.
        for part in [&a, &b] {
            let gone = appliance
                .request(Method::DELETE, part)
                .header("Tus-Resumable", "1.0.0")
                .send();
            assert_eq!(gone.await.unwrap().status(), 204);
        }
        assert!(read(&appliance, "whole.bin").await == Some(content));
        assert!(appliance.stop().await.success());
        appliance.fsck(false).await;
    })
    .await;
}

#[tokio::test]
async fn a_final_upload_may_come_before_its_bytes() {
    within(LIMIT, async {
        let mut appliance = Appliance::start().await;
        films(&appliance).await;
        let first = partial(&appliance, b"hello ").await;
        let headers = [
            ("Upload-Length", "5".to_owned()),
            ("Upload-Concat", "partial".to_owned()),
        ];
        let second = path(&post(&appliance, &headers).await);
        let headers = [
            ("Upload-Concat", format!("final;{first} {second}")),
            ("Upload-Metadata", metadata("early.bin")),
        ];
        let whole = path(&post(&appliance, &headers).await);
        assert_eq!(told(&appliance, &whole, "upload-offset").await, None);
        assert_eq!(read(&appliance, "early.bin").await, None);
        let last = patch(&appliance, &second, 0).body("world").send();
        assert_eq!(last.await.unwrap().status(), 204);
        assert_eq!(
            read(&appliance, "early.bin").await.as_deref(),
            Some(&b"hello world"[..])
        );
        let offset = told(&appliance, &whole, "upload-offset").await;
        assert_eq!(offset.as_deref(), Some("11"));
        appliance.stop().await;
    })
    .await;
}

#[tokio::test]
async fn a_bucket_that_encrypts_encrypts_what_is_joined_too() {
    use aws_sdk_s3::types::{
        ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
        ServerSideEncryptionRule,
    };
    within(LIMIT, async {
        let mut appliance = Appliance::start().await;
        films(&appliance).await;
        let default = ServerSideEncryptionByDefault::builder()
            .sse_algorithm(ServerSideEncryption::Aes256)
            .build()
            .unwrap();
        let rule = ServerSideEncryptionRule::builder()
            .apply_server_side_encryption_by_default(default)
            .build();
        let rules = ServerSideEncryptionConfiguration::builder()
            .rules(rule)
            .build()
            .unwrap();
        appliance
            .s3()
            .put_bucket_encryption()
            .bucket("films")
            .server_side_encryption_configuration(rules)
            .send()
            .await
            .unwrap();
        let content = Seed::new("joined").bytes(MIB + 9);
        let (a, b) = content.split_at(MIB / 2);
        let (a, b) = (partial(&appliance, a).await, partial(&appliance, b).await);
        let headers = [
            ("Upload-Concat", format!("final;{a} {b}")),
            ("Upload-Metadata", metadata("joined.bin")),
        ];
        path(&post(&appliance, &headers).await);
        let head = appliance
            .s3()
            .head_object()
            .bucket("films")
            .key("joined.bin")
            .send()
            .await
            .unwrap();
        assert_eq!(
            head.server_side_encryption(),
            Some(&ServerSideEncryption::Aes256)
        );
        assert!(read(&appliance, "joined.bin").await.as_ref() == Some(&content));
        // The partial uploads were plain; they answer on, and their bytes are gone.
        assert_eq!(
            told(&appliance, &a, "upload-concat").await.as_deref(),
            Some("partial")
        );
        let blobs = appliance.data_dir().join("blobs");
        wait::until_async("the plaintext is gone", async || {
            !holds(&blobs, &content[..64]) && !holds(&blobs, &content[MIB / 2..][..64])
        })
        .await;
        assert!(appliance.stop().await.success());
        appliance.fsck(true).await;
    })
    .await;
}
