//! `Upload-Metadata`: keys with base64 values, and what they say about the object.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::http::Problem;
use crate::kernel::{BucketName, ObjectKey};
use crate::store::NewLane;

/// Longest header that is read; far above what a key of 1,024 bytes needs.
const METADATA_BYTES_MAX: usize = 16 * 1024;

/// What a client said about the object to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    /// `bucket`; `None` means the inbox.
    pub(super) bucket: Option<BucketName>,
    /// `filename`; `None` means the upload's id.
    pub(super) key: Option<ObjectKey>,
    /// `filetype`.
    pub(super) content_type: Option<String>,
    /// `mtime`: when the file was changed, in seconds since the epoch with a fraction.
    pub(super) mtime: Option<String>,
    /// `lane-of`, `lane-start` and `lane-total`, of a partial upload that shares its file with others.
    pub(super) lane: Option<NewLane>,
}

/// Bounds of `lane-of`: long enough to be random, short enough for a row.
const LANE_NAME_CHARS: std::ops::RangeInclusive<usize> = 16..=64;

impl Metadata {
    /// Reads the header (tus 1.0, "Upload-Metadata").
    ///
    /// # Errors
    /// 400 for a repeated or empty key, a value that is not base64, and a bucket or key that is no name.
    pub(super) fn parse(header: Option<&str>) -> Result<Self, Problem> {
        let Some(header) = header else {
            return Ok(Self::default());
        };
        if header.len() > METADATA_BYTES_MAX {
            return Err(Problem::invalid(format!(
                "Upload-Metadata is longer than {METADATA_BYTES_MAX} bytes."
            )));
        }
        let pairs = pairs(header)?;
        let text = |key: &str| match pairs.get(key) {
            None => Ok(None),
            Some(value) if value.is_empty() => Ok(None),
            Some(value) => {
                let text = std::str::from_utf8(value);
                text.map(Some)
                    .map_err(|_| Problem::invalid(format!("The metadata `{key}` is not UTF-8.")))
            }
        };
        let lane = match [text("lane-of")?, text("lane-start")?, text("lane-total")?] {
            [Some(of), Some(start), Some(total)] => Some(NewLane {
                of: lane_name(of)?,
                start: lane_bytes("lane-start", start)?,
                total: lane_bytes("lane-total", total)?,
            }),
            [None, None, None] => None,
            _ => {
                return Err(Problem::invalid(
                    "A lane needs `lane-of`, `lane-start` and `lane-total` together.",
                ));
            }
        };
        let content_type = text("filetype")?.filter(|value| is_content_type(value));
        Ok(Self {
            bucket: text("bucket")?.map(str::parse).transpose()?,
            key: text("filename")?.map(str::parse).transpose()?,
            content_type: content_type.map(str::to_owned),
            mtime: text("mtime")?
                .filter(|value| is_time(value))
                .map(str::to_owned),
            lane,
        })
    }
}

fn lane_name(text: &str) -> Result<String, Problem> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if LANE_NAME_CHARS.contains(&text.len()) && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Err(Problem::invalid(
        "The metadata `lane-of` must be 16 to 64 of A-Z, a-z, 0-9, `-` and `_`.",
    ))
}

fn lane_bytes(name: &str, text: &str) -> Result<u64, Problem> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits);
    number.ok_or_else(|| {
        Problem::invalid(format!("The metadata `{name}` must be a number of bytes."))
    })
}

fn pairs(header: &str) -> Result<BTreeMap<&str, Vec<u8>>, Problem> {
    let mut pairs = BTreeMap::new();
    if header.trim().is_empty() {
        return Ok(pairs);
    }
    for pair in header.split(',') {
        let pair = pair.trim();
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        if key.is_empty() {
            return Err(Problem::invalid("Upload-Metadata has an empty key."));
        }
        let value = BASE64_STANDARD.decode(value.trim());
        let value =
            value.map_err(|_| Problem::invalid(format!("The metadata `{key}` is not base64.")))?;
        if pairs.insert(key, value).is_some() {
            return Err(Problem::invalid(format!(
                "The metadata `{key}` is there twice."
            )));
        }
    }
    Ok(pairs)
}

/// Whether the text is a number of seconds, with a fraction or without; anything else is dropped.
fn is_time(text: &str) -> bool {
    text.len() <= 32
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && text.parse::<f64>().is_ok()
}

/// Whether the text can stand in a `Content-Type` header; anything else is dropped, as a player's guess by extension is better.
fn is_content_type(text: &str) -> bool {
    text.len() <= 255 && text.contains('/') && text.bytes().all(|b| (0x20..0x7f).contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> Result<Metadata, u16> {
        let header: Vec<String> = pairs
            .iter()
            .map(|(key, value)| format!("{key} {}", BASE64_STANDARD.encode(value)))
            .collect();
        Metadata::parse(Some(&header.join(","))).map_err(|problem| problem.status().as_u16())
    }

    #[test]
    fn metadata_names_the_object() {
        let whole = of(&[
            ("bucket", "films"),
            ("filename", "a/wörld.mkv"),
            ("filetype", "video/x-matroska"),
            ("mtime", "1700000000.25"),
        ])
        .expect("valid");
        assert_eq!(whole.mtime.as_deref(), Some("1700000000.25"));
        for no_time in ["yesterday", "-1", "1e9", "1.2.3"] {
            assert_eq!(of(&[("mtime", no_time)]).map(|m| m.mtime), Ok(None));
        }
        assert_eq!(
            whole.bucket.map(|b| b.to_string()).as_deref(),
            Some("films")
        );
        assert_eq!(
            whole.key.map(|k| k.to_string()).as_deref(),
            Some("a/wörld.mkv")
        );
        assert_eq!(whole.content_type.as_deref(), Some("video/x-matroska"));
        assert_eq!(
            Metadata::parse(None).map_err(|_| ()),
            Ok(Metadata::default())
        );
        assert_eq!(
            Metadata::parse(Some("is_confidential")).map_err(|_| ()),
            Ok(Metadata::default())
        );
    }

    #[test]
    fn bad_metadata_is_refused() {
        assert_eq!(of(&[("bucket", "A")]), Err(400));
        assert_eq!(of(&[("filename", &"k".repeat(1025))]), Err(400));
        for bad in [
            "a Zm9v,a YmFy",
            "a Zm9v,, b YmFy",
            "a !!notbase64!!",
            "filename /w==",
            "lane-of bmFtZW5hbWVuYW1lbmFtZQ==",
            "lane-of eA==,lane-start MA==,lane-total MTA=",
            "lane-of bmFtZW5hbWVuYW1lbmFtZQ==,lane-start LTE=,lane-total MTA=",
        ] {
            assert!(Metadata::parse(Some(bad)).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_name_that_can_be_arrives_as_it_was(key in "[a-z/é ü%+,]{1,40}", noise in "[a-z]{1,8}") {
            let noise = format!("x-{noise}");
            let read = of(&[(noise.as_str(), "1"), ("filename", &key)]);
            let expected: Result<ObjectKey, _> = key.parse();
            match (read, expected) {
                (Ok(read), Ok(expected)) => proptest::prop_assert_eq!(read.key, Some(expected)),
                (read, expected) => proptest::prop_assert!(read.is_err() && expected.is_err()),
            }
        }

        #[test]
        fn no_header_panics(header in "[ -~]{0,120}", keys in proptest::collection::vec("[a-z]{0,8} [A-Za-z0-9+/]{0,16}={0,2}", 0..5)) {
            let _ = Metadata::parse(Some(&header));
            let _ = Metadata::parse(Some(&keys.join(",")));
        }
    }
}
