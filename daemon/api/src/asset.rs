//! Assets: what the media room knows about an object that can be played.

use crate::{Chapter, Playback, Sound, Storyboard, Subtitles, Urls, page::clamp_limit};
use serde::{Deserialize, Serialize};

/// A playable object, or one that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Asset {
    /// The object's bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// How far it is.
    pub state: AssetState,
    /// Why it failed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The title from the tags, else from the file's name.
    pub title: String,
    /// The year in the file's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub year: Option<u16>,
    /// Where it stands in a series, as its name and folders say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episode: Option<Episode>,
    /// Where the caller stopped watching.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_ms: Option<u64>,
    /// The object's length.
    pub size_bytes: u64,
    /// How long it plays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The container: `mp4`, `matroska`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The source's tracks, in its order.
    #[serde(default)]
    pub tracks: Vec<Track>,
    /// The rungs made below the original, largest first; those to be made too, except in listings.
    #[serde(default)]
    pub renditions: Vec<Rendition>,
    /// The sounds to choose from; absent until it is indexed, and in listings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sounds: Vec<Sound>,
    /// The subtitles to choose from; absent until it is indexed, and in listings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subtitles: Vec<Subtitles>,
    /// The chapters in order; absent until it is indexed, and in listings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chapters: Vec<Chapter>,
    /// Small pictures of the whole film; absent where there is no picture, until it is indexed, and in listings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storyboard: Option<Storyboard>,
    /// Where to read, play and see it.
    pub urls: Urls,
    /// How it would be played by the caller, and why so; absent until it is indexed, and in listings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playback: Option<Playback>,
    /// When the object was stored.
    pub created_at_ms: i64,
}

/// One part of a series.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Episode {
    /// The name of the series.
    pub series: String,
    /// From 1; 0 for specials.
    pub season: u16,
    /// From 1.
    pub number: u16,
}

/// How far the media room is with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum AssetState {
    /// Its index is being made.
    Indexing,
    /// It plays.
    Ready,
    /// It cannot be played; `reason` says why.
    Failed,
    /// A value this reader does not know.
    #[serde(other)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Other,
}

impl AssetState {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Indexing => "indexing",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Other => "other",
        }
    }
}

/// One track of the source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Track {
    /// Its number in the source.
    pub index: u32,
    /// What it carries.
    pub kind: TrackKind,
    /// The codec's short name: `h264`, `aac`, `subrip`.
    pub codec: String,
    /// The codec as playlists write it (RFC 6381): `avc1.64001f`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codecs: Option<String>,
    /// BCP 47 or ISO 639 language, as tagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The track's own title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Whether players choose it by default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Video: width in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Video: height in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Video: frames per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_rate: Option<f64>,
    /// Video: `sdr`, or `hlg` or `pq` where it is HDR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Audio: channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<u32>,
    /// Audio: samples per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_rate_hz: Option<u32>,
    /// Average bits per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate_bps: Option<u64>,
}

/// What a track carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TrackKind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Text or picture subtitles.
    Subtitle,
    /// Anything else.
    #[serde(other)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Other,
}

/// One rung below the original.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rendition {
    /// Its name in addresses: `720p`.
    pub name: String,
    /// Width in pixels; 0 in listings while it is not known.
    pub width: u32,
    /// Height in pixels; 0 in listings while it is not known.
    pub height: u32,
    /// How far it is.
    pub state: RenditionState,
    /// 0 to 1.
    pub progress: f64,
    /// Its codecs as playlists write them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codecs: Option<String>,
    /// Average bits per second, once known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate_bps: Option<u64>,
}

/// How far a rung is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RenditionState {
    /// Waiting for a worker.
    Pending,
    /// Being made; what is there already plays.
    Running,
    /// Complete.
    Ready,
    /// Will not come; the job says why.
    Failed,
    /// Was made and gave way to others; made again when somebody watches the film.
    Evicted,
    /// A value this reader does not know.
    #[serde(other)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Other,
}

/// The query of an asset listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct AssetsQuery {
    /// Only assets whose title or key contains every word of this, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// Where to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// At most this many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl AssetsQuery {
    /// How many items to answer with: the caller's wish within the bounds.
    pub fn limit_items(&self) -> u32 {
        clamp_limit(self.limit)
    }
}
