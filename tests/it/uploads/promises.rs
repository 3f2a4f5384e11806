//! What the engine promises whatever the protocol: take-over, reservation, expiry, ownership, progress, and an answer to everything.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use nebula_client::api::{CreateBucket, CreateKey, CreatedKey, Grant, PatchBucket, Quota, Role};
use nebula_tests::{Appliance, Seed, Setup, wait, within};
use reqwest::Method;

use super::{
    LIMIT, MIB, Slow, append, begin, content, early, house, of, offset, received, send, status,
};
use crate::bad_input::SmallDisk;

const PROTOCOLS: [&str; 2] = ["tus", "rufh"];
/// How soon a newer request has its answer.
const TAKE_OVER_MAX: Duration = Duration::from_millis(250);

#[tokio::test]
async fn a_newer_request_wins_within_a_quarter_of_a_second() {
    within(LIMIT, async {
        let mut appliance = house("").await;
        let bytes = Seed::new("taken over").bytes(9 * MIB);
        for protocol in PROTOCOLS {
            for method in ["HEAD", "PATCH", "DELETE"] {
                // The best of three: the promise is about the daemon, not about what else the machine does.
                let mut best = Duration::MAX;
                for round in 0..3 {
                    let key = format!("{protocol}-{method}-{round}");
                    let path = begin(&appliance, protocol, &key, bytes.len()).await;
                    let mut slow = Slow::append(&appliance, &path, 0);
                    slow.send(&bytes[..8 * MIB]).await;
                    wait::until_async("the bytes have come", async || {
                        received(&appliance, &path).await == 8 * MIB
                    })
                    .await;
                    let began = Instant::now();
                    match method {
                        "PATCH" => {
                            let rest = bytes[8 * MIB..].to_vec();
                            let answer = append(&appliance, &path, 8 * MIB, true, rest).await;
                            assert!(answer.status().is_success(), "{answer:?}");
                            best = best.min(began.elapsed());
                            assert!(content(&appliance, &key).await == Some(bytes.clone()));
                        }
                        "HEAD" => {
                            assert_eq!(offset(&appliance, &path).await, 8 * MIB);
                            best = best.min(began.elapsed());
                        }
                        _ => {
                            let answer = send(&appliance, method, &path, &[], "").await;
                            assert_eq!(answer.status(), 204);
                            best = best.min(began.elapsed());
                            let gone = send(&appliance, "HEAD", &path, &[], "").await;
                            assert_eq!(gone.status(), 404);
                        }
                    }
                    // The older request hears why, or finds its connection closed.
                    if let Ok(answer) = slow.answer.await.unwrap() {
                        assert!([404, 409].contains(&answer.status().as_u16()), "{answer:?}");
                    }
                }
                assert!(best < TAKE_OVER_MAX, "{protocol} {method}: {best:?}");
            }
        }
        assert!(appliance.stop().await.success());
        appliance.fsck(false).await;
    })
    .await;
}

#[tokio::test]
async fn the_last_space_of_a_disk_and_of_a_quota_is_promised_once() {
    within(LIMIT, async {
        let Some(disk) = SmallDisk::mount(128) else {
            return;
        };
        let mut appliance = Setup::default().data_dir(disk.path()).start().await;
        for (name, bytes) in [("films", None), ("small", Some(10 << 20))] {
            let bucket = CreateBucket {
                name: name.into(),
                ..CreateBucket::default()
            };
            appliance.client().create_bucket(&bucket).await.unwrap();
            let patch = PatchBucket {
                quota: bytes.map(|bytes| Quota {
                    size_bytes: Some(bytes),
                    ..Quota::default()
                }),
                ..PatchBucket::default()
            };
            let path = nebula_client::api::routes::bucket(name);
            let patched = appliance.request(Method::PATCH, &path).json(&patch).send();
            assert!(patched.await.unwrap().status().is_success());
        }
        for (bucket, length) in [("films", 60 * MIB), ("small", 6 * MIB)] {
            let length = length.to_string();
            let headers = [("Upload-Length", &*length), ("Upload-Complete", "?0")];
            let paths = [0, 1, 2].map(|n| format!("/-/upload/{bucket}/{n}"));
            let answers = paths
                .iter()
                .map(|path| send(&appliance, "POST", path, &headers, ""));
            let answers = futures::future::join_all(answers).await;
            let statuses: Vec<u16> = answers.iter().map(|a| a.status().as_u16()).collect();
            let won = answers.iter().filter(|answer| answer.status() == 201);
            let won: Vec<_> = won.map(super::location).collect();
            assert_eq!(won.len(), 1, "{bucket}: {statuses:?}");
            assert!(
                statuses.iter().all(|status| [201, 507].contains(status)),
                "{statuses:?}"
            );
            let refused = early(
                &appliance,
                "POST",
                &paths[0],
                &[("Content-Length", &length)],
            )
            .await;
            assert_eq!(
                status(&refused),
                507,
                "before the body, and other ways in too"
            );
            // What was promised is kept for it, and comes back when it is given up.
            let half = append(&appliance, &won[0], 0, false, vec![1; 5 * MIB]).await;
            assert_eq!(half.status(), 204);
            let ended = send(&appliance, "DELETE", &won[0], &[], "").await;
            assert_eq!(ended.status(), 204);
            let again = send(&appliance, "POST", &paths[1], &headers, "").await;
            assert_eq!(again.status(), 201, "{bucket}");
            let ended = send(&appliance, "DELETE", &super::location(&again), &[], "").await;
            assert_eq!(ended.status(), 204);
        }
        assert!(appliance.stop().await.success());
    })
    .await;
}

