//! Deciding one request: the caller, the rules of the bucket, and what the request says, put before the one `authorize()`.
//!
//! The root key needs no rules, so they are not fetched for it; for everybody else they cost one look at the bucket.
//! An object is looked at only when its tags or its list could change the answer.

use std::sync::Arc;

use http::HeaderMap;
use s3s::dto::{CopySource, PutObjectTaggingInput};
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::access::{bucket_name, caller, caller_of_now, identity, is_form, note_deed, object_key};
use super::error::{self, not_built, say};
use super::facts::RequestFacts;
use super::get::missing;
use super::guard::parameters;
use super::operations::Operations;
use super::rights;
use super::wire::version_id;
use crate::identity::{
    Action, BucketRules, Caller, Circumstances, Decision, NoFacts, ObjectRules, Policy, Resource,
    Rule, S3Ask, is_of_object_list,
};
use crate::kernel::{BucketName, ObjectKey};
use crate::store::{Object, Store, StoreError, Tags};

/// A caller before a bucket.
#[derive(Clone)]
pub(super) struct Decider {
    caller: Caller,
    /// The rules of the bucket; none for the root key, and none where there is no bucket.
    rules: Option<Arc<BucketRules>>,
}

/// What is asked.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    /// The operation, as S3 names it.
    pub(super) operation: &'a str,
    /// The right of the house that it needs.
    pub(super) action: Action,
    pub(super) bucket: &'a BucketName,
    pub(super) key: Option<&'a ObjectKey>,
    pub(super) version: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    pub(super) query: Option<&'a str>,
    /// Tags that came in the body.
    pub(super) brought: Option<&'a Tags>,
}

impl Decider {
    /// A caller where no bucket has a say.
    pub(super) fn alone(caller: &Caller) -> Self {
        Self {
            caller: caller.clone(),
            rules: None,
        }
    }

    /// Looks up the rules of a bucket, and whether there is one: for the root key, whom no rules bind, that is not asked.
    pub(super) async fn before(
        store: &Store,
        caller: &Caller,
        bucket: &BucketName,
    ) -> S3Result<(Self, bool)> {
        let mut decider = Self::alone(caller);
        if caller.is_root() {
            return Ok((decider, true));
        }
        match store.bucket(bucket).await {
            Ok(row) => {
                decider.rules = identity().map(|identity| identity.rules(&row));
                Ok((decider, true))
            }
            Err(StoreError::NoSuchBucket(_)) => Ok((decider, false)),
            Err(other) => Err(error::of(other)),
        }
    }

    /// Whether the bucket says nothing itself that could let somebody in.
    pub(super) fn is_plain(&self) -> bool {
        self.rules
            .as_ref()
            .is_none_or(|rules| rules.policy.is_none() && rules.acl.is_none())
    }

    /// Whether the body must be read before anything can be said: a policy asks for tags that stand in it.
    pub(super) fn waits_for_body(&self, operation: &str) -> bool {
        operation == "PutObjectTagging" && self.policies().any(Policy::asks_for_request_tags)
    }

    /// The policies that have a say: the bucket's, and that of a temporary key.
    fn policies(&self) -> impl Iterator<Item = &Policy> {
        let of_bucket = self.rules.iter().filter_map(|rules| rules.policy.as_ref());
        of_bucket.chain(self.session_policy())
    }

    fn session_policy(&self) -> Option<&Policy> {
        self.caller.session()?.policy()
    }

    /// Whether governance mode may be bypassed; what a policy says to it on condition was asked with the request itself.
    pub(super) fn may_bypass(&self, bucket: &BucketName, key: &ObjectKey) -> Decision {
        let s3 = S3Ask {
            actions: &["BypassGovernanceRetention"],
            facts: &NoFacts,
            object: None,
        };
        let here = Circumstances {
            rules: self.rules.as_deref(),
            s3: Some(s3),
        };
        let resource = Resource::Object(bucket, key);
        self.caller
            .may_here(Action::BypassRetention, &resource, &here)
    }

