//! What follows when stored bytes are not what they were: heal from a copy, else set aside, note, and tell.
//!
//! Until a blob is known to be damaged its bytes are served as they are; from then on its damaged MiBs are refused.
//! The file goes aside before its row says so: between the two, a crash leaves a file that is guarded and a row that the next walk sets right.

use std::sync::Arc;

use super::object::Object;
use super::{Store, StoreError};
use crate::blob::{BlobError, Verdict};
use crate::catalog::{BlobRow, BlobState, CatalogError, EventKind, NewEvent, ObjectRow};
use crate::kernel::BlobId;
use crate::kernel::limits::SUM_BLOCK_BYTES;
use crate::telemetry::metrics::{BLOB_CORRUPT_TOTAL, BLOB_QUARANTINED};

/// Damaged MiBs of one blob that are listed.
pub(super) const BLOCKS_MAX: usize = 1024;
/// MiBs of one read.
pub(super) const STEP_BLOCKS: u64 = 16;
/// Objects of one damaged blob that are told of one by one.
const OBJECTS_TOLD_MAX: i64 = 1000;

/// What became of a blob that was examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in order.
    Sound,
    /// It had been set aside, and is in order after all.
    Readmitted,
    /// It was damaged and was written anew from another blob of the same bytes.
    Healed {
        /// That other blob.
        from: BlobId,
    },
    /// It is damaged.
    Damaged {
        /// Which MiBs, the first 1,024.
        blocks: Vec<u64>,
        /// Objects whose bytes lie in it, as `bucket/key`, the first 1,000.
        objects: Vec<String>,
        /// Whether this was known before.
        known: bool,
    },
    /// It was a segment of a rendition: that is forgotten and made again.
    Remade,
    /// It was deleted meanwhile.
    Gone,
}

impl Store {
    /// Compares one blob with its sums, without changing anything.
    pub(super) async fn examine(&self, row: &BlobRow) -> Result<Verdict, StoreError> {
        let sums = self.0.catalog.blob_sums(row.id()?).await?;
        let sums = sums.unwrap_or_default();
        let size = row.size_bytes.max(0) as u64;
        Ok(self.0.blobs.verify(row.id()?, size, &sums).await?)
    }

    /// Acts on what an examination found: `blocks` are the damaged MiBs, none when all are in order.
    pub(super) async fn settle_blob(
        &self,
        row: &BlobRow,
        blocks: Vec<u64>,
        set_aside: bool,
    ) -> Result<Fate, StoreError> {
        let id = row.id()?;
        // The walk reads pages of rows: this one may have gone since.
        let known = match self.0.catalog.blob(id).await? {
            None => return Ok(Fate::Gone),
            Some(now) => match now.state()? {
                BlobState::Live => false,
                BlobState::Quarantined => true,
                BlobState::Open | BlobState::Dead => return Ok(Fate::Gone),
            },
        };
        if blocks.is_empty() {
            if !known && !set_aside {
                return Ok(Fate::Sound);
            }
            if set_aside {
                self.0.blobs.readmit(id).await?;
            }
            self.admit_blob(id).await?;
            tracing::warn!(blob.id = %id, "blob {id} had been set aside and is in order: it is served again");
            return Ok(Fate::Readmitted);
        }
        if !known {
            metrics::counter!(BLOB_CORRUPT_TOTAL).increment(1);
        }
        if let Some(from) = self.heal_blob(row).await? {
            self.admit_blob(id).await?;
            tracing::warn!(blob.id = %id, "blob {id} was damaged and was written anew from blob {from}, which holds the same bytes");
            return Ok(Fate::Healed { from });
        }
        if self.forget_segment(id).await? {
            tracing::warn!(blob.id = %id, "blob {id}, a segment of a rendition, was damaged: it is made again");
            return Ok(Fate::Remade);
        }
        self.0.blobs.quarantine(id, &blocks).await?;
        self.note_damage(id, blocks, known).await
    }

