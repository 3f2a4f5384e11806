//! tus clients of others against the real daemon: tus-js-client in Node, Uppy in Chromium, `tus_async_client` in Rust, each as their users use them.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use nebula_client::api::CreateBucket;
use nebula_tests::browser::{self, CHROMIUM};
use nebula_tests::faults::{Fault, Middle, Wire};
use nebula_tests::{Appliance, Seed, Setup, foreign, within};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;

/// For one test.
const LIMIT: Duration = Duration::from_mins(2);
const MIB: u64 = 1 << 20;
/// Eight pieces of what the scripts send at once, and a bit.
const FILE_BYTES: u64 = 8 * MIB + 12_345;

struct Stage {
    appliance: Appliance,
    place: tempfile::TempDir,
    file: PathBuf,
    hash: blake3::Hash,
}

impl Stage {
    async fn set(of: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        Self::set_with(Setup::default(), place, of).await
    }

    async fn set_with(setup: Setup, place: tempfile::TempDir, of: &str) -> Self {
        let appliance = setup.start().await;
        let films = CreateBucket {
            name: "films".into(),
            ..CreateBucket::default()
        };
        appliance.client().create_bucket(&films).await.unwrap();
        let file = place.path().join("film.bin");
        let content = Seed::new(of).bytes(FILE_BYTES as usize);
        std::fs::write(&file, &content).unwrap();
        Self {
            appliance,
            place,
            file,
            hash: blake3::hash(&content),
        }
    }

    fn authorization(&self) -> String {
        let key = self.appliance.key();
        let pair = format!("{}:{}", key.access_key, key.secret_key);
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }

    /// One story of the script, and what it told; `None` when it was killed before it could end.
    async fn tells(&self, scripts: &Path, story: &str, key: &str, origin: &str) -> Value {
        let mut script = browser::script(scripts, "tus.mjs");
        script
            .arg(story)
            .arg(format!("{origin}/-/tus/"))
            .arg(self.authorization())
            .arg(&self.file)
            .arg(key)
            .arg(self.place.path().join("storage.json"));
        Self::told(story, script).await
    }

    /// What a program told of a story.
    async fn told(story: &str, mut program: Command) -> Value {
        let output = program.output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        // The one that kills itself has told before.
        let well = output.status.success() || output.status.code().is_none();
        assert!(well, "{story}: {said}");
        let told = serde_json::from_slice(&output.stdout);
        let told = told.unwrap_or_else(|e| panic!("{story}: {e}: {said}"));
        println!("{story}: {told}");
        told
    }

    async fn has(&self, key: &str) {
        let answer = self.appliance.get(&format!("/-/file/films/{key}")).send();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200, "{key}");
        let back = answer.bytes().await.unwrap();
        assert_eq!(blake3::hash(&back), self.hash, "{key}");
    }

    /// Nothing is left of any upload.
    async fn ends(mut self) {
        let left = self.appliance.client().all_uploads().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
        assert!(self.appliance.stop().await.success());
        self.appliance.fsck(true).await;
    }
}

fn offsets(told: &Value) -> Vec<u64> {
    let patches = told["patches"].as_array().unwrap();
    patches.iter().map(|at| at.as_u64().unwrap()).collect()
}

/// A fault costs the piece that it hit, and nothing that had arrived before.
fn stays_within_the_bound(wire: &Wire) {
    let most = FILE_BYTES + wire.fired() * MIB + wire.requests() * 2048;
    assert!(wire.sent_bytes() <= most, "{} of {most}", wire.sent_bytes());
}

#[tokio::test]
async fn tus_js_client_aborts_resumes_parallelises_and_defers() {
    within(LIMIT, async {
        let Some(scripts) = foreign::tus_js_client() else {
            return;
        };
        let stage = Stage::set("tus-js-client").await;
        let origin = stage.appliance.url();
        let tells = async |story: &str| {
            let key = format!("{story}.bin");
            let told = stage.tells(&scripts, story, &key, &origin).await;
            stage.has(&key).await;
            told
        };
        let told = tells("abort").await;
        let stopped = told["aborted_at"].as_u64().unwrap();
        let offsets = offsets(&told);
        let again = offsets.iter().filter(|at| **at >= stopped).count() as u64;
        assert_eq!(told["creations"], 1, "it goes on with the same upload");
        assert!(again >= (FILE_BYTES - stopped) / MIB, "{told}");
        assert!(
            offsets.windows(2).all(|two| two[0] < two[1]),
            "nothing is sent twice: {told}"
        );

        let told = tells("parallel").await;
        assert_eq!(told["creations"], 5, "four parts and the whole: {told}");
        let told = tells("deferred").await;
        assert_eq!(told["creations"], 1);
        stage.ends().await;
    })
    .await;
}

