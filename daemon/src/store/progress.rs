//! How far the uploads are that are being received in this moment, and how fast they come.
//!
//! Nothing of it is stored: it is what the running sessions of this process know, for progress displays and for finding uploads that stand still.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{counter, gauge};

use super::finish::bucket_of;
use super::{Store, StoreError};
use crate::catalog::{Protocol, UploadRow};
use crate::kernel::{BucketName, Clock, Millis, ObjectKey, UploadId};
use crate::telemetry::metrics::{UPLOADS_ACTIVE, UPLOADS_RECEIVED_BYTES_TOTAL};

/// Speed is measured over at least this long, so that it does not jump with every piece.
const SAMPLE_MS: Millis = 500;

/// The uploads being received by this process.
#[derive(Default)]
pub(super) struct Progress(Arc<Mutex<HashMap<UploadId, Arc<Facts>>>>);

/// An upload that is being received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveUpload {
    /// Its id.
    pub id: UploadId,
    /// The bucket.
    pub bucket: BucketName,
    /// The key of the object to be.
    pub key: ObjectKey,
    /// Who began it.
    pub owner: String,
    /// Total bytes, when declared.
    pub length: Option<u64>,
    /// Bytes received, some of them perhaps not yet durable.
    pub offset: u64,
    /// How fast they come.
    pub bytes_per_s: u64,
    /// How long none has come.
    pub quiet_ms: Millis,
}

#[derive(Debug)]
struct Facts {
    upload: LiveUpload,
    protocol: &'static str,
    clock: Clock,
    offset: AtomicU64,
    moved_ms: AtomicI64,
    speed: Mutex<Speed>,
}

#[derive(Debug)]
struct Speed {
    since_ms: Millis,
    from: u64,
    bytes_per_s: u64,
}

/// A session's hand on its entry; the entry goes with it.
#[derive(Debug)]
pub(super) struct Shown {
    facts: Arc<Facts>,
    all: Arc<Mutex<HashMap<UploadId, Arc<Facts>>>>,
}

impl Progress {
    /// Shows a session that goes on at `offset`.
    pub(super) fn begin(
        &self,
        clock: &Clock,
        id: UploadId,
        row: &UploadRow,
        offset: u64,
    ) -> Result<Arc<Shown>, StoreError> {
        let now_ms = clock.now_ms();
        let facts = Arc::new(Facts {
            upload: LiveUpload {
                id,
                bucket: bucket_of(row)?,
                key: row.key()?,
                owner: row.owner.clone(),
                length: row.length(),
                offset,
                bytes_per_s: 0,
                quiet_ms: 0,
            },
            protocol: Protocol::parse(&row.protocol).map_or("other", Protocol::as_str),
            clock: clock.clone(),
            offset: AtomicU64::new(offset),
            moved_ms: AtomicI64::new(now_ms),
            speed: Mutex::new(Speed {
                since_ms: now_ms,
                from: offset,
                bytes_per_s: 0,
            }),
        });
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(id, Arc::clone(&facts));
        gauge!(UPLOADS_ACTIVE).set(all.len() as f64);
        drop(all);
        Ok(Arc::new(Shown {
            facts,
            all: Arc::clone(&self.0),
        }))
    }
}

impl Shown {
    /// Notes that bytes up to `offset` have come.
    pub(super) fn moved(&self, offset: u64) {
        let facts = &self.facts;
        let before = facts.offset.swap(offset, Ordering::Relaxed);
        let now_ms = facts.clock.now_ms();
        facts.moved_ms.store(now_ms, Ordering::Relaxed);
        counter!(UPLOADS_RECEIVED_BYTES_TOTAL, "protocol" => facts.protocol)
            .increment(offset.saturating_sub(before));
        let mut speed = facts.speed.lock().unwrap_or_else(PoisonError::into_inner);
        let took_ms = now_ms - speed.since_ms;
        if took_ms >= SAMPLE_MS {
            let came = offset.saturating_sub(speed.from);
            speed.bytes_per_s = came.saturating_mul(1000) / took_ms.unsigned_abs();
            (speed.since_ms, speed.from) = (now_ms, offset);
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        // A newer session of the same upload has an entry of its own.
        let is_ours = all
            .get(&self.facts.upload.id)
            .is_some_and(|facts| Arc::ptr_eq(facts, &self.facts));
        if is_ours {
            all.remove(&self.facts.upload.id);
        }
        gauge!(UPLOADS_ACTIVE).set(all.len() as f64);
    }
}

impl Store {
    /// The uploads that this process receives now, in no order.
    pub fn live_uploads(&self) -> Vec<LiveUpload> {
        let now_ms = self.0.clock.now_ms();
        let all = self.0.progress.0.lock();
        let all = all.unwrap_or_else(PoisonError::into_inner);
        let look = |facts: &Arc<Facts>| {
            let speed = facts.speed.lock().unwrap_or_else(PoisonError::into_inner);
            let quiet_ms = now_ms - facts.moved_ms.load(Ordering::Relaxed);
            LiveUpload {
                offset: facts.offset.load(Ordering::Relaxed),
                // A figure of long ago tells nothing.
                bytes_per_s: if quiet_ms < 4 * SAMPLE_MS {
                    speed.bytes_per_s
                } else {
                    0
                },
                quiet_ms,
                ..facts.upload.clone()
            }
        };
        all.values().map(look).collect()
    }
}
