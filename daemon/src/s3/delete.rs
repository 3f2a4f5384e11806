//! DeleteObject and DeleteObjects.

use futures::StreamExt as _;
use http::HeaderMap;
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    Error, ObjectIdentifier, Timestamp,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{bucket_name, caller, note, object_key, owner};
use super::decide::{Decider, Question, decider, refused};
use super::error::{self, say};
use super::lock::bypass;
use super::operations::Operations;
use super::put::condition;
use super::wire::{millis, version_id};
use crate::identity::{Action, Caller};
use crate::kernel::limits::DELETE_KEYS_MAX;
use crate::kernel::{BucketName, ObjectKey};
use crate::store::{Condition, Deleted, Removal, StoreError};

/// Deletions of one request under way at once: enough to share a commit.
const AT_ONCE: usize = 64;

/// What the deletions of one request share.
struct Many<'a> {
    bucket: &'a BucketName,
    caller: &'a Caller,
    decider: &'a Decider,
    headers: &'a HeaderMap,
    /// Whether governance mode is to be bypassed.
    bypasses: Option<bool>,
}

impl Operations {
    /// Deletes an object or a version of it; deleting nothing is a success.
    pub(super) async fn delete(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let (caller, decider) = (caller(&request), decider(&request));
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let named = input.version_id.is_some();
        let version = version_id(input.version_id.as_deref())?;
        let condition = Condition {
            if_none_match: None,
            if_modified_at_s: input.if_match_last_modified_time.map(seconds),
            if_size: input.if_match_size.map(size).transpose()?,
            ..condition(&request.headers)
        };
        let removal = Removal {
            bypass_governance: bypass(&decider, input.bypass_governance_retention, &bucket, &key)?,
            bucket,
            key,
            version,
            condition,
            owner: owner(&caller),
        };
        let deleted = match self.store.remove(removal).await {
            Err(StoreError::NoSuchKey(_)) => Deleted::default(),
            other => other.map_err(error::of)?,
        };
        let mut output = DeleteObjectOutput::default();
        if deleted.is_delete_marker {
            output.delete_marker = Some(true);
        }
        output.version_id = match (&deleted.version_id, named) {
            (Some(id), _) if named || deleted.is_delete_marker || !id.is_null() => {
                Some(id.to_string())
            }
            (None, true) => input.version_id,
            _ => None,
        };
        Ok(S3Response::new(output))
    }

    /// Deletes up to 1,000 objects; each is decided, deleted and reported by itself.
    pub(super) async fn delete_many(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let (caller, decider) = (caller(&request), decider(&request));
        proof(&request.headers)?;
        let input = request.input;
        let bucket = bucket_name(&input.bucket)?;
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let bypasses = input.bypass_governance_retention;
        let objects = input.delete.objects;
        if objects.is_empty() || objects.len() > DELETE_KEYS_MAX {
            return Err(say(
                S3ErrorCode::MalformedXML,
                format!("a multi-delete names 1 to {DELETE_KEYS_MAX} objects"),
            ));
        }
        self.store.bucket(&bucket).await.map_err(error::of)?;
        let quiet = input.delete.quiet.unwrap_or(false);
        let many = Many {
            bucket: &bucket,
            caller: &caller,
            decider: &decider,
            headers: &request.headers,
            bypasses,
        };
        let many = &many;
        let work = objects
            .into_iter()
            .map(|object| async move { self.delete_one(many, object).await });
        let outcomes: Vec<_> = futures::stream::iter(work)
            .buffered(AT_ONCE)
            .collect()
            .await;
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            match outcome {
                Ok(deleted) => done.push(deleted),
                Err(error) => failed.push(error),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then_some(done),
            errors: (!failed.is_empty()).then_some(failed),
            request_charged: None,
        }))
    }

    async fn delete_one(
        &self,
        many: &Many<'_>,
        object: ObjectIdentifier,
    ) -> Result<DeletedObject, Error> {
        let (key, version) = (object.key.clone(), object.version_id.clone());
        let result = self.delete_checked(many, object).await;
        match result {
            Ok(deleted) => {
                let marker = deleted
                    .is_delete_marker
                    .then(|| deleted.version_id.map(|id| id.to_string()));
                Ok(DeletedObject {
                    delete_marker: marker.is_some().then_some(true),
                    delete_marker_version_id: marker.flatten(),
                    key: Some(key),
                    version_id: version,
                })
            }
            Err(error) => Err(Error {
                code: Some(error.code().as_str().to_owned()),
                key: Some(key),
                message: error.message().map(str::to_owned),
                version_id: version,
            }),
        }
    }

    async fn delete_checked(
        &self,
        many: &Many<'_>,
        object: ObjectIdentifier,
    ) -> Result<Deleted, S3Error> {
        let key = object_key(&object.key)?;
        let asked = Question {
            operation: "DeleteObjects",
            action: Action::DeleteObject,
            bucket: many.bucket,
            key: Some(&key),
            version: object.version_id.as_deref().filter(|id| !id.is_empty()),
            headers: many.headers,
            query: None,
            brought: None,
        };
        let decision = many.decider.decide(&self.store, &asked).await?;
        let result = if decision.allow {
            self.delete_allowed(many, &key, object).await
        } else {
            Err(refused(many.caller, decision.clone()))
        };
        let (action, done) = (Action::DeleteObject, result.is_ok());
        note(many.caller, action, many.bucket, &key, &decision, done).await;
        result
    }

    async fn delete_allowed(
        &self,
        many: &Many<'_>,
        key: &ObjectKey,
        object: ObjectIdentifier,
    ) -> Result<Deleted, S3Error> {
        let condition = Condition {
            if_match: object.e_tag.map(|tag| tag.value().to_owned()),
            if_none_match: None,
            if_modified_at_s: object.last_modified_time.map(seconds),
            if_size: object.size.map(size).transpose()?,
        };
        let removal = Removal {
            bypass_governance: bypass(many.decider, many.bypasses, many.bucket, key)?,
            bucket: many.bucket.clone(),
            key: key.clone(),
            version: version_id(object.version_id.as_deref())?,
            condition,
            owner: owner(many.caller),
        };
        match self.store.remove(removal).await {
            Err(StoreError::NoSuchKey(_)) => Ok(Deleted::default()),
            other => other.map_err(error::of),
        }
    }
}

fn seconds(at: Timestamp) -> i64 {
    millis(at).div_euclid(1000)
}

fn size(sent: i64) -> S3Result<u64> {
    u64::try_from(sent)
        .map_err(|_| say(S3ErrorCode::InvalidArgument, "a size must not be negative"))
}

/// A multi-delete must come with a digest (Amazon S3, DeleteObjects); a signed payload hash is one.
fn proof(headers: &HeaderMap) -> S3Result<()> {
    let hash = headers
        .get("x-amz-content-sha256")
        .is_some_and(|v| v.as_bytes() != b"UNSIGNED-PAYLOAD");
    let has = |name: &str| {
        name == "content-md5" || name.starts_with("x-amz-checksum-") || name == "x-amz-trailer"
    };
    if hash || headers.keys().any(|name| has(name.as_str())) {
        return Ok(());
    }
    Err(say(
        S3ErrorCode::InvalidRequest,
        "Missing required header for this request: Content-MD5 or x-amz-checksum-*",
    ))
}
