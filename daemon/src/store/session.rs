//! The right to append to an upload, taken from whoever has it.
//!
//! A newer request takes a session over: it tells the running one to stop, waits until that one has flushed, and goes on from there.
//! Across two overlapping daemons the right is a lease in the upload's row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use metrics::counter;
use tokio::sync::OwnedMutexGuard;
use tokio_util::sync::CancellationToken;

use super::arriving::Live;
use super::finish::finish_in;
use super::progress::Shown;
use super::publish::Published;
use super::upload::Upload;
use super::{Store, StoreError};
use crate::blob::{BlobAppender, Slice};
use crate::catalog::{Protocol, UploadRole, UploadRow};
use crate::kernel::limits::OBJECT_BYTES_MAX;
use crate::kernel::{Millis, UploadId};
use crate::telemetry::metrics::{UPLOADS_FINISHED_TOTAL, UPLOADS_TAKEN_OVER_TOTAL};

/// How long a daemon may hold an upload without renewing; renewed with every checkpoint.
const LEASE_MS: Millis = 10_000;
/// How long a request waits for the one it takes over from to flush.
const TAKEOVER_TIMEOUT: Duration = Duration::from_secs(10);

/// The sessions of this process, by upload.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<UploadId, Arc<Slot>>>);

#[derive(Default)]
struct Slot {
    /// Held by the session that appends.
    writing: Arc<tokio::sync::Mutex<()>>,
    /// Of whoever came last, be it writing or waiting: told to stop by the next.
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
pub(super) struct Turn {
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
    /// Bytes from here on count only once they are verified.
    fence: Option<u64>,
    stop: CancellationToken,
    /// Lets readers follow what is written, where it counts as it comes.
    live: Option<Live>,
    /// Shows how far it is while it runs.
    shown: Arc<Shown>,
    /// `None` only once the session has ended.
    held: Option<(BlobAppender, Turn)>,
}

impl Store {
    /// Ends a running session of this process, if there is one, and returns the upload with all that it received made durable.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`]; [`StoreError::UploadBusy`] when the session does not end.
    pub async fn settle_upload(&self, id: UploadId) -> Result<Upload, StoreError> {
        let turn = self.turn(id).await?;
        let row = self.row(id).await?;
        let upload = self.describe(id, row.clone()).await?;
        if !upload.is_complete && upload.offset > row.offset() {
            // A daemon that was killed left bytes that no sync has covered yet.
            let idle_ms = upload.expires_ms.map(|at| at - upload.created_ms);
            self.session(id, row, upload.offset, idle_ms, turn, false)
                .await?
                .release()
                .await?;
        }
        Ok(upload)
    }

    /// The same, and an upload whose last byte was received is ended, if a crash or a newer request had cut that off: a client that
    /// hears that all is there asks no more. So is a final upload of which every part is whole.
    ///
    /// # Errors
    /// Those of [`Store::settle_upload`], and what keeps the object from being made.
    pub async fn conclude_upload(&self, id: UploadId) -> Result<Upload, StoreError> {
        let upload = self.settle_upload(id).await?;
        if upload.role == UploadRole::Final && !upload.is_complete {
            self.finish_final(id).await?;
            return self.upload(id).await;
        }
        let is_whole = !upload.is_complete && upload.length == Some(upload.offset);
        if !is_whole || upload.protocol != Protocol::Tus {
            return Ok(upload);
        }
        let ended = async {
            let session = self.append(id, upload.offset, None).await?;
            match upload.role {
                UploadRole::Partial => session.seal().await.map(drop),
                _ => session.finish().await.map(drop),
            }
        };
        let ended = ended.await;
        let upload = self.upload(id).await?;
        match ended {
            Err(error) if !upload.is_complete => Err(error),
            // By us, or by another just before.
            _ => Ok(upload),
        }
    }

    /// Takes the turn to write an upload from whoever has it in this process.
    pub(super) async fn turn(&self, id: UploadId) -> Result<Turn, StoreError> {
        let slot = self.0.sessions.slot(id);
        let stop = CancellationToken::new();
        // Also who still waits for its turn hears of whoever came behind it, and passes the turn on as soon as it has it.
        std::mem::replace(
            &mut *slot.stop.lock().unwrap_or_else(PoisonError::into_inner),
            stop.clone(),
        )
        .cancel();
        if slot.writing.try_lock().is_err() {
            counter!(UPLOADS_TAKEN_OVER_TOTAL).increment(1);
        }
        let waiting = tokio::time::timeout(TAKEOVER_TIMEOUT, slot.writing.clone().lock_owned());
        let writing = waiting.await.map_err(|_| StoreError::UploadBusy)?;
        Ok(Turn {
            _slot: slot,
            _writing: writing,
            stop,
        })
    }

