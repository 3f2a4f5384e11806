//! From the path of a request to a bucket and a key: decoded once, nothing normalised.
//!
//! A key may hold `//`, begin with `/`, or be `..`: it names a row, never a file, so no such part means anything here.
//! Take the raw path of the request's URI; a router's own captures may have been decoded or merged.

use percent_encoding::percent_decode_str;

use super::problem::Problem;
use crate::kernel::{BucketName, ObjectKey};

/// Splits `{bucket}/{key…}`, both percent-encoded, as it stands behind a door's prefix.
///
/// # Errors
/// 400 that says which part is wrong and why.
pub fn bucket_and_key(raw: &str) -> Result<(BucketName, ObjectKey), Problem> {
    let (bucket, key) = raw.split_once('/').unwrap_or((raw, ""));
    Ok((decode_bucket(bucket)?, decode_key(key)?))
}

/// The bucket and key of a raw path behind `prefix` (`/-/file/`); `None` when it does not begin so.
pub fn behind<'a>(raw_path: &'a str, prefix: &str) -> Option<&'a str> {
    raw_path.strip_prefix(prefix)
}

/// A percent-encoded bucket name.
///
/// # Errors
/// 400.
pub fn decode_bucket(raw: &str) -> Result<BucketName, Problem> {
    Ok(decode(raw, "bucket name")?.parse::<BucketName>()?)
}

/// A percent-encoded key; a `+` is a plus.
///
/// # Errors
/// 400.
pub fn decode_key(raw: &str) -> Result<ObjectKey, Problem> {
    Ok(decode(raw, "key")?.parse::<ObjectKey>()?)
}

fn decode(raw: &str, what: &str) -> Result<String, Problem> {
    let bytes = raw.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let mut signs = raw.match_indices('%').map(|(at, _)| at);
    if let Some(at) = signs.find(|at| !hex(at + 1) || !hex(at + 2)) {
        return Err(Problem::invalid(format!(
            "the {what} in the path has a `%` at byte {at} that two hexadecimal digits do not follow"
        ))
        .hint("Write a percent sign itself as %25."));
    }
    let text = percent_decode_str(raw).decode_utf8();
    text.map(std::borrow::Cow::into_owned).map_err(|error| {
        Problem::invalid(format!(
            "the {what} in the path is not UTF-8 at byte {}",
            error.valid_up_to()
        ))
        .hint("Encode names as UTF-8, then percent-encode the bytes.")
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_come_through_unchanged() {
        for (raw, key) in [
            ("films/a/b.mp4", "a/b.mp4"),
            ("films//a//b/", "/a//b/"),
            ("films/..", ".."),
            ("films/a/../../b", "a/../../b"),
            ("films/a%2F..%2Fb", "a/../b"),
            ("films/f%C3%BCr%20elise%3F.mp3", "für elise?.mp3"),
            ("films/a+b", "a+b"),
            ("films/100%25", "100%"),
        ] {
            let (bucket, found) = bucket_and_key(raw).unwrap();
            assert_eq!((bucket.as_str(), found.as_str()), ("films", key), "{raw}");
        }
        assert_eq!(behind("/-/file/a/b", "/-/file/"), Some("a/b"));
    }

    #[test]
    fn what_cannot_be_a_name_is_refused_with_its_reason() {
        for (raw, reason) in [
            ("films", "at least one character"),
            ("films/", "at least one character"),
            ("Films/a", "lower-case"),
            ("films/a%zz", "byte 1"),
            ("films/a%4", "byte 1"),
            ("films/a%", "byte 1"),
            ("films/ab%ff", "not UTF-8 at byte 2"),
            ("films/a%00", "NUL"),
            (&format!("films/{}", "k".repeat(1025)), "1024 bytes"),
        ] {
            let problem = bucket_and_key(raw).unwrap_err();
            assert_eq!(problem.status(), 400, "{raw}");
            let detail = problem.wire().detail.clone().unwrap();
            assert!(detail.contains(reason), "{raw}: {detail}");
        }
    }

    proptest! {
        #[test]
        fn every_key_survives_the_encoding_of_the_clients(key in "\\PC{1,60}") {
            let raw = format!("films/{}", nebula_api::routes::encode_key(&key));
            let (_, found) = bucket_and_key(&raw).unwrap();
            prop_assert_eq!(found.as_str(), key);
        }
    }
}
