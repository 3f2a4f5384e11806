//! Who may do what: the identity room behind the two hooks of `s3s`.
//!
//! The guard reads which access key claims to have signed and looks it up once; `s3s` verifies the signature with its secret; only then is the caller believed.

use http::HeaderMap;
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3ErrorCode, S3Request, S3Result};

use super::decide::{Decider, Question, refused};
use super::error::{self, not_built, say};
use super::facts::parameter;
pub(super) use super::request::{
    Answered, begin, caller_of_now, context, form_context, identity, is_first_of_two, is_form,
    is_vouched_for, note, note_deed, refusal, refuse, scoped, stopped_at_body, verified, vouch,
};
use super::request::{admit, believed, secret};
use crate::identity::{Action, Caller, Resource};
use crate::kernel::{BucketName, ObjectKey};
use crate::store::{Store, StoreError};

/// The caller of a request that passed [`Access::check`].
pub(super) fn caller<T>(request: &S3Request<T>) -> Caller {
    request
        .extensions
        .get::<Caller>()
        .cloned()
        .unwrap_or_else(Caller::anonymous)
}

/// How a caller is named as the owner of what it makes.
pub(super) fn owner(caller: &Caller) -> String {
    let account = caller.account().map(str::to_owned);
    account.unwrap_or_else(|| caller.actor().to_string())
}

/// The hook that hands out secrets.
pub(super) struct Auth;

#[async_trait::async_trait]
impl S3Auth for Auth {
    async fn get_secret_key(&self, _access_key: &str) -> S3Result<SecretKey> {
        secret().ok_or_else(|| S3ErrorCode::InvalidAccessKeyId.into())
    }
}

/// The hook that decides, before a body is read.
pub(super) struct Access(pub(super) Store);

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let caller = believed(cx.credentials().is_some());
        let name = cx.s3_op().name().to_owned();
        let Some(bucket) = cx.s3_path().get_bucket_name() else {
            return check_node(cx, caller, &name);
        };
        let bucket = bucket_name(bucket)?;
        let Some(demand) = demand(&name) else {
            // Nobody unknown is told what is built.
            if caller.is_anonymous() {
                return Err(refused(
                    &caller,
                    caller.may(Action::ListBuckets, &Resource::Node),
                ));
            }
            return Err(not_built(&name));
        };
        let key = cx.s3_path().get_object_key().map(object_key).transpose()?;
        let (decider, exists) = if demand.action == Action::CreateBucket {
            // No bucket has a say on its own making.
            (Decider::alone(&caller), true)
        } else {
            Decider::before(&self.0, &caller, &bucket).await?
        };
        let version = parameter(cx.uri().query(), "versionId").filter(|id| !id.is_empty());
        let asked = Question {
            operation: &name,
            action: demand.action,
            bucket: &bucket,
            key: key.as_ref(),
            version: version.as_deref(),
            headers: cx.headers(),
            query: cx.uri().query(),
            brought: None,
        };
        // The keys of a multi-delete are decided one by one where they are known.
        if decider.waits_for_body(&name) {
            // Decided with the tags in hand.
        } else if key.is_some() || demand.action != Action::DeleteObject {
            let decision = decider.decide(&self.0, &asked).await?;
            if demand.changes {
                note_deed(&caller, &asked, &decision);
            }
            if !decision.allow {
                return Err(if exists {
                    refused(&caller, decision)
                } else {
                    error::of(StoreError::NoSuchBucket(bucket.to_string()))
                });
            }
        } else if !exists {
            return Err(error::of(StoreError::NoSuchBucket(bucket.to_string())));
        } else if caller.is_anonymous() && decider.is_plain() {
            return Err(refused(
                &caller,
                caller.may(Action::DeleteObject, &Resource::Bucket(&bucket)),
            ));
        }
        unbuilt_headers(cx.headers())?;
        admit();
        cx.extensions_mut().insert(caller);
        cx.extensions_mut().insert(decider);
        Ok(())
    }
}

/// What is asked of the appliance as a whole.
fn check_node(cx: &mut S3AccessContext<'_>, caller: Caller, name: &str) -> S3Result<()> {
    let action = demand(name).map(|demand| demand.action);
    let decision = caller.may(action.unwrap_or(Action::ListBuckets), &Resource::Node);
    if caller.is_anonymous() || (action.is_some() && !decision.allow) {
        return Err(refused(&caller, decision));
    }
    if action.is_none() {
        return Err(not_built(name));
    }
    unbuilt_headers(cx.headers())?;
    admit();
    cx.extensions_mut().insert(caller);
    Ok(())
}

/// What an operation asks for.
#[derive(Clone, Copy)]
struct Demand {
    action: Action,
    /// Whether it is noted in the audit.
    changes: bool,
}

