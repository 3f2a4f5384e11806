//! Buckets in host names, and the names that are taken.

use http::request::Parts;
use http::{HeaderValue, Request, header};
use percent_encoding::percent_decode_str;
use s3s::host::{S3Host, VirtualHost};
use s3s::validation::NameValidation;
use s3s::{S3Error, S3ErrorCode, S3Result};

pub(super) use crate::http::host::label_of;
use crate::http::host::{host_of, label};
use crate::kernel::BucketName;

/// Buckets are named by the rules of the kernel.
pub(super) struct Names;

impl NameValidation for Names {
    fn validate_bucket_name(&self, name: &str) -> bool {
        name.parse::<BucketName>().is_ok()
    }
}

/// Virtual-host style below one domain; any other host name, and any address, is path style.
pub(super) struct Domain(pub(super) Option<String>);

impl S3Host for Domain {
    fn parse_host_header<'a>(&'a self, host: &'a str) -> S3Result<VirtualHost<'a>> {
        let plain = VirtualHost::new(host);
        Ok(
            match self.0.as_deref().and_then(|domain| label(host, domain)) {
                Some(bucket) => plain.with_bucket(bucket),
                None => plain,
            },
        )
    }
}

/// Host names have no case, and bucket names are lower case; but a signed host must stay as it was signed.
pub(super) fn lower(parts: &mut Parts) {
    let signed = parts.headers.contains_key(header::AUTHORIZATION)
        || parts
            .uri
            .query()
            .is_some_and(|q| q.contains("X-Amz-Signature"));
    if !signed
        && let Some(host) = parts
            .headers
            .get(header::HOST)
            .and_then(|h| h.to_str().ok())
        && host.bytes().any(|b| b.is_ascii_uppercase())
        && let Ok(lower) = HeaderValue::from_str(&host.to_ascii_lowercase())
    {
        parts.headers.insert(header::HOST, lower);
    }
}

/// The bucket that a request speaks of, in either style.
pub(super) fn bucket_of<B>(request: &Request<B>, domain: Option<&str>) -> Option<BucketName> {
    if let Some(label) = label_of(request.headers(), request.uri(), domain) {
        return label.to_ascii_lowercase().parse().ok();
    }
    let first = request
        .uri()
        .path()
        .trim_start_matches('/')
        .split('/')
        .next()?;
    percent_decode_str(first).decode_utf8().ok()?.parse().ok()
}

/// The bucket that a form is sent to: its address ends there.
///
/// # Errors
/// `MethodNotAllowed` for any other address.
pub(super) fn bucket_of_form(parts: &Parts, domain: Option<&str>) -> S3Result<BucketName> {
    let refused = || {
        S3Error::with_message(
            S3ErrorCode::MethodNotAllowed,
            "a form is sent to the address of a bucket",
        )
    };
    let path = parts.uri.path().trim_matches('/');
    let host = host_of(&parts.headers, &parts.uri);
    let name = match (host, domain) {
        (Some(host), Some(domain)) if label(host, domain).is_some() => {
            if !path.is_empty() {
                return Err(refused());
            }
            label(host, domain).unwrap_or_default().to_ascii_lowercase()
        }
        _ if path.is_empty() || path.contains('/') => return Err(refused()),
        _ => percent_decode_str(path)
            .decode_utf8()
            .map_err(|_| refused())?
            .into_owned(),
    };
    super::access::bucket_name(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_found_in_either_style() {
        let of = |host: &str, path: &str| {
            let request = Request::get(path)
                .header("host", host)
                .body(())
                .expect("valid");
            bucket_of(&request, Some("s3.home")).map(|b| b.to_string())
        };
        assert_eq!(of("films.s3.home", "/key").as_deref(), Some("films"));
        assert_eq!(of("nas.local", "/films/key").as_deref(), Some("films"));
        assert_eq!(of("nas.local", "/"), None);
    }

    #[test]
    fn a_form_goes_to_a_bucket_and_nowhere_else() {
        let of = |host: &str, path: &str| {
            let request = Request::post(path)
                .header("host", host)
                .body(())
                .expect("valid");
            let bucket = bucket_of_form(&request.into_parts().0, Some("s3.home"));
            bucket
                .map(|b| b.to_string())
                .map_err(|e| e.code().as_str().to_owned())
        };
        assert_eq!(of("films.s3.home", "/").as_deref(), Ok("films"));
        assert_eq!(of("nas.local", "/films/").as_deref(), Ok("films"));
        assert_eq!(
            of("nas.local", "/").expect_err("refused"),
            "MethodNotAllowed"
        );
        assert_eq!(
            of("nas.local", "/films/key").expect_err("refused"),
            "MethodNotAllowed"
        );
        assert_eq!(
            of("films.s3.home", "/key").expect_err("refused"),
            "MethodNotAllowed"
        );
        assert_eq!(
            of("nas.local", "/F_").expect_err("refused"),
            "InvalidBucketName"
        );
    }
}
