//! Blobs: immutable files of bytes, counted by what refers to them.
//!
//! A blob is `open` while an upload writes it, `live` while something refers to it, `dead` between its last reference and the removal of its file, and `quarantined` when its bytes do not match its sums.

use sqlx::FromRow;

use super::db::run;
use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use super::lookup::from_sqlite;
use crate::kernel::{BlobId, Millis};

/// The life of a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlobState {
    /// Written by an upload; its size is not final.
    Open,
    /// Complete and referred to.
    Live,
    /// No longer referred to; the file is to be removed, then the row.
    Dead,
    /// Found damaged; never served.
    Quarantined,
}

impl BlobState {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Live => "live",
            Self::Dead => "dead",
            Self::Quarantined => "quarantined",
        }
    }

    /// Reads what [`BlobState::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Open, Self::Live, Self::Dead, Self::Quarantined]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// A row of `blob`, without its sums.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct BlobRow {
    id: String,
    /// Bytes of the file; of an open blob, those known durable.
    pub size_bytes: i64,
    state: String,
    /// Extents, parts, uploads and rendition segments that refer to it.
    pub refs: i64,
    /// BLAKE3 of the whole.
    pub blake3: Option<Vec<u8>>,
}

from_sqlite! { BlobRow:
    id size_bytes state refs blake3
}

impl BlobRow {
    /// The id.
    pub fn id(&self) -> Result<BlobId, CatalogError> {
        self.id
            .parse()
            .map_err(|_| CatalogError::Corrupt(format!("blob.id {}", self.id)))
    }

    /// The state.
    pub fn state(&self) -> Result<BlobState, CatalogError> {
        BlobState::parse(&self.state)
            .ok_or_else(|| CatalogError::Corrupt(format!("blob.state {}", self.state)))
    }
}

pub(super) const INSERT: &str = "INSERT INTO blob (id, size_bytes, state, refs, blake3, sums, created_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)";
pub(super) const GET: &str = "SELECT id, size_bytes, state, refs, blake3 FROM blob WHERE id = $1";
pub(super) const SUMS: &str = "SELECT sums FROM blob WHERE id = $1";
pub(super) const PAGE: &str =
    "SELECT id, size_bytes, state, refs, blake3 FROM blob WHERE id > $1 ORDER BY id LIMIT $2";
/// Said twice, as SQLite takes the index of what is not live only for the very words of its definition.
pub(super) const DEAD: &str =
    "SELECT id FROM blob WHERE state = 'dead' AND state <> 'live' ORDER BY id LIMIT $1";
pub(super) const FINISH: &str = "UPDATE blob SET state = 'live', size_bytes = $2, blake3 = $3, sums = $4 WHERE id = $1 AND state = 'open'";
pub(super) const REFER: &str =
    "UPDATE blob SET refs = refs + $2 WHERE id = $1 AND state IN ('live', 'open')";
pub(super) const RELEASE: &str = "UPDATE blob SET refs = refs - $2, state = CASE WHEN refs - $2 <= 0 THEN 'dead' ELSE state END \
     WHERE id = $1 RETURNING state";
pub(super) const SET_REFS: &str = "UPDATE blob SET refs = $2, state = CASE WHEN $2 <= CAST(0 AS BIGINT) THEN 'dead' ELSE state END WHERE id = $1 RETURNING state";
pub(super) const QUARANTINE: &str = "UPDATE blob SET state = 'quarantined', damaged = $2 WHERE id = $1 AND state IN ('live', 'quarantined')";
pub(super) const ADMIT: &str =
    "UPDATE blob SET state = 'live', damaged = NULL WHERE id = $1 AND state = 'quarantined'";
pub(super) const COUNT_QUARANTINED: &str =
    "SELECT COUNT(*) FROM blob WHERE state = 'quarantined' AND state <> 'live'";
/// Reads every row: asked only when a blob was found damaged, for which no write should pay with an index.
pub(super) const TWINS: &str = "SELECT id FROM blob WHERE blake3 = $1 AND size_bytes = $2 AND id <> $3 AND state = 'live' LIMIT 8";
pub(super) const TOTAL: &str = "SELECT CAST(COALESCE(SUM(size_bytes), 0) AS BIGINT) FROM blob WHERE state IN ('live', 'quarantined')";
pub(super) const DELETE_DEAD: &str = "DELETE FROM blob WHERE id = $1 AND state = 'dead'";

/// Everything that refers to blobs, counted per blob: what `refs` must equal.
pub(super) const COUNTED: &str = "SELECT b.id, b.size_bytes, b.state, \
     (SELECT COUNT(*) FROM extent e WHERE e.blob_id = b.id) \
     + (SELECT COUNT(*) FROM rendition_segment s WHERE s.blob_id = b.id) \
     + (SELECT COUNT(*) FROM upload u WHERE u.blob_id = b.id) \
     + (SELECT COUNT(*) FROM upload u WHERE u.lane_blob_id = b.id) AS refs, b.blake3 \
     FROM blob b WHERE b.id > $1 ORDER BY b.id LIMIT $2";

