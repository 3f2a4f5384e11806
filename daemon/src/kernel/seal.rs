//! Sealing what rests in the catalog.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};

/// Bytes of a key.
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
/// The first byte of everything sealed, so that another cipher can follow one day.
const FORMAT: u8 = 1;

/// Seals what rests in the catalog: AES-256-GCM, a random 96-bit nonce for each.
///
/// The associated data names the row, so a sealed value copied to another row does not open.
#[derive(Clone)]
pub struct MasterKey(Aes256Gcm);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// The key with these bytes.
    pub fn from_bytes(key: [u8; KEY_BYTES]) -> Self {
        Self(Aes256Gcm::new(&key.into()))
    }

    /// Seals bytes for the row that `name` names: format, nonce, ciphertext with its 16-byte tag.
    ///
    /// # Panics
    /// When the operating system has no randomness to give, which no caller can act on.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).expect("the kernel gives random bytes");
        let payload = Payload {
            msg: plain,
            aad: name.as_bytes(),
        };
        let sealed = self.0.encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.expect("a secret is far below the cipher's limit of 64 GiB");
        [&[FORMAT][..], &nonce, &sealed].concat()
    }

    /// Opens what [`MasterKey::seal`] made under the same name; `None` when it was altered, moved, or sealed by another key.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (format, rest) = sealed.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        if *format != FORMAT {
            return None;
        }
        let payload = Payload {
            msg: sealed,
            aad: name.as_bytes(),
        };
        self.0.decrypt(&Nonce::from(*nonce), payload).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_opens_only_unaltered_and_under_its_name() {
        let key = MasterKey::from_bytes([7; 32]);
        let sealed = key.seal("NEBA", b"secret");
        assert_eq!(key.open("NEBA", &sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(key.open("NEBB", &sealed), None);
        assert_eq!(MasterKey::from_bytes([8; 32]).open("NEBA", &sealed), None);
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert_eq!(key.open("NEBA", &altered), None, "byte {at}");
            assert_eq!(key.open("NEBA", &sealed[..at]), None, "first {at} bytes");
        }
        assert_ne!(sealed, key.seal("NEBA", b"secret"));
    }
}
