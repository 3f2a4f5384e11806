//! How a film reaches a player: what the player says of itself, what is decided, and why.

use crate::TrackKind;
use serde::{Deserialize, Serialize};

/// What a player takes, as it says itself: in the query of an asset, a master playlist or a manifest, or, in the same
/// words and form, in the header [`PLAYER_HEADER`].
///
/// Whatever is left out is that of the player named, else of the one that the `User-Agent` names, else of a browser.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct PlayerQuery {
    /// A player that the daemon knows: `chromium`, `firefox`, `safari`, `hls.js`, `vlc`, `mpv`, `ffplay`, `kodi`, `exoplayer`, `dlna`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub player: Option<String>,
    /// Containers that it opens as files, separated by commas: `mp4,mkv`; empty for one that plays HLS or DASH alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containers: Option<String>,
    /// Codecs of pictures, separated by commas: FFmpeg's short names (`h264`), or as playlists write them (RFC 6381),
    /// which is the highest profile and level that it takes: `avc1.640029,hvc1.2.4.L153.90`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video: Option<String>,
    /// Codecs of sound in the same way: `aac,ac-3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<String>,
    /// The shorter side of the largest picture that it shows, in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<u32>,
    /// Bits per second that reach it; smaller pictures are given, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bitrate_bps: Option<u64>,
    /// Whether it shows HLG and PQ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hdr: Option<bool>,
}

/// The header that says what [`PlayerQuery`] does, in the form of a query.
pub const PLAYER_HEADER: &str = "nebula-player";

/// How a film reaches a player, and why so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Playback {
    /// What happens to the bytes.
    pub mode: PlaybackMode,
    /// Why, in one sentence.
    pub reason: String,
    /// For whom it was decided: `Firefox`.
    #[serde(default)]
    pub player: String,
    /// How the player is known.
    #[serde(default)]
    pub known_by: KnownBy,
    /// Every stream that there is, and whether the player's master playlist has it; absent in the list of viewers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<PlaybackStream>,
}

/// How it is known what a player takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum KnownBy {
    /// It says so itself: what it does not take is left out.
    Stated,
    /// By its `User-Agent`: what it does not take is left out, where something else is left.
    UserAgent,
    /// Nobody knows: it is taken for a browser, and offered everything.
    #[default]
    Assumed,
    /// A value this reader does not know.
    #[serde(other)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Other,
}

impl KnownBy {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stated => "stated",
            Self::UserAgent => "user_agent",
            Self::Assumed => "assumed",
            Self::Other => "other",
        }
    }
}

/// One stream of pictures or sound of a film.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PlaybackStream {
    /// Its name beside the master playlist: `v1`.
    pub stream: String,
    /// For people: `original`, `720p`, `audio`.
    pub name: String,
    /// Pictures or sound.
    pub kind: TrackKind,
    /// Its codec as playlists write it.
    pub codecs: String,
    /// Pictures: width in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    /// Pictures: height in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Average bits per second.
    pub bitrate_bps: u64,
    /// Whether the player's master playlist has it.
    pub given: bool,
    /// What speaks against it, in words; absent when nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What happens to the bytes on their way to the player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PlaybackMode {
    /// The file itself.
    Direct,
    /// The same samples in another container.
    Remux,
    /// Video copied, audio made anew.
    Audio,
    /// Everything made anew.
    Transcode,
    /// A value this reader does not know.
    #[serde(other)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Other,
}

impl PlaybackMode {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Remux => "remux",
            Self::Audio => "audio",
            Self::Transcode => "transcode",
            Self::Other => "other",
        }
    }
}
