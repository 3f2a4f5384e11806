//! The protocol's request headers as values, and its answer headers.

use axum::http::{HeaderMap, HeaderValue, header};
use time::OffsetDateTime;
use time::macros::format_description;

use super::problem;
use crate::http::Problem;
use crate::kernel::Millis;

/// The media type of every body that carries upload bytes.
pub(super) const OFFSET_STREAM: &str = "application/offset+octet-stream";

/// One header as text; `None` when absent.
pub(super) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Problem> {
    let read = |value: &'h HeaderValue| {
        value
            .to_str()
            .map_err(|_| Problem::invalid(format!("The header {name} is not ASCII text.")))
    };
    headers.get(name).map(read).transpose()
}

/// A header that is a count of bytes: digits only.
pub(super) fn bytes(headers: &HeaderMap, name: &str) -> Result<Option<u64>, Problem> {
    let Some(value) = text(headers, name)? else {
        return Ok(None);
    };
    let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let invalid = || {
        Problem::invalid(format!(
            "{name} is `{value}`: it must be a number of bytes."
        ))
    };
    if !is_number {
        return Err(invalid());
    }
    value.parse().map(Some).map_err(|_| invalid())
}

/// `Upload-Length` and `Upload-Defer-Length` of a creation: exactly one of them.
pub(super) fn declared_length(headers: &HeaderMap, size_max: u64) -> Result<Option<u64>, Problem> {
    let length = bytes(headers, "upload-length")?;
    match (length, text(headers, "upload-defer-length")?) {
        (Some(length), None) if length > size_max => Err(problem::too_large(size_max)),
        (Some(length), None) => Ok(Some(length)),
        (None, Some("1")) => Ok(None),
        (None, Some(other)) => Err(Problem::invalid(format!(
            "Upload-Defer-Length is `{other}`: it must be 1."
        ))),
        (Some(_), Some(_)) => Err(Problem::invalid(
            "Upload-Length and Upload-Defer-Length exclude each other.",
        )),
        (None, None) => Err(Problem::invalid(
            "Upload-Length or Upload-Defer-Length is needed.",
        )),
    }
}

/// Whether the body carries upload bytes.
pub(super) fn is_offset_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        value
            .as_bytes()
            .eq_ignore_ascii_case(OFFSET_STREAM.as_bytes())
    })
}

/// A moment as `Upload-Expires` tells it (RFC 9110 §5.6.7).
pub(super) fn http_date(at_ms: Millis) -> Option<HeaderValue> {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let at = OffsetDateTime::from_unix_timestamp(at_ms.div_euclid(1000)).ok()?;
    HeaderValue::from_str(&at.format(&format).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                (
                    (*name).parse().expect("name"),
                    value.parse().expect("value"),
                )
            })
            .collect()
    }

    #[test]
    fn lengths_are_numbers_and_exclude_each_other() {
        let of = |pairs: &[(&'static str, &str)]| {
            declared_length(&with(pairs), 100).map_err(|p| p.status().as_u16())
        };
        assert_eq!(of(&[("upload-length", "5")]), Ok(Some(5)));
        assert_eq!(of(&[("upload-defer-length", "1")]), Ok(None));
        assert_eq!(of(&[("upload-length", "101")]), Err(413));
        for bad in ["-5", "12x", "", "0x5", "+5", "18446744073709551616"] {
            assert_eq!(of(&[("upload-length", bad)]), Err(400), "{bad}");
        }
        assert_eq!(of(&[("upload-defer-length", "2")]), Err(400));
        assert_eq!(
            of(&[("upload-length", "5"), ("upload-defer-length", "1")]),
            Err(400)
        );
        assert_eq!(of(&[]), Err(400));
    }

    #[test]
    fn dates_are_those_of_http() {
        assert_eq!(
            http_date(784_111_777_000).expect("a date"),
            "Sun, 06 Nov 1994 08:49:37 GMT"
        );
    }
}
