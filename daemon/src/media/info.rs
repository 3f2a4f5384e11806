//! What is told of a film: the part of its facts that people and programs ask for, as JSON in its row.

use nebula_hwaccel::index::{Copyable, MediaFacts, TrackFacts, TrackKind, VideoRange};
use serde::{Deserialize, Serialize};

/// What is known of a film.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Info {
    /// `mp4`, `mkv`, …
    pub container: String,
    /// Bits per second of all tracks.
    pub bitrate_bps: u64,
    /// The tracks in the file's order.
    pub tracks: Vec<TrackInfo>,
    /// Chapters in order.
    pub chapters: Vec<ChapterInfo>,
    /// Tags of the file.
    pub tags: Vec<(String, String)>,
    /// What a person should know about the file.
    pub notes: Vec<String>,
}

/// What is known of one track.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct TrackInfo {
    /// Number in the file.
    pub id: u32,
    /// `video`, `audio` or `subtitle`.
    pub kind: String,
    /// FFmpeg's short name.
    pub codec: String,
    /// RFC 6381.
    pub codecs: Option<String>,
    /// As in the file.
    pub language: Option<String>,
    /// The track's own title.
    pub title: Option<String>,
    /// Chosen when the viewer does not choose.
    pub default: bool,
    /// Bits per second.
    pub bitrate_bps: u64,
    /// Video: as shown, in pixels.
    pub width: Option<u32>,
    /// Video: as shown, in pixels.
    pub height: Option<u32>,
    /// Video: frames per second.
    pub frame_rate: Option<f64>,
    /// Video: `sdr`, `hlg` or `pq`.
    pub range: Option<String>,
    /// Audio: channels.
    pub channels: Option<u32>,
    /// Audio: in hertz.
    pub sample_rate: Option<u32>,
    /// Why its samples cannot be served as they lie there.
    pub not_copyable: Option<String>,
}

/// One chapter.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChapterInfo {
    /// In milliseconds.
    pub start_ms: i64,
    /// Its name.
    pub title: Option<String>,
}

impl Info {
    /// What a row holds; nothing is known when it holds nothing.
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// As a row holds it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| "{}".into())
    }
}

impl From<&MediaFacts> for Info {
    fn from(facts: &MediaFacts) -> Self {
        let chapter = |chapter: &nebula_hwaccel::index::Chapter| ChapterInfo {
            start_ms: chapter.start_us / 1000,
            title: chapter.title.clone(),
        };
        Self {
            container: facts.container.clone(),
            bitrate_bps: facts.bitrate_bps,
            tracks: facts.tracks.iter().map(TrackInfo::from).collect(),
            chapters: facts.chapters.iter().map(chapter).collect(),
            tags: facts.tags.clone(),
            notes: facts.notes.clone(),
        }
    }
}

impl From<&TrackFacts> for TrackInfo {
    fn from(track: &TrackFacts) -> Self {
        let mut info = Self {
            id: track.id,
            codec: track.codec.clone(),
            codecs: track.codecs.clone(),
            language: track.language.clone(),
            title: track.title.clone(),
            default: track.default,
            bitrate_bps: track.bitrate_bps,
            not_copyable: match &track.copyable {
                Copyable::Contiguous | Copyable::Gathered => None,
                Copyable::NeedsRemux { reason } => Some(reason.clone()),
            },
            ..Self::default()
        };
        match &track.kind {
            TrackKind::Video(video) => {
                info.kind = "video".into();
                info.width = Some(video.display_width);
                info.height = Some(video.display_height);
                info.frame_rate = Some(video.frame_rate.as_f64()).filter(|rate| *rate > 0.0);
                let range = match video.range {
                    VideoRange::Sdr => "sdr",
                    VideoRange::Hlg => "hlg",
                    VideoRange::Pq => "pq",
                };
                info.range = Some(range.into());
            }
            TrackKind::Audio(audio) => {
                info.kind = "audio".into();
                info.channels = Some(u32::from(audio.channels));
                info.sample_rate = Some(audio.sample_rate);
            }
            TrackKind::Subtitle { .. } => info.kind = "subtitle".into(),
        }
        info
    }
}
