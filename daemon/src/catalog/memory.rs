//! What was read lately: bucket rows and the latest version of keys, so that a hot object costs no statement.
//!
//! What is found here is what the database would say at that moment:
//!
//! - A commit of this process removes what it changes before it begins, and until it is over nothing enters.
//! - A row enters only if nothing was removed since before the statement that read it.
//! - Commits of other processes show in [`Neighbours`], which every look-up asks; one that was seen removes everything.
//!
//! So an acknowledged write is seen by every later read, in this process and in every other.
//! That a key is not there is not remembered, nor what was asked for once: a walk over everything drives nothing out.
//! The memory is bounded in bytes; what was not asked for lately goes first.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use metrics::Counter;

use super::bucket::BucketRow;
use super::db::CatalogError;
use super::extent::Extent;
use super::neighbours::{Neighbours, Seen};
use super::object::ObjectRow;
use crate::telemetry::metrics::{CATALOG_MEMORY_HITS_TOTAL, CATALOG_MEMORY_MISSES_TOTAL};

/// Bytes of object rows, with those of small objects.
const OBJECT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of bucket rows; their settings can be long.
const BUCKET_BYTES_MAX: usize = 1024 * 1024;
/// What an entry costs beside its texts: maps, queue and allocator, roughly.
const ENTRY_BYTES: usize = 640;
/// Buckets with remembered objects.
const NAMES_MAX: usize = 4096;
/// Keys that are known to have been asked for; further ones take their places.
const MET_MAX: usize = 1 << 14;
/// Rows that one transaction names one by one; a larger one empties the memory.
const TOUCHED_MAX: usize = 4096;

/// What a transaction changes of what may be remembered.
#[derive(Debug, Default)]
pub(super) struct Touched {
    keys: Vec<(i64, Vec<u8>)>,
    objects: Vec<i64>,
    buckets: bool,
    all: bool,
}

impl Touched {
    /// Another version may be the latest of a key.
    pub(super) fn key(&mut self, bucket_id: i64, key: &[u8]) {
        if self.has_room() {
            self.keys.push((bucket_id, key.to_vec()));
        }
    }

    /// A version's row or its extents change, or it goes.
    pub(super) fn object(&mut self, id: i64) {
        if self.has_room() {
            self.objects.push(id);
        }
    }

    /// A bucket is made, goes, or has other settings.
    pub(super) fn buckets(&mut self) {
        self.buckets = true;
    }

    fn has_room(&mut self) -> bool {
        self.all |= self.keys.len() + self.objects.len() >= TOUCHED_MAX;
        !self.all
    }

    fn is_empty(&self) -> bool {
        !self.all && !self.buckets && self.keys.is_empty() && self.objects.is_empty()
    }
}

/// One remembered version.
pub(super) struct Remembered {
    pub(super) row: Arc<ObjectRow>,
    /// Whether the bytes of a small object are with it.
    whole: bool,
    extents: Option<Arc<[Extent]>>,
    /// Asked for since the hand of the clock came by.
    used: AtomicBool,
    cost: usize,
}

/// The moment before a statement; a row that was read after it may enter if nothing was removed since.
#[derive(Clone, Copy)]
pub(super) struct Since(Option<(u64, Seen)>);

/// What a look-up gave.
pub(super) enum Found<T> {
    Here(T),
    /// Ask the database, and hand this back.
    Ask(Since),
}

#[derive(Default)]
struct State {
    /// Counts removals.
    epoch: u64,
    /// Between the removal for a commit and its end.
    committing: bool,
    seen: Seen,
    buckets: HashMap<String, Arc<BucketRow>>,
    bucket_bytes: usize,
    /// Ids of the buckets whose objects are here.
    names: HashMap<String, i64>,
    /// Ids of latest versions by bucket and key.
    keys: HashMap<i64, HashMap<Box<[u8]>, i64>>,
    objects: HashMap<i64, Arc<Remembered>>,
    object_bytes: usize,
    /// Every id of `objects`, and some that are gone.
    clock: VecDeque<i64>,
}

/// The memory of one open catalog.
pub(super) struct Memory {
    neighbours: Neighbours,
    state: RwLock<State>,
    /// Keys that were asked for lately, one in each place, by half of their hash; the other half names the place.
    met: Box<[AtomicU32]>,
    hashes: RandomState,
    counters: [OnceLock<[Counter; 2]>; 2],
}

