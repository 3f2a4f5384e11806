//! Texts: their times are those of the film, wherever a player begins.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nebula_api::AssetState;
use nebula_client::transfer::Unwatched;
use nebula_client::upload::{self, Options};
use nebula_tests::{browser, wait, within};
use serde_json::json;

use super::{LIMIT, Line, MADE, cues, extracted, film, media, said};
use crate::exact::probe::{self, Playlist};
use crate::exact::{House, name};

/// A time that has to be right, in milliseconds.
const EXACT_MS: i64 = 1;
/// One crosses cuts, two overlap, one lies where a segment has no other, the last outlasts the picture.
const SRT: &str = "1\n00:00:00,500 --> 00:00:01,900\nThe <i>first</i> word\n\n\
2\n00:00:03,000 --> 00:00:09,500\nA long one, over cuts\n\n\
3\n00:00:08,200 --> 00:00:08,901\nIn the midst of it\nin two lines\n\n\
4\n00:00:12,345 --> 00:00:13,210\nBread & < butter >\n\n\
5\n00:00:20,001 --> 00:00:22,750\n<b>Late</b>\n\n\
6\n00:00:28,000 --> 00:00:31,000\nTo the end\n";

fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Where a player's zero is on the clock of the file, in milliseconds.
async fn zero_ms(film: &Path) -> f64 {
    let told = probe::packets(film.to_str().unwrap()).await;
    let picture = told.packets.iter().filter(|packet| packet.stream == 0);
    let first = picture.filter_map(|packet| packet.pts_s);
    first.fold(f64::INFINITY, f64::min) * 1000.0
}

fn same(what: &str, ours: &[Line], theirs: &[Line]) {
    assert_eq!(ours.len(), theirs.len(), "{what}: {ours:?}\n{theirs:?}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        let near = (ours.0 - theirs.0).abs() <= EXACT_MS && (ours.1 - theirs.1).abs() <= EXACT_MS;
        assert!(near && ours.2 == theirs.2, "{what}: {ours:?} {theirs:?}");
    }
}

