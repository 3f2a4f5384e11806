//! Resumable uploads: one growing file, whose length is what was received.
//!
//! A session is the right to append. A newer request takes it over: it tells the running session to stop, waits until that one has flushed, and goes on from there.
//! Across two overlapping daemons the right is a lease in the upload's row.
//! The offset told to a client is always durable; what was received after the last sync is kept too, and counted once it is synced.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::bucket::existing;
use super::checksum::Checksums;
use super::headers::{ObjectHeaders, Tags};
use super::multipart::release_parts;
use super::object::{json, to_json};
use super::publish::{Condition, Draft, Outcome, Published, PutObject, Source, publish_in};
use super::{Planner, Store, StoreError};
use crate::blob::{BlobAppender, BlobDigest};
use crate::catalog::{Extent, NewUpload, Protocol, Tx, UploadRow, UploadState};
use crate::kernel::limits::OBJECT_BYTES_MAX;
use crate::kernel::{BlobId, BucketName, ContentId, ETag, Millis, ObjectKey, UploadId, VersionId};

/// How long a daemon may hold an upload without renewing; renewed with every checkpoint.
const LEASE_MS: Millis = 10_000;
/// How long a request waits for the one it takes over from to flush.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a finished upload answers late questions.
const FINISHED_KEPT_MS: Millis = 24 * 60 * 60 * 1000;
/// Expired uploads swept in one round.
const SWEEP_MAX: i64 = 100;

/// An upload to be begun.
#[derive(Clone, Debug)]
pub struct NewResumable {
    /// Which door.
    pub protocol: Protocol,
    /// The bucket.
    pub bucket: BucketName,
    /// The key of the object to be; `None` takes the upload's id.
    pub key: Option<ObjectKey>,
    /// Its headers.
    pub headers: ObjectHeaders,
    /// Its tags.
    pub tags: Tags,
    /// Who begins it.
    pub owner: String,
    /// Total bytes, when declared.
    pub length: Option<u64>,
    /// What only the protocol keeps, in JSON.
    pub metadata: String,
    /// How long it may rest before it is swept.
    pub idle_ms: Option<Millis>,
}

/// An upload as a door shows it.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its unguessable id.
    pub id: UploadId,
    /// Which door it came through.
    pub protocol: Protocol,
    /// The bucket.
    pub bucket: BucketName,
    /// The key of the object it is or will be.
    pub key: ObjectKey,
    /// Who began it.
    pub owner: String,
    /// Bytes received.
    pub offset: u64,
    /// Total bytes, when declared.
    pub length: Option<u64>,
    /// What only the protocol keeps, in JSON.
    pub metadata: String,
    /// The version it became, when it is finished.
    pub finished: Option<VersionId>,
    /// When it was begun.
    pub created_ms: Millis,
    /// When it will be swept.
    pub expires_ms: Option<Millis>,
}

/// The sessions of this process, by upload.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<UploadId, Arc<Slot>>>);

#[derive(Default)]
struct Slot {
    /// Held by the session that appends.
    writing: Arc<tokio::sync::Mutex<()>>,
    /// Tells that session to stop.
    stop: Mutex<CancellationToken>,
}

impl Sessions {
    fn slot(&self, id: UploadId) -> Arc<Slot> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Slots that nobody holds any more cost nothing to make again.
        slots.retain(|other, slot| *other == id || Arc::strong_count(slot) > 1);
        slots.entry(id).or_default().clone()
    }
}

/// What a session holds while it may append.
struct Turn {
    _slot: Arc<Slot>,
    _writing: OwnedMutexGuard<()>,
    stop: CancellationToken,
}

/// The right to append to one upload. Dropping it keeps every byte received and makes it durable in the background.
pub struct UploadSession {
    store: Store,
    row: UploadRow,
    id: UploadId,
    idle_ms: Option<Millis>,
    offset: u64,
    stop: CancellationToken,
    /// `None` only once the session has ended.
    held: Option<(BlobAppender, Turn)>,
}