#[tokio::test]
async fn an_unfinished_upload_expires_and_a_finished_one_answers_on() {
    within(LIMIT, async {
        let mut appliance = house("[limits]\nupload_expiry_s = 1\n").await;
        for protocol in PROTOCOLS {
            let done = begin(&appliance, protocol, "done", 5).await;
            let answer = append(&appliance, &done, 0, true, "hello").await;
            assert!(answer.status().is_success());
            let left = begin(&appliance, protocol, "left", 5).await;
            // HEAD moves no expiry.
            wait::until_async("the upload is over", async || {
                send(&appliance, "HEAD", &left, &[], "").await.status() == 404
            })
            .await;
            let late = append(&appliance, &left, 0, true, "hello").await;
            assert_eq!(late.status(), 404);
            assert_eq!(offset(&appliance, &done).await, 5);
        }
        let uploads = appliance.client().all_uploads().await.unwrap();
        assert!(
            uploads.iter().all(|upload| upload.key == "left"),
            "{uploads:?}"
        );
        appliance.stop().await;
        // The start sweeps as well.
        appliance.restart().await;
        assert_eq!(appliance.client().all_uploads().await.unwrap(), []);
        assert!(appliance.stop().await.success());
        appliance.fsck(false).await;
    })
    .await;
}

pub(super) async fn key(appliance: &Appliance, bucket: &str, role: Role) -> CreatedKey {
    let body = CreateKey {
        name: format!("{} on {bucket}", role.as_str()),
        grants: vec![Grant {
            bucket: bucket.into(),
            role,
            prefixes: Vec::new(),
        }],
        ..CreateKey::default()
    };
    appliance.client().create_key(&body).await.unwrap()
}

#[tokio::test]
async fn an_upload_is_there_for_its_owner_alone_on_every_verb() {
    within(LIMIT, async {
        let mut appliance = house("").await;
        let owner = key(&appliance, "films", Role::Write).await;
        let other = key(&appliance, "films", Role::Read).await;
        let by = |key: Option<&CreatedKey>, method: &str, path: &str| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let mut request = reqwest::Client::new()
                .request(method, appliance.at(path))
                .header("Upload-Offset", "0")
                .header("Upload-Complete", "?0")
                .header("Upload-Length", "5");
            if path.starts_with("/-/tus") {
                let names = super::metadata(&[("bucket", "films"), ("filename", "mine")]);
                request = request
                    .header("Tus-Resumable", "1.0.0")
                    .header("Upload-Metadata", names)
                    .header("Content-Type", super::TUS);
            } else {
                request = request.header("Content-Type", super::RUFH);
            }
            if let Some(key) = key {
                request = request.basic_auth(&key.key.id, Some(&key.secret));
            }
            async move { request.send().await.unwrap() }
        };
        for create in ["/-/tus/", "/-/upload/films/mine"] {
            assert_eq!(by(None, "POST", create).await.status(), 401);
            let path = super::location(&by(Some(&owner), "POST", create).await);
            let id = path.rsplit('/').next().unwrap();
            assert!(id.len() >= 32, "guessed too easily: {id}");
            for method in ["HEAD", "PATCH", "DELETE"] {
                assert_eq!(
                    by(Some(&other), method, &path).await.status(),
                    404,
                    "{method}"
                );
                assert_eq!(by(None, method, &path).await.status(), 401, "{method}");
            }
            let told = format!("/-/api/v1/uploads/{id}");
            assert_eq!(by(Some(&other), "GET", &told).await.status(), 404);
            assert_eq!(by(Some(&owner), "GET", &told).await.status(), 200);
            assert_eq!(by(Some(&owner), "PATCH", &path).await.status(), 204);
            assert_eq!(by(Some(&owner), "DELETE", &path).await.status(), 204);
        }
        assert!(appliance.stop().await.success());
    })
    .await;
}

