//! The structured fields of IETF resumable uploads (RFC 9651): one item each, whose parameters mean nothing here.
//!
//! A field of another kind is as if it were not there, as the protocol demands.

use axum::http::HeaderMap;

/// Digits of an Integer (RFC 9651 §3.3.1).
const DIGITS_MAX: usize = 15;

/// The bare item of a field that stands once.
fn item<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let text = value.to_str().ok()?.trim_matches(' ');
    Some(text.split(';').next().unwrap_or_default())
}

/// A number of bytes.
pub(super) fn integer(headers: &HeaderMap, name: &str) -> Option<u64> {
    let text = item(headers, name)?;
    let is_number =
        (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// `?1` or `?0`.
pub(super) fn boolean(headers: &HeaderMap, name: &str) -> Option<bool> {
    match item(headers, name)? {
        "?1" => Some(true),
        "?0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(values: &[&str]) -> HeaderMap {
        let pair = |value: &&str| ("x".parse().expect("name"), value.parse().expect("value"));
        values.iter().map(pair).collect()
    }

    #[test]
    fn items_are_read_and_everything_else_is_nothing() {
        for (text, expected) in [
            ("0", Some(0)),
            ("999999999999999", Some(999_999_999_999_999)),
            (" 12 ", Some(12)),
            ("12;a=1;b", Some(12)),
            ("1000000000000000", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("\"1\"", None),
            ("1, 2", None),
            ("", None),
        ] {
            assert_eq!(integer(&with(&[text]), "x"), expected, "{text}");
        }
        assert_eq!(boolean(&with(&["?1"]), "x"), Some(true));
        assert_eq!(boolean(&with(&["?0;a"]), "x"), Some(false));
        for bad in ["1", "true", "?2", "?", ""] {
            assert_eq!(boolean(&with(&[bad]), "x"), None, "{bad}");
        }
        assert_eq!(integer(&with(&["1", "2"]), "x"), None);
        assert_eq!(integer(&with(&[]), "x"), None);
    }
}