impl Store {
    /// Begins a resumable upload.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`]; [`StoreError::Full`] or [`StoreError::TooLarge`] by the declared length.
    pub async fn begin_upload(&self, new: NewResumable) -> Result<Upload, StoreError> {
        if new.length.is_some_and(|length| length > OBJECT_BYTES_MAX) {
            return Err(StoreError::TooLarge {
                limit: OBJECT_BYTES_MAX,
            });
        }
        self.bucket(&new.bucket).await?;
        self.0.blobs.admit(new.length.unwrap_or(0))?;
        let id = UploadId::random();
        let file = self.0.blobs.create_open().await?;
        let blob = file.id();
        let store = self.clone();
        self.finish(None, async move {
            let now_ms = store.0.clock.now_ms();
            let key = match new.key {
                Some(key) => key,
                None => id
                    .to_string()
                    .parse()
                    .map_err(|e| StoreError::Failed(format!("an upload id is no key: {e}")))?,
            };
            let change = store.0.catalog.write(move |tx| {
                Box::pin(async move {
                    let bucket = existing(tx, &new.bucket).await?;
                    tx.insert_open_blob(blob, now_ms).await?;
                    tx.insert_upload(&NewUpload {
                        id,
                        protocol: new.protocol,
                        bucket_id: bucket.id,
                        key,
                        owner: new.owner,
                        length: new.length,
                        blob: Some(blob),
                        headers: to_json(&new.headers),
                        tags: to_json(&new.tags),
                        metadata: new.metadata,
                        created_ms: now_ms,
                        expires_ms: new.idle_ms.map(|idle_ms| now_ms + idle_ms),
                    })
                    .await?;
                    Ok::<_, StoreError>(())
                })
            });
            let outcome = change.await;
            drop(file);
            if outcome.as_ref().is_err_and(|error| !error.is_in_doubt()) {
                store.0.blobs.remove(blob).await?;
            }
            outcome
        })
        .await?;
        self.upload(id).await
    }

    /// An upload, open or finished a short while ago; never waits for a writer.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`].
    pub async fn upload(&self, id: UploadId) -> Result<Upload, StoreError> {
        let row = self.row(id).await?;
        self.describe(id, row).await
    }

    /// Open uploads of every door, newest first.
    pub async fn open_uploads(&self, limit: usize) -> Result<Vec<Upload>, StoreError> {
        let mut uploads = Vec::new();
        for row in self.0.catalog.open_uploads(limit as i64).await? {
            let id = row.id()?;
            uploads.push(self.describe(id, row).await?);
        }
        Ok(uploads)
    }

    async fn row(&self, id: UploadId) -> Result<UploadRow, StoreError> {
        self.0
            .catalog
            .upload(id)
            .await?
            .ok_or_else(|| StoreError::NoSuchUpload(id.to_string()))
    }

    async fn describe(&self, id: UploadId, row: UploadRow) -> Result<Upload, StoreError> {
        let offset = match (row.state(), row.blob()?) {
            (UploadState::Open, Some(blob)) => self.0.blobs.len(blob).await?,
            _ => row.offset(),
        };
        let finished = row.version_id.as_deref().map(str::parse).transpose();
        Ok(Upload {
            id,
            protocol: Protocol::parse(&row.protocol)
                .ok_or_else(|| StoreError::Damaged(format!("upload.protocol {}", row.protocol)))?,
            bucket: row
                .bucket
                .parse()
                .map_err(|e| StoreError::Damaged(format!("bucket.name {}: {e}", row.bucket)))?,
            key: row.key()?,
            offset,
            length: row.length(),
            finished: finished.map_err(|_| StoreError::Damaged("upload.version_id".into()))?,
            owner: row.owner,
            metadata: row.metadata,
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
        })
    }

    /// Ends a running session of this process, if there is one, and returns the upload with all that it received made durable.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`]; [`StoreError::UploadBusy`] when the session does not end.
    pub async fn settle_upload(&self, id: UploadId) -> Result<Upload, StoreError> {
        let turn = self.turn(id).await?;
        let row = self.row(id).await?;
        let upload = self.describe(id, row.clone()).await?;
        if upload.finished.is_none() && upload.offset > row.offset() {
            // A daemon that was killed left bytes that no sync has covered yet.
            let idle_ms = upload.expires_ms.map(|at| at - upload.created_ms);
            self.session(id, row, upload.offset, idle_ms, turn)
                .await?
                .release()
                .await?;
        }
        Ok(upload)
    }

