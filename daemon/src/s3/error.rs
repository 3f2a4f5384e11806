//! From errors of the store to codes and statuses of S3.

use http::{HeaderMap, HeaderValue, StatusCode};
use s3s::{S3Error, S3ErrorCode, StdError};

use super::guard::ChunkError;
use super::post::FormError;
use crate::store::StoreError;

/// The one translation: which code, status and headers a client sees for each failure of the store.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is the last word on the error, and fits map_err"
)]
pub(super) fn of(error: StoreError) -> S3Error {
    use S3ErrorCode as C;
    let text = error.to_string();
    let (code, status) = match &error {
        StoreError::NoSuchBucket(_) => (C::NoSuchBucket, None),
        StoreError::BucketExists(_) => (C::BucketAlreadyExists, None),
        StoreError::BucketNotEmpty(_) => (C::BucketNotEmpty, None),
        StoreError::NoSuchKey(_) | StoreError::DeleteMarker { .. } => (C::NoSuchKey, None),
        StoreError::NoSuchVersion(_) => (C::NoSuchVersion, None),
        StoreError::NoSuchUpload(_) => (C::NoSuchUpload, None),
        StoreError::PreconditionFailed(_) => (C::PreconditionFailed, None),
        StoreError::Locked(_) => (C::AccessDenied, None),
        StoreError::NotDeleted(_) | StoreError::NotLockable(_) | StoreError::KeyRequired => {
            (C::InvalidRequest, None)
        }
        StoreError::BucketState(_) => (C::InvalidBucketState, None),
        StoreError::BadDigest { .. } => (C::BadDigest, None),
        StoreError::IncompleteBody { .. } | StoreError::Body(_) => (C::IncompleteBody, None),
        StoreError::TooLarge { .. } => (C::EntityTooLarge, None),
        StoreError::InvalidPart(_) => (C::InvalidPart, None),
        StoreError::InvalidPartOrder | StoreError::Lanes(_) => (C::InvalidPartOrder, None),
        StoreError::PartTooSmall { .. } => (C::EntityTooSmall, None),
        StoreError::InvalidRange { .. } => (C::InvalidRange, None),
        StoreError::OffsetConflict { .. }
        | StoreError::UploadBusy
        | StoreError::UploadTakenOver
        | StoreError::LengthKnown => (C::OperationAborted, None),
        StoreError::QuotaExceeded(_) => (
            C::Custom("QuotaExceeded".into()),
            Some(StatusCode::FORBIDDEN),
        ),
        StoreError::WrongKey => (C::InvalidArgument, None),
        StoreError::Full => (
            C::Custom("InsufficientStorage".into()),
            Some(StatusCode::INSUFFICIENT_STORAGE),
        ),
        StoreError::Unavailable(_) | StoreError::DiskAway(_) => (C::ServiceUnavailable, None),
        StoreError::Damaged(_) | StoreError::ObjectDamaged(_) | StoreError::Failed(_) => {
            (C::InternalError, None)
        }
    };
    let mut out = if code == C::InternalError || code == C::ServiceUnavailable {
        // The cause is for the log alone: it may name files.
        tracing::error!(error = %text, "an S3 request failed: {text}");
        let told = match &error {
            // Its name is what the owner called it; why it is away may name files.
            StoreError::DiskAway(why) => return away(why),
            StoreError::ObjectDamaged(_) => {
                "stored bytes of this range are damaged and are not served; upload the object again or restore it from a backup"
            }
            _ => "the appliance could not do this; its log says why",
        };
        S3Error::with_message(code, told)
    } else {
        S3Error::with_message(code, text)
    };
    if let Some(status) = status {
        out.set_status_code(status);
    }
    let mut headers = xml();
    match &error {
        StoreError::DeleteMarker { version_id, .. } => {
            headers.insert("x-amz-delete-marker", HeaderValue::from_static("true"));
            if let Ok(id) = HeaderValue::from_str(version_id) {
                headers.insert("x-amz-version-id", id);
            }
            out.set_headers(headers);
        }
        StoreError::Full | StoreError::Unavailable(_) => {
            let seconds = if status.is_some() { 60 } else { 2 };
            headers.insert(http::header::RETRY_AFTER, seconds.into());
            out.set_headers(headers);
        }
        StoreError::InvalidRange { size_bytes } => {
            if let Ok(range) = HeaderValue::from_str(&format!("bytes */{size_bytes}")) {
                headers.insert(http::header::CONTENT_RANGE, range);
            }
            out.set_headers(headers);
        }
        _ => {}
    }
    out
}

