//! An object for everybody, or why there is none.

use super::page::Failure;
use super::{Visit, Website};
use crate::identity::{Action, Caller, ObjectRules, Resource};
use crate::kernel::ObjectKey;
use crate::store::{Object, StoreError};

/// What stands under a key, for everybody.
pub(super) enum Found {
    /// An object that everybody may read.
    Object(Box<Object>),
    /// Nothing, and everybody may know.
    Nothing,
    /// Something that is not for everybody, or nothing that anybody may know of.
    Closed,
}

impl Website {
    /// Looks for an object with nobody's rights.
    pub(super) async fn find(&self, visit: &Visit, key: &str) -> Result<Found, Failure> {
        let Ok(name) = key.parse::<ObjectKey>() else {
            return Ok(Found::Nothing);
        };
        let identity = &self.0.identity;
        let caller = Caller::anonymous().from_source(visit.source);
        match self.0.store.head(&visit.bucket, &name, None).await {
            Ok(object) => {
                let rules = ObjectRules {
                    owner: &object.owner,
                    acl: object.extras.acl.as_ref(),
                };
                let decision = identity.decide_read(&caller, &visit.row, &name, rules);
                Ok(if decision.is_some_and(|decision| decision.allow) {
                    Found::Object(Box::new(object))
                } else {
                    Found::Closed
                })
            }
            Err(
                StoreError::NoSuchKey(_)
                | StoreError::NoSuchBucket(_)
                | StoreError::DeleteMarker { .. },
            ) => {
                let resource = Resource::Prefix(&visit.bucket, key);
                let listing = identity
                    .decide(&caller, Action::ListObjects, &resource)
                    .await;
                let listing = listing.map_err(|error| Failure::broken(&error))?;
                Ok(if listing.allow {
                    Found::Nothing
                } else {
                    Found::Closed
                })
            }
            Err(error) => Err(Failure::of_store(&error)),
        }
    }
}
