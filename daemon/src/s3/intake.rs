//! Bytes on their way in, verified before anybody gives them a name.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue};
use s3s::dto::StreamingBlob;
use s3s::{S3ErrorCode, S3Result, TrailingHeaders};

use super::error::{self, say};
use super::wire::Sums;
use crate::kernel::limits::INLINE_BYTES_MAX;
use crate::kernel::{BucketName, ObjectKey};
use crate::store::{ChecksumAlgorithm, Encryption, Sealed, Store, StoreError, WriteOptions};

/// What the client says the bytes are.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// `Content-MD5`.
    md5: Option<[u8; 16]>,
    /// `x-amz-checksum-*` of the head.
    sums: Sums,
    /// The checksum that a trailer will carry.
    trailer: Option<ChecksumAlgorithm>,
    /// `x-amz-sdk-checksum-algorithm`: to be computed even without a value to compare.
    asked: Option<ChecksumAlgorithm>,
}

impl Expected {
    /// The same without checksums, where those of the head are of something else than the body.
    ///
    /// # Errors
    /// `InvalidDigest` for a Content-MD5 that is none.
    pub(super) fn of_md5_alone(headers: &HeaderMap) -> S3Result<Self> {
        let invalid = || {
            say(
                S3ErrorCode::InvalidDigest,
                "The Content-MD5 you specified was invalid.",
            )
        };
        let read = |value: &HeaderValue| {
            let decoded = BASE64_STANDARD.decode(value.as_bytes().trim_ascii()).ok();
            decoded
                .and_then(|bytes| bytes.try_into().ok())
                .ok_or_else(invalid)
        };
        Ok(Self {
            md5: headers.get("content-md5").map(read).transpose()?,
            ..Self::default()
        })
    }

    /// Reads the head of a request.
    ///
    /// # Errors
    /// `InvalidDigest` for a Content-MD5 that is none, `BadDigest` for a checksum that is none; `InvalidRequest` for several checksums.
    pub(super) fn of(headers: &HeaderMap) -> S3Result<Self> {
        let text = |name: &str| {
            headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .map(str::trim)
        };
        let mut expected = Self::of_md5_alone(headers)?;
        for (algorithm, name) in NAMES {
            if let Some(value) = text(name) {
                check(algorithm, value)?;
                expected.sums.insert(algorithm, value.to_owned());
            }
        }
        if expected.sums.len() > 1 {
            return Err(say(
                S3ErrorCode::InvalidRequest,
                "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.",
            ));
        }
        let trailer = text("x-amz-trailer").map(str::to_ascii_lowercase);
        expected.trailer = NAMES
            .into_iter()
            .find(|(_, name)| trailer.as_deref() == Some(name))
            .map(|(algorithm, _)| algorithm);
        expected.asked = text("x-amz-sdk-checksum-algorithm").and_then(ChecksumAlgorithm::parse);
        Ok(expected)
    }

    /// Every checksum to compute on the way.
    pub(super) fn algorithms(&self, also: Option<ChecksumAlgorithm>) -> Vec<ChecksumAlgorithm> {
        self.sums
            .keys()
            .copied()
            .chain(self.trailer)
            .chain(self.asked)
            .chain(also)
            .collect()
    }

    /// Compares with what came.
    pub(super) fn verify(
        &self,
        md5: [u8; 16],
        computed: &Sums,
        trailers: Option<&TrailingHeaders>,
    ) -> S3Result<()> {
        let differs = |algorithm, expected: &str, computed: &str| {
            error::of(StoreError::BadDigest {
                algorithm,
                expected: expected.to_owned(),
                computed: computed.to_owned(),
            })
        };
        if let Some(expected) = self.md5
            && expected != md5
        {
            return Err(differs(
                "MD5",
                &BASE64_STANDARD.encode(expected),
                &BASE64_STANDARD.encode(md5),
            ));
        }
        let mut sums = self.sums.clone();
        if let Some(algorithm) = self.trailer {
            let name = algorithm_header(algorithm);
            let value = trailers.and_then(|t| {
                t.read(|map| {
                    map.get(name)
                        .and_then(|v| v.to_str().ok())
                        .map(str::to_owned)
                })
            });
            let missing = || {
                error::bad_request(
                    "MalformedTrailerError",
                    format!("the trailer {name} that was announced did not come"),
                )
            };
            let value = value.flatten().ok_or_else(missing)?;
            check(algorithm, &value)?;
            sums.insert(algorithm, value);
        }
        for (algorithm, expected) in &sums {
            let computed = computed.get(algorithm).map_or("", String::as_str);
            if expected != computed {
                return Err(differs(algorithm.as_str(), expected, computed));
            }
        }
        Ok(())
    }
}

const NAMES: [(ChecksumAlgorithm, &str); 5] = [
    (ChecksumAlgorithm::Crc32, "x-amz-checksum-crc32"),
    (ChecksumAlgorithm::Crc32c, "x-amz-checksum-crc32c"),
    (ChecksumAlgorithm::Crc64Nvme, "x-amz-checksum-crc64nvme"),
    (ChecksumAlgorithm::Sha1, "x-amz-checksum-sha1"),
    (ChecksumAlgorithm::Sha256, "x-amz-checksum-sha256"),
];

