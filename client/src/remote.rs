//! Remote paths as people type them: `bucket:key`.

use crate::Error;
use std::{fmt, str::FromStr};

/// `bucket:`, `bucket:key` or `bucket:prefix/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The bucket.
    pub bucket: String,
    /// The key or prefix; empty for the whole bucket.
    pub key: String,
}

impl Remote {
    /// Whether it names a place to put things into (a bucket or `…/`) and not one object.
    pub fn is_folder(&self) -> bool {
        self.key.is_empty() || self.key.ends_with('/')
    }
}

impl FromStr for Remote {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // `s3://bucket/key` is what fingers trained on other tools type.
        let split = match text.strip_prefix("s3://") {
            Some(rest) => Some(rest.split_once('/').unwrap_or((rest, ""))),
            None => text.split_once(':'),
        };
        match split {
            Some((bucket, key)) if is_bucket_name(bucket) => Ok(Self {
                bucket: bucket.to_owned(),
                key: key.to_owned(),
            }),
            Some((bucket, _)) => Err(Error::Usage {
                message: format!("'{bucket}' cannot be the name of a bucket."),
                hint: Some(
                    "A bucket's name is 3 to 63 of a-z, 0-9, '-' and '.'; remote paths are bucket:key."
                        .into(),
                ),
            }),
            None => Err(Error::Usage {
                message: format!("'{text}' is no remote path: it has no bucket."),
                hint: Some(format!("Remote paths are bucket:key. Did you mean {text}: ?")),
            }),
        }
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.bucket, self.key)
    }
}

/// A quick look that saves a round trip; the node has the last word.
pub fn is_bucket_name(name: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (3..=63).contains(&name.len())
        && edge(name.as_bytes().first())
        && edge(name.as_bytes().last())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_paths() {
        let table = [
            ("films:", Some(("films", ""))),
            ("films:a/b.mp4", Some(("films", "a/b.mp4"))),
            ("films:a:b", Some(("films", "a:b"))),
            ("s3://films/a/b", Some(("films", "a/b"))),
            ("s3://films", Some(("films", ""))),
            ("films", None),
            ("./films", None),
            ("Films:x", None),
            (":x", None),
        ];
        for (text, want) in table {
            let got = text.parse::<Remote>().ok();
            let got = got.as_ref().map(|r| (r.bucket.as_str(), r.key.as_str()));
            assert_eq!(got, want, "{text}");
        }
    }
}
