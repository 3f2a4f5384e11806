//! Uploads in progress: one row whatever the protocol.

use sqlx::FromRow;

use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use super::lookup::from_sqlite;
use crate::kernel::{BlobId, Millis, ObjectKey, UploadId};

/// Which door an upload came through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// tus 1.0.
    Tus,
    /// IETF resumable uploads.
    Rufh,
    /// S3 multipart.
    S3,
}

impl Protocol {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tus => "tus",
            Self::Rufh => "rufh",
            Self::S3 => "s3",
        }
    }

    /// Reads what [`Protocol::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Tus, Self::Rufh, Self::S3]
            .into_iter()
            .find(|protocol| protocol.as_str() == text)
    }
}

/// The life of an upload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UploadState {
    /// Bytes are still to come.
    Open,
    /// A partial upload that is whole: its bytes wait for a final one.
    Sealed,
    /// Became an object; kept for a while so that a late question gets its answer.
    Finished,
}

impl UploadState {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Sealed => "sealed",
            Self::Finished => "finished",
        }
    }
}

/// What an upload is in a concatenation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UploadRole {
    /// Not in one: it becomes an object by itself.
    #[default]
    Whole,
    /// Bytes for final ones; never an object.
    Partial,
    /// Made of partial ones.
    Final,
}

impl UploadRole {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Partial => "partial",
            Self::Final => "final",
        }
    }
}

/// Where the bytes of a lane go: into a file that several uploads fill.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lane {
    /// The shared file.
    pub blob: BlobId,
    /// Where in it the lane begins, in bytes.
    pub start: u64,
    /// Bytes of the whole file.
    pub total: u64,
}

/// An upload to be begun.
#[derive(Clone, Debug)]
pub struct NewUpload {
    /// Its unguessable id.
    pub id: UploadId,
    /// Which door.
    pub protocol: Protocol,
    /// What it is in a concatenation.
    pub role: UploadRole,
    /// Row id of the bucket.
    pub bucket_id: i64,
    /// The key it will be published under.
    pub key: ObjectKey,
    /// Who began it; only they (and admins) may go on.
    pub owner: String,
    /// Total bytes, when declared.
    pub length: Option<u64>,
    /// The open blob that a sequential upload appends to; `None` for S3 parts, each a blob of its own.
    pub blob: Option<BlobId>,
    /// The client's name for all lanes of one object and where this one goes, if it is a lane.
    pub lane: Option<(String, Lane)>,
    /// JSON: headers of the object to be.
    pub headers: String,
    /// JSON: tags of the object to be.
    pub tags: String,
    /// JSON: what only the protocol needs.
    pub metadata: String,
    /// JSON: access list, lock and encryption of the object to be.
    pub extras: String,
    /// Now.
    pub created_ms: Millis,
    /// When it may be swept.
    pub expires_ms: Option<Millis>,
}

/// A row of `upload` with the name of its bucket.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct UploadRow {
    id: String,
    /// A [`Protocol`] as stored.
    pub protocol: String,
    /// Row id of the bucket.
    pub bucket_id: i64,
    /// Name of the bucket.
    pub bucket: String,
    key: Vec<u8>,
    /// Who began it.
    pub owner: String,
    state: String,
    role: String,
    fence_bytes: Option<i64>,
    length_bytes: Option<i64>,
    offset_bytes: i64,
    blob_id: Option<String>,
    lane_blob_id: Option<String>,
    lane_start: Option<i64>,
    lane_total: Option<i64>,
    taken_blob_id: Option<String>,
    /// Chaining values of the durable whole MiBs.
    pub sums: Option<Vec<u8>>,
    /// JSON: headers of the object to be.
    pub headers: String,
    /// JSON: tags of the object to be.
    pub tags: String,
    /// JSON: what only the protocol needs.
    pub metadata: String,
    /// JSON: access list, lock and encryption of the object to be.
    pub extras: String,
    /// Version of the object it became.
    pub version_id: Option<String>,
    /// When it was begun.
    pub created_ms: Millis,
    /// When it may be swept.
    pub expires_ms: Option<Millis>,
}

