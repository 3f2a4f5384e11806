//! What is made of an encrypted object is encrypted as well: the segments of renditions, the sample index, the poster.
//!
//! It belongs to a content, which several objects under several keys may hold, so it stands under a key of its own: one for the appliance, wrapped like a data key and wrapped anew with them, from which one for each content follows.
//! What a customer encrypts is never looked at, and so nothing is made of it.

use super::encryption::{Encryption, How, WrappedKey};
use super::object::{Object, json, to_json};
use super::{Store, StoreError};
use crate::blob::DataKey;
use crate::kernel::{ContentId, Id};

/// Where the wrapped key lies.
const SETTING: &str = "store.derived_key";
/// Begins what was sealed for a row; neither an index, nor a JPEG begins so.
const MAGIC: &[u8] = b"NBSEAL\x01";
const SALT_BYTES: usize = 16;

fn of_content(key: &DataKey, content: ContentId) -> DataKey {
    let mut material = [0; 64];
    material[..32].copy_from_slice(key.as_bytes());
    material[32..].copy_from_slice(&content.0);
    let context = "nebula 2026-11 data key of what is made of a content";
    DataKey::from_bytes(blake3::derive_key(context, &material))
}

/// No two values stand under one key.
fn of_value(key: &DataKey, salt: &[u8; SALT_BYTES]) -> DataKey {
    let mut material = [0; 32 + SALT_BYTES];
    material[..32].copy_from_slice(key.as_bytes());
    material[32..].copy_from_slice(salt);
    let context = "nebula 2026-11 data key of a value in a row";
    DataKey::from_bytes(blake3::derive_key(context, &material))
}

impl Store {
    /// How segments that are made of an object are to be encrypted; not at all where the object is not.
    ///
    /// # Errors
    /// Those of the catalog; [`StoreError::Damaged`] when the key cannot be opened.
    pub async fn derived_encryption(
        &self,
        object: &Object,
    ) -> Result<Option<Encryption>, StoreError> {
        if object.encrypted().is_none() {
            return Ok(None);
        }
        Ok(Some(Encryption {
            data: self.derived_key(object.content_id).await?,
            how: How::Appliance,
        }))
    }

    /// Seals what is made of an object and lies in a row, where the object is encrypted; else gives it back as it is.
    ///
    /// # Errors
    /// As [`Store::derived_encryption`].
    pub async fn seal_derived(
        &self,
        object: &Object,
        plain: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        if object.encrypted().is_none() {
            return Ok(plain);
        }
        let salt = *Id::random().as_bytes();
        let key = of_value(&self.derived_key(object.content_id).await?, &salt);
        Ok([MAGIC, &salt, &key.seal_small(&plain)].concat())
    }

    /// Opens what [`Store::seal_derived`] gave.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it was altered or its key is lost; those of the catalog.
    pub async fn open_derived(
        &self,
        content: ContentId,
        stored: Vec<u8>,
    ) -> Result<Vec<u8>, StoreError> {
        let Some(sealed) = stored.strip_prefix(MAGIC) else {
            return Ok(stored);
        };
        let opened = match sealed.split_first_chunk::<SALT_BYTES>() {
            Some((salt, frame)) => {
                of_value(&self.derived_key(content).await?, salt).open_small(frame)
            }
            None => None,
        };
        opened.ok_or_else(|| {
            StoreError::Damaged(format!("what was made of content {content} does not open"))
        })
    }

    /// The key of what is made of a content.
    pub(super) async fn derived_key(&self, content: ContentId) -> Result<DataKey, StoreError> {
        let setting = match self.0.catalog.setting(SETTING).await? {
            Some(setting) => setting,
            None => {
                let fresh = to_json(&self.wrap(&DataKey::random()).await?);
                let make = self.0.catalog.write(move |tx| {
                    Box::pin(async move {
                        let stands = tx.setting_or_insert(SETTING, fresh.as_bytes()).await?;
                        Ok::<_, StoreError>(stands)
                    })
                });
                make.await?
            }
        };
        let wrapped: WrappedKey = json(SETTING, &String::from_utf8_lossy(&setting))?;
        Ok(of_content(&self.unwrap_key(&wrapped).await?, content))
    }

    /// Wraps the key with the newest encryption key, unless it is; returns how many were wrapped anew.
    pub(super) async fn rewrap_derived(&self, newest: &str) -> Result<u64, StoreError> {
        let Some(setting) = self.0.catalog.setting(SETTING).await? else {
            return Ok(0);
        };
        let wrapped: WrappedKey = json(SETTING, &String::from_utf8_lossy(&setting))?;
        if wrapped.by == newest {
            return Ok(0);
        }
        // It is made once and never changed, so whoever wraps it wraps the same.
        let again = to_json(&self.wrap(&self.unwrap_key(&wrapped).await?).await?);
        let change = self.0.catalog.write(move |tx| {
            Box::pin(async move {
                Ok::<_, StoreError>(tx.put_setting(SETTING, again.as_bytes()).await?)
            })
        });
        change.await?;
        Ok(1)
    }
}
