//! Setting right what a check found; only while no daemon serves, as it trusts what the check counted.

use super::damage::{Fate, told};
use super::finding::Finding;
use super::object::Object;
use super::publish::Condition;
use super::{Store, StoreError};
use crate::catalog::ObjectRow;
use crate::kernel::BlobId;

/// What was done about a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repair {
    /// The finding.
    pub finding: Finding,
    /// What was done, or why nothing could be.
    pub outcome: String,
    /// Whether it is as it should be now.
    pub repaired: bool,
}

impl Store {
    /// Acts on findings, each as [`Finding::cure`] says; with `delete_damaged` object versions that have lost bytes are deleted.
    ///
    /// # Errors
    /// Those of the catalog and the disk; what was repaired before stays so.
    pub async fn repair(
        &self,
        findings: Vec<Finding>,
        delete_damaged: bool,
    ) -> Result<Vec<Repair>, StoreError> {
        let mut repairs = Vec::with_capacity(findings.len());
        if findings.iter().any(Finding::is_debris) {
            self.reconcile().await?;
        }
        for finding in findings {
            let (outcome, repaired) = self.repair_one(&finding, delete_damaged).await?;
            repairs.push(Repair {
                finding,
                outcome,
                repaired,
            });
        }
        Ok(repairs)
    }

    async fn repair_one(
        &self,
        finding: &Finding,
        delete_damaged: bool,
    ) -> Result<(String, bool), StoreError> {
        match finding {
            Finding::MissingFile { blob }
            | Finding::WrongSize { blob, .. }
            | Finding::Damaged { blob, .. }
            | Finding::SetAside { blob, .. } => self.repair_blob(*blob, delete_damaged).await,
            Finding::DiskAway { .. } => Ok(("mount it and look again".into(), false)),
            Finding::WrongRefs {
                blob, counted_refs, ..
            } => self.repair_refs(*blob, *counted_refs).await,
            Finding::Orphan { .. } | Finding::Dead { .. } | Finding::StaleUpload { .. } => {
                Ok(("removed".into(), true))
            }
            Finding::WrongExtents { object, .. } | Finding::DamagedObject { object, .. } => {
                self.repair_object(*object, delete_damaged).await
            }
            Finding::WrongUsage { .. } => {
                self.recount_usage().await?;
                Ok(("counted anew".into(), true))
            }
        }
    }

    async fn repair_refs(&self, blob: BlobId, refs: i64) -> Result<(String, bool), StoreError> {
        let change = self.0.catalog.write(move |tx| {
            Box::pin(async move { Ok::<_, StoreError>(tx.set_blob_refs(blob, refs).await?) })
        });
        if change.await? {
            self.bury_now(vec![blob]).await;
            return Ok(("removed, as nothing refers to it".into(), true));
        }
        Ok(("counted anew".into(), true))
    }

    async fn repair_blob(
        &self,
        blob: BlobId,
        delete_damaged: bool,
    ) -> Result<(String, bool), StoreError> {
        let Some(row) = self.0.catalog.blob(blob).await? else {
            return Ok(("gone meanwhile".into(), true));
        };
        let (blocks, aside) = self.bad_blocks(&row).await?;
        Ok(match self.settle_blob(&row, blocks, aside).await? {
            Fate::Sound => ("its bytes are in order".into(), true),
            Fate::Gone => ("gone meanwhile".into(), true),
            Fate::Readmitted => ("its bytes are in order: served again".into(), true),
            Fate::Healed { from } => (format!("written anew from blob {from}"), true),
            Fate::Remade => (
                "a segment of a rendition: forgotten, and made again".into(),
                true,
            ),
            Fate::Damaged { objects, .. } if objects.is_empty() => (
                "set aside; an unfinished upload or a rendition that can be made again has lost bytes"
                    .into(),
                false,
            ),
            Fate::Damaged { blocks, objects, .. } if delete_damaged => {
                let mut held = Vec::new();
                for row in self.0.catalog.objects_of_blob(blob, i64::MAX).await? {
                    let name = super::damage::name(&row)?;
                    if !self.give_up(row).await? {
                        held.push(name);
                    }
                }
                let lost = told(&objects);
                if held.is_empty() {
                    (format!("MiB {blocks:?} are lost: deleted {lost}"), true)
                } else {
                    let held = told(&held);
                    (
                        format!("MiB {blocks:?} are lost; held or retained, so not deleted: {held}"),
                        false,
                    )
                }
            }
            Fate::Damaged { blocks, objects, .. } => (
                format!(
                    "cannot be repaired: MiB {blocks:?} are lost and refused, the others served; it holds {}",
                    told(&objects)
                ),
                false,
            ),
        })
    }

    async fn repair_object(
        &self,
        id: i64,
        delete_damaged: bool,
    ) -> Result<(String, bool), StoreError> {
        let Some(row) = self.0.catalog.object_by_id(id).await? else {
            return Ok(("gone meanwhile".into(), true));
        };
        let name = super::damage::name(&row)?;
        if delete_damaged {
            return Ok(if self.give_up(row).await? {
                (format!("deleted {name}, whose bytes are lost"), true)
            } else {
                (
                    format!("{name} is lost; it is held or retained, so not deleted"),
                    false,
                )
            });
        }
        let object = Object::from_row(row)?;
        if !object.extras.damaged {
            self.mark_damaged(&object).await?;
        }
        Ok((
            format!("cannot be repaired: {name} is lost and refused"),
            false,
        ))
    }

    /// Deletes an object version that has lost bytes; `false` when a lock forbids it.
    async fn give_up(&self, row: ObjectRow) -> Result<bool, StoreError> {
        let object = Object::from_row(row)?;
        let version = Some(&object.version_id);
        let condition = Condition::default();
        let deleted = self
            .delete(&object.bucket, &object.key, version, condition, "fsck")
            .await;
        match deleted {
            Ok(_) => Ok(true),
            Err(StoreError::Locked(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Finding {
    /// What [`Store::reconcile`] removes.
    fn is_debris(&self) -> bool {
        matches!(
            self,
            Self::Orphan { .. } | Self::Dead { .. } | Self::StaleUpload { .. }
        )
    }
}
