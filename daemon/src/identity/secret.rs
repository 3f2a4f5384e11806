//! A text that no log, error or debug output shows.

use std::fmt;

use subtle::ConstantTimeEq;

/// Characters of a generated secret: 240 random bits in the URL alphabet of base64, so it survives shells, URLs and configuration files unquoted.
pub const SECRET_CHARACTERS: usize = 40;

/// A secret key, token or password.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text that came from its holder.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// A fresh secret access key.
    ///
    /// # Panics
    /// When the operating system has no randomness to give, which no caller can act on.
    pub fn random() -> Self {
        use base64::Engine as _;
        let mut bytes = [0; SECRET_CHARACTERS / 4 * 3];
        getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
        Self(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The text itself; the name makes every use findable.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether the texts are equal, in a time that tells nothing of either, their lengths included.
    pub fn equals(&self, other: &str) -> bool {
        let ours = blake3::hash(self.0.as_bytes());
        let theirs = blake3::hash(other.as_bytes());
        ours.as_bytes().ct_eq(theirs.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_compares_and_hides() {
        let secret = Secret::random();
        assert_eq!(secret.reveal().len(), SECRET_CHARACTERS);
        assert!(secret.equals(secret.reveal()));
        assert!(!secret.equals("") && !secret.equals(&secret.reveal()[1..]));
        assert!(!format!("{secret:?}").contains(secret.reveal()));
    }
}
