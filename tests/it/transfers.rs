//! `nebula push` and `nebula pull` against the real daemon: what they say they sent is what came, what is there is not sent again, and nothing of others is told.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use nebula_api::{ClaimContent, CreateKey, Grant, Role};
use nebula_client::{Client, Credentials};
use nebula_tests::faults::{Fault, Middle, Wire};
use nebula_tests::{Appliance, Cli, Ran, Seed, wait, within};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

/// For one test.
const LIMIT: Duration = Duration::from_mins(2);
/// Long enough to be caught in the middle.
const LARGE_BYTES: u64 = 192 << 20;
/// What requests and answers weigh beside the content.
const TALK_BYTES: u64 = 256 << 10;

/// An appliance, somebody who uses it, and the wire between them, which counts.
async fn house() -> (Appliance, Cli, Wire) {
    let house = Appliance::start().await;
    let wire = Wire::to(house.address()).await;
    let cli = house.cli_at(&wire.url());
    cli.login().await;
    cli.ok(&["mb", "films"]).await;
    (house, cli, wire)
}

fn noise(cli: &Cli, name: &str, bytes: u64) -> (PathBuf, Vec<u8>) {
    let path = cli.at(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let content = Seed::new(name).bytes(usize::try_from(bytes).unwrap());
    fs::write(&path, &content).unwrap();
    (path, content)
}

fn of_type<'a>(said: &'a [Value], kind: &str) -> Vec<&'a Value> {
    said.iter().filter(|line| line["type"] == kind).collect()
}

#[tokio::test]
async fn what_a_push_says_it_sent_is_what_came() {
    within(LIMIT, async {
        let (_house, cli, wire) = house().await;
        let mut total = 0;
        for (name, bytes) in [
            ("f/a.bin", 5 << 20),
            ("f/deep/b.bin", 300 << 10),
            ("f/.hidden", 10),
            ("f/empty", 0),
        ] {
            noise(&cli, name, bytes);
            total += bytes;
        }
        symlink(cli.at("f/deep/b.bin"), cli.at("f/linked.bin")).unwrap();
        symlink(cli.at("f"), cli.at("f/circle")).unwrap();
        let before = wire.sent_bytes();
        // One after the other, so that the link finds what it leads to there already.
        let said = cli.json(&["push", "f", "films:", "-n", "1"]).await;
        let came = wire.sent_bytes() - before;
        let all = of_type(&said, "total")[0];
        assert_eq!(all["files"], 5, "{all}");
        assert_eq!((&all["copied"], &all["left_out"]), (&1.into(), &1.into()));
        assert_eq!(all["sent_bytes"], total, "{all}");
        let each = of_type(&said, "pushed");
        let sum: u64 = each.iter().map(|p| p["sent_bytes"].as_u64().unwrap()).sum();
        assert_eq!(sum, total);
        assert!(
            (total..total + TALK_BYTES).contains(&came),
            "{came} of {total}"
        );
        let listed = cli.json(&["ls", "films:", "--recursive"]).await;
        let keys: Vec<&str> = listed.iter().filter_map(|o| o["key"].as_str()).collect();
        let want = [
            "f/.hidden",
            "f/a.bin",
            "f/deep/b.bin",
            "f/empty",
            "f/linked.bin",
        ];
        assert_eq!(keys, want);

        let before = wire.sent_bytes();
        let again = cli.json(&["push", "f", "films:"]).await;
        let all = of_type(&again, "total")[0];
        assert_eq!(
            (&all["was_there"], &all["sent_bytes"]),
            (&5.into(), &0.into())
        );
        assert!(wire.sent_bytes() - before < TALK_BYTES);

        // What was sent in vain is told as well; some of it may have been lost before it came.
        let (path, content) = noise(&cli, "cut.bin", 24 << 20);
        for _ in 0..3 {
            wire.plan(6 << 20, Fault::Cut);
        }
        let before = wire.sent_bytes();
        let said = cli.json(&["push", path.to_str().unwrap(), "films:"]).await;
        assert_eq!(wire.fired(), 3);
        let came = wire.sent_bytes() - before;
        let told = of_type(&said, "total")[0]["sent_bytes"].as_u64().unwrap();
        assert!(told >= content.len() as u64, "{told}");
        assert!(came <= told + TALK_BYTES, "{came} came of {told}");
    })
    .await;
}

/// A film whose index comes last, as cameras write them.
fn film(cli: &Cli, name: &str, bytes: u64, index: u64) -> (PathBuf, Vec<u8>) {
    let (path, mut content) = noise(cli, name, bytes);
    let media = bytes - index - 32;
    for (at, length, kind) in [
        (0, 32, b"ftyp"),
        (32, media, b"mdat"),
        (32 + media, index, b"moov"),
    ] {
        let at = usize::try_from(at).unwrap();
        content[at..at + 4].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        content[at + 4..at + 8].copy_from_slice(kind);
    }
    fs::write(&path, &content).unwrap();
    (path, content)
}

