//! Headers of a read that HTTP says to ignore where `s3s` refuses the request: a range or a date that is none.
//!
//! Such a header cannot be taken off in front of `s3s`, as the signature may cover it.
//! So the request goes in twice: the first time it ends in [`Verified`], which notes whose signature it was; the second time it goes without the header and without the signature, on the word of the first.

use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, Method, Request, Uri, header};
use s3s::dto::{ETagCondition, Range, Timestamp, TimestampFormat};
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result};

use super::access;

/// The conditions as they came, for the second time, when `s3s` does not see all of them.
#[derive(Clone)]
pub(super) struct Conditions(HeaderMap);

/// The headers that say what of a read is wanted and when: those that came, whatever `s3s` was shown.
pub(super) fn conditions<'a>(extensions: &'a Extensions, headers: &'a HeaderMap) -> &'a HeaderMap {
    extensions
        .get::<Conditions>()
        .map_or(headers, |kept| &kept.0)
}

/// What `s3s` parses and refuses: repeated, or not in its one form.
fn is_refused(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return false;
    };
    let text = value.to_str().unwrap_or("\0");
    let reads = match *name {
        header::RANGE => Range::parse(text).is_ok(),
        header::IF_MATCH | header::IF_NONE_MATCH => {
            ETagCondition::parse_http_header(value.as_bytes()).is_ok()
        }
        _ => Timestamp::parse(TimestampFormat::HttpDate, text).is_ok(),
    };
    values.next().is_some() || !(reads || value.is_empty())
}

const READ_AS: [HeaderName; 5] = [
    header::RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// The request for the second time; `None` when once is enough.
pub(super) fn again(parts: &Parts) -> Option<Request<Body>> {
    if parts.method != Method::GET && parts.method != Method::HEAD {
        return None;
    }
    let refused: Vec<_> = READ_AS
        .into_iter()
        .filter(|name| is_refused(&parts.headers, name))
        .collect();
    if refused.is_empty() {
        return None;
    }
    let mut request = Request::new(Body::empty());
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = unsigned(&parts.uri);
    *request.version_mut() = parts.version;
    *request.headers_mut() = parts.headers.clone();
    *request.extensions_mut() = parts.extensions.clone();
    request
        .extensions_mut()
        .insert(Conditions(parts.headers.clone()));
    for name in refused.iter().chain([&header::AUTHORIZATION]) {
        request.headers_mut().remove(name);
    }
    Some(request)
}

/// An address without its signature.
fn unsigned(uri: &Uri) -> Uri {
    let Some(query) = uri.query() else {
        return uri.clone();
    };
    let kept: Vec<_> = query
        .split('&')
        .filter(|pair| {
            !pair
                .get(..6)
                .is_some_and(|name| name.eq_ignore_ascii_case("x-amz-"))
        })
        .collect();
    let path = if kept.is_empty() {
        uri.path().to_owned()
    } else {
        format!("{}?{}", uri.path(), kept.join("&"))
    };
    // A part of what was an address is one.
    path.parse().unwrap_or_else(|_| uri.clone())
}

/// Where the first time ends: behind the signature, in front of everything else.
pub(super) struct Verified;

#[async_trait::async_trait]
impl S3Route for Verified {
    fn is_match(
        &self,
        _method: &Method,
        _uri: &Uri,
        _headers: &HeaderMap,
        _extensions: &mut Extensions,
    ) -> bool {
        access::is_first_of_two()
    }

    async fn check_access(&self, _request: &mut S3Request<Body>) -> S3Result<()> {
        // Rights are decided the second time.
        Ok(())
    }

    async fn call(&self, request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        access::vouch(request.credentials.is_some());
        Ok(S3Response::new(Body::empty()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn second(uri: &str, headers: &[(&'static str, &str)]) -> Option<Request<Body>> {
        let mut request = Request::get(uri).header("authorization", "AWS4-HMAC-SHA256 …");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        again(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn what_s3s_reads_goes_in_once() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert!(second("/b/k", &[]).is_none());
        let plain = [
            ("range", "bytes=0-5"),
            ("if-match", "\"a\""),
            ("if-none-match", "*"),
            ("if-modified-since", date),
        ];
        assert!(second("/b/k", &plain).is_none());
    }

    #[test]
    fn what_s3s_refuses_is_taken_off_and_kept_aside() {
        for (name, value) in [
            ("range", "bytes=0-1,3-4"),
            ("range", "bytes=5-2"),
            ("range", "chapters=1"),
            ("range", "bytes=0-99999999999999999999"),
            ("if-modified-since", "yesterday"),
            ("if-unmodified-since", "Sunday, 06-Nov-94 08:49:37 GMT"),
            ("if-none-match", "\"open"),
        ] {
            let request = second(
                "/b/k?versionId=1&X-Amz-Signature=00&x-amz-date=1",
                &[(name, value), ("x-a", "1")],
            )
            .unwrap();
            assert_eq!(request.uri(), "/b/k?versionId=1", "{value}");
            assert_eq!(request.headers().len(), 1, "{value}");
            let kept = conditions(request.extensions(), request.headers());
            assert_eq!(kept[name], value);
        }
        assert!(second("/b/k", &[("range", "bytes=0-1"), ("range", "bytes=0-1")]).is_some());
    }
}