/// 503 that says which disk is away.
fn away(why: &str) -> S3Error {
    let disk = why.split(" (").next().unwrap_or_default();
    let text = format!("{disk}; what lies on other disks is served as ever");
    let mut out = S3Error::with_message(S3ErrorCode::ServiceUnavailable, text);
    let mut headers = xml();
    headers.insert(http::header::RETRY_AFTER, HeaderValue::from_static("30"));
    out.set_headers(headers);
    out
}

/// The headers of an error document; needed where others are added, as they replace the default ones.
pub(super) fn xml() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static("application/xml"),
    );
    headers
}

/// An error with its own words.
pub(super) fn say(code: S3ErrorCode, text: impl Into<std::borrow::Cow<'static, str>>) -> S3Error {
    S3Error::with_message(code, text)
}

/// 400 with a code that `s3s` does not know.
pub(super) fn bad_request(
    code: &'static str,
    text: impl Into<std::borrow::Cow<'static, str>>,
) -> S3Error {
    say(S3ErrorCode::Custom(code.into()), text).with_status(StatusCode::BAD_REQUEST)
}

/// What `s3s` refuses by a code alone, in words.
pub(super) fn words(code: &str) -> &'static str {
    match code {
        "IncompleteBody" => "the body ended before its declared length; send it again",
        "InternalError" => "the appliance could not do this; its log says why",
        "InvalidAccessKeyId" => {
            "there is no such access key; `nebula keys ls` lists those there are"
        }
        "InvalidBucketName" => {
            "a bucket name has 3 to 63 characters, which are lower-case letters, digits, '-' and '.', and is no IP address"
        }
        "InvalidRange" => "the range lies behind the end, or cannot be read",
        "InvalidURI" => "the address cannot be read; names in it are percent-encoded UTF-8",
        "KeyTooLongError" => "an object key has at most 1024 bytes of UTF-8",
        "MalformedXML" => "the document in the body is not the XML that this request takes",
        "MaxMessageLengthExceeded" => {
            "the document in the body is longer than any that this request takes"
        }
        "MethodNotAllowed" => "this address does not take that method",
        "MissingRequestBodyError" => "this request takes a document in its body, and there is none",
        "NotImplemented" => "this is not available on this appliance",
        "SignatureDoesNotMatch" => {
            "the signature does not fit the request; look at the secret key, at the clock, and at proxies that change headers or the path"
        }
        _ => "the request was refused; its code says why",
    }
}

/// What is not built: said, never pretended.
pub(super) fn not_built(what: &str) -> S3Error {
    say(
        S3ErrorCode::NotImplemented,
        format!("{what} is not available on this appliance"),
    )
}

/// Why a body could not be read to its end.
///
/// The streams of `s3s` keep their error types to themselves, so their texts decide; ours are found by type first.
pub(super) fn of_body(error: &StdError) -> S3Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error.as_ref());
    while let Some(one) = source {
        if let Some(chunk) = one.downcast_ref::<ChunkError>() {
            return of_chunk(chunk);
        }
        if let Some(form) = one.downcast_ref::<FormError>() {
            return of_form(form);
        }
        source = one.source();
    }
    let text = error.to_string();
    let has = |part: &str| text.contains(part);
    if has("Sha256Mismatch") {
        bad_request(
            "XAmzContentSHA256Mismatch",
            "the x-amz-content-sha256 does not match the body",
        )
    } else if has("SignatureMismatch") {
        say(
            S3ErrorCode::SignatureDoesNotMatch,
            "the signature of a chunk does not match",
        )
    } else if has(FormError::TOO_LARGE) {
        of_form(&FormError::TooLarge)
    } else if has(FormError::TOO_SMALL) {
        of_form(&FormError::TooSmall)
    } else if has(ChunkError::TOO_LARGE) {
        of_chunk(&ChunkError::TooLarge)
    } else if has("FormatError") || has("TooLarge") || has("TooMany") || has(ChunkError::MALFORMED)
    {
        say(
            S3ErrorCode::InvalidRequest,
            "the aws-chunked body is malformed",
        )
    } else {
        say(
            S3ErrorCode::IncompleteBody,
            "the body broke off before its end",
        )
    }
}

