//! The walk over everything that has rules: one page of rows at a time, as one of two overlapping daemons.
//!
//! The lease is renewed with every page, in the transaction that notes how far the walk came; so a walk that was cut goes on there, whoever takes it up.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use metrics::counter;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::rules::Facts;
use super::{LifecycleRules, of_bucket};
use crate::catalog::{BucketRow, HistoryRow};
use crate::kernel::{BlobId, BucketName, Millis, ObjectKey, VersionId};
use crate::store::bucket::existing;
use crate::store::delete::remove_in;
use crate::store::list::behind;
use crate::store::object::{json, to_json};
use crate::store::{Condition, Removal, Store, StoreError, Tags, lock};
use crate::telemetry::metrics::LIFECYCLE_ENDED_TOTAL;

/// The lease that only one of two overlapping daemons holds.
const LEASE: &str = "store.lifecycle";
/// How long it lives without a page; then the other daemon goes on.
const LEASE_MS: Millis = 60_000;
/// Where the position of the walk is kept.
const POSITION: &str = "lifecycle.position";
/// Rows read at a time.
const PAGE: i64 = 256;
/// Deletions under way at once: few, so that others are heard between them.
const AT_ONCE: usize = 8;
/// Longest rest between two pages.
const REST_MAX: Duration = Duration::from_secs(1);
/// Who deletes, in events and delete markers.
const OWNER: &str = "lifecycle";

/// What a walk ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// Objects that a plain read saw.
    pub current: u64,
    /// Versions that had been replaced.
    pub noncurrent: u64,
    /// Delete markers that hid nothing.
    pub markers: u64,
    /// Unfinished uploads.
    pub uploads: u64,
    /// What was over, but is locked.
    pub locked: u64,
}

/// How far a walk came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Position {
    bucket: String,
    /// The key of which the walk goes on, from its newest version.
    key: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Current,
    Noncurrent,
    Marker,
}

/// A version that a rule says is over.
#[derive(Clone, Debug)]
struct Doomed {
    kind: Kind,
    row_id: i64,
    key: ObjectKey,
    version: VersionId,
    tags: String,
    rule: String,
    /// Whether it may not go yet all the same.
    locked: bool,
}

/// What is known of a key while its versions pass, newest first.
#[derive(Default)]
struct Passing {
    key: Vec<u8>,
    /// When the version above was published, which is when this one was replaced.
    above_ms: Millis,
    /// Replaced versions above.
    newer: u32,
    /// Versions that stay for now.
    staying: u64,
    /// The latest version, when it is a delete marker and its time has come.
    marker: Option<Doomed>,
}

/// The runner; one task of the daemon.
pub struct LifecycleRunner {
    store: Store,
    every: Duration,
}

impl LifecycleRunner {
    /// A runner that walks every so often, and soon after rules were changed.
    pub fn new(store: Store, every: Duration) -> Self {
        Self { store, every }
    }