    /// The rules of the bucket, where they were needed.
    pub(super) fn rules(&self) -> Option<&Arc<BucketRules>> {
        self.rules.as_ref()
    }

    /// Decides.
    pub(super) async fn decide(&self, store: &Store, asked: &Question<'_>) -> S3Result<Decision> {
        let prefix = listed_prefix(asked)?;
        let resource = match (asked.key, &prefix) {
            (Some(key), _) => Resource::Object(asked.bucket, key),
            (None, Some(prefix)) => Resource::Prefix(asked.bucket, prefix),
            (None, None) => Resource::Bucket(asked.bucket),
        };
        let rules = self.rules.as_deref();
        if rules.is_none() && self.session_policy().is_none() {
            return Ok(self.caller.may(asked.action, &resource));
        }
        let actions = rights::actions(asked.operation, asked.version.is_some(), asked.headers);
        let facts = RequestFacts {
            headers: asked.headers,
            query: asked.query,
            continues: matches!(
                asked.operation,
                "UploadPart" | "UploadPartCopy" | "CompleteMultipartUpload"
            ),
            is_form: is_form(),
            now_ms: store.clock().now_ms(),
            existing: None,
            brought: asked.brought,
            version: asked.version,
            prefix: None,
        };
        let tags = self.policies().any(Policy::asks_for_existing_tags);
        let mut object = match asked.key {
            Some(key) if tags => look(store, asked, key).await?.ok(),
            _ => None,
        };
        let ask = |object: Option<&Object>| {
            let facts = RequestFacts {
                existing: object.map(|object| &object.tags),
                ..facts
            };
            let s3 = S3Ask {
                actions: &actions,
                facts: &facts,
                object: object.map(|object| ObjectRules {
                    owner: &object.owner,
                    acl: object.extras.acl.as_ref(),
                }),
            };
            let here = Circumstances {
                rules,
                s3: Some(s3),
            };
            self.caller.may_here(asked.action, &resource, &here)
        };
        let decision = ask(object.as_ref());
        let Some(key) = asked.key else {
            return Ok(decision);
        };
        let is_open = !decision.allow && decision.rule == Rule::Default;
        let first = actions.first().copied().unwrap_or_default();
        if !is_open || !is_of_object_list(first) {
            return Ok(decision);
        }
        let absent = match object.take() {
            Some(object) => Ok(object),
            None => look(store, asked, key).await?,
        };
        let absent = match absent {
            Ok(object) => return Ok(ask(Some(&object))),
            Err(absent) => absent,
        };
        // Whoever may list the bucket may be told that there is no such object (Amazon S3, GetObject).
        let facts = RequestFacts {
            query: None,
            prefix: Some(key.as_str()),
            ..facts
        };
        let s3 = S3Ask {
            actions: &["ListBucket"],
            facts: &facts,
            object: None,
        };
        let here = Circumstances {
            rules,
            s3: Some(s3),
        };
        let name = Resource::Prefix(asked.bucket, key.as_str());
        let listing = self.caller.may_here(Action::ListObjects, &name, &here);
        if listing.allow {
            // Said here and now: let on, the request could meet an object that was stored meanwhile.
            return Err(missing(absent, asked.version.is_some()));
        }
        Ok(decision)
    }
}

/// The prefix of a listing, for rights that end at one; given twice, nobody could say which would count.
fn listed_prefix(asked: &Question<'_>) -> S3Result<Option<String>> {
    const LISTINGS: [&str; 4] = [
        "ListObjects",
        "ListObjectsV2",
        "ListObjectVersions",
        "ListMultipartUploads",
    ];
    if !LISTINGS.contains(&asked.operation) {
        return Ok(None);
    }
    let pairs = parameters(asked.query.unwrap_or_default())?.into_iter();
    let mut prefixes = pairs.filter(|(name, _)| name == "prefix");
    let prefix = prefixes.next().map(|(_, prefix)| prefix);
    if prefixes.next().is_some() {
        return Err(say(
            S3ErrorCode::InvalidArgument,
            "the parameter prefix is given twice",
        ));
    }
    Ok(Some(prefix.unwrap_or_default()))
}

