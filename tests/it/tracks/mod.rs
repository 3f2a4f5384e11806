//! What goes with a film's picture: texts and sounds, in playlists and in a real browser.

#![expect(clippy::unwrap_used, reason = "tests")]

mod choices;
mod pictures;
mod sounds;
mod storyboard;
mod texts;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nebula_tests::browser::{self, CHROMIUM};
use nebula_tests::{films, wait};
use serde_json::Value;

use crate::exact::House;
use crate::exact::probe::attribute;

/// For a few films, on a machine that does much else.
const LIMIT: Duration = Duration::from_mins(4);
/// Until what is made of a film is there.
const MADE: Duration = Duration::from_mins(2);

/// One text: start and end in milliseconds, and what it says without tags.
type Line = (i64, i64, String);

/// A film of thirty seconds with a key picture every two, and whatever else the arguments bring.
fn film(name: &str, inputs: &[&str], arguments: &[&str]) -> Option<PathBuf> {
    #[rustfmt::skip]
    let mut all = vec![
        "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=24",
        "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
    ];
    all.extend(inputs);
    #[rustfmt::skip]
    all.extend([
        "-t", "30", "-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "48",
        "-sc_threshold", "0", "-c:a", "aac", "-ac", "2",
    ]);
    all.extend(arguments);
    films::made(name, &all)
}

/// What an `EXT-X-MEDIA` line of this type says, once there are so many of them.
async fn media(house: &House, film: &str, kind: &str, count: usize) -> Vec<String> {
    let address = house.address(film, "master.m3u8");
    let begin = format!("#EXT-X-MEDIA:TYPE={kind},");
    let mut lines = Vec::new();
    wait::patiently(MADE, "the master lists it", async || {
        let answer = house.http.get(&address).send().await.unwrap();
        let text = answer.text().await.unwrap();
        lines = text
            .lines()
            .filter(|line| line.starts_with(&begin))
            .map(str::to_owned)
            .collect();
        lines.len() >= count
    })
    .await;
    lines
}

fn said<'a>(line: &'a str, name: &str) -> &'a str {
    attribute(line, name).unwrap_or_else(|| panic!("{name} of {line}"))
}

/// The cues of a WebVTT file, without tags and settings.
fn cues(text: &str) -> Vec<Line> {
    let time = |text: &str| -> i64 {
        let parts: Vec<i64> = text
            .split([':', '.'])
            .map(|part| part.parse().unwrap())
            .collect();
        let (ms, seconds) = parts.split_last().unwrap();
        seconds.iter().fold(0, |sum, part| sum * 60 + part) * 1000 + ms
    };
    let text = text.replace("\r\n", "\n");
    let blocks = text.split("\n\n").filter(|block| block.contains("-->"));
    blocks
        .map(|block| {
            let mut lines = block
                .trim()
                .lines()
                .skip_while(|line| !line.contains("-->"));
            let (start, rest) = lines.next().unwrap().split_once(" --> ").unwrap();
            let end = rest.split(' ').next().unwrap();
            let mut said = lines.collect::<Vec<_>>().join("\n");
            for tag in ["<i>", "</i>", "<b>", "</b>", "<u>", "</u>"] {
                said = said.replace(tag, "");
            }
            (time(start), time(end), said)
        })
        .collect()
}

/// What ffmpeg itself reads of a track of text, on the clock of the file.
async fn extracted(film: &Path, track: usize) -> Vec<Line> {
    let done = tokio::process::Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-copyts", "-i"])
        .arg(film)
        .args(["-map", &format!("0:s:{track}"), "-f", "webvtt", "-"])
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    cues(&String::from_utf8(done.stdout).unwrap())
}

/// What a script of the browser tells.
async fn browser(scripts: &Path, script: &str, arguments: &[String]) -> Value {
    let mut script = browser::script(scripts, script);
    browser::told(script.args(arguments).arg(CHROMIUM)).await
}
