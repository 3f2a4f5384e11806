//! Temporary keys.

use crate::Grant;
use serde::{Deserialize, Serialize};

/// Shortest life of a temporary key, in seconds.
pub const MIN_EXPIRES_IN_S: u64 = 15 * 60;
/// Longest life of a temporary key, in seconds.
pub const MAX_EXPIRES_IN_S: u64 = 12 * 60 * 60;
/// Its life when nobody says.
pub const DEFAULT_EXPIRES_IN_S: u64 = 60 * 60;

/// The body of `POST /-/api/v1/sessions`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateSession {
    /// What it is for; the audit shows it.
    #[serde(default)]
    pub name: String,
    /// What it may do at most; all that its maker may when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
    /// A policy in the JSON of S3's, without principals, of at most 2048 bytes: whatever the key does, it must allow as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// How long it works, from 15 minutes to 12 hours; an hour when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u64>,
}

/// A temporary key that was lent and works, without its secret and token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Session {
    /// The access key id.
    pub id: String,
    /// The access key that lent it.
    pub parent: String,
    /// What it is for.
    #[serde(default)]
    pub name: String,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it stops working.
    pub expires_at_ms: i64,
    /// When it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at_ms: Option<i64>,
}

/// A temporary key; nothing of it is shown or kept again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreatedSession {
    /// The access key id.
    pub id: String,
    /// The secret access key.
    pub secret: String,
    /// The session token: `x-amz-security-token` of every request.
    pub token: String,
    /// When it stops working.
    pub expires_at_ms: i64,
}

impl std::fmt::Debug for CreatedSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedSession")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
