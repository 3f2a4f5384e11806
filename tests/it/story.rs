//! The main story, told with the real programs: a film is pushed, plays within a second of its last byte, gets its
//! smaller rungs at the same address, is fetched back equal, and goes.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nebula_client::api::{AssetState, CreateLink, JobState, JobsQuery, routes};
use nebula_tests::postgres::Postgres;
use nebula_tests::{Appliance, Cli, Setup, films, wait, within};
use serde_json::Value;

/// For the whole story.
const LIMIT: Duration = Duration::from_mins(5);
/// For the ladder, on a machine that does much else.
const LADDER_LIMIT: Duration = Duration::from_mins(3);
/// The promise is a second, on a quiet machine and an optimised build. This is neither; the figure is printed.
const PLAYABLE_MS_MAX: i64 = 10_000;
const KEY: &str = "film.mp4";

#[tokio::test]
async fn a_film_on_sqlite() {
    within(LIMIT, story(Setup::default())).await;
}

#[tokio::test]
async fn a_film_on_postgres() {
    let Some(server) = Postgres::start() else {
        return;
    };
    within(LIMIT, story(Setup::default().database(&server.url()))).await;
}

async fn story(setup: Setup) {
    let Some(film) = films::large() else { return };
    let content = std::fs::read(&film).unwrap();
    let mut appliance = setup.start().await;
    let cli = appliance.cli();
    cli.login().await;
    cli.ok(&["mb", "films"]).await;

    let (pushed, playable_at_ms) = tokio::join!(push(&cli, &film), playable(&appliance, KEY));
    let hash = blake3::hash(&content).to_hex();
    assert_eq!(pushed["blake3"], hash.as_str(), "{pushed}");
    let client = appliance.client();
    let details = client.object("films", KEY, None).await.unwrap().unwrap();
    let took_ms = playable_at_ms - details.object.modified_at_ms;
    println!("playable {took_ms} ms after the last byte");
    assert!(took_ms < PLAYABLE_MS_MAX, "playable after {took_ms} ms");

    said_by_the_client(&cli, content.len()).await;
    ranges(&appliance, &content).await;
    rungs(&appliance, &["720p", "480p"]).await;
    link(&appliance).await;
    by_aws(&appliance).await;

    let back = cli.at("back.mp4");
    cli.ok(&["pull", "films:film.mp4", back.to_str().unwrap()])
        .await;
    assert_eq!(blake3::hash(&std::fs::read(&back).unwrap()).to_hex(), hash);
    cli.ok(&["rm", "films:film.mp4"]).await;
    assert_eq!(cli.run(&["url", "films:film.mp4"]).await.code, Some(6));
    for path in [routes::file("films", KEY), routes::hls_master("films", KEY)] {
        let gone = appliance.get(&path).send().await.unwrap();
        assert_eq!(gone.status(), 404, "{path}");
    }
    let status = appliance.stop().await;
    assert!(status.success(), "{status}");
    appliance.fsck(true).await;
}

async fn push(cli: &Cli, film: &Path) -> Value {
    let to = format!("films:{KEY}");
    let said = cli.json(&["push", film.to_str().unwrap(), &to]).await;
    let pushed = said.into_iter().find(|line| line["type"] == "pushed");
    pushed.expect("the push says how it went")
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_millis() as i64
}

/// Asks as a player does until the first segment of the first variant comes, and says when that was.
async fn playable(appliance: &Appliance, key: &str) -> i64 {
    let master = routes::hls_master("films", key);
    let mut at = 0;
    wait::patiently(LADDER_LIMIT, "the film plays", async || {
        let answer = appliance.get(&master).send().await.unwrap();
        if !answer.status().is_success() {
            return false;
        }
        let text = answer.text().await.unwrap();
        let variants = addresses(&text);
        let variant = beside(&master, variants.first().expect("a variant"));
        let playlist = appliance.get(&variant).send().await.unwrap();
        assert_eq!(playlist.status(), 200, "{variant}");
        let playlist = playlist.text().await.unwrap();
        let segments = addresses(&playlist);
        let first = beside(&variant, segments.first().expect("a segment"));
        let segment = appliance.get(&first).send().await.unwrap();
        assert_eq!(segment.status(), 200, "{first}");
        assert!(!segment.bytes().await.unwrap().is_empty(), "{first}");
        at = now_ms();
        true
    })
    .await;
    at
}