    /// Lets a segment of a rendition go, with its bytes, and has the rendition made whole again; `false` when the blob is none.
    async fn forget_segment(&self, id: BlobId) -> Result<bool, StoreError> {
        let now_ms = self.0.clock.now_ms();
        let change = self.0.catalog.write(move |tx| {
            Box::pin(async move {
                let content = tx.delete_segment_of_blob(id, now_ms).await?;
                let dead = content.is_some() && tx.release_blob(id, 1).await?;
                Ok::<_, StoreError>(content.map(|content| (content, dead)))
            })
        });
        let Some((content, dead)) = change.await? else {
            return Ok(false);
        };
        if dead {
            self.bury_now(vec![id]).await;
        }
        self.gauge_damage().await?;
        if let Some(object) = self.object_with_content(content).await? {
            let jobs = (self.0.planner)(&object);
            let change = self.0.catalog.write(move |tx| {
                Box::pin(async move {
                    for job in &jobs {
                        tx.insert_job(job).await?;
                    }
                    Ok::<_, StoreError>(())
                })
            });
            change.await?;
            self.0.bell.ring();
        }
        Ok(true)
    }

    /// The damaged MiBs of a blob, all when its file is gone, and whether the file was set aside; bytes behind its end are cut off once all others are in order.
    pub(super) async fn bad_blocks(&self, row: &BlobRow) -> Result<(Vec<u64>, bool), StoreError> {
        let (id, size) = (row.id()?, row.size_bytes.max(0) as u64);
        let total = size.div_ceil(SUM_BLOCK_BYTES);
        let sums = self.0.catalog.blob_sums(id).await?;
        let sums: Arc<[[u8; 32]]> = sums.unwrap_or_default().as_chunks().0.into();
        let inspection = match self.0.blobs.inspect(id).await {
            Err(BlobError::Missing { .. }) => {
                return Ok(((0..total).take(BLOCKS_MAX).collect(), false));
            }
            inspected => inspected?,
        };
        let (mut bad, mut at) = (Vec::new(), 0);
        while at < total && bad.len() < BLOCKS_MAX {
            let end = (at + STEP_BLOCKS).min(total);
            bad.extend(inspection.compare(size, &sums, at..end).await?);
            at = end;
        }
        bad.truncate(BLOCKS_MAX);
        let aside = inspection.is_set_aside();
        if bad.is_empty() && inspection.size() > size && !aside {
            self.0.blobs.truncate(id, size).await?;
        }
        Ok((bad, aside))
    }

    /// The objects whose bytes lie in a blob, by name.
    pub(super) async fn names_in(&self, id: BlobId) -> Result<Vec<String>, StoreError> {
        let rows = self.0.catalog.objects_of_blob(id, OBJECTS_TOLD_MAX).await?;
        Ok(rows.iter().map(name).collect::<Result<_, _>>()?)
    }

    async fn note_damage(
        &self,
        id: BlobId,
        blocks: Vec<u64>,
        known: bool,
    ) -> Result<Fate, StoreError> {
        let now_ms = self.0.clock.now_ms();
        let listed = serde_json::to_string(&blocks).expect("numbers always serialise");
        let reason = format!(
            "{} of its MiBs on the disk do not match their sums",
            blocks.len()
        );
        let change = self.0.catalog.write(move |tx| {
            Box::pin(async move {
                if !tx.quarantine_blob(id, &listed).await? {
                    return Ok::<_, StoreError>(None);
                }
                let objects = tx.objects_of_blob(id, OBJECTS_TOLD_MAX).await?;
                for object in objects.iter().filter(|_| !known) {
                    tx.insert_event(&damage_event(object, &reason, now_ms)?)
                        .await?;
                }
                Ok(Some(objects))
            })
        });
        let Some(objects) = change.await? else {
            // Deleted between the look and the commit: nothing of it may stay.
            self.0.blobs.remove(id).await?;
            return Ok(Fate::Gone);
        };
        let objects = objects.iter().map(name).collect::<Result<Vec<_>, _>>()?;
        if !known {
            self.touch();
            tracing::error!(
                blob.id = %id,
                "blob {id} is damaged in MiB {blocks:?} and was set aside; it holds {}",
                told(&objects)
            );
        }
        self.gauge_damage().await?;
        Ok(Fate::Damaged {
            blocks,
            objects,
            known,
        })
    }

