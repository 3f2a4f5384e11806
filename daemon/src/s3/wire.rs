//! Small conversions between the store's words and those of `s3s`.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::{self, EncodingType, Timestamp};
use s3s::{S3ErrorCode, S3Result};
use time::OffsetDateTime;

use super::error::say;
use crate::kernel::{ETag, Millis, UploadId, VersionId};
use crate::store::{ChecksumAlgorithm, ChecksumKind};

/// What `encoding-type=url` leaves as it is (Amazon S3, ListObjectsV2).
const KEPT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/')
    .remove(b'*');

/// Base64 by algorithm.
pub(super) type Sums = BTreeMap<ChecksumAlgorithm, String>;

/// A point in time.
pub(super) fn timestamp(ms: Millis) -> Timestamp {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .into()
}

/// The same of a request.
pub(super) fn millis(at: Timestamp) -> Millis {
    let nanos = OffsetDateTime::from(at).unix_timestamp_nanos();
    Millis::try_from(nanos.div_euclid(1_000_000)).unwrap_or(Millis::MAX)
}

/// An entity tag.
pub(super) fn etag(etag: &ETag) -> dto::ETag {
    dto::ETag::Strong(etag.as_str().to_owned())
}

/// A version id of a request.
pub(super) fn version_id(text: Option<&str>) -> S3Result<Option<VersionId>> {
    text.filter(|text| !text.is_empty())
        .map(|text| {
            text.parse()
                .map_err(|_| say(S3ErrorCode::InvalidArgument, "Invalid version id specified"))
        })
        .transpose()
}

/// An upload id of a request.
pub(super) fn upload_id(text: &str) -> S3Result<UploadId> {
    text.parse().map_err(|_| {
        say(
            S3ErrorCode::NoSuchUpload,
            format!(
                "there is no upload `{}`",
                text.chars().take(64).collect::<String>()
            ),
        )
    })
}

/// An algorithm of a request.
pub(super) fn algorithm(sent: &dto::ChecksumAlgorithm) -> S3Result<ChecksumAlgorithm> {
    ChecksumAlgorithm::parse(sent.as_str()).ok_or_else(|| {
        say(
            S3ErrorCode::InvalidRequest,
            "the checksum algorithm is not one of CRC32, CRC32C, CRC64NVME, SHA1 and SHA256",
        )
    })
}

/// An algorithm of an answer.
pub(super) fn algorithm_out(algorithm: ChecksumAlgorithm) -> dto::ChecksumAlgorithm {
    dto::ChecksumAlgorithm::from_static(algorithm.as_str())
}

/// Full object or composite.
pub(super) fn kind_out(kind: ChecksumKind) -> dto::ChecksumType {
    dto::ChecksumType::from_static(match kind {
        ChecksumKind::FullObject => dto::ChecksumType::FULL_OBJECT,
        ChecksumKind::Composite => dto::ChecksumType::COMPOSITE,
    })
}

/// Fills the five checksum fields that many shapes share.
macro_rules! fill_checksums {
    ($output:expr, $sums:expr) => {{
        use crate::store::ChecksumAlgorithm as Algorithm;
        let sums: &$crate::s3::wire::Sums = $sums;
        $output.checksum_crc32 = sums.get(&Algorithm::Crc32).cloned();
        $output.checksum_crc32c = sums.get(&Algorithm::Crc32c).cloned();
        $output.checksum_crc64nvme = sums.get(&Algorithm::Crc64Nvme).cloned();
        $output.checksum_sha1 = sums.get(&Algorithm::Sha1).cloned();
        $output.checksum_sha256 = sums.get(&Algorithm::Sha256).cloned();
    }};
}
pub(super) use fill_checksums;

/// Whether names are to be percent-encoded.
///
/// # Errors
/// `InvalidArgument` for an encoding other than `url`.
pub(super) fn encodes(sent: Option<&EncodingType>) -> S3Result<bool> {
    match sent.map(EncodingType::as_str) {
        None | Some("") => Ok(false),
        Some(EncodingType::URL) => Ok(true),
        Some(_) => Err(say(
            S3ErrorCode::InvalidArgument,
            "Invalid Encoding Method specified in Request",
        )),
    }
}

/// A name as `encoding-type` asks for it.
pub(super) fn encoded(name: &str, encode: bool) -> String {
    if encode {
        utf8_percent_encode(name, KEPT).to_string()
    } else {
        name.to_owned()
    }
}

/// A count of a request: at most `most`, which is also the default.
///
/// # Errors
/// `InvalidArgument` below zero.
pub(super) fn limit(sent: Option<i32>, most: usize, name: &str) -> S3Result<usize> {
    match sent {
        None => Ok(most),
        Some(n) => usize::try_from(n).map(|n| n.min(most)).map_err(|_| {
            say(
                S3ErrorCode::InvalidArgument,
                format!("{name} must not be negative"),
            )
        }),
    }
}

/// The number of the part behind which a listing of parts begins.
///
/// # Errors
/// `InvalidArgument` below zero.
pub(super) fn part_marker(sent: Option<i32>) -> S3Result<u32> {
    u32::try_from(sent.unwrap_or(0)).map_err(|_| {
        say(
            S3ErrorCode::InvalidArgument,
            "part-number-marker must not be negative",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_encoded_as_s3_does() {
        assert_eq!(encoded("foo+1/bar", true), "foo%2B1/bar");
        assert_eq!(encoded("quux ab/é", true), "quux%20ab/%C3%A9");
        assert_eq!(encoded("a b", false), "a b");
    }

    #[test]
    fn counts_are_clamped_above_and_refused_below() {
        assert_eq!(limit(None, 1000, "max-keys").ok(), Some(1000));
        assert_eq!(limit(Some(5000), 1000, "max-keys").ok(), Some(1000));
        assert_eq!(limit(Some(0), 1000, "max-keys").ok(), Some(0));
        assert!(limit(Some(-1), 1000, "max-keys").is_err());
    }
}
