//! Players in a real browser: hls.js and Shaka, over HLS and over DASH, seek at random in what is cut from the file.

use std::process::Stdio;
use std::time::{Duration, Instant};

use nebula_api::AssetState;
use nebula_tests::browser::{self, CHROMIUM};
use nebula_tests::{films, wait, within};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::{House, LIMIT, LOOKED_AT, name};

/// Seeks of each player.
const SEEKS: usize = 100;
/// Of all seeks but the slowest twentieth.
const SEEK_MS: f64 = 500.0;
/// The film is repeated this often, so that few seeks land in what a player has kept.
const REPEATED: u32 = 12;

/// Whether more programs want to run than there are processors: then a time says nothing about the appliance.
pub fn busy() -> bool {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = load
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0.0);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    load > processors as f64 * 1.5
}

#[tokio::test]
async fn players_seek_at_random_without_an_error() {
    within(LIMIT, async {
        let Some(scripts) = browser::scripts("shaka-player") else {
            return;
        };
        let Some(film) = films::mp4() else { return };
        let times = (REPEATED - 1).to_string();
        #[rustfmt::skip]
        let film = films::made("x-seek.mp4", &[
            "-stream_loop", &times, "-i", film.to_str().unwrap(), "-c", "copy", "-movflags", "+faststart",
        ]);
        let Some(film) = film else { return };
        let house = House::with(std::slice::from_ref(&film)).await;
        assert_eq!(house.looked_at(name(&film)).await, AssetState::Ready);
        let mut script = browser::script(&scripts, "seek.mjs");
        script
            .arg(house.address(name(&film), "master.m3u8"))
            .arg(house.address(name(&film), "manifest.mpd"))
            .args([CHROMIUM, &SEEKS.to_string()]);
        let told = browser::told(&mut script).await;
        for (player, told) in told.as_object().unwrap() {
            assert_eq!(told["errors"], serde_json::json!([]), "{player}: {told}");
            let mut seeks: Vec<f64> = told["seeks_ms"]
                .as_array()
                .unwrap()
                .iter()
                .map(|ms| ms.as_f64().unwrap())
                .collect();
            assert_eq!(seeks.len(), SEEKS, "{player}");
            seeks.sort_by(f64::total_cmp);
            let (median, p95) = (seeks[SEEKS / 2], seeks[SEEKS * 95 / 100]);
            let start = told["start_ms"].as_f64().unwrap();
            println!("{player}: starts in {start:.0} ms, seeks in {median:.0} ms, 95 of 100 in {p95:.0} ms");
            let length = told["duration_s"].as_f64().unwrap();
            let wanted = f64::from(films::FILM_S * REPEATED);
            assert!((length - wanted).abs() < 1.0, "{player}: {length}");
            // A player steps over less than a frame where sound and picture do not begin together.
            assert!(told["off_s"].as_f64().unwrap() < 0.1, "{player}: {told}");
            if busy() {
                println!("SKIPPED: the limit of {SEEK_MS} ms, as the machine does much else");
            } else {
                assert!(p95 <= SEEK_MS, "{player}: {p95:.0} ms");
            }
        }
    })
    .await;
}

/// An outage that players get over by trying again.
const OUTAGE: Duration = Duration::ZERO;
/// And one that is longer than any of them tries by itself.
const LONG_OUTAGE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn players_go_on_when_the_appliance_was_away() {
    outage(OUTAGE).await;
}

#[tokio::test]
async fn players_go_on_after_an_outage_of_a_minute() {
    if std::env::var_os(LONG).is_none() {
        println!("SKIPPED: an outage of a minute; {LONG}=1 asks for it");
        return;
    }
    outage(LONG_OUTAGE).await;
}

