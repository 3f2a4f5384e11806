//! Lanes: partial uploads of one object that are sent side by side and fill one file.
//!
//! The first lane makes the file, with the space of the whole; each begins at a whole MiB, so its sums are those of the file's blocks.
//! When a final upload names all of them in order, the hash of the file follows from their sums, and its one extent is the object.
//! The common file has a reference for each lane, so it lives as long as one of them or an object needs it.

use super::bucket::existing;
use super::concat::PARTIALS_MAX;
use super::upload::{NewResumable, Upload, row_of};
use super::{Store, StoreError, quota};
use crate::blob::{BlobAppender, Stretch, sums};
use crate::catalog::{BlobState, Extent, Lane, Tx, UploadRole, UploadRow};
use crate::kernel::limits::SUM_BLOCK_BYTES;
use crate::kernel::{BlobId, UploadId};

/// Where a lane goes, in the words of its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLane {
    /// The client's name for all lanes of the object.
    pub of: String,
    /// The lane's first byte in the object.
    pub start: u64,
    /// Bytes of the object.
    pub total: u64,
}

impl NewLane {
    /// Whether a lane of `length` bytes can lie where it is to go.
    ///
    /// # Errors
    /// [`StoreError::Lanes`] with the rule that is broken.
    pub fn check(&self, length: Option<u64>) -> Result<(), StoreError> {
        let refuse = |why: &str| Err(StoreError::Lanes(why.into()));
        let end = length.and_then(|length| self.start.checked_add(length));
        match (length, end) {
            (None, _) => refuse("a lane needs its Upload-Length at the beginning"),
            (Some(0), _) => refuse("a lane needs at least one byte"),
            _ if self.total < 2 * SUM_BLOCK_BYTES => {
                refuse("an object below 2 MiB is sent in one piece")
            }
            _ if !self.start.is_multiple_of(SUM_BLOCK_BYTES) => {
                refuse("a lane begins at a multiple of 1 MiB")
            }
            (_, Some(end)) if end <= self.total => Ok(()),
            _ => refuse("the lane ends behind the object"),
        }
    }
}

impl Store {
    /// Begins a lane, or finds the one that the same request made before.
    ///
    /// # Errors
    /// [`StoreError::Lanes`]; [`StoreError::Full`] when the whole object does not fit.
    pub(super) async fn begin_lane(
        &self,
        new: NewResumable,
        lane: NewLane,
    ) -> Result<Upload, StoreError> {
        lane.check(new.length)?;
        let id = UploadId::random();
        // Only the first lane makes the file; who is first is decided again in the transaction.
        let is_first = !self.0.catalog.has_lanes(&lane.of, &new.owner).await?;
        if is_first {
            self.room_for(lane.total).await?;
        }
        let store = self.clone();
        // From the first file on, whatever becomes of the request: a file without a row would stay until the next start.
        let (found, file) = self
            .finish(None, async move {
                let mark = store.0.blobs.create_open().await?;
                let mark_id = mark.id();
                let file = if is_first {
                    match store.0.blobs.create_reserved(lane.total).await {
                        Ok(file) => Some(file),
                        Err(error) => {
                            drop(mark);
                            store.0.blobs.remove(mark_id).await?;
                            return Err(error.into());
                        }
                    }
                } else {
                    None
                };
                let file_id = file.as_ref().map(crate::blob::BlobLock::id);
                let now_ms = store.0.clock.now_ms();
                let change = store.0.catalog.write(move |tx| {
                    Box::pin(
                        async move { enter(tx, id, new, lane, mark_id, file_id, now_ms).await },
                    )
                });
                let outcome = change.await;
                drop((mark, file));
                let (has_mark, has_file) = match &outcome {
                    Ok((found, shared)) => (*found == id, Some(*shared) == file_id),
                    Err(error) => (error.is_in_doubt(), error.is_in_doubt()),
                };
                if !has_mark {
                    store.0.blobs.remove(mark_id).await?;
                }
                if let Some(unused) = file_id.filter(|_| !has_file) {
                    store.0.blobs.remove(unused).await?;
                }
                outcome
            })
            .await?;
        tracing::debug!(upload.id = %found, blob.id = %file, "lane {found} fills {file}");
        self.upload(found).await
    }

