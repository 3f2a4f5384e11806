//! Conditional requests (RFC 9110 §13), as pure functions.

use std::time::{Duration, SystemTime};

use axum::http::{HeaderMap, HeaderName, Method, header};

use crate::kernel::{ETag, Millis};

/// What the conditions of a request come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Answer as if there were no condition.
    Proceed,
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
}

/// Evaluates the four conditions in the order of RFC 9110 §13.2.2; `If-Range` comes after, with [`if_range`].
///
/// Dates have whole seconds, so `modified_ms` is compared rounded down, as [`http_date`] shows it; a date that is none is ignored (§13.1.3, §13.1.4).
pub fn evaluate(method: &Method, headers: &HeaderMap, etag: &ETag, modified_ms: Millis) -> Verdict {
    let read = method == Method::GET || method == Method::HEAD;
    let modified = at_second(modified_ms);
    if let Some(tags) = list(headers, &header::IF_MATCH) {
        if !etag.matches_any(&tags) {
            return Verdict::PreconditionFailed;
        }
    } else if let Some(date) = date(headers, &header::IF_UNMODIFIED_SINCE)
        && modified > date
    {
        return Verdict::PreconditionFailed;
    }
    if let Some(tags) = list(headers, &header::IF_NONE_MATCH) {
        if etag.matches_any_weakly(&tags) {
            return if read {
                Verdict::NotModified
            } else {
                Verdict::PreconditionFailed
            };
        }
    } else if read
        && let Some(date) = date(headers, &header::IF_MODIFIED_SINCE)
        && modified <= date
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether a `Range` counts under the request's `If-Range` (RFC 9110 §13.1.5): no header, the same strong tag, or exactly our date.
pub fn if_range(headers: &HeaderMap, etag: &ETag, modified_ms: Millis) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else {
        return true;
    };
    let Ok(value) = value.to_str() else {
        return false;
    };
    match httpdate::parse_http_date(value.trim()) {
        Ok(date) => date == at_second(modified_ms),
        Err(_) => etag.matches(value),
    }
}

/// The date of a `Last-Modified` header.
pub fn http_date(ms: Millis) -> String {
    httpdate::fmt_http_date(at_second(ms))
}

fn at_second(ms: Millis) -> SystemTime {
    let second = u64::try_from(ms).unwrap_or(0) / 1000;
    // The last second that an HTTP date can name, at the end of the year 9999.
    SystemTime::UNIX_EPOCH + Duration::from_secs(second.min(253_402_300_799))
}