    async fn admit_blob(&self, id: BlobId) -> Result<(), StoreError> {
        let change = self.0.catalog.write(move |tx| {
            Box::pin(async move { Ok::<_, StoreError>(tx.admit_blob(id).await?) })
        });
        change.await?;
        self.gauge_damage().await
    }

    async fn gauge_damage(&self) -> Result<(), StoreError> {
        let count = self.0.catalog.quarantined_blobs().await?;
        metrics::gauge!(BLOB_QUARANTINED).set(count as f64);
        Ok(())
    }

    /// Writes a damaged blob anew from another of the same bytes, if there is one in order.
    async fn heal_blob(&self, row: &BlobRow) -> Result<Option<BlobId>, StoreError> {
        let (id, size) = (row.id()?, row.size_bytes.max(0) as u64);
        let (Some(hash), Some(sums)) = (&row.blake3, self.0.catalog.blob_sums(id).await?) else {
            return Ok(None);
        };
        for twin in self.0.catalog.twin_blobs(id, size, hash).await? {
            match self.0.blobs.heal(id, twin, size, &sums).await {
                Ok(()) => return Ok(Some(twin)),
                Err(
                    BlobError::Damaged { .. } | BlobError::Missing { .. } | BlobError::Short { .. },
                ) => {}
                Err(error) => {
                    tracing::warn!(blob.id = %id, %error, "blob {id} cannot be healed now: {error}");
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// Marks an object whose bytes in its row are not what they were; `false` when it was deleted or changed meanwhile.
    pub(super) async fn mark_damaged(&self, object: &Object) -> Result<bool, StoreError> {
        metrics::counter!(BLOB_CORRUPT_TOTAL).increment(1);
        let mark = |extras: &mut super::ObjectExtras| {
            extras.damaged = true;
            Ok(())
        };
        match self.change_extras(object, mark).await {
            Ok(_) => {}
            Err(StoreError::NoSuchKey(_) | StoreError::NoSuchBucket(_)) => return Ok(false),
            Err(error) => return Err(error),
        }
        let reason = "its bytes in the catalog do not match their hash";
        let event = NewEvent {
            time_ms: self.0.clock.now_ms(),
            kind: EventKind::ObjectDamaged,
            bucket: Some(object.bucket.to_string()),
            key: Some(object.key.to_string()),
            version_id: Some(object.version_id.to_string()),
            payload: serde_json::json!({ "reason": reason }).to_string(),
        };
        let change = self.0.catalog.write(move |tx| {
            Box::pin(async move { Ok::<_, StoreError>(tx.insert_event(&event).await?) })
        });
        change.await?;
        self.touch();
        tracing::error!(object.key = %object.key, "{}/{} is damaged: {reason}", object.bucket, object.key);
        Ok(true)
    }
}

pub(super) fn name(row: &ObjectRow) -> Result<String, CatalogError> {
    let version = row.version_id()?;
    let key = row.key()?;
    Ok(if row.is_latest {
        format!("{}/{key}", row.bucket)
    } else {
        format!("{}/{key} (version {version})", row.bucket)
    })
}

/// The first few names, for a line of the log.
pub(super) fn told(objects: &[String]) -> String {
    const TOLD: usize = 10;
    match objects.len() {
        0 => "no object's bytes (a part of an unfinished upload, or a rendition, which can be made again)".to_owned(),
        n if n <= TOLD => objects.join(", "),
        n => format!("{} and {} more", objects[..TOLD].join(", "), n - TOLD),
    }
}

fn damage_event(row: &ObjectRow, reason: &str, now_ms: i64) -> Result<NewEvent, CatalogError> {
    Ok(NewEvent {
        time_ms: now_ms,
        kind: EventKind::ObjectDamaged,
        bucket: Some(row.bucket.clone()),
        key: Some(row.key()?.to_string()),
        version_id: Some(row.version_id()?.to_string()),
        payload: serde_json::json!({ "reason": reason }).to_string(),
    })
}
