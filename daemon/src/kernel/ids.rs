//! Identifiers: 128 random bits written as 32 lower-case hex digits, one type per noun.

use std::fmt;
use std::str::FromStr;

/// Why a text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id is 32 lower-case hexadecimal digits")]
pub struct IdError;

/// 128 unguessable bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id([u8; 16]);

impl Id {
    /// A fresh random id.
    ///
    /// # Panics
    /// When the operating system has no randomness to give, which no caller can act on.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
        Self(bytes)
    }

    /// The id with these bits.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bits.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let lower = text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let mut bytes = [0; 16];
        if !lower || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(IdError);
        }
        Ok(Self(bytes))
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Id);

        impl $name {
            /// A fresh random id.
            pub fn random() -> Self {
                Self(Id::random())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.parse().map(Self)
            }
        }
    };
}

id!(
    /// An immutable file of bytes, or one that is being written.
    BlobId
);
id!(
    /// An upload in progress: tus, resumable HTTP or S3 multipart.
    UploadId
);
id!(
    /// One job of the queue.
    JobId
);
id!(
    /// A signed link.
    LinkId
);

/// The version of an object: `null` while the bucket is not versioned, else 32 hex digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct VersionId(String);

impl VersionId {
    /// The version of every object written while versioning is off or suspended.
    pub fn null() -> Self {
        Self("null".into())
    }

    /// A fresh version id.
    pub fn random() -> Self {
        Self(Id::random().to_string())
    }

    /// As it appears on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the unversioned `null`.
    pub fn is_null(&self) -> bool {
        self.0 == "null"
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for VersionId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == "null" {
            Ok(Self::null())
        } else {
            text.parse::<Id>().map(|id| Self(id.to_string()))
        }
    }
}

/// The public half of an access key: 4 to 128 letters, digits, `-`, `_` or `.`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct AccessKeyId(String);

impl AccessKeyId {
    /// A fresh id: `NEB` and 17 capital letters or digits, 20 characters as S3 clients expect.
    pub fn random() -> Self {
        Self::behind("NEB")
    }

    /// A fresh id of a temporary key: the same behind `NET`.
    pub fn temporary() -> Self {
        Self::behind("NET")
    }

    /// Whether it is the id of a temporary key.
    pub fn is_temporary(&self) -> bool {
        self.0.starts_with("NET")
    }

    fn behind(head: &str) -> Self {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let first = Id::random();
        let second = Id::random();
        let tail = first.as_bytes().iter().chain(second.as_bytes()).take(17);
        Self(format!(
            "{head}{}",
            tail.map(|b| char::from(ALPHABET[usize::from(b % 32)]))
                .collect::<String>()
        ))
    }

    /// As it appears on the wire.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccessKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccessKeyId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let fits = (4..=128).contains(&text.len());
        let plain = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if fits && plain {
            Ok(Self(text.into()))
        } else {
            Err(IdError)
        }
    }
}

/// Names a sequence of bytes by its content: equal content ids mean equal bytes.
///
/// 64 hex digits: the BLAKE3 hash of the bytes when they lie in one blob, else the BLAKE3 hash of the list of extents.
/// Sample indexes, posters and renditions are keyed by it, so a copy or a rename costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentId(pub [u8; 32]);

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentId({self})")
    }
}

impl FromStr for ContentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError)?;
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_refuse_noise() {
        let id = Id::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in [
            "",
            "00",
            "ZZ",
            &"g".repeat(32),
            &"A".repeat(32),
            &"0".repeat(33),
        ] {
            assert_eq!(bad.parse::<Id>(), Err(IdError), "{bad}");
        }
    }

    #[test]
    fn access_key_ids_look_like_what_s3_clients_expect() {
        let id = AccessKeyId::random();
        assert_eq!(id.as_str().len(), 20);
        assert_eq!(id.as_str().parse(), Ok(id));
        assert!("a/b".parse::<AccessKeyId>().is_err());
    }
}
