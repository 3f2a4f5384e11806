//! Checking rows against files, both ways.

use std::collections::HashMap;

use super::object::json;
use super::{ObjectExtras, Store, StoreError};
use crate::blob::{BlobError, Verdict, plain_len};
use crate::catalog::{BlobState, ObjectRow, WrongUsageRow};
use crate::kernel::BlobId;

/// Rows read at a time.
const PAGE: i64 = 500;

/// One thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A blob is known and its file is not there.
    MissingFile {
        /// The blob.
        blob: BlobId,
    },
    /// A file has another size than its row says.
    WrongSize {
        /// The blob.
        blob: BlobId,
        /// By its row.
        row_bytes: u64,
        /// By its file.
        file_bytes: u64,
    },
    /// The bytes of a file do not match its sums.
    Damaged {
        /// The blob.
        blob: BlobId,
        /// Which MiBs.
        blocks: Vec<u64>,
    },
    /// A blob is counted wrongly.
    WrongRefs {
        /// The blob.
        blob: BlobId,
        /// By its row.
        row_refs: i64,
        /// As counted.
        counted_refs: i64,
    },
    /// A file that no row knows.
    Orphan {
        /// The blob.
        blob: BlobId,
    },
    /// An object's extents do not add up to its size.
    WrongExtents {
        /// The object's row id.
        object: i64,
        /// By its row.
        row_bytes: u64,
        /// By its extents.
        extent_bytes: u64,
    },
    /// The usage of a bucket or an owner is not what its versions add up to.
    WrongUsage {
        /// Which.
        of: String,
        /// Bytes and versions by its row.
        row: (i64, i64),
        /// Bytes and versions as counted.
        counted: (i64, i64),
    },
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MissingFile { blob } => write!(f, "blob {blob}: its file is missing"),
            Self::WrongSize {
                blob,
                row_bytes,
                file_bytes,
            } => {
                write!(
                    f,
                    "blob {blob}: its row says {row_bytes} bytes, its file has {file_bytes}"
                )
            }
            Self::Damaged { blob, blocks } => {
                write!(f, "blob {blob}: MiB {blocks:?} do not match their sums")
            }
            Self::WrongRefs {
                blob,
                row_refs,
                counted_refs,
            } => {
                write!(
                    f,
                    "blob {blob}: its row counts {row_refs} references, there are {counted_refs}"
                )
            }
            Self::Orphan { blob } => write!(f, "blob {blob}: a file without a row"),
            Self::WrongExtents {
                object,
                row_bytes,
                extent_bytes,
            } => {
                write!(
                    f,
                    "object row {object}: its row says {row_bytes} bytes, its extents hold {extent_bytes}"
                )
            }
            Self::WrongUsage { of, row, counted } => {
                write!(
                    f,
                    "{of}: its row says {} bytes in {} objects, there are {} in {}",
                    row.0, row.1, counted.0, counted.1
                )
            }
        }
    }
}

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
    /// Meant for a quiet appliance: a change in mid-check can look like a finding.
    pub async fn fsck(&self, deep: bool) -> Result<FsckReport, StoreError> {
        let mut report = FsckReport::default();
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
        report
            .findings
            .extend(files.into_keys().map(|blob| Finding::Orphan { blob }));
        self.check_objects(&mut report).await?;
        self.check_usage(&mut report).await?;
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
                    (BlobState::Dead | BlobState::Quarantined, _) | (BlobState::Open, Some(_)) => {}
                    (_, None) => report.findings.push(Finding::MissingFile { blob }),
                    (BlobState::Live, Some(file_bytes)) if file_bytes != row.size_bytes as u64 => {
                        report.findings.push(Finding::WrongSize {
                            blob,
                            row_bytes: row.size_bytes as u64,
                            file_bytes,
                        });
                    }
                    (BlobState::Live, Some(size)) if deep => {
                        self.check_bytes(blob, size, report).await?;
                    }
                    (BlobState::Live, Some(_)) => {}
                }
            }
        }
    }

    async fn check_bytes(
        &self,
        blob: BlobId,
        size: u64,
        report: &mut FsckReport,
    ) -> Result<(), StoreError> {
        let sums = self.0.catalog.blob_sums(blob).await?.unwrap_or_default();
        report.bytes_verified += size;
        match self.0.blobs.verify(blob, size, &sums).await? {
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

    async fn check_objects(&self, report: &mut FsckReport) -> Result<(), StoreError> {
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
                let extent_bytes = match &row.inline {
                    Some(bytes) => self.plain_bytes(row, bytes.len() as u64)?,
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

    /// How many bytes those in a row stand for: encrypted ones are longer than what was written.
    fn plain_bytes(&self, row: &ObjectRow, stored: u64) -> Result<u64, StoreError> {
        let extras: ObjectExtras = json("object_version.extras", &row.extras)?;
        Ok(match extras.sse {
            Some(_) => plain_len(stored).unwrap_or(0),
            None => stored,
        })
    }
}
