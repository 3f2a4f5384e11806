//! Byte ranges of RFC 9110 §14, as pure functions.

use std::ops::Range;

/// One range spec of a `Range: bytes=…` header, before the length is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByteRange {
    /// `first-last`, both inclusive; no last means to the end.
    From {
        /// First byte position.
        first: u64,
        /// Last byte position, inclusive.
        last: Option<u64>,
    },
    /// `-length`: the last bytes.
    Suffix {
        /// How many bytes.
        length: u64,
    },
}

/// Most specs that one header may hold; more is answered with the whole body (RFC 9110 §14.2 allows to ignore abuse).
pub const RANGES_MAX: usize = 64;

impl ByteRange {
    /// Parses a `Range` header; `None` when it is malformed or of another unit, which means: ignore it (RFC 9110 §14.2).
    pub fn parse_header(header: &str) -> Option<Vec<Self>> {
        let (unit, specs) = header.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let mut ranges = Vec::new();
        for spec in specs
            .split(',')
            .map(str::trim)
            .filter(|spec| !spec.is_empty())
        {
            if ranges.len() == RANGES_MAX {
                return None;
            }
            ranges.push(Self::parse_spec(spec)?);
        }
        (!ranges.is_empty()).then_some(ranges)
    }

    fn parse_spec(spec: &str) -> Option<Self> {
        let (first, last) = spec.split_once('-')?;
        if first.is_empty() {
            return Some(Self::Suffix {
                length: position(last)?,
            });
        }
        let first = position(first)?;
        let last = if last.is_empty() {
            None
        } else {
            Some(position(last)?)
        };
        if last.is_some_and(|last| last < first) {
            return None;
        }
        Some(Self::From { first, last })
    }

    /// The bytes meant within a body of `length`; `None` when the range is not satisfiable (RFC 9110 §14.1.2).
    pub fn resolve(self, length: u64) -> Option<Range<u64>> {
        match self {
            Self::From { first, .. } if first >= length => None,
            Self::From { first, last } => {
                let end = last.map_or(length, |last| last.saturating_add(1).min(length));
                Some(first..end)
            }
            Self::Suffix { length: 0 } => None,
            Self::Suffix { .. } if length == 0 => None,
            Self::Suffix { length: suffix } => Some(length.saturating_sub(suffix)..length),
        }
    }
}

/// Digits only, and a number beyond `u64` means "past any end" rather than a mistake.
fn position(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(header: &str, length: u64) -> Option<Range<u64>> {
        ByteRange::parse_header(header).and_then(|ranges| ranges[0].resolve(length))
    }

    #[test]
    fn ranges_resolve_as_the_rfc_says() {
        assert_eq!(one("bytes=0-499", 10_000), Some(0..500));
        assert_eq!(one("bytes=9500-", 10_000), Some(9500..10_000));
        assert_eq!(one("bytes=-500", 10_000), Some(9500..10_000));
        assert_eq!(one("bytes=-50000", 10_000), Some(0..10_000));
        assert_eq!(one("BYTES = 0-0", 1), Some(0..1));
        assert_eq!(one("bytes=0-99999999999999999999999", 10), Some(0..10));
        assert_eq!(one("bytes=10-", 10), None);
        assert_eq!(one("bytes=-0", 10), None);
        assert_eq!(one("bytes=-5", 0), None);
    }

    #[test]
    fn malformed_headers_are_ignored() {
        for header in [
            "bytes",
            "bytes=",
            "bytes=a-b",
            "bytes=5-4",
            "items=0-1",
            "bytes=--1",
            "bytes=1",
            "bytes=0x1-2",
            "bytes=+1-2",
        ] {
            assert_eq!(ByteRange::parse_header(header), None, "{header}");
        }
        assert_eq!(
            ByteRange::parse_header(&format!("bytes={}", "0-1,".repeat(65))),
            None
        );
        assert_eq!(
            ByteRange::parse_header("bytes=0-1, 4-5,,").map(|r| r.len()),
            Some(2)
        );
    }
}
