//! Concatenation: a final upload becomes an object of the bytes of partial ones; rows move, bytes do not.

use super::bucket::existing;
use super::finish::{EncryptedUpload, FINISHED_KEPT_MS, bucket_of};
use super::multipart::content_in;
use super::object::json;
use super::publish::{Condition, Draft, Outcome, PutObject, Source, publish_in};
use super::upload::{NewResumable, Upload, row_of};
use super::{Checksums, ObjectExtras, Planner, Store, StoreError, lanes};
use crate::blob::Slice;
use crate::catalog::{BlobState, Tx, UploadRole, UploadRow, UploadState};
use crate::kernel::{BlobId, ETag, Id, Millis, ObjectKey, UploadId};

/// Partial uploads of a final one, as many as S3 allows parts.
pub const PARTIALS_MAX: usize = 10_000;

impl Store {
    /// Begins a final upload of `partials`, in order; one may be named twice, and by other finals too while an object has its bytes.
    ///
    /// When all of them are whole, the object is published before this returns; otherwise with the last byte of the last one.
    /// The id follows from what is asked, so that a repeated request finds the upload it made before.
    ///
    /// # Errors
    /// [`StoreError::NoSuchUpload`] for a partial that is not there or is none; those of [`Store::publish`].
    pub async fn concatenate(
        &self,
        new: NewResumable,
        partials: Vec<UploadId>,
    ) -> Result<Upload, StoreError> {
        let id = id_of(&new, &partials);
        match self.upload(id).await {
            Err(StoreError::NoSuchUpload(_)) => {}
            Ok(_) => return self.conclude_upload(id).await,
            Err(error) => return Err(error),
        }
        let now_ms = self.0.clock.now_ms();
        let change = self.0.catalog.write(move |tx| {
            Box::pin(async move {
                let bucket = existing(tx, &new.bucket).await?;
                let mut rows = Vec::with_capacity(partials.len());
                for partial in &partials {
                    let gone = || StoreError::NoSuchUpload(partial.to_string());
                    let row = tx.upload(*partial).await?.ok_or_else(gone)?;
                    let is_there = match row.taken()? {
                        None => true,
                        Some(blob) => is_alive(tx, blob).await?,
                    };
                    if row.role() != UploadRole::Partial || !is_there {
                        return Err(gone());
                    }
                    rows.push(row);
                }
                lanes::check_order(&rows)?;
                let row = row_of(new, id, bucket.id, None, None, now_ms)?;
                tx.insert_upload(&row).await?;
                tx.put_upload_members(id, &partials).await?;
                Ok(())
            })
        });
        change.await?;
        self.finish_final(id).await?;
        self.upload(id).await
    }

