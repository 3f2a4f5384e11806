//! Extents: where the bytes of an object version lie.

use super::db::run;
use super::db::{Catalog, CatalogError, Tx, on_pool, on_tx};
use super::memory::Found;
use crate::kernel::BlobId;

/// A run of bytes within a blob.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(from = "(String, u64, u64)", into = "(String, u64, u64)")]
pub struct Extent {
    /// Which file; the nil id for a text that is none, which no file bears.
    pub blob: BlobId,
    /// First byte within the file.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

impl From<(String, u64, u64)> for Extent {
    fn from((blob, offset, length): (String, u64, u64)) -> Self {
        let nil = BlobId(crate::kernel::Id::from_bytes([0; 16]));
        Self {
            blob: blob.parse().unwrap_or(nil),
            offset,
            length,
        }
    }
}

impl From<Extent> for (String, u64, u64) {
    fn from(extent: Extent) -> Self {
        (extent.blob.to_string(), extent.offset, extent.length)
    }
}

pub(super) const INSERT: &str = "INSERT INTO extent (object_id, ordinal, blob_id, blob_offset, length_bytes) VALUES ($1, $2, $3, $4, $5)";
pub(super) const OF_OBJECT: &str =
    "SELECT blob_id, blob_offset, length_bytes FROM extent WHERE object_id = $1 ORDER BY ordinal";
pub(super) const DELETE: &str = "DELETE FROM extent WHERE object_id = $1";

fn read(rows: Vec<(String, i64, i64)>) -> Result<Vec<Extent>, CatalogError> {
    let extent = |(blob, offset, length): (String, i64, i64)| {
        let blob = blob
            .parse()
            .map_err(|_| CatalogError::Corrupt(format!("extent.blob_id {blob}")))?;
        Ok(Extent {
            blob,
            offset: offset as u64,
            length: length as u64,
        })
    };
    rows.into_iter().map(extent).collect()
}

impl Catalog {
    /// The extents of an object version, in order; of one that another process has deleted since the caller looked it up, they
    /// may still be given.
    pub async fn extents(&self, object_id: i64) -> Result<Vec<Extent>, CatalogError> {
        let found = self.memory.as_ref().map(|memory| memory.extents(object_id));
        if let Some(Found::Here(extents)) = found {
            return Ok(extents.to_vec());
        }
        let rows = if let Some(lookups) = &self.lookups {
            lookups.all(OF_OBJECT, [object_id]).await?
        } else {
            on_pool!(self, pool => sqlx::query_as(OF_OBJECT).bind(object_id).fetch_all(pool).await)?
        };
        let extents = read(rows)?;
        if let (Some(memory), Some(Found::Ask(since))) = (&self.memory, found) {
            memory.put_extents(since, object_id, &extents);
        }
        Ok(extents)
    }
}

impl Tx {
    /// The extents of an object version, in order, as this transaction sees them.
    pub async fn extents(&mut self, object_id: i64) -> Result<Vec<Extent>, CatalogError> {
        read(on_tx!(self, conn => sqlx::query_as(OF_OBJECT).bind(object_id).fetch_all(conn).await)?)
    }

    /// Enters the extents of an object version.
    pub async fn insert_extents(
        &mut self,
        object_id: i64,
        extents: &[Extent],
    ) -> Result<(), CatalogError> {
        self.touched.object(object_id);
        for (ordinal, extent) in extents.iter().enumerate() {
            run!(
                self,
                INSERT,
                object_id,
                ordinal as i64,
                extent.blob.to_string(),
                extent.offset as i64,
                extent.length as i64,
            )?;
        }
        Ok(())
    }

    /// Removes the extents of an object version.
    pub async fn delete_extents(&mut self, object_id: i64) -> Result<(), CatalogError> {
        self.touched.object(object_id);
        run!(self, DELETE, object_id)?;
        Ok(())
    }
}