    /// Takes the turn to write an upload from whoever has it in this process.
    async fn turn(&self, id: UploadId) -> Result<Turn, StoreError> {
        let slot = self.0.sessions.slot(id);
        slot.stop
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .cancel();
        let waiting = tokio::time::timeout(TAKEOVER_TIMEOUT, slot.writing.clone().lock_owned());
        let writing = waiting.await.map_err(|_| StoreError::UploadBusy)?;
        let stop = CancellationToken::new();
        *slot.stop.lock().unwrap_or_else(PoisonError::into_inner) = stop.clone();
        Ok(Turn {
            _slot: slot,
            _writing: writing,
            stop,
        })
    }

    async fn lease(&self, id: UploadId) -> Result<(), StoreError> {
        let now_ms = self.0.clock.now_ms();
        let holder = self.0.instance.clone();
        let taken = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    Ok::<_, StoreError>(
                        tx.take_upload_lease(id, &holder, now_ms, now_ms + LEASE_MS)
                            .await?,
                    )
                })
            })
            .await?;
        if taken {
            Ok(())
        } else {
            Err(StoreError::UploadBusy)
        }
    }

    /// Takes the right to append at `offset`, from a running session too.
    ///
    /// # Errors
    /// [`StoreError::OffsetConflict`] with where the upload stands; [`StoreError::NoSuchUpload`]; [`StoreError::UploadBusy`] while another daemon writes it.
    pub async fn append(
        &self,
        id: UploadId,
        offset: u64,
        idle_ms: Option<Millis>,
    ) -> Result<UploadSession, StoreError> {
        let turn = self.turn(id).await?;
        let row = self.row(id).await?;
        let current = self.describe(id, row.clone()).await?;
        if offset != current.offset || current.finished.is_some() {
            return Err(StoreError::OffsetConflict {
                current: current.offset,
                given: offset,
            });
        }
        self.session(id, row, offset, idle_ms, turn).await
    }

    async fn session(
        &self,
        id: UploadId,
        row: UploadRow,
        offset: u64,
        idle_ms: Option<Millis>,
        turn: Turn,
    ) -> Result<UploadSession, StoreError> {
        let blob = row
            .blob()?
            .ok_or_else(|| StoreError::NoSuchUpload(id.to_string()))?;
        self.lease(id).await?;
        self.0.blobs.admit(
            row.length()
                .map_or(0, |length| length.saturating_sub(offset)),
        )?;
        let mut appender = self
            .0
            .blobs
            .append(blob, offset, row.sums.as_deref().unwrap_or_default())
            .await?;
        if let Some(length) = row.length() {
            appender.reserve(length).await?;
        }
        let stop = turn.stop.clone();
        Ok(UploadSession {
            store: self.clone(),
            row,
            id,
            idle_ms,
            offset,
            stop,
            held: Some((appender, turn)),
        })
    }

    /// Declares the length of an upload that was begun without one.
    ///
    /// # Errors
    /// [`StoreError::LengthKnown`]; [`StoreError::NoSuchUpload`].
    pub async fn set_upload_length(&self, id: UploadId, length: u64) -> Result<(), StoreError> {
        if length > OBJECT_BYTES_MAX {
            return Err(StoreError::TooLarge {
                limit: OBJECT_BYTES_MAX,
            });
        }
        self.row(id).await?;
        let set = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(
                    async move { Ok::<_, StoreError>(tx.set_upload_length(id, length).await?) },
                )
            })
            .await?;
        if set {
            Ok(())
        } else {
            Err(StoreError::LengthKnown)
        }
    }

    /// Ends an upload and removes its bytes; a finished one is forgotten, its object stays.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`].
    pub async fn terminate_upload(&self, id: UploadId) -> Result<(), StoreError> {
        let _turn = self.turn(id).await?;
        self.row(id).await?;
        self.drop_upload(id).await
    }

    async fn drop_upload(&self, id: UploadId) -> Result<(), StoreError> {
        let dead = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let Some(row) = tx.upload(id).await? else {
                        return Ok(Vec::new());
                    };
                    let parts = tx.parts(id).await?;
                    tx.delete_parts(id).await?;
                    tx.delete_upload(id).await?;
                    let mut dead = release_parts(tx, &parts).await?;
                    if let Some(blob) = row.blob()?
                        && tx.release_blob(blob, 1).await?
                    {
                        dead.push(blob);
                    }
                    Ok::<_, StoreError>(dead)
                })
            })
            .await?;
        self.bury(dead).await;
        Ok(())
    }

    /// Removes uploads whose time is over; returns how many.
    pub async fn sweep_uploads(&self) -> Result<usize, StoreError> {
        let now_ms = self.0.clock.now_ms();
        let mut swept = 0;
        for row in self.0.catalog.expired_uploads(now_ms, SWEEP_MAX).await? {
            let id = row.id()?;
            let _turn = self.turn(id).await?;
            // A session that had the turn may have moved the expiry.
            if self
                .row(id)
                .await?
                .expires_ms
                .is_some_and(|at| at <= now_ms)
            {
                self.drop_upload(id).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

impl UploadSession {
    /// Bytes received so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Total bytes, when declared.
    pub fn length(&self) -> Option<u64> {
        self.row.length()
    }

    /// Completes when a newer request wants the upload: stop reading, [`UploadSession::release`].
    pub fn taken_over(&self) -> tokio_util::sync::WaitForCancellationFutureOwned {
        self.stop.clone().cancelled_owned()
    }

    /// Whether every declared byte is there.
    pub fn is_complete(&self) -> bool {
        self.length() == Some(self.offset)
    }

    fn appender(&mut self) -> Result<&mut BlobAppender, StoreError> {
        let ended = || StoreError::Failed("the upload session has ended".into());
        self.held
            .as_mut()
            .map(|(appender, _)| appender)
            .ok_or_else(ended)
    }

    /// Takes more bytes; waits while the disk is behind.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] beyond the declared length, before any byte of this piece is kept; those of the disk.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let limit = self.length().unwrap_or(OBJECT_BYTES_MAX);
        let end = self.offset + bytes.len() as u64;
        if end > limit {
            return Err(StoreError::TooLarge { limit });
        }
        self.appender()?.write(bytes).await?;
        self.offset = end;
        Ok(())
    }

    /// Makes every received byte durable and returns the offset that may be told.
    ///
    /// # Errors
    /// Those of the disk and the database; [`StoreError::UploadBusy`] when another daemon has taken the upload.
    pub async fn checkpoint(&mut self) -> Result<u64, StoreError> {
        let checkpoint = self.appender()?.checkpoint().await?;
        let offset = checkpoint.offset;
        let (id, now_ms) = (self.id, self.store.0.clock.now_ms());
        let holder = self.store.0.instance.clone();
        let expires_ms = self.idle_ms.map(|idle_ms| now_ms + idle_ms);
        let change = self.store.0.catalog.write(move |tx| {
            Box::pin(async move {
                let held = tx
                    .take_upload_lease(id, &holder, now_ms, now_ms + LEASE_MS)
                    .await?;
                Ok::<_, StoreError>(
                    held && tx
                        .advance_upload(id, offset, &checkpoint.sums, expires_ms)
                        .await?,
                )
            })
        });
        if change.await? {
            Ok(offset)
        } else {
            Err(StoreError::UploadBusy)
        }
    }

    /// Lets go: every received byte is durable, and another request or daemon may go on at once.
    pub async fn release(mut self) -> Result<u64, StoreError> {
        let offset = self.checkpoint().await;
        let (id, holder) = (self.id, self.store.0.instance.clone());
        let change = self.store.0.catalog.write(move |tx| {
            Box::pin(async move { Ok::<_, StoreError>(tx.drop_upload_lease(id, &holder).await?) })
        });
        let dropped = change.await;
        // Also after a failure: the bytes are in the file, and a retry belongs to the next request.
        self.held = None;
        dropped.and(offset)
    }

    /// Turns the complete upload into its object, with its event and jobs.
    ///
    /// # Errors
    /// [`StoreError::IncompleteBody`] while bytes are missing; those of [`Store::publish`], and then the upload stays open.
    pub async fn finish(mut self) -> Result<Published, StoreError> {
        let received = self.offset;
        if !self.is_complete() {
            return Err(StoreError::IncompleteBody {
                received,
                declared: self.length().unwrap_or(u64::MAX),
            });
        }
        let (appender, turn) = self
            .held
            .take()
            .ok_or_else(|| StoreError::NoSuchUpload(self.id.to_string()))?;
        let (store, row, id) = (self.store.clone(), self.row.clone(), self.id);
        let finisher = store.clone();
        let commit = async move {
            let digest = appender.finish().await?.digest;
            let now_ms = finisher.0.clock.now_ms();
            let planner = finisher.0.planner.clone();
            let change = finisher.0.catalog.write(move |tx| {
                Box::pin(async move {
                    finish_in(tx, id, &row, received, digest, &planner, now_ms).await
                })
            });
            let outcome = change.await?;
            drop(turn);
            finisher.published(outcome).await
        };
        store.finish(None, commit).await
    }
}

impl Drop for UploadSession {
    /// A connection that broke off: what came in is made durable before the next request sees the upload.
    fn drop(&mut self) {
        let Some(held) = self.held.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let rest = Self {
            store: self.store.clone(),
            row: self.row.clone(),
            id: self.id,
            idle_ms: self.idle_ms,
            offset: self.offset,
            stop: self.stop.clone(),
            held: Some(held),
        };
        runtime.spawn(async move {
            let id = rest.id;
            if let Err(error) = rest.release().await {
                tracing::warn!(upload.id = %id, %error, "the last bytes of upload {id} are kept but not synced: {error}");
            }
        });
    }
}

async fn finish_in(
    tx: &mut Tx,
    id: UploadId,
    row: &UploadRow,
    size: u64,
    digest: BlobDigest,
    planner: &Planner,
    now_ms: Millis,
) -> Result<Outcome, StoreError> {
    let blob: BlobId = row
        .blob()?
        .ok_or_else(|| StoreError::NoSuchUpload(id.to_string()))?;
    let bucket: BucketName = row
        .bucket
        .parse()
        .map_err(|e| StoreError::Damaged(format!("bucket.name {}: {e}", row.bucket)))?;
    let headers: ObjectHeaders = json("upload.headers", &row.headers)?;
    let tags: Tags = json("upload.tags", &row.tags)?;
    let mut dead = Vec::new();
    let source = if size == 0 {
        // The upload's reference is the only one, and no extent can hold nothing.
        if tx.release_blob(blob, 1).await? {
            dead.push(blob);
        }
        Source::Inline(Vec::new())
    } else {
        if !tx
            .finish_blob(blob, size, &digest.blake3, &digest.sums)
            .await?
        {
            return Err(StoreError::NoSuchUpload(id.to_string()));
        }
        // The reference goes from the upload to the object.
        Source::Owned(vec![Extent {
            blob,
            offset: 0,
            length: size,
        }])
    };
    let draft = Draft {
        put: PutObject {
            bucket,
            key: row.key()?,
            headers,
            tags,
            owner: row.owner.clone(),
            condition: Condition::default(),
            etag: None,
        },
        size,
        etag: ETag::from_content(&digest.blake3),
        content_id: ContentId(digest.blake3),
        checksums: Checksums::default(),
        source,
    };
    let mut outcome = publish_in(tx, draft, planner, now_ms).await?;
    outcome.dead.extend(dead);
    let version = outcome.row.version_id()?;
    if !tx
        .finish_upload(id, version.as_str(), size, Some(now_ms + FINISHED_KEPT_MS))
        .await?
    {
        return Err(StoreError::NoSuchUpload(id.to_string()));
    }
    Ok(outcome)
}
