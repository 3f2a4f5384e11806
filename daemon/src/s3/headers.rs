//! System headers, user metadata and the tagging header of an object.

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use s3s::dto::Metadata;
use s3s::{S3ErrorCode, S3Result};

use super::error::say;
use super::guard::content_encoding;
use crate::kernel::limits::{OBJECT_TAGS_MAX, USER_METADATA_BYTES_MAX};
use crate::store::{ObjectHeaders, Tags};

/// Longest tag key, in characters (Amazon S3).
const TAG_KEY_CHARS_MAX: usize = 128;
/// Longest tag value, in characters (Amazon S3).
const TAG_VALUE_CHARS_MAX: usize = 256;
/// What S3 says of an object whose type nobody told.
pub(super) const DEFAULT_CONTENT_TYPE: &str = "binary/octet-stream";

/// What a writing request says about the object; `metadata` is decoded by `s3s` already.
///
/// # Errors
/// `MetadataTooLarge`.
pub(super) fn of(headers: &HeaderMap, metadata: Option<Metadata>) -> S3Result<ObjectHeaders> {
    let text = |name: &str| {
        let value = headers
            .get(name)
            .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned());
        value.filter(|v| !v.is_empty())
    };
    let user: std::collections::BTreeMap<_, _> = metadata.into_iter().flatten().collect();
    let bytes: usize = user
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > USER_METADATA_BYTES_MAX {
        return Err(say(
            S3ErrorCode::MetadataTooLarge,
            format!("user metadata may hold {USER_METADATA_BYTES_MAX} bytes and holds {bytes}"),
        ));
    }
    Ok(ObjectHeaders {
        content_type: text("content-type"),
        content_encoding: content_encoding(text("content-encoding").as_deref()),
        content_language: text("content-language"),
        content_disposition: text("content-disposition"),
        cache_control: text("cache-control"),
        expires: text("expires"),
        website_redirect: text("x-amz-website-redirect-location"),
        user,
    })
}

/// The tags of an `x-amz-tagging` header: a query string.
pub(super) fn tags(header: Option<&str>) -> S3Result<Tags> {
    let decode = |text: &str| {
        percent_decode_str(&text.replace('+', " "))
            .decode_utf8_lossy()
            .into_owned()
    };
    let pairs = header
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty());
    checked(
        pairs
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (decode(key), decode(value))),
    )
}

/// Tags within the bounds of S3.
pub(super) fn checked(pairs: impl Iterator<Item = (String, String)>) -> S3Result<Tags> {
    let invalid = |text: String| say(S3ErrorCode::InvalidTag, text);
    let mut tags = Tags::new();
    for (key, value) in pairs {
        if key.is_empty() || key.chars().count() > TAG_KEY_CHARS_MAX {
            return Err(invalid(format!(
                "a tag key has 1 to {TAG_KEY_CHARS_MAX} characters"
            )));
        }
        if value.chars().count() > TAG_VALUE_CHARS_MAX {
            return Err(invalid(format!(
                "a tag value has at most {TAG_VALUE_CHARS_MAX} characters"
            )));
        }
        if tags.insert(key.clone(), value).is_some() {
            return Err(invalid(format!("the tag `{key}` is given twice")));
        }
    }
    Ok(tags)
}

/// Tags of an object, which may have fewer than a bucket.
pub(super) fn of_object(tags: Tags) -> S3Result<Tags> {
    if tags.len() > OBJECT_TAGS_MAX {
        return Err(say(
            S3ErrorCode::InvalidTag,
            format!("an object has at most {OBJECT_TAGS_MAX} tags"),
        ));
    }
    Ok(tags)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn tags_of_a_header_are_a_query_string() {
        let read = tags(Some("a=1&b+c=%C3%A9&d")).unwrap();
        assert_eq!(
            read.into_iter().collect::<Vec<_>>(),
            [
                ("a".into(), "1".into()),
                ("b c".into(), "é".into()),
                ("d".into(), String::new())
            ]
        );
        assert!(tags(None).unwrap().is_empty());
        assert!(tags(Some("a=1&a=2")).is_err() && tags(Some("=x")).is_err());
        assert!(tags(Some(&format!("{}=1", "k".repeat(129)))).is_err());
        assert!(tags(Some(&format!("k={}", "v".repeat(257)))).is_err());
    }

    #[test]
    fn metadata_is_bounded() {
        let metadata = |n: usize| Some(Metadata::from([("a".to_owned(), "v".repeat(n))]));
        assert!(of(&HeaderMap::new(), metadata(2047)).is_ok());
        assert!(of(&HeaderMap::new(), metadata(2048)).is_err());
    }
}
