//! Serving a stored object over HTTP: conditions, ranges, headers, body (RFC 9110 §13 to §15).

use std::future::Future;
use std::ops::Range;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use nebula_api::problem::code;

use super::condition::{self, Verdict};
use super::context::OBJECT_CSP;
use super::multipart::Multipart;
use super::problem::Problem;
use super::ranges::{Selection, select};
use crate::kernel::{ETag, Millis};

const TRANSFER_MODE: HeaderName = HeaderName::from_static("transfermode.dlna.org");
const GET_CONTENT_FEATURES: HeaderName = HeaderName::from_static("getcontentfeatures.dlna.org");
const CONTENT_FEATURES: HeaderName = HeaderName::from_static("contentfeatures.dlna.org");
/// Byte seek, original content; streaming, interactive and background transfer (DLNA Guidelines, 7.4.1.3.24).
const FEATURES: HeaderValue = HeaderValue::from_static(
    "DLNA.ORG_OP=01;DLNA.ORG_CI=0;DLNA.ORG_FLAGS=01700000000000000000000000000000",
);

/// Headers that an answer has room for at once, those that others add included; a map that grows is built anew.
const HEADERS_USUAL: usize = 20;

/// What is known of an object before its first byte is read.
#[derive(Clone, Debug)]
pub struct Representation {
    /// Length of the whole.
    pub size_bytes: u64,
    /// Strong tag of exactly these bytes.
    pub etag: ETag,
    /// When they came to be.
    pub modified_ms: Millis,
    /// Media type.
    pub content_type: HeaderValue,
    /// Further headers of a successful answer: `Cache-Control`, `Content-Disposition`, `x-amz-meta-*`, …
    pub headers: HeaderMap,
}

impl Representation {
    /// Without further headers; a type that is no header value becomes `application/octet-stream`.
    pub fn new(size_bytes: u64, etag: ETag, modified_ms: Millis, content_type: &str) -> Self {
        Self {
            size_bytes,
            etag,
            modified_ms,
            content_type: HeaderValue::from_str(content_type)
                .unwrap_or(HeaderValue::from_static("application/octet-stream")),
            headers: HeaderMap::new(),
        }
    }
}

/// Answers a GET or HEAD; `open` is called once for each run of bytes that is sent, never for HEAD, 304, 412 and 416.
///
/// # Errors
/// Those of `open`, before anything was answered.
pub async fn serve_object<F, Fut, B, E>(
    method: &Method,
    headers: &HeaderMap,
    object: &Representation,
    mut open: F,
) -> Result<Response, E>
where
    F: FnMut(Range<u64>) -> Fut,
    Fut: Future<Output = Result<B, E>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    match condition::evaluate(method, headers, &object.etag, object.modified_ms) {
        Verdict::Proceed => {}
        Verdict::NotModified => return Ok(not_modified(object)),
        Verdict::PreconditionFailed => return Ok(precondition_failed()),
    }
    let size_bytes = object.size_bytes;
    let mut selection = Selection::Whole;
    if condition::if_range(headers, &object.etag, object.modified_ms) {
        selection = select(method, headers, size_bytes);
    }
    let mut response = match selection {
        Selection::Whole if method == Method::HEAD || size_bytes == 0 => {
            with_body(StatusCode::OK, Body::empty(), object, size_bytes)
        }
        Selection::Whole => {
            let body = Body::new(open(0..size_bytes).await?);
            with_body(StatusCode::OK, body, object, size_bytes)
        }
        Selection::Single(range) => {
            let length = range.end - range.start;
            let place = format!("bytes {}-{}/{size_bytes}", range.start, range.end - 1);
            let body = Body::new(open(range).await?);
            let mut response = with_body(StatusCode::PARTIAL_CONTENT, body, object, length);
            set(&mut response, header::CONTENT_RANGE, place);
            response
        }
        Selection::Multiple(ranges) => {
            let mut parts = Vec::with_capacity(ranges.len());
            for range in ranges {
                parts.push((range.clone(), open(range).await?));
            }
            let body = Multipart::new(parts, size_bytes, &object.content_type);
            let (kind, length) = (body.content_type(), body.length_bytes());
            let body = Body::new(body);
            let mut response = with_body(StatusCode::PARTIAL_CONTENT, body, object, length);
            set(&mut response, header::CONTENT_TYPE, kind);
            response
        }
        Selection::Unsatisfiable => return Ok(unsatisfiable(object)),
    };
    dlna(headers, response.headers_mut());
    Ok(response)
}

