//! Checking rows against files, both ways.

use std::collections::HashMap;

use super::finding::Finding;
use super::object::Object;
use super::{Store, StoreError};
use crate::blob::{BlobError, Verdict, plain_len};
use crate::catalog::{BlobRow, BlobState, WrongUsageRow};
use crate::kernel::BlobId;

/// Rows read at a time.
const PAGE: i64 = 500;

/// What a check saw.
#[derive(Clone, Debug, Default)]
pub struct FsckReport {
    /// Object versions looked at.
    pub objects: u64,
    /// Blobs looked at.
    pub blobs: u64,
    /// Bytes read and compared with their sums; 0 without `deep`.
    pub bytes_verified: u64,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

impl Store {
    /// Compares every row with every file; with `deep` also every byte with its sum.
    ///
    /// A change in mid-check can look like a finding, so what may be one counts if it is there at a second look as well.
    pub async fn fsck(&self, deep: bool) -> Result<FsckReport, StoreError> {
        let mut report = self.check(deep).await?;
        let (changes, mut findings): (Vec<_>, Vec<_>) = std::mem::take(&mut report.findings)
            .into_iter()
            .partition(Finding::may_be_a_change);
        if !changes.is_empty() {
            let is_there = |now: &Finding| changes.iter().any(|one| one.is_of_the_same(now));
            let again = self.check(false).await?.findings.into_iter();
            findings.extend(again.filter(|now| now.may_be_a_change() && is_there(now)));
        }
        report.findings = findings;
        Ok(report)
    }

    /// Looks once.
    async fn check(&self, deep: bool) -> Result<FsckReport, StoreError> {
        let mut report = FsckReport::default();
        for disk in self.0.blobs.disks() {
            if let Some(why) = disk.away {
                let disk = disk.name;
                report.findings.push(Finding::DiskAway { disk, why });
            }
        }
        let blobs = self.0.blobs.clone();
        let walk = tokio::task::spawn_blocking(move || {
            blobs
                .files()
                .map(|file| file.map(|file| (file.id, file.size)))
                .collect()
        });
        let walked: Result<HashMap<BlobId, u64>, BlobError> = walk.await.map_err(|error| {
            StoreError::Failed(format!("walking the files ended early: {error}"))
        })?;
        let mut files = walked?;
        self.check_blobs(deep, &mut files, &mut report).await?;
        if !files.is_empty() {
            let orphans = self.orphans().await?.into_iter();
            let orphans = orphans.map(|blob| Finding::Orphan { blob });
            report.findings.extend(orphans);
        }
        self.check_objects(deep, &mut report).await?;
        self.check_usage(&mut report).await?;
        self.check_uploads(&mut report).await?;
        Ok(report)
    }

    async fn check_usage(&self, report: &mut FsckReport) -> Result<(), StoreError> {
        let buckets = self.0.catalog.wrong_bucket_usages().await?;
        let owners = self.0.catalog.wrong_owner_usages().await?;
        let wrong = |kind: &'static str| {
            move |row: WrongUsageRow| Finding::WrongUsage {
                of: format!("{kind} {}", row.name),
                row: (row.usage_bytes, row.usage_objects),
                counted: (row.counted_bytes, row.counted_objects),
            }
        };
        report
            .findings
            .extend(buckets.into_iter().map(wrong("usage of bucket")));
        report
            .findings
            .extend(owners.into_iter().map(wrong("usage of owner")));
        Ok(())
    }

