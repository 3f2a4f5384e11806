//! What a request says to the conditions of a policy.

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::guard::parameters;
use super::headers;
use crate::identity::{ConditionKey, Facts};
use crate::kernel::Millis;
use crate::store::Tags;

/// The parts of a request that conditions speak of.
#[derive(Clone, Copy)]
pub(super) struct RequestFacts<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) query: Option<&'a str>,
    /// Whether the request continues an upload whose beginning said what the object is to be.
    pub(super) continues: bool,
    /// Whether the signature came in the fields of a form.
    pub(super) is_form: bool,
    pub(super) now_ms: Millis,
    /// The tags of the object that is there, where it was looked at.
    pub(super) existing: Option<&'a Tags>,
    /// The tags that the request brings, where they are not in its head.
    pub(super) brought: Option<&'a Tags>,
    /// The version that is meant, where the address does not say it.
    pub(super) version: Option<&'a str>,
    /// What stands for the prefix of a listing, where none is asked for.
    pub(super) prefix: Option<&'a str>,
}

/// One parameter of a query, decoded.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    let pairs = parameters(query?).ok()?;
    let found = pairs.into_iter().find(|(found, _)| found == name);
    found.map(|(_, mut value)| {
        value.truncate(value.floor_char_boundary(VALUE_BYTES_MAX));
        value
    })
}

/// Longest value that is compared: patterns are matched in the product of both lengths.
const VALUE_BYTES_MAX: usize = 2048;

impl RequestFacts<'_> {
    fn header(&self, name: &str) -> Option<String> {
        let value = self.headers.get(name)?.as_bytes();
        let value = &value[..value.len().min(VALUE_BYTES_MAX)];
        Some(String::from_utf8_lossy(value).into_owned())
    }

    fn is_presigned(&self) -> bool {
        self.query
            .is_some_and(|query| query.contains("X-Amz-Signature="))
    }

    fn is_signed(&self) -> bool {
        self.is_form || self.is_presigned() || self.headers.contains_key(header::AUTHORIZATION)
    }

    /// When the signature was made.
    fn signed_at_ms(&self) -> Option<Millis> {
        let text = if self.is_presigned() {
            parameter(self.query, "X-Amz-Date")
        } else {
            self.header("x-amz-date")
        };
        let shape = format_description!("[year][month][day]T[hour][minute][second]Z");
        let time = PrimitiveDateTime::parse(&text?, &shape).ok()?.assume_utc();
        Some(time.unix_timestamp() * 1000)
    }

    fn tags(&self) -> Tags {
        match self.brought {
            Some(tags) => tags.clone(),
            // Tags that are refused later bring nothing here.
            None => headers::tags(self.header("x-amz-tagging").as_deref()).unwrap_or_default(),
        }
    }
}

