//! What a viewer can choose of a film, and where to jump in it: sounds, subtitles, chapters, small pictures.

use crate::RenditionState;
use serde::{Deserialize, Serialize};

/// A sound track, as players offer it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Sound {
    /// The source's track, as its `index` there.
    pub track: u32,
    /// For people, as playlists have it; no two are the same.
    pub name: String,
    /// BCP 47.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Whether it is heard when the viewer does not choose.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Whether every player gets it as it is in the source; otherwise AAC is made of it.
    pub original: bool,
    /// How far that AAC is; `ready` for an original.
    pub state: RenditionState,
}

/// Subtitles, as players offer them: a track of the source, or a file beside it that the caller may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Subtitles {
    /// The name beside the master playlist: `s3` for track 3 of the source.
    pub stream: String,
    /// For people, as playlists have it; no two are the same.
    pub name: String,
    /// BCP 47.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Whether they are shown when the viewer does not choose.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Only what must be read to follow the film.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Noises and speakers too, for those who do not hear them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hearing_impaired: bool,
    /// What they are delivered as.
    pub format: SubtitleFormat,
    /// All of them in one file; what is being read of the source answers 503 with `Retry-After`.
    pub url: String,
    /// Where the film begins on the clock of that file, in milliseconds: pictures keep the clock of their source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin_ms: Option<i64>,
    /// The index that belongs to that file, of VobSub alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index_url: Option<String>,
}

/// What subtitles are delivered as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SubtitleFormat {
    /// Text, in playlists too.
    Webvtt,
    /// Pictures of a Blu-ray disc, for players that draw them.
    Pgs,
    /// Pictures of a DVD, for players that draw them.
    Vobsub,
    /// A value this reader does not know.
    #[serde(other)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Other,
}

impl SubtitleFormat {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Webvtt => "webvtt",
            Self::Pgs => "pgs",
            Self::Vobsub => "vobsub",
            Self::Other => "other",
        }
    }
}

/// A chapter, on the clock of the playlists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Chapter {
    /// Its title, or its number in words.
    pub title: String,
    /// Where it begins.
    pub start_ms: u64,
    /// Where it ends.
    pub end_ms: u64,
}

/// Small pictures of the whole film, for the search for a place in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Storyboard {
    /// How far it is; a `pending` one is made when it is asked for.
    pub state: RenditionState,
    /// WebVTT that names for each time a part of a JPEG beside it; 503 with `Retry-After` until it is made.
    pub url: String,
}
