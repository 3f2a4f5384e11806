//! `GET /-/api/v1/status`: the node at a glance, and who is asking.

use crate::{Quota, Role, Usage};
use serde::{Deserialize, Serialize};

/// The node at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Status {
    /// The daemon's version, `0.1.0`.
    pub version: String,
    /// What was built: commit and date, or `dev`.
    pub build_id: String,
    /// The node's name (its host name unless configured).
    pub node: String,
    /// When this process started serving.
    pub started_at_ms: i64,
    /// How long ago that was.
    pub uptime_ms: u64,
    /// The addresses it listens on, `127.0.0.1:8000`.
    pub listen: Vec<String>,
    /// Disk space and what fills it.
    pub storage: Storage,
    /// The walk over every stored byte that looks for damage.
    #[serde(default)]
    pub scrub: Scrub,
    /// The catalog's database: `sqlite` or `postgres`.
    pub database: String,
    /// The job queue: `embedded` or `redis`.
    pub queue: String,
    /// What transcodes, and why that.
    pub hardware: Hardware,
    /// Jobs by state.
    pub jobs: JobCounts,
    /// Who the daemon takes the caller for.
    pub me: Me,
}

/// Disk space and what fills it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Storage {
    /// Size of the file system that holds the blobs.
    pub total_bytes: u64,
    /// What it has free for us.
    pub free_bytes: u64,
    /// What is never given to uploads.
    pub reserve_bytes: u64,
    /// What objects and renditions take.
    pub used_bytes: u64,
    /// How many objects there are, all buckets together.
    pub objects: u64,
    /// The data directory, and the disks beside it.
    #[serde(default)]
    pub disks: Vec<Disk>,
}

/// One disk: a directory of files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Disk {
    /// Its name in the configuration; `main` is the data directory's own.
    pub name: String,
    /// Why it cannot be used now; what lies on it is unavailable meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub away: Option<String>,
    /// Whether it is being emptied, so that nothing new goes there.
    #[serde(default)]
    pub draining: bool,
    /// Size of its file system; 0 while it is away.
    pub total_bytes: u64,
    /// What it has free for us.
    pub free_bytes: u64,
}

/// The walk over every stored byte that looks for damage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Scrub {
    /// Whether it goes on now.
    pub running: bool,
    /// Bytes it has to read, as known when it began.
    pub total_bytes: u64,
    /// Bytes it has read.
    pub done_bytes: u64,
    /// Files and objects that this walk, or the last one, found damaged.
    pub damaged: u64,
    /// Files that it wrote anew from a copy.
    pub healed: u64,
    /// Files that are known to be damaged now; what they hold is not served where it is damaged.
    pub quarantined: u64,
    /// When the last walk began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at_ms: Option<i64>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at_ms: Option<i64>,
    /// When the next one begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at_ms: Option<i64>,
}

/// The transcoder that was chosen by trying.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Hardware {
    /// `qsv`, `vaapi`, `software`, or `unknown` while nobody tried yet.
    pub choice: String,
    /// Why: what was tried and how it ended, one sentence.
    pub reason: String,
    /// The device, `/dev/dri/renderD128`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// How many jobs are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct JobCounts {
    /// Waiting for a worker or for their time.
    pub queued: u64,
    /// Being worked on.
    pub running: u64,
    /// Ended well.
    pub done: u64,
    /// Ended badly, with no attempt left that could help.
    pub failed: u64,
    /// Ended because someone said so.
    pub cancelled: u64,
    /// Given up after every attempt.
    pub dead: u64,
}

/// Who the daemon takes the caller for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Me {
    /// `key:NBXXXXXXXX`, `tailnet:alice@example.org`, `tailnet-node:nas`.
    pub actor: String,
    /// The highest role the actor has on any bucket.
    pub role: Role,
    /// The rule that gave it, in words: `root key`, `grant films: write`.
    pub rule: String,
    /// What the actor stored and is still held, in all buckets.
    #[serde(default)]
    pub usage: Usage,
    /// How much may be.
    #[serde(default, skip_serializing_if = "Quota::is_unbounded")]
    pub quota: Quota,
}
