//! Resumable uploads: one growing file, whose length is what was received.
//!
//! What was received after the last sync is kept too, and counted once it is synced; the offset told to a client is always durable.
//! Bytes are taken by a session, which lives in `session`.

use super::bucket::existing;
use super::headers::{ObjectHeaders, Tags};
use super::lanes::NewLane;
use super::object::to_json;
use super::parts::release_parts;
use super::{Store, StoreError, quota};
use crate::catalog::{Lane, NewUpload, Protocol, UploadRole, UploadRow, UploadState};
use crate::kernel::limits::OBJECT_BYTES_MAX;
use crate::kernel::{BlobId, BucketName, Millis, ObjectKey, UploadId, VersionId};

/// Expired uploads swept in one round.
const SWEEP_MAX: i64 = 100;

/// An upload to be begun.
#[derive(Clone, Debug)]
pub struct NewResumable {
    /// Which door.
    pub protocol: Protocol,
    /// Whether it becomes an object, or bytes for others; final ones begin with [`Store::concatenate`].
    pub role: UploadRole,
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
    /// For a partial upload with a length: where in a file that it shares its bytes go.
    pub lane: Option<NewLane>,
}

/// The row of a new upload; without a key it gets its id as one.
pub(super) fn row_of(
    new: NewResumable,
    id: UploadId,
    bucket_id: i64,
    blob: Option<BlobId>,
    lane: Option<(String, Lane)>,
    now_ms: Millis,
) -> Result<NewUpload, StoreError> {
    let key = match new.key {
        Some(key) => key,
        None => id
            .to_string()
            .parse()
            .map_err(|e| StoreError::Failed(format!("an upload id is no key: {e}")))?,
    };
    Ok(NewUpload {
        id,
        protocol: new.protocol,
        role: new.role,
        bucket_id,
        key,
        owner: new.owner,
        length: new.length,
        blob,
        lane,
        headers: to_json(&new.headers),
        tags: to_json(&new.tags),
        metadata: new.metadata,
        extras: to_json(&super::ObjectExtras::default()),
        created_ms: now_ms,
        expires_ms: new.idle_ms.map(|idle_ms| now_ms + idle_ms),
    })
}

/// An upload as a door shows it.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its unguessable id.
    pub id: UploadId,
    /// Which door it came through.
    pub protocol: Protocol,
    /// What it is in a concatenation.
    pub role: UploadRole,
    /// Whether every byte is there and nothing more is taken.
    pub is_complete: bool,
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

impl Store {
    /// Begins a resumable upload.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`]; [`StoreError::Full`] or [`StoreError::TooLarge`] by the declared length.
    pub async fn begin_upload(&self, new: NewResumable) -> Result<Upload, StoreError> {
        self.begin_upload_as(UploadId::random(), new).await
    }

    /// The same with an id that the caller has made of what nobody can guess; one that is taken is an error of the catalog.
    pub async fn begin_upload_as(
        &self,
        id: UploadId,
        new: NewResumable,
    ) -> Result<Upload, StoreError> {
        if new.length.is_some_and(|length| length > OBJECT_BYTES_MAX) {
            return Err(StoreError::TooLarge {
                limit: OBJECT_BYTES_MAX,
            });
        }
        let declared = new.length.unwrap_or(0);
        self.admit(&new.bucket, new.key.as_ref(), &new.owner, declared)
            .await?;
        if let Some(lane) = new.lane.clone() {
            return self.begin_lane(new, lane).await;
        }
        self.room_for(declared).await?;
        let store = self.clone();
        // From the file on, whatever becomes of the request: without its row it would stay until the next start.
        self.finish(None, async move {
            // The space is taken now: whoever comes next is told of what is left.
            let file = store.0.blobs.create_reserved(declared).await?;
            let blob = file.id();
            let now_ms = store.0.clock.now_ms();
            let change = store.0.catalog.write(move |tx| {
                Box::pin(async move {
                    let bucket = existing(tx, &new.bucket).await?;
                    tx.insert_open_blob(blob, now_ms).await?;
                    let row = row_of(new, id, bucket.id, Some(blob), None, now_ms)?;
                    tx.insert_upload(&row).await?;
                    quota::reserve(tx, &bucket, &row).await
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
            match self.describe(id, row).await {
                Ok(upload) => uploads.push(upload),
                // Its disk is away: it is listed again when that is back.
                Err(StoreError::DiskAway(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(uploads)
    }

    pub(super) async fn row(&self, id: UploadId) -> Result<UploadRow, StoreError> {
        self.0
            .catalog
            .upload(id)
            .await?
            .ok_or_else(|| StoreError::NoSuchUpload(id.to_string()))
    }

    pub(super) async fn describe(
        &self,
        id: UploadId,
        row: UploadRow,
    ) -> Result<Upload, StoreError> {
        let offset = match (row.state(), row.blob()?) {
            (UploadState::Open, Some(blob)) => {
                let len = match row.lane()? {
                    None => self.0.blobs.len(blob).await?,
                    Some(_) => self.lane_bytes(blob, row.offset()).await?,
                };
                row.fence().map_or(len, |fence| len.min(fence))
            }
            (UploadState::Open, None) if row.protocol == Protocol::S3.as_str() => {
                u64::try_from(self.0.catalog.part_bytes(id).await?).unwrap_or(0)
            }
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
            role: row.role(),
            is_complete: row.state() != UploadState::Open,
            offset,
            length: row.length(),
            finished: finished.map_err(|_| StoreError::Damaged("upload.version_id".into()))?,
            owner: row.owner,
            metadata: row.metadata,
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
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
        let row = self.row(id).await?;
        self.0.blobs.admit(length.saturating_sub(row.offset()))?;
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
                    let shared = row.lane()?.map(|lane| lane.blob);
                    for blob in row.blob()?.into_iter().chain(shared) {
                        if tx.release_blob(blob, 1).await? {
                            dead.push(blob);
                        }
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