/// The lines of a playlist that are addresses.
fn addresses(playlist: &str) -> Vec<&str> {
    assert!(playlist.starts_with("#EXTM3U"), "{playlist}");
    let lines = playlist.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// What a relative address means in a playlist (RFC 3986 §5.2).
fn beside(playlist: &str, address: &str) -> String {
    let base = reqwest::Url::parse("http://host").unwrap();
    let joined = base.join(playlist).unwrap().join(address).unwrap();
    match joined.query() {
        Some(query) => format!("{}?{query}", joined.path()),
        None => joined.path().to_owned(),
    }
}

async fn said_by_the_client(cli: &Cli, size: usize) {
    let listed = cli.json(&["ls", "films:"]).await;
    let object = listed.iter().find(|line| line["key"] == KEY).unwrap();
    assert_eq!(object["size_bytes"], size, "{object}");
    let jobs = cli.json(&["jobs"]).await;
    assert!(jobs.iter().any(|job| job["kind"] == "index"), "{jobs:?}");
    let status = cli.json(&["status"]).await;
    assert_eq!(status[0]["storage"]["objects"], 1, "{status:?}");
    let url = cli.ok(&["url", &format!("films:{KEY}")]).await;
    for path in [routes::file("films", KEY), routes::hls_master("films", KEY)] {
        assert!(url.contains(&path), "{url}");
    }
    // Tables for people, of the same facts.
    for arguments in [&["ls", "films:"][..], &["jobs"], &["status"]] {
        assert!(!cli.ok(arguments).await.is_empty(), "{arguments:?}");
    }
}

async fn ranges(appliance: &Appliance, content: &[u8]) {
    let path = routes::file("films", KEY);
    let size = content.len();
    let middle = size / 2;
    for (range, from, to) in [
        ("bytes=0-99".to_owned(), 0, 100),
        (
            format!("bytes={middle}-{}", middle + 70_000),
            middle,
            middle + 70_001,
        ),
        ("bytes=-1000".to_owned(), size - 1000, size),
        (format!("bytes={}-", size - 1), size - 1, size),
    ] {
        let read = appliance.get(&path).header("Range", &range).send().await;
        let read = read.unwrap();
        assert_eq!(read.status(), 206, "{range}");
        let told = read.headers()["content-range"].to_str().unwrap().to_owned();
        assert_eq!(told, format!("bytes {from}-{}/{size}", to - 1));
        assert_eq!(read.bytes().await.unwrap(), content[from..to], "{range}");
    }
    let range = format!("bytes={size}-");
    let beyond = appliance.get(&path).header("Range", range).send().await;
    assert_eq!(beyond.unwrap().status(), 416);
    let whole = appliance.get(&path).send().await.unwrap();
    assert_eq!(whole.status(), 200);
    assert_eq!(whole.bytes().await.unwrap(), content);
}

/// Waits until every rung stands in the master playlist, and plays each to its end.
async fn rungs(appliance: &Appliance, names: &[&str]) {
    let master = routes::hls_master("films", KEY);
    let client = appliance.client();
    let mut text = String::new();
    wait::patiently(LADDER_LIMIT, "the ladder is made", async || {
        let query = JobsQuery {
            kind: Some("ladder".into()),
            ..JobsQuery::default()
        };
        for job in client.jobs(&query).await.unwrap().items {
            assert!(
                job.state.is_active() || job.state == JobState::Done,
                "{job:?}"
            );
        }
        let answer = appliance.get(&master).send().await.unwrap();
        assert_eq!(answer.status(), 200, "the master is there all the time");
        text = answer.text().await.unwrap();
        addresses(&text).len() > names.len()
    })
    .await;
    for height in ["x1080", "x720", "x480"] {
        assert!(text.contains(height), "{height} is missing in\n{text}");
    }
    let frames = u64::from(films::FILM_S * films::RATE);
    for variant in addresses(&text) {
        let variant = beside(&master, variant);
        let answer = appliance.get(&variant).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{variant}");
        let playlist = answer.text().await.unwrap();
        assert!(playlist.contains("#EXT-X-ENDLIST"), "{playlist}");
        let mut sum_s = 0.0;
        for line in playlist.lines() {
            if let Some(duration) = line.strip_prefix("#EXTINF:") {
                sum_s += duration.trim_end_matches(',').parse::<f64>().unwrap();
            }
        }
        assert!((sum_s - f64::from(films::FILM_S)).abs() < 0.1, "{sum_s}");
        for segment in addresses(&playlist) {
            let segment = beside(&variant, segment);
            let answer = appliance.get(&segment).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{segment}");
            assert!(!answer.bytes().await.unwrap().is_empty(), "{segment}");
        }
        assert_eq!(pictures(appliance, &variant).await, frames, "{variant}");
    }
    // A rung is in the list with its state, for people.
    let asset = client.asset("films", KEY).await.unwrap().unwrap();
    for name in names {
        let rung = asset.renditions.iter().find(|rung| rung.name == *name);
        assert!(rung.is_some(), "{name}: {:?}", asset.renditions);
    }
}

/// Decodes a playlist with a player that is not ours, and counts the pictures.
async fn pictures(appliance: &Appliance, playlist: &str) -> u64 {
    let key = appliance.key();
    let address = format!(
        "http://{}:{}@{}{playlist}",
        key.access_key,
        key.secret_key,
        appliance.address()
    );
    let output = tokio::process::Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v:0", "-count_frames"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "json"])
        .arg(&address)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.is_empty(),
        "{playlist}: {said}"
    );
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let frames = told["streams"][0]["nb_read_frames"].as_str().unwrap();
    frames.parse().unwrap()
}

