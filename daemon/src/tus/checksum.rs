//! The checksum of a body (tus 1.0, "Checksum"): in a header before it or in a trailer behind it; all its bytes count or none.

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::headers::text;
use crate::http::Problem;
use crate::store::{ChecksumAlgorithm, Hashers};

/// What is offered, in the protocol's spelling.
pub(super) const ALGORITHMS: &str = "sha1,sha256,crc32,crc32c,crc64nvme";
const UPLOAD_CHECKSUM: &str = "upload-checksum";

/// Sums a body while it is taken, and compares in the end.
pub(super) struct Check {
    hashers: Hashers,
    expected: Expected,
}

enum Expected {
    /// The header said it.
    Known(ChecksumAlgorithm, Vec<u8>),
    /// The trailer will say it, algorithm included.
    Trailer,
}

impl Check {
    /// What the headers of a request ask for; `None` when nothing.
    ///
    /// # Errors
    /// 400 for an algorithm that is not offered and for a value that is none of its.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        if let Some(value) = text(headers, UPLOAD_CHECKSUM)? {
            let (algorithm, sum) = parse(value)?;
            return Ok(Some(Self {
                hashers: Hashers::new(&[algorithm]),
                expected: Expected::Known(algorithm, sum),
            }));
        }
        let announced = headers.get_all(header::TRAILER).iter().any(|names| {
            let names = names.to_str().unwrap_or_default();
            let mut names = names.split(',').map(str::trim);
            names.any(|name| name.eq_ignore_ascii_case(UPLOAD_CHECKSUM))
        });
        Ok(announced.then(|| Self {
            // Which one it is comes last: all are summed.
            hashers: Hashers::new(&ChecksumAlgorithm::ALL),
            expected: Expected::Trailer,
        }))
    }

    /// Takes more of the body.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hashers.update(bytes);
    }

    /// Whether the body is what was announced.
    ///
    /// # Errors
    /// 460 for other bytes; 400 for a trailer that is missing or says nothing.
    pub(super) fn verify(self, trailers: Option<&HeaderMap>) -> Result<(), Problem> {
        let (algorithm, expected) = match self.expected {
            Expected::Known(algorithm, sum) => (algorithm, sum),
            Expected::Trailer => {
                let value = trailers.map(|trailers| text(trailers, UPLOAD_CHECKSUM));
                let value = value.transpose()?.flatten().ok_or_else(|| {
                    Problem::invalid("The trailer Upload-Checksum was announced and did not come.")
                })?;
                parse(value)?
            }
        };
        let sums = self.hashers.finish();
        let own = sums
            .get(&algorithm)
            .and_then(|sum| BASE64_STANDARD.decode(sum).ok());
        if own.as_ref() == Some(&expected) {
            Ok(())
        } else {
            Err(mismatch())
        }
    }
}

/// `sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=`
fn parse(value: &str) -> Result<(ChecksumAlgorithm, Vec<u8>), Problem> {
    let (name, sum) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    let algorithm = ChecksumAlgorithm::parse(name).ok_or_else(|| {
        Problem::invalid(format!(
            "Upload-Checksum names `{name}`: these are offered: {ALGORITHMS}."
        ))
    })?;
    let bytes = match algorithm {
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => 4,
        ChecksumAlgorithm::Crc64Nvme => 8,
        ChecksumAlgorithm::Sha1 => 20,
        ChecksumAlgorithm::Sha256 => 32,
    };
    let sum = BASE64_STANDARD.decode(sum.trim()).unwrap_or_default();
    if sum.len() == bytes {
        Ok((algorithm, sum))
    } else {
        Err(Problem::invalid(format!(
            "Upload-Checksum must hold the {bytes} bytes of a {name} in base64."
        )))
    }
}

/// 460: the body is not what was announced.
fn mismatch() -> Problem {
    let status = StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST);
    Problem::new(
        status,
        "checksum_mismatch",
        "The bytes are not those of the checksum.",
    )
    .detail("None of this body was kept.")
    .hint("Send it again from the same offset.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a value"));
        headers
    }

    #[test]
    fn a_body_is_what_its_header_or_trailer_says() {
        // SHA-1 and CRC-32C of "hello world".
        for value in ["sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "crc32c yZRlqg=="] {
            let check = |bytes: &[u8]| {
                let mut check = Check::of(&with(UPLOAD_CHECKSUM, value)).ok().flatten();
                let check = check.as_mut().expect("asked for");
                check.update(bytes);
                let check = std::mem::replace(
                    check,
                    Check {
                        hashers: Hashers::default(),
                        expected: Expected::Trailer,
                    },
                );
                check.verify(None).map_err(|p| p.status().as_u16())
            };
            assert_eq!(check(b"hello world"), Ok(()), "{value}");
            assert_eq!(check(b"hello worlt"), Err(460), "{value}");
            let mut late = Check::of(&with("trailer", "X-Other, upload-checksum"))
                .ok()
                .flatten()
                .expect("announced");
            late.update(b"hello world");
            let trailers = with(UPLOAD_CHECKSUM, value);
            assert!(late.verify(Some(&trailers)).is_ok(), "{value}");
        }
        let late = Check::of(&with("trailer", UPLOAD_CHECKSUM)).ok().flatten();
        let refused = late.expect("announced").verify(None);
        assert_eq!(refused.map_err(|p| p.status().as_u16()), Err(400));
    }

    #[test]
    fn nonsense_is_refused_before_the_body() {
        for bad in ["foo99 eA==", "sha1", "sha1 eA==", "sha1 !!", "", "md5"] {
            let refused = Check::of(&with(UPLOAD_CHECKSUM, bad)).map(|_| ());
            assert_eq!(refused.map_err(|p| p.status().as_u16()), Err(400), "{bad}");
        }
        assert!(matches!(Check::of(&HeaderMap::new()), Ok(None)));
    }
}
