//! Which bytes a `Range` header asks for (RFC 9110 §14), as pure functions.

use std::ops::Range;

use axum::http::{HeaderMap, Method, header};

use crate::kernel::ByteRange;

/// Parts of one multipart answer; a request for more gets the whole (RFC 9110 §14.2 allows to ignore many small ranges).
pub const PARTS_MAX: usize = 16;

/// What to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    /// 200 with everything.
    Whole,
    /// 206 with one run of bytes.
    Single(Range<u64>),
    /// 206 as `multipart/byteranges`: at least two, none overlaps or touches another, in the order asked for.
    Multiple(Vec<Range<u64>>),
    /// 416.
    Unsatisfiable,
}

/// Chooses the bytes of a representation of `size_bytes`.
///
/// A header that is malformed, of another unit or repeated is ignored; `Range` counts for GET alone (§14.2).
/// Ranges that overlap or touch are sent as one, so no answer is longer than the representation and its part headers.
pub fn select(method: &Method, headers: &HeaderMap, size_bytes: u64) -> Selection {
    if method != Method::GET {
        return Selection::Whole;
    }
    let mut lines = headers.get_all(header::RANGE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Selection::Whole;
    };
    let Some(asked) = line.to_str().ok().and_then(ByteRange::parse_header) else {
        return Selection::Whole;
    };
    let satisfiable = asked.iter().filter_map(|range| range.resolve(size_bytes));
    let mut parts = coalesce(satisfiable);
    match parts.len() {
        // An empty representation has no byte to send, and nothing was asked of it that 200 does not answer.
        0 if size_bytes == 0 => Selection::Whole,
        0 => Selection::Unsatisfiable,
        1 => Selection::Single(parts.remove(0)),
        n if n > PARTS_MAX => Selection::Whole,
        _ => Selection::Multiple(parts),
    }
}

/// Merges what overlaps or touches into the place of the first; quadratic in at most [`crate::kernel::range::RANGES_MAX`].
fn coalesce(ranges: impl Iterator<Item = Range<u64>>) -> Vec<Range<u64>> {
    let mut parts: Vec<Range<u64>> = Vec::new();
    for mut range in ranges {
        let mut place = parts.len();
        let mut at = 0;
        while at < parts.len() {
            if parts[at].start <= range.end && range.start <= parts[at].end {
                let met = parts.remove(at);
                range = range.start.min(met.start)..range.end.max(met.end);
                place = place.min(at);
                // The grown range may meet one that was passed over.
                at = 0;
            } else {
                at += 1;
            }
        }
        parts.insert(place.min(parts.len()), range);
    }
    parts
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    fn get(range: &str, size_bytes: u64) -> Selection {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        select(&Method::GET, &headers, size_bytes)
    }

    #[test]
    fn ranges_are_chosen_merged_and_bounded() {
        use Selection::{Multiple, Single, Unsatisfiable, Whole};
        let many = format!("bytes={}", vec!["0-"; 200].join(","));
        let scattered: Vec<_> = (0..17).map(|n| format!("{}-{}", n * 10, n * 10)).collect();
        let scattered = format!("bytes={}", scattered.join(","));
        let table = [
            ("bytes=0-0", Single(0..1)),
            ("Bytes=0-4", Single(0..5)),
            ("bytes=-500", Single(500..1000)),
            ("bytes=990-2000", Single(990..1000)),
            ("bytes=1000-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=5-4", Whole),
            ("items=0-5", Whole),
            ("bytes=abc-def", Whole),
            ("bytes=0-9,1001-1005", Single(0..10)),
            ("bytes=0-4 , 10-14", Multiple(vec![0..5, 10..15])),
            (
                "bytes=100-109,0-9,-50",
                Multiple(vec![100..110, 0..10, 950..1000]),
            ),
            ("bytes=0-9,10-19", Single(0..20)),
            ("bytes=0-9,20-29,5-24", Single(0..30)),
            ("bytes=500-509,0-9,505-520", Multiple(vec![500..521, 0..10])),
            (&many, Whole),
            (&scattered, Whole),
        ];
        for (header, expected) in table {
            assert_eq!(get(header, 1000), expected, "{header}");
        }
    }

    #[test]
    fn only_a_single_range_header_of_a_get_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(select(&Method::GET, &headers, 10), Selection::Whole);
        headers.insert(header::RANGE, "bytes=0-1".parse().unwrap());
        assert_eq!(select(&Method::HEAD, &headers, 10), Selection::Whole);
        assert_eq!(select(&Method::GET, &headers, 0), Selection::Whole);
        headers.append(header::RANGE, "bytes=4-5".parse().unwrap());
        assert_eq!(select(&Method::GET, &headers, 10), Selection::Whole);
    }

    proptest! {
        #[test]
        fn parts_are_apart_inside_and_exactly_what_was_asked(
            specs in proptest::collection::vec((0u64..120, 0u64..40), 1..30),
        ) {
            let text: Vec<_> = specs.iter().map(|(a, n)| format!("{a}-{}", a + n)).collect();
            let mut wanted: Vec<u64> = specs
                .iter()
                .flat_map(|(a, n)| *a..(a + n + 1).min(100))
                .collect();
            wanted.sort_unstable();
            wanted.dedup();
            let parts = match get(&format!("bytes={}", text.join(",")), 100) {
                Selection::Single(part) => vec![part],
                Selection::Multiple(parts) => parts,
                Selection::Unsatisfiable => Vec::new(),
                Selection::Whole => return Ok(()),
            };
            let mut sent: Vec<u64> = parts.iter().cloned().flatten().collect();
            sent.sort_unstable();
            prop_assert_eq!(sent, wanted);
        }

        #[test]
        fn no_header_panics(header in "[ -~]{0,80}", size in any::<u64>()) {
            let _ = get(&header, size);
        }
    }
}