/// Kills the appliance while players play, starts it again at least so much later, once all of them stand still, and
/// sees them play to the end.
async fn outage(least: Duration) {
    within(LIMIT, async {
        let Some(scripts) = browser::scripts("shaka-player") else {
            return;
        };
        let Some(film) = films::mp4() else { return };
        let mut house = House::with(std::slice::from_ref(&film)).await;
        assert_eq!(house.looked_at(name(&film)).await, AssetState::Ready);
        let mut players = Vec::new();
        for (player, leaf) in [("hls.js", "master.m3u8"), ("shaka", "manifest.mpd")] {
            let mut script = browser::script(&scripts, "outage.mjs")
                .args([player, &house.address(name(&film), leaf), CHROMIUM])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let lines = BufReader::new(script.stdout.take().unwrap()).lines();
            players.push((player, script, lines));
        }
        for (player, _, lines) in &mut players {
            let said = lines.next_line().await.unwrap();
            assert_eq!(said.as_deref(), Some("playing"), "{player}");
        }
        let gone = Instant::now();
        house.appliance.kill();
        for (player, _, lines) in &mut players {
            let said = lines.next_line().await.unwrap();
            assert_eq!(said.as_deref(), Some("dry"), "{player}");
        }
        // Not a wait for anything: the length of the outage itself.
        let rest = least.saturating_sub(gone.elapsed());
        tokio::time::sleep(rest).await;
        house.appliance.restart().await;
        let away_s = gone.elapsed().as_secs_f64();
        let back = Instant::now();
        let healed =
            futures::future::join_all(players.iter_mut().map(async |(player, _, lines)| {
                let said = lines.next_line().await.unwrap();
                assert_eq!(said.as_deref(), Some("healed"), "{player}");
                back.elapsed().as_secs_f64()
            }));
        let healed = healed.await;
        for ((player, script, lines), healed_s) in players.iter_mut().zip(healed) {
            let told = lines.next_line().await.unwrap().unwrap_or_default();
            println!("{player}: away for {away_s:.1} s, goes on after {healed_s:.1} s, {told}");
            assert!(script.wait().await.unwrap().success(), "{player}");
            let told: Value = serde_json::from_str(&told).unwrap();
            assert_eq!(told["errors"], serde_json::json!([]), "{player}");
        }
    })
    .await;
}

/// Asks for tests that play for a minute.
const LONG: &str = "NEBULA_LONG_TESTS";
/// Until the picture moves, at 8 Mbit/s.
const START_MS: f64 = 2_000.0;
/// Until the upper rung is chosen again, once the network is quick again.
const UP_MS: f64 = 10_000.0;

#[tokio::test]
async fn players_follow_the_network_down_and_up() {
    within(LIMIT, async {
        if std::env::var_os(LONG).is_none() {
            println!("SKIPPED: players on a slow network take a minute; {LONG}=1 asks for them");
            return;
        }
        let Some(scripts) = browser::scripts("shaka-player") else {
            return;
        };
        #[rustfmt::skip]
        let film = films::made("x-noise.mp4", &[
            "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=24,noise=alls=30:allf=t",
            "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", "60", "-pix_fmt", "yuv420p",
            "-c:v", "libx264", "-preset", "ultrafast", "-b:v", "2400k", "-maxrate", "2400k", "-bufsize", "2400k",
            "-g", "48", "-sc_threshold", "0", "-c:a", "aac",
        ]);
        let Some(film) = film else { return };
        let ladder = "[{ name = \"240p\", height = 240, video_bps = 1000000 }]";
        let house = House::with_ladder(std::slice::from_ref(&film), ladder).await;
        let address = house.address(name(&film), "master.m3u8");
        wait::patiently(LOOKED_AT, "the lower rung is made", async || {
            let answer = house.http.get(&address).send().await.unwrap();
            answer.text().await.unwrap().contains("240p-")
        })
        .await;
        let mut script = browser::script(&scripts, "throttle.mjs");
        script
            .arg(&address)
            .arg(house.address(name(&film), "manifest.mpd"))
            .arg(CHROMIUM);
        let told = browser::told(&mut script).await;
        for (player, told) in told.as_object().unwrap() {
            println!("{player}: {told}");
            assert_eq!(told["errors"], serde_json::json!([]), "{player}");
            assert_eq!(told["stalls"], 0, "{player}");
            assert!(told["start_ms"].as_f64().unwrap() <= START_MS, "{player}");
            assert!(told["up_ms"].as_f64().unwrap() <= UP_MS, "{player}");
        }
    })
    .await;
}
