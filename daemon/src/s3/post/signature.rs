//! Who signed a form: its fields name a key, and sign the policy document.
//!
//! Version 4 is what SDKs make today.
//! Version 2 is taken here and nowhere else: forms live in pages for years, and what it signs is the policy, which names every field.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::digest::KeyInit;
use hmac::{Hmac, Mac};
use s3s::{S3ErrorCode, S3Result};
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::form::Form;
use crate::identity::Secret;
use crate::kernel::Millis;
use crate::s3::error::say;
use crate::s3::guard::PRESIGNED_SECONDS_MAX;

/// How far a signature may lie in the future: clocks differ.
const SKEW_MS: Millis = 15 * 60 * 1000;

/// A signature still to be verified.
pub(super) struct Signed {
    /// The key that it names.
    pub(super) access_key: String,
    /// What is signed, as it was sent.
    policy: String,
    kind: Kind,
}

enum Kind {
    /// Base64 of an HMAC-SHA1.
    Two(String),
    Four {
        day: String,
        region: String,
        signed_ms: Millis,
        /// Hex of an HMAC-SHA256.
        signature: String,
    },
}

fn invalid(text: impl Into<String>) -> s3s::S3Error {
    say(S3ErrorCode::InvalidArgument, text.into())
}

/// Reads the claim of a form; `None` for one that claims nothing.
pub(super) fn of(form: &Form, regions: &[&str]) -> S3Result<Option<Signed>> {
    let policy = form.field("policy").map(str::to_owned);
    let need = |name: &str| {
        let value = form.field(name).filter(|value| !value.is_empty());
        value
            .map(str::to_owned)
            .ok_or_else(|| invalid(format!("Bucket POST must contain a field named '{name}'")))
    };
    let four = form.field("x-amz-signature").is_some() || form.field("x-amz-credential").is_some();
    let two = form.field("signature").is_some() || form.field("awsaccesskeyid").is_some();
    if !four && !two {
        if policy.is_some() {
            return Err(invalid(
                "Bucket POST must contain a field named 'x-amz-signature': its policy is not signed",
            ));
        }
        return Ok(None);
    }
    let policy =
        policy.ok_or_else(|| invalid("Bucket POST must contain a field named 'policy'"))?;
    if !four {
        return Ok(Some(Signed {
            access_key: need("awsaccesskeyid")?,
            policy,
            kind: Kind::Two(need("signature")?),
        }));
    }
    if need("x-amz-algorithm")? != "AWS4-HMAC-SHA256" {
        return Err(invalid("the x-amz-algorithm of a form is AWS4-HMAC-SHA256"));
    }
    let credential = need("x-amz-credential")?;
    let mut scope: Vec<&str> = credential.rsplitn(5, '/').collect();
    scope.reverse();
    let [key, day, region, "s3", "aws4_request"] = scope[..] else {
        return Err(invalid(
            "the x-amz-credential of a form is key/date/region/s3/aws4_request",
        ));
    };
    if !regions.contains(&region) {
        return Err(say(
            S3ErrorCode::AuthorizationHeaderMalformed,
            format!("the region is wrong; expecting {:?}", regions[0]),
        ));
    }
    let date = need("x-amz-date")?;
    let shape = format_description!("[year][month][day]T[hour][minute][second]Z");
    let signed_ms = PrimitiveDateTime::parse(&date, &shape)
        .map_err(|_| invalid("the x-amz-date of a form is like 20260131T120000Z"))?
        .assume_utc()
        .unix_timestamp()
        * 1000;
    if !date.starts_with(day) {
        return Err(invalid(
            "x-amz-date and x-amz-credential name different days",
        ));
    }
    Ok(Some(Signed {
        access_key: key.to_owned(),
        kind: Kind::Four {
            day: day.to_owned(),
            region: region.to_owned(),
            signed_ms,
            signature: need("x-amz-signature")?,
        },
        policy,
    }))
}

fn mac<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("an HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

impl Signed {
    /// Verifies with the secret of the key that was named.
    ///
    /// # Errors
    /// `SignatureDoesNotMatch`, and `AccessDenied` for a signature from another time.
    pub(super) fn verify(&self, secret: Option<&Secret>, now_ms: Millis) -> S3Result<()> {
        let wrong = || {
            say(
                S3ErrorCode::SignatureDoesNotMatch,
                "The request signature we calculated does not match the signature you provided.",
            )
        };
        let secret = secret.ok_or_else(wrong)?.reveal();
        let (expected, sent) = match &self.kind {
            Kind::Two(sent) => {
                let sum = mac::<Hmac<Sha1>>(secret.as_bytes(), self.policy.as_bytes());
                (BASE64_STANDARD.encode(sum), sent)
            }
            Kind::Four {
                day,
                region,
                signed_ms,
                signature,
            } => {
                let life_ms = Millis::try_from(PRESIGNED_SECONDS_MAX * 1000).unwrap_or(Millis::MAX);
                if *signed_ms > now_ms + SKEW_MS || *signed_ms < now_ms - life_ms {
                    return Err(say(
                        S3ErrorCode::AccessDenied,
                        "the signature of the form is from the future, or older than seven days",
                    ));
                }
                let mut key = format!("AWS4{secret}").into_bytes();
                for part in [day, region, "s3", "aws4_request"] {
                    key = mac::<Hmac<Sha256>>(&key, part.as_bytes());
                }
                let sum = mac::<Hmac<Sha256>>(&key, self.policy.as_bytes());
                (hex::encode(sum), signature)
            }
        };
        if bool::from(expected.as_bytes().ct_eq(sent.as_bytes())) {
            Ok(())
        } else {
            Err(wrong())
        }
    }
}
