//! Bucket names and object keys, with the rules of Amazon S3.

use std::fmt;
use std::str::FromStr;

use super::limits::OBJECT_KEY_BYTES_MAX;

/// Why a name is refused; the text says what to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Length outside 3 to 63.
    #[error("a bucket name has 3 to 63 characters")]
    BucketLength,
    /// A character that is not allowed.
    #[error(
        "a bucket name holds lower-case letters, digits, '-' and '.', and starts and ends with a letter or a digit"
    )]
    BucketCharacter,
    /// `..`, `.-` or `-.`.
    #[error("a bucket name has no '.' beside another '.' or a '-'")]
    BucketDots,
    /// Would be taken for an address.
    #[error("a bucket name is not an IP address")]
    BucketAddress,
    /// Empty key.
    #[error("an object key has at least one character")]
    KeyEmpty,
    /// Key too long.
    #[error("an object key has at most {OBJECT_KEY_BYTES_MAX} bytes of UTF-8")]
    KeyTooLong,
    /// NUL cannot be carried by any client.
    #[error("an object key holds no NUL character")]
    KeyNul,
}

/// A valid bucket name (Amazon S3, "General purpose bucket naming rules").
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BucketName(String);

impl BucketName {
    /// As it appears on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BucketName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let bytes = name.as_bytes();
        if !(3..=63).contains(&bytes.len()) {
            return Err(NameError::BucketLength);
        }
        let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let inner = |b: &u8| edge(*b) || *b == b'-' || *b == b'.';
        if !edge(bytes[0]) || !edge(bytes[bytes.len() - 1]) || !bytes.iter().all(inner) {
            return Err(NameError::BucketCharacter);
        }
        if [b"..", b".-", b"-."]
            .iter()
            .any(|pair| bytes.windows(2).any(|w| w == *pair))
        {
            return Err(NameError::BucketDots);
        }
        if name.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err(NameError::BucketAddress);
        }
        Ok(Self(name.into()))
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A valid object key: 1 to 1,024 bytes of UTF-8, ordered by its bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// As it appears on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The bytes that the catalog orders by.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// The part behind the last `/`.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// The lower-case extension of the file name, without the dot.
    pub fn extension(&self) -> Option<String> {
        let (stem, extension) = self.file_name().rsplit_once('.')?;
        (!stem.is_empty() && !extension.is_empty()).then(|| extension.to_ascii_lowercase())
    }
}

impl FromStr for ObjectKey {
    type Err = NameError;

    fn from_str(key: &str) -> Result<Self, NameError> {
        match key.len() {
            0 => Err(NameError::KeyEmpty),
            n if n > OBJECT_KEY_BYTES_MAX => Err(NameError::KeyTooLong),
            _ if key.contains('\0') => Err(NameError::KeyNul),
            _ => Ok(Self(key.into())),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_the_rules_of_s3() {
        for good in ["abc", "my-bucket", "a.b.c", "0films", &"a".repeat(63)] {
            assert!(good.parse::<BucketName>().is_ok(), "{good}");
        }
        for (bad, why) in [
            ("ab", NameError::BucketLength),
            (&"a".repeat(64), NameError::BucketLength),
            ("-abc", NameError::BucketCharacter),
            ("Abc", NameError::BucketCharacter),
            ("a_c", NameError::BucketCharacter),
            ("a..b", NameError::BucketDots),
            ("a.-b", NameError::BucketDots),
            ("10.0.0.1", NameError::BucketAddress),
        ] {
            assert_eq!(bad.parse::<BucketName>(), Err(why), "{bad}");
        }
    }

    #[test]
    fn keys_are_bounded_in_bytes() {
        assert!("k".repeat(1024).parse::<ObjectKey>().is_ok());
        assert_eq!(
            "k".repeat(1025).parse::<ObjectKey>(),
            Err(NameError::KeyTooLong)
        );
        assert_eq!(
            "é".repeat(513).parse::<ObjectKey>(),
            Err(NameError::KeyTooLong)
        );
        assert_eq!("".parse::<ObjectKey>(), Err(NameError::KeyEmpty));
    }

    #[test]
    fn extension_is_of_the_file_name_alone() {
        let of = |key: &str| key.parse::<ObjectKey>().expect("valid").extension();
        assert_eq!(of("a.b/film.MKV").as_deref(), Some("mkv"));
        assert_eq!(of("a.b/film"), None);
        assert_eq!(of(".profile"), None);
    }
}
