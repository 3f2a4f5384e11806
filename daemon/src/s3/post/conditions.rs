//! The policy document of a form: what its signer allows the form to say.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use s3s::{S3Error, S3ErrorCode, S3Result};
use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::form::Form;
use crate::kernel::{BucketName, Millis};
use crate::s3::error::say;

/// Fields that need no condition: what signs the form, what cannot be foreseen, and what only describes the bytes (Amazon S3, creating a POST policy).
const FREE: [&str; 6] = [
    "policy",
    "signature",
    "awsaccesskeyid",
    "x-amz-signature",
    "submit",
    "file",
];
const FREE_PREFIXES: [&str; 2] = ["x-ignore-", "x-amz-checksum-"];

#[derive(Debug, PartialEq, Eq)]
enum Condition {
    Equals(String, String),
    StartsWith(String, String),
}

/// A policy document, read.
#[derive(Debug)]
pub(super) struct Conditions {
    expires_ms: Millis,
    conditions: Vec<Condition>,
    length: Option<(u64, u64)>,
}

#[derive(Deserialize)]
struct Document {
    expiration: String,
    conditions: Vec<Value>,
}

fn invalid(text: impl Into<String>) -> S3Error {
    say(
        S3ErrorCode::InvalidPolicyDocument,
        format!("Invalid Policy: {}", text.into()),
    )
}

fn denied(text: impl std::fmt::Display) -> S3Error {
    say(
        S3ErrorCode::AccessDenied,
        format!("Invalid according to Policy: {text}"),
    )
}

/// A number, which some clients write as a text.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    }
}

impl Conditions {
    /// Reads the field `policy`.
    ///
    /// # Errors
    /// `InvalidPolicyDocument`.
    pub(super) fn parse(field: &str) -> S3Result<Self> {
        let bytes = BASE64_STANDARD
            .decode(field)
            .map_err(|_| invalid("it is not Base64"))?;
        let document: Document =
            serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        let wrong = || invalid("the expiration is not a time like 2026-01-31T12:00:00Z");
        // The parser takes a space between date and time too.
        let expires = OffsetDateTime::parse(&document.expiration, &Rfc3339)
            .ok()
            .filter(|_| document.expiration.as_bytes().get(10) == Some(&b'T'))
            .ok_or_else(wrong)?;
        let mut out = Self {
            expires_ms: expires.unix_timestamp() * 1000,
            conditions: Vec::new(),
            length: None,
        };
        for value in &document.conditions {
            out.read(value)?;
        }
        Ok(out)
    }

    fn read(&mut self, value: &Value) -> S3Result<()> {
        let wrong = || invalid(format!("Invalid Condition: {}", cut(&value.to_string())));
        match value {
            Value::Object(pairs) if pairs.len() == 1 => {
                let pair = pairs.iter().next();
                let (name, wanted) = pair
                    .and_then(|(name, wanted)| Some((name, wanted.as_str()?)))
                    .ok_or_else(wrong)?;
                let (name, wanted) = (name.to_ascii_lowercase(), wanted.to_owned());
                self.conditions.push(Condition::Equals(name, wanted));
            }
            Value::Array(parts) => {
                let [kind, first, second] = parts.as_slice() else {
                    return Err(wrong());
                };
                let kind = kind.as_str().ok_or_else(wrong)?.to_ascii_lowercase();
                if kind == "content-length-range" {
                    let (least, most) = (
                        number(first).ok_or_else(wrong)?,
                        number(second).ok_or_else(wrong)?,
                    );
                    let (low, high) = self.length.unwrap_or((0, u64::MAX));
                    self.length = Some((least.max(low), most.min(high)));
                    return Ok(());
                }
                let name = first.as_str().and_then(|name| name.strip_prefix('$'));
                let name = name.ok_or_else(wrong)?.to_ascii_lowercase();
                let wanted = second.as_str().ok_or_else(wrong)?.to_owned();
                self.conditions.push(match kind.as_str() {
                    "eq" => Condition::Equals(name, wanted),
                    "starts-with" => Condition::StartsWith(name, wanted),
                    _ => return Err(wrong()),
                });
            }
            _ => return Err(wrong()),
        }
        Ok(())
    }

    /// Fewest and most bytes of the file.
    pub(super) fn length(&self) -> Option<(u64, u64)> {
        self.length
    }

    /// Holds the document against a form: every condition must hold, and every field must have one.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub(super) fn check(
        &self,
        form: &Form,
        bucket: &BucketName,
        key: &str,
        now_ms: Millis,
    ) -> S3Result<()> {
        if now_ms >= self.expires_ms {
            return Err(denied("Policy expired."));
        }
        let value = |name: &str| match name {
            // Where the object goes, whatever the fields say.
            "bucket" => Some(bucket.as_str()),
            "key" => Some(key),
            _ => form.field(name),
        };
        for condition in &self.conditions {
            let (name, holds) = match condition {
                Condition::Equals(name, wanted) => (name, value(name) == Some(wanted.as_str())),
                Condition::StartsWith(name, wanted) => (
                    name,
                    // Any content may be none (Amazon S3, creating a POST policy).
                    value(name).unwrap_or_default().starts_with(wanted.as_str()),
                ),
            };
            if !holds {
                return Err(denied(format_args!(
                    "Policy Condition failed: the field `{}`",
                    cut(name)
                )));
            }
        }
        let covered = |wanted: &str| {
            self.conditions.iter().any(|condition| match condition {
                Condition::Equals(name, _) | Condition::StartsWith(name, _) => name == wanted,
            })
        };
        // A document that names no bucket would be good for every bucket of its signer.
        if !covered("bucket") {
            return Err(denied("the policy has no condition on the bucket"));
        }
        for (name, _) in &form.fields {
            let free = FREE.contains(&name.as_str())
                || FREE_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            if !free && !covered(name) {
                return Err(denied(format_args!("Extra input fields: {}", cut(name))));
            }
        }
        Ok(())
    }
}