    /// Notes in the row who writes the upload now.
    ///
    /// Called with the lock of the file in hand, which the kernel takes from a daemon that died: whoever the row names is gone or has let go.
    async fn lease(&self, id: UploadId, fence: Option<u64>) -> Result<(), StoreError> {
        let until_ms = self.0.clock.now_ms() + LEASE_MS;
        let holder = self.0.instance.clone();
        let change = self.0.catalog.write(move |tx| {
            Box::pin(async move {
                let taken = tx
                    .take_upload_lease(id, &holder, Millis::MAX, until_ms)
                    .await?;
                Ok::<_, StoreError>(taken && tx.set_upload_fence(id, fence).await?)
            })
        });
        if change.await? {
            Ok(())
        } else {
            Err(StoreError::NoSuchUpload(id.to_string()))
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
        self.append_from(id, offset, idle_ms, false).await
    }

    /// The same for bytes that count all or not at all: until [`UploadSession::verified`] the upload stands at `offset`, after a crash too.
    ///
    /// # Errors
    /// Those of [`Store::append`].
    pub async fn append_unverified(
        &self,
        id: UploadId,
        offset: u64,
        idle_ms: Option<Millis>,
    ) -> Result<UploadSession, StoreError> {
        self.append_from(id, offset, idle_ms, true).await
    }

    async fn append_from(
        &self,
        id: UploadId,
        offset: u64,
        idle_ms: Option<Millis>,
        fenced: bool,
    ) -> Result<UploadSession, StoreError> {
        let turn = self.turn(id).await?;
        let row = self.row(id).await?;
        let current = self.describe(id, row.clone()).await?;
        if offset != current.offset || current.is_complete {
            return Err(StoreError::OffsetConflict {
                current: current.offset,
                given: offset,
            });
        }
        self.session(id, row, offset, idle_ms, turn, fenced).await
    }

    async fn session(
        &self,
        id: UploadId,
        row: UploadRow,
        offset: u64,
        idle_ms: Option<Millis>,
        turn: Turn,
        fenced: bool,
    ) -> Result<UploadSession, StoreError> {
        let blob = row
            .blob()?
            .ok_or_else(|| StoreError::NoSuchUpload(id.to_string()))?;
        if row.length().is_none() {
            // The space of a declared length was taken at the beginning.
            self.0.blobs.admit(0)?;
        }
        let mut appender = self.appender(&row, blob, offset).await?;
        let fence = fenced.then_some(offset);
        if row.fence().is_some() && !fenced {
            // The refused bytes behind the old fence are cut off; that must last before the fence falls.
            appender.checkpoint().await?;
        }
        self.lease(id, fence).await?;
        if let Some(length) = row.length() {
            appender.reserve(length).await?;
        }
        let stop = turn.stop.clone();
        let live = (!fenced).then(|| self.0.arrivals.enter(id, appender.written()));
        let shown = self.0.progress.begin(&self.0.clock, id, &row, offset)?;
        Ok(UploadSession {
            shown,
            store: self.clone(),
            row,
            id,
            idle_ms,
            offset,
            fence,
            stop,
            live,
            held: Some((appender, turn)),
        })
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

    /// What the upload is in a concatenation.
    pub fn role(&self) -> UploadRole {
        self.row.role()
    }

    /// Lets the bytes of an [unverified](Store::append_unverified) session count: they are durable when this returns.
    ///
    /// # Errors
    /// Those of the disk and the database; then they do not count.
    pub async fn verified(&mut self) -> Result<(), StoreError> {
        self.appender()?.checkpoint().await?;
        let id = self.id;
        let change = self.store.0.catalog.write(move |tx| {
            Box::pin(async move { Ok::<_, StoreError>(tx.set_upload_fence(id, None).await?) })
        });
        if !change.await? {
            return Err(StoreError::NoSuchUpload(id.to_string()));
        }
        self.fence = None;
        Ok(())
    }

    /// Cuts off what did not count, and lets go.
    async fn roll_back(mut self, fence: u64) -> Result<u64, StoreError> {
        let ended = || StoreError::Failed("the upload session has ended".into());
        let (appender, turn) = self.held.take().ok_or_else(ended)?;
        // What waits is written before its lock is free; then the file is cut.
        drop(appender);
        let store = self.store.clone();
        let (id, row, idle_ms) = (self.id, self.row.clone(), self.idle_ms);
        let row = UploadRow::fenced(row, fence);
        let session = store.session(id, row, fence, idle_ms, turn, false).await?;
        Box::pin(session.release()).await
    }

    /// Declares that what is there is all, where no length was declared.
    ///
    /// # Errors
    /// [`StoreError::IncompleteBody`] when another length was; those of the database.
    pub async fn end_here(&mut self) -> Result<(), StoreError> {
        match self.length() {
            Some(length) if length == self.offset => Ok(()),
            Some(declared) => Err(StoreError::IncompleteBody {
                received: self.offset,
                declared,
            }),
            None => {
                self.store.set_upload_length(self.id, self.offset).await?;
                self.row = self.store.row(self.id).await?;
                Ok(())
            }
        }
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
        self.shown.moved(end);
        Ok(())
    }

    /// Has what was taken written, as nothing more comes at the moment.
    pub fn nudge(&mut self) {
        if let Some((appender, _)) = &mut self.held {
            appender.nudge();
        }
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
    ///
    /// What was not [verified](UploadSession::verified) in a session that wants it is cut off.
    pub async fn release(mut self) -> Result<u64, StoreError> {
        if let Some(fence) = self.fence {
            return self.roll_back(fence).await;
        }
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

    /// Keeps a complete partial upload as bytes for final ones; [`Store::finals_with_all_bytes`] tells which of them waited for it alone.
    ///
    /// # Errors
    /// [`StoreError::IncompleteBody`] while bytes are missing; those of the disk and the database, and then the upload stays open.
    pub async fn seal(mut self) -> Result<u64, StoreError> {
        let (appender, turn) = self.complete()?;
        let (store, row, id, size) = (self.store.clone(), self.row.clone(), self.id, self.offset);
        let sealer = store.clone();
        let commit = async move {
            let blob = row
                .blob()?
                .ok_or_else(|| StoreError::NoSuchUpload(id.to_string()))?;
            let dead = if row.lane()?.is_some() {
                let (_, sums) = appender.finish_stretch().await?;
                let change = sealer.0.catalog.write(move |tx| {
                    Box::pin(async move {
                        if !tx.seal_lane(id, size, &sums).await? {
                            return Err(StoreError::NoSuchUpload(id.to_string()));
                        }
                        // The mark has done its work.
                        Ok(tx.release_blob(blob, 1).await?.then_some(blob))
                    })
                });
                change.await?
            } else {
                let digest = appender.finish().await?.digest;
                let change = sealer.0.catalog.write(move |tx| {
                    Box::pin(async move {
                        let kept = tx
                            .finish_blob(blob, size, &digest.blake3, &digest.sums)
                            .await?;
                        if kept && tx.seal_upload(id, size).await? {
                            Ok(None)
                        } else {
                            Err(StoreError::NoSuchUpload(id.to_string()))
                        }
                    })
                });
                change.await?
            };
            drop(turn);
            sealer.bury(dead.into_iter().collect()).await;
            Ok(())
        };
        store.finish(None, commit).await?;
        Ok(size)
    }

    /// The parts of a session that has every byte.
    fn complete(&mut self) -> Result<(BlobAppender, Turn), StoreError> {
        if !self.is_complete() || self.fence.is_some() {
            return Err(StoreError::IncompleteBody {
                received: self.offset,
                declared: self.length().unwrap_or(u64::MAX),
            });
        }
        self.held
            .take()
            .ok_or_else(|| StoreError::NoSuchUpload(self.id.to_string()))
    }

    /// Turns the complete upload into its object, with its event and jobs.
    ///
    /// # Errors
    /// [`StoreError::IncompleteBody`] while bytes are missing; those of [`Store::publish`], and then the upload stays open.
    pub async fn finish(mut self) -> Result<Published, StoreError> {
        let received = self.offset;
        let (appender, turn) = self.complete()?;
        let (store, row, id) = (self.store.clone(), self.row.clone(), self.id);
        let protocol = Protocol::parse(&row.protocol).map_or("other", Protocol::as_str);
        let ender = store.clone();
        let end = async move {
            let digest = appender.finish().await?.digest;
            let blob = row
                .blob()?
                .ok_or_else(|| StoreError::Damaged("an open upload without a file".into()))?;
            let slice = Slice {
                blob,
                offset: 0,
                length: received,
            };
            let sealed = store.encrypted_upload(&row, vec![slice]).await?;
            let (encrypted, fresh) = match sealed {
                Some((encrypted, blob)) => (Some(encrypted), blob),
                None => (None, None),
            };
            let finisher = store.clone();
            let commit = async move {
                let now_ms = finisher.0.clock.now_ms();
                let planner = finisher.0.planner.clone();
                let change = finisher.0.catalog.write(move |tx| {
                    Box::pin(async move {
                        finish_in(tx, id, &row, received, digest, encrypted, &planner, now_ms).await
                    })
                });
                let outcome = change.await?;
                drop(turn);
                counter!(UPLOADS_FINISHED_TOTAL, "protocol" => protocol).increment(1);
                finisher.published(outcome).await
            };
            store.finish(fresh, commit).await
        };
        ender.to_its_end(end).await
    }
}

#[cfg(test)]
impl UploadSession {
    /// Ends as a killed daemon does: the row keeps its lease.
    pub(super) fn abandon(mut self) {
        self.held = None;
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
            shown: Arc::clone(&self.shown),
            store: self.store.clone(),
            row: self.row.clone(),
            id: self.id,
            idle_ms: self.idle_ms,
            offset: self.offset,
            fence: self.fence,
            stop: self.stop.clone(),
            live: self.live.take(),
            held: Some(held),
        };
        let release = async move {
            let id = rest.id;
            if let Err(error) = rest.release().await {
                tracing::warn!(upload.id = %id, %error, "the last bytes of upload {id} are kept but not synced: {error}");
            }
        };
        drop(self.store.0.endings.tasks.spawn_on(release, &runtime));
    }
}
