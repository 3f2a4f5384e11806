//! Uploads that have begun and not ended.

use serde::{Deserialize, Serialize};

/// One unfinished upload, whichever door it came by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Upload {
    /// Its id: the last segment of a tus URL, the upload id of S3.
    pub id: String,
    /// Which door it came by.
    pub protocol: UploadProtocol,
    /// The bucket it will land in.
    pub bucket: String,
    /// The key it will have.
    pub key: String,
    /// The declared length, where one was declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
    /// How many bytes were received.
    pub offset_bytes: u64,
    /// Whether a request is sending in this moment.
    #[serde(default)]
    pub is_receiving: bool,
    /// How fast it sends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
    /// How long that request has sent nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_ms: Option<u64>,
    /// The declared media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Who began it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// When it began.
    pub created_at_ms: i64,
    /// When bytes last arrived.
    pub updated_at_ms: i64,
    /// When it is given up unless more arrives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<i64>,
}

/// The door an upload came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UploadProtocol {
    /// tus 1.0.
    Tus,
    /// S3 multipart.
    S3,
    /// IETF resumable uploads.
    Rufh,
    /// A value this reader does not know.
    #[serde(other)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Other,
}

impl UploadProtocol {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tus => "tus",
            Self::S3 => "s3",
            Self::Rufh => "rufh",
            Self::Other => "other",
        }
    }
}
