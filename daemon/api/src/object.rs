//! Objects: the entries of a listing and the details of one.

use crate::{Asset, page::clamp_limit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One object version, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Object {
    /// The bucket it is in.
    pub bucket: String,
    /// Its key, 1 to 1,024 bytes of UTF-8.
    pub key: String,
    /// The version's id; absent where the bucket never had versioning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether this is what a plain read returns.
    pub latest: bool,
    /// Whether this is a delete marker: no content, hides the versions below.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete_marker: bool,
    /// Length of the content.
    pub size_bytes: u64,
    /// The entity tag without its quotes.
    pub etag: String,
    /// The media type it was stored with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// When this version was made.
    pub modified_at_ms: i64,
}

/// One object with all that is known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ObjectDetails {
    /// What a listing would show.
    #[serde(flatten)]
    pub object: Object,
    /// BLAKE3 of the whole content, 64 hex digits; absent where it is not known (yet),
    /// as for an object put together from several parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
    /// The owner's metadata (`x-amz-meta-*` without the prefix).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// What the media room made of it, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset: Option<Asset>,
    /// Where to read and play it.
    pub urls: Urls,
}

/// The body of a claim: the object to be made of content that the node has already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClaimContent {
    /// The bucket it is to be in.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Length of the content.
    pub size_bytes: u64,
    /// Its media type; guessed from the key's extension when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The owner's metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// Paths from the origin to one object's doors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Urls {
    /// The bytes, with ranges: `/-/file/{bucket}/{key}`.
    pub file: String,
    /// The master playlist, where the object is (or may become) playable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hls: Option<String>,
    /// The poster, where one was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poster: Option<String>,
}

/// The query of an object listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct ObjectsQuery {
    /// Only keys that start with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Fold what lies behind the next occurrence of this into [`ObjectPage::prefixes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<String>,
    /// Where to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// At most this many items and prefixes together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// List every version and delete marker, newest first per key, instead of the latest objects.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub versions: bool,
}

impl ObjectsQuery {
    /// How many entries to answer with: the caller's wish within the bounds.
    pub fn limit_items(&self) -> u32 {
        clamp_limit(self.limit)
    }
}

/// One page of an object listing, in the order of the keys' bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ObjectPage {
    /// The objects.
    pub items: Vec<Object>,
    /// The common prefixes that a delimiter folded, each ending with it.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// The cursor of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which version of one object is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct VersionQuery {
    /// The version's id; the latest when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
