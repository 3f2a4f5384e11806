//! Who claims to have signed the request, and what the signature covers.
//!
//! Nothing here verifies a signature: `s3s` does.
//! This reads the same places as `s3s`, with the same decoding, so that the two cannot see different requests.

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use s3s::{S3ErrorCode, S3Result};

use crate::s3::error::{With as _, say};

/// Longest life of a presigned URL (AWS Signature Version 4, query parameters).
pub(in crate::s3) const PRESIGNED_SECONDS_MAX: u64 = 7 * 24 * 60 * 60;
/// Query parameters of one request.
const PARAMETERS_MAX: usize = 128;

/// Headers that may come unsigned: they say how the body travels and are verified against it, or belong to the signature itself.
const UNSIGNED_ALLOWED: [&str; 12] = [
    "x-amz-content-sha256",
    "x-amz-decoded-content-length",
    "x-amz-trailer",
    "x-amz-checksum-algorithm",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-signature",
    "x-amz-signedheaders",
    "x-amz-security-token",
];

/// Who a request says it is from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::s3) enum Claim {
    /// No signature.
    Unsigned,
    /// A signature of this access key, still to be verified, with the token that a temporary one comes with.
    Key { id: String, token: Option<String> },
}

/// Reads the claim and refuses what the signature does not cover.
pub(in crate::s3) fn claim(request: &Parts, regions: &[&str]) -> S3Result<Claim> {
    let query = parameters(request.uri.query().unwrap_or_default())?;
    let has = |name: &str| query.iter().any(|(n, _)| n == name);
    let header = match request.headers.get(AUTHORIZATION) {
        Some(value) => {
            Some(value.to_str().map_err(|_| unsupported())?).filter(|v| !v.trim().is_empty())
        }
        None => None,
    };
    if has("Signature") || header.is_some_and(|h| h.starts_with("AWS ")) {
        return Err(say(
            S3ErrorCode::InvalidRequest,
            "signature version 2 is not supported: use AWS4-HMAC-SHA256",
        ));
    }
    let signed = if has("X-Amz-Signature") {
        if header.is_some() {
            return Err(say(
                S3ErrorCode::InvalidArgument,
                "only one auth mechanism is allowed: the header or the query",
            ));
        }
        of_query(&query)?
    } else if let Some(header) = header {
        of_header(header)?
    } else {
        return Ok(Claim::Unsigned);
    };
    let region = signed.region();
    if !region.is_some_and(|region| regions.contains(&region)) {
        return Err(say(
            S3ErrorCode::AuthorizationHeaderMalformed,
            format!(
                "the region {:?} is wrong; expecting {:?}",
                region.unwrap_or_default(),
                regions[0]
            ),
        ));
    }
    covers(&signed.headers, &request.headers)?;
    let in_query = query
        .iter()
        .find(|(name, _)| name == "X-Amz-Security-Token");
    let token = match (in_query, request.headers.get("x-amz-security-token")) {
        (Some((_, token)), _) => Some(token.clone()),
        (None, Some(token)) => Some(String::from_utf8_lossy(token.as_bytes()).into_owned()),
        (None, None) => None,
    };
    Ok(Claim::Key {
        id: signed.access_key()?,
        token,
    })
}

struct Signed {
    /// `key/date/region/service/aws4_request`.
    credential: String,
    /// Lower case, parted by `;`.
    headers: String,
}

impl Signed {
    fn region(&self) -> Option<&str> {
        self.credential.rsplit('/').nth(2)
    }

    fn access_key(&self) -> S3Result<String> {
        let mut parts = self.credential.rsplitn(5, '/');
        let key = parts.nth(4).filter(|key| !key.is_empty());
        key.map(str::to_owned).ok_or_else(|| {
            say(
                S3ErrorCode::AuthorizationHeaderMalformed,
                "the credential is not key/date/region/s3/aws4_request",
            )
        })
    }
}

fn unsupported() -> s3s::S3Error {
    say(
        S3ErrorCode::InvalidArgument,
        "Unsupported Authorization Type: sign with AWS4-HMAC-SHA256",
    )
}