from_sqlite! { UploadRow:
    id protocol bucket_id bucket key owner state role fence_bytes length_bytes offset_bytes blob_id lane_blob_id
    lane_start lane_total taken_blob_id sums headers tags metadata extras version_id created_ms expires_ms
}

impl UploadRow {
    /// The same row with a fence.
    #[must_use]
    pub fn fenced(self, fence: u64) -> Self {
        Self {
            fence_bytes: Some(fence as i64),
            ..self
        }
    }

    /// The id.
    pub fn id(&self) -> Result<UploadId, CatalogError> {
        parsed(&self.id)
    }

    /// The key it will be published under.
    pub fn key(&self) -> Result<ObjectKey, CatalogError> {
        let text = String::from_utf8_lossy(&self.key);
        text.parse()
            .map_err(|e| CatalogError::Corrupt(format!("upload.key {text}: {e}")))
    }

    /// Open or finished.
    pub fn state(&self) -> UploadState {
        [UploadState::Finished, UploadState::Sealed]
            .into_iter()
            .find(|state| state.as_str() == self.state)
            .unwrap_or(UploadState::Open)
    }

    /// What it is in a concatenation.
    pub fn role(&self) -> UploadRole {
        [UploadRole::Partial, UploadRole::Final]
            .into_iter()
            .find(|role| role.as_str() == self.role)
            .unwrap_or_default()
    }

    /// Bytes from here on do not count: they are being checked.
    pub fn fence(&self) -> Option<u64> {
        self.fence_bytes.map(|n| n as u64)
    }

    /// Total bytes, when declared.
    pub fn length(&self) -> Option<u64> {
        self.length_bytes.map(|n| n as u64)
    }

    /// Bytes known durable.
    pub fn offset(&self) -> u64 {
        self.offset_bytes as u64
    }

    /// The open blob of a sequential upload.
    pub fn blob(&self) -> Result<Option<BlobId>, CatalogError> {
        blob_of(self.blob_id.as_ref())
    }

    /// The blob that the bytes of a whole partial upload are in, and where in it they begin; it may have gone since a final upload took them over.
    pub fn place(&self) -> Result<Option<(BlobId, u64)>, CatalogError> {
        let taken = blob_of(self.taken_blob_id.as_ref())?;
        Ok(match self.lane()? {
            Some(lane) => Some((lane.blob, lane.start)),
            None => match taken {
                Some(blob) => Some((blob, self.lane_start.unwrap_or(0) as u64)),
                None => self.blob()?.map(|blob| (blob, 0)),
            },
        })
    }

    /// The blob that a final upload took over, which this one refers to no more.
    pub fn taken(&self) -> Result<Option<BlobId>, CatalogError> {
        blob_of(self.taken_blob_id.as_ref())
    }

    /// Where its bytes go, if it is a lane.
    pub fn lane(&self) -> Result<Option<Lane>, CatalogError> {
        let blob = blob_of(self.lane_blob_id.as_ref())?;
        let (Some(blob), Some(start), Some(total)) = (blob, self.lane_start, self.lane_total)
        else {
            return Ok(None);
        };
        Ok(Some(Lane {
            blob,
            start: start as u64,
            total: total as u64,
        }))
    }
}

pub(super) fn blob_of(id: Option<&String>) -> Result<Option<BlobId>, CatalogError> {
    let parse = |id: &String| {
        id.parse()
            .map_err(|_| CatalogError::Corrupt(format!("upload.blob_id {id}")))
    };
    id.map(parse).transpose()
}

pub(super) fn parsed(id: &str) -> Result<UploadId, CatalogError> {
    id.parse()
        .map_err(|_| CatalogError::Corrupt(format!("upload.id {id}")))
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT u.id, u.protocol, u.bucket_id, b.name AS bucket, u.key, u.owner, u.state, u.role, u.fence_bytes, u.length_bytes, u.offset_bytes, u.blob_id, u.lane_blob_id, u.lane_start, u.lane_total, u.taken_blob_id, ",
            "u.sums, u.headers, u.tags, u.metadata, u.extras, u.version_id, u.created_ms, u.expires_ms ",
            "FROM upload u JOIN bucket b ON b.id = u.bucket_id ",
            $rest
        )
    };
}

