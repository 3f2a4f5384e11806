//! Encryption at rest: which objects are encrypted, with which key, and how their rows say so.
//!
//! The bytes of an encrypted object version, or of all parts of an upload, stand under one data key of their own; see `blob::cipher` for their frames.
//! That key is random and rests wrapped by the appliance's encryption key (`keyring`), or it follows from a key that the customer sends with each request and that is never stored: the row then holds a salt and a verifier.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::default_encryption::DefaultEncryption;
use super::object::{Object, json};
use super::{ObjectExtras, Store, StoreError};
use crate::blob::DataKey;
use crate::catalog::UploadRow;
use crate::kernel::{BucketName, Id};

/// A key that a customer keeps, and sends with every request for what was encrypted with it (SSE-C).
#[derive(Clone)]
pub struct CustomerKey([u8; 32]);

impl CustomerKey {
    /// The key with these bytes.
    pub const fn from_bytes(key: [u8; 32]) -> Self {
        Self(key)
    }
}

impl std::fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CustomerKey(…)")
    }
}

/// What a writer asks for.
#[derive(Clone, Debug)]
pub enum EncryptionAsked {
    /// The appliance keeps the key (SSE-S3).
    Appliance,
    /// The same, under a name that the client gave (SSE-KMS): the appliance has no other keys, so the name is kept and told, no more.
    Named(String),
    /// The customer keeps the key (SSE-C).
    Customer(CustomerKey),
}

/// How bytes on their way in or out are encrypted.
#[derive(Clone, Debug)]
pub struct Encryption {
    pub(super) data: DataKey,
    pub(super) how: How,
}

/// Who keeps the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum How {
    Appliance,
    Named(String),
    Customer { salt: Id, verifier: Id },
}

/// How an object version or an upload is encrypted, as its row says it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "key_of", rename_all = "snake_case")]
pub enum Encrypted {
    /// The appliance keeps the key.
    Appliance {
        /// The data key.
        key: WrappedKey,
    },
    /// The same, under a client's name for it.
    Named {
        /// The data key.
        key: WrappedKey,
        /// The name.
        name: String,
    },
    /// The customer keeps the key.
    Customer {
        /// 32 hex digits that make the data key differ from that of any other version.
        salt: String,
        /// 32 hex digits by which the right key is known.
        verifier: String,
    },
}

/// A data key at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    /// The id of the encryption key that wraps it.
    pub by: String,
    /// What [`crate::kernel::MasterKey::seal`] made of it, in base64.
    pub sealed: String,
}

impl Encrypted {
    /// Whether the customer keeps the key, so that nobody here can read the bytes.
    pub fn is_customers(&self) -> bool {
        matches!(self, Self::Customer { .. })
    }