    /// The unfinished final uploads that name this partial one and have all their bytes now; [`Store::conclude_upload`] publishes each.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn finals_with_all_bytes(
        &self,
        partial: UploadId,
    ) -> Result<Vec<Upload>, StoreError> {
        let mut finals = Vec::new();
        for id in self.0.catalog.finals_of_upload(partial).await? {
            let gathered = self
                .0
                .catalog
                .write(move |tx| Box::pin(async move { gather(tx, id).await }));
            if let Some((row, _)) = gathered.await? {
                finals.push(self.describe(id, row).await?);
            }
        }
        Ok(finals)
    }

    /// Publishes a final upload if all its bytes are there.
    pub(super) async fn finish_final(&self, id: UploadId) -> Result<(), StoreError> {
        let gathered = self
            .0
            .catalog
            .write(move |tx| Box::pin(async move { gather(tx, id).await }));
        let Some((row, partials)) = gathered.await? else {
            return Ok(());
        };
        let extents = lanes::extents_of(&partials)?;
        let slices = extents.iter().map(|extent| Slice {
            blob: extent.blob,
            offset: extent.offset,
            length: extent.length,
        });
        let sealed = self.encrypted_upload(&row, slices.collect()).await?;
        let (encrypted, fresh) = match sealed {
            Some((encrypted, blob)) => (Some(encrypted), blob),
            None => (None, None),
        };
        let store = self.clone();
        let published = self.finish(fresh, async move {
            let now_ms = store.0.clock.now_ms();
            let planner = store.0.planner.clone();
            let change = store.0.catalog.write(move |tx| {
                Box::pin(async move { final_in(tx, id, encrypted, &planner, now_ms).await })
            });
            store.published(change.await?).await
        });
        match published.await {
            // Another request was quicker, or a part has gone meanwhile.
            Ok(_) | Err(StoreError::NoSuchUpload(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether the object that took the bytes of a partial upload over still has them.
async fn is_alive(tx: &mut Tx, blob: BlobId) -> Result<bool, StoreError> {
    let row = tx.blob(blob).await?;
    let state = row.map(|row| row.state()).transpose()?;
    Ok(state.is_some_and(|state| state != BlobState::Dead))
}

/// Who knows the unguessable ids of the partials has the right to know this one.
fn id_of(new: &NewResumable, partials: &[UploadId]) -> UploadId {
    let mut hasher = blake3::Hasher::new_derive_key("nebula 2026-11 id of a final upload");
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    add(&new.owner);
    add(new.bucket.as_str());
    add(new.key.as_ref().map_or("", ObjectKey::as_str));
    add(&new.metadata);
    for partial in partials {
        add(&partial.to_string());
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    UploadId(Id::from_bytes(bytes))
}

/// The row of an unfinished final upload and those of its parts; `None` while some are not whole, and once it is finished.
async fn gather(
    tx: &mut Tx,
    id: UploadId,
) -> Result<Option<(UploadRow, Vec<UploadRow>)>, StoreError> {
    let Some(row) = tx.upload(id).await? else {
        return Ok(None);
    };
    if row.state() != UploadState::Open {
        return Ok(None);
    }
    let mut partials = Vec::new();
    for partial in tx.upload_members(id).await? {
        match tx.upload(partial).await? {
            Some(partial) if partial.state() == UploadState::Sealed => partials.push(partial),
            _ => return Ok(None),
        }
    }
    Ok(Some((row, partials)))
}

async fn final_in(
    tx: &mut Tx,
    id: UploadId,
    encrypted: Option<EncryptedUpload>,
    planner: &Planner,
    now_ms: Millis,
) -> Result<Outcome, StoreError> {
    let (row, partials) = gather(tx, id)
        .await?
        .ok_or_else(|| StoreError::NoSuchUpload(id.to_string()))?;
    lanes::complete(tx, &partials).await?;
    let extents = lanes::extents_of(&partials)?;
    let size = extents.iter().map(|extent| extent.length).sum();
    let content_id = content_in(tx, &extents).await?;
    let mut extras: ObjectExtras = json("upload.extras", &row.extras)?;
    let source = match encrypted {
        Some(encrypted) => {
            extras.sse = Some(encrypted.says);
            encrypted.bytes
        }
        None if size == 0 => Source::Inline(Vec::new()),
        None => Source::Shared(extents),
    };
    let draft = Draft {
        put: PutObject {
            bucket: bucket_of(&row)?,
            key: row.key()?,
            headers: json("upload.headers", &row.headers)?,
            tags: json("upload.tags", &row.tags)?,
            extras,
            owner: row.owner.clone(),
            condition: Condition::default(),
            etag: None,
        },
        size,
        etag: ETag::from_content(&content_id.0),
        content_id,
        checksums: Checksums::default(),
        source,
        via: "multipart",
    };
    let mut outcome = publish_in(tx, draft, planner, now_ms).await?;
    let version = outcome.row.version_id()?;
    let until_ms = Some(now_ms + FINISHED_KEPT_MS);
    tx.finish_upload(id, version.as_str(), size, until_ms)
        .await?;
    // From here on the bytes are the object's alone: they go with it, and plaintext that was encrypted into it goes now.
    for blob in tx.take_partials(id).await? {
        if tx.release_blob(blob, 1).await? {
            outcome.dead.push(blob);
        }
    }
    tx.delete_upload_members(id).await?;
    Ok(outcome)
}
