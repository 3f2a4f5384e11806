//! Roles, bucket patterns and grants: what is allowed where, before anybody asks.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::kernel::BucketName;

/// Grants that one caller may hold; more is refused when they are set.
pub const GRANTS_MAX: usize = 256;
/// Bucket patterns of one grant.
pub const PATTERNS_MAX: usize = 256;
/// Prefixes of one grant.
pub const PREFIXES_MAX: usize = 64;

/// What is allowed on a bucket; each from [`Role::Read`] on includes those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Make buckets, with every right on those that it made; on others only what their policies and lists allow.
    Own,
    /// List, read and play.
    Read,
    /// And store, delete and share.
    Write,
    /// And make, configure and remove buckets; on `*` also keys, jobs and the node itself.
    Admin,
}

impl Role {
    /// As stored and as people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    /// Reads what [`Role::as_str`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Own, Self::Read, Self::Write, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is not a bucket pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a bucket pattern: write a bucket's name, or one with `*` for any run of characters, as in `films`, `inbox-*` or `*`"
)]
pub struct PatternError(String);

/// A bucket's name, or one with `*` for any run of characters: `films`, `inbox-*`, `*`.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BucketPattern(Arc<str>);

impl BucketPattern {
    /// The pattern that names every bucket, those to come included.
    pub fn all() -> Self {
        Self("*".into())
    }

    /// As people write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is `*`, which alone speaks for the node as a whole.
    pub fn is_all(&self) -> bool {
        &*self.0 == "*"
    }

    /// Whether a bucket of this name is meant.
    pub fn matches(&self, bucket: &BucketName) -> bool {
        glob(self.0.as_bytes(), bucket.as_str().as_bytes())
    }
}

impl std::str::FromStr for BucketPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.*".contains(&b);
        if text.is_empty() || text.len() > 63 || !text.bytes().all(plain) {
            return Err(PatternError(text.chars().take(80).collect()));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for BucketPattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<BucketPattern> for String {
    fn from(pattern: BucketPattern) -> Self {
        pattern.0.to_string()
    }
}

impl fmt::Display for BucketPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `*` matches any run; returning to the last star alone keeps the work at pattern × name.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// A role on the buckets that the patterns name, and two rights that belong to no bucket.
///
/// The same JSON is stored with an access key and written in a tailnet policy:
/// `{"role":"read","buckets":["media","inbox-*"],"deploy":true}`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What is allowed there; nothing when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<BucketPattern>,
    /// Which keys there, by their start; all of them when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// Whether releases may be pushed to the node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deploy: bool,
    /// Whether jobs may be taken, with their sources read and their results stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub worker: bool,
}

impl Grant {
    /// A role on the buckets of one pattern.
    pub fn new(role: Role, bucket: BucketPattern) -> Self {
        Self {
            role: Some(role),
            buckets: vec![bucket],
            ..Self::default()
        }
    }

    /// Whether its role is held over whole buckets.
    pub fn is_whole(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Whether its role is held over every key that starts with `start`.
    pub(super) fn reaches(&self, start: &str) -> bool {
        self.is_whole() || self.prefixes.iter().any(|prefix| start.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn patterns_match_as_people_expect() {
        let table = [
            ("films", "films", true),
            ("films", "films2", false),
            ("inbox-*", "inbox-a", true),
            ("inbox-*", "inbox", false),
            ("*", "anything", true),
            ("*-raw", "cam-raw", true),
            ("*-raw", "cam-raw-x", false),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("***", "abc", true),
        ];
        for (pattern, name, expected) in table {
            let pattern: BucketPattern = pattern.parse().unwrap();
            assert_eq!(
                pattern.matches(&name.parse().unwrap()),
                expected,
                "{pattern} {name}"
            );
        }
        for bad in ["", "Films", "a b", "a/b", "a?c", &"a".repeat(64)] {
            assert!(bad.parse::<BucketPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_grant_reads_the_json_of_a_tailnet_policy() {
        let text = r#"{"role":"read","buckets":["media","inbox-*"],"deploy":true}"#;
        let grant: Grant = serde_json::from_str(text).unwrap();
        assert_eq!(grant.role, Some(Role::Read));
        assert!(grant.deploy && !grant.worker);
        assert_eq!(serde_json::to_string(&grant).unwrap(), text);
        for bad in [
            r#"{"role":"root"}"#,
            r#"{"buckets":["A"]}"#,
            r#"{"bucket":"media","role":"read"}"#,
        ] {
            assert!(serde_json::from_str::<Grant>(bad).is_err(), "{bad}");
        }
    }
}
