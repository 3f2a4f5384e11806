//! The bytes of an upload that has not ended: what is there at once, what is coming when it comes.
//!
//! The answers are those of the object to be, as far as they can be told: its length when it was declared, `*` when not.
//! They carry no validator, as the object will have its own: nothing that a client keeps of them can be taken for the object later, and an `If-Range` never holds.
//! A client that is told a length and gets less has been cut off, and knows it.

use std::ops::Range;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::time::Instant;

use super::access::Visit;
use super::file::{attachment, kept_headers};
use crate::http::{Problem, Representation, content_type, serve_object};
use crate::kernel::{ByteRange, ETag, Id};
use crate::store::{Arriving, ArrivingReader, Reach};

/// How long an answer waits for its first byte.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// Nothing of an answer may be kept: the next one may know more.
pub(super) const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");
/// Said of bytes that are not whole yet (draft-ietf-httpbis-resumable-upload).
const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
const NOT_COMPLETE: HeaderValue = HeaderValue::from_static("?0");

/// Answers a GET or HEAD of the bytes themselves.
pub(super) async fn file(visit: &Visit, arriving: &Arriving) -> Result<Response, Problem> {
    let kind = content_type::served(arriving.headers().content_type.as_deref(), arriving.key());
    let mut headers = HeaderMap::new();
    kept_headers(arriving.headers(), &mut headers);
    headers.insert(header::CACHE_CONTROL, NOT_KEPT);
    headers.insert(UPLOAD_COMPLETE, NOT_COMPLETE);
    if visit.query("download").is_some() {
        headers.insert(header::CONTENT_DISPOSITION, attachment(arriving.key()));
    }
    match arriving.size() {
        Some(size) => {
            let mut about = Representation::new(size, no_tag(), 0, kind);
            about.headers = headers;
            known(&visit.parts.method, &visit.parts.headers, &about, |range| {
                from(arriving, range.start, Some(range.end))
            })
            .await
        }
        None => unknown(visit, arriving, kind, headers).await,
    }
}

/// Serves something of known length by the rules of an object, but for validators.
pub(super) async fn known<F, Fut, B>(
    method: &Method,
    headers: &HeaderMap,
    about: &Representation,
    open: F,
) -> Result<Response, Problem>
where
    F: FnMut(Range<u64>) -> Fut,
    Fut: Future<Output = Result<B, Problem>>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    let mut asked = headers.clone();
    // There is no date to compare with (RFC 9110 §13.1.3, §13.1.4), and what `If-Range` names is something else (§13.1.5).
    asked.remove(header::IF_MODIFIED_SINCE);
    asked.remove(header::IF_UNMODIFIED_SINCE);
    if asked.remove(header::IF_RANGE).is_some() {
        asked.remove(header::RANGE);
    }
    let mut response = serve_object(method, &asked, about, open).await?;
    let headers = response.headers_mut();
    headers.remove(header::ETAG);
    headers.remove(header::LAST_MODIFIED);
    Ok(response)
}

/// A tag that no client has ever seen: `If-Match` holds for `*` alone.
pub(super) fn no_tag() -> ETag {
    ETag::from_stored(Id::random().to_string())
}

/// A body from `start` on, once its first byte is there.
async fn from(
    arriving: &Arriving,
    start: u64,
    end: Option<u64>,
) -> Result<crate::store::ArrivingBody, Problem> {
    let mut reader = arriving.reader()?;
    if end.is_none_or(|end| end > start) {
        first(&mut reader, start).await?;
    }
    Ok(reader.body(start, end))
}

/// Waits for a byte; where the bytes end that are there from it on, if the upload is still one.
pub(super) async fn first(reader: &mut ArrivingReader, at: u64) -> Result<Option<u64>, Problem> {
    match reader.reach(at, Instant::now() + PATIENCE).await? {
        Reach::Until(end) if end > at => Ok(Some(end)),
        Reach::Until(_) => Err(not_there(at)),
        Reach::Finished(_) => Ok(None),
        Reach::Gone => Err(gone(reader.arriving())),
    }
}

/// 503: a byte that may still come.
fn not_there(at: u64) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "not_arrived",
        "These bytes have not arrived yet.",
    )
    .detail(format!(
        "The object is being uploaded, and byte {at} did not come within {} s.",
        PATIENCE.as_secs()
    ))
    .hint("Try again, or read what is there from the beginning.")
    .retry_after_s(2)
}

/// 404: the upload ended without an object.
pub(super) fn gone(arriving: &Arriving) -> Problem {
    let title = "There is no such object.";
    Problem::not_found(nebula_api::problem::code::OBJECT_NOT_FOUND, title).detail(format!(
        "The upload of {} to {} was ended, or replaced by another.",
        arriving.key(),
        arriving.bucket()
    ))
}

/// Serves an upload whose length nobody knows.
async fn unknown(
    visit: &Visit,
    arriving: &Arriving,
    kind: &str,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = headers;
    let headers = response.headers_mut();
    let kind = Representation::new(0, no_tag(), 0, kind).content_type;
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if visit.parts.method == Method::HEAD {
        return Ok(response);
    }
    let Some((start, last)) = range_of(&visit.parts.headers) else {
        *response.body_mut() = Body::new(from(arriving, 0, None).await?);
        return Ok(response);
    };
    let mut reader = arriving.reader()?;
    let Some(there) = first(&mut reader, start).await? else {
        // It was finished while we waited: the next try meets the object.
        return Ok(Problem::unavailable("The upload has just ended.")
            .retry_after_s(1)
            .into_response());
    };
    // Only what is there can be promised (RFC 9110 §14.4: the length of the whole is `*`).
    let end = last.map_or(there, |last| last.saturating_add(1).min(there));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, (end - start).into());
    let place = format!("bytes {start}-{}/*", end - 1);
    if let Ok(place) = HeaderValue::from_str(&place) {
        headers.insert(header::CONTENT_RANGE, place);
    }
    *response.body_mut() = Body::new(reader.body(start, Some(end)));
    Ok(response)
}

/// The one range of a request that makes sense without a length; others are ignored (RFC 9110 §14.2).
fn range_of(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    if headers.contains_key(header::IF_RANGE) {
        return None;
    }
    let line = headers.get(header::RANGE)?.to_str().ok()?;
    match ByteRange::parse_header(line)?.as_slice() {
        [ByteRange::From { first, last }] => Some((*first, *last)),
        _ => None,
    }
}