/// What is looked up, for the figures.
#[derive(Clone, Copy)]
enum What {
    Bucket,
    Object,
}

impl Memory {
    pub(super) fn open(database: &Path) -> Result<Self, CatalogError> {
        let neighbours = Neighbours::open(database).map_err(|error| {
            CatalogError::Unavailable(format!(
                "the files beside {} that tell other processes of changes: {error}",
                database.display()
            ))
        })?;
        Ok(Self {
            neighbours,
            state: RwLock::default(),
            met: (0..MET_MAX).map(|_| AtomicU32::new(0)).collect(),
            hashes: RandomState::new(),
            counters: Default::default(),
        })
    }

    // Every change under the lock is whole, so a panic elsewhere leaves nothing half-done.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn find<T>(&self, what: What, get: impl FnOnce(&State) -> Option<T>) -> Found<T> {
        let Some(seen) = self.neighbours.look() else {
            return Found::Ask(Since(None));
        };
        let state = self.read();
        if state.seen == seen {
            let found = get(&state);
            let since = state.since();
            drop(state);
            self.count(what, found.is_some());
            return found.map_or(Found::Ask(since), Found::Here);
        }
        drop(state);
        self.count(what, false);
        let mut state = self.change();
        state.forget_all();
        state.seen = seen;
        Found::Ask(state.since())
    }

    fn count(&self, what: What, hit: bool) {
        let [hits, misses] = self.counters[what as usize].get_or_init(|| {
            let what = match what {
                What::Bucket => "bucket",
                What::Object => "object",
            };
            [CATALOG_MEMORY_HITS_TOTAL, CATALOG_MEMORY_MISSES_TOTAL]
                .map(|name| metrics::counter!(name, "what" => what))
        });
        if hit { hits } else { misses }.increment(1);
    }

    /// Enters what was read, unless it may be old by now.
    fn enter(&self, since: Since, put: impl FnOnce(&mut State)) {
        // Without a word from the neighbours nothing is ever found, so nothing need enter.
        if since.0.is_none() {
            return;
        }
        let mut state = self.change();
        if state.since().0 == since.0 {
            put(&mut state);
        }
    }

    pub(super) fn bucket(&self, name: &str) -> Found<Arc<BucketRow>> {
        self.find(What::Bucket, |state| state.buckets.get(name).cloned())
    }

    pub(super) fn put_bucket(&self, since: Since, row: &Arc<BucketRow>) {
        self.enter(since, |state| state.put_bucket(row));
    }

    /// The latest version of a key; `whole` asks for the bytes of a small object too.
    pub(super) fn object(&self, bucket: &str, key: &[u8], whole: bool) -> Found<Arc<Remembered>> {
        self.find(What::Object, |state| {
            let bucket = state.names.get(bucket)?;
            let id = state.keys.get(bucket)?.get(key)?;
            let object = state.objects.get(id).filter(|o| o.whole || !whole)?;
            object.used.store(true, Ordering::Relaxed);
            Some(Arc::clone(object))
        })
    }

    /// Enters a row whose key was asked for before.
    pub(super) fn put_object(&self, since: Since, row: &Arc<ObjectRow>) {
        if self.has_met(row) {
            self.enter(since, |state| state.put_object(row));
        }
    }

    /// Whether a key was asked for lately; from now on it was.
    fn has_met(&self, row: &ObjectRow) -> bool {
        let hash = self.hashes.hash_one((row.bucket_id, row.key_bytes()));
        let place = hash as usize % MET_MAX;
        let name = (hash >> 32) as u32;
        self.met[place].swap(name, Ordering::Relaxed) == name
    }

    /// The extents of a version that is remembered: while it lives they are the same, so nobody is asked whether they still are.
    pub(super) fn extents(&self, id: i64) -> Found<Arc<[Extent]>> {
        let here = |state: &State| state.objects.get(&id)?.extents.clone();
        let found = here(&self.read());
        match found {
            Some(extents) => {
                self.count(What::Object, true);
                Found::Here(extents)
            }
            None => self.find(What::Object, here),
        }
    }

    pub(super) fn put_extents(&self, since: Since, id: i64, extents: &[Extent]) {
        self.enter(since, |state| state.put_extents(id, extents));
    }

    /// Before a commit: removes what it changes, and keeps everything out until [`Memory::after`].
    pub(super) fn before(&self, touched: &Touched) {
        if touched.is_empty() {
            return;
        }
        let mut state = self.change();
        state.committing = true;
        state.epoch += 1;
        if touched.all || touched.buckets {
            state.forget_all();
        }
        for id in &touched.objects {
            state.forget(*id);
        }
        for (bucket, key) in &touched.keys {
            let id = state.keys.get(bucket).and_then(|keys| keys.get(&**key));
            if let Some(id) = id.copied() {
                state.forget(id);
            }
        }
    }

    /// After it, however it ended, and before anybody is told.
    pub(super) fn after(&self, touched: &Touched) {
        if touched.is_empty() {
            return;
        }
        if let Err(error) = self.neighbours.tell() {
            tracing::error!(%error, "another daemon on this database may not learn of a change: {error}");
        }
        let mut state = self.change();
        state.committing = false;
        state.epoch += 1;
    }
}