pub(super) const INSERT: &str = "INSERT INTO upload (id, protocol, bucket_id, key, owner, state, length_bytes, blob_id, headers, tags, metadata, extras, created_ms, expires_ms, role, lane_of, lane_blob_id, lane_start, lane_total) \
     VALUES ($1, $2, $3, $4, $5, 'open', $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)";
pub(super) const GET: &str = select!("WHERE u.id = $1");
pub(super) const OF_BUCKET: &str = select!(
    "WHERE u.bucket_id = $1 AND u.protocol = 's3' AND u.state = 'open' AND (u.key > $2 OR (u.key = $2 AND u.id > $3)) ORDER BY u.key, u.id LIMIT $4"
);
pub(super) const OPEN: &str =
    select!("WHERE u.state = 'open' ORDER BY u.created_ms DESC, u.id LIMIT $1");
pub(super) const COUNT_OPEN: &str =
    "SELECT COUNT(*) FROM upload WHERE state <> 'finished' AND state = 'open'";
pub(super) const EXPIRED: &str =
    select!("WHERE u.expires_ms IS NOT NULL AND u.expires_ms <= $1 ORDER BY u.expires_ms LIMIT $2");
pub(super) const TO_KEY: &str = select!(
    "WHERE b.name = $1 AND u.key = $2 AND u.role <> 'partial' AND u.state <> 'sealed' ORDER BY u.created_ms DESC, u.id LIMIT $3"
);
pub(super) const ADVANCE: &str = "UPDATE upload SET offset_bytes = $2, sums = $3, expires_ms = $4 WHERE id = $1 AND state = 'open' AND offset_bytes <= $2";
pub(super) const SET_LENGTH: &str =
    "UPDATE upload SET length_bytes = $2 WHERE id = $1 AND state = 'open' AND length_bytes IS NULL";
pub(super) const FINISH: &str = "UPDATE upload SET state = 'finished', version_id = $2, blob_id = NULL, sums = NULL, offset_bytes = $3, \
     length_bytes = $3, expires_ms = $4 WHERE id = $1 AND state = 'open'";
pub(super) const SEAL: &str = "UPDATE upload SET state = 'sealed', sums = NULL, fence_bytes = NULL, offset_bytes = $2, length_bytes = $2 \
     WHERE id = $1 AND state = 'open'";
/// A lane's own blob only noted how far it was.
pub(super) const SEAL_LANE: &str = "UPDATE upload SET state = 'sealed', blob_id = NULL, sums = $3, fence_bytes = NULL, offset_bytes = $2 \
     WHERE id = $1 AND state = 'open'";
pub(super) const LANES: &str = select!(
    "WHERE u.lane_of IS NOT NULL AND u.lane_of = $1 AND u.owner = $2 ORDER BY u.lane_start"
);
/// Of an upload whose length nobody declared, what is there counts: the parts of S3, or the durable bytes.
macro_rules! unfinished {
    ($of:literal) => {
        concat!(
            "SELECT CAST(COALESCE(SUM(COALESCE(u.length_bytes, (SELECT SUM(p.size_bytes) FROM part p WHERE p.upload_id = u.id), u.offset_bytes)), 0) AS BIGINT) ",
            "FROM upload u WHERE u.state <> 'finished' AND u.joined = 0 AND ",
            $of
        )
    };
}
pub(super) const UNFINISHED_OF_BUCKET: &str = unfinished!("u.bucket_id = $1");
pub(super) const UNFINISHED_OF_OWNER: &str = unfinished!("u.owner IN ($1, $2, $3, $4)");
pub(super) const SET_FENCE: &str =
    "UPDATE upload SET fence_bytes = $2 WHERE id = $1 AND state = 'open'";
pub(super) const DELETE: &str = "DELETE FROM upload WHERE id = $1";
pub(super) const DELETE_FINISHED: &str =
    "DELETE FROM upload WHERE bucket_id = $1 AND state = 'finished'";
pub(super) const TAKE_LEASE: &str = "UPDATE upload SET lease_holder = $2, lease_until_ms = $3 WHERE id = $1 AND state = 'open' \
     AND (lease_holder = $2 OR lease_until_ms <= $4)";
