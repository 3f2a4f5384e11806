//! Host names below a domain of ours.

use axum::http::{HeaderMap, Uri, header};

/// What stands before the domain in a host name, a port aside.
pub fn label<'a>(host: &'a str, domain: &str) -> Option<&'a str> {
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    let at = name.len().checked_sub(domain.len())?;
    let tail = name.get(at..)?;
    if !tail.eq_ignore_ascii_case(domain) {
        return None;
    }
    name[..at]
        .strip_suffix('.')
        .filter(|label| !label.is_empty())
}

/// The host that a request names: its header, or the authority of HTTP/2.
pub fn host_of<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let header = headers.get(header::HOST).and_then(|h| h.to_str().ok());
    header.or_else(|| uri.authority().map(axum::http::uri::Authority::as_str))
}

/// What stands before the domain in the host name of a request.
pub fn label_of<'a>(headers: &'a HeaderMap, uri: &'a Uri, domain: Option<&str>) -> Option<&'a str> {
    label(host_of(headers, uri)?, domain?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_below_the_domain_have_a_label() {
        assert_eq!(label("films.s3.home:8000", "s3.home"), Some("films"));
        assert_eq!(label("a.b.s3.home", "s3.home"), Some("a.b"));
        assert_eq!(label("Films.S3.Home", "s3.home"), Some("Films"));
        for other in [
            "s3.home",
            "s3.home:80",
            "nas.local",
            "xs3.home",
            "127.0.0.1:9",
            "[::1]:9",
            "",
        ] {
            assert_eq!(label(other, "s3.home"), None, "{other}");
        }
    }
}