    /// Walks now and then until cancelled.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let walk = tokio::select! {
                () = stop.cancelled() => return,
                walk = self.walk() => walk,
            };
            match walk {
                Ok(Some(ended)) if ended != Ended::default() => info!(
                    objects = ended.current,
                    versions = ended.noncurrent,
                    markers = ended.markers,
                    uploads = ended.uploads,
                    locked = ended.locked,
                    "lifecycle rules ended {} objects, {} old versions, {} delete markers and {} uploads; {} are locked",
                    ended.current,
                    ended.noncurrent,
                    ended.markers,
                    ended.uploads,
                    ended.locked
                ),
                Ok(_) => {}
                Err(error) => warn!(%error, "lifecycle rules wait: {error}"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.every) => {}
                () = self.store.0.lifecycle_changed.notified() => {}
            }
        }
    }

    /// One walk over all buckets, from where the last one was cut; `None` when another daemon is at it.
    ///
    /// # Errors
    /// What the catalog says; the next walk goes on at the same place.
    pub async fn walk(&self) -> Result<Option<Ended>, StoreError> {
        if !self.hold(None).await? {
            return Ok(None);
        }
        let store = &self.store;
        let cut = store.0.catalog.setting(POSITION).await?;
        let cut: Position = cut
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let mut buckets = store.0.catalog.buckets().await?;
        buckets.sort_by(|a, b| a.name.cmp(&b.name));
        let mut ended = Ended::default();
        for bucket in buckets.iter().filter(|bucket| bucket.name >= cut.bucket) {
            let rules = match of_bucket(bucket) {
                Ok(Some(rules)) if rules.is_active() => rules,
                Ok(_) => continue,
                Err(error) => {
                    warn!(bucket.name = %bucket.name, %error, "the lifecycle rules of {} cannot be read: {error}", bucket.name);
                    continue;
                }
            };
            let from = if bucket.name == cut.bucket {
                cut.key.as_str()
            } else {
                ""
            };
            let held = self.bucket(bucket, &rules, from, &mut ended).await?;
            if !held {
                return Ok(Some(ended));
            }
        }
        self.hold(Some(Position::default())).await?;
        let holder = store.0.instance.clone();
        store
            .0
            .catalog
            .write(move |tx| {
                Box::pin(
                    async move { Ok::<_, StoreError>(tx.release_lease(LEASE, &holder).await?) },
                )
            })
            .await?;
        Ok(Some(ended))
    }

    /// Takes or renews the lease and notes the position; `false` when another daemon has it.
    async fn hold(&self, position: Option<Position>) -> Result<bool, StoreError> {
        let (holder, now_ms) = (self.store.0.instance.clone(), self.store.0.clock.now_ms());
        self.store
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let until_ms = now_ms + LEASE_MS;
                    let held = tx.take_lease(LEASE, &holder, now_ms, until_ms).await?;
                    if let (true, Some(position)) = (held, position) {
                        tx.put_setting(POSITION, to_json(&position).as_bytes())
                            .await?;
                    }
                    Ok::<_, StoreError>(held)
                })
            })
            .await
    }

    /// Walks one bucket from a key on; `false` when the lease was lost.
    async fn bucket(
        &self,
        bucket: &BucketRow,
        rules: &LifecycleRules,
        from: &str,
        ended: &mut Ended,
    ) -> Result<bool, StoreError> {
        for prefix in rules.prefixes() {
            let until = behind(prefix.as_bytes());
            let from = from.as_bytes().max(prefix.as_bytes());
            if from < until.as_slice() && !self.keys(bucket, rules, from, &until, ended).await? {
                return Ok(false);
            }
        }
        self.uploads(bucket, rules, ended).await?;
        Ok(true)
    }

    /// Walks the keys of an interval; `false` when the lease was lost.
    async fn keys(
        &self,
        bucket: &BucketRow,
        rules: &LifecycleRules,
        from: &[u8],
        until: &[u8],
        ended: &mut Ended,
    ) -> Result<bool, StoreError> {
        let catalog = &self.store.0.catalog;
        let (mut from, mut below) = (from.to_vec(), i64::MAX);
        let mut passing = Passing::default();
        loop {
            let begun = Instant::now();
            let rows = catalog
                .history(bucket.id, &from, until, below, PAGE)
                .await?;
            let now_ms = self.store.0.clock.now_ms();
            let mut doomed = Vec::new();
            for row in &rows {
                if row.key_bytes() != passing.key.as_slice() {
                    doomed.extend(passing.leave());
                    passing.key = row.key_bytes().to_vec();
                }
                match passing.meet(row, rules, now_ms) {
                    Ok(met) => doomed.extend(met),
                    // One row that cannot be read must not keep the others from their end.
                    Err(error) => {
                        passing.staying += 1;
                        warn!(row = row.id, %error, "lifecycle rules pass over a version: {error}");
                    }
                }
            }
            let last = rows.last().filter(|_| rows.len() as i64 == PAGE);
            if last.is_none() {
                doomed.extend(passing.leave());
            }
            // A marker hides nothing only once the versions beneath are gone.
            let (markers, versions): (Vec<_>, Vec<_>) =
                doomed.into_iter().partition(|one| one.kind == Kind::Marker);
            for batch in [versions, markers] {
                self.end_all(bucket, rules, batch, ended).await?;
            }
            let Some(last) = last else { return Ok(true) };
            (from, below) = (last.key_bytes().to_vec(), last.id);
            let position = Position {
                bucket: bucket.name.clone(),
                key: String::from_utf8_lossy(last.key_bytes()).into_owned(),
            };
            if !self.hold(Some(position)).await? {
                return Ok(false);
            }
            tokio::time::sleep(begun.elapsed().min(REST_MAX)).await;
        }
    }

    async fn end_all(
        &self,
        bucket: &BucketRow,
        rules: &LifecycleRules,
        doomed: Vec<Doomed>,
        ended: &mut Ended,
    ) -> Result<(), StoreError> {
        let name: BucketName = parsed(bucket)?;
        let name = &name;
        let (locked, doomed): (Vec<_>, Vec<_>) = doomed.into_iter().partition(|one| one.locked);
        ended.locked += locked.len() as u64;
        let work = doomed.into_iter().map(|one| async move {
            let kind = one.kind;
            (kind, self.end(name, rules, one).await)
        });
        let mut outcomes = futures::stream::iter(work).buffer_unordered(AT_ONCE);
        while let Some((kind, outcome)) = outcomes.next().await {
            let (count, label) = match kind {
                Kind::Current => (&mut ended.current, "current"),
                Kind::Noncurrent => (&mut ended.noncurrent, "noncurrent"),
                Kind::Marker => (&mut ended.markers, "marker"),
            };
            match outcome {
                Ok(true) => {
                    *count += 1;
                    counter!(LIFECYCLE_ENDED_TOTAL, "kind" => label).increment(1);
                }
                Ok(false) | Err(StoreError::NoSuchBucket(_)) => {}
                Err(StoreError::Locked(_)) => ended.locked += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends one version, if the rules still say so; `false` when they do not.
    async fn end(
        &self,
        bucket: &BucketName,
        rules: &LifecycleRules,
        doomed: Doomed,
    ) -> Result<bool, StoreError> {
        let store = &self.store;
        let now_ms = store.0.clock.now_ms();
        let (bucket, rules) = (bucket.clone(), rules.clone());
        let dead: Option<Vec<BlobId>> = store
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let row = existing(tx, &bucket).await?;
                    if of_bucket(&row)?.as_ref() != Some(&rules) {
                        return Ok(None);
                    }
                    tx.lock_key(row.id, &doomed.key).await?;
                    let version = tx
                        .object_version(row.id, &doomed.key, &doomed.version)
                        .await?;
                    let is_latest = doomed.kind != Kind::Noncurrent;
                    let same = version.is_some_and(|now| {
                        now.id == doomed.row_id
                            && now.is_latest == is_latest
                            && now.tags == doomed.tags
                    });
                    let lone = doomed.kind != Kind::Marker
                        || tx
                            .is_lone_version(row.id, &doomed.key, doomed.row_id)
                            .await?;
                    if !same || !lone {
                        return Ok(None);
                    }
                    let removal = Removal {
                        bucket,
                        key: doomed.key,
                        version: (doomed.kind != Kind::Current).then_some(doomed.version),
                        condition: Condition::default(),
                        bypass_governance: false,
                        owner: OWNER.into(),
                    };
                    let (_, dead) = remove_in(tx, &removal, Some(&doomed.rule), now_ms).await?;
                    Ok::<_, StoreError>(Some(dead))
                })
            })
            .await?;
        let Some(dead) = dead else { return Ok(false) };
        store.touch();
        store.bury(dead).await;
        Ok(true)
    }

    async fn uploads(
        &self,
        bucket: &BucketRow,
        rules: &LifecycleRules,
        ended: &mut Ended,
    ) -> Result<(), StoreError> {
        if rules.rules.iter().all(|rule| rule.abort_days.is_none()) {
            return Ok(());
        }
        let store = &self.store;
        let name: BucketName = parsed(bucket)?;
        let (mut key, mut id) = (String::new(), String::new());
        loop {
            let rows = store
                .0
                .catalog
                .bucket_uploads(bucket.id, key.as_bytes(), &id, PAGE)
                .await?;
            let now_ms = store.0.clock.now_ms();
            for row in &rows {
                let (upload, of) = (row.id()?, row.key()?);
                let end = rules.end_of_upload(of.as_str(), row.created_ms);
                if end.is_some_and(|at_ms| at_ms <= now_ms) {
                    match store.abort_multipart(upload, &name, &of).await {
                        Ok(()) => {
                            ended.uploads += 1;
                            counter!(LIFECYCLE_ENDED_TOTAL, "kind" => "upload").increment(1);
                        }
                        // Completed or aborted meanwhile.
                        Err(StoreError::NoSuchUpload(_) | StoreError::NoSuchBucket(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                (key, id) = (of.to_string(), upload.to_string());
            }
            if (rows.len() as i64) < PAGE {
                return Ok(());
            }
        }
    }
}

fn parsed(bucket: &BucketRow) -> Result<BucketName, StoreError> {
    let parsed = bucket.name.parse();
    parsed.map_err(|e| StoreError::Damaged(format!("bucket.name {}: {e}", bucket.name)))
}

impl Passing {
    /// Looks at the next version of the key.
    fn meet(
        &mut self,
        row: &HistoryRow,
        rules: &LifecycleRules,
        now_ms: Millis,
    ) -> Result<Option<Doomed>, StoreError> {
        let key = row.key()?;
        let tags: Tags = json("object_version.tags", &row.tags)?;
        let facts = Facts {
            key: key.as_str(),
            size: row.size(),
            tags: &tags,
            modified_ms: row.modified_ms,
        };
        let (kind, end) = match (row.is_latest, row.is_delete_marker) {
            (true, true) => (
                Kind::Marker,
                rules.end_of_marker(facts.key, row.modified_ms),
            ),
            (true, false) => (Kind::Current, rules.end_of_current(&facts)),
            (false, _) => {
                let end = rules.end_of_noncurrent(&facts, self.above_ms, self.newer);
                self.newer = self.newer.saturating_add(1);
                (Kind::Noncurrent, end)
            }
        };
        self.above_ms = row.modified_ms;
        let rule = end.filter(|(at_ms, _)| *at_ms <= now_ms);
        let Some((_, rule)) = rule else {
            self.staying += 1;
            return Ok(None);
        };
        let lock = lock::of_extras(&row.extras)?.unwrap_or_default();
        let doomed = Doomed {
            // Only what really goes asks for its lock: an object may always be hidden.
            locked: kind == Kind::Noncurrent && lock.release(false, now_ms).is_err(),
            kind,
            row_id: row.id,
            version: row.version_id()?,
            tags: row.tags.clone(),
            rule: rule.to_owned(),
            key,
        };
        match kind {
            Kind::Marker => {
                self.marker = Some(doomed);
                Ok(None)
            }
            // It goes, or a marker takes its place: the key is not done with yet.
            Kind::Current => {
                self.staying += 1;
                Ok(Some(doomed))
            }
            Kind::Noncurrent => {
                self.staying += u64::from(doomed.locked);
                Ok(Some(doomed))
            }
        }
    }

    /// Leaves the key; its marker goes when nothing else stays.
    fn leave(&mut self) -> Option<Doomed> {
        let left = std::mem::take(self);
        left.marker.filter(|_| left.staying == 0)
    }
}
