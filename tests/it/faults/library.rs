//! Uploads by the library, many beside each other in one process.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use nebula_client::Client;
use nebula_client::api::CreateBucket;
use nebula_client::transfer::Step;
use nebula_client::upload::{self, Options, StateDir};
use nebula_tests::faults::{Fault, Middle, Wire};
use nebula_tests::{Appliance, Seed, within};

use super::{CHUNK_BYTES, HEAD_BYTES, LIMIT, kill_now_and_then, nothing_is_left, uploads};

/// Uploads when nobody says how many.
const UPLOADS: u64 = 200;
/// Uploads at once.
const AT_ONCE: usize = 32;

/// Most are small, some are many chunks long, a few are empty.
fn size(seed: &mut Seed) -> u64 {
    match seed.within(0, 100) {
        0..=2 => 0,
        3..=59 => seed.within(1, 64 << 10),
        60..=94 => seed.within(64 << 10, 768 << 10),
        _ => seed.within(1 << 20, 3 << 20),
    }
}

/// What one upload took.
struct Told {
    size_bytes: u64,
    sent_bytes: u64,
    /// Everything on the wire but an allowance for the heads.
    wire_bytes: u64,
    faults: u64,
    /// Connections that were refused, on which a body may have been begun.
    refused: u64,
    calls: u64,
    /// What the library said on its way, for a failure to be understood.
    steps: Vec<(Duration, Step)>,
}

struct Stage<'a> {
    node: &'a str,
    key: nebula_client::Credentials,
    files: &'a Path,
    states: &'a Path,
    /// How often the daemon was killed.
    kills: &'a AtomicU64,
}

