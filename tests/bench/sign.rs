//! SigV4 for a load generator: one key per run, two hashes per request.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

/// Of the servers under test.
pub const ACCESS_KEY: &str = "NEBULABENCH000000000";
/// Of the servers under test.
pub const SECRET_KEY: &str = "benchbenchbenchbenchbenchbenchbenchbench";

/// That every server under test is told, or takes.
pub const REGION: &str = "us-east-1";

/// Signs requests to one host as of now; good for the minutes that servers tolerate.
pub struct Signer {
    host: String,
    time: String,
    scope: String,
    key: Vec<u8>,
}

impl Signer {
    pub fn new(host: &str) -> Self {
        let time = OffsetDateTime::now_utc()
            .format(format_description!(
                "[year][month][day]T[hour][minute][second]Z"
            ))
            .expect("the format has no part that a date lacks");
        let date = &time[..8];
        let scope = format!("{date}/{REGION}/s3/aws4_request");
        let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
        for part in [date, REGION, "s3", "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        Self {
            host: host.to_owned(),
            scope,
            time,
            key,
        }
    }

    /// The head of a request up to the blank line, which the caller adds after headers of his own.
    ///
    /// `path` and `query` are in canonical form already: our keys need no escapes.
    pub fn head(&self, method: &str, path: &str, query: &str) -> String {
        const SIGNED: &str = "host;x-amz-content-sha256;x-amz-date";
        let Self { host, time, .. } = self;
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-content-sha256:UNSIGNED-PAYLOAD\n\
             x-amz-date:{time}\n\n{SIGNED}\nUNSIGNED-PAYLOAD"
        );
        let hash = hex::encode(Sha256::digest(canonical.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{}\n{hash}", self.scope);
        let signature = hex::encode(mac(&self.key, text.as_bytes()));
        let mark = if query.is_empty() { "" } else { "?" };
        format!(
            "{method} {path}{mark}{query} HTTP/1.1\r\nhost: {host}\r\nx-amz-date: {time}\r\n\
             x-amz-content-sha256: UNSIGNED-PAYLOAD\r\nauthorization: AWS4-HMAC-SHA256 \
             Credential={ACCESS_KEY}/{}, SignedHeaders={SIGNED}, Signature={signature}\r\n",
            self.scope
        )
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}
