//! Errors as every door but S3 and tus tells them: `application/problem+json` (RFC 9457).

use std::fmt;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use nebula_api::problem::{CONTENT_TYPE, code};

use crate::catalog::CatalogError;
use crate::identity::{Caller, Decision, IdentityError};
use crate::kernel::NameError;

/// What the browser is asked for; the console's own requests are not, so that no dialogue pops up.
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"nebula\", charset=\"UTF-8\"");

/// A problem on its way out; [`crate::http::context`] adds the request id.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Boxed: an error must not make every good answer larger.
    wire: Box<nebula_api::Problem>,
    retry_after_s: Option<u64>,
}

impl Problem {
    /// A problem with one of [`nebula_api::problem::code`] and a sentence that is the same for all of its kind.
    pub fn new(status: StatusCode, code: &str, title: &str) -> Self {
        Self {
            wire: Box::new(nebula_api::Problem::new(status.as_u16(), code, title)),
            retry_after_s: None,
        }
    }

    /// Says what happened this time.
    #[must_use]
    pub fn detail(mut self, detail: impl fmt::Display) -> Self {
        self.wire.detail = Some(detail.to_string());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.wire.hint = Some(hint.to_string());
        self
    }

    /// Names the kind of problem by a registered URI (RFC 9457 §3.1.1).
    #[must_use]
    pub fn kind(mut self, uri: &str) -> Self {
        uri.clone_into(&mut self.wire.kind);
        self
    }

    /// Says where an upload stands and where the request believed it.
    #[must_use]
    pub fn offsets(mut self, expected: u64, provided: u64) -> Self {
        self.wire.expected_offset = Some(expected);
        self.wire.provided_offset = Some(provided);
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after_s(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    pub(super) fn request_id(mut self, id: &str) -> Self {
        self.wire.request_id = Some(id.to_owned());
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.wire.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What goes over the wire.
    pub fn wire(&self) -> &nebula_api::Problem {
        &self.wire
    }

    /// 400: the request cannot be understood.
    pub fn invalid(detail: impl fmt::Display) -> Self {
        let title = "The request cannot be understood.";
        Self::new(StatusCode::BAD_REQUEST, code::INVALID_REQUEST, title).detail(detail)
    }

    /// 401: nobody known, or not as they say.
    pub fn unauthenticated(detail: impl fmt::Display) -> Self {
        let title = "A valid credential is needed.";
        Self::new(StatusCode::UNAUTHORIZED, code::UNAUTHENTICATED, title)
            .detail(detail)
            .hint("Log in with: nebula login URL, or send an access key pair with HTTP Basic.")
    }

    /// 403: known, but not allowed.
    pub fn forbidden(detail: impl fmt::Display) -> Self {
        let title = "This is not allowed.";
        Self::new(StatusCode::FORBIDDEN, code::FORBIDDEN, title).detail(detail)
    }

    /// The answer to a denied decision: 401 to nobody, else 403.
    pub fn denied(caller: &Caller, decision: &Decision) -> Self {
        if caller.is_anonymous() {
            return Self::unauthenticated(&decision.reason);
        }
        Self::forbidden(format!("{}: {}", caller.actor(), decision.reason))
            .hint("Ask whoever runs the node for a grant.")
    }

    /// 404: whatever `code` says is not there.
    pub fn not_found(code: &str, title: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, title)
    }

    /// 404 for a link that opens nothing, whatever the reason.
    pub fn link_not_found() -> Self {
        Self::not_found(code::LINK_NOT_FOUND, "The link does not work.")
            .detail("It has expired, was revoked, or was not copied whole.")
            .hint("Ask whoever sent it for a new one.")
    }

    /// 503: a part is away; trying again may help.
    pub fn unavailable(detail: impl fmt::Display) -> Self {
        let title = "A part of the node is not available.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code::UNAVAILABLE, title)
            .detail(detail)
            .retry_after_s(2)
    }

    /// 500: our fault; the cause goes to the log, not to the caller.
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!("a request failed: {cause}");
        let title = "The node failed at this.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code::INTERNAL, title)
            .hint("The node's log tells more under the request id: journalctl -u nebulad")
    }
}

impl From<NameError> for Problem {
    fn from(error: NameError) -> Self {
        let (code, title) = match error {
            NameError::BucketLength
            | NameError::BucketCharacter
            | NameError::BucketDots
            | NameError::BucketAddress => {
                (code::INVALID_BUCKET_NAME, "This cannot be a bucket's name.")
            }
            NameError::KeyEmpty | NameError::KeyTooLong | NameError::KeyNul => {
                (code::INVALID_KEY, "This cannot be an object's key.")
            }
        };
        Self::new(StatusCode::BAD_REQUEST, code, title).detail(error)
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Unavailable(cause) => {
                tracing::error!("the catalog is not available: {cause}");
                Self::unavailable("The catalog does not answer.")
            }
            CatalogError::Full(cause) => {
                tracing::error!("the catalog has no space left: {cause}");
                Self::storage_full()
            }
            CatalogError::Conflict(_) => {
                let title = "The state has changed meanwhile.";
                Self::new(StatusCode::CONFLICT, code::CONFLICT, title)
            }
            CatalogError::Corrupt(_) | CatalogError::Failed(_) => Self::internal(error),
        }
    }
}

impl Problem {
    /// 507: the disk's reserve is reached.
    pub fn storage_full() -> Self {
        let title = "The disk is full.";
        Self::new(StatusCode::INSUFFICIENT_STORAGE, code::STORAGE_FULL, title)
            .hint("Delete something: deletes always work.")
            .retry_after_s(60)
    }
}

impl From<IdentityError> for Problem {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::Catalog(error) => error.into(),
            IdentityError::Tailnet(cause) => {
                tracing::warn!("tailscaled does not answer: {cause}");
                Self::unavailable("Who calls from the tailnet cannot be told now.")
                    .hint("Use an access key meanwhile.")
            }
            IdentityError::Invalid(detail) => Self::invalid(detail),
            IdentityError::Forbidden(detail) => Self::forbidden(detail),
            IdentityError::File(_) | IdentityError::MasterKey => Self::internal(error),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.wire).expect("a problem is plain data");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}
