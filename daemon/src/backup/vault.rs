//! Sealing what leaves the machine.
//!
//! A target without a passphrase holds plain bytes.
//! With one, each object is AES-256-GCM over the bytes with the object's name as associated data, then a salt of 32 bytes and `NBK1`.
//! Its key is derived from the target's key and the salt: no two objects share a key, so the nonce is zero.
//! The target's key is random; the header holds it sealed by a key that Argon2id makes of the passphrase.

use aes_gcm::aead::{Aead, AeadInOut as _, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

use super::BackupError;

const MAGIC: &[u8; 4] = b"NBK1";
const SALT_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
/// What sealing adds to a length.
pub(super) const OVERHEAD: u64 = (MAGIC.len() + SALT_BYTES + TAG_BYTES) as u64;
const OBJECT_CONTEXT: &str = "nebula backup 2026: key of one object";
const NAME_CONTEXT: &str = "nebula backup 2026: names of chunks";
const HEADER: &[u8] = b"nebula-backup.json";
/// Argon2id: memory in KiB, passes, lanes. Above what OWASP asks for, and small enough for the daemon's bounds.
const COST: (u32, u32, u32) = (24 * 1024, 3, 1);
/// A header that asks for more memory than this is not ours.
const COST_KIB_MAX: u32 = 1 << 20;
const COST_PASSES_MAX: u32 = 64;

/// What opens an encrypted target.
#[derive(Clone)]
pub struct Passphrase(String);

impl Passphrase {
    /// A passphrase of some length; the empty one is none.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim_end_matches(['\n', '\r']);
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// How the header keeps the target's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SealedKey {
    kdf: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    key: String,
}

/// Seals and names what is kept, or lets it be.
#[derive(Clone)]
pub struct Vault(Option<Keys>);

#[derive(Clone)]
struct Keys {
    target: [u8; KEY_BYTES],
    names: [u8; KEY_BYTES],
}

impl Vault {
    /// One that seals nothing.
    pub(super) const PLAIN: Self = Self(None);

    /// Makes the key of a new target.
    pub(super) fn create(passphrase: &Passphrase) -> Result<(Self, SealedKey), BackupError> {
        let (mut key, mut salt) = ([0; KEY_BYTES], [0; SALT_BYTES]);
        getrandom::fill(&mut key).expect("the kernel gives random bytes");
        getrandom::fill(&mut salt).expect("the kernel gives random bytes");
        let cipher = Aes256Gcm::new(&stretch(passphrase, &salt, COST)?.into());
        let payload = Payload {
            msg: &key,
            aad: HEADER,
        };
        // The salt is random, so the key that seals is used this once.
        let sealed = cipher.encrypt(&Nonce::default(), payload);
        let sealed = sealed.expect("32 bytes are far below the cipher's limit");
        let sealed = SealedKey {
            kdf: "argon2id".to_owned(),
            memory_kib: COST.0,
            passes: COST.1,
            lanes: COST.2,
            salt: hex::encode(salt),
            key: hex::encode(sealed),
        };
        Ok((Self::of(key), sealed))
    }

    /// Opens the key of a target.
    pub(super) fn open(sealed: &SealedKey, passphrase: &Passphrase) -> Result<Self, BackupError> {
        let broken = || BackupError::damaged("nebula-backup.json", "its key is unreadable");
        if sealed.kdf != "argon2id"
            || sealed.memory_kib > COST_KIB_MAX
            || sealed.passes > COST_PASSES_MAX
        {
            return Err(broken());
        }
        let salt = hex::decode(&sealed.salt).map_err(|_| broken())?;
        let bytes = hex::decode(&sealed.key).map_err(|_| broken())?;
        let cost = (sealed.memory_kib, sealed.passes, sealed.lanes);
        let cipher = Aes256Gcm::new(&stretch(passphrase, &salt, cost)?.into());
        let payload = Payload {
            msg: &bytes,
            aad: HEADER,
        };
        let key = cipher.decrypt(&Nonce::default(), payload).map_err(|_| {
            BackupError::Passphrase("the passphrase is not the one this target was made with")
        })?;
        Ok(Self::of(key.try_into().map_err(|_| broken())?))
    }

    fn of(target: [u8; KEY_BYTES]) -> Self {
        let names = blake3::derive_key(NAME_CONTEXT, &target);
        Self(Some(Keys { target, names }))
    }

    /// Whether what it keeps is closed to others.
    pub fn is_sealing(&self) -> bool {
        self.0.is_some()
    }

    /// The length of `len` bytes once kept.
    pub(super) fn kept_len(&self, len: u64) -> u64 {
        len + if self.is_sealing() { OVERHEAD } else { 0 }
    }

    /// The name of a chunk, which tells nothing of its content to who has no key.
    pub(super) fn chunk_name(&self, bytes: &[u8]) -> String {
        let hash = match &self.0 {
            Some(keys) => blake3::keyed_hash(&keys.names, bytes),
            None => blake3::hash(bytes),
        };
        let hex = hash.to_hex();
        format!("catalog/{}/{hex}", &hex[..2])
    }

    /// Bytes as they are to be kept under `name`; sealed where they lie.
    pub(super) fn seal(&self, name: &str, mut bytes: Vec<u8>) -> Vec<u8> {
        let Some(keys) = &self.0 else {
            return bytes;
        };
        let mut salt = [0; SALT_BYTES];
        getrandom::fill(&mut salt).expect("the kernel gives random bytes");
        bytes.reserve_exact(OVERHEAD as usize);
        let sealed =
            keys.cipher(&salt)
                .encrypt_in_place(&Nonce::default(), name.as_bytes(), &mut bytes);
        sealed.expect("an object is far below the cipher's limit of 64 GiB");
        bytes.extend_from_slice(&salt);
        bytes.extend_from_slice(MAGIC);
        bytes
    }

    /// The bytes that were kept under `name`; plain ones are checked by who knows their hash.
    pub(super) fn unseal(&self, name: &str, mut kept: Vec<u8>) -> Result<Vec<u8>, BackupError> {
        let Some(keys) = &self.0 else {
            return Ok(kept);
        };
        let altered = || BackupError::damaged(name, "its seal is broken");
        let rest = kept.strip_suffix(MAGIC).ok_or_else(altered)?;
        let (sealed, salt) = rest.split_last_chunk::<SALT_BYTES>().ok_or_else(altered)?;
        let (length, cipher) = (sealed.len(), keys.cipher(salt));
        kept.truncate(length);
        cipher
            .decrypt_in_place(&Nonce::default(), name.as_bytes(), &mut kept)
            .map_err(|_| altered())?;
        Ok(kept)
    }
}

impl Keys {
    fn cipher(&self, salt: &[u8; SALT_BYTES]) -> Aes256Gcm {
        let material = [&self.target[..], salt].concat();
        Aes256Gcm::new(&blake3::derive_key(OBJECT_CONTEXT, &material).into())
    }
}

fn stretch(
    passphrase: &Passphrase,
    salt: &[u8],
    (memory_kib, passes, lanes): (u32, u32, u32),
) -> Result<[u8; KEY_BYTES], BackupError> {
    let broken = |_| BackupError::damaged("nebula-backup.json", "its key is unreadable");
    let params = Params::new(memory_kib, passes, lanes, Some(KEY_BYTES)).map_err(broken)?;
    let mut key = [0; KEY_BYTES];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.0.as_bytes(), salt, &mut key)
        .map_err(broken)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_the_passphrase_opens_and_only_under_the_name() {
        let right = Passphrase::new("correct horse\n").unwrap();
        let (vault, header) = Vault::create(&right).unwrap();
        let again = Vault::open(&header, &Passphrase::new("correct horse").unwrap()).unwrap();
        let kept = vault.seal("a", b"bytes".to_vec());
        assert_eq!(kept.len() as u64, vault.kept_len(5));
        assert_eq!(again.unseal("a", kept.clone()).unwrap(), b"bytes");
        assert!(again.unseal("b", kept.clone()).is_err(), "another name");
        for at in 0..kept.len() {
            let mut altered = kept.clone();
            altered[at] ^= 1;
            assert!(again.unseal("a", altered).is_err(), "byte {at}");
        }
        let wrong = Vault::open(&header, &Passphrase::new("wrong").unwrap());
        assert!(matches!(wrong, Err(BackupError::Passphrase(_))));
        assert_ne!(kept, vault.seal("a", b"bytes".to_vec()));
        assert_eq!(vault.chunk_name(b"x"), again.chunk_name(b"x"));
        assert_ne!(vault.chunk_name(b"x"), Vault::PLAIN.chunk_name(b"x"));
    }
}
