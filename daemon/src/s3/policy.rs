//! Bucket policies: stored as they were sent, once they are understood.

use s3s::dto::{
    DeleteBucketPolicyInput, DeleteBucketPolicyOutput, GetBucketPolicyInput, GetBucketPolicyOutput,
    GetBucketPolicyStatusInput, GetBucketPolicyStatusOutput, PolicyStatus, PutBucketPolicyInput,
    PutBucketPolicyOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::bucket_name;
use super::error::{self, say};
use super::operations::Operations;
use crate::identity::{POLICY_SETTING, Policy};

impl Operations {
    /// The policy of a bucket.
    pub(super) async fn get_policy(
        &self,
        request: S3Request<GetBucketPolicyInput>,
    ) -> S3Result<S3Response<GetBucketPolicyOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let setting = self
            .store
            .bucket_setting(&bucket, POLICY_SETTING)
            .await
            .map_err(error::of)?;
        let policy = setting.and_then(|value| value.as_str().map(str::to_owned));
        let policy = policy.ok_or_else(|| {
            say(
                S3ErrorCode::NoSuchBucketPolicy,
                "The bucket policy does not exist",
            )
        })?;
        let mut response = S3Response::new(GetBucketPolicyOutput {
            policy: Some(policy),
        });
        response.headers.insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        Ok(response)
    }

    /// Replaces the policy of a bucket.
    pub(super) async fn put_policy(
        &self,
        request: S3Request<PutBucketPolicyInput>,
    ) -> S3Result<S3Response<PutBucketPolicyOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let policy = Policy::parse(&request.input.policy, &bucket)
            .map_err(|error| say(S3ErrorCode::MalformedPolicy, error.to_string()))?;
        let rules = self.rules_of(&bucket).await?;
        if rules.block().block_public_policy && policy.is_public() {
            return Err(say(
                S3ErrorCode::AccessDenied,
                "the public access block of the bucket refuses public policies",
            ));
        }
        let stored = serde_json::Value::String(request.input.policy);
        self.store
            .set_bucket_setting(&bucket, POLICY_SETTING, Some(stored))
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(PutBucketPolicyOutput::default()))
    }

    /// Drops the policy of a bucket.
    pub(super) async fn delete_policy(
        &self,
        request: S3Request<DeleteBucketPolicyInput>,
    ) -> S3Result<S3Response<DeleteBucketPolicyOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        self.store
            .set_bucket_setting(&bucket, POLICY_SETTING, None)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(DeleteBucketPolicyOutput::default()))
    }

    /// Whether people who are not named come in, by policy or by list.
    pub(super) async fn policy_status(
        &self,
        request: S3Request<GetBucketPolicyStatusInput>,
    ) -> S3Result<S3Response<GetBucketPolicyStatusOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let rules = self.rules_of(&bucket).await?;
        let block = rules.block();
        let by_list = rules.has_lists()
            && !block.ignore_public_acls
            && rules
                .acl
                .as_ref()
                .is_some_and(crate::kernel::Acl::is_public);
        let by_policy = rules.policy.as_ref().is_some_and(Policy::is_public);
        Ok(S3Response::new(GetBucketPolicyStatusOutput {
            policy_status: Some(PolicyStatus {
                is_public: Some(by_list || by_policy),
            }),
        }))
    }
}
