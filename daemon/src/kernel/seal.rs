//! Sealing what rests in the catalog.

use std::sync::{Arc, PoisonError, RwLock};

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
/// The newest key seals, every key that is kept opens: so the key can be replaced while several processes hold it.
#[derive(Clone)]
pub struct MasterKey(Arc<Ring>);

struct Ring {
    /// Newest first.
    keys: RwLock<Vec<Aes256Gcm>>,
    /// Where they come from, to be asked again when another process may have made a new one.
    source: Option<Source>,
}

/// Tells the keys as they are now, newest first; `None` when it cannot.
pub type Source = Box<dyn Fn() -> Option<Vec<[u8; KEY_BYTES]>> + Send + Sync>;

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

impl MasterKey {
    /// The key with these bytes.
    pub fn from_bytes(key: [u8; KEY_BYTES]) -> Self {
        Self(Arc::new(Ring {
            keys: RwLock::new(vec![Aes256Gcm::new(&key.into())]),
            source: None,
        }))
    }

    /// The keys that `source` tells; `None` when it tells none.
    pub fn from_source(source: Source) -> Option<Self> {
        let ring = Self(Arc::new(Ring {
            keys: RwLock::new(Vec::new()),
            source: Some(source),
        }));
        ring.reload().then_some(ring)
    }

    /// Asks the source again; `false` when it has nothing to tell.
    fn reload(&self) -> bool {
        let told = self.0.source.as_ref().and_then(|source| source());
        let Some(told) = told.filter(|told| !told.is_empty()) else {
            return false;
        };
        let keys = told.into_iter().map(|key| Aes256Gcm::new(&key.into()));
        *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = keys.collect();
        true
    }

    /// Seals bytes for the row that `name` names: format, nonce, ciphertext with its 16-byte tag.
    ///
    /// Rare, so that the source is asked each time: nothing is sealed by a key that was replaced.
    ///
    /// # Panics
    /// When the operating system has no randomness to give, which no caller can act on.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Vec<u8> {
        self.reload();
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).expect("the kernel gives random bytes");
        let payload = Payload {
            msg: plain,
            aad: name.as_bytes(),
        };
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        let newest = keys.first().expect("there is a key from the first moment");
        let sealed = newest.encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.expect("a secret is far below the cipher's limit of 64 GiB");
        [&[FORMAT][..], &nonce, &sealed].concat()
    }

    /// Opens what [`MasterKey::seal`] made under the same name; `None` when it was altered, moved, or sealed by another key.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        self.open_with_known(name, sealed)
            .or_else(|| self.reload().then(|| self.open_with_known(name, sealed))?)
    }

    fn open_with_known(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (format, rest) = sealed.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        if *format != FORMAT {
            return None;
        }
        let nonce = Nonce::from(*nonce);
        let keys = self.0.keys.read().unwrap_or_else(PoisonError::into_inner);
        keys.iter().find_map(|key| {
            let payload = Payload {
                msg: sealed,
                aad: name.as_bytes(),
            };
            key.decrypt(&nonce, payload).ok()
        })
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

    #[test]
    fn a_new_key_is_noticed_and_the_older_ones_still_open() {
        use std::sync::Mutex;
        let file = Arc::new(Mutex::new(vec![[1; 32]]));
        let open = || {
            let file = Arc::clone(&file);
            MasterKey::from_source(Box::new(move || Some(file.lock().ok()?.clone())))
        };
        let (ours, theirs) = (open().expect("a key"), open().expect("a key"));
        let before = ours.seal("x", b"before");
        file.lock().expect("no panic").insert(0, [2; 32]);
        let after = theirs.seal("x", b"after");
        assert_eq!(MasterKey::from_bytes([1; 32]).open("x", &after), None);
        for key in [ours, theirs] {
            assert_eq!(key.open("x", &before).as_deref(), Some(&b"before"[..]));
            assert_eq!(key.open("x", &after).as_deref(), Some(&b"after"[..]));
        }
        assert!(MasterKey::from_source(Box::new(|| None)).is_none());
    }
}
