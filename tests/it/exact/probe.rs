//! What ffprobe says of a film, and what a playlist says of its segments.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

/// One packet, as ffprobe lists it.
#[derive(Debug, Clone)]
pub struct Packet {
    pub stream: u64,
    pub pts_s: Option<f64>,
    pub duration_s: f64,
    pub key: bool,
    /// Not to be shown: an edit list hides it.
    pub hidden: bool,
    pub hash: String,
}

/// What ffprobe reads of a file or an address.
#[derive(Debug, Default)]
pub struct Told {
    pub packets: Vec<Packet>,
    /// Kind and start of each stream.
    pub streams: Vec<(String, Option<f64>)>,
    /// What it complained of.
    pub complaints: String,
}

/// Every packet.
pub async fn packets(input: &str) -> Told {
    let done = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-show_data_hash", "md5"])
        .args([
            "-show_entries",
            "packet=stream_index,pts_time,dts_time,duration_time,flags,data_hash:stream=codec_type,start_time",
        ])
        .args(["-protocol_whitelist", "file,http,tcp"])
        .arg(input)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("ffprobe comes with ffmpeg");
    let told: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
    let seconds = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
    let none = Vec::new();
    let packets = told["packets"].as_array().unwrap_or(&none);
    let packets = packets
        .iter()
        .map(|packet| {
            let flags = packet["flags"].as_str().unwrap_or("");
            Packet {
                stream: packet["stream_index"].as_u64().unwrap_or(u64::MAX),
                // AVI tells decoding times alone, which are those of showing where nothing is reordered.
                pts_s: seconds(&packet["pts_time"]).or_else(|| seconds(&packet["dts_time"])),
                duration_s: seconds(&packet["duration_time"]).unwrap_or(0.0),
                key: flags.starts_with('K'),
                hidden: flags.contains('D'),
                hash: packet["data_hash"].as_str().unwrap_or("").to_owned(),
            }
        })
        .collect();
    let streams = told["streams"].as_array().unwrap_or(&none);
    let streams = streams.iter().map(|stream| {
        let kind = stream["codec_type"].as_str().unwrap_or("");
        (kind.to_owned(), seconds(&stream["start_time"]))
    });
    Told {
        packets,
        streams: streams.collect(),
        complaints: String::from_utf8_lossy(&done.stderr).into_owned(),
    }
}

/// The same film as ffmpeg itself writes it into mp4: with lengths instead of start codes, without ADTS.
pub async fn remuxed(input: &str, stream: u64) -> Vec<String> {
    let place = tempfile::tempdir().expect("a folder");
    let out = place.path().join("remuxed.mp4");
    let done = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-i", input])
        .args(["-map", &format!("0:{stream}"), "-c", "copy"])
        .args(["-strict", "-2"])
        .arg(&out)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("ffmpeg runs");
    assert!(
        done.status.success(),
        "{input}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    let told = packets(out.to_str().expect("a UTF-8 path")).await;
    told.packets.into_iter().map(|packet| packet.hash).collect()
}

/// A media playlist: what it says, in order.
#[derive(Debug, Default)]
pub struct Playlist {
    pub target_s: f64,
    pub init: String,
    /// Length in seconds and address of each segment.
    pub segments: Vec<(f64, String)>,
    /// How many of a segment's first bytes are meant, where that is said.
    pub ranges: Vec<usize>,
    pub ended: bool,
}

impl Playlist {
    pub fn read(text: &str) -> Self {
        let mut list = Self::default();
        let mut length = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("#EXTINF:") {
                length = rest.trim_end_matches(',').parse().ok();
            } else if let Some(rest) = line.strip_prefix("#EXT-X-TARGETDURATION:") {
                list.target_s = rest.parse().expect("a number");
            } else if let Some(rest) = line.strip_prefix("#EXT-X-MAP:URI=\"") {
                list.init = rest.trim_end_matches('"').to_owned();
            } else if let Some(rest) = line.strip_prefix("#EXT-X-BYTERANGE:") {
                let bytes = rest.strip_suffix("@0").expect("the first bytes");
                list.ranges.push(bytes.parse().expect("a number"));
            } else if line == "#EXT-X-ENDLIST" {
                list.ended = true;
            } else if !line.starts_with('#') && !line.is_empty() {
                let length = length.take().expect("a length before each address");
                list.segments.push((length, line.to_owned()));
            }
        }
        list
    }

    pub fn total_s(&self) -> f64 {
        self.segments.iter().map(|(length, _)| length).sum()
    }
}

/// How many samples a segment has: the sum of its `trun` boxes (ISO/IEC 14496-12 §8.8.8).
pub fn samples(segment: &[u8]) -> usize {
    let mut count = 0;
    let mut rest = segment;
    while rest.len() >= 8 {
        let word = |at: usize| u32::from_be_bytes(rest[at..at + 4].try_into().expect("four bytes"));
        let length = word(0) as usize;
        assert!(
            length >= 8 && length <= rest.len(),
            "a box of {length} bytes"
        );
        match &rest[4..8] {
            b"moof" | b"traf" => count += samples(&rest[8..length]),
            b"trun" => count += word(12) as usize,
            _ => {}
        }
        rest = &rest[length..];
    }
    count
}

/// The value of an attribute of a line of a master playlist, without its quotes.
pub fn attribute<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, list) = line.split_once(':')?;
    let mut rest = list;
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let (value, next) = if let Some(quoted) = after.strip_prefix('"') {
            let (value, next) = quoted.split_once('"')?;
            (value, next.strip_prefix(',').unwrap_or(next))
        } else {
            after.split_once(',').unwrap_or((after, ""))
        };
        if key == name {
            return Some(value);
        }
        rest = next;
    }
    None
}
