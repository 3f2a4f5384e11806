//! Errors as pages.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use crate::store::StoreError;

/// Why there is no page, in the codes of S3.
pub(super) struct Failure {
    pub(super) status: StatusCode,
    code: &'static str,
    message: String,
}

impl Failure {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
        }
    }

    pub(super) fn no_bucket(bucket: &str) -> Self {
        let bucket: String = bucket.chars().take(64).collect();
        Self::new(
            StatusCode::NOT_FOUND,
            "NoSuchBucket",
            format!("There is no bucket {bucket}."),
        )
    }

    pub(super) fn no_website(bucket: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "NoSuchWebsiteConfiguration",
            format!("The bucket {bucket} is no website."),
        )
    }

    pub(super) fn no_key(key: &str) -> Self {
        let key: String = key.chars().take(200).collect();
        Self::new(
            StatusCode::NOT_FOUND,
            "NoSuchKey",
            format!("There is no page {key}."),
        )
    }

    pub(super) fn closed() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "AccessDenied",
            "This page is not for everybody, or there is none.",
        )
    }

    pub(super) fn method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "MethodNotAllowed",
            "A website is only read: use GET or HEAD.",
        )
    }

    pub(super) fn address() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "InvalidURI",
            "The address is not UTF-8, or leads where no address can.",
        )
    }

    pub(super) fn condition(status: StatusCode) -> Self {
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Self::new(status, "InvalidRange", "The range is not in the page.");
        }
        Self::new(
            status,
            "PreconditionFailed",
            "A condition of the request does not hold.",
        )
    }

    pub(super) fn of_store(error: &StoreError) -> Self {
        match error {
            StoreError::NoSuchKey(_) => Self::no_key(""),
            StoreError::KeyRequired | StoreError::WrongKey => Self::new(
                StatusCode::FORBIDDEN,
                "AccessDenied",
                "This page is encrypted with a key that only its owner has.",
            ),
            other => Self::broken(other),
        }
    }

    pub(super) fn broken(error: &dyn std::error::Error) -> Self {
        // The cause is for the log alone: it may name files.
        tracing::error!(%error, "a page of a website could not be served: {error}");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "ServiceUnavailable",
            "The appliance could not do this now.",
        )
    }

    /// The page that says so.
    pub(super) fn page(self) -> Response {
        let title = format!(
            "{} {}",
            self.status.as_u16(),
            self.status.canonical_reason().unwrap_or_default()
        );
        let text = format!(
            "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title}</title></head>\n\
             <body>\n<h1>{title}</h1>\n<ul>\n<li>Code: {}</li>\n<li>Message: {}</li>\n</ul>\n</body>\n</html>\n",
            self.code,
            escaped(&self.message)
        );
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/html; charset=utf-8"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() => out.push('?'),
            c => out.push(c),
        }
    }
    out
}
