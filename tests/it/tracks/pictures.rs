//! Subtitles that are pictures: what is delivered is what the film holds, in files that other readers take.

use std::path::Path;

use nebula_api::{AssetState, SubtitleFormat};
use nebula_tests::browser;
use nebula_tests::{wait, within};
use serde_json::json;

use super::choices::asset;
use super::{LIMIT, MADE, film};
use crate::exact::probe::{self, Packet};
use crate::exact::{House, name};

/// One segment of presentation graphics as it lies in a `.sup` file.
fn segment(out: &mut Vec<u8>, ms: u32, kind: u8, body: &[u8]) {
    out.extend_from_slice(b"PG");
    out.extend_from_slice(&(ms * 90).to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
}

/// Boxes of one colour, each shown for a second.
fn sup(starts_ms: &[u32]) -> Vec<u8> {
    const WIDTH: u8 = 32;
    const HEIGHT: u8 = 8;
    let mut out = Vec::new();
    for (at, ms) in (0u8..).zip(starts_ms) {
        let size = [1, 64, 0, 180];
        let window = [1, 0, 0, 16, 0, 16, 0, WIDTH, 0, HEIGHT];
        let shown = [
            &size[..],
            &[0x10, 0, at * 2, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 16, 0, 16],
        ]
        .concat();
        segment(&mut out, *ms, 0x16, &shown);
        segment(&mut out, *ms, 0x17, &window);
        segment(&mut out, *ms, 0x14, &[0, 0, 1, 200 - at, 128, 128, 255]);
        let line = [0, 0x80 | WIDTH, 1, 0, 0];
        let lines = line.repeat(usize::from(HEIGHT));
        let head = [
            0,
            0,
            0,
            0xc0,
            0,
            0,
            lines.len() as u8 + 4,
            0,
            WIDTH,
            0,
            HEIGHT,
        ];
        segment(&mut out, *ms, 0x15, &[&head[..], &lines].concat());
        segment(&mut out, *ms, 0x80, &[]);
        let gone = [&size[..], &[0x10, 0, at * 2 + 1, 0, 0, 0, 0]].concat();
        segment(&mut out, ms + 1000, 0x16, &gone);
        segment(&mut out, ms + 1000, 0x17, &window);
        segment(&mut out, ms + 1000, 0x80, &[]);
    }
    out
}

/// When each packet of subtitles is shown, in milliseconds, and what it holds.
async fn packets(path: &Path) -> Vec<(i64, String)> {
    let told = probe::packets(path.to_str().unwrap()).await;
    assert!(told.complaints.is_empty(), "{}", told.complaints);
    let kind = |packet: &&Packet| told.streams[packet.stream as usize].0 == "subtitle";
    told.packets
        .iter()
        .filter(kind)
        .map(|packet| {
            (
                (packet.pts_s.unwrap() * 1000.0).round() as i64,
                packet.hash.clone(),
            )
        })
        .collect()
}

#[tokio::test]
async fn pictures_are_delivered_as_they_are() {
    within(LIMIT, async {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("boxes.sup");
        std::fs::write(&source, sup(&[1_000, 12_500, 27_000])).unwrap();
        let input = ["-i", source.to_str().unwrap()];
        let maps = ["-map", "0", "-map", "1", "-map", "2"];
        let films = [
            film(
                "t-pgs-1.mkv",
                &input,
                &[&maps[..], &["-c:s", "copy"]].concat(),
            ),
            film(
                "t-vobsub-1.mkv",
                &input,
                &[&maps[..], &["-c:s", "dvdsub"]].concat(),
            ),
        ];
        let films: Vec<_> = films.into_iter().flatten().collect();
        let [pgs, vobsub] = films.as_slice() else {
            return;
        };
        let house = House::with(&films).await;
        let there = async |film: &Path, leaf: &str| {
            assert_eq!(house.looked_at(name(film)).await, AssetState::Ready);
            let address = house.address(name(film), leaf);
            wait::patiently(MADE, "the pictures are there", async || {
                house.http.get(&address).send().await.unwrap().status() == 200
            })
            .await;
            let path = folder.path().join(leaf);
            std::fs::write(&path, house.bytes(&address).await).unwrap();
            path
        };
        let file = there(pgs, "s2.sup").await;
        // The same as ffmpeg puts them into such a file.
        let theirs = folder.path().join("theirs.sup");
        let done = tokio::process::Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-copyts", "-i"])
            .arg(pgs)
            .args(["-map", "0:2", "-c", "copy"])
            .arg(&theirs)
            .output()
            .await
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        let wanted = packets(&theirs).await;
        assert_eq!(wanted.len(), 24, "{wanted:?}");
        assert_eq!(packets(&file).await, wanted);

        there(vobsub, "s2.sub").await;
        let index = there(vobsub, "s2.idx").await;
        let wanted = packets(vobsub).await;
        assert!(wanted.len() >= 3, "{wanted:?}");
        assert_eq!(packets(&index).await, wanted);

        // Pictures are no text, and a track of neither kind is nothing.
        let master = house.text(&house.address(name(pgs), "master.m3u8")).await;
        assert!(!master.contains("TYPE=SUBTITLES"), "{master}");
        for leaf in ["s0.sup", "s2.idx", "s2.vtt", "s9.sup"] {
            let answer = house.http.get(house.address(name(pgs), leaf)).send().await;
            assert_eq!(answer.unwrap().status(), 404, "{leaf}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_console_draws_pictures_over_the_film() {
    within(LIMIT, async {
        let Some(driver) = browser::scripts("playwright-core") else {
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let pictures = folder.path().join("boxes.sup");
        std::fs::write(&pictures, sup(&[0, 12_500, 27_000])).unwrap();
        let texts = folder.path().join("en.srt");
        std::fs::write(&texts, "1\n00:00:00,000 --> 00:00:28,000\nHello\n").unwrap();
        let inputs = ["-i", pictures.to_str().unwrap(), "-i", texts.to_str().unwrap()];
        // Its clock does not begin at zero, as that of a disc does not.
        #[rustfmt::skip]
        let arguments = [
            "-map", "0", "-map", "1", "-map", "2", "-map", "2", "-map", "3",
            "-c:s:0", "copy", "-c:s:1", "dvdsub", "-c:s:2", "srt", "-disposition:s", "0", "-output_ts_offset", "5",
            "-metadata:s:s:0", "language=ger", "-metadata:s:s:1", "language=fre", "-metadata:s:s:2", "language=eng",
        ];
        let Some(film) = film("t-pgs-late-1.mkv", &inputs, &arguments) else {
            return;
        };
        let house = House::with(std::slice::from_ref(&film)).await;
        let person = browser::person(&house.appliance, &driver, "pictures.mjs").await;
        let Some(mut script) = person else { return };
        let key = name(&film);
        let told = asset(&house, key, "texts are read", |one| one.subtitles.len() == 3).await;
        let pgs = told.subtitles.iter().find(|one| one.format == SubtitleFormat::Pgs);
        let origin_ms = pgs.unwrap().origin_ms.unwrap();
        assert!((5_000..5_100).contains(&origin_ms), "{origin_ms}");
        script.arg(format!("films/all/{key}"));
        let told = browser::told(&mut script).await;
        println!("the browser: {told}");
        assert_eq!(told["errors"], json!([]), "{told}");
        // The track of VobSub is not offered, and what draws pictures comes when it is wanted.
        assert_eq!(told["offered"], json!(["Off", "English", "Deutsch"]));
        assert_eq!(told["early"], json!([]), "{told}");
        // Left, top, width and height of what is drawn: there while a picture is shown, and gone between them.
        let drawn = json!([16, 16, 32, 8]);
        assert_eq!(told["before"], json!(null), "{told}");
        assert_eq!(told["sought"], json!([drawn, null, drawn, null, drawn, null]));
        // Off, pictures, texts and pictures again, where the film stands still.
        let wanted = json!([[null, null], [drawn, null], [null, "Hello"], [drawn, null]]);
        assert_eq!(told["switched"], wanted, "{told}");
        // Exactly over the film, through which the pointer goes.
        for place in ["window", "screen"] {
            assert_eq!(told[place], json!({ "covers": true, "pointed": "VIDEO" }), "{told}");
        }
        // A link that ends and a next sitting begin with the same.
        let kept = json!({ "chosen": "Deutsch", "seen": [drawn, null] });
        assert_eq!(told["linked"], kept, "{told}");
        assert_eq!(told["kept"], kept, "{told}");
        assert_eq!(told["left"], 0, "{told}");
    })
    .await;
}