impl Catalog {
    /// One blob.
    pub async fn blob(&self, id: BlobId) -> Result<Option<BlobRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(GET).bind(id.to_string()).fetch_optional(pool).await)?,
        )
    }

    /// The sums of one blob: 32 bytes per MiB.
    pub async fn blob_sums(&self, id: BlobId) -> Result<Option<Vec<u8>>, CatalogError> {
        let row: Option<Option<Vec<u8>>> = on_pool!(self, pool => sqlx::query_scalar(SUMS).bind(id.to_string()).fetch_optional(pool).await)?;
        Ok(row.flatten())
    }

    /// Up to `limit` blobs with an id above `after`, for walks over all.
    pub async fn blobs_after(&self, after: &str, limit: i64) -> Result<Vec<BlobRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(PAGE).bind(after).bind(limit).fetch_all(pool).await)?,
        )
    }

    /// The same, with `refs` counted afresh from extents, rendition segments and uploads (parts hold theirs in JSON and are added by the caller).
    pub async fn blobs_counted_after(
        &self,
        after: &str,
        limit: i64,
    ) -> Result<Vec<BlobRow>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(COUNTED).bind(after).bind(limit).fetch_all(pool).await)?,
        )
    }

    /// How many blobs are known to be damaged.
    pub async fn quarantined_blobs(&self) -> Result<i64, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_scalar(COUNT_QUARANTINED).fetch_one(pool).await)?)
    }

    /// Some blobs in order that hold the same bytes as `id`.
    pub async fn twin_blobs(
        &self,
        id: BlobId,
        size: u64,
        blake3: &[u8],
    ) -> Result<Vec<BlobId>, CatalogError> {
        let ids: Vec<String> = on_pool!(self, pool => sqlx::query_scalar(TWINS)
            .bind(blake3)
            .bind(size as i64)
            .bind(id.to_string())
            .fetch_all(pool).await)?;
        read_ids(&ids)
    }

    /// Bytes of all blobs that are complete.
    pub async fn blob_bytes(&self) -> Result<i64, CatalogError> {
        Ok(on_pool!(self, pool => sqlx::query_scalar(TOTAL).fetch_one(pool).await)?)
    }

    /// Blobs whose files may go.
    pub async fn dead_blobs(&self, limit: i64) -> Result<Vec<BlobId>, CatalogError> {
        let ids: Vec<String> =
            on_pool!(self, pool => sqlx::query_scalar(DEAD).bind(limit).fetch_all(pool).await)?;
        read_ids(&ids)
    }
}

fn read_ids(ids: &[String]) -> Result<Vec<BlobId>, CatalogError> {
    ids.iter()
        .map(|id| {
            id.parse()
                .map_err(|_| CatalogError::Corrupt(format!("blob.id {id}")))
        })
        .collect()
}

impl Tx {
    /// One blob, as this transaction sees it.
    pub async fn blob(&mut self, id: BlobId) -> Result<Option<BlobRow>, CatalogError> {
        Ok(
            on_tx!(self, conn => sqlx::query_as(GET).bind(id.to_string()).fetch_optional(conn).await)?,
        )
    }

    /// Enters a complete blob with `refs` references.
    pub async fn insert_live_blob(
        &mut self,
        id: BlobId,
        size: u64,
        refs: i64,
        blake3: &[u8; 32],
        sums: &[u8],
        now_ms: Millis,
    ) -> Result<(), CatalogError> {
        run!(
            self,
            INSERT,
            id.to_string(),
            size as i64,
            BlobState::Live.as_str(),
            refs,
            blake3.as_slice(),
            sums,
            now_ms,
        )?;
        Ok(())
    }

    /// Enters a blob that an upload is about to write, with one reference: the upload's.
    pub async fn insert_open_blob(
        &mut self,
        id: BlobId,
        now_ms: Millis,
    ) -> Result<(), CatalogError> {
        run!(
            self,
            INSERT,
            id.to_string(),
            0_i64,
            BlobState::Open.as_str(),
            1_i64,
            None::<Vec<u8>>,
            None::<Vec<u8>>,
            now_ms,
        )?;
        Ok(())
    }

    /// Declares an open blob complete; `false` when it is not open.
    pub async fn finish_blob(
        &mut self,
        id: BlobId,
        size: u64,
        blake3: &[u8; 32],
        sums: &[u8],
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(FINISH)
            .bind(id.to_string())
            .bind(size as i64)
            .bind(blake3.as_slice())
            .bind(sums)
            .execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Adds references; `false` when the blob is gone or going, so that nobody can revive it.
    pub async fn refer_blob(&mut self, id: BlobId, refs: i64) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(REFER).bind(id.to_string()).bind(refs).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Takes references away; `true` when none is left and the file may go after the commit.
    pub async fn release_blob(&mut self, id: BlobId, refs: i64) -> Result<bool, CatalogError> {
        let state: Option<String> = on_tx!(self, conn => sqlx::query_scalar(RELEASE).bind(id.to_string()).bind(refs).fetch_optional(conn).await)?;
        Ok(state.as_deref() == Some(BlobState::Dead.as_str()))
    }

    /// Sets the references to what was counted while nobody writes; `true` when there is none and the file may go after the commit.
    pub async fn set_blob_refs(&mut self, id: BlobId, refs: i64) -> Result<bool, CatalogError> {
        let state: Option<String> = on_tx!(self, conn => sqlx::query_scalar(SET_REFS).bind(id.to_string()).bind(refs).fetch_optional(conn).await)?;
        Ok(state.as_deref() == Some(BlobState::Dead.as_str()))
    }

    /// Notes that a complete blob is damaged, and where; `false` when it is gone or going.
    pub async fn quarantine_blob(
        &mut self,
        id: BlobId,
        damaged: &str,
    ) -> Result<bool, CatalogError> {
        let done = on_tx!(self, conn => sqlx::query(QUARANTINE).bind(id.to_string()).bind(damaged).execute(conn).await.map(|done| done.rows_affected()))?;
        Ok(done == 1)
    }

    /// Notes that a blob is in order after all.
    pub async fn admit_blob(&mut self, id: BlobId) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(ADMIT).bind(id.to_string()).execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// Forgets a dead blob whose file is gone.
    pub async fn delete_dead_blob(&mut self, id: BlobId) -> Result<(), CatalogError> {
        run!(self, DELETE_DEAD, id.to_string())?;
        Ok(())
    }
}
