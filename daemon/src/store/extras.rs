//! What an object version carries beside its headers and tags.

use serde::{Deserialize, Serialize};

use super::encryption::Encrypted;
use super::object::{Object, json, to_json};
use super::{Store, StoreError};
use crate::kernel::Acl;

/// Access list, lock and encryption of an object version; what is not set is left out of the row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectExtras {
    /// The access control list; the owner's full control alone when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acl: Option<Acl>,
    /// What keeps the version from being removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock: Option<super::ObjectLock>,
    /// How the bytes are encrypted; only the store sets it, together with the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sse: Option<Encrypted>,
    /// Its rows were found damaged: the bytes in the row, or the list of its extents; it is not served.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
}

impl Store {
    /// Changes the extras of a version inside one transaction; `change` sees what is stored at that moment and may refuse.
    ///
    /// # Errors
    /// [`StoreError::NoSuchKey`] when the version was deleted meanwhile, and whatever `change` says.
    pub async fn change_extras<F>(
        &self,
        object: &Object,
        change: F,
    ) -> Result<ObjectExtras, StoreError>
    where
        F: FnOnce(&mut ObjectExtras) -> Result<(), StoreError> + Send + 'static,
    {
        let (bucket, key) = (object.bucket.clone(), object.key.clone());
        let version = object.version_id.clone();
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let bucket = super::bucket::existing(tx, &bucket).await?;
                    tx.lock_key(bucket.id, &key).await?;
                    let row = tx
                        .object_version(bucket.id, &key, &version)
                        .await?
                        .ok_or_else(|| StoreError::NoSuchKey(key.to_string()))?;
                    let mut extras = json("object_version.extras", &row.extras)?;
                    change(&mut extras)?;
                    tx.set_object_extras(row.id, &to_json(&extras)).await?;
                    Ok::<_, StoreError>(extras)
                })
            })
            .await
    }
}
