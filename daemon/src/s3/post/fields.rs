//! From the fields of a form to the head of a PUT.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::Tagging;
use s3s::xml::{Deserialize as _, Deserializer};
use s3s::{S3ErrorCode, S3Result};

use super::form::Form;
use crate::kernel::BucketName;
use crate::s3::access::object_key;
use crate::s3::error::say;

/// Fields that are headers of the object under the same name.
const SAME: [&str; 13] = [
    "cache-control",
    "content-type",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
    "x-amz-security-token",
    "x-amz-expected-bucket-owner",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-checksum-algorithm",
    "content-md5",
];
/// And those that begin like this; no other field becomes a header, above all none that would make the request another one.
const SAME_PREFIXES: [&str; 4] = [
    "x-amz-meta-",
    "x-amz-checksum-",
    "x-amz-server-side-encryption",
    "x-amz-object-lock-",
];

/// What a form stores: where, and the head of the request that does it.
pub(super) struct Target {
    pub(super) key: String,
    pub(super) parts: Parts,
}

/// Reads where a form goes and with which headers.
///
/// # Errors
/// `InvalidArgument` without a key or with a value that no header can hold; `MalformedXML` for tags that are none.
pub(super) fn object(form: &Form, bucket: &BucketName, asked: &Parts) -> S3Result<Target> {
    let key = form.field("key").filter(|key| !key.is_empty()).ok_or_else(|| {
        say(
            S3ErrorCode::UserKeyMustBeSpecified,
            "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.",
        )
    })?;
    let key = key.replace("${filename}", plain(&form.filename));
    object_key(&key)?;
    let uri = format!("/{bucket}/{}", utf8_percent_encode(&key, NON_ALPHANUMERIC));
    let request = Request::builder().method(Method::PUT).uri(uri);
    let (mut parts, ()) = request
        .body(())
        .map_err(|_| say(S3ErrorCode::InvalidURI, "the key cannot be addressed"))?
        .into_parts();
    parts.headers = headers(form)?;
    // A name without a dot is never one of a bucket below a domain.
    parts
        .headers
        .insert(header::HOST, HeaderValue::from_static("localhost"));
    for name in [header::REFERER, header::USER_AGENT, header::ORIGIN] {
        if let Some(value) = asked.headers.get(&name) {
            parts.headers.insert(name, value.clone());
        }
    }
    parts.extensions = asked.extensions.clone();
    Ok(Target { key, parts })
}

/// The last part of a file's name: some browsers send the whole path.
fn plain(filename: &str) -> &str {
    filename.rsplit(['/', '\\']).next().unwrap_or_default()
}

fn headers(form: &Form) -> S3Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &form.fields {
        let value = match name.as_str() {
            "acl" => (HeaderName::from_static("x-amz-acl"), value.clone()),
            "tagging" => (HeaderName::from_static("x-amz-tagging"), tags(value)?),
            same if SAME.contains(&same) || SAME_PREFIXES.iter().any(|p| same.starts_with(p)) => {
                let name = same.parse().map_err(|_| unfit(same))?;
                (name, value.clone())
            }
            _ => continue,
        };
        let (name, value) = value;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| unfit(name.as_str()))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn unfit(name: &str) -> s3s::S3Error {
    let name: String = name.chars().take(80).collect();
    say(
        S3ErrorCode::InvalidArgument,
        format!("the field `{name}` holds what no header can hold"),
    )
}

/// The document of the field `tagging` as the query string of `x-amz-tagging`.
fn tags(document: &str) -> S3Result<String> {
    let malformed = |_| {
        say(
            S3ErrorCode::MalformedXML,
            "the field `tagging` is no document of tags",
        )
    };
    let mut reader = Deserializer::new(document.as_bytes());
    let tagging = Tagging::deserialize(&mut reader).map_err(malformed)?;
    reader.expect_eof().map_err(malformed)?;
    let encode = |text: Option<String>| {
        utf8_percent_encode(&text.unwrap_or_default(), NON_ALPHANUMERIC).to_string()
    };
    let pairs = tagging
        .tag_set
        .into_iter()
        .map(|tag| format!("{}={}", encode(tag.key), encode(tag.value)));
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn of(fields: &[(&str, &str)], filename: &str) -> Result<Target, String> {
        let form = Form {
            fields: fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            filename: filename.to_owned(),
        };
        let asked = Request::post("/films")
            .header("referer", "https://a/")
            .body(())
            .unwrap();
        object(&form, &"films".parse().unwrap(), &asked.into_parts().0)
            .map_err(|error| error.code().as_str().to_owned())
    }

    #[test]
    fn fields_become_the_headers_of_a_put_and_no_other_request() {
        let target = of(
            &[
                ("key", "in/${filename}"),
                ("acl", "public-read"),
                ("content-type", "text/plain"),
                ("x-amz-meta-a", "ü"),
                ("x-amz-copy-source", "/films/secret"),
                ("x-amz-acl", "public-read-write"),
                ("authorization", "AWS4-HMAC-SHA256 …"),
                ("host", "elsewhere"),
                ("tagging", "<Tagging><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag></TagSet></Tagging>"),
            ],
            "C:\\fakepath\\a b?.txt",
        )
        .unwrap();
        assert_eq!(target.key, "in/a b?.txt");
        assert_eq!(target.parts.uri.path(), "/films/in%2Fa%20b%3F%2Etxt");
        assert_eq!(target.parts.uri.query(), None);
        let header = |name: &str| {
            target
                .parts
                .headers
                .get(name)
                .map(|v| v.as_bytes().to_vec())
        };
        assert_eq!(header("x-amz-acl").unwrap(), b"public-read");
        assert_eq!(header("x-amz-tagging").unwrap(), b"a%20b=1%262");
        assert_eq!(header("x-amz-meta-a").unwrap(), "ü".as_bytes());
        assert_eq!(header("referer").unwrap(), b"https://a/");
        assert_eq!(header("host").unwrap(), b"localhost");
        assert!(header("x-amz-copy-source").is_none() && header("authorization").is_none());
    }

    #[test]
    fn what_cannot_be_stored_is_refused() {
        for (fields, code) in [
            (vec![("acl", "private")], "UserKeyMustBeSpecified"),
            (vec![("key", "")], "UserKeyMustBeSpecified"),
            (vec![("key", "k"), ("tagging", "<Tagging>")], "MalformedXML"),
            (
                vec![("key", "k"), ("x-amz-meta-a", "a\r\nb")],
                "InvalidArgument",
            ),
            (
                vec![("key", "k"), ("x-amz-meta-ä b", "a")],
                "InvalidArgument",
            ),
        ] {
            assert_eq!(of(&fields, "f").err().as_deref(), Some(code), "{fields:?}");
        }
        assert_eq!(
            of(&[("key", &"k".repeat(1025))], "").err().as_deref(),
            Some("KeyTooLongError")
        );
    }
}