#[tokio::test]
async fn texts_are_where_ffmpeg_finds_them_in_every_segment() {
    within(LIMIT, async {
        let folder = tempfile::tempdir().unwrap();
        let srt = written(folder.path(), "texts.srt", SRT.as_bytes());
        let srt = srt.to_str().unwrap();
        #[rustfmt::skip]
        let matroska = [
            "-map", "0", "-map", "1", "-map", "2", "-map", "2", "-map", "2",
            "-c:s:0", "srt", "-c:s:1", "ass", "-c:s:2", "webvtt",
            "-metadata:s:s:0", "language=eng", "-metadata:s:s:1", "language=ger", "-metadata:s:s:2", "language=fre",
            "-metadata:s:s:1", "title=Kommentar", "-disposition:s:0", "default", "-disposition:s:2", "forced",
        ];
        let late = [&matroska[..], &["-output_ts_offset", "5"]].concat();
        let mp4 = ["-map", "0", "-map", "1", "-map", "2", "-c:s", "mov_text"];
        let made = [
            film("t-texts-1.mkv", &["-i", srt], &matroska),
            film("t-texts-late-1.mkv", &["-i", srt], &late),
            film("t-texts-1.mp4", &["-i", srt], &mp4),
        ];
        let made: Vec<PathBuf> = made.into_iter().flatten().collect();
        if made.is_empty() {
            return;
        }
        let house = House::with(&made).await;
        for (film, tracks) in made.iter().zip([3, 3, 1]) {
            let key = name(film);
            assert_eq!(house.looked_at(key).await, AssetState::Ready, "{key}");
            let lines = media(&house, key, "SUBTITLES", tracks).await;
            assert_eq!(lines.len(), tracks, "{lines:?}");
            if tracks == 3 {
                assert_eq!(said(&lines[0], "NAME"), "English");
                assert!(lines[0].contains("DEFAULT=YES") && lines[0].contains("FORCED=NO"));
                assert_eq!(said(&lines[1], "NAME"), "Kommentar");
                assert_eq!(said(&lines[1], "LANGUAGE"), "de");
                assert!(lines[2].contains("DEFAULT=NO") && lines[2].contains("FORCED=YES"));
            }
            let zero_ms = zero_ms(film).await;
            let picture = Playlist::read(&house.text(&house.address(key, "v0.m3u8")).await);
            for (track, line) in lines.iter().enumerate() {
                let mut theirs = extracted(film, track).await;
                for line in &mut theirs {
                    line.0 -= zero_ms.round() as i64;
                    line.1 -= zero_ms.round() as i64;
                }
                let uri = said(line, "URI");
                let whole = uri.replace(".m3u8", ".vtt");
                let whole = cues(&house.text(&house.address(key, &whole)).await);
                let plain = |lines: &[Line]| -> Vec<Line> {
                    let unescaped = |text: &str| {
                        let text = text.replace("&lt;", "<").replace("&gt;", ">");
                        text.replace("&amp;", "&")
                    };
                    lines.iter().map(|line| (line.0, line.1, unescaped(&line.2))).collect()
                };
                same(key, &plain(&whole), &plain(&theirs));
                assert_eq!(whole.len(), 6, "{key}");

                // On the grid of the picture, and every text in each segment that it is seen in, at one and the same time.
                let list = Playlist::read(&house.text(&house.address(key, uri)).await);
                let lengths = |list: &Playlist| -> Vec<f64> {
                    list.segments.iter().map(|(length, _)| *length).collect()
                };
                assert_eq!(lengths(&list), lengths(&picture), "{key}");
                let (mut begin_s, mut seen) = (0.0, BTreeSet::new());
                for (number, (length_s, uri)) in list.segments.iter().enumerate() {
                    let text = house.text(&house.address(key, uri)).await;
                    assert!(
                        text.starts_with("WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0\n"),
                        "{text}"
                    );
                    let last = number + 1 == list.segments.len();
                    let (from, to) = (begin_s * 1000.0, (begin_s + length_s) * 1000.0);
                    let wanted: Vec<Line> = whole
                        .iter()
                        .filter(|line| line.1 as f64 > from && (last || (line.0 as f64) < to))
                        .cloned()
                        .collect();
                    assert_eq!(cues(&text), wanted, "{key}: {uri}");
                    seen.extend(wanted);
                    begin_s += length_s;
                }
                assert_eq!(seen.len(), whole.len(), "{key}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn files_beside_a_film_are_its_texts() {
    within(LIMIT, async {
        let Some(film) = film("t-silent-texts-1.mp4", &[], &[]) else {
            return;
        };
        let house = House::with(std::slice::from_ref(&film)).await;
        let key = name(&film);
        assert_eq!(house.looked_at(key).await, AssetState::Ready);
        let folder = tempfile::tempdir().unwrap();
        let stem = key.strip_suffix(".mp4").unwrap();
        let german = "1\r\n00:00:01,000 --> 00:00:02,000\r\nGr\u{fc}\u{df}e\r\n\r\n";
        let western: Vec<u8> = german.chars().map(|c| c as u8).collect();
        let vtt = "WEBVTT\n\n00:01.000 --> 00:02.500 line:0\n<v Ann>Hello</v>\n";
        let files = [
            (format!("{stem}.en.forced.vtt"), vtt.as_bytes().to_vec()),
            (format!("{stem}.de.sdh.srt"), western),
            (
                format!("{stem}.srt"),
                b"no subtitles at all, whatever its name".to_vec(),
            ),
            (format!("{stem}-other.srt"), SRT.as_bytes().to_vec()),
        ];
        let client = house.appliance.client();
        for (name, bytes) in &files {
            let path = written(folder.path(), name, bytes);
            let options = Options {
                state: None,
                ..Options::default()
            };
            let key = format!("all/{name}");
            upload::push(&client, &path, "films", &key, &options, &Unwatched)
                .await
                .unwrap();
        }
        let mut lines = media(&house, key, "SUBTITLES", 2).await;
        lines.sort();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!(said(&lines[0], "NAME"), "Deutsch (SDH)");
        assert!(lines[0].contains("public.accessibility.transcribes-spoken-dialog"));
        assert_eq!(said(&lines[1], "NAME"), "English (forced)");
        assert!(lines[1].contains("FORCED=YES"));
        let first = async |line: &str| {
            let segment = said(line, "URI").replace(".m3u8", "-0.vtt");
            cues(&house.text(&house.address(key, &segment)).await)
        };
        assert_eq!(first(&lines[0]).await, [(1000, 2000, "Grüße".to_owned())]);
        assert_eq!(first(&lines[1]).await[0].1, 2500);

        // One that is replaced has another address; one that is deleted is gone from the next master.
        let before = said(&lines[0], "URI").to_owned();
        let again = written(folder.path(), "again.srt", SRT.as_bytes());
        let options = Options {
            state: None,
            ..Options::default()
        };
        let german = format!("all/{stem}.de.sdh.srt");
        upload::push(&client, &again, "films", &german, &options, &Unwatched)
            .await
            .unwrap();
        wait::patiently(MADE, "the new texts are listed", async || {
            let lines = media(&house, key, "SUBTITLES", 1).await;
            let german = lines.iter().find(|line| line.contains("Deutsch"));
            german.is_some_and(|line| said(line, "URI") != before)
        })
        .await;
        let old = house.http.get(house.address(key, &before)).send().await;
        assert_eq!(old.unwrap().status(), 404);
    })
    .await;
}

#[tokio::test]
async fn players_show_texts_in_time_after_seeks() {
    within(LIMIT, async {
        let Some(scripts) = browser::scripts("shaka-player") else {
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let srt = written(folder.path(), "texts.srt", SRT.as_bytes());
        let mp4 = ["-map", "0", "-map", "1", "-map", "2", "-c:s", "mov_text"];
        let Some(film) = film("t-texts-1.mp4", &["-i", srt.to_str().unwrap()], &mp4) else {
            return;
        };
        let house = House::with(std::slice::from_ref(&film)).await;
        let key = name(&film);
        media(&house, key, "SUBTITLES", 1).await;
        // Forth and back, into the middle of texts, one of which began segments ago; an mp4 ends it where the next begins.
        let wanted = json!([
            { "at": 20.5, "start": 20.001, "end": 22.75, "text": "Late" },
            { "at": 7.9, "start": 3.0, "end": 8.2, "text": "A long one, over cuts" },
            { "at": 28.5, "start": 28.0, "end": 31.0, "text": "To the end" },
            { "at": 1.0, "start": 0.5, "end": 1.9, "text": "The first word" },
            { "at": 12.5, "start": 12.345, "end": 13.21, "text": "Bread & < butter >" },
        ]);
        let told = super::browser(
            &scripts,
            "texts.mjs",
            &[
                house.address(key, "master.m3u8"),
                house.address(key, "manifest.mpd"),
                wanted.to_string(),
            ],
        )
        .await;
        for (player, told) in told.as_object().unwrap() {
            assert_eq!(told["errors"], json!([]), "{player}: {told}");
            let seen = told["seen"].as_array().unwrap();
            assert_eq!(seen.len(), 5, "{player}: {told}");
            for (seen, wanted) in seen.iter().zip(wanted.as_array().unwrap()) {
                for time in ["start", "end"] {
                    let off = seen[time].as_f64().unwrap() - wanted[time].as_f64().unwrap();
                    assert!(off.abs() <= 0.001, "{player}: {seen} {wanted}");
                }
            }
        }
    })
    .await;
}
