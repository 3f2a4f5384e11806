//! Access keys and what they open.

use crate::{Quota, Usage};
use serde::{Deserialize, Serialize};

/// An access key, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AccessKey {
    /// The access key id: the user name of HTTP Basic, the credential of SigV4.
    pub id: String,
    /// What it is for, in its maker's words.
    #[serde(default)]
    pub name: String,
    /// Whether it is the root key: every right, cannot be deleted here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub root: bool,
    /// Whether it is switched off for now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// What it may do where.
    pub grants: Vec<Grant>,
    /// Whether a worker on another machine may take jobs with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub worker: bool,
    /// What was stored with it and is still held, in all buckets.
    #[serde(default)]
    pub usage: Usage,
    /// How much may be.
    #[serde(default, skip_serializing_if = "Quota::is_unbounded")]
    pub quota: Quota,
    /// When it was made.
    pub created_at_ms: i64,
    /// When it stops working; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<i64>,
    /// When it was last used, to within a few minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at_ms: Option<i64>,
}

/// A role on the buckets that a pattern names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Grant {
    /// A bucket's name, or one with `*` for any run of characters: `films`, `inbox-*`, `*`.
    pub bucket: String,
    /// What is allowed there.
    pub role: Role,
    /// Which keys there, by their start; all of them when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
}

/// What is allowed; each from `read` on includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Make buckets, with every right on those that it made; on others only what their policies and lists allow.
    Own = 1,
    /// List, read and play.
    Read = 2,
    /// And store, delete and share.
    Write = 3,
    /// And make and remove buckets; on `*` also keys, jobs and the node itself.
    Admin = 4,
    /// No right at all, or a value this reader does not know; the least of them.
    #[serde(other)]
    None = 0,
}

impl Role {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Own => "own",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }
}

/// The body of `POST /-/api/v1/keys`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateKey {
    /// What it is for.
    #[serde(default)]
    pub name: String,
    /// What it may do where; at least one, unless it is a worker's.
    #[serde(default)]
    pub grants: Vec<Grant>,
    /// Whether a worker on another machine may take jobs with it, read their sources and store their results.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub worker: bool,
    /// How much may be stored with it.
    #[serde(default, skip_serializing_if = "Quota::is_unbounded")]
    pub quota: Quota,
    /// How long it works; for ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<u64>,
}

/// The body of `PATCH /-/api/v1/keys/{id}`: what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct PatchKey {
    /// Switch it off, or on again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
    /// Change how much may be stored with it, both bounds at once; what is held already stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
}

/// A new key with its secret, which is never shown again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreatedKey {
    /// The key.
    #[serde(flatten)]
    pub key: AccessKey,
    /// The secret access key.
    pub secret: String,
}

impl std::fmt::Debug for CreatedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CreatedKey")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
