//! Signed links: reading and playing without a credential, for a while.

use crate::Urls;
use serde::{Deserialize, Serialize};

/// The longest life of a link.
pub const MAX_EXPIRES_IN_S: u64 = 365 * 24 * 3600;

/// The body of `POST /-/api/v1/links`: exactly one of `key` and `prefix`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateLink {
    /// The bucket.
    pub bucket: String,
    /// The one object it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Every object whose key starts with this; the empty string is the whole bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// How long it works, at most [`MAX_EXPIRES_IN_S`].
    pub expires_in_s: u64,
}

/// A signed link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Link {
    /// Its id, to revoke it by; knowing it opens nothing.
    pub id: String,
    /// The bucket.
    pub bucket: String,
    /// The one object it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Or every object whose key starts with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it stops working.
    pub expires_at_ms: i64,
    /// Who made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// The addresses with the token in them: always in the answer that creates it,
    /// absent in listings (whoever may list links need not be able to use them).
    /// For a prefix they end with the prefix, and the rest of a key is appended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urls: Option<Urls>,
}
