//! Catalog and blob made one: objects, versions, copies, uploads and listings with the promises that doors rely on.
//!
//! - An acknowledged write is durable: the data is synced, its name is synced, then its row is committed, then the caller gets `Ok`.
//! - A write is visible whole or not at all, and its conditions are decided inside the commit that publishes it.
//! - A copy, a rename or the completion of an upload moves rows, never bytes.
//! - Every change leaves an event, and the jobs that follow from it, in the transaction of the change.
//! - Only this room deletes bytes, and only after the commit that took their last reference.
//!
//! Bytes come in through an [`ObjectWriter`], which yields [`Sealed`] bytes; [`Store::publish`] gives them a name.
//! The room knows no protocol, no player and no caller: rights are decided by the doors before they call.

mod arriving;
mod body;
mod bucket;
mod burial;
mod checksum;
mod concat;
mod copy;
mod damage;
mod default_encryption;
mod delete;
mod derived;
mod disks;
mod drain;
mod drains;
mod encryption;
mod ending;
mod error;
mod extras;
mod finding;
mod finish;
mod fsck;
mod headers;
mod hold;
mod keyring;
mod lanes;
mod lifecycle;
mod list;
mod lock;
mod multipart;
mod object;
mod parts;
mod progress;
mod publish;
mod quota;
mod reconcile;
mod rendition;
mod repair;
mod replan;
mod scrub;
mod session;
mod undelete;
mod upload;
mod writer;

#[cfg(test)]
mod tests;

pub use crate::blob::{Bypass, DiskInfo};
pub use arriving::{Arriving, ArrivingBody, ArrivingReader, Reach};
pub use body::{ObjectBody, ObjectReader};
pub use checksum::{ChecksumAlgorithm, ChecksumKind, Checksums, Hashers, PartSummary, combine};
pub use concat::PARTIALS_MAX;
pub use copy::CopyKeys;
pub use damage::Fate;
pub use default_encryption::DefaultEncryption;
pub use delete::{Deleted, Removal};
pub use drain::Drained;
pub use drains::{DrainPhase, DrainState};
pub use encryption::{CustomerKey, Encrypted, Encryption, EncryptionAsked, WrappedKey};
pub use error::StoreError;
pub use extras::ObjectExtras;
pub use finding::Finding;
pub use fsck::FsckReport;
pub use headers::{ObjectHeaders, Tags};
pub use keyring::Rotation;
pub use lanes::NewLane;
pub use lifecycle::{
    Ended, Expiration, Expiry, LifecycleRule, LifecycleRules, LifecycleRunner,
    NoncurrentExpiration, RuleFilter,
};
pub use list::{ListItem, ListPage, ListRequest};
pub use lock::{
    BucketLock, DefaultRetention, LOCK_YEARS_MAX, LockChange, ObjectLock, Period, Retention,
    RetentionMode,
};
pub use multipart::{CompletedPart, MultipartMetadata, NewMultipart};
pub use object::Object;
pub use parts::{Part, PartKeys};
pub use progress::LiveUpload;
pub use publish::{Condition, Copy, Published, PutObject};
pub use quota::{OwnerUsage, Quota, Usage};
pub use reconcile::Reconciled;
pub use rendition::{Evicted, SegmentOf};
pub use repair::Repair;
pub use scrub::{ScrubOptions, ScrubState};
pub use session::UploadSession;
pub use upload::{NewResumable, Upload};
pub use writer::{ObjectWriter, Sealed, WriteOptions};

use std::sync::Arc;

use tokio::sync::watch;

use crate::blob::Blobs;
use crate::catalog::{Catalog, NewJob};
use crate::kernel::{Clock, Id, MasterKey};
use crate::queue::Bell;

/// Decides which jobs follow from a published object; given by the media room when the house is wired.
pub type Planner = Arc<dyn Fn(&Object) -> Vec<NewJob> + Send + Sync>;

/// The store; a cheap handle.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    catalog: Catalog,
    blobs: Blobs,
    clock: Clock,
    planner: Planner,
    bell: Bell,
    /// Names this process in leases.
    instance: String,
    /// Largest object kept in its row.
    inline_bytes_max: usize,
    /// Counts commits of this process, so that readers of the outbox need not wait for their timer.
    changes: watch::Sender<u64>,
    sessions: session::Sessions,
    arrivals: Arc<arriving::Arrivals>,
    progress: progress::Progress,
    /// Rung when the rules of a bucket change.
    lifecycle_changed: tokio::sync::Notify,
    keys: keyring::Keyring,
    burials: burial::Burials,
    endings: ending::Endings,
    drains: drains::Drains,
    read_lately: object::ReadLately,
}

/// What the store is made of.
pub struct StoreParts {
    /// The open catalog.
    pub catalog: Catalog,
    /// The open blob directory.
    pub blobs: Blobs,
    /// The source of time.
    pub clock: Clock,
    /// Which jobs follow from a published object.
    pub planner: Planner,
    /// Rung when a change has queued a job.
    pub bell: Bell,
    /// Largest object kept in its row, at most [`crate::kernel::limits::INLINE_BYTES_MAX`].
    pub inline_bytes_max: usize,
    /// Seals the keys that encrypt objects.
    pub master: MasterKey,
}

impl Store {
    /// Puts the store together; call [`Store::reconcile`] before the doors open.
    pub fn new(parts: StoreParts) -> Self {
        let (changes, _) = watch::channel(0);
        Self(Arc::new(Inner {
            catalog: parts.catalog,
            blobs: parts.blobs,
            clock: parts.clock,
            planner: parts.planner,
            bell: parts.bell,
            instance: Id::random().to_string(),
            inline_bytes_max: parts
                .inline_bytes_max
                .min(crate::kernel::limits::INLINE_BYTES_MAX),
            changes,
            sessions: session::Sessions::default(),
            arrivals: Arc::default(),
            progress: progress::Progress::default(),
            lifecycle_changed: tokio::sync::Notify::new(),
            keys: keyring::Keyring::new(parts.master),
            burials: burial::Burials::default(),
            endings: ending::Endings::default(),
            drains: drains::Drains::default(),
            read_lately: object::ReadLately::default(),
        }))
    }

    /// The catalog beneath, for rooms that read rows of their own.
    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    /// The blob directory beneath, for figures of its space.
    pub fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// The data directory and the disks beside it.
    pub fn disks(&self) -> Vec<DiskInfo> {
        self.0.blobs.disks()
    }

    /// The source of time.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Names this process in leases.
    pub fn instance(&self) -> &str {
        &self.0.instance
    }

    /// Ticks after each commit of this process that left an event; another daemon's commits are found by polling the outbox.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Wakes the readers of the outbox.
    pub fn touch(&self) {
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// Drops events older than `kept_ms` that every consumer of the outbox has read.
    pub async fn trim_events(&self, kept_ms: crate::kernel::Millis) -> Result<u64, StoreError> {
        let before_ms = self.0.clock.now_ms() - kept_ms;
        self.0
            .catalog
            .write(move |tx| Box::pin(async move { Ok(tx.trim_events(before_ms).await?) }))
            .await
    }
}
