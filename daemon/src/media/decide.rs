//! Direct, remux, audio or transcode: one decision, with its reason, for a client and a film.

use nebula_hwaccel::index::{TrackFacts, TrackKind, VideoRange};

use super::film::Film;

/// What happens to the bytes on their way to the player.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The file itself.
    Direct,
    /// The same samples in another container.
    Remux,
    /// The picture as it is, the sound made anew.
    Audio,
    /// Everything made anew.
    Transcode,
}

/// The mode and why, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What happens.
    pub mode: Mode,
    /// Why.
    pub reason: String,
}

/// What a player can take; the default is a browser that nobody knows more of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Containers it opens as files, by the names of the index.
    pub containers: Vec<String>,
    /// Picture codecs, by FFmpeg's short names.
    pub video: Vec<String>,
    /// Sound codecs, by FFmpeg's short names.
    pub audio: Vec<String>,
    /// Lines it can show; `None` for any.
    pub height_max: Option<u32>,
    /// Whether it shows HLG and PQ.
    pub hdr: bool,
    /// Bits per second that reach it; `None` for any.
    pub bitrate_bps_max: Option<u64>,
}

impl Default for Capabilities {
    fn default() -> Self {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        Self {
            containers: words(&["mp4", "mov", "webm", "mp3", "flac", "ogg", "wav", "aac"]),
            video: words(&["h264", "av1", "vp9", "vp8"]),
            audio: words(&["aac", "mp3", "opus", "vorbis", "flac"]),
            height_max: None,
            hdr: true,
            bitrate_bps_max: None,
        }
    }
}

/// How a film is served to a client.
pub fn decide(client: &Capabilities, film: &Film) -> Decision {
    let because = |mode, reason: String| Decision { mode, reason };
    let facts = &film.index.facts;
    let picture = film.picture();
    if let Some(track) = picture
        && let Some(reason) = picture_refused(client, track)
    {
        return because(Mode::Transcode, reason);
    }
    if let Some(limit) = client.bitrate_bps_max
        && facts.bitrate_bps > limit
    {
        return because(
            Mode::Transcode,
            format!(
                "the film takes {} and {} reach the player",
                rate(facts.bitrate_bps),
                rate(limit)
            ),
        );
    }
    let mut sounds = film.sounds();
    let heard = |track: &TrackFacts| client.audio.contains(&track.codec);
    let first = sounds.next();
    let none_heard = first.is_some_and(|track| !heard(track)) && !sounds.any(heard);
    if none_heard {
        let codec = first.map_or("", |track| track.codec.as_str());
        let mode = if picture.is_some() {
            Mode::Audio
        } else {
            Mode::Transcode
        };
        return because(
            mode,
            format!("the player does not take {codec} sound, so it is made anew as AAC"),
        );
    }
    if client.containers.contains(&facts.container) {
        return because(
            Mode::Direct,
            format!(
                "the player takes {} with these codecs as it is",
                facts.container
            ),
        );
    }
    let copied =
        picture.is_none_or(|_| film.video.is_some()) && (first.is_none() || !film.audio.is_empty());
    if copied {
        return because(
            Mode::Remux,
            format!(
                "the player takes the codecs but not the container {}",
                facts.container
            ),
        );
    }
    because(
        Mode::Transcode,
        format!(
            "the samples of this {} cannot be served as they lie there",
            facts.container
        ),
    )
}

fn picture_refused(client: &Capabilities, track: &TrackFacts) -> Option<String> {
    let TrackKind::Video(picture) = &track.kind else {
        return None;
    };
    if !client.video.contains(&track.codec) {
        return Some(format!("the player does not take {} pictures", track.codec));
    }
    if picture.range != VideoRange::Sdr && !client.hdr {
        return Some("the player shows no HDR".into());
    }
    let lines = picture.display_height.min(picture.display_width);
    match client.height_max {
        Some(limit) if lines > limit => Some(format!(
            "the picture has {lines} lines and the player shows {limit}"
        )),
        _ => None,
    }
}

fn rate(bps: u64) -> String {
    format!("{:.1} Mbit/s", bps as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::timeline::tests::film;

    #[test]
    fn the_mode_follows_from_what_the_player_takes() {
        let decide_for = |video: &str, audio: &str, container: &str, client: &Capabilities| {
            let mut index = film(4, 25);
            index.facts.container = container.into();
            index.facts.bitrate_bps = 8_000_000;
            index.facts.tracks[0].codec = video.into();
            index.facts.tracks[1].codec = audio.into();
            decide(client, &Film::new(index)).mode
        };
        let any = Capabilities::default();
        let small = Capabilities {
            height_max: Some(480),
            ..any.clone()
        };
        let slow = Capabilities {
            bitrate_bps_max: Some(1_000_000),
            ..any.clone()
        };
        assert_eq!(decide_for("h264", "aac", "mp4", &any), Mode::Direct);
        assert_eq!(decide_for("h264", "aac", "mkv", &any), Mode::Remux);
        assert_eq!(decide_for("h264", "ac3", "mp4", &any), Mode::Audio);
        assert_eq!(
            decide_for("mpeg2video", "aac", "mp4", &any),
            Mode::Transcode
        );
        assert_eq!(decide_for("h264", "aac", "mp4", &small), Mode::Transcode);
        assert_eq!(decide_for("h264", "aac", "mp4", &slow), Mode::Transcode);
    }
}