fn of_chunk(error: &ChunkError) -> S3Error {
    match error {
        ChunkError::TooLarge => bad_request("InvalidChunkSizeError", ChunkError::TOO_LARGE),
        ChunkError::Malformed => say(S3ErrorCode::InvalidRequest, ChunkError::MALFORMED),
        ChunkError::Body(_) => say(
            S3ErrorCode::IncompleteBody,
            "the body broke off before its end",
        ),
    }
}

/// Why a form could not be read.
pub(super) fn of_form(error: &FormError) -> S3Error {
    let code = match error {
        FormError::Malformed(_) => S3ErrorCode::MalformedPOSTRequest,
        FormError::Fields => S3ErrorCode::MaxPostPreDataLengthExceededError,
        FormError::TooLarge => S3ErrorCode::EntityTooLarge,
        FormError::TooSmall => S3ErrorCode::EntityTooSmall,
        FormError::Body(_) => S3ErrorCode::IncompleteBody,
    };
    say(code, error.to_string())
}

/// Chaining for what [`S3Error`] only sets.
pub(super) trait With {
    /// With this status instead of the code's own.
    fn with_status(self, status: StatusCode) -> Self;
}

impl With for S3Error {
    fn with_status(mut self, status: StatusCode) -> Self {
        self.set_status_code(status);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_its_code_and_status() {
        let table = [
            (StoreError::NoSuchBucket("b".into()), "NoSuchBucket", 404),
            (
                StoreError::BucketNotEmpty("b".into()),
                "BucketNotEmpty",
                409,
            ),
            (StoreError::NoSuchKey("k".into()), "NoSuchKey", 404),
            (
                StoreError::PreconditionFailed("If-Match"),
                "PreconditionFailed",
                412,
            ),
            (StoreError::Locked("x".into()), "AccessDenied", 403),
            (StoreError::NotLockable("b".into()), "InvalidRequest", 400),
            (
                StoreError::BucketState("x".into()),
                "InvalidBucketState",
                409,
            ),
            (
                StoreError::InvalidRange { size_bytes: 3 },
                "InvalidRange",
                416,
            ),
            (
                StoreError::PartTooSmall {
                    number: 1,
                    size_bytes: 1,
                },
                "EntityTooSmall",
                400,
            ),
            (
                StoreError::IncompleteBody {
                    received: 1,
                    declared: 2,
                },
                "IncompleteBody",
                400,
            ),
            (StoreError::QuotaExceeded("x".into()), "QuotaExceeded", 403),
            (StoreError::Full, "InsufficientStorage", 507),
            (
                StoreError::Unavailable("x".into()),
                "ServiceUnavailable",
                503,
            ),
            (StoreError::Damaged("x".into()), "InternalError", 500),
            (StoreError::ObjectDamaged("x".into()), "InternalError", 500),
            (
                StoreError::DiskAway("disk usb is away (…)".into()),
                "ServiceUnavailable",
                503,
            ),
        ];
        for (error, code, status) in table {
            let out = of(error);
            assert_eq!(out.code().as_str(), code);
            assert_eq!(
                out.status_code().map(|s| s.as_u16()),
                Some(status),
                "{code}"
            );
        }
    }

    #[test]
    fn causes_inside_the_house_are_not_told() {
        let out = of(StoreError::Damaged("/var/lib/nebula/blobs/ab/cd".into()));
        assert!(!out.message().unwrap_or_default().contains("/var"));
    }

    #[test]
    fn a_body_that_does_not_fit_its_hash_is_told_from_one_that_broke_off() {
        let of_text = |text: &str| of_body(&StdError::from(text)).code().as_str().to_owned();
        assert_eq!(
            of_text("UploadStreamError: Sha256Mismatch"),
            "XAmzContentSHA256Mismatch"
        );
        assert_eq!(
            of_text("AwsChunkedStreamError: SignatureMismatch"),
            "SignatureDoesNotMatch"
        );
        assert_eq!(
            of_text("AwsChunkedStreamError: Incomplete"),
            "IncompleteBody"
        );
        assert_eq!(
            of_text(&format!(
                "AwsChunkedStreamError: Underlying: {}",
                ChunkError::TooLarge
            )),
            "InvalidChunkSizeError"
        );
    }
}
