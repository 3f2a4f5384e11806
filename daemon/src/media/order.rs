//! What travels between whoever runs a worker process and whoever keeps what it makes.

use nebula_hwaccel::protocol;
use serde::{Deserialize, Serialize};

use crate::kernel::{BucketName, ContentId, ObjectKey, VersionId};
use crate::store::Object;

/// The largest report: one message of a worker process and a poster beside it.
pub const REPORT_BYTES_MAX: usize = protocol::MAX_FRAME_BYTES + (1 << 20);

/// The payload of an `index` job, and the beginning of every other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Hex of the [`ContentId`].
    pub content: String,
    /// The bucket of the object that caused the job.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Its version.
    pub version: String,
}

impl About {
    /// A job about an object.
    pub fn of(object: &Object) -> Self {
        Self {
            content: object.content_id.to_string(),
            bucket: object.bucket.to_string(),
            key: object.key.to_string(),
            version: object.version_id.to_string(),
        }
    }

    /// The content.
    pub fn content(&self) -> Option<ContentId> {
        self.content.parse().ok()
    }

    /// The object by name.
    pub fn object(&self) -> Option<(BucketName, ObjectKey, VersionId)> {
        Some((
            self.bucket.parse().ok()?,
            self.key.parse().ok()?,
            self.version.parse().ok()?,
        ))
    }
}

/// The payload of a `ladder` or `sound` job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LadderPayload {
    /// Of what.
    #[serde(flatten)]
    pub about: About,
    /// The renditions to make.
    pub renditions: Vec<Wanted>,
}

/// The payload of a `subtitles` job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubtitlesPayload {
    /// Of what.
    #[serde(flatten)]
    pub about: About,
    /// Tracks of a film; empty for a file of subtitles.
    pub tracks: Vec<u32>,
}

/// One rendition that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Name and settings in one word: the key of the cache, and the name in addresses.
    pub recipe: String,
    /// `720p`, `audio`.
    pub name: String,
    /// What it is.
    pub shape: WantedShape,
}

/// What a wanted rendition is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WantedShape {
    /// A picture.
    Video {
        /// Short side in pixels.
        height: u32,
        /// Ceiling.
        bitrate_bps_max: u64,
    },
    /// Sound.
    Audio {
        /// Track number in the file.
        track: u32,
        /// Bits per second.
        bitrate_bps: u64,
    },
}

/// What a worker process is to do, complete but for where its bytes come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// The job as the process understands it.
    pub job: protocol::Job,
    /// Length of the object.
    pub size_bytes: u64,
    /// The whole run may take so long, in seconds.
    pub deadline_s: u64,
}

/// The answer to whoever leased a job and wants to begin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opening {
    /// Do this.
    Work(Box<Order>),
    /// Nothing is left to be done; the reason is a sentence part.
    Nothing {
        /// Such as `the object was deleted`.
        reason: String,
    },
}

/// What a run made, to be kept at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Report {
    /// The whole result of an `index` job.
    Indexed {
        /// The compact sample index.
        index: Vec<u8>,
        /// JPEG.
        poster: Option<Vec<u8>>,
    },
    /// The init segment of a rendition.
    Init(protocol::RungInit),
    /// A segment of a rendition.
    Segment(protocol::Segment),
    /// The texts of a track.
    Texts(protocol::TextTrack),
    /// The pictures of a track of subtitles.
    Pictures(protocol::PictureTrack),
    /// A sheet of a storyboard.
    Sheet(protocol::Sheet),
    /// All that the job was to make is made.
    Encoded,
    /// The job will never succeed, and why.
    Refused(String),
}