    async fn check_blobs(
        &self,
        deep: bool,
        files: &mut HashMap<BlobId, u64>,
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        let mut part_refs: HashMap<BlobId, i64> = HashMap::new();
        for part in self.0.catalog.every_part().await? {
            for extent in part.extents()? {
                *part_refs.entry(extent.blob).or_default() += 1;
            }
        }
        let mut after = String::new();
        // What is not found may lie on a disk that is away.
        let away = !self.0.blobs.all_disks_here();
        loop {
            let rows = self.0.catalog.blobs_after(&after, PAGE).await?;
            let counted = self.0.catalog.blobs_counted_after(&after, PAGE).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = last.id()?.to_string();
            let counted: HashMap<BlobId, i64> = counted
                .iter()
                .filter_map(|row| Some((row.id().ok()?, row.refs)))
                .collect();
            for row in &rows {
                let blob = row.id()?;

                report.blobs += 1;
                let counted_refs = counted.get(&blob).copied().unwrap_or(0)
                    + part_refs.get(&blob).copied().unwrap_or(0);
                if counted_refs != row.refs {
                    report.findings.push(Finding::WrongRefs {
                        blob,
                        row_refs: row.refs,
                        counted_refs,
                    });
                }
                match (row.state()?, files.remove(&blob)) {
                    (BlobState::Dead, _) => report.findings.push(Finding::Dead { blob }),
                    (BlobState::Quarantined, _) => {
                        let objects = self.names_in(blob).await?;
                        report.findings.push(Finding::SetAside { blob, objects });
                    }
                    (_, None) if away => {}
                    (_, None) => report.findings.push(Finding::MissingFile { blob }),
                    (BlobState::Live, Some(file_bytes)) if file_bytes != row.size_bytes as u64 => {
                        report.findings.push(Finding::WrongSize {
                            blob,
                            row_bytes: row.size_bytes as u64,
                            file_bytes,
                        });
                    }
                    (BlobState::Live, Some(size)) if deep => {
                        self.check_bytes(row, blob, size, report).await?;
                    }
                    (BlobState::Open | BlobState::Live, Some(_)) => {}
                }
            }
        }
    }

    async fn check_bytes(
        &self,
        row: &BlobRow,
        blob: BlobId,
        size: u64,
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        report.bytes_verified += size;
        match self.examine(row).await? {
            Verdict::Whole => {}
            Verdict::Missing => report.findings.push(Finding::MissingFile { blob }),
            Verdict::Damaged { blocks } => report.findings.push(Finding::Damaged { blob, blocks }),
            Verdict::WrongSize { size: file_bytes } => {
                report.findings.push(Finding::WrongSize {
                    blob,
                    row_bytes: size,
                    file_bytes,
                });
            }
        }
        Ok(())
    }

    async fn check_objects(&self, deep: bool, report: &mut FsckReport) -> Result<(), StoreError> {
        let mut after = 0;
        loop {
            let rows = self.0.catalog.object_rows_after(after, PAGE).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = last.id;
            for row in &rows {
                report.objects += 1;
                if row.is_delete_marker {
                    continue;
                }
                let object = Object::from_row(row.clone())?;
                if object.extras.damaged || (deep && !self.is_sound_inline(&object).await?) {
                    report.bytes_verified += row.inline.as_ref().map_or(0, |b| b.len() as u64);
                    report.findings.push(Finding::DamagedObject {
                        object: row.id,
                        name: super::damage::name(row)?,
                    });
                    continue;
                }
                let extent_bytes = match &row.inline {
                    // Encrypted bytes are longer than what was written.
                    Some(bytes) if object.extras.sse.is_some() => {
                        plain_len(bytes.len() as u64).unwrap_or(0)
                    }
                    Some(bytes) => bytes.len() as u64,
                    None => self
                        .0
                        .catalog
                        .extents(row.id)
                        .await?
                        .iter()
                        .map(|extent| extent.length)
                        .sum(),
                };
                if extent_bytes != row.size() {
                    report.findings.push(Finding::WrongExtents {
                        object: row.id,
                        row_bytes: row.size(),
                        extent_bytes,
                    });
                }
            }
        }
    }

    /// Uploads whose time is over, finished or not.
    async fn check_uploads(&self, report: &mut FsckReport) -> Result<(), StoreError> {
        let now_ms = self.0.clock.now_ms();
        for row in self.0.catalog.expired_uploads(now_ms, PAGE).await? {
            report
                .findings
                .push(Finding::StaleUpload { upload: row.id()? });
        }
        Ok(())
    }
}
