//! What a form wants to hear.

use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::form::Form;
use crate::kernel::BucketName;

/// What may stand unencoded in an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
const PATH: &AsciiSet = &PLAIN.remove(b'/');

/// The answer that a form asked for.
pub(super) struct Wish {
    bucket: String,
    key: String,
    location: String,
    redirect: Option<String>,
    status: StatusCode,
}

impl Wish {
    pub(super) fn of(form: &Form, asked: &Parts, bucket: &BucketName, key: &str) -> Self {
        let host = asked
            .headers
            .get(header::HOST)
            .and_then(|h| h.to_str().ok());
        let host = host.or_else(|| asked.uri.authority().map(http::uri::Authority::as_str));
        let address = asked.uri.path().trim_end_matches('/');
        let path = utf8_percent_encode(key, PATH);
        let redirect = form
            .field("success_action_redirect")
            .or(form.field("redirect"));
        // An address that is none is passed over (Amazon S3, POST Object).
        let redirect = redirect.filter(|url| {
            (url.starts_with("http://") || url.starts_with("https://"))
                && url.parse::<http::Uri>().is_ok()
        });
        Self {
            bucket: bucket.to_string(),
            key: key.to_owned(),
            location: format!("http://{}{address}/{path}", host.unwrap_or("localhost")),
            redirect: redirect.map(str::to_owned),
            status: match form.field("success_action_status") {
                Some("200") => StatusCode::OK,
                Some("201") => StatusCode::CREATED,
                _ => StatusCode::NO_CONTENT,
            },
        }
    }

    /// Turns the answer of the PUT into it; a refusal stays as it is.
    pub(super) fn answer(self, response: Response<s3s::Body>) -> Response<s3s::Body> {
        if response.status() != StatusCode::OK {
            return response;
        }
        let (mut parts, _) = response.into_parts();
        let etag = parts
            .headers
            .get(header::ETAG)
            .and_then(|tag| tag.to_str().ok());
        let etag = etag.unwrap_or_default().to_owned();
        parts.headers.remove(header::CONTENT_LENGTH);
        parts.headers.remove(header::CONTENT_TYPE);
        parts.status = self.status;
        let mut location = self.location.clone();
        let mut body = s3s::Body::empty();
        if let Some(redirect) = &self.redirect {
            parts.status = StatusCode::SEE_OTHER;
            let encode = |text: &str| utf8_percent_encode(text, PLAIN).to_string();
            let joint = if redirect.contains('?') { '&' } else { '?' };
            location = format!(
                "{redirect}{joint}bucket={}&key={}&etag={}",
                encode(&self.bucket),
                encode(&self.key),
                encode(&etag)
            );
        } else if parts.status == StatusCode::CREATED {
            body = s3s::Body::from(self.document(&etag));
            let xml = HeaderValue::from_static("application/xml");
            parts.headers.insert(header::CONTENT_TYPE, xml);
        }
        if let Ok(location) = HeaderValue::from_str(&location) {
            parts.headers.insert(header::LOCATION, location);
        }
        Response::from_parts(parts, body)
    }

    fn document(&self, etag: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<PostResponse><Location>{}</Location><Bucket>{}</Bucket><Key>{}</Key><ETag>{}</ETag></PostResponse>",
            escaped(&self.location),
            escaped(&self.bucket),
            escaped(&self.key),
            escaped(etag)
        )
    }
}

/// A text between tags.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            other => out.push(other),
        }
    }
    out
}
