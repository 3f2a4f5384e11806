//! What a caller of the store can act on.

use crate::blob::BlobError;
use crate::catalog::CatalogError;

/// Why the store did not do what was asked; each door maps it to its wire form in one place.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No bucket of this name.
    #[error("there is no bucket `{0}`")]
    NoSuchBucket(String),
    /// The name is taken.
    #[error("the bucket `{0}` exists already")]
    BucketExists(String),
    /// The bucket holds versions or unfinished uploads.
    #[error("the bucket `{0}` is not empty")]
    BucketNotEmpty(String),
    /// No object under this key.
    #[error("there is no object `{0}`")]
    NoSuchKey(String),
    /// No such version of the object.
    #[error("there is no version `{0}` of that object")]
    NoSuchVersion(String),
    /// The version asked for says that the object is gone.
    #[error("the object `{key}` was deleted")]
    DeleteMarker {
        /// The key.
        key: String,
        /// The delete marker's version id.
        version_id: String,
        /// Whether it is the latest version, so that a plain GET meets it.
        is_latest: bool,
    },
    /// No such upload, or it is over.
    #[error("there is no upload `{0}`")]
    NoSuchUpload(String),
    /// A condition of the request is not met.
    #[error("the condition {0} is not met")]
    PreconditionFailed(&'static str),
    /// Nothing hides the object.
    #[error("the object `{0}` is not deleted")]
    NotDeleted(String),
    /// The version is held or retained.
    #[error("the version cannot be removed or its lock weakened: {0}")]
    Locked(String),
    /// A lock was asked for in a bucket that has none.
    #[error("the bucket `{0}` has no object lock: switch it on first")]
    NotLockable(String),
    /// The bucket is not in a state that allows it.
    #[error("{0}")]
    BucketState(String),
    /// The bytes do not match the digest that came with them.
    #[error("the {algorithm} of the body does not match: sent {expected}, computed {computed}")]
    BadDigest {
        /// Which digest.
        algorithm: &'static str,
        /// As the client sent it.
        expected: String,
        /// As computed here.
        computed: String,
    },
    /// The body ended before its declared length.
    #[error("the body ended after {received} of {declared} bytes")]
    IncompleteBody {
        /// Bytes that came.
        received: u64,
        /// Bytes announced.
        declared: u64,
    },
    /// More bytes than declared or allowed.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// A part named at completion is not there or has another ETag.
    #[error("part {0} was not uploaded, or its ETag differs")]
    InvalidPart(u32),
    /// Parts were not named in ascending order.
    #[error("parts are not in ascending order")]
    InvalidPartOrder,
    /// A part other than the last is below the minimum.
    #[error("part {number} has {size_bytes} bytes: every part but the last needs at least 5 MiB")]
    PartTooSmall {
        /// Its number.
        number: u32,
        /// Its size.
        size_bytes: u64,
    },
    /// The range asked of a source lies outside it.
    #[error("the range lies outside the {size_bytes} bytes of the source")]
    InvalidRange {
        /// Size of the source.
        size_bytes: u64,
    },
    /// The offset given is not where the upload stands.
    #[error("the upload stands at {current} bytes, not at {given}")]
    OffsetConflict {
        /// Where it stands.
        current: u64,
        /// Where the client believed it stands.
        given: u64,
    },
    /// Another daemon writes this upload now.
    #[error(
        "the upload is being written by another process of this appliance; try again in a moment"
    )]
    UploadBusy,
    /// A newer request took the upload over.
    #[error("a newer request continues this upload")]
    UploadTakenOver,
    /// A deferred length was declared before.
    #[error("the length of the upload is known already")]
    LengthKnown,
    /// A lane that does not fit beside the others of its object, or lanes that do not cover it.
    #[error("the lanes do not fit together: {0}")]
    Lanes(String),
    /// A bucket or an owner may not hold so much.
    #[error("this does not fit: {0}")]
    QuotaExceeded(String),
    /// The object is encrypted with a key that only its owner has, and none came.
    #[error("the object is encrypted with a customer's key, which must come with the request")]
    KeyRequired,
    /// The key that came is not the one that the object was encrypted with.
    #[error("the key is not the one that the object was encrypted with")]
    WrongKey,
    /// The disk has no room for it.
    #[error("the appliance has no space left for this")]
    Full,
    /// The database or a disk cannot be reached now.
    #[error("the store is not available now: {0}")]
    Unavailable(String),
    /// Stored bytes are missing or damaged.
    #[error("stored data is damaged: {0}")]
    Damaged(String),
    /// A disk that is needed for this is away.
    #[error("{0}")]
    DiskAway(String),
    /// Bytes of the object that were asked for are missing or damaged on the disk; others of it may be in order.
    #[error("stored bytes of this are damaged and are not served: {0}")]
    ObjectDamaged(String),
    /// The request body broke off or cannot be read.
    #[error("reading the request body failed: {0}")]
    Body(String),
    /// Anything else.
    #[error("the store failed: {0}")]
    Failed(String),
}

impl StoreError {
    /// Whether a change that failed with this may have happened all the same.
    pub(super) fn is_in_doubt(&self) -> bool {
        matches!(
            self,
            Self::Full
                | Self::Unavailable(_)
                | Self::DiskAway(_)
                | Self::Failed(_)
                | Self::Damaged(_)
                | Self::ObjectDamaged(_)
        )
    }
}

impl From<CatalogError> for StoreError {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Full(_) => Self::Full,
            CatalogError::Unavailable(text) => Self::Unavailable(text),
            CatalogError::Corrupt(text) => Self::Damaged(text),
            CatalogError::Conflict(text) | CatalogError::Failed(text) => Self::Failed(text),
        }
    }
}

impl From<BlobError> for StoreError {
    fn from(error: BlobError) -> Self {
        let text = error.to_string();
        match error {
            BlobError::Full { .. } | BlobError::NoInodes => Self::Full,
            BlobError::Busy { .. } => Self::UploadBusy,
            BlobError::DiskAway { .. } => Self::DiskAway(text),
            BlobError::Missing { .. } | BlobError::Damaged { .. } | BlobError::Short { .. } => {
                Self::ObjectDamaged(text)
            }
            _ => Self::Unavailable(text),
        }
    }
}