    /// The partial uploads of an unfinished final one, in order: what each has received, and what it will have where that is declared.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn partials(
        &self,
        id: UploadId,
    ) -> Result<Vec<(UploadId, u64, Option<u64>)>, StoreError> {
        let pieces = self.0.catalog.upload_pieces(id, PARTIALS_MAX as i64);
        let mut partials = Vec::new();
        for piece in pieces.await? {
            let (id, mut offset) = (piece.id()?, piece.offset());
            if piece.length() != Some(offset) {
                match self.upload(id).await {
                    Ok(upload) => offset = upload.offset,
                    // It ended in this moment, or its disk is away.
                    Err(StoreError::NoSuchUpload(_) | StoreError::DiskAway(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            partials.push((id, offset, piece.length()));
        }
        Ok(partials)
    }

    /// Bytes of an open lane: what its mark tells, and never less than what is durable.
    pub(super) async fn lane_bytes(&self, mark: BlobId, durable: u64) -> Result<u64, StoreError> {
        Ok(self.0.blobs.marked(mark).await?.unwrap_or(0).max(durable))
    }

    /// The end of the upload's file or stretch, to go on at `offset`.
    pub(super) async fn appender(
        &self,
        row: &UploadRow,
        blob: BlobId,
        offset: u64,
    ) -> Result<BlobAppender, StoreError> {
        let sums = row.sums.as_deref().unwrap_or_default();
        Ok(match row.lane()? {
            None => self.0.blobs.append(blob, offset, sums).await?,
            Some(lane) => {
                let stretch = Stretch {
                    file: lane.blob,
                    start: lane.start,
                };
                self.0
                    .blobs
                    .append_stretch(blob, stretch, offset, sums)
                    .await?
            }
        })
    }
}

/// Enters a lane beside those that are there; returns the upload and the file that it fills.
async fn enter(
    tx: &mut Tx,
    id: UploadId,
    new: NewResumable,
    lane: NewLane,
    mark: BlobId,
    file: Option<BlobId>,
    now_ms: crate::kernel::Millis,
) -> Result<(UploadId, BlobId), StoreError> {
    let refuse = |why: String| Err(StoreError::Lanes(why));
    let bucket = existing(tx, &new.bucket).await?;
    let Some(key) = new.key.clone() else {
        return refuse("a lane needs the object's name (filename)".into());
    };
    // Two first lanes at once shall not make two files.
    tx.lock_key(bucket.id, &key).await?;
    let (start, end) = (lane.start, lane.start + new.length.unwrap_or(0));
    let mut shared = None;
    for row in tx.lanes(&lane.of, &new.owner).await? {
        let Some(other) = row.lane()? else { continue };
        if other.total != lane.total || row.bucket_id != bucket.id || row.key()? != key {
            return refuse(format!(
                "`{}` names lanes of another object or size",
                lane.of
            ));
        }
        let (from, to) = (other.start, other.start + row.length().unwrap_or(0));
        if (from, to) == (start, end) {
            return Ok((row.id()?, other.blob));
        }
        if from < end && start < to {
            return refuse(format!(
                "bytes {start} to {end} overlap the lane of bytes {from} to {to}"
            ));
        }
        shared = Some(other.blob);
    }
    let blob = match (shared, file) {
        (Some(blob), _) => {
            if !tx.refer_blob(blob, 1).await? {
                return refuse("their file has gone: begin anew".into());
            }
            blob
        }
        (None, Some(blob)) => {
            tx.insert_open_blob(blob, now_ms).await?;
            blob
        }
        // The last lane of before ended in this instant.
        (None, None) => return Err(StoreError::UploadBusy),
    };
    tx.insert_open_blob(mark, now_ms).await?;
    let place = Lane {
        blob,
        start,
        total: lane.total,
    };
    let row = row_of(
        new,
        id,
        bucket.id,
        Some(mark),
        Some((lane.of, place)),
        now_ms,
    )?;
    tx.insert_upload(&row).await?;
    quota::reserve(tx, &bucket, &row).await?;
    Ok((id, blob))
}

/// Refuses a final upload of lanes that are not all lanes of one file in order; partial uploads with files of their own are free.
pub(super) fn check_order(partials: &[UploadRow]) -> Result<(), StoreError> {
    let mut at = None;
    for row in partials {
        let lane = row.lane()?;
        let expected = match (at, lane) {
            (None, None) => continue,
            (None, Some(lane)) => Some((lane.blob, 0, lane.total)),
            (expected, _) => expected,
        };
        let (Some((blob, next, total)), Some(lane)) = (expected, lane) else {
            return Err(StoreError::Lanes("one of them is no lane".into()));
        };
        if lane.blob != blob || lane.start != next {
            return Err(StoreError::Lanes(format!(
                "the lane behind byte {next} is missing or stands elsewhere"
            )));
        }
        at = Some((blob, next + row.length().unwrap_or(0), total));
    }
    match at {
        Some((_, end, total)) if end != total => Err(StoreError::Lanes(format!(
            "they cover {end} of {total} bytes"
        ))),
        Some(_) if partials.iter().any(|row| row.role() != UploadRole::Partial) => {
            Err(StoreError::Lanes("one of them is no partial upload".into()))
        }
        _ => Ok(()),
    }
}

/// Where the bytes of sealed partial uploads lie; lanes that follow each other in one file are one extent.
pub(super) fn extents_of(partials: &[UploadRow]) -> Result<Vec<Extent>, StoreError> {
    let mut extents: Vec<Extent> = Vec::new();
    for row in partials {
        let length = row.offset();
        let Some((blob, offset)) = row.place()?.filter(|_| length > 0) else {
            continue;
        };
        match extents.last_mut() {
            Some(last) if last.blob == blob && last.offset + last.length == offset => {
                last.length += length;
            }
            _ => extents.push(Extent {
                blob,
                offset,
                length,
            }),
        }
    }
    Ok(extents)
}

/// Declares the file of lanes complete that all their bytes have filled; nothing for other partial uploads, and for a file that was declared before.
pub(super) async fn complete(tx: &mut Tx, partials: &[UploadRow]) -> Result<(), StoreError> {
    let mut lane = None;
    let mut sums = Vec::new();
    for row in partials {
        if let Some(place) = row.lane()? {
            lane = Some(place);
            sums.extend_from_slice(row.sums.as_deref().unwrap_or_default());
        }
    }
    let Some(lane) = lane else {
        return Ok(());
    };
    let state = tx
        .blob(lane.blob)
        .await?
        .map(|row| row.state())
        .transpose()?;
    if state != Some(BlobState::Open) {
        return Ok(());
    }
    let blake3 = sums::root(&sums)
        .filter(|_| {
            sums.len() as u64 == lane.total.div_ceil(SUM_BLOCK_BYTES) * sums::SUM_BYTES as u64
        })
        .ok_or_else(|| StoreError::Damaged(format!("the sums of the lanes of {}", lane.blob)))?;
    if tx
        .finish_blob(lane.blob, lane.total, &blake3, &sums)
        .await?
    {
        return Ok(());
    }
    Err(StoreError::Failed("the file of the lanes has gone".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_keep_to_their_rules() {
        const MIB: u64 = SUM_BLOCK_BYTES;
        let lane = |start, total| NewLane {
            of: "one".into(),
            start,
            total,
        };
        assert!(lane(MIB, 3 * MIB).check(Some(2 * MIB)).is_ok());
        assert!(lane(2 * MIB, 2 * MIB + 1).check(Some(1)).is_ok());
        for (start, total, length) in [
            (MIB, 3 * MIB, Some(2 * MIB + 1)),
            (1, 3 * MIB, Some(MIB)),
            (0, MIB, Some(MIB)),
            (0, 2 * MIB, None),
            (0, 2 * MIB, Some(0)),
            (u64::MAX / MIB * MIB, u64::MAX, Some(u64::MAX)),
        ] {
            assert!(lane(start, total).check(length).is_err(), "{start} {total}");
        }
    }
}