impl Facts for RequestFacts<'_> {
    fn values(&self, key: &ConditionKey) -> Vec<String> {
        use ConditionKey as K;
        let one = match key {
            K::CurrentTime => OffsetDateTime::from_unix_timestamp(self.now_ms / 1000)
                .ok()
                .and_then(|now| now.format(&Rfc3339).ok()),
            K::EpochTime => Some((self.now_ms / 1000).to_string()),
            // The appliance speaks plain HTTP; what a proxy in front of it does, nobody here can vouch for.
            K::SecureTransport => Some("false".to_owned()),
            K::Referer => self.header("referer"),
            K::UserAgent => self.header("user-agent"),
            K::Prefix => parameter(self.query, "prefix").or_else(|| self.prefix.map(str::to_owned)),
            K::Delimiter => parameter(self.query, "delimiter"),
            K::MaxKeys => parameter(self.query, "max-keys"),
            K::VersionId => match self.version {
                Some(version) => Some(version.to_owned()),
                None => parameter(self.query, "versionId"),
            },
            K::SignatureVersion => self.is_signed().then(|| "AWS4-HMAC-SHA256".to_owned()),
            K::SignatureAge => self
                .signed_at_ms()
                .map(|at_ms| (self.now_ms - at_ms).max(0).to_string()),
            K::AuthType if self.is_form => Some("POST".to_owned()),
            K::AuthType if self.is_presigned() => Some("REST-QUERY-STRING".to_owned()),
            K::AuthType if self.is_signed() => Some("REST-HEADER".to_owned()),
            // A constraint stands in the body of CreateBucket, on which no bucket has a say; who calls, the identity room knows.
            K::AuthType
            | K::LocationConstraint
            | K::SourceIp
            | K::Username
            | K::UserId
            | K::PrincipalType => None,
            K::Header("x-amz-copy-source") => {
                let source = self.header("x-amz-copy-source").unwrap_or_default();
                let source = percent_decode_str(&source).decode_utf8_lossy().into_owned();
                let plain = source.trim_start_matches('/');
                if plain.is_empty() {
                    return Vec::new();
                }
                // Clients send it with and without the slash, and policies are written either way.
                return vec![plain.to_owned(), format!("/{plain}")];
            }
            K::Header(name) => self.header(name),
            K::ExistingTag(tag) => self.existing.and_then(|tags| tags.get(tag).cloned()),
            K::RequestTag(tag) => self.tags().get(tag).cloned(),
            K::RequestTagKeys => return self.tags().into_keys().collect(),
        };
        one.into_iter().collect()
    }

    fn is_settled(&self, key: &ConditionKey) -> bool {
        use ConditionKey as K;
        self.continues
            && match key {
                // These belong to the one request that carries them.
                K::Header(
                    "x-amz-copy-source" | "x-amz-content-sha256" | "if-match" | "if-none-match",
                ) => false,
                K::Header(_) | K::RequestTag(_) | K::RequestTagKeys => true,
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn of(key: &str, query: &str, pairs: &[(&'static str, &str)]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        let facts = RequestFacts {
            headers: &headers,
            query: Some(query),
            continues: false,
            is_form: false,
            now_ms: 1_767_225_700_000,
            existing: None,
            brought: None,
            version: None,
            prefix: None,
        };
        facts.values(&ConditionKey::parse(key).unwrap())
    }

    #[test]
    fn conditions_read_the_request() {
        assert_eq!(
            of("s3:prefix", "list-type=2&prefix=a%2Fb+c", &[]),
            ["a/b c"]
        );
        assert_eq!(of("s3:max-keys", "max-keys=7", &[]), ["7"]);
        assert!(of("s3:prefix", "list-type=2", &[]).is_empty());
        assert_eq!(
            of("aws:Referer", "", &[("referer", "https://a/")]),
            ["https://a/"]
        );
        assert_eq!(
            of("s3:x-amz-acl", "", &[("x-amz-acl", "private")]),
            ["private"]
        );
        assert_eq!(
            of(
                "s3:x-amz-copy-source",
                "",
                &[("x-amz-copy-source", "b/a%20c")]
            ),
            ["b/a c", "/b/a c"]
        );
        assert!(of("s3:x-amz-copy-source", "", &[]).is_empty());
        assert_eq!(
            of("s3:prefix", "%70refix=a+b", &[]),
            ["a b"],
            "read as s3s reads it"
        );
        let tags = [("x-amz-tagging", "team=red&x=1")];
        assert_eq!(of("s3:RequestObjectTag/team", "", &tags), ["red"]);
        assert_eq!(of("s3:RequestObjectTagKeys", "", &tags), ["team", "x"]);
        assert!(of("s3:ExistingObjectTag/team", "", &tags).is_empty());
        assert_eq!(of("aws:CurrentTime", "", &[]), ["2026-01-01T00:01:40Z"]);
        assert_eq!(of("aws:EpochTime", "", &[]), ["1767225700"]);
        assert_eq!(of("aws:SecureTransport", "", &[]), ["false"]);
        let presigned = "X-Amz-Date=20260101T000000Z&X-Amz-Signature=0";
        assert_eq!(of("s3:authType", presigned, &[]), ["REST-QUERY-STRING"]);
        assert_eq!(of("s3:signatureAge", presigned, &[]), ["100000"]);
        assert!(of("s3:signatureversion", "", &[]).is_empty());
        assert_eq!(
            of(
                "s3:object-lock-mode",
                "",
                &[("x-amz-object-lock-mode", "GOVERNANCE")]
            ),
            ["GOVERNANCE"]
        );
    }
}