#[tokio::test]
async fn a_film_is_read_at_the_address_that_its_push_tells_before_it_is_whole() {
    within(LIMIT, async {
        let (house, cli, wire) = house().await;
        let (path, content) = film(&cli, "film.mp4", 96 << 20, 2 << 20);
        // It does not end while it is looked at.
        wire.plan(40 << 20, Fault::Stall(LIMIT));
        let arguments = [
            "push",
            path.to_str().unwrap(),
            "films:",
            "--json",
            "--lanes",
            "1",
        ];
        let mut push = cli
            .command(&arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(push.stdout.take().unwrap()).lines();
        let plays: Value = loop {
            let line = said
                .next_line()
                .await
                .unwrap()
                .expect("it tells of an address");
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["type"] == "plays" {
                break event;
            }
        };
        // A player has no key pair: it is a signed address.
        let address = plays["file"].as_str().unwrap();
        let read = async |from: usize, to: usize| {
            let range = format!("bytes={from}-{}", to - 1);
            let answer = reqwest::Client::new().get(address).header("Range", range);
            let answer = answer.send().await.unwrap();
            assert_eq!(answer.status(), 206);
            answer.bytes().await.unwrap() == content[from..to]
        };
        let end = content.len();
        assert!(read(end - 1000, end).await, "the index is there first");
        assert!(read(0, 1 << 20).await);
        let nothing = house.client().object("films", "film.mp4", None).await;
        assert!(nothing.unwrap().is_none(), "it is not whole yet");
        let uploads = house.client().all_uploads().await.unwrap();
        assert_eq!(uploads.len(), 1, "one line for all its parts: {uploads:?}");
        assert_eq!(uploads[0].size_bytes, Some(end as u64));
        assert!(
            uploads[0].is_receiving && uploads[0].offset_bytes > 1 << 20,
            "{uploads:?}"
        );
        push.kill().await.unwrap();

        // Given up, nothing of any part stays.
        cli.ok(&["uploads", "cancel", &uploads[0].id]).await;
        assert!(house.client().all_uploads().await.unwrap().is_empty());
        house.fsck(true).await;
    })
    .await;
}

#[tokio::test]
async fn a_push_through_a_proxy_that_loses_long_bodies_sends_short_ones() {
    within(LIMIT, async {
        let house = Appliance::start().await;
        let proxy = Middle::buffering(house.address()).await;
        let wire = Wire::to(&proxy.address()).await;
        let cli = house.cli_at(&wire.url());
        cli.login().await;
        cli.ok(&["mb", "films"]).await;
        let (path, content) = noise(&cli, "long.bin", 12 << 20);
        // What was not whole when it was cut has not arrived, all of it.
        for _ in 0..6 {
            wire.plan(5 << 20, Fault::Cut);
        }
        let said = cli.json(&["push", path.to_str().unwrap(), "films:"]).await;
        let less = of_type(&said, "sending_less");
        assert_eq!(less[0]["bytes"], 3 << 20, "{said:?}");
        let hash = blake3::hash(&content).to_hex().to_string();
        assert_eq!(of_type(&said, "pushed")[0]["blake3"], hash.as_str());
        house.fsck(true).await;
    })
    .await;
}

#[tokio::test]
async fn a_push_that_was_interrupted_says_how_to_go_on_and_does() {
    within(LIMIT, async {
        let (house, cli, wire) = house().await;
        let (path, content) = noise(&cli, "large file.bin", LARGE_BYTES);
        let before = wire.sent_bytes();
        let arguments = ["push", path.to_str().unwrap(), "films:"];
        let push = cli.spawn(&arguments);
        let client = house.client();
        wait::until_async("an upload is under way", async || {
            let uploads = client.all_uploads().await.unwrap();
            uploads.iter().any(|upload| upload.offset_bytes > 0)
        })
        .await;
        let pid = Pid::from_raw(push.id().unwrap().cast_signed()).unwrap();
        kill_process(pid, Signal::INT).unwrap();
        let ran = Ran::from(push.wait_with_output().await.unwrap());
        assert_eq!(ran.code, Some(130), "{ran:?}");
        let told = format!("nebula push '{}' films:", path.display());
        assert!(ran.stderr.contains(&told), "{ran:?}");

        let said = cli.json(&arguments).await;
        let pushed = of_type(&said, "pushed")[0];
        let hash = blake3::hash(&content).to_hex().to_string();
        assert_eq!(pushed["blake3"], hash.as_str());
        assert_eq!(pushed["verified"], "blake3");
        assert!(!of_type(&said, "resumed").is_empty(), "{said:?}");
        // What was under way when it ended is the bound: a chunk for each lane at most.
        let came = wire.sent_bytes() - before;
        assert!(came < LARGE_BYTES + (16 << 20), "{came}");
        assert!(house.client().all_uploads().await.unwrap().is_empty());
        let left = fs::read_dir(cli.at(".local/state/nebula/uploads")).unwrap();
        assert_eq!(left.count(), 0, "a journal is left");
        house.fsck(true).await;
    })
    .await;
}

#[tokio::test]
async fn content_that_is_there_is_copied_and_that_of_others_is_not_told_of() {
    within(LIMIT, async {
        let (house, cli, wire) = house().await;
        cli.ok(&["mb", "theirs"]).await;
        let (path, content) = noise(&cli, "film.bin", 6 << 20);
        let path = path.to_str().unwrap();
        cli.ok(&["push", path, "films:"]).await;
        let before = wire.sent_bytes();
        let said = cli.json(&["push", path, "films:again.bin"]).await;
        assert_eq!(of_type(&said, "pushed")[0]["copied"], true, "{said:?}");
        assert!(wire.sent_bytes() - before < TALK_BYTES);

        // Who may read nothing of it has to send it, and hears of it no more than of what is nowhere.
        let stranger = stranger(&house, "theirs").await;
        let claim = ClaimContent {
            bucket: "theirs".into(),
            key: "mine.bin".into(),
            size_bytes: content.len() as u64,
            ..ClaimContent::default()
        };
        let there = blake3::hash(&content).to_hex();
        for hash in [there.as_str(), &"0".repeat(64)] {
            let claimed = stranger.claim_content(hash, &claim).await.unwrap();
            assert!(claimed.is_none(), "{hash}: {claimed:?}");
        }
        // Nor may anybody claim into a bucket that is not theirs.
        let elsewhere = ClaimContent {
            bucket: "films".into(),
            ..claim.clone()
        };
        let refused = stranger.claim_content(&there, &elsewhere).await;
        assert!(
            matches!(refused, Err(nebula_client::Error::Refused(_))),
            "{refused:?}"
        );
        // Content by a hash of another length than it has is none.
        let longer = ClaimContent {
            size_bytes: claim.size_bytes + 1,
            ..claim.clone()
        };
        assert!(
            house
                .client()
                .claim_content(&there, &longer)
                .await
                .unwrap()
                .is_none()
        );
        let mine = house.client().claim_content(&there, &claim).await.unwrap();
        assert_eq!(mine.unwrap().blake3.as_deref(), Some(there.as_str()));
        house.fsck(true).await;
    })
    .await;
}

/// A key that may write to one bucket.
async fn stranger(house: &Appliance, bucket: &str) -> Client {
    let key = CreateKey {
        name: "stranger".into(),
        grants: vec![Grant {
            bucket: bucket.into(),
            role: Role::Write,
            prefixes: Vec::new(),
        }],
        ..CreateKey::default()
    };
    let made = house.client().create_key(&key).await.unwrap();
    let pair = Credentials {
        access_key: made.key.id,
        secret_key: made.secret,
    };
    Client::new(&house.url(), Some(pair)).unwrap()
}

#[tokio::test]
async fn streams_go_in_and_out_without_a_length() {
    within(LIMIT, async {
        let (_house, cli, _wire) = house().await;
        let content = Seed::new("a stream").bytes(20 << 20);
        let mut push = cli.command(&["push", "-", "films:stream.bin", "--json"]);
        let mut push = push
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = push.stdin.take().unwrap();
        input.write_all(&content).await.unwrap();
        drop(input);
        let ran = Ran::from(push.wait_with_output().await.unwrap());
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let last: Value = serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap();
        assert_eq!(last["sent_bytes"], 20 << 20);
        let pull = cli.command(&["pull", "films:stream.bin", "-"]).output();
        assert!(pull.await.unwrap().stdout == content);
        let folder = cli.run(&["pull", "films:", "-"]).await;
        assert_eq!(folder.code, Some(2), "{folder:?}");
    })
    .await;
}

#[tokio::test]
async fn a_pull_that_was_killed_goes_on_and_keeps_the_time_of_the_file() {
    within(LIMIT, async {
        let (_house, cli, _wire) = house().await;
        let (path, content) = noise(&cli, "large.bin", LARGE_BYTES);
        let then = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 250_000_000);
        fs::File::open(&path).unwrap().set_modified(then).unwrap();
        cli.ok(&["push", path.to_str().unwrap(), "films:"]).await;
        let arguments = ["pull", "films:large.bin", "back.bin"];
        let mut pull = cli.spawn(&arguments);
        let is_state = |entry: fs::DirEntry| {
            let is_it = entry.file_name().to_string_lossy().ends_with(".part.state");
            is_it && entry.metadata().is_ok_and(|meta| meta.len() > 2000)
        };
        wait::until_async("some of it is here", async || {
            fs::read_dir(cli.home()).unwrap().flatten().any(is_state)
        })
        .await;
        pull.kill().await.unwrap();
        assert!(
            !cli.at("back.bin").exists(),
            "it was too quick to be killed"
        );
        let said = cli.json(&arguments).await;
        let pulled = of_type(&said, "pulled")[0];
        assert_eq!(pulled["verified"], "blake3");
        assert!(
            pulled["received_bytes"].as_u64().unwrap() < LARGE_BYTES,
            "{pulled}"
        );
        assert!(fs::read(cli.at("back.bin")).unwrap() == content);
        let back = fs::metadata(cli.at("back.bin")).unwrap();
        assert_eq!(back.modified().unwrap(), then);
        let left = fs::read_dir(cli.home()).unwrap().flatten();
        let mut left = left.filter(|e| e.file_name().to_string_lossy().contains(".part"));
        assert!(left.next().is_none());
    })
    .await;
}