pub(super) const DROP_LEASE: &str =
    "UPDATE upload SET lease_until_ms = 0 WHERE id = $1 AND lease_holder = $2";

impl Catalog {
    /// One upload, open or finished.
    pub async fn upload(&self, id: UploadId) -> Result<Option<UploadRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(GET).bind(id.to_string()).fetch_optional(pool).await)?,
        )
    }

    /// Whether an owner has begun lanes under a name.
    pub async fn has_lanes(&self, name: &str, owner: &str) -> Result<bool, CatalogError> {
        let lanes: Vec<UploadRow> = on_pool!(self, pool => sqlx::query_as(LANES).bind(name).bind(owner).fetch_all(pool).await)?;
        Ok(!lanes.is_empty())
    }

    /// Bytes of uploads that are no object's yet, declared or there: to a bucket, and of an owner.
    pub async fn unfinished_bytes(
        &self,
        bucket_id: i64,
        owner: &str,
    ) -> Result<(i64, i64), CatalogError> {
        let [key, user, node] =
            ["key:", "tailnet:", "tailnet-node:"].map(|kind| format!("{kind}{owner}"));
        let of_bucket: i64 = on_pool!(self, pool => sqlx::query_scalar(UNFINISHED_OF_BUCKET).bind(bucket_id).fetch_one(pool).await)?;
        let of_owner: i64 = on_pool!(self, pool => sqlx::query_scalar(UNFINISHED_OF_OWNER).bind(owner).bind(&key).bind(&user).bind(&node).fetch_one(pool).await)?;
        Ok((of_bucket, of_owner))
    }

    /// Open S3 multipart uploads of a bucket after (`key`, `id`), by key and id.
    pub async fn bucket_uploads(
        &self,
        bucket_id: i64,
        key: &[u8],
        id: &str,
        limit: i64,
    ) -> Result<Vec<UploadRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(OF_BUCKET).bind(bucket_id).bind(key).bind(id).bind(limit).fetch_all(pool).await)?,
        )
    }

    /// Open uploads of every door, newest first.
    pub async fn open_uploads(&self, limit: i64) -> Result<Vec<UploadRow>, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_as(OPEN).bind(limit).fetch_all(pool).await)?)
    }

    /// Uploads that become, or became a short while ago, the object of this name, newest first.
    pub async fn uploads_to(
        &self,
        bucket: &str,
        key: &[u8],
        limit: i64,
    ) -> Result<Vec<UploadRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(TO_KEY).bind(bucket).bind(key).bind(limit).fetch_all(pool).await)?,
        )
    }

    /// How many uploads are neither finished nor ended.
    pub async fn count_open_uploads(&self) -> Result<i64, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_scalar(COUNT_OPEN).fetch_one(pool).await)?)
    }

    /// Uploads whose time is over, open or finished.
    pub async fn expired_uploads(
        &self,
        now_ms: Millis,
        limit: i64,
    ) -> Result<Vec<UploadRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(EXPIRED).bind(now_ms).bind(limit).fetch_all(pool).await)?,
        )
    }
}

