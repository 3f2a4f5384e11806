//! Buckets.

use crate::Quota;
use serde::{Deserialize, Serialize};

/// A bucket and how full it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created_at_ms: i64,
    /// Whether overwritten and deleted objects are kept as versions.
    pub versioning: Versioning,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// How many objects, every version counted.
    pub objects: u64,
    /// Their sizes added up.
    pub size_bytes: u64,
    /// How much of both there may be.
    #[serde(default, skip_serializing_if = "Quota::is_unbounded")]
    pub quota: Quota,
}

/// Whether overwritten and deleted objects are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Versioning {
    /// Never was on: an overwrite replaces.
    #[default]
    Off,
    /// Every write makes a version.
    Enabled,
    /// Was on: old versions stay, new writes replace the null version.
    Suspended,
    /// A value this reader does not know.
    #[serde(other)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Other,
}

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Durability {
    /// Acknowledged bytes survive power loss.
    #[default]
    Strict,
    /// Acknowledged bytes survive the process; for what can be made again.
    Relaxed,
    /// A value this reader does not know.
    #[serde(other)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Other,
}

/// The body of `POST /-/api/v1/buckets`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateBucket {
    /// 3 to 63 of `a-z 0-9 . -`, starting and ending with a letter or digit.
    pub name: String,
    /// Off when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versioning: Option<Versioning>,
    /// Strict when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// Whether its objects can be locked, for ever; versioning comes with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub object_lock: bool,
}

/// The body of `PATCH /-/api/v1/buckets/{bucket}`: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct PatchBucket {
    /// Turn versioning on, or suspend it; it never goes back to off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub versioning: Option<Versioning>,
    /// Change what acknowledgements promise from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// Change how much may be held, both bounds at once; what is held already stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
}