fn of_header(header: &str) -> S3Result<Signed> {
    let fields = header
        .trim()
        .strip_prefix("AWS4-HMAC-SHA256")
        .ok_or_else(unsupported)?;
    let field = |name: &str| {
        let found = fields
            .split(',')
            .find_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='));
        found.map(str::to_owned).ok_or_else(|| {
            say(
                S3ErrorCode::AuthorizationHeaderMalformed,
                format!("the Authorization header lacks {name}"),
            )
        })
    };
    Ok(Signed {
        credential: field("Credential")?,
        headers: field("SignedHeaders")?,
    })
}

fn of_query(query: &[(String, String)]) -> S3Result<Signed> {
    let malformed = |text: String| {
        // 403 as Ceph has it, so that a client takes the URL for dead rather than for a mistake of its own.
        say(S3ErrorCode::AuthorizationQueryParametersError, text).with_status(StatusCode::FORBIDDEN)
    };
    let one = |name: &str| {
        let mut found = query
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, value)| value);
        match (found.next(), found.next()) {
            (Some(value), None) => Ok(value.clone()),
            _ => Err(malformed(format!(
                "the query must hold {name} exactly once"
            ))),
        }
    };
    let expires = one("X-Amz-Expires")?;
    match expires.parse::<u64>() {
        Ok(seconds) if (1..=PRESIGNED_SECONDS_MAX).contains(&seconds) => {}
        _ => {
            return Err(malformed(format!(
                "X-Amz-Expires must be between 1 and {PRESIGNED_SECONDS_MAX} seconds"
            )));
        }
    }
    Ok(Signed {
        credential: one("X-Amz-Credential")?,
        headers: one("X-Amz-SignedHeaders")?,
    })
}

/// Refuses a header of the protocol that the signature does not cover.
fn covers(signed: &str, headers: &HeaderMap) -> S3Result<()> {
    for name in headers
        .keys()
        .map(http::HeaderName::as_str)
        .filter(|name| name.starts_with("x-amz-"))
    {
        if !UNSIGNED_ALLOWED.contains(&name) && !signed.split(';').any(|one| one == name) {
            return Err(say(
                S3ErrorCode::AccessDenied,
                format!("There were headers present in the request which were not signed: {name}"),
            ));
        }
    }
    Ok(())
}

