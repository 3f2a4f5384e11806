//! Watching: where each identity stopped, what is played at this moment, and films and series as a shelf.

use crate::{Asset, Playback, PlaybackMode, Urls, page::clamp_limit};
use serde::{Deserialize, Serialize};

/// Where the caller stopped watching an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Position {
    /// The object's bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// The film's title.
    pub title: String,
    /// From the start of the film.
    pub position_ms: u64,
    /// Of the whole film.
    pub duration_ms: u64,
    /// Whether nothing but the end is left: at most a twentieth.
    pub watched: bool,
    /// Where to read, play and see it.
    pub urls: Urls,
    /// When it was told.
    pub updated_at_ms: i64,
}

/// What a player tells now and then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PutPosition {
    /// From the start of the film; more than the film's duration is its end.
    pub position_ms: u64,
}

/// Which positions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct PositionsQuery {
    /// Where to go on: the `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// At most this many items, 1 to [`crate::MAX_PAGE_ITEMS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only films that were begun and not watched to the end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
}

impl PositionsQuery {
    /// How many items to answer with: the caller's wish within the bounds.
    pub fn limit_items(&self) -> u32 {
        clamp_limit(self.limit)
    }
}

/// Somebody who watches at this moment, and what reaches them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stream {
    /// The identity, as the audit log writes it.
    pub actor: String,
    /// The address it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The player, as it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub player: Option<String>,
    /// The object's bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// What happens to the bytes that it gets.
    pub mode: PlaybackMode,
    /// Why, in one sentence.
    pub reason: String,
    /// What it gets: `file`, `original`, or a rung's name.
    pub rendition: String,
    /// What was decided for its player, which may choose something else of what it is given; absent while the film is not indexed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Playback>,
    /// Start of the segment asked for last; absent for files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position_ms: Option<u64>,
    /// Of the whole film.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// When it began.
    pub started_at_ms: i64,
    /// When it last asked for something.
    pub seen_at_ms: i64,
}

/// Which part of the library.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct LibraryQuery {
    /// Where to go on: the `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// At most this many items, 1 to [`crate::MAX_PAGE_ITEMS`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only what has every word of this in its title, series or key, in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// The episodes of this series, by season and number, in place of the shelf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<String>,
}

impl LibraryQuery {
    /// How many items to answer with: the caller's wish within the bounds.
    pub fn limit_items(&self) -> u32 {
        clamp_limit(self.limit)
    }
}

/// One place on the shelf: a film, a series, or an episode of the series that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LibraryItem {
    /// The title of the film or episode, or the name of the series.
    pub title: String,
    /// The film or episode; of a series, the newest one.
    pub asset: Asset,
    /// How many episodes a series has; absent for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episodes: Option<u32>,
    /// How many seasons a series has; absent for anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seasons: Option<u32>,
}