#[tokio::test]
async fn progress_is_told_while_bytes_arrive() {
    within(LIMIT, async {
        let mut appliance = house("[limits]\nupload_chunk_bytes = 1048576\n").await;
        let events = appliance.get("/-/api/v1/events").send().await.unwrap();
        let mut events = events.bytes_stream();
        let path = begin(&appliance, "tus", "film", 8 * MIB).await;
        let id = path.rsplit('/').next().unwrap();
        let mut slow = Slow::append(&appliance, &path, 0);
        let mut text = String::new();
        // Bytes keep coming until the stream has told of two different offsets.
        let mut offsets = Vec::new();
        let mut sent = 0;
        while offsets.len() < 2 {
            if sent < 7 * MIB {
                slow.send(&vec![1; 64 << 10]).await;
                sent += 64 << 10;
            }
            let next = tokio::time::timeout(Duration::from_millis(50), events.next());
            if let Ok(Some(piece)) = next.await {
                text.push_str(&String::from_utf8_lossy(&piece.unwrap()));
            }
            offsets = text
                .lines()
                .filter_map(|line| line.strip_prefix("data:"))
                .filter_map(|line| serde_json::from_str::<serde_json::Value>(line.trim()).ok())
                .filter(|event| event["type"] == "upload.progress" && event["upload"] == id)
                .map(|event| {
                    assert_eq!(
                        (&event["key"], &event["size_bytes"]),
                        (&"film".into(), &(8 * MIB).into())
                    );
                    event["offset_bytes"].as_u64().unwrap()
                })
                .collect();
        }
        assert!(
            offsets[0] < offsets[1] && offsets[1] <= sent as u64,
            "{offsets:?} of {sent}"
        );
        // The request goes on: nobody who only looks ends it.
        let told = appliance.get(&format!("/-/api/v1/uploads/{id}")).send();
        let told: nebula_client::api::Upload = told.await.unwrap().json().await.unwrap();
        assert!(told.is_receiving && told.bytes_per_s.is_some(), "{told:?}");
        let metrics = appliance.get("/-/metrics").send().await.unwrap();
        let metrics = metrics.text().await.unwrap();
        for line in [
            "nebula_uploads_active 1",
            "nebula_uploads_open 1",
            "nebula_uploads_stalled 0",
        ] {
            assert!(metrics.lines().any(|found| found == line), "{line}");
        }
        assert!(metrics.contains("nebula_uploads_received_bytes_total{protocol=\"tus\"}"));
        slow.answer.abort();

        // Behind a proxy that gathers bodies, clients are told to keep them small.
        let known = appliance.get("/.well-known/nebula").send().await.unwrap();
        let known: serde_json::Value = known.json().await.unwrap();
        assert_eq!(known["upload_chunk_bytes"], 1 << 20, "{known}");
        for path in ["/-/tus/", "/-/upload/films/x"] {
            let answer = send(&appliance, "OPTIONS", path, &[], "").await;
            let limit = of(&answer, "upload-limit");
            assert!(limit.contains("max-append-size=1048576"), "{path}: {limit}");
        }
        assert!(appliance.stop().await.success());
    })
    .await;
}

/// Headers that noise is made of.
const NAMES: [&str; 14] = [
    "Upload-Length",
    "Upload-Offset",
    "Upload-Defer-Length",
    "Upload-Concat",
    "Upload-Metadata",
    "Upload-Checksum",
    "Upload-Complete",
    "Content-Type",
    "X-HTTP-Method-Override",
    "Tus-Resumable",
    "Expect",
    "If-None-Match",
    "Trailer",
    "Upload-Draft-Interop-Version",
];
/// Values of them, sound and not.
const VALUES: [&str; 24] = [
    "0",
    "1",
    "5",
    "-1",
    "1048577",
    "99999999999999999999",
    "?0",
    "?1",
    "?2;a",
    "partial",
    "final;/-/tus/x",
    "final;",
    "sha1 AAAA",
    "crc32c yZRlqg==",
    "bucket ZmlsbXM=,filename eA==",
    "filename /w==",
    "a,,b",
    "application/offset+octet-stream",
    "application/partial-upload",
    "PATCH",
    "1.0.0",
    "*",
    "Upload-Checksum",
    "\u{fc}",
];

