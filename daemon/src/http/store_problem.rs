//! What the store says, as a problem: the one match that the tus, stream and JSON doors share.

use axum::http::StatusCode;
use nebula_api::problem::code;

use super::Problem;
use crate::queue::QueueError;
use crate::store::StoreError;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let said = error.to_string();
        match error {
            StoreError::NoSuchBucket(_) => {
                Self::not_found(code::BUCKET_NOT_FOUND, "There is no such bucket.").detail(said)
            }
            StoreError::BucketExists(_) => Self::new(
                StatusCode::CONFLICT,
                code::BUCKET_EXISTS,
                "The bucket exists already.",
            )
            .detail(said),
            StoreError::BucketNotEmpty(_) => {
                let title = "The bucket is not empty.";
                let hint =
                    "Remove its objects and unfinished uploads first: nebula rb --force does both.";
                Self::new(StatusCode::CONFLICT, code::BUCKET_NOT_EMPTY, title)
                    .detail(said)
                    .hint(hint)
            }
            StoreError::NoSuchKey(_)
            | StoreError::NoSuchVersion(_)
            | StoreError::DeleteMarker { .. } => {
                Self::not_found(code::OBJECT_NOT_FOUND, "There is no such object.").detail(said)
            }
            StoreError::NoSuchUpload(_) => {
                Self::not_found(code::UPLOAD_NOT_FOUND, "There is no such upload.").detail(said)
            }
            StoreError::PreconditionFailed(_) => Self::new(
                StatusCode::PRECONDITION_FAILED,
                code::PRECONDITION_FAILED,
                "A condition is not met.",
            )
            .detail(said),
            StoreError::NotDeleted(_) => Self::new(
                StatusCode::CONFLICT,
                code::NOT_DELETED,
                "The object is not deleted.",
            )
            .detail(said)
            .hint("Name a version to put it on top again."),
            StoreError::Locked(_) => Self::new(
                StatusCode::FORBIDDEN,
                code::OBJECT_LOCKED,
                "The version is locked.",
            )
            .detail(said),
            StoreError::NotLockable(_) | StoreError::BucketState(_) => Self::new(
                StatusCode::CONFLICT,
                code::CONFLICT,
                "The bucket does not allow this.",
            )
            .detail(said),
            StoreError::OffsetConflict { .. } => {
                let title = "The upload stands elsewhere.";
                Self::new(StatusCode::CONFLICT, code::CONFLICT, title)
                    .detail(said)
                    .hint("Ask with HEAD where it stands and go on from there.")
            }
            StoreError::Lanes(_) => Self::new(
                StatusCode::CONFLICT,
                code::CONFLICT,
                "The parallel uploads are not of one object.",
            )
            .detail(said)
            .hint("Lanes of one object have one total, bucket and key, and cover it without gap or overlap."),
            StoreError::UploadTakenOver | StoreError::LengthKnown => Self::new(
                StatusCode::CONFLICT,
                code::CONFLICT,
                "The upload has changed meanwhile.",
            )
            .detail(said),
            StoreError::UploadBusy => Self::new(
                StatusCode::LOCKED,
                code::CONFLICT,
                "The upload is being written.",
            )
            .detail(said)
            .retry_after_s(1),
            StoreError::TooLarge { .. } => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                code::TOO_LARGE,
                "The body is too large.",
            )
            .detail(said),
            StoreError::QuotaExceeded(_) => Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                code::QUOTA_EXCEEDED,
                "The quota is used up.",
            )
            .detail(said)
            .hint("Delete something, or have the quota raised: nebula quota."),
            StoreError::KeyRequired | StoreError::WrongKey => Self::new(
                StatusCode::FORBIDDEN,
                code::FORBIDDEN,
                "The object is encrypted with a customer's key.",
            )
            .detail(said)
            .hint("Only S3 requests can send the key: read it there."),
            StoreError::Full => Self::storage_full(),
            StoreError::Unavailable(_) => {
                tracing::error!("the store is not available: {said}");
                Self::unavailable("The store does not answer.")
            }
            StoreError::BadDigest { .. }
            | StoreError::IncompleteBody { .. }
            | StoreError::InvalidPart(_)
            | StoreError::InvalidPartOrder
            | StoreError::PartTooSmall { .. }
            | StoreError::InvalidRange { .. } => Self::invalid(said),
            StoreError::Body(_) => Self::new(
                StatusCode::BAD_REQUEST,
                code::INCOMPLETE_BODY,
                "The body broke off.",
            )
            .detail(said),
            StoreError::DiskAway(_) => {
                tracing::error!("a request needs a disk that is away: {said}");
                let title = "A disk is away.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, code::DISK_AWAY, title)
                    .detail(said)
                    .hint("What lies on other disks is served as ever; this comes back with the disk.")
                    .retry_after_s(30)
            }
            StoreError::ObjectDamaged(_) => {
                tracing::error!("a request met damaged bytes: {said}");
                let title = "Stored bytes are damaged.";
                Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    code::OBJECT_DAMAGED,
                    title,
                )
                .detail("What was asked for lies on damaged blocks of the disk and is not served; undamaged ranges are.")
                .hint("Upload it again or restore it from a backup; `nebulad fsck` names what is damaged.")
            }
            StoreError::Damaged(_) | StoreError::Failed(_) => Self::internal(said),
        }
    }
}

impl From<QueueError> for Problem {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Catalog(error) => error.into(),
            QueueError::Redis(cause) => {
                tracing::error!("the job queue is not available: {cause}");
                Self::unavailable("The job queue does not answer.")
            }
            QueueError::Corrupt(_) => Self::internal(error),
        }
    }
}
