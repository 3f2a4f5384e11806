//! Disks that are being emptied.

use serde::{Deserialize, Serialize};

/// The body of `POST /-/api/v1/drains`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BeginDrain {
    /// The name of the disk in the configuration; `main` is the data directory's own.
    pub disk: String,
    /// Bytes a second at most; as fast as the disks allow when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
}

/// A disk that is being emptied while the appliance serves, or was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Drain {
    /// The name of the disk.
    pub disk: String,
    /// What is happening.
    pub state: DrainState,
    /// Files moved since the daemon took it up.
    pub moved_files: u64,
    /// Their bytes.
    pub moved_bytes: u64,
    /// Files that are still there, as last counted.
    pub left_files: u64,
    /// What cannot be moved and why, the first of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stuck: Vec<String>,
    /// Why it rests; it is tried again by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Bytes a second at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_s: Option<u64>,
    /// When it was asked for.
    pub started_at_ms: i64,
}

/// What is happening to such a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DrainState {
    /// Files move.
    Running,
    /// Something stays that cannot be moved, or the others have no room; it is tried again.
    Stuck,
    /// It is empty: take it out of the configuration.
    Done,
    /// Another process does it (`nebulad drain`), or nobody yet; or a value this reader does not know.
    #[serde(other)]
    Waiting,
}

impl DrainState {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stuck => "stuck",
            Self::Done => "done",
            Self::Waiting => "waiting",
        }
    }
}