impl Tx {
    /// One upload, as this transaction sees it.
    pub async fn upload(&mut self, id: UploadId) -> Result<Option<UploadRow>, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query_as(GET).bind(id.to_string()).fetch_optional(conn).await)?,
        )
    }

    /// Begins an upload.
    pub async fn insert_upload(&mut self, new: &NewUpload) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(INSERT)
            .bind(new.id.to_string())
            .bind(new.protocol.as_str())
            .bind(new.bucket_id)
            .bind(new.key.as_bytes())
            .bind(&new.owner)
            .bind(new.length.map(|n| n as i64))
            .bind(new.blob.map(|blob| blob.to_string()))
            .bind(&new.headers)
            .bind(&new.tags)
            .bind(&new.metadata)
            .bind(&new.extras)
            .bind(new.created_ms)
            .bind(new.expires_ms)
            .bind(new.role.as_str())
            .bind(new.lane.as_ref().map(|(name, _)| name.as_str()))
            .bind(new.lane.as_ref().map(|(_, lane)| lane.blob.to_string()))
            .bind(new.lane.as_ref().map(|(_, lane)| lane.start as i64))
            .bind(new.lane.as_ref().map(|(_, lane)| lane.total as i64))
            .execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Notes durable bytes; the offset never goes back. `false` when the upload is not open or is further.
    pub async fn advance_upload(
        &mut self,
        id: UploadId,
        offset: u64,
        sums: &[u8],
        expires_ms: Option<Millis>,
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(ADVANCE)
            .bind(id.to_string())
            .bind(offset as i64)
            .bind(sums)
            .bind(expires_ms)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Declares a deferred length; `false` when one is known already.
    pub async fn set_upload_length(
        &mut self,
        id: UploadId,
        length: u64,
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(SET_LENGTH).bind(id.to_string()).bind(length as i64).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Marks an upload finished; `false` when it is not open, so that it is published once.
    pub async fn finish_upload(
        &mut self,
        id: UploadId,
        version_id: &str,
        size: u64,
        expires_ms: Option<Millis>,
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(FINISH)
            .bind(id.to_string())
            .bind(version_id)
            .bind(size as i64)
            .bind(expires_ms)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Marks a partial upload whole; it keeps its blob. `false` when it is not open.
    pub async fn seal_upload(&mut self, id: UploadId, size: u64) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(SEAL).bind(id.to_string()).bind(size as i64).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Marks a lane whole, with the sums of its blocks; it keeps its hold on the shared file. `false` when it is not open.
    pub async fn seal_lane(
        &mut self,
        id: UploadId,
        size: u64,
        sums: &[u8],
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(SEAL_LANE).bind(id.to_string()).bind(size as i64).bind(sums).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// The lanes that an owner began under a name, by their starts.
    pub async fn lanes(&mut self, name: &str, owner: &str) -> Result<Vec<UploadRow>, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query_as(LANES).bind(name).bind(owner).fetch_all(conn).await)?,
        )
    }

    /// Bytes of uploads to a bucket that are no object's yet, declared or there.
    pub async fn unfinished_of_bucket(&mut self, bucket_id: i64) -> Result<i64, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query_scalar(UNFINISHED_OF_BUCKET).bind(bucket_id).fetch_one(conn).await)?,
        )
    }

    /// The same of an owner, whose name may stand in a row with its kind in front.
    pub async fn unfinished_of_owner(&mut self, owner: &str) -> Result<i64, CatalogError> {
        let [key, user, node] =
            ["key:", "tailnet:", "tailnet-node:"].map(|kind| format!("{kind}{owner}"));
        Ok(
            on_tx!(self, conn => sqlx::query_scalar(UNFINISHED_OF_OWNER).bind(owner).bind(&key).bind(&user).bind(&node).fetch_one(conn).await)?,
        )
    }

    /// Lets bytes from `fence` on not count, or all of them again; `false` when the upload is not open.
    pub async fn set_upload_fence(
        &mut self,
        id: UploadId,
        fence: Option<u64>,
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(SET_FENCE).bind(id.to_string()).bind(fence.map(|n| n as i64)).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Forgets an upload; its parts are deleted first.
    pub async fn delete_upload(&mut self, id: UploadId) -> Result<bool, CatalogError> {
        self.delete_upload_members(id).await?;
        let done = on_tx!(self, conn => sqlx::query(DELETE).bind(id.to_string()).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Forgets the finished uploads of a bucket, which only answer late questions.
    pub async fn delete_finished_uploads(&mut self, bucket_id: i64) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(DELETE_FINISHED).bind(bucket_id).execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Takes or renews the right to write an upload; `false` when another daemon holds it.
    pub async fn take_upload_lease(
        &mut self,
        id: UploadId,
        holder: &str,
        now_ms: Millis,
        until_ms: Millis,
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(TAKE_LEASE)
            .bind(id.to_string())
            .bind(holder)
            .bind(until_ms)
            .bind(now_ms)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Gives the right to write back.
    pub async fn drop_upload_lease(
        &mut self,
        id: UploadId,
        holder: &str,
    ) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(DROP_LEASE).bind(id.to_string()).bind(holder).execute(conn).await.map(|_| ()))?;
        Ok(())
    }
}
