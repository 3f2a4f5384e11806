//! What every request gets before a door sees it, and every answer before it leaves.

use std::future::Future;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::gate::Gate;
use super::problem::Problem;

/// The header that carries the request id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How the console marks its requests, so that a 401 opens no dialogue of the browser.
const REQUESTED_WITH: &str = "x-requested-with";
const CONSOLE: &str = "nebula-console";

/// 64 bits as 16 hex digits: the name of a request in the log and in problems.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestId(pub String);

impl RequestId {
    /// A fresh one; what a client sends is not taken over, so nobody writes into our log.
    pub fn random() -> Self {
        // The keys of hashers are random once for each thread and then differ for each hasher: no system call, and no secret.
        let bits = RandomState::new().build_hasher().finish();
        Self(format!("{bits:016x}"))
    }
}

/// The outermost layer of the router: request id, gate, security headers.
///
/// `axum::middleware::from_fn_with_state(gate, context)`.
pub async fn context(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    in_context(gate, request, |request| next.run(request)).await
}

/// The same around an answer that needs no router.
pub async fn in_context<F: Future<Output = Response>>(
    gate: Gate,
    mut request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    let id = RequestId::random();
    let quiet = request
        .headers()
        .get(REQUESTED_WITH)
        .is_some_and(|by| by.as_bytes().eq_ignore_ascii_case(CONSOLE.as_bytes()));
    request.extensions_mut().insert(gate);
    let mut response = answer(request).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = with_request_id(&response, problem, &id);
    }
    let headers = response.headers_mut();
    if quiet {
        headers.remove(header::WWW_AUTHENTICATE);
    }
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
    secure(headers);
    response
}

/// Renders the problem again, now that its request has a name; headers that a layer added stay.
fn with_request_id(response: &Response, problem: Problem, id: &RequestId) -> Response {
    let mut fresh = problem.request_id(&id.0).into_response();
    for (name, value) in response.headers() {
        if *name != header::CONTENT_LENGTH && !fresh.headers().contains_key(name) {
            fresh.headers_mut().append(name, value.clone());
        }
    }
    fresh
}

/// Headers that cost nothing and keep a browser from guessing, framing and leaking; what a door has set stays.
pub fn secure(headers: &mut HeaderMap) {
    let defaults = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ];
    for (name, value) in defaults {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
}

/// For an object's own bytes: a stored page or drawing runs no script with our origin's rights.
pub const OBJECT_CSP: HeaderValue = HeaderValue::from_static(
    "sandbox; default-src 'none'; media-src 'self'; img-src 'self'; style-src 'unsafe-inline'",
);
