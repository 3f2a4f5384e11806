//! What a bucket does with bytes whose writer asked for no encryption.

use serde::{Deserialize, Serialize};

use super::encryption::EncryptionAsked;
use super::object::json;
use super::{Store, StoreError};
use crate::kernel::BucketName;

/// The setting of a bucket that holds it.
const SETTING: &str = "encryption";

/// The encryption of a bucket by default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultEncryption {
    /// The client's name for the key (SSE-KMS); without it, SSE-S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// `BucketKeyEnabled` as it was set: kept and told, as it means nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_key: Option<bool>,
}

/// The settings of a bucket as far as they matter here.
#[derive(Deserialize)]
struct Settings {
    encryption: Option<DefaultEncryption>,
}

impl DefaultEncryption {
    /// What it stands for.
    pub fn asked(self) -> EncryptionAsked {
        match self.key_name {
            Some(name) => EncryptionAsked::Named(name),
            None => EncryptionAsked::Appliance,
        }
    }
}

impl Store {
    /// The encryption of a bucket by default; a bucket that is not there has none.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn default_encryption(
        &self,
        bucket: &BucketName,
    ) -> Result<Option<DefaultEncryption>, StoreError> {
        // Asked for each write: the catalog remembers the row, and most rows have no such setting to read.
        match self.0.catalog.bucket(bucket).await? {
            Some(row) if row.settings.contains(SETTING) => {
                let settings: Settings = json("bucket.settings", &row.settings)?;
                Ok(settings.encryption)
            }
            _ => Ok(None),
        }
    }

    /// Sets or clears the encryption of a bucket by default; what is stored already stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`].
    pub async fn set_default_encryption(
        &self,
        bucket: &BucketName,
        default: Option<DefaultEncryption>,
    ) -> Result<(), StoreError> {
        let value = default.map(|default| serde_json::json!(default));
        self.set_bucket_setting(bucket, SETTING, value).await
    }
}