#[tokio::test]
async fn tus_js_client_goes_on_after_its_process_was_killed() {
    within(LIMIT, async {
        let Some(scripts) = foreign::tus_js_client() else {
            return;
        };
        let mut stage = Stage::set("tus-js-client killed").await;
        let origin = stage.appliance.url();
        stage.tells(&scripts, "leave", "left.bin", &origin).await;
        // The node's process dies as well; the address is all that both need.
        stage.appliance.kill();
        stage.appliance.restart().await;
        let told = stage.tells(&scripts, "reload", "left.bin", &origin).await;
        assert_eq!(
            (&told["previous"], &told["creations"]),
            (&json!(1), &json!(0))
        );
        assert!(offsets(&told)[0] >= FILE_BYTES / 2, "{told}");
        stage.has("left.bin").await;

        stage
            .tells(&scripts, "terminate", "given-up.bin", &origin)
            .await;
        let answer = stage.appliance.get("/-/file/films/given-up.bin").send();
        assert_eq!(answer.await.unwrap().status(), 404);
        stage.ends().await;
    })
    .await;
}

#[tokio::test]
async fn tus_js_client_retries_over_a_bad_wire_and_a_buffering_proxy() {
    within(LIMIT, async {
        let Some(scripts) = foreign::tus_js_client() else {
            return;
        };
        let stage = Stage::set("tus-js-client retries").await;
        let middle = Middle::buffering(stage.appliance.address()).await;
        for (key, node) in [
            ("wire.bin", stage.appliance.address().to_owned()),
            ("middle.bin", middle.address()),
        ] {
            let wire = Wire::to(&node).await;
            // After the creation, whose lost answer no client of plain tus can mend.
            wire.plan(MIB + MIB / 2, Fault::Cut);
            wire.plan(MIB, Fault::LoseAnswer);
            wire.plan(MIB, Fault::Stall(Duration::from_millis(200)));
            wire.plan(MIB, Fault::Truncate);
            wire.plan(MIB, Fault::Refuse(2));
            let told = stage.tells(&scripts, "retry", key, &wire.url()).await;
            assert_eq!(wire.fired(), 5);
            assert!(told["retries"].as_u64().unwrap() >= 4, "{told}");
            stays_within_the_bound(&wire);
            stage.has(key).await;
        }
        stage.ends().await;
    })
    .await;
}

#[tokio::test]
async fn tus_async_client_goes_on_over_a_bad_wire_and_terminates() {
    within(LIMIT, async {
        let Some(program) = foreign::tus_async_client() else {
            return;
        };
        let stage = Stage::set("tus_async_client").await;
        let wire = Wire::to(stage.appliance.address()).await;
        wire.plan(MIB + MIB / 2, Fault::Cut);
        wire.plan(MIB, Fault::LoseAnswer);
        wire.plan(MIB, Fault::Truncate);
        let tells = async |story: &str, key: &str| {
            let mut command = Command::new(&program);
            command
                .env("AUTHORIZATION", stage.authorization())
                .args([story, &format!("{}/-/tus/", wire.url())])
                .arg(&stage.file)
                .args(["films", key]);
            Stage::told(story, command).await
        };
        let told = tells("upload", "wire.bin").await;
        assert_eq!(wire.fired(), 3);
        assert!(told["tries"].as_u64().unwrap() > 1, "{told}");
        assert_eq!(told["bytes"], FILE_BYTES, "{told}");
        assert_eq!(told["length"], FILE_BYTES, "{told}");
        stays_within_the_bound(&wire);
        stage.has("wire.bin").await;

        let told = tells("terminate", "given-up.bin").await;
        assert_eq!(told, json!({"before": 0, "gone": true}));
        stage.ends().await;
    })
    .await;
}

#[tokio::test]
async fn uppy_pauses_resumes_and_goes_on_after_a_reload() {
    within(LIMIT, async {
        let Some(scripts) = browser::scripts("@uppy/tus") else {
            return;
        };
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("film.bin");
        let mut page = browser::script(&scripts, "uppy.mjs")
            .args([CHROMIUM.as_ref(), file.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(page.stdout.take().unwrap()).lines();
        let origin = said.next_line().await.unwrap().unwrap();
        let trusting = format!("[server]\ntrusted_origins = [\"{origin}\"]\n");
        let stage = Stage::set_with(Setup::default().config(&trusting), place, "uppy").await;
        let endpoint = stage.appliance.at("/-/tus/");
        let words = format!("{endpoint}\n{}\n", stage.authorization());
        let mut ear = page.stdin.take().unwrap();
        ear.write_all(words.as_bytes()).await.unwrap();
        drop(ear);
        let told = said.next_line().await.unwrap();
        let output = page.wait_with_output().await.unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaints}");
        let told: Value = serde_json::from_str(&told.unwrap()).unwrap();
        println!("uppy: {told}");
        assert_eq!(told["errors"], json!([]), "{told}");
        for story in ["paused", "left"] {
            assert_eq!(
                told[story]["done"],
                json!({"well": 1, "badly": 0}),
                "{told}"
            );
            stage.has(&format!("{story}.bin")).await;
        }
        let after = offsets(&told["left"]);
        assert!(after[0] >= FILE_BYTES / 2, "it does not begin anew: {told}");
        stage.ends().await;
    })
    .await;
}
