//! Uploads by `nebula push` itself, which is killed too and typed again, as a person would.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use nebula_client::api::CreateBucket;
use nebula_tests::faults::{Fault, Middle, Wire};
use nebula_tests::{Cli, Ran, Seed, Setup, wait, within};
use serde_json::Value;

use super::{CHUNK_BYTES, HEAD_BYTES, LIMIT, kill_now_and_then, nothing_is_left, uploads};

/// Uploads when nobody says how many.
const UPLOADS: u64 = 80;
/// Commands at once.
const AT_ONCE: usize = 16;
/// The most lanes of one file.
const LANES: u64 = 8;
/// From here on a file is sent in parts.
const PARTS_FROM_BYTES: u64 = 64 << 20;
/// What a person waits for at most before the command is killed.
const KILLED_WITHIN_MS: u64 = 600;

/// What is sent.
struct File {
    path: PathBuf,
    blake3: String,
    size_bytes: u64,
    /// How many requests a fault may cost at the same time.
    lanes: u64,
}

/// What it took.
struct Told {
    size_bytes: u64,
    lanes: u64,
    /// Everything on the wire but an allowance for the heads.
    wire_bytes: u64,
    faults: u64,
    kills: u64,
}

struct Stage<'a> {
    appliance: &'a str,
    client: nebula_client::Client,
    key: nebula_client::Credentials,
    cli: Cli,
    /// How often the daemon was killed.
    kills: &'a AtomicU64,
}

