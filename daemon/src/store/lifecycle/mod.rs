//! Lifecycle: what the rules of a bucket end by themselves, and when.
//!
//! [`rules`] says, purely, at which moment a version, a delete marker or an unfinished upload is over.
//! [`runner`] walks the buckets that have rules, and ends what is over through the same transaction as any other deletion: locks hold, events follow.
//! A rule is decided again inside that transaction, so that an object which was replaced or tagged anew meanwhile stays.

mod rules;
mod runner;

pub use rules::{Expiration, LifecycleRule, LifecycleRules, NoncurrentExpiration, RuleFilter};
pub use runner::{Ended, LifecycleRunner};

use serde::Deserialize;

use super::object::{Object, json};
use super::{Store, StoreError};
use crate::catalog::BucketRow;
use crate::kernel::{BucketName, Millis};
use rules::Facts;

/// The setting of a bucket that holds its rules.
const SETTING: &str = "lifecycle";

/// When an object will be gone, and by which rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The first moment at which it may go.
    pub at_ms: Millis,
    /// The id of the rule.
    pub rule: String,
}

fn of_bucket(bucket: &BucketRow) -> Result<Option<LifecycleRules>, StoreError> {
    /// The one setting that is of interest here.
    #[derive(Deserialize)]
    struct Only {
        lifecycle: Option<LifecycleRules>,
    }
    if !bucket.settings.contains(SETTING) {
        return Ok(None);
    }
    Ok(json::<Only>("bucket.settings", &bucket.settings)?.lifecycle)
}

impl Store {
    /// The rules of a bucket.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`].
    pub async fn lifecycle(
        &self,
        bucket: &BucketName,
    ) -> Result<Option<LifecycleRules>, StoreError> {
        of_bucket(&*self.bucket(bucket).await?)
    }

    /// Replaces or, with `None`, removes the rules of a bucket; they are applied soon, and then again and again.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`].
    pub async fn set_lifecycle(
        &self,
        bucket: &BucketName,
        rules: Option<&LifecycleRules>,
    ) -> Result<(), StoreError> {
        let value = rules.map(|rules| serde_json::json!(rules));
        self.set_bucket_setting(bucket, SETTING, value).await?;
        self.0.lifecycle_changed.notify_one();
        Ok(())
    }

    /// When the rules will end an object that a plain read sees.
    ///
    /// # Errors
    /// [`StoreError::NoSuchBucket`] when the bucket went meanwhile.
    pub async fn expiry_of(&self, object: &Object) -> Result<Option<Expiry>, StoreError> {
        if !object.is_latest {
            return Ok(None);
        }
        let Some(rules) = self.lifecycle(&object.bucket).await? else {
            return Ok(None);
        };
        let facts = Facts {
            key: object.key.as_str(),
            size: object.size,
            tags: &object.tags,
            modified_ms: object.modified_ms,
        };
        Ok(rules.end_of_current(&facts).map(|(at_ms, rule)| Expiry {
            at_ms,
            rule: rule.to_owned(),
        }))
    }
}
