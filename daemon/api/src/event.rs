//! Events: the log of what happened, as server-sent events.

use crate::{Job, ObjectRef};
use serde::{Deserialize, Serialize};

/// The query of the event stream; the header `Last-Event-ID` wins over it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct EventsQuery {
    /// Replay what came after this sequence number; 0 is everything the log holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// One event: `{"seq":7,"at_ms":…,"type":"object.created","bucket":…}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// Its place in the log; grows, with gaps.
    pub seq: u64,
    /// When it happened.
    pub at_ms: i64,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened, told apart by the member `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type")]
pub enum EventBody {
    /// A bucket was made.
    #[serde(rename = "bucket.created")]
    BucketCreated {
        /// Its name.
        bucket: String,
    },
    /// A bucket was removed.
    #[serde(rename = "bucket.deleted")]
    BucketDeleted {
        /// Its name.
        bucket: String,
    },
    /// An object version was published.
    #[serde(rename = "object.created")]
    ObjectCreated {
        /// Which.
        #[serde(flatten)]
        object: ObjectRef,
        /// Its length.
        size_bytes: u64,
        /// Its entity tag without quotes.
        etag: String,
    },
    /// An object version was removed, or hidden by a delete marker.
    #[serde(rename = "object.deleted")]
    ObjectDeleted {
        /// Which.
        #[serde(flatten)]
        object: ObjectRef,
    },
    /// Stored bytes of an object were found damaged: reading them fails from now on, the others are served.
    #[serde(rename = "object.damaged")]
    ObjectDamaged {
        /// Which.
        #[serde(flatten)]
        object: ObjectRef,
        /// What was found, in a sentence.
        reason: String,
    },
    /// An object can be played from now on.
    #[serde(rename = "asset.ready")]
    AssetReady {
        /// Which.
        #[serde(flatten)]
        object: ObjectRef,
    },
    /// An object cannot be played.
    #[serde(rename = "asset.failed")]
    AssetFailed {
        /// Which.
        #[serde(flatten)]
        object: ObjectRef,
        /// Why.
        reason: String,
    },
    /// A job changed its state or got on.
    #[serde(rename = "job.changed")]
    JobChanged {
        /// The job as it is now.
        job: Box<Job>,
    },
    /// A rung is complete and in the master playlist.
    #[serde(rename = "rendition.ready")]
    RenditionReady {
        /// Of which object.
        #[serde(flatten)]
        object: ObjectRef,
        /// The rung's name: `720p`.
        rendition: String,
    },
    /// Bytes of an upload arrived, told at most once a second. Not in the log: without an id, never replayed.
    #[serde(rename = "upload.progress")]
    UploadProgress {
        /// The upload's id.
        upload: String,
        /// Where it will land.
        #[serde(flatten)]
        object: ObjectRef,
        /// Bytes received.
        offset_bytes: u64,
        /// The declared length, where one was declared.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_bytes: Option<u64>,
        /// How fast they come.
        #[serde(default)]
        bytes_per_s: u64,
    },
    /// An event this reader does not know.
    #[serde(other, rename = "other")]
    #[cfg_attr(feature = "schema", schemars(skip))]
    Other,
}

impl EventBody {
    /// The word on the wire: the `event:` line and the member `type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BucketCreated { .. } => "bucket.created",
            Self::BucketDeleted { .. } => "bucket.deleted",
            Self::ObjectCreated { .. } => "object.created",
            Self::ObjectDeleted { .. } => "object.deleted",
            Self::ObjectDamaged { .. } => "object.damaged",
            Self::AssetReady { .. } => "asset.ready",
            Self::AssetFailed { .. } => "asset.failed",
            Self::JobChanged { .. } => "job.changed",
            Self::RenditionReady { .. } => "rendition.ready",
            Self::UploadProgress { .. } => "upload.progress",
            Self::Other => "other",
        }
    }

    /// The bucket it is about; what decides who may hear it.
    pub fn bucket(&self) -> Option<&str> {
        match self {
            Self::BucketCreated { bucket } | Self::BucketDeleted { bucket } => Some(bucket),
            Self::ObjectCreated { object, .. }
            | Self::ObjectDeleted { object }
            | Self::ObjectDamaged { object, .. }
            | Self::AssetReady { object }
            | Self::AssetFailed { object, .. }
            | Self::RenditionReady { object, .. }
            | Self::UploadProgress { object, .. } => Some(&object.bucket),
            Self::JobChanged { job } => job.object.as_ref().map(|o| o.bucket.as_str()),
            Self::Other => None,
        }
    }
}