impl Stage<'_> {
    /// Most are small, some are many chunks long, a few are empty; some are films with their index last, and one in a hundred goes over many lanes.
    fn file(&self, number: u64, seed: &mut Seed) -> File {
        let (size_bytes, kind) = match number % 100 {
            7 => (PARTS_FROM_BYTES + seed.within(0, 4 << 20), "bin"),
            _ => match seed.within(0, 100) {
                0..=2 => (0, "bin"),
                3..=49 => (seed.within(1, 64 << 10), "bin"),
                50..=89 => (seed.within(64 << 10, 768 << 10), "bin"),
                90..=95 => (seed.within(1 << 20, 3 << 20), "bin"),
                _ => (seed.within(9 << 20, 10 << 20), "mp4"),
            },
        };
        let mut content = seed.bytes(size_bytes as usize);
        if kind == "mp4" {
            let media = seed.within(8 << 20, size_bytes - 100);
            let boxes = [
                (0, 32, b"ftyp"),
                (32, media, b"mdat"),
                (32 + media, size_bytes - 32 - media, b"moov"),
            ];
            for (at, length, name) in boxes {
                let at = at as usize;
                content[at..at + 4].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
                content[at + 4..at + 8].copy_from_slice(name);
            }
        }
        let path = self.cli.at(&format!("{number}.{kind}"));
        std::fs::write(&path, &content).unwrap();
        File {
            path,
            blake3: blake3::hash(&content).to_hex().to_string(),
            size_bytes,
            lanes: if kind == "mp4" || size_bytes >= PARTS_FROM_BYTES {
                LANES
            } else {
                1
            },
        }
    }

    async fn upload(&self, number: u64, mut seed: Seed) -> Told {
        let file = self.file(number, &mut seed);
        let middle = match seed.within(0, 3) {
            0 => Some(Middle::odd(self.appliance, seed.split()).await),
            _ => None,
        };
        let behind = middle
            .as_ref()
            .map_or(self.appliance.to_owned(), Middle::address);
        let wire = Wire::to(&behind).await;
        for _ in 0..seed.within(0, 4) {
            let after = seed.within(0, file.size_bytes / 2 + 1500);
            wire.plan(after, Fault::random(&mut seed));
        }
        let before = self.kills.load(Ordering::SeqCst);
        let to_be_killed = [0, 0, 0, 1, 2][seed.within(0, 5) as usize];
        let mut kills = 0;
        let mut faults = 0;
        let said = loop {
            let path = file.path.to_str().unwrap();
            let mut push = self
                .cli
                .command(&["push", path, "films:", "--json"])
                .env("NEBULA_URL", wire.url())
                .env("NEBULA_ACCESS_KEY", &self.key.access_key)
                .env("NEBULA_SECRET_KEY", &self.key.secret_key)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            if kills < to_be_killed {
                let patience = Duration::from_millis(seed.within(1, KILLED_WITHIN_MS));
                if tokio::time::timeout(patience, push.wait()).await.is_err() {
                    push.kill().await.unwrap();
                    kills += 1;
                    continue;
                }
            }
            let ran = Ran::from(push.wait_with_output().await.unwrap());
            match ran.code {
                Some(0) => break ran.stdout,
                // Before anything is sent, a node that cannot be reached is told at once.
                Some(5) => faults += 1,
                _ => panic!("{number}: {ran:?}"),
            }
        };
        let total: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        assert_eq!(
            (&total["type"], &total["files"]),
            (&"total".into(), &1.into()),
            "{total}"
        );
        let name = file.path.file_name().unwrap().to_str().unwrap();
        self.see(name, &file).await;
        faults += wire.fired()
            + kills
            + middle.as_ref().map_or(0, Middle::odd_requests)
            + self.kills.load(Ordering::SeqCst)
            - before;
        std::fs::remove_file(&file.path).unwrap();
        let heads = wire.requests() * HEAD_BYTES;
        Told {
            size_bytes: file.size_bytes,
            lanes: file.lanes,
            wire_bytes: wire.sent_bytes().saturating_sub(heads),
            faults,
            kills,
        }
    }

    /// The object is there, byte for byte; a large one is removed again, as disks are not endless.
    async fn see(&self, key: &str, file: &File) {
        wait::until_async("the node tells of the object", async || {
            match self.client.object("films", key, None).await {
                Ok(object) => {
                    let object = object.unwrap_or_else(|| panic!("{key} is not there"));
                    assert_eq!(object.object.size_bytes, file.size_bytes, "{key}");
                    assert_eq!(
                        object.blake3.as_deref(),
                        Some(file.blake3.as_str()),
                        "{key}"
                    );
                    true
                }
                Err(error) => {
                    assert!(error.is_passing(), "{key}: {error}");
                    false
                }
            }
        })
        .await;
        if file.size_bytes > 1 << 20 {
            wait::until_async("the node deletes the object", async || {
                self.client.delete_object("films", key, None).await.is_ok()
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_end_whatever_happens_to_the_network_the_daemon_and_the_command() {
    within(LIMIT, async {
        let started = Instant::now();
        let of = uploads(UPLOADS);
        let mut seed = Seed::new("faults of push");
        let limits = format!("[limits]\nupload_chunk_bytes = {CHUNK_BYTES}\n");
        let appliance = Setup::default().config(&limits).start().await;
        let films = CreateBucket {
            name: "films".into(),
            ..CreateBucket::default()
        };
        appliance.client().create_bucket(&films).await.unwrap();
        let (ended, kills) = (AtomicU64::new(0), AtomicU64::new(0));
        let address = appliance.address().to_owned();
        let stage = Stage {
            appliance: &address,
            client: appliance.client(),
            key: appliance.key().clone(),
            cli: appliance.cli(),
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

        let (mut size_bytes, mut wire_bytes, mut faults, mut killed) = (0, 0, 0, 0);
        for (number, one) in &told {
            let most = one.size_bytes + one.faults * CHUNK_BYTES * one.lanes;
            let sent = one.wire_bytes;
            assert!(sent <= most, "{number}: sent {sent} of at most {most}, {} faults", one.faults);
            size_bytes += one.size_bytes;
            wire_bytes += one.wire_bytes;
            faults += one.faults;
            killed += one.kills;
        }
        println!(
            "{of} pushes of {size_bytes} bytes in {:.1} s: {faults} faults met, the daemon killed {} times, the command {killed} times; \
             {wire_bytes} bytes of content on the wire",
            started.elapsed().as_secs_f64(),
            kills.load(Ordering::SeqCst),
        );
        assert!(faults > of / 2 && killed > of / 20, "this was hardly a test");
        let journals = stage.cli.at(".local/state/nebula/uploads");
        assert_eq!(std::fs::read_dir(journals).unwrap().count(), 0, "a journal is left");
        nothing_is_left(&mut appliance).await;
    })
    .await;
}
