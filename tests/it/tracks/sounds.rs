//! Sound: every track in one group, heard at once when it is chosen, made anew where players cannot take it.

use nebula_api::AssetState;
use nebula_tests::{browser, films, wait, within};
use serde_json::json;

use super::{LIMIT, MADE, media, said};
use crate::exact::probe::{self, Playlist};
use crate::exact::{House, name};

/// From the choice until the other track is heard.
const SWITCH_MS: f64 = 1_000.0;

/// A film with three sound tracks, each a tone of its own.
fn tones(file: &str, codecs: [&str; 3], last_channels: &str) -> Option<std::path::PathBuf> {
    let codec = |at: usize| format!("-c:a:{at}");
    let names: Vec<String> = (0..3).map(codec).collect();
    #[rustfmt::skip]
    let mut arguments = vec![
        "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=24",
        "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
        "-f", "lavfi", "-i", "sine=frequency=2000:sample_rate=48000",
        "-f", "lavfi", "-i", "sine=frequency=6000:sample_rate=48000",
        "-map", "0", "-map", "1", "-map", "2", "-map", "3", "-t", "30", "-pix_fmt", "yuv420p",
        "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "48", "-sc_threshold", "0",
        "-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=ger", "-metadata:s:a:2", "language=eng",
        "-metadata:s:a:2", "title=Director", "-disposition:a:0", "0", "-disposition:a:1", "default",
        "-ac:a:0", "2", "-ac:a:1", "2", "-ac:a:2", last_channels, "-strict", "-2",
    ];
    for (name, codec) in names.iter().zip(codecs) {
        arguments.extend([name.as_str(), codec]);
    }
    films::made(file, &arguments)
}

#[tokio::test]
async fn a_viewer_hears_another_track_within_a_second() {
    within(LIMIT, async {
        let Some(film) = tones("t-tones-1.mkv", ["aac"; 3], "1") else {
            return;
        };
        let house = House::with(std::slice::from_ref(&film)).await;
        let key = name(&film);
        assert_eq!(house.looked_at(key).await, AssetState::Ready);
        let lines = media(&house, key, "AUDIO", 3).await;
        let told: Vec<[&str; 5]> = lines
            .iter()
            .map(|line| {
                ["GROUP-ID", "NAME", "LANGUAGE", "DEFAULT", "CHANNELS"].map(|name| said(line, name))
            })
            .collect();
        assert_eq!(
            told,
            [
                ["mp4a", "English", "en", "NO", "2"],
                ["mp4a", "Deutsch", "de", "YES", "2"],
                ["mp4a", "Director", "en", "NO", "1"],
            ]
        );
        let Some(scripts) = browser::scripts("hls.js") else {
            return;
        };
        let address = house.address(key, "master.m3u8");
        let told = super::browser(&scripts, "sounds.mjs", &[address]).await;
        println!("the browser: {told}");
        assert_eq!(told["errors"], json!([]), "{told}");
        assert_eq!(told["stalls"], 0, "{told}");
        let heard = told["heard"].as_array().unwrap();
        assert_eq!(heard.len(), 4, "{told}");
        for one in heard {
            let ms = one["ms"].as_f64().unwrap();
            assert!(ms <= SWITCH_MS, "{told}");
        }
    })
    .await;
}

#[tokio::test]
async fn sound_that_players_cannot_take_is_made_and_joins_the_master() {
    within(LIMIT, async {
        let Some(film) = tones("t-tones-dts-1.mkv", ["dca", "ac3", "truehd"], "2") else {
            return;
        };
        let house = House::with(std::slice::from_ref(&film)).await;
        let key = name(&film);
        assert_eq!(house.looked_at(key).await, AssetState::Ready);
        let mut lines = Vec::new();
        wait::patiently(MADE, "three tracks are made", async || {
            lines = media(&house, key, "AUDIO", 0).await;
            lines
                .iter()
                .filter(|line| line.contains("GROUP-ID=\"mp4a\"") && line.contains("URI=\"audio-"))
                .count()
                >= 3
        })
        .await;
        let everyone: Vec<&String> = lines
            .iter()
            .filter(|line| said(line, "GROUP-ID") == "mp4a")
            .collect();
        let names: Vec<&str> = everyone.iter().map(|line| said(line, "NAME")).collect();
        assert_eq!(names, ["English", "Deutsch", "Director"], "{lines:?}");
        let made = |line: &str| said(line, "URI").starts_with("audio-");
        assert!(everyone.iter().all(|line| made(line)), "{lines:?}");
        // The picture is the file's own, and nothing but sound was made.
        let master = house.text(&house.address(key, "master.m3u8")).await;
        assert!(
            master.lines().any(|line| line.starts_with("v0.m3u8")),
            "{master}"
        );
        let picture = Playlist::read(&house.text(&house.address(key, "v0.m3u8")).await);
        for line in everyone {
            let address = house.address(key, said(line, "URI"));
            let list = Playlist::read(&house.text(&address).await);
            assert!((list.total_s() - picture.total_s()).abs() < 0.05, "{line}");
            let told = probe::packets(&address).await;
            assert!(
                told.complaints.is_empty() && told.packets.len() > 1000,
                "{line}: {}",
                told.complaints
            );
        }
    })
    .await;
}
