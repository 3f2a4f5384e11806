//! AWS Signature Version 4, as a client: signs the few requests that a target needs.

use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

/// What stays as it is in a canonical query; a path keeps its slashes too.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// A key pair and where it is good.
pub(super) struct Signer {
    pub(super) host: String,
    pub(super) region: String,
    pub(super) access_key: String,
    pub(super) secret_key: String,
}

/// What a signed request carries.
pub(super) struct Signed {
    /// Path and query in the form that was signed.
    pub(super) path_and_query: String,
    pub(super) headers: [(&'static str, String); 3],
}

impl Signer {
    /// Signs a request at a moment; `path` is not escaped, `query` neither, and sorted by name.
    pub(super) fn sign(
        &self,
        method: &str,
        path: &str,
        query: &[(&str, &str)],
        body: &[u8],
        now: OffsetDateTime,
    ) -> Signed {
        let time = now
            .format(format_description!(
                "[year][month][day]T[hour][minute][second]Z"
            ))
            .expect("the format has no part that a date lacks");
        let date = &time[..8];
        let path = utf8_percent_encode(path, PATH).to_string();
        let pairs = query.iter().map(|(name, value)| {
            format!(
                "{}={}",
                utf8_percent_encode(name, QUERY),
                utf8_percent_encode(value, QUERY)
            )
        });
        let query = pairs.collect::<Vec<_>>().join("&");
        let hash = hex::encode(Sha256::digest(body));
        let signed = "host;x-amz-content-sha256;x-amz-date";
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{}\nx-amz-content-sha256:{hash}\nx-amz-date:{time}\n\n{signed}\n{hash}",
            self.host
        );
        let scope = format!("{date}/{}/s3/aws4_request", self.region);
        let text = format!(
            "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
            hex::encode(Sha256::digest(canonical.as_bytes()))
        );
        let mut key = format!("AWS4{}", self.secret_key).into_bytes();
        for part in [date, &self.region, "s3", "aws4_request"] {
            key = mac(&key, part);
        }
        let signature = hex::encode(mac(&key, &text));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
            self.access_key
        );
        let mark = if query.is_empty() { "" } else { "?" };
        Signed {
            path_and_query: format!("{path}{mark}{query}"),
            headers: [
                ("x-amz-date", time),
                ("x-amz-content-sha256", hash),
                ("authorization", authorization),
            ],
        }
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example "GET Bucket (List Objects)" of Amazon's documentation of SigV4.
    #[test]
    fn a_list_is_signed_as_amazon_signs_it() {
        let signer = Signer {
            host: "examplebucket.s3.amazonaws.com".into(),
            region: "us-east-1".into(),
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
        };
        let now = time::macros::datetime!(2013-05-24 0:00 UTC);
        let query = [("max-keys", "2"), ("prefix", "J")];
        let signed = signer.sign("GET", "/", &query, b"", now);
        assert_eq!(signed.path_and_query, "/?max-keys=2&prefix=J");
        assert!(
            signed.headers[2].1.ends_with(
                "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
            ),
            "{}",
            signed.headers[2].1
        );
    }
}