impl State {
    fn since(&self) -> Since {
        Since((!self.committing).then_some((self.epoch, self.seen)))
    }

    fn forget_all(&mut self) {
        *self = Self {
            epoch: self.epoch + 1,
            committing: self.committing,
            seen: self.seen,
            ..Self::default()
        };
    }

    fn forget(&mut self, id: i64) {
        let Some(object) = self.objects.remove(&id) else {
            return;
        };
        self.object_bytes -= object.cost;
        if let Some(keys) = self.keys.get_mut(&object.row.bucket_id) {
            keys.remove(object.row.key_bytes());
        }
    }

    fn put_bucket(&mut self, row: &Arc<BucketRow>) {
        let cost = ENTRY_BYTES + row.settings.len();
        if self.bucket_bytes + cost > BUCKET_BYTES_MAX {
            self.buckets.clear();
            self.bucket_bytes = 0;
        }
        if cost <= BUCKET_BYTES_MAX
            && self
                .buckets
                .insert(row.name.clone(), Arc::clone(row))
                .is_none()
        {
            self.bucket_bytes += cost;
        }
    }

    fn put_object(&mut self, row: &Arc<ObjectRow>) {
        let cost = ENTRY_BYTES + row.bytes();
        if !row.is_latest || cost > OBJECT_BYTES_MAX / 16 {
            return;
        }
        if self.names.len() >= NAMES_MAX {
            self.forget_all();
        }
        self.forget(row.id);
        let object = Remembered {
            whole: row.inline.is_some() || !row.is_inline,
            extents: None,
            used: AtomicBool::new(false),
            row: Arc::clone(row),
            cost,
        };
        if !self.names.contains_key(&row.bucket) {
            self.names.insert(row.bucket.clone(), row.bucket_id);
        }
        let keys = self.keys.entry(row.bucket_id).or_default();
        keys.insert(row.key_bytes().into(), row.id);
        self.objects.insert(row.id, Arc::new(object));
        self.object_bytes += cost;
        self.clock.push_back(row.id);
        self.evict();
    }

    fn put_extents(&mut self, id: i64, extents: &[Extent]) {
        let Some(object) = self.objects.get(&id).filter(|o| o.extents.is_none()) else {
            return;
        };
        let more = size_of_val(extents);
        if object.cost + more > OBJECT_BYTES_MAX / 16 {
            return;
        }
        let object = Remembered {
            row: Arc::clone(&object.row),
            whole: object.whole,
            extents: Some(extents.into()),
            used: AtomicBool::new(true),
            cost: object.cost + more,
        };
        self.objects.insert(id, Arc::new(object));
        self.object_bytes += more;
        self.evict();
    }

    /// Takes the hand of the clock round: what was used since its last visit stays for another round.
    fn evict(&mut self) {
        while self.object_bytes > OBJECT_BYTES_MAX || self.clock.len() > 2 * self.objects.len() + 64
        {
            let Some(id) = self.clock.pop_front() else {
                return;
            };
            let Some(object) = self.objects.get(&id) else {
                continue;
            };
            if object.used.swap(false, Ordering::Relaxed) {
                self.clock.push_back(id);
            } else {
                self.forget(id);
            }
        }
    }
}
