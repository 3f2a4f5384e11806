//! The database: names, versions, uploads, jobs and events as rows; one file per noun.
//!
//! The same statements run on SQLite (the default, in the data directory) and on PostgreSQL.
//! A change goes through [`Catalog::write`]: a closure over [`Tx`] that sees and changes rows in one transaction.
//! When `write` returns `Ok`, the change is durable; on SQLite the commits of concurrent callers share one sync.
//! On SQLite, rows that are read again and again come from a small memory ([`memory`]), which is never behind the database.
//! The room knows no files of objects, no protocol and no clock: times and ids come in as arguments.

mod access_key;
mod asset;
mod audit;
mod blob;
mod bucket;
mod checkpoint;
mod db;
mod dump;
mod encryption;
mod event;
mod extent;
mod history;
mod job;
mod job_run;
mod lease;
mod link;
mod listing;
mod lookup;
mod memory;
mod neighbours;
mod object;
mod part;
mod position;
mod rendition;
mod setting;
mod sqlite;
mod statements;
mod subtitle;
mod temporary_key;
mod upload;
mod upload_member;
mod upload_piece;
mod usage;
mod waiting;
mod write;

pub use access_key::AccessKeyRow;
pub use asset::{AssetObjectRow, AssetRow, AssetState, NewAsset};
pub use audit::{AuditRow, NewAudit};
pub use blob::{BlobRow, BlobState};
pub use bucket::{BucketRow, Durability, NewBucket, Versioning};
pub use db::{Catalog, CatalogError, Options, Tx};
pub use dump::{Entering, Kind, Snapshot, Table, Value};
pub use encryption::EncryptedRow;
pub use event::{EventKind, EventRow, NewEvent};
pub use extent::Extent;
pub use history::HistoryRow;
pub use job::{ATTEMPTS_DEFAULT, JobCursor, JobFilter, JobObject, JobRow, JobState, NewJob};
pub use job_run::{Failure, LeaseTerms};
pub use link::LinkRow;
pub use listing::{ListEntry, ListQuery, ListRows};
pub use object::{NewObject, ObjectRow};
pub use part::PartRow;
pub use position::{NewPosition, PositionRow};
pub use rendition::{
    IdleRendition, NewRendition, NewSegment, RenditionKind, RenditionRow, RenditionShape,
    RenditionState, RenditionTally, SegmentRow,
};
pub use subtitle::SubtitleRow;
pub use temporary_key::TemporaryKeyRow;
pub use upload::{Lane, NewUpload, Protocol, UploadRole, UploadRow, UploadState};
pub use upload_piece::UploadPiece;
pub use usage::{OwnerUsageRow, WrongUsageRow};
pub use write::TxFuture;
