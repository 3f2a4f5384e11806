//! What stands in front of `s3s` 0.14.1, hole by hole; to be taken away piece by piece when a newer version closes them.
//!
//! | hole | closed in |
//! |---|---|
//! | `x-amz-*` headers that nobody signed are honoured | [`signature`] |
//! | a chunk of an aws-chunked body is buffered whole | [`chunks`] |
//! | a POST form is read into memory | [`super::post`], which streams it and hands on a PUT |
//! | signature version 2 is always on | [`signature`] |
//! | a presigned URL may live for ever | [`signature`] |
//! | without an auth provider everything is open | [`super::S3Door::new`] always sets one |
//! | the region of the credential scope is not looked at | [`signature`] |
//! | `aws-chunked` is stored as content encoding | [`content_encoding`] |
//! | each refusal is logged as an error with the request's debug output | the filter of [`crate::telemetry`]; the door logs each request itself |
//! | a preflight is answered 501 | [`super::cors`], before the guard |

mod chunks;
mod signature;

use http::header;
use http::request::Parts;
use s3s::{S3ErrorCode, S3Result};
use time::format_description::well_known::Rfc2822;

pub(super) use chunks::{ChunkError, Chunked, Framing};
pub(super) use signature::{Claim, PRESIGNED_SECONDS_MAX, claim, parameters};

use super::error::say;

/// Refuses what must not reach `s3s` and says who claims to have signed the request.
pub(super) fn check(request: &Parts, regions: &[&str]) -> S3Result<Claim> {
    if let Some(length) = request.headers.get(header::CONTENT_LENGTH)
        && length
            .to_str()
            .ok()
            .and_then(|l| l.parse::<u64>().ok())
            .is_none()
    {
        return Err(say(
            S3ErrorCode::InvalidArgument,
            "Content-Length is not a number",
        ));
    }
    claim(request, regions)
}

/// Writes the `Date` of a signed request where `s3s` looks for it (AWS Signature Version 4: `x-amz-date`, else `date`).
pub(super) fn date(request: &mut Parts) {
    let headers = &mut request.headers;
    if headers.contains_key("x-amz-date") || !headers.contains_key(header::AUTHORIZATION) {
        return;
    }
    let date = headers
        .get(header::DATE)
        .and_then(|date| date.to_str().ok());
    let read = |text: &str| {
        let of_mail = || time::OffsetDateTime::parse(text, &Rfc2822).ok();
        let of_http = httpdate::parse_http_date(text).ok();
        of_http.map(time::OffsetDateTime::from).or_else(of_mail)
    };
    let Some(date) = date.and_then(read) else {
        return;
    };
    let date = date.to_offset(time::UtcOffset::UTC);
    let text = format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        date.hour(),
        date.minute(),
        date.second()
    );
    if let Ok(value) = http::HeaderValue::from_str(&text) {
        headers.insert("x-amz-date", value);
    }
}

/// How the body is framed, when it is aws-chunked.
pub(super) fn framing(request: &Parts) -> Option<Framing> {
    let sha256 = request.headers.get("x-amz-content-sha256")?.to_str().ok()?;
    match sha256 {
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Some(Framing::Unsigned),
        _ if sha256.starts_with("STREAMING-") => Some(Framing::Signed),
        _ => None,
    }
}

/// A content encoding without `aws-chunked`, which is of the transfer and not of the object.
pub(super) fn content_encoding(sent: Option<&str>) -> Option<String> {
    let codings = sent?.split(',').map(str::trim);
    let kept: Vec<_> = codings
        .filter(|c| !c.is_empty() && !c.eq_ignore_ascii_case("aws-chunked"))
        .collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn aws_chunked_is_no_encoding_of_the_object() {
        assert_eq!(content_encoding(Some("aws-chunked")), None);
        assert_eq!(
            content_encoding(Some("AWS-chunked, gzip")).as_deref(),
            Some("gzip")
        );
        assert_eq!(
            content_encoding(Some("gzip,br")).as_deref(),
            Some("gzip, br")
        );
        assert_eq!(content_encoding(None), None);
    }

    #[test]
    fn a_date_serves_where_no_other_stands() {
        let dated = |headers: &[(&'static str, &str)]| {
            let mut request = http::Request::get("/");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let mut parts = request.body(()).unwrap().into_parts().0;
            date(&mut parts);
            parts
                .headers
                .remove("x-amz-date")
                .map(|v| v.to_str().unwrap().to_owned())
        };
        let (signed, now) = (
            ("authorization", "AWS4"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        );
        assert_eq!(dated(&[signed, now]).as_deref(), Some("19941106T084937Z"));
        assert_eq!(
            dated(&[signed, now, ("x-amz-date", "x")]).as_deref(),
            Some("x")
        );
        let of_mail = ("date", "Sun, 06 Nov 1994 09:49:37 +0100");
        assert_eq!(
            dated(&[signed, of_mail]).as_deref(),
            Some("19941106T084937Z")
        );
        let of_nowhere = ("date", "Sun, 06 Nov 1994 08:49:37 -0000");
        assert_eq!(
            dated(&[signed, of_nowhere]).as_deref(),
            Some("19941106T084937Z")
        );
        assert_eq!(dated(&[now]), None);
        assert_eq!(dated(&[signed, ("date", "today")]), None);
    }

    #[test]
    fn streaming_bodies_are_told_apart() {
        let of = |value: &str| {
            framing(
                &http::Request::put("/")
                    .header("x-amz-content-sha256", value)
                    .body(())
                    .unwrap()
                    .into_parts()
                    .0,
            )
        };
        assert_eq!(
            of("STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
            Some(Framing::Unsigned)
        );
        assert_eq!(
            of("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
            Some(Framing::Signed)
        );
        assert_eq!(
            of("STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
            Some(Framing::Signed)
        );
        assert_eq!(of("UNSIGNED-PAYLOAD"), None);
    }
}
