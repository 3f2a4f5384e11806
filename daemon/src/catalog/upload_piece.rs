//! How far uploads are, for those who read them while they arrive.

use sqlx::FromRow;

use super::db::{Catalog, CatalogError, on_pool};
use super::upload::{UploadState, blob_of, parsed};
use crate::kernel::{BlobId, Millis, UploadId};

/// How far an upload is, without what only its writers need.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct UploadPiece {
    id: String,
    state: String,
    offset_bytes: i64,
    length_bytes: Option<i64>,
    blob_id: Option<String>,
    lane_blob_id: Option<String>,
    lane_start: Option<i64>,
    taken_blob_id: Option<String>,
    /// Version of the object it became.
    pub version_id: Option<String>,
    /// When it may be swept.
    pub expires_ms: Option<Millis>,
}

impl UploadPiece {
    /// The id.
    pub fn id(&self) -> Result<UploadId, CatalogError> {
        parsed(&self.id)
    }

    /// Whether it became its object.
    pub fn is_finished(&self) -> bool {
        self.state == UploadState::Finished.as_str()
    }

    /// Bytes known durable.
    pub fn offset(&self) -> u64 {
        self.offset_bytes as u64
    }

    /// Total bytes, when declared.
    pub fn length(&self) -> Option<u64> {
        self.length_bytes.map(|n| n as u64)
    }

    /// The blob that its bytes are in, and where in it they begin.
    pub fn place(&self) -> Result<Option<(BlobId, u64)>, CatalogError> {
        let shared = self.lane_blob_id.as_ref().or(self.taken_blob_id.as_ref());
        Ok(match blob_of(shared)? {
            Some(shared) => Some((shared, self.lane_start.unwrap_or(0) as u64)),
            None => blob_of(self.blob_id.as_ref())?.map(|blob| (blob, 0)),
        })
    }
}

pub(super) const GET: &str = "SELECT id, state, offset_bytes, length_bytes, blob_id, lane_blob_id, lane_start, taken_blob_id, version_id, expires_ms FROM upload WHERE id = $1";
pub(super) const MEMBERS: &str = "SELECT u.id, u.state, u.offset_bytes, u.length_bytes, u.blob_id, u.lane_blob_id, u.lane_start, u.taken_blob_id, u.version_id, u.expires_ms \
     FROM upload_member m JOIN upload u ON u.id = m.partial_id WHERE m.final_id = $1 ORDER BY m.ordinal LIMIT $2";

impl Catalog {
    /// How far one upload is.
    pub async fn upload_piece(&self, id: UploadId) -> Result<Option<UploadPiece>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(GET).bind(id.to_string()).fetch_optional(pool).await)?,
        )
    }

    /// How far the partial uploads of a final one are, in order.
    pub async fn upload_pieces(
        &self,
        id: UploadId,
        limit: i64,
    ) -> Result<Vec<UploadPiece>, CatalogError> {
        Ok(
            on_pool!(self, pool => sqlx::query_as(MEMBERS).bind(id.to_string()).bind(limit).fetch_all(pool).await)?,
        )
    }
}