/// The right that an operation needs; `None` for what is not built.
fn demand(operation: &str) -> Option<Demand> {
    let (action, changes) = match operation {
        "ListBuckets" | "HeadBucket" | "GetBucketLocation" => (Action::ListBuckets, false),
        "CreateBucket" => (Action::CreateBucket, true),
        "DeleteBucket" => (Action::DeleteBucket, true),
        "GetBucketAcl"
        | "GetBucketVersioning"
        | "GetObjectLockConfiguration"
        | "ListObjects"
        | "ListObjectsV2"
        | "ListObjectVersions"
        | "ListMultipartUploads" => (Action::ListObjects, false),
        "GetBucketTagging"
        | "GetBucketCors"
        | "GetBucketLifecycleConfiguration"
        | "GetBucketNotificationConfiguration"
        | "GetBucketEncryption"
        | "GetBucketWebsite"
        | "GetBucketLogging"
        | "GetBucketRequestPayment"
        | "GetBucketAccelerateConfiguration"
        | "GetBucketReplication"
        | "ListBucketAnalyticsConfigurations"
        | "ListBucketInventoryConfigurations"
        | "ListBucketMetricsConfigurations"
        | "ListBucketIntelligentTieringConfigurations"
        | "GetBucketPolicy"
        | "GetBucketPolicyStatus"
        | "GetPublicAccessBlock"
        | "GetBucketOwnershipControls" => (Action::ConfigureBucket, false),
        "PutBucketVersioning"
        | "PutBucketTagging"
        | "DeleteBucketTagging"
        | "PutBucketEncryption"
        | "PutBucketWebsite"
        | "DeleteBucketWebsite"
        | "PutBucketLogging"
        | "PutBucketRequestPayment"
        | "DeleteBucketEncryption"
        | "PutBucketCors"
        | "PutBucketNotificationConfiguration"
        | "PutBucketLifecycleConfiguration"
        | "DeleteBucketLifecycle"
        | "PutObjectLockConfiguration"
        | "DeleteBucketCors"
        | "PutBucketPolicy"
        | "DeleteBucketPolicy"
        | "PutPublicAccessBlock"
        | "DeletePublicAccessBlock"
        | "PutBucketOwnershipControls"
        | "DeleteBucketOwnershipControls"
        | "PutBucketAcl" => (Action::ConfigureBucket, true),
        "GetObject"
        | "GetObjectAcl"
        | "HeadObject"
        | "GetObjectAttributes"
        | "GetObjectTorrent"
        | "GetObjectLegalHold"
        | "GetObjectRetention"
        | "GetObjectTagging" => (Action::ReadObject, false),
        "ListParts" => (Action::WriteObject, false),
        "PutObject"
        | "CopyObject"
        | "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CompleteMultipartUpload"
        | "AbortMultipartUpload"
        | "PutObjectLegalHold"
        | "PutObjectRetention"
        | "PutObjectAcl"
        | "PutObjectTagging"
        | "DeleteObjectTagging" => (Action::WriteObject, true),
        "DeleteObject" | "DeleteObjects" => (Action::DeleteObject, true),
        _ => return None,
    };
    Some(Demand { action, changes })
}

/// Refuses headers that ask for what is not built, so that none of them is silently ignored.
fn unbuilt_headers(headers: &HeaderMap) -> S3Result<()> {
    const REFUSED: [&str; 3] = [
        "x-amz-write-offset-bytes",
        "x-amz-mfa",
        // Taken for a plain PUT it would empty the object.
        "x-amz-rename-source",
    ];
    for (name, value) in headers {
        let name = name.as_str();
        if !name.starts_with("x-amz-") {
            continue;
        }
        let value = value.as_bytes();
        let refused = REFUSED.iter().any(|prefix| name.starts_with(prefix));
        if refused {
            return Err(not_built(name));
        }
        if name == "x-amz-storage-class" && value != b"STANDARD" {
            return Err(say(
                S3ErrorCode::InvalidStorageClass,
                "the only storage class is STANDARD",
            ));
        }
    }
    Ok(())
}

/// A bucket's name as S3 refuses it.
pub(super) fn bucket_name(name: &str) -> S3Result<BucketName> {
    name.parse().map_err(|error: crate::kernel::NameError| {
        say(S3ErrorCode::InvalidBucketName, error.to_string())
    })
}

/// An object's key as S3 refuses it.
pub(super) fn object_key(key: &str) -> S3Result<ObjectKey> {
    use crate::kernel::NameError;
    key.parse().map_err(|error: NameError| match error {
        NameError::KeyTooLong => say(S3ErrorCode::KeyTooLongError, error.to_string()),
        _ => say(S3ErrorCode::InvalidURI, error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn refused(name: &'static str, value: &str) -> Option<u16> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        unbuilt_headers(&headers)
            .err()
            .map(|e| e.status_code().unwrap().as_u16())
    }

    #[test]
    fn what_is_not_built_is_refused_rather_than_ignored() {
        assert_eq!(refused("x-amz-storage-class", "GLACIER"), Some(400));
        assert_eq!(refused("x-amz-rename-source", "/films/a"), Some(501));
        assert_eq!(refused("x-amz-meta-a", "1"), None);
    }

    #[test]
    fn an_operation_that_nobody_decided_on_is_not_built() {
        assert!(demand("PutBucketReplication").is_none());
        assert!(demand("RestoreObject").is_none());
        assert!(demand("GetObject").is_some_and(|d| d.action == Action::ReadObject && !d.changes));
    }

    #[test]
    fn names_are_refused_in_the_words_of_s3() {
        assert_eq!(
            object_key(&"k".repeat(1025)).unwrap_err().code().as_str(),
            "KeyTooLongError"
        );
        assert_eq!(
            bucket_name("A_B").unwrap_err().code().as_str(),
            "InvalidBucketName"
        );
    }
}
