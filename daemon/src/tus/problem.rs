//! Answers that only this protocol gives.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::http::Problem;

/// 412: another version of the protocol, or none named.
pub(super) fn version() -> Problem {
    Problem::new(
        StatusCode::PRECONDITION_FAILED,
        "tus_version",
        "The protocol version is not supported.",
    )
    .detail("The header Tus-Resumable must be 1.0.0.")
}

/// 405 with what is allowed.
pub(super) fn method(allowed: &'static str) -> Response {
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "This method is not for uploads.",
    );
    let mut response = problem
        .detail(format!("Allowed here: {allowed}."))
        .into_response();
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// 413: above the configured size.
pub(super) fn too_large(size_max: u64) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too_large",
        "The upload is too large.",
    )
    .detail(format!("At most {size_max} bytes are taken."))
}

/// 415: the body is of a type that carries no upload.
pub(super) fn content_type(expected: &str) -> Problem {
    Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "content_type",
        "The body is of another type.",
    )
    .detail(format!("The Content-Type must be {expected}."))
}

/// 403: a final upload takes no bytes.
pub(super) fn is_final() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "final_upload",
        "A final upload takes no bytes.",
    )
    .detail("It is made of its partial uploads.")
}

/// 404 for an upload that is not there, is over, or is somebody else's.
pub(super) fn no_upload() -> Problem {
    Problem::not_found("upload_not_found", "There is no such upload.")
        .hint("Begin it anew: its bytes may have expired.")
}

/// 409: the key of a creation that was about another upload.
pub(super) fn key_reused() -> Problem {
    Problem::new(
        StatusCode::CONFLICT,
        "idempotency_key_reused",
        "This Idempotency-Key belongs to another upload.",
    )
    .hint("Draw a new one for each upload.")
}
