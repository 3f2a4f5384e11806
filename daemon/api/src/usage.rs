//! How much is held, and how much may be.

use serde::{Deserialize, Serialize};

/// How much is held, old versions counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Usage {
    /// Bytes.
    pub size_bytes: u64,
    /// Versions that are not delete markers.
    pub objects: u64,
}

/// How much may be held, old versions counted; what is absent has no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Quota {
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// Versions that are not delete markers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<u64>,
}

impl Quota {
    /// Whether there is no bound at all.
    pub fn is_unbounded(&self) -> bool {
        *self == Self::default()
    }
}
