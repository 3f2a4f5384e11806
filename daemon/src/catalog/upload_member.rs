//! What final uploads are made of: partial ones, in order, whose bytes they take over.

use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use super::upload::{blob_of, parsed};
use crate::kernel::{BlobId, UploadId};

/// Partial uploads that no other final one waits for.
pub(super) const TAKE: &str = "UPDATE upload SET joined = 1, taken_blob_id = COALESCE(lane_blob_id, blob_id), blob_id = NULL, lane_blob_id = NULL, lane_of = NULL, sums = NULL \
     WHERE id IN (SELECT m.partial_id FROM upload_member m WHERE m.final_id = $1 \
       AND NOT EXISTS (SELECT 1 FROM upload_member o WHERE o.partial_id = m.partial_id AND o.final_id <> $1)) \
     AND state = 'sealed' AND joined = 0 RETURNING taken_blob_id";
pub(super) const PUT_MEMBER: &str =
    "INSERT INTO upload_member (final_id, ordinal, partial_id) VALUES ($1, $2, $3)";
pub(super) const MEMBERS: &str =
    "SELECT partial_id FROM upload_member WHERE final_id = $1 ORDER BY ordinal";
pub(super) const FINALS_OF: &str = "SELECT DISTINCT m.final_id FROM upload_member m JOIN upload u ON u.id = m.final_id \
     WHERE m.partial_id = $1 AND u.state = 'open'";
pub(super) const DELETE_MEMBERS: &str = "DELETE FROM upload_member WHERE final_id = $1";

impl Catalog {
    /// The unfinished final uploads that wait for this partial one.
    pub async fn finals_of_upload(&self, id: UploadId) -> Result<Vec<UploadId>, CatalogError> {
        let ids: Vec<String> = on_pool!(self, pool => sqlx::query_scalar(FINALS_OF).bind(id.to_string()).fetch_all(pool).await)?;
        ids.iter().map(|id| parsed(id)).collect()
    }
}

impl Tx {
    /// Notes that the bytes of a final upload's partial ones are an object's now, unless another final one waits for them too.
    ///
    /// Returns the blobs, each as often as it was referred to, in their order: those references are the caller's to release.
    pub async fn take_partials(&mut self, id: UploadId) -> Result<Vec<BlobId>, CatalogError> {
        let ids: Vec<Option<String>> = on_tx!(self, conn => sqlx::query_scalar(TAKE).bind(id.to_string()).fetch_all(conn).await)?;
        let blobs: Result<Vec<Option<BlobId>>, _> =
            ids.iter().map(|id| blob_of(id.as_ref())).collect();
        let mut blobs: Vec<BlobId> = blobs?.into_iter().flatten().collect();
        blobs.sort();
        Ok(blobs)
    }

    /// Notes what a final upload is made of.
    pub async fn put_upload_members(
        &mut self,
        id: UploadId,
        partials: &[UploadId],
    ) -> Result<(), CatalogError> {
        for (ordinal, partial) in partials.iter().enumerate() {
            on_tx!(self, conn => sqlx::query(PUT_MEMBER).bind(id.to_string()).bind(ordinal as i64).bind(partial.to_string()).execute(conn).await.map(|_| ()))?;
        }
        Ok(())
    }

    /// Forgets what a final upload is made of.
    pub async fn delete_upload_members(&mut self, id: UploadId) -> Result<(), CatalogError> {
        on_tx!(self, conn => sqlx::query(DELETE_MEMBERS).bind(id.to_string()).execute(conn).await.map(|_| ()))?;
        Ok(())
    }

    /// What a final upload is made of, in order.
    pub async fn upload_members(&mut self, id: UploadId) -> Result<Vec<UploadId>, CatalogError> {
        let ids: Vec<String> = on_tx!(self, conn => sqlx::query_scalar(MEMBERS).bind(id.to_string()).fetch_all(conn).await)?;
        ids.iter().map(|id| parsed(id)).collect()
    }
}