fn cut(text: &str) -> String {
    text.chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn parse(document: &Value) -> Result<Conditions, String> {
        Conditions::parse(&BASE64_STANDARD.encode(document.to_string()))
            .map_err(|error| error.code().as_str().to_owned())
    }

    fn check(conditions: Value, fields: &[(&str, &str)]) -> Result<(), String> {
        let document = json!({"expiration": "2026-01-01T00:00:00Z", "conditions": conditions});
        let form = Form {
            fields: fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            filename: String::new(),
        };
        let now_ms = 1_767_225_599_000;
        parse(&document)
            .unwrap()
            .check(&form, &"films".parse().unwrap(), "foo.txt", now_ms)
            .map_err(|error| error.message().unwrap_or_default().to_owned())
    }

    #[test]
    fn every_condition_must_hold_and_every_field_have_one() {
        let conditions =
            json!([{"BUCKET": "films"}, ["Starts-With", "$KEY", "foo"], ["eq", "$acl", "private"]]);
        let fields = [
            ("key", "${filename}"),
            ("acl", "private"),
            ("x-ignore-a", "1"),
            ("policy", "p"),
        ];
        assert_eq!(check(conditions.clone(), &fields), Ok(()));
        let extra = [&fields[..], &[("x-amz-meta-a", "1")]].concat();
        assert!(
            check(conditions.clone(), &extra)
                .unwrap_err()
                .contains("x-amz-meta-a")
        );
        let wrong = [("key", ""), ("acl", "public-read")];
        assert!(
            check(conditions.clone(), &wrong)
                .unwrap_err()
                .contains("acl")
        );
        assert!(
            check(conditions, &[("key", "")])
                .unwrap_err()
                .contains("acl")
        );
        let any = json!([{"bucket": "films"}, ["starts-with", "$key", ""], ["starts-with", "$x-amz-meta-a", ""]]);
        assert_eq!(check(any, &[("key", "")]), Ok(()));
        let no_bucket = json!([["starts-with", "$key", ""]]);
        assert!(
            check(no_bucket, &[("key", "")])
                .unwrap_err()
                .contains("bucket")
        );
        let other_bucket = json!([{"bucket": "other"}, ["starts-with", "$key", ""]]);
        assert!(check(other_bucket, &[("key", ""), ("bucket", "other")]).is_err());
    }

    #[test]
    fn a_document_has_its_two_parts_and_conditions_their_shape() {
        let whole = |conditions: Value| json!({"expiration": "2026-01-01T00:00:00Z", "conditions": conditions});
        for bad in [
            json!({"EXPIRATION": "2026-01-01T00:00:00Z", "conditions": []}),
            json!({"expiration": "2026-01-01T00:00:00Z", "CONDITIONS": []}),
            json!({"expiration": "2026-01-01 00:00:00.1+00:00", "conditions": []}),
            json!({"expiration": 5, "conditions": []}),
            whole(json!([{}])),
            whole(json!([{"a": "b", "c": "d"}])),
            whole(json!([{"a": 1}])),
            whole(json!([["eq", "key", "x"]])),
            whole(json!([["ends-with", "$key", "x"]])),
            whole(json!([["content-length-range", 0]])),
            whole(json!([["content-length-range", -1, 0]])),
            whole(json!(["eq"])),
            json!([]),
        ] {
            assert_eq!(
                parse(&bad).err().as_deref(),
                Some("InvalidPolicyDocument"),
                "{bad}"
            );
        }
        assert!(Conditions::parse("*").is_err());
        let range = whole(json!([
            ["content-length-range", 1, 10],
            ["content-length-range", "2", "20"]
        ]));
        assert_eq!(parse(&range).unwrap().length(), Some((2, 10)));
    }

    #[test]
    fn an_expired_document_allows_nothing() {
        let document =
            json!({"expiration": "2025-12-31T23:59:59Z", "conditions": [{"bucket": "films"}]});
        let refused = parse(&document).unwrap().check(
            &Form::default(),
            &"films".parse().unwrap(),
            "k",
            1_767_225_599_000,
        );
        assert_eq!(refused.unwrap_err().code().as_str(), "AccessDenied");
    }

    proptest! {
        #[test]
        fn no_document_panics(text in ".{0,200}") {
            let _ = Conditions::parse(&text);
            let _ = Conditions::parse(&BASE64_STANDARD.encode(text));
        }
    }
}
