//! Cross-origin reading of media: who may embed and fetch our bytes from a page of another site.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::gate::Gate;
use crate::identity::{Actor, Caller};

const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Accept-Ranges, Content-Disposition, Content-Length, Content-Range, Date, ETag, Last-Modified, X-Request-Id",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");
const ASKED: HeaderValue = HeaderValue::from_static(
    "Authorization, Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, If-Range, Nebula-Player",
);
const ANY: HeaderValue = HeaderValue::from_static("*");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Lets a page of another origin read the answer, where that gives away nothing it does not hold already.
///
/// The bearer of a link, or of a key that the page itself sent, may read from anywhere: `*`, with which browsers send no remembered credential.
/// A tailnet peer is known by its address alone, so any page that it visits would read with its rights: only trusted origins may.
/// The same holds for a caller that is nobody: an error tells a stranger nothing.
pub fn media_cors(gate: &Gate, caller: &Caller, request: &HeaderMap, response: &mut HeaderMap) {
    response.append(header::VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = request.get(header::ORIGIN) else {
        // Players and `<video>` of other pages send no Origin; what a page may not read it may not embed either.
        if by_bearer(caller) {
            response.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        }
        return;
    };
    let trusted = origin.to_str().is_ok_and(|origin| gate.trusts(origin));
    let allowed = match (trusted, by_bearer(caller)) {
        (true, _) => origin.clone(),
        (false, true) => ANY,
        (false, false) => return,
    };
    response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    response.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
}

fn by_bearer(caller: &Caller) -> bool {
    matches!(caller.actor(), Actor::Link { .. } | Actor::AccessKey { .. })
}

/// The answer to a preflight of a media route: it carries no credential, so it is the same for all; the request itself decides.
pub fn media_preflight() -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, ANY);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ASKED);
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("86400"),
    );
    response
}
