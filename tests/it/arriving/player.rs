//! A film in a real browser while it is uploaded at 20 Mbit/s.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use nebula_client::api::CreateLink;
use nebula_tests::browser::{self, CHROMIUM};
use nebula_tests::{Appliance, films, wait, within};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::time::Instant;

use super::film::FRAGMENTED;
use super::sender::{BUCKET, Upload, bucket};
use crate::exact::busy;

/// For one film.
const LIMIT: Duration = Duration::from_mins(2);
/// The pace of the upload.
const PACE_BITS_PER_S: u64 = 20_000_000;
/// So much media has arrived when the viewer comes.
const ARRIVED_S: f64 = 2.0;
/// From there to the first picture.
const FIRST_FRAME_MS: f64 = 1_000.0;
/// Length of the film.
const FILM_S: f64 = 12.0;

/// The film at 8 Mbit/s, with a key every two seconds.
fn film(name: &str, more: &[&str]) -> Option<std::path::PathBuf> {
    #[rustfmt::skip]
    let mut arguments = vec![
        "-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=24,noise=alls=20:allf=t",
        "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
        "-t", "12", "-pix_fmt", "yuv420p", "-preset", "ultrafast", "-c:v", "libx264",
        "-b:v", "8M", "-maxrate", "8M", "-bufsize", "8M", "-g", "48", "-sc_threshold", "0", "-c:a", "aac", "-ac", "2",
    ];
    arguments.extend(more);
    films::made(name, &arguments)
}

/// Where the bytes of the first seconds end.
async fn end_of_first(film: &Path, seconds: f64) -> u64 {
    let done = tokio::process::Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0", "-show_entries"])
        .args(["packet=pts_time,size,pos"])
        .arg(film)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let lines = String::from_utf8(done.stdout).unwrap();
    let packet = |line: &str| -> Option<(f64, u64)> {
        let mut words = line.split(',');
        let time: f64 = words.next()?.parse().ok()?;
        let size: u64 = words.next()?.parse().ok()?;
        let at: u64 = words.next()?.parse().ok()?;
        Some((time, at + size))
    };
    let packets: Vec<_> = lines.lines().filter_map(packet).collect();
    // A transport stream does not begin at zero.
    let times = packets.iter().map(|(time, _)| *time);
    let start = times.min_by(f64::total_cmp).unwrap();
    let first = packets.iter().filter(|(time, _)| time - start < seconds);
    first.map(|(_, end)| *end).max().unwrap()
}

fn epoch_ms(at: Instant) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (now.as_secs_f64() - at.elapsed().as_secs_f64()) * 1000.0
}

async fn first_frame_and_no_stall(film: &Path) {
    let Some(scripts) = browser::scripts("hls.js") else {
        return;
    };
    let appliance = Appliance::start().await;
    bucket(&appliance).await;
    let client = appliance.client();
    let key = film.file_name().unwrap().to_str().unwrap();
    let wanted = CreateLink {
        bucket: BUCKET.into(),
        key: Some(key.into()),
        expires_in_s: 3600,
        ..CreateLink::default()
    };
    let bytes: Bytes = std::fs::read(film).unwrap().into();
    let upload = Upload::begin(&appliance, key, Some(bytes.len())).await;
    let link = client.create_link(&wanted).await.unwrap();
    let address = client.absolute(&link.urls.unwrap().hls.unwrap());
    let mut player = browser::script(&scripts, "arriving.mjs")
        .args([&address, CHROMIUM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(player.stdout.take().unwrap()).lines();
    let mut tell = player.stdin.take().unwrap();
    assert_eq!(said.next_line().await.unwrap().as_deref(), Some("ready"));

    let enough = end_of_first(film, ARRIVED_S).await;
    let sending = upload.pace(0, bytes.clone(), PACE_BITS_PER_S);
    let arrived = async || sending.sent.load(Ordering::SeqCst) >= enough;
    wait::until_async("two seconds of the film have arrived", arrived).await;
    tell.write_all(b"play\n").await.unwrap();
    let told = said.next_line().await.unwrap().unwrap();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert!(player.wait().await.unwrap().success(), "{told}");
    let log = sending.task.await.unwrap();
    let (_, arrived_at) = log.iter().find(|(sent, _)| *sent >= enough).unwrap();
    let (_, sent_at) = log.last().unwrap();
    let ms = |name: &str| told[name].as_f64().unwrap();
    let first_ms = ms("first_frame_epoch_ms") - epoch_ms(*arrived_at);
    println!(
        "{key}: {:.1} MB of {FILM_S} s; the first frame {first_ms:.0} ms after two seconds had arrived ({:.0} ms after it was asked for), {} stalls; {told}",
        bytes.len() as f64 / 1e6,
        ms("first_frame_ms"),
        told["stalls"],
    );
    assert!(
        ms("first_frame_epoch_ms") < epoch_ms(*sent_at),
        "it began while the upload went on"
    );
    let errors = told["errors"].as_array().unwrap();
    let is_fatal = |error: &Value| error.as_str().unwrap().starts_with("fatal");
    assert!(!errors.iter().any(is_fatal), "{told}");
    assert!((ms("ended_at_s") - FILM_S).abs() < 0.2, "{told}");
    if busy() {
        println!("SKIPPED: the limits in time, as the machine does much else");
    } else {
        assert!(first_ms <= FIRST_FRAME_MS, "{first_ms:.0} ms");
        assert_eq!(told["stalls"], 0, "{told}");
        assert!(errors.is_empty(), "{told}");
    }
}

#[tokio::test]
async fn the_first_frame_comes_within_a_second_and_nothing_stalls_after_it() {
    within(LIMIT, async {
        let flags = ["-movflags", "+faststart"];
        let Some(film) = film("arriving-8m.mp4", &flags) else {
            return;
        };
        first_frame_and_no_stall(&film).await;
    })
    .await;
}

#[tokio::test]
async fn the_first_frame_of_matroska_comes_as_soon() {
    within(LIMIT, async {
        let Some(film) = film("arriving-8m.mkv", &[]) else {
            return;
        };
        first_frame_and_no_stall(&film).await;
    })
    .await;
}

#[tokio::test]
async fn the_first_frame_of_a_transport_stream_comes_as_soon() {
    within(LIMIT, async {
        let Some(film) = film("arriving-8m.ts", &[]) else {
            return;
        };
        first_frame_and_no_stall(&film).await;
    })
    .await;
}

#[tokio::test]
async fn the_first_frame_of_a_fragmented_mp4_comes_as_soon() {
    within(LIMIT, async {
        let Some(film) = film("arriving-8m-fragmented.mp4", &FRAGMENTED) else {
            return;
        };
        first_frame_and_no_stall(&film).await;
    })
    .await;
}