/// Whatever is asked, the answer is one of the protocol's.
#[tokio::test]
async fn no_request_is_answered_with_an_error_of_the_daemon() {
    within(LIMIT, async {
        let mut appliance = house("[limits]\nobject_bytes_max = 1048576\n").await;
        let mut seed = Seed::new("any request");
        let pick = |seed: &mut Seed, from: &[&str]| -> String {
            from[seed.within(0, from.len() as u64 - 1) as usize].to_owned()
        };
        let mut paths: Vec<String> = [
            "/-/tus/",
            "/-/tus",
            "/-/upload/films/x",
            "/-/upload/",
            "/-/upload/films/",
            "/-/tus/..%2f",
            "/-/upload/%ff/%00",
            "/-/tus/%",
        ]
        .map(str::to_owned)
        .to_vec();
        for round in 0..400 {
            let path = paths[seed.within(0, paths.len() as u64 - 1) as usize].clone();
            let method = pick(
                &mut seed,
                &[
                    "POST", "PATCH", "HEAD", "DELETE", "PUT", "GET", "OPTIONS", "PROPFIND",
                ],
            );
            let mut headers = vec![("Tus-Resumable", "1.0.0".to_owned())];
            for _ in 0..seed.within(0, 6) {
                headers.push((NAMES[seed.within(0, 13) as usize], pick(&mut seed, &VALUES)));
            }
            let body = seed.within(0, 12) as usize;
            let body = seed.bytes(body);
            let mut request = appliance
                .request(Method::from_bytes(method.as_bytes()).unwrap(), &path)
                .body(body);
            for (name, value) in &headers {
                let value = reqwest::header::HeaderValue::from_bytes(value.as_bytes()).unwrap();
                request = request.header(*name, value);
            }
            let Ok(answer) = request.send().await else {
                continue;
            };
            let status = answer.status().as_u16();
            assert!(
                status < 500,
                "round {round}: {method} {path} {headers:?}: {status}"
            );
            if status == 201 && paths.len() < 40 {
                let location = of(&answer, "location").to_owned();
                paths.push(location);
            }
        }
        assert!(paths.len() > 8, "some of it was a good request");
        assert!(!appliance.log().contains("panicked"));
        assert!(appliance.stop().await.success());
        appliance.fsck(true).await;
    })
    .await;
}

/// Bytes of a file that are in the page cache; `None` where nothing tells.
fn cached(file: &std::path::Path) -> Option<u64> {
    let told = std::process::Command::new("fincore")
        .args(["--bytes", "--noheadings", "--output", "RES"])
        .arg(file)
        .output()
        .ok()?;
    String::from_utf8_lossy(&told.stdout).trim().parse().ok()
}

#[tokio::test]
async fn a_long_upload_keeps_only_its_end_in_the_page_cache() {
    within(LIMIT, async {
        let mut appliance = house("").await;
        let bytes = Seed::new("page cache").bytes(MIB);
        let (pieces, most) = (96, 48 * MIB as u64);
        for protocol in PROTOCOLS {
            let path = begin(&appliance, protocol, protocol, pieces * MIB).await;
            let mut slow = Slow::append(&appliance, &path, 0);
            for _ in 0..pieces {
                slow.send(&bytes).await;
            }
            wait::until_async("the bytes have come", async || {
                received(&appliance, &path).await == pieces * MIB
            })
            .await;
            let file = largest_file(appliance.data_dir());
            if cached(&file).is_none() {
                println!("SKIPPED: no fincore (util-linux) to ask for the page cache");
                return;
            }
            wait::until_async("the cache has let go", async || {
                cached(&file).is_some_and(|bytes| bytes < most)
            })
            .await;
            let ended = send(&appliance, "DELETE", &path, &[], "").await;
            assert_eq!(ended.status(), 204);
            drop(slow);
        }
        assert!(appliance.stop().await.success());
    })
    .await;
}

fn largest_file(folder: &std::path::Path) -> std::path::PathBuf {
    let files = walk(folder);
    files.into_iter().max_by_key(|(size, _)| *size).unwrap().1
}

fn walk(folder: &std::path::Path) -> Vec<(u64, std::path::PathBuf)> {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    entries
        .flat_map(|entry| match entry.metadata() {
            Ok(what) if what.is_dir() => walk(&entry.path()),
            Ok(what) => vec![(what.len(), entry.path())],
            Err(_) => Vec::new(),
        })
        .collect()
}