fn algorithm_header(algorithm: ChecksumAlgorithm) -> &'static str {
    NAMES
        .into_iter()
        .find(|(a, _)| *a == algorithm)
        .map_or("", |(_, name)| name)
}

/// A value that cannot be a checksum of this kind is a mistake of its own.
fn check(algorithm: ChecksumAlgorithm, value: &str) -> S3Result<()> {
    let length = match algorithm {
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => 4,
        ChecksumAlgorithm::Crc64Nvme => 8,
        ChecksumAlgorithm::Sha1 => 20,
        ChecksumAlgorithm::Sha256 => 32,
    };
    if BASE64_STANDARD
        .decode(value)
        .is_ok_and(|bytes| bytes.len() == length)
    {
        return Ok(());
    }
    Err(say(
        S3ErrorCode::BadDigest,
        format!(
            "Value for {} header is invalid.",
            algorithm_header(algorithm)
        ),
    ))
}

/// The checksums that a completion names for the whole object, which are compared with what its parts make.
pub(super) fn of_whole(headers: &HeaderMap) -> Sums {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .map(|v| v.trim().to_owned())
    };
    NAMES
        .into_iter()
        .filter_map(|(algorithm, name)| Some((algorithm, text(name)?)))
        .collect()
}

/// One body to take in.
pub(super) struct Intake {
    /// The bytes.
    pub(super) body: Option<StreamingBlob>,
    /// Their declared length, of the payload rather than of its framing.
    pub(super) size: Option<i64>,
    /// Where trailers will be.
    pub(super) trailers: Option<TrailingHeaders>,
    /// What they should be.
    pub(super) expected: Expected,
    /// A further checksum to compute.
    pub(super) also: Option<ChecksumAlgorithm>,
    /// Whether it is a part.
    pub(super) is_part: bool,
    /// How it is encrypted.
    pub(super) encryption: Option<Encryption>,
    /// Where it goes, which decides whether it is synced before the answer.
    pub(super) bucket: BucketName,
    /// What it replaces there.
    pub(super) key: ObjectKey,
    /// Whose quota it counts for.
    pub(super) owner: String,
    /// What the body has at least, where its size is not declared.
    pub(super) at_least: u64,
}

impl Intake {
    /// Takes the bytes in and verifies them.
    pub(super) async fn take(self, store: &Store) -> S3Result<Sealed> {
        let size = match self.size {
            None => None,
            Some(size) => Some(
                u64::try_from(size)
                    .map_err(|_| say(S3ErrorCode::InvalidArgument, "Content-Length is negative"))?,
            ),
        };
        // What fits a row is as durable as its commit, so only large bodies ask.
        let large = size.is_none_or(|size| size > INLINE_BYTES_MAX as u64);
        if large {
            let declared = size.unwrap_or(self.at_least);
            let admitted = store.admit(&self.bucket, Some(&self.key), &self.owner, declared);
            admitted.await.map_err(error::of)?;
            if size.is_none() {
                store.room_for(declared).await.map_err(error::of)?;
            }
        }
        let options = WriteOptions {
            size,
            checksums: self.expected.algorithms(self.also),
            always_blob: self.is_part,
            encryption: self.encryption,
            relaxed: large && store.is_relaxed(&self.bucket).await.map_err(error::of)?,
        };
        let mut writer = store.writer(options).await.map_err(error::of)?;
        if let Some(mut body) = self.body {
            while let Some(bytes) = body.next().await {
                let bytes = bytes.map_err(|e| error::of_body(&e))?;
                if !bytes.is_empty() {
                    writer.write(bytes).await.map_err(error::of)?;
                }
            }
        }
        let sealed = writer.seal().await.map_err(error::of)?;
        self.expected
            .verify(sealed.md5, &sealed.checksums, self.trailers.as_ref())?;
        Ok(sealed)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn expected(pairs: &[(&'static str, &str)]) -> Result<Expected, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        Expected::of(&headers).map_err(|e| e.code().as_str().to_owned())
    }

    #[test]
    fn the_head_says_what_to_expect() {
        let read = expected(&[
            ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg=="),
            ("x-amz-checksum-crc32", "AAAAAA=="),
        ])
        .unwrap();
        assert!(read.md5.is_some());
        assert_eq!(read.algorithms(None), [ChecksumAlgorithm::Crc32]);
        let trailer = expected(&[("x-amz-trailer", "X-Amz-Checksum-SHA256")]).unwrap();
        assert_eq!(trailer.algorithms(None), [ChecksumAlgorithm::Sha256]);
        let asked = expected(&[("x-amz-sdk-checksum-algorithm", "crc64nvme")]).unwrap();
        assert_eq!(asked.algorithms(None), [ChecksumAlgorithm::Crc64Nvme]);
    }

    #[test]
    fn nonsense_is_refused_before_the_body() {
        assert_eq!(
            expected(&[("content-md5", "abc")]).unwrap_err(),
            "InvalidDigest"
        );
        assert_eq!(
            expected(&[("x-amz-checksum-crc32", "bad")]).unwrap_err(),
            "BadDigest"
        );
        let two = [
            ("x-amz-checksum-crc32", "AAAAAA=="),
            ("x-amz-checksum-crc32c", "AAAAAA=="),
        ];
        assert_eq!(expected(&two).unwrap_err(), "InvalidRequest");
    }
}
