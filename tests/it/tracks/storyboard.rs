//! The storyboard shows at each time the key picture of that time; chapters are where the file has them.

use nebula_api::AssetState;
use nebula_tests::{films, wait, within};
use serde_json::{Value, json};

use super::{LIMIT, MADE};
use crate::exact::{House, name};

/// Seconds between two key pictures of the film.
const STEP_S: i64 = 2;
/// How much brighter each is than the one before, at least.
const STEP_GREY: f64 = 12.0;
/// Sound may begin so much before the picture, in seconds.
const LEAD_S: f64 = 0.05;
/// What encoders lose.
const NEAR: f64 = 6.0;

/// The mean of a part of a picture: x, y, width, height.
async fn grey(jpeg: &[u8], part: [u32; 4]) -> f64 {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), jpeg).unwrap();
    let [x, y, width, height] = part;
    let done = tokio::process::Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(file.path())
        .args([
            "-vf",
            &format!("crop={width}:{height}:{x}:{y},scale=1:1:flags=area,format=gray"),
        ])
        .args(["-f", "rawvideo", "-"])
        .output()
        .await
        .unwrap();
    assert_eq!(
        done.stdout.len(),
        1,
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    f64::from(done.stdout[0])
}

/// The mean of each key picture of a film.
async fn keys(film: &std::path::Path) -> Vec<f64> {
    let done = tokio::process::Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-skip_frame", "nokey", "-i"])
        .arg(film)
        .args([
            "-vf",
            "scale=1:1:flags=area,format=gray",
            "-vsync",
            "passthrough",
        ])
        .args(["-f", "rawvideo", "-"])
        .output()
        .await
        .unwrap();
    done.stdout.into_iter().map(f64::from).collect()
}

#[tokio::test]
async fn a_storyboard_shows_what_is_seen_and_chapters_are_named() {
    within(LIMIT, async {
        let folder = tempfile::tempdir().unwrap();
        let chapters = folder.path().join("chapters.txt");
        let text = ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=12500\ntitle=Opening\n\
                    [CHAPTER]\nTIMEBASE=1/1000\nSTART=12500\nEND=30000\ntitle=The \"end\" --> of it\n";
        std::fs::write(&chapters, text).unwrap();
        #[rustfmt::skip]
        let film = films::made("t-grey-3.mkv", &[
            "-f", "lavfi", "-i", "color=black:size=320x180:rate=24,geq=lum='50+11*floor((T+0.5)/2)':cb=128:cr=128",
            "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
            "-i", chapters.to_str().unwrap(), "-map_chapters", "2", "-map", "0", "-map", "1",
            "-t", "30", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-g", "48",
            "-sc_threshold", "0", "-c:a", "aac",
        ]);
        let Some(film) = film else { return };
        let house = House::with(std::slice::from_ref(&film)).await;
        let key = name(&film);
        assert_eq!(house.looked_at(key).await, AssetState::Ready);

        let master = house.text(&house.address(key, "master.m3u8")).await;
        assert!(
            master.contains("#EXT-X-SESSION-DATA:DATA-ID=\"com.apple.hls.chapters\",URI=\"chapters.json?c="),
            "{master}"
        );
        let list: Value =
            serde_json::from_str(&house.text(&house.address(key, "chapters.json")).await).unwrap();
        // The picture begins behind the priming of the sound, and the playlists with it.
        let near = |value: &Value, wanted: f64| (value.as_f64().unwrap() - wanted).abs() < LEAD_S;
        let [first, second] = list.as_array().unwrap().as_slice() else {
            panic!("{list}")
        };
        assert_eq!(first["titles"], json!([{ "language": "und", "title": "Opening" }]));
        assert_eq!(second["titles"][0]["title"], "The \"end\" --> of it");
        assert!(near(&first["start-time"], 0.0) && near(&first["duration"], 12.5), "{list}");
        assert!(near(&second["start-time"], 12.5) && near(&second["duration"], 17.5), "{list}");
        let vtt = house.text(&house.address(key, "chapters.vtt")).await;
        let named = super::cues(&vtt);
        assert_eq!(named[1].2, "The \"end\" → of it", "{vtt}");
        assert!((named[1].0 - 12_500).abs() < 50, "{vtt}");

        // Made when it is asked for the first time.
        let address = house.address(key, "storyboard.vtt");
        let mut board = String::new();
        wait::patiently(MADE, "the storyboard is made", async || {
            let answer = house.http.get(&address).send().await.unwrap();
            let status = answer.status();
            assert!(status == 200 || answer.headers().contains_key("retry-after"), "{status}");
            board = answer.text().await.unwrap();
            status == 200
        })
        .await;
        let cues = super::cues(&board);
        assert_eq!(cues.len(), 15, "{board}");
        let keys = keys(&film).await;
        assert!(keys.windows(2).all(|pair| pair[1] - pair[0] >= STEP_GREY), "{keys:?}");
        let mut sheets = std::collections::BTreeMap::new();
        for (at, (start_ms, end_ms, place)) in (0i64..).zip(&cues) {
            // Where the film ends is known to a tick of its container.
            let (from_ms, to_ms) = (at * STEP_S * 1000, (at + 1) * STEP_S * 1000);
            let off_ms = (start_ms - from_ms).abs().max((end_ms - to_ms).abs());
            assert!(off_ms <= 1, "{board}");
            let (sheet, part) = place.split_once("#xywh=").unwrap();
            let part: Vec<u32> = part.split(',').map(|word| word.parse().unwrap()).collect();
            assert_eq!(part[2..], [256, 144], "{place}");
            if !sheets.contains_key(sheet) {
                sheets.insert(sheet.to_owned(), house.bytes(&house.address(key, sheet)).await);
            }
            let seen = grey(&sheets[sheet], part.try_into().unwrap()).await;
            let wanted = keys[at as usize];
            assert!((seen - wanted).abs() <= NEAR, "{place}: {seen} and not {wanted}");
        }
        let bytes: usize = sheets.values().map(Vec::len).sum();
        assert!(sheets.len() == 1 && bytes < 200_000, "{bytes} bytes");
        let beyond = house.http.get(house.address(key, "storyboard-1.jpg")).send().await;
        assert_eq!(beyond.unwrap().status(), 404);
    })
    .await;
}
