//! The document at `/.well-known/nebula`: how a client that knows only an origin finds the doors.

use serde::{Deserialize, Serialize};

/// The value of [`Discovery::product`].
pub const PRODUCT: &str = "nebula";

/// Where the doors are. Open to everyone, so it says nothing about the node's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Discovery {
    /// Always [`PRODUCT`]; anything else is another server.
    pub product: String,
    /// The daemon's version, `0.1.0`.
    pub version: String,
    /// The base path of the JSON API, `/-/api/v1`.
    pub api: String,
    /// The tus door, `/-/tus/`.
    pub tus: String,
    /// The door of the IETF's resumable uploads, `/-/upload/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<String>,
    /// Largest body to send to either in one request; absent for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload_chunk_bytes: Option<u64>,
    /// The web console, `/-/`.
    pub console: String,
    /// The region that S3 clients sign for.
    pub s3_region: String,
}
