//! The storyboard shows at each time the key picture of that time; chapters are where the file has them.

use nebula_api::AssetState;
use nebula_tests::{films, wait, within};
use serde_json::{Value, json};

use super::{LIMIT, MADE};
use crate::exact::{House, name};

/// Seconds between two key pictures of the film.
const STEP_S: i64 = 2;
/// How much brighter each is than the one before.
const STEP_LUMA: f64 = 14.0;
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

#[tokio::test]
async fn a_storyboard_shows_what_is_seen_and_chapters_are_named() {
    within(LIMIT, async {
        let folder = tempfile::tempdir().unwrap();
        let chapters = folder.path().join("chapters.txt");
        let text = ";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=12500\ntitle=Opening\n\
                    [CHAPTER]\nTIMEBASE=1/1000\nSTART=12500\nEND=30000\ntitle=The \"end\" --> of it\n";
        std::fs::write(&chapters, text).unwrap();
        #[rustfmt::skip]
        let film = films::made("t-grey-1.mkv", &[
            "-f", "lavfi", "-i", "color=black:size=320x180:rate=24,geq=lum='16+14*floor(T/2)':cb=128:cr=128",
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
        let chapter = |number: u32, start: f64, duration: f64, title: &str| {
            json!({
                "chapter": number, "start-time": start, "duration": duration,
                "titles": [{ "language": "und", "title": title }],
            })
        };
        assert_eq!(
            list,
            json!([
                chapter(1, 0.0, 12.5, "Opening"),
                chapter(2, 12.5, 17.5, "The \"end\" --> of it")
            ])
        );
        let vtt = house.text(&house.address(key, "chapters.vtt")).await;
        assert!(vtt.contains("00:00:12.500 --> 00:00:30.000\nThe \"end\" → of it\n"), "{vtt}");

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
        let mut sheets = std::collections::BTreeMap::new();
        for (at, (start_ms, end_ms, place)) in (0i64..).zip(&cues) {
            assert_eq!((*start_ms, *end_ms), (at * STEP_S * 1000, (at + 1) * STEP_S * 1000), "{board}");
            let (sheet, part) = place.split_once("#xywh=").unwrap();
            let part: Vec<u32> = part.split(',').map(|word| word.parse().unwrap()).collect();
            assert_eq!(part[2..], [256, 144], "{place}");
            if !sheets.contains_key(sheet) {
                sheets.insert(sheet.to_owned(), house.bytes(&house.address(key, sheet)).await);
            }
            let seen = grey(&sheets[sheet], part.try_into().unwrap()).await;
            let wanted = STEP_LUMA * at as f64 * 255.0 / 219.0;
            assert!((seen - wanted).abs() <= NEAR, "{place}: {seen} and not {wanted}");
        }
        let bytes: usize = sheets.values().map(Vec::len).sum();
        assert!(sheets.len() == 1 && bytes < 200_000, "{bytes} bytes");
        let beyond = house.http.get(house.address(key, "storyboard-1.jpg")).send().await;
        assert_eq!(beyond.unwrap().status(), 404);
    })
    .await;
}
