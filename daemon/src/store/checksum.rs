//! The checksums that S3 clients send and ask for.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// An `x-amz-checksum-*` algorithm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ChecksumAlgorithm {
    /// CRC-32 (ISO-HDLC).
    #[serde(rename = "CRC32")]
    Crc32,
    /// CRC-32C (Castagnoli).
    #[serde(rename = "CRC32C")]
    Crc32c,
    /// CRC-64/NVME.
    #[serde(rename = "CRC64NVME")]
    Crc64Nvme,
    /// SHA-1.
    #[serde(rename = "SHA1")]
    Sha1,
    /// SHA-256.
    #[serde(rename = "SHA256")]
    Sha256,
}

impl ChecksumAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 5] = [
        Self::Crc32,
        Self::Crc32c,
        Self::Crc64Nvme,
        Self::Sha1,
        Self::Sha256,
    ];

    /// As S3 writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// Reads S3's name, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(text))
    }
}

/// Whether a checksum is of all bytes or of the parts' checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum ChecksumKind {
    /// Of all bytes.
    #[default]
    #[serde(rename = "FULL_OBJECT")]
    FullObject,
    /// Of the concatenated checksums of the parts.
    #[serde(rename = "COMPOSITE")]
    Composite,
}

/// One part of a multipart object, as `partNumber` reads and GetObjectAttributes need it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSummary {
    /// Its number at upload.
    pub number: u32,
    /// Its size.
    pub size_bytes: u64,
    /// Its checksums in base64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<ChecksumAlgorithm, String>,
}

/// The checksums stored with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksums {
    /// Base64 by algorithm; a composite one ends in `-` and the number of parts.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<ChecksumAlgorithm, String>,
    /// Of all bytes, or of the parts.
    #[serde(default)]
    pub kind: ChecksumKind,
    /// The parts of a multipart object, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartSummary>,
}

enum Hasher {
    Crc(crc_fast::Digest, usize),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

/// Computes several checksums over one stream of bytes.
#[derive(Default)]
pub struct Hashers(Vec<(ChecksumAlgorithm, Hasher)>);

impl Hashers {
    /// For these algorithms; a repeated one counts once.
    pub fn new(algorithms: &[ChecksumAlgorithm]) -> Self {
        let mut unique = algorithms.to_vec();
        unique.sort_unstable();
        unique.dedup();
        let crc = |algorithm, bytes| Hasher::Crc(crc_fast::Digest::new(algorithm), bytes);
        let hasher = |algorithm| match algorithm {
            ChecksumAlgorithm::Crc32 => crc(crc_fast::CrcAlgorithm::Crc32IsoHdlc, 4),
            ChecksumAlgorithm::Crc32c => crc(crc_fast::CrcAlgorithm::Crc32Iscsi, 4),
            ChecksumAlgorithm::Crc64Nvme => crc(crc_fast::CrcAlgorithm::Crc64Nvme, 8),
            ChecksumAlgorithm::Sha1 => Hasher::Sha1(sha1::Sha1::new()),
            ChecksumAlgorithm::Sha256 => Hasher::Sha256(sha2::Sha256::new()),
        };
        Self(
            unique
                .into_iter()
                .map(|algorithm| (algorithm, hasher(algorithm)))
                .collect(),
        )
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for (_, hasher) in &mut self.0 {
            match hasher {
                Hasher::Crc(digest, _) => digest.update(bytes),
                Hasher::Sha1(digest) => digest.update(bytes),
                Hasher::Sha256(digest) => digest.update(bytes),
            }
        }
    }

    /// The checksums, big-endian bytes in base64 as S3 carries them.
    pub fn finish(self) -> BTreeMap<ChecksumAlgorithm, String> {
        let value = |hasher| match hasher {
            Hasher::Crc(digest, bytes) => digest.finalize().to_be_bytes()[8 - bytes..].to_vec(),
            Hasher::Sha1(digest) => digest.finalize().to_vec(),
            Hasher::Sha256(digest) => digest.finalize().to_vec(),
        };
        self.0
            .into_iter()
            .map(|(algorithm, hasher)| (algorithm, BASE64_STANDARD.encode(value(hasher))))
            .collect()
    }
}

/// The checksum of a multipart object from those of its parts; `None` when a part lacks one.
pub fn combine(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumKind,
    parts: &[PartSummary],
) -> Option<String> {
    match kind {
        ChecksumKind::Composite => {
            let mut hashers = Hashers::new(&[algorithm]);
            for part in parts {
                hashers.update(&BASE64_STANDARD.decode(part.values.get(&algorithm)?).ok()?);
            }
            let value = hashers.finish().remove(&algorithm)?;
            Some(format!("{value}-{}", parts.len()))
        }
        ChecksumKind::FullObject => {
            let (crc, bytes) = match algorithm {
                ChecksumAlgorithm::Crc32 => (crc_fast::CrcAlgorithm::Crc32IsoHdlc, 4),
                ChecksumAlgorithm::Crc32c => (crc_fast::CrcAlgorithm::Crc32Iscsi, 4),
                ChecksumAlgorithm::Crc64Nvme => (crc_fast::CrcAlgorithm::Crc64Nvme, 8),
                ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => return None,
            };
            let mut whole: Option<u64> = None;
            for part in parts {
                let value = BASE64_STANDARD.decode(part.values.get(&algorithm)?).ok()?;
                let value = value
                    .iter()
                    .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
                whole = Some(match whole {
                    None => value,
                    Some(before) => crc_fast::checksum_combine(crc, before, value, part.size_bytes),
                });
            }
            Some(BASE64_STANDARD.encode(&whole.unwrap_or(0).to_be_bytes()[8 - bytes..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_are_those_of_the_standards() {
        let mut hashers = Hashers::new(&ChecksumAlgorithm::ALL);
        hashers.update(b"1234");
        hashers.update(b"56789");
        let hex = |text: &String| hex::encode(BASE64_STANDARD.decode(text).expect("base64"));
        let values: Vec<_> = hashers.finish().values().map(hex).collect();
        assert_eq!(values[0], "cbf43926");
        assert_eq!(values[1], "e3069283");
        assert_eq!(values[2], "ae8b14860a799888");
        assert_eq!(values[3], "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        assert_eq!(
            values[4],
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"
        );
    }

    #[test]
    fn full_object_crc_combines_from_parts() {
        let of = |bytes: &[u8]| {
            let mut hashers = Hashers::new(&[
                ChecksumAlgorithm::Crc64Nvme,
                ChecksumAlgorithm::Crc32,
                ChecksumAlgorithm::Crc32c,
            ]);
            hashers.update(bytes);
            hashers.finish()
        };
        let part = |number, bytes: &[u8]| PartSummary {
            number,
            size_bytes: bytes.len() as u64,
            values: of(bytes),
        };
        let parts = [part(1, b"hello "), part(2, b"wide "), part(3, b"world")];
        for (algorithm, value) in of(b"hello wide world") {
            assert_eq!(
                combine(algorithm, ChecksumKind::FullObject, &parts),
                Some(value),
                "{algorithm:?}"
            );
        }
    }
}