/// The object in question, or why there is none.
async fn look(
    store: &Store,
    asked: &Question<'_>,
    key: &ObjectKey,
) -> S3Result<Result<Object, StoreError>> {
    let version = version_id(asked.version)?;
    match store.head(asked.bucket, key, version.as_ref()).await {
        Err(
            absent @ (StoreError::NoSuchBucket(_)
            | StoreError::NoSuchKey(_)
            | StoreError::NoSuchVersion(_)
            | StoreError::DeleteMarker { .. }),
        ) => Ok(Err(absent)),
        other => other.map(Ok).map_err(error::of),
    }
}

/// What a refused caller is told.
pub(super) fn refused(caller: &Caller, decision: Decision) -> s3s::S3Error {
    if caller.is_anonymous() && decision.rule == Rule::Default {
        return say(
            S3ErrorCode::AccessDenied,
            "sign the request with an access key of this appliance",
        );
    }
    say(S3ErrorCode::AccessDenied, decision.reason)
}

/// The decider of a request that passed the check.
pub(super) fn decider<T>(request: &S3Request<T>) -> Decider {
    let known = request.extensions.get::<Decider>().cloned();
    known.unwrap_or_else(|| Decider::alone(&caller(request)))
}

impl Operations {
    /// Decides on new tags of an object where that had to wait for the body.
    pub(super) async fn check_tags(
        &self,
        request: &S3Request<PutObjectTaggingInput>,
        tags: &Tags,
    ) -> S3Result<()> {
        let decider = decider(request);
        if !decider.waits_for_body("PutObjectTagging") {
            return Ok(());
        }
        let input = &request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        let asked = Question {
            operation: "PutObjectTagging",
            action: Action::WriteObject,
            bucket: &bucket,
            key: Some(&key),
            version: input.version_id.as_deref(),
            headers: &request.headers,
            query: None,
            brought: Some(tags),
        };
        let decision = decider.decide(&self.store, &asked).await?;
        note_deed(&decider.caller, &asked, &decision);
        if decision.allow {
            Ok(())
        } else {
            Err(refused(&decider.caller, decision))
        }
    }

    /// Decides on a completion once more when its body has come, by the key and the rules of now.
    pub(super) async fn check_completion<T>(
        &self,
        request: &S3Request<T>,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> S3Result<()> {
        let caller = caller_of_now().await?;
        let (decider, _) = Decider::before(&self.store, &caller, bucket).await?;
        let asked = Question {
            operation: "CompleteMultipartUpload",
            action: Action::WriteObject,
            bucket,
            key: Some(key),
            version: None,
            headers: &request.headers,
            query: request.uri.query(),
            brought: None,
        };
        let decision = decider.decide(&self.store, &asked).await?;
        if decision.allow {
            Ok(())
        } else {
            Err(refused(&caller, decision))
        }
    }

    /// Reads from a copy's source, and whether the caller may read it.
    pub(super) async fn source<T>(
        &self,
        request: &S3Request<T>,
        source: &CopySource,
    ) -> S3Result<(BucketName, ObjectKey, Option<String>)> {
        let CopySource::Bucket {
            bucket,
            key,
            version_id,
        } = source
        else {
            return Err(not_built("a copy from an access point"));
        };
        let (bucket, key) = (bucket_name(bucket)?, object_key(key)?);
        let caller = caller(request);
        let (decider, exists) = Decider::before(&self.store, &caller, &bucket).await?;
        let asked = Question {
            operation: "GetObject",
            action: Action::ReadObject,
            bucket: &bucket,
            key: Some(&key),
            version: version_id.as_deref(),
            headers: &request.headers,
            query: None,
            brought: None,
        };
        let decision = decider.decide(&self.store, &asked).await?;
        if !decision.allow {
            if !exists {
                return Err(error::of(StoreError::NoSuchBucket(bucket.to_string())));
            }
            return Err(refused(&caller, decision));
        }
        Ok((bucket, key, version_id.as_deref().map(str::to_owned)))
    }
}