/// The query, decoded as `s3s` decodes it: names too, `+` is a space.
pub(in crate::s3) fn parameters(query: &str) -> S3Result<Vec<(String, String)>> {
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let parameters: Vec<_> = pairs
        .take(PARAMETERS_MAX + 1)
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect();
    if parameters.len() > PARAMETERS_MAX {
        return Err(say(
            S3ErrorCode::InvalidURI,
            format!("more than {PARAMETERS_MAX} query parameters"),
        ));
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const REGIONS: [&str; 2] = ["home-1", "us-east-1"];
    const AUTH: &str = "AWS4-HMAC-SHA256 Credential=KEY/20260101/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date;x-amz-meta-a, Signature=00";
    const PRESIGNED: &str = "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=KEY%2F20260101%2Fus-east-1%2Fs3%2Faws4_request\
        &X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=host&X-Amz-Signature=00&X-Amz-Expires=";

    fn ask(uri: &str, headers: &[(&'static str, &str)]) -> Result<Claim, (String, u16)> {
        let mut request = http::Request::put(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        claim(&parts, &REGIONS).map_err(|e| {
            (
                e.code().as_str().to_owned(),
                e.status_code().unwrap().as_u16(),
            )
        })
    }

    fn of_key(token: Option<&str>) -> Claim {
        Claim::Key {
            id: "KEY".into(),
            token: token.map(str::to_owned),
        }
    }

    #[test]
    fn a_claim_is_read_from_header_or_query() {
        assert_eq!(ask("/b", &[]), Ok(Claim::Unsigned));
        assert_eq!(ask("/b", &[("authorization", "")]), Ok(Claim::Unsigned));
        assert_eq!(ask("/b", &[("authorization", AUTH)]), Ok(of_key(None)));
        assert_eq!(ask(&format!("{PRESIGNED}60"), &[]), Ok(of_key(None)));
        let token = ("x-amz-security-token", "T+/=");
        assert_eq!(
            ask("/b", &[("authorization", AUTH), token]),
            Ok(of_key(Some("T+/=")))
        );
        let presigned = format!("{PRESIGNED}60&X-Amz-Security-Token=T%2B%2F%3D");
        assert_eq!(ask(&presigned, &[]), Ok(of_key(Some("T+/="))));
        let both = ask(&format!("{PRESIGNED}60"), &[("authorization", AUTH)]);
        assert_eq!(both.unwrap_err().0, "InvalidArgument");
        assert_eq!(
            ask("/b", &[("authorization", "Basic abc")]).unwrap_err().0,
            "InvalidArgument"
        );
    }

    #[test]
    fn unsigned_protocol_headers_are_refused() {
        let source = ("x-amz-copy-source", "/b/secret");
        for (uri, auth) in [
            ("/b/k", Some(("authorization", AUTH))),
            (&format!("{PRESIGNED}60"), None),
        ] {
            let mut headers: Vec<_> = auth.into_iter().collect();
            headers.extend([
                ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
                ("x-amz-trailer", "x-amz-checksum-crc32"),
            ]);
            assert!(ask(uri, &headers).is_ok(), "{uri}");
            headers.push(source);
            assert_eq!(
                ask(uri, &headers).unwrap_err(),
                ("AccessDenied".into(), 403),
                "{uri}"
            );
        }
        assert!(ask("/b/k", &[("authorization", AUTH), ("x-amz-meta-a", "1")]).is_ok());
        assert!(ask("/b/k", &[("authorization", AUTH), ("x-amz-meta-b", "1")]).is_err());
    }

    #[test]
    fn signature_version_2_is_refused() {
        assert_eq!(
            ask("/b", &[("authorization", "AWS KEY:sig")])
                .unwrap_err()
                .0,
            "InvalidRequest"
        );
        assert_eq!(
            ask("/b?AWSAccessKeyId=K&Signature=s&Expires=9", &[])
                .unwrap_err()
                .0,
            "InvalidRequest"
        );
        assert_eq!(
            ask("/b?%53ignature=s", &[]).unwrap_err().0,
            "InvalidRequest"
        );
    }

    #[test]
    fn a_presigned_url_lives_a_week_at_most() {
        assert!(ask(&format!("{PRESIGNED}604800"), &[]).is_ok());
        for expires in ["604801", "0", "-1", "x", "99999999999999999999"] {
            let refused = ask(&format!("{PRESIGNED}{expires}"), &[]).unwrap_err();
            assert_eq!(
                refused,
                ("AuthorizationQueryParametersError".into(), 403),
                "{expires}"
            );
        }
        let twice = ask(&format!("{PRESIGNED}60&X-Amz-Expires=999999999"), &[]);
        assert_eq!(twice.unwrap_err().0, "AuthorizationQueryParametersError");
    }

    #[test]
    fn the_region_of_the_scope_must_be_ours() {
        let elsewhere = AUTH.replace("us-east-1", "eu-west-9");
        assert_eq!(
            ask("/b", &[("authorization", &elsewhere)]).unwrap_err(),
            ("AuthorizationHeaderMalformed".into(), 400)
        );
        assert!(
            ask(
                "/b",
                &[("authorization", &AUTH.replace("us-east-1", "home-1"))]
            )
            .is_ok()
        );
        assert!(ask("/b", &[("authorization", "AWS4-HMAC-SHA256 Credential=x")]).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_header_of_the_protocol_passes_unsigned(
            name in "x-amz-[a-z]{1,12}(-[a-z0-9]{1,8}){0,3}",
            signed in proptest::collection::vec("(x-amz-[a-z-]{1,10}|host)", 0..4),
        ) {
            let auth = AUTH.replace("x-amz-meta-a", &signed.join(";"));
            let mut parts = http::Request::put("/b/k")
                .header("authorization", &auth)
                .header(&name, "1")
                .body(())
                .unwrap()
                .into_parts()
                .0;
            let covered = UNSIGNED_ALLOWED.contains(&name.as_str()) || signed.contains(&name) || name == "x-amz-date";
            proptest::prop_assert_eq!(claim(&parts, &REGIONS).is_ok(), covered);
            parts.headers.remove(&name);
            proptest::prop_assert!(claim(&parts, &REGIONS).is_ok());
        }

        #[test]
        fn no_claim_panics(query in "[ -~]{0,60}", header in "(AWS4-HMAC-SHA256 )?[ -~]{0,80}") {
            let uri = format!("/b?X-Amz-{}", query.replace(|c: char| !c.is_ascii_alphanumeric() && !"&=%-/;".contains(c), ""));
            if let Ok(request) = http::Request::put(uri).header("authorization", header).body(()) {
                let _ = claim(&request.into_parts().0, &REGIONS);
            }
        }
    }
}