/// All lines of a list header as one (RFC 9110 §5.3); a line that is no text matches nothing.
fn list(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut lines = headers.get_all(name).iter().peekable();
    lines.peek()?;
    let texts: Vec<&str> = lines.map(|line| line.to_str().unwrap_or("")).collect();
    Some(texts.join(","))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    let text = headers.get(name)?.to_str().ok()?;
    httpdate::parse_http_date(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use proptest::prelude::*;

    const MODIFIED_MS: Millis = 784_111_777_900;
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn conditions_follow_the_order_of_the_rfc() {
        use Verdict::{NotModified, PreconditionFailed, Proceed};
        let table: &[(&[(&str, &str)], Verdict)] = &[
            (&[], Proceed),
            (&[("if-match", "\"a\"")], Proceed),
            (&[("if-match", "*")], Proceed),
            (&[("if-match", "\"b\"")], PreconditionFailed),
            (&[("if-match", "W/\"a\"")], PreconditionFailed),
            (&[("if-match", "\"b\""), ("if-match", "\"a\"")], Proceed),
            (
                &[("if-match", "\"b\""), ("if-none-match", "\"a\"")],
                PreconditionFailed,
            ),
            // If-Match present: If-Unmodified-Since does not count.
            (
                &[("if-match", "\"a\""), ("if-unmodified-since", BEFORE)],
                Proceed,
            ),
            (&[("if-unmodified-since", BEFORE)], PreconditionFailed),
            (&[("if-unmodified-since", DATE)], Proceed),
            (&[("if-unmodified-since", "yesterday")], Proceed),
            (&[("if-none-match", "\"a\"")], NotModified),
            (&[("if-none-match", "W/\"a\"")], NotModified),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"x\", \"y\"")], Proceed),
            // If-None-Match present: If-Modified-Since does not count.
            (
                &[("if-none-match", "\"x\""), ("if-modified-since", AFTER)],
                Proceed,
            ),
            (&[("if-modified-since", DATE)], NotModified),
            (&[("if-modified-since", AFTER)], NotModified),
            (&[("if-modified-since", BEFORE)], Proceed),
            (&[("if-modified-since", "")], Proceed),
        ];
        let etag = ETag::from_stored("a".into());
        for (pairs, expected) in table {
            let verdict = evaluate(&Method::GET, &headers(pairs), &etag, MODIFIED_MS);
            assert_eq!(verdict, *expected, "{pairs:?}");
        }
        let none = headers(&[("if-none-match", "*")]);
        let put = evaluate(&Method::PUT, &none, &etag, MODIFIED_MS);
        assert_eq!(put, PreconditionFailed);
        let since = headers(&[("if-modified-since", AFTER)]);
        let put = evaluate(&Method::PUT, &since, &etag, MODIFIED_MS);
        assert_eq!(put, Proceed);
    }

    #[test]
    fn if_range_compares_strongly() {
        let etag = ETag::from_stored("a".into());
        for (value, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", false),
            ("\"b\"", false),
            (DATE, true),
            (BEFORE, false),
            (AFTER, false),
            ("", false),
        ] {
            let map = headers(&[("if-range", value)]);
            assert_eq!(if_range(&map, &etag, MODIFIED_MS), expected, "{value}");
        }
        assert!(if_range(&HeaderMap::new(), &etag, MODIFIED_MS));
        assert_eq!(http_date(MODIFIED_MS), DATE);
        assert!(!http_date(Millis::MAX).is_empty() && !http_date(-1).is_empty());
    }

    /// A tag in a list, as a client may write it.
    #[derive(Clone, Debug)]
    enum Tag {
        Ours,
        OursWeakly,
        Another,
        Any,
    }

    /// When a client says that it saw us.
    #[derive(Clone, Copy, Debug)]
    enum Seen {
        Before,
        Then,
        After,
        Nonsense,
    }

    fn tags() -> impl Strategy<Value = Option<Vec<Tag>>> {
        let one = prop_oneof![
            Just(Tag::Ours),
            Just(Tag::OursWeakly),
            Just(Tag::Another),
            Just(Tag::Any)
        ];
        proptest::option::of(proptest::collection::vec(one, 1..4))
    }

    fn seen() -> impl Strategy<Value = Option<Seen>> {
        const ALL: &[Seen] = &[Seen::Before, Seen::Then, Seen::After, Seen::Nonsense];
        proptest::option::of(proptest::sample::select(ALL))
    }

    fn written(tags: &[Tag]) -> String {
        // `*` stands alone or means nothing (RFC 9110 §13.1.1).
        let one = |tag: &Tag| match tag {
            Tag::Ours => "\"a\"",
            Tag::OursWeakly => "W/\"a\"",
            Tag::Another => "\"b,c\"",
            Tag::Any => "*",
        };
        tags.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    fn date_of(seen: Seen) -> &'static str {
        match seen {
            Seen::Before => BEFORE,
            Seen::Then => DATE,
            Seen::After => AFTER,
            Seen::Nonsense => "Sun, 31 Feb 1994 08:49:37 GMT",
        }
    }

    proptest! {
        /// The steps of RFC 9110 §13.2.2, written down once more from the other side.
        #[test]
        fn conditions_are_those_of_a_model(
            matches in tags(), none in tags(), unmodified in seen(), modified in seen(), method in 0..3_usize,
        ) {
            // A list with `*` among others is no valid list; what it means is ours to say.
            let valid = |tags: &Option<Vec<Tag>>| tags.as_ref().is_none_or(|tags| {
                tags.len() == 1 || !tags.iter().any(|tag| matches!(tag, Tag::Any))
            });
            prop_assume!(valid(&matches) && valid(&none));
            let method = [Method::GET, Method::HEAD, Method::PUT][method].clone();
            let mut map = HeaderMap::new();
            let lists = [(header::IF_MATCH, &matches), (header::IF_NONE_MATCH, &none)];
            for (name, tags) in lists {
                if let Some(tags) = tags {
                    map.insert(name, written(tags).parse().unwrap());
                }
            }
            let dates = [(header::IF_UNMODIFIED_SINCE, unmodified), (header::IF_MODIFIED_SINCE, modified)];
            for (name, seen) in dates {
                if let Some(seen) = seen {
                    map.insert(name, date_of(seen).parse().unwrap());
                }
            }
            let strongly = |tags: &Vec<Tag>| tags.iter().any(|tag| matches!(tag, Tag::Ours | Tag::Any));
            let weakly = |tags: &Vec<Tag>| tags.iter().any(|tag| !matches!(tag, Tag::Another));
            let first = match (&matches, unmodified) {
                (Some(tags), _) => strongly(tags),
                (None, Some(Seen::Before)) => false,
                (None, _) => true,
            };
            let is_read = method != Method::PUT;
            let second = match (&none, modified) {
                (Some(tags), _) => !weakly(tags),
                (None, Some(Seen::Then | Seen::After)) => !is_read,
                (None, _) => true,
            };
            let expected = match (first, second) {
                (true, true) => Verdict::Proceed,
                (true, false) if is_read => Verdict::NotModified,
                _ => Verdict::PreconditionFailed,
            };
            let etag = ETag::from_stored("a".into());
            prop_assert_eq!(evaluate(&method, &map, &etag, MODIFIED_MS), expected);
        }
    }
}