impl Stage<'_> {
    async fn upload(&self, number: u64, mut seed: Seed) -> Told {
        let size_bytes = size(&mut seed);
        let path = self.files.join(format!("{number}.bin"));
        let content = seed.bytes(size_bytes as usize);
        let hash = blake3::hash(&content).to_hex().to_string();
        tokio::fs::write(&path, content).await.unwrap();
        let middle = match seed.within(0, 3) {
            0 => Some(Middle::odd(self.node, seed.split()).await),
            _ => None,
        };
        let node = middle
            .as_ref()
            .map_or(self.node.to_owned(), Middle::address);
        let wire = Wire::to(&node).await;
        for _ in 0..seed.within(0, 4) {
            let after = seed.within(0, size_bytes / 2 + 1500);
            wire.plan(after, Fault::random(&mut seed));
        }
        let client = Client::new(&wire.url(), Some(self.key.clone())).unwrap();
        let key = format!("{number}.bin");
        let options = Options {
            patch_bytes: CHUNK_BYTES,
            state: Some(StateDir::at(self.states)),
            ..Options::default()
        };
        let kills = self.kills.load(Ordering::SeqCst);
        let begun = Instant::now();
        let steps = Mutex::new(Vec::new());
        let note = |step| steps.lock().unwrap().push((begun.elapsed(), step));
        let mut calls = 0;
        let pushed = loop {
            calls += 1;
            let push = upload::push(&client, &path, "films", &key, &options, &note);
            // One in eight is broken off by its own user, once, and begun again.
            let stays = calls > 1 || seed.within(0, 8) > 0;
            let patience = Duration::from_millis(seed.within(1, 300));
            let ended = if stays {
                Some(push.await)
            } else {
                tokio::time::timeout(patience, push).await.ok()
            };
            match ended {
                Some(Ok(pushed)) => break pushed,
                None => {}
                // What asks once, before and after the upload, says so.
                Some(Err(error)) if error.is_passing() => {}
                Some(Err(error)) => panic!("{number}: {error}"),
            }
        };
        assert_eq!(pushed.blake3, hash, "{number}");
        let faults = wire.fired()
            + (calls - 1)
            + middle.as_ref().map_or(0, Middle::odd_requests)
            + self.kills.load(Ordering::SeqCst)
            - kills;
        tokio::fs::remove_file(&path).await.unwrap();
        Told {
            size_bytes,
            sent_bytes: pushed.sent_bytes,
            wire_bytes: wire
                .sent_bytes()
                .saturating_sub(wire.requests() * HEAD_BYTES),
            faults,
            refused: wire.refused(),
            calls,
            steps: steps.into_inner().unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_end_whatever_the_network_and_the_daemon_do() {
    within(LIMIT, async {
        let started = Instant::now();
        let of = uploads(UPLOADS);
        let mut seed = Seed::new("faults");
        let appliance = Appliance::start().await;
        let films = CreateBucket {
            name: "films".into(),
            ..CreateBucket::default()
        };
        appliance.client().create_bucket(&films).await.unwrap();
        let place = tempfile::tempdir().unwrap();
        let (files, states) = (place.path().join("files"), place.path().join("states"));
        std::fs::create_dir(&files).unwrap();
        let (ended, kills) = (AtomicU64::new(0), AtomicU64::new(0));
        let node = appliance.address().to_owned();
        let stage = Stage {
            node: &node,
            key: appliance.key().clone(),
            files: &files,
            states: &states,
            kills: &kills,
        };
        let killing = kill_now_and_then(appliance, seed.split(), &ended, &kills, of);
        let seeds: Vec<(u64, Seed)> = (0..of).map(|number| (number, seed.split())).collect();
        let uploading = futures::stream::iter(seeds)
            .map(async |(number, seed)| {
                let told = stage.upload(number, seed).await;
                ended.fetch_add(1, Ordering::SeqCst);
                (number, told)
            })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>();
        let (mut appliance, told) = tokio::join!(killing, uploading);

        let (mut size_bytes, mut wire_bytes, mut faults, mut calls) = (0, 0, 0, 0);
        for (number, one) in &told {
            let most = one.size_bytes + one.faults * CHUNK_BYTES;
            // What the library counts, it gave to connections, be they refused.
            let most_given = most + one.refused * CHUNK_BYTES;
            assert!(
                one.wire_bytes <= most && one.sent_bytes <= most_given,
                "{number}: {} bytes, {} on the wire of at most {most}, {} given to it of at most {most_given}: {:#?}",
                one.size_bytes,
                one.wire_bytes,
                one.sent_bytes,
                one.steps
            );
            size_bytes += one.size_bytes;
            wire_bytes += one.wire_bytes;
            faults += one.faults;
            calls += one.calls;
        }
        println!(
            "{of} uploads of {size_bytes} bytes in {:.1} s: {faults} faults met, the daemon killed {} times, {} begun again; \
             {wire_bytes} bytes of content on the wire",
            started.elapsed().as_secs_f64(),
            kills.load(Ordering::SeqCst),
            calls - of,
        );
        assert!(faults > of / 2, "this was hardly a test");
        nothing_is_left(&mut appliance).await;
    })
    .await;
}

#[tokio::test]
async fn a_creation_whose_answer_was_lost_is_found_again_by_its_key() {
    let appliance = Appliance::start().await;
    let films = CreateBucket {
        name: "films".into(),
        ..CreateBucket::default()
    };
    appliance.client().create_bucket(&films).await.unwrap();
    let wire = Wire::to(appliance.address()).await;
    let key = appliance.key();
    let create = async |url: String, idempotency_key: &str, length: u64| {
        reqwest::Client::new()
            .post(format!("{url}/-/tus/"))
            .basic_auth(&key.access_key, Some(&key.secret_key))
            .header("tus-resumable", "1.0.0")
            .header("upload-metadata", "bucket ZmlsbXM=,filename ZmlsbQ==")
            .header("upload-length", length)
            .header("idempotency-key", idempotency_key)
            .send()
            .await
    };
    wire.plan(100, Fault::LoseAnswer);
    let drawn = "0123456789abcdef0123456789abcdef";
    assert!(create(wire.url(), drawn, 5).await.is_err());
    let uploads = appliance.client().all_uploads().await.unwrap();
    assert_eq!(uploads.len(), 1, "it was made all the same");
    let again = create(wire.url(), drawn, 5).await.unwrap();
    assert_eq!(again.status(), 201);
    let location = again.headers()["location"].to_str().unwrap();
    assert!(location.ends_with(&uploads[0].id), "{location}");
    let other = create(wire.url(), "\"another-key-of-this-user\"", 5)
        .await
        .unwrap();
    assert_eq!(other.status(), 201);
    assert_eq!(appliance.client().all_uploads().await.unwrap().len(), 2);
    assert_eq!(create(wire.url(), drawn, 6).await.unwrap().status(), 409);
    assert_eq!(
        create(wire.url(), "guessable", 5).await.unwrap().status(),
        400
    );
}