/// A signed link plays without a key, and nothing plays without either.
async fn link(appliance: &Appliance) {
    let wanted = CreateLink {
        bucket: "films".into(),
        key: Some(KEY.into()),
        expires_in_s: 600,
        ..CreateLink::default()
    };
    let link = appliance.client().create_link(&wanted).await.unwrap();
    let urls = link.urls.unwrap();
    let nobody = reqwest::Client::new();
    for path in [&urls.file, urls.hls.as_ref().unwrap()] {
        let answer = nobody.get(appliance.at(path)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    let closed = appliance.at(&routes::hls_master("films", KEY));
    let closed = nobody.get(closed).send().await.unwrap();
    assert_eq!(closed.status(), 401);
}

/// awscli stores a film in another container, and the same thing happens.
async fn by_aws(appliance: &Appliance) {
    let Some(film) = films::mkv() else { return };
    let version = tokio::process::Command::new("aws")
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .await;
    if !version.is_ok_and(|said| said.status.success()) {
        eprintln!("SKIPPED: awscli is not installed (packaging/prepare test)");
        return;
    }
    let key = appliance.key();
    let output = tokio::process::Command::new("aws")
        .args([
            "--endpoint-url",
            &appliance.url(),
            "s3",
            "cp",
            "--no-progress",
        ])
        .arg(&film)
        .arg("s3://films/by-aws.mkv")
        .env("AWS_ACCESS_KEY_ID", &key.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &key.secret_key)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "aws: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let client = appliance.client();
    wait::patiently(LADDER_LIMIT, "awscli's film is looked at", async || {
        let asset = client.asset("films", "by-aws.mkv").await.unwrap();
        asset.is_some_and(|asset| {
            assert_ne!(asset.state, AssetState::Failed, "{:?}", asset.reason);
            asset.state == AssetState::Ready
        })
    })
    .await;
    playable(appliance, "by-aws.mkv").await;
    let read = appliance.get("/-/file/films/by-aws.mkv").send().await;
    let read = read.unwrap().bytes().await.unwrap();
    assert_eq!(
        blake3::hash(&read),
        blake3::hash(&std::fs::read(&film).unwrap())
    );
}
