//! Asking with a bucket's rules: where they come from, and the question of doors that do not speak S3.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::actor::Caller;
use super::authorize::{Action, Decision, Resource, policy_action};
use super::error::IdentityError;
use super::house::Identity;
use super::policy::{ConditionKey, Facts};
use super::rules::{BucketRules, Circumstances, ObjectRules, S3Ask, account_of};
use crate::catalog::BucketRow;
use crate::kernel::{Millis, ObjectKey};

/// Settings whose rules are remembered, in bytes of their text; the rules take a few times as much.
const REMEMBERED_BYTES_MAX: usize = 2 * 1024 * 1024;
/// What the memory itself takes for each.
const ENTRY_BYTES: usize = 512;

/// What a request at another door says to conditions: when it came, and that it came over plain HTTP.
struct PlainFacts(Millis);

impl Facts for PlainFacts {
    fn values(&self, key: &ConditionKey) -> Vec<String> {
        match key {
            // Dates are compared as seconds too.
            ConditionKey::CurrentTime | ConditionKey::EpochTime => {
                vec![(self.0 / 1000).to_string()]
            }
            ConditionKey::SecureTransport => vec!["false".to_owned()],
            _ => Vec::new(),
        }
    }
}

/// Rules by the text they were read from.
#[derive(Default)]
pub(super) struct RulesMemory(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    by_bucket: HashMap<i64, Remembered>,
    /// Bytes of all texts, counted as they came.
    bytes: usize,
}

struct Remembered {
    settings: String,
    rules: Arc<BucketRules>,
}

impl Identity {
    /// Asks `authorize()` with the rules of the bucket in question, for doors that speak another protocol than S3: what a policy denies there is denied here, and what it allows is allowed.
    ///
    /// Access lists of objects have no say, as nobody looks at the object before its door does.
    ///
    /// # Errors
    /// [`IdentityError::Catalog`] when the bucket cannot be looked up.
    pub async fn decide(
        &self,
        caller: &Caller,
        action: Action,
        resource: &Resource<'_>,
    ) -> Result<Decision, IdentityError> {
        let rules = match resource {
            Resource::Bucket(bucket)
            | Resource::Prefix(bucket, _)
            | Resource::Object(bucket, _)
                if !caller.is_root() =>
            {
                let row = self.0.catalog.bucket(bucket).await?;
                row.map(|row| self.rules(&row))
            }
            _ => None,
        };
        let facts = PlainFacts(self.0.clock.now_ms());
        // On other actions a bucket has no say.
        let name = policy_action(action, resource).filter(|name| *name != "CreateBucket");
        let here = Circumstances {
            rules: rules.as_deref(),
            s3: name.is_some().then_some(S3Ask {
                actions: name.as_slice(),
                facts: &facts,
                object: None,
            }),
        };
        Ok(caller.may_here(action, resource, &here))
    }

    /// Asks whether a caller may read an object that was looked at, so that its access list has a say as well; `None` for a row whose name is none.
    pub fn decide_read(
        &self,
        caller: &Caller,
        row: &BucketRow,
        key: &ObjectKey,
        object: ObjectRules<'_>,
    ) -> Option<Decision> {
        let bucket = row.name.parse().ok()?;
        let rules = self.rules(row);
        let here = Circumstances {
            rules: Some(&rules),
            s3: Some(S3Ask {
                actions: &["GetObject"],
                facts: &PlainFacts(self.0.clock.now_ms()),
                object: Some(object),
            }),
        };
        let resource = Resource::Object(&bucket, key);
        Some(caller.may_here(Action::ReadObject, &resource, &here))
    }

    /// What a bucket's row says about access.
    pub fn rules(&self, row: &BucketRow) -> Arc<BucketRules> {
        // Every change under the lock is whole, so a panic elsewhere leaves nothing half-done.
        let lock = || {
            self.0
                .rules
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(known) = lock().by_bucket.get(&row.id)
            && known.settings == row.settings
            && known.rules.owner == account_of(&row.owner)
        {
            return known.rules.clone();
        }
        let rules = Arc::new(BucketRules::of(row));
        let mut memory = lock();
        memory.bytes += row.settings.len() + ENTRY_BYTES;
        if memory.bytes > REMEMBERED_BYTES_MAX {
            *memory = Memory::default();
            memory.bytes = row.settings.len() + ENTRY_BYTES;
        }
        memory.by_bucket.insert(
            row.id,
            Remembered {
                settings: row.settings.clone(),
                rules: rules.clone(),
            },
        );
        rules
    }
}