    /// The client's name for the key.
    pub fn key_name(&self) -> Option<&str> {
        match self {
            Self::Named { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The data key at rest, where the appliance keeps it.
    pub(super) fn wrapped(&mut self) -> Option<&mut WrappedKey> {
        match self {
            Self::Appliance { key } | Self::Named { key, .. } => Some(key),
            Self::Customer { .. } => None,
        }
    }

    /// Whether a caller with this key, or none, may know more than that the object is there.
    ///
    /// # Errors
    /// [`StoreError::KeyRequired`] and [`StoreError::WrongKey`], where the customer keeps the key.
    pub fn check(&self, key: Option<&CustomerKey>) -> Result<(), StoreError> {
        self.customers(key).map(|_| ())
    }

    /// What follows from a customer's key; `None` where the appliance keeps it.
    pub(super) fn customers(
        &self,
        key: Option<&CustomerKey>,
    ) -> Result<Option<Encryption>, StoreError> {
        let Self::Customer { salt, verifier } = self else {
            return Ok(None);
        };
        let read = |text: &str| {
            text.parse::<Id>()
                .map_err(|e| StoreError::Damaged(format!("object_version.extras sse: {e}")))
        };
        let (salt, verifier) = (read(salt)?, read(verifier)?);
        let found = Encryption::of_customer(key.ok_or(StoreError::KeyRequired)?, salt);
        let How::Customer { verifier: own, .. } = &found.how else {
            return Err(StoreError::WrongKey);
        };
        let same = own.as_bytes().ct_eq(verifier.as_bytes());
        if bool::from(same) {
            Ok(Some(found))
        } else {
            Err(StoreError::WrongKey)
        }
    }
}

impl Encryption {
    /// A fresh data key for bytes that are to be written.
    pub fn new(asked: EncryptionAsked) -> Self {
        let how = match asked {
            EncryptionAsked::Appliance => How::Appliance,
            EncryptionAsked::Named(name) => How::Named(name),
            EncryptionAsked::Customer(key) => return Self::of_customer(&key, Id::random()),
        };
        Self {
            data: DataKey::random(),
            how,
        }
    }

    fn of_customer(key: &CustomerKey, salt: Id) -> Self {
        let mut material = [0; 48];
        material[..32].copy_from_slice(&key.0);
        material[32..].copy_from_slice(salt.as_bytes());
        let data = blake3::derive_key("nebula 2026-11 data key of a customer's key", &material);
        let check = blake3::derive_key("nebula 2026-11 verifier of a customer's key", &material);
        let mut verifier = [0; 16];
        verifier.copy_from_slice(&check[..16]);
        Self {
            data: DataKey::from_bytes(data),
            how: How::Customer {
                salt,
                verifier: Id::from_bytes(verifier),
            },
        }
    }

    /// Whether the customer keeps the key: then nothing that follows from the plaintext is kept beside the bytes.
    pub fn is_customers(&self) -> bool {
        matches!(self.how, How::Customer { .. })
    }

    /// For the blob room.
    pub(super) fn of_blob(&self) -> crate::blob::Encryption {
        crate::blob::Encryption {
            key: self.data.clone(),
            hash_plain: !self.is_customers(),
        }
    }
}

impl Object {
    /// How it is encrypted, if it is.
    pub fn encrypted(&self) -> Option<&Encrypted> {
        self.extras.sse.as_ref()
    }

    /// Whether nobody can read it without a key that only its owner has.
    pub fn needs_key(&self) -> bool {
        self.encrypted().is_some_and(Encrypted::is_customers)
    }
}

impl Store {
    /// How bytes for this bucket are to be encrypted: as asked, else as the bucket has it by default.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn encryption(
        &self,
        bucket: &BucketName,
        asked: Option<EncryptionAsked>,
    ) -> Result<Option<Encryption>, StoreError> {
        let asked = match asked {
            Some(asked) => Some(asked),
            None => self
                .default_encryption(bucket)
                .await?
                .map(DefaultEncryption::asked),
        };
        Ok(asked.map(Encryption::new))
    }

    /// What a row says of an encryption, with its data key wrapped by the newest encryption key; to be asked for right before the commit.
    ///
    /// # Errors
    /// Those of the catalog; [`StoreError::Damaged`] when the encryption keys cannot be opened.
    pub async fn encrypted(&self, encryption: &Encryption) -> Result<Encrypted, StoreError> {
        Ok(match &encryption.how {
            How::Appliance => Encrypted::Appliance {
                key: self.wrap(&encryption.data).await?,
            },
            How::Named(name) => Encrypted::Named {
                key: self.wrap(&encryption.data).await?,
                name: name.clone(),
            },
            How::Customer { salt, verifier } => Encrypted::Customer {
                salt: salt.to_string(),
                verifier: verifier.to_string(),
            },
        })
    }

    /// The data key behind a row, with the customer's key where there is one.
    ///
    /// # Errors
    /// [`StoreError::KeyRequired`], [`StoreError::WrongKey`]; [`StoreError::Damaged`] when the wrapping key is lost.
    pub async fn decryption(
        &self,
        encrypted: &Encrypted,
        key: Option<&CustomerKey>,
    ) -> Result<Encryption, StoreError> {
        if let Some(customers) = encrypted.customers(key)? {
            return Ok(customers);
        }
        let (wrapped, how) = match encrypted {
            Encrypted::Appliance { key } => (key, How::Appliance),
            Encrypted::Named { key, name } => (key, How::Named(name.clone())),
            Encrypted::Customer { .. } => return Err(StoreError::KeyRequired),
        };
        Ok(Encryption {
            data: self.unwrap_key(wrapped).await?,
            how,
        })
    }

    /// Whether the bytes in the row, which were looked up with it, are what they were; of what lies elsewhere nothing is said.
    pub(super) async fn is_sound_inline(&self, object: &Object) -> Result<bool, StoreError> {
        let Some(stored) = &object.inline else {
            return Ok(true);
        };
        match object.encrypted() {
            // Altered bytes do not open.
            Some(encrypted) if !encrypted.is_customers() => {
                match self.decryption(encrypted, None).await {
                    Ok(found) => Ok(found.data.open_small(stored).is_some()),
                    Err(StoreError::Damaged(_)) => Ok(false),
                    Err(error) => Err(error),
                }
            }
            // What a customer encrypted is named by the bytes as they lie here.
            _ => Ok(*blake3::hash(stored).as_bytes() == object.content_id.0),
        }
    }

    /// How the parts of an upload are to be encrypted.
    ///
    /// # Errors
    /// Those of [`Store::decryption`].
    pub async fn upload_encryption(
        &self,
        upload: &UploadRow,
        key: Option<&CustomerKey>,
    ) -> Result<Option<Encryption>, StoreError> {
        match self.upload_encrypted(upload)? {
            Some(encrypted) => self.decryption(&encrypted, key).await.map(Some),
            None => Ok(None),
        }
    }

    /// What the row of an upload says of its encryption.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn upload_encrypted(&self, upload: &UploadRow) -> Result<Option<Encrypted>, StoreError> {
        let extras: ObjectExtras = json("upload.extras", &upload.extras)?;
        Ok(extras.sse)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_the_customers_own_key_opens() {
        let (right, wrong) = (
            CustomerKey::from_bytes([1; 32]),
            CustomerKey::from_bytes([2; 32]),
        );
        let made = Encryption::new(EncryptionAsked::Customer(right.clone()));
        let How::Customer { salt, verifier } = &made.how else {
            panic!("a customer's key makes a customer's encryption");
        };
        let row = Encrypted::Customer {
            salt: salt.to_string(),
            verifier: verifier.to_string(),
        };
        let found = row.customers(Some(&right)).unwrap().unwrap();
        assert_eq!(found.data.as_bytes(), made.data.as_bytes());
        assert!(matches!(row.check(Some(&wrong)), Err(StoreError::WrongKey)));
        assert!(matches!(row.check(None), Err(StoreError::KeyRequired)));
        let other = Encryption::new(EncryptionAsked::Customer(right));
        assert_ne!(other.data.as_bytes(), made.data.as_bytes(), "each its own");
    }

    #[test]
    fn a_row_says_who_keeps_the_key_and_never_the_key() {
        let key = WrappedKey {
            by: "k1".into(),
            sealed: "c2VhbGVk".into(),
        };
        let row = Encrypted::Named {
            key,
            name: "films".into(),
        };
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(
            text,
            r#"{"key_of":"named","key":{"by":"k1","sealed":"c2VhbGVk"},"name":"films"}"#
        );
        assert_eq!(serde_json::from_str::<Encrypted>(&text).unwrap(), row);
        let customers = Encryption::new(EncryptionAsked::Customer(CustomerKey::from_bytes(
            [0xab; 32],
        )));
        assert!(!format!("{customers:?}").contains("171"));
    }
}