fn with_body(status: StatusCode, body: Body, object: &Representation, length: u64) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(HEADERS_USUAL);
    for (name, value) in &object.headers {
        headers.append(name, value.clone());
    }
    headers.insert(header::CONTENT_TYPE, object.content_type.clone());
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if is_active(&object.content_type) {
        headers.insert(header::CONTENT_SECURITY_POLICY, OBJECT_CSP);
    }
    validators(&mut response, object);
    response
}

/// The headers that tell one state of the object from another; a 304 and a 206 carry them as a 200 would (§15.4.5, §15.3.7).
fn validators(response: &mut Response, object: &Representation) {
    set(response, header::ETAG, object.etag.quoted());
    let date = condition::http_date(object.modified_ms);
    set(response, header::LAST_MODIFIED, date);
}

fn set(response: &mut Response, name: HeaderName, value: String) {
    // Numbers, dates, hex digits: always a header value; a stored tag that is none is left out.
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

fn not_modified(object: &Representation) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    for name in [
        header::CACHE_CONTROL,
        header::CONTENT_LOCATION,
        header::EXPIRES,
        header::VARY,
    ] {
        if let Some(value) = object.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    validators(&mut response, object);
    response
}

fn precondition_failed() -> Response {
    let title = "A condition of the request does not hold.";
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        code::PRECONDITION_FAILED,
        title,
    )
    .detail("The object is not in the state that If-Match or If-Unmodified-Since names.")
    .into_response()
}

fn unsatisfiable(object: &Representation) -> Response {
    let size_bytes = object.size_bytes;
    let title = "The range is not in the object.";
    let problem = Problem::new(
        StatusCode::RANGE_NOT_SATISFIABLE,
        code::INVALID_REQUEST,
        title,
    );
    let problem = problem.detail(format!("The object has {size_bytes} bytes."));
    let mut response = problem.into_response();
    let place = format!("bytes */{size_bytes}");
    set(&mut response, header::CONTENT_RANGE, place);
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    response
}

/// Types that a browser would run in our origin: they are put into a sandbox.
fn is_active(content_type: &HeaderValue) -> bool {
    let text = content_type.to_str().unwrap_or("");
    let kind = text.split(';').next().unwrap_or("").trim().as_bytes();
    let ends_with = |end: &[u8]| {
        let start = kind.len().checked_sub(end.len());
        start.is_some_and(|start| kind[start..].eq_ignore_ascii_case(end))
    };
    kind.eq_ignore_ascii_case(b"text/html") || ends_with(b"xml") || ends_with(b"javascript")
}

/// What televisions ask for and insist to see again.
pub fn dlna(request: &HeaderMap, response: &mut HeaderMap) {
    let mode = request.get(&TRANSFER_MODE).and_then(|m| m.to_str().ok());
    let known = ["Streaming", "Interactive", "Background"];
    if let Some(mode) = known
        .into_iter()
        .find(|known| mode.is_some_and(|mode| mode.eq_ignore_ascii_case(known)))
    {
        response.insert(TRANSFER_MODE, HeaderValue::from_static(mode));
    }
    if request.get(&GET_CONTENT_FEATURES).is_some_and(|v| v == "1") {
        response.insert(CONTENT_FEATURES, FEATURES);
    }
}
