//! The public access block of a bucket: four switches that outrank its policy and its lists.

use s3s::dto::{
    DeletePublicAccessBlockInput, DeletePublicAccessBlockOutput, GetPublicAccessBlockInput,
    GetPublicAccessBlockOutput, PublicAccessBlockConfiguration, PutPublicAccessBlockInput,
    PutPublicAccessBlockOutput,
};
use s3s::{S3Request, S3Response, S3Result};

use super::access::bucket_name;
use super::error::{self, With as _, say};
use super::operations::Operations;
use crate::identity::{BLOCK_SETTING, PublicAccessBlock};

impl Operations {
    /// The block of a bucket.
    pub(super) async fn get_block(
        &self,
        request: S3Request<GetPublicAccessBlockInput>,
    ) -> S3Result<S3Response<GetPublicAccessBlockOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let block = self.rules_of(&bucket).await?.block.ok_or_else(|| {
            say(
                s3s::S3ErrorCode::Custom("NoSuchPublicAccessBlockConfiguration".into()),
                "The public access block configuration was not found",
            )
            .with_status(http::StatusCode::NOT_FOUND)
        })?;
        Ok(S3Response::new(GetPublicAccessBlockOutput {
            public_access_block_configuration: Some(PublicAccessBlockConfiguration {
                block_public_acls: Some(block.block_public_acls),
                block_public_policy: Some(block.block_public_policy),
                ignore_public_acls: Some(block.ignore_public_acls),
                restrict_public_buckets: Some(block.restrict_public_buckets),
            }),
        }))
    }

    /// Replaces the block of a bucket; a switch that is not named is off.
    pub(super) async fn put_block(
        &self,
        request: S3Request<PutPublicAccessBlockInput>,
    ) -> S3Result<S3Response<PutPublicAccessBlockOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let sent = request.input.public_access_block_configuration;
        let block = PublicAccessBlock {
            block_public_acls: sent.block_public_acls.unwrap_or(false),
            ignore_public_acls: sent.ignore_public_acls.unwrap_or(false),
            block_public_policy: sent.block_public_policy.unwrap_or(false),
            restrict_public_buckets: sent.restrict_public_buckets.unwrap_or(false),
        };
        self.store
            .set_bucket_setting(&bucket, BLOCK_SETTING, Some(serde_json::json!(block)))
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(PutPublicAccessBlockOutput::default()))
    }

    /// Drops the block of a bucket.
    pub(super) async fn delete_block(
        &self,
        request: S3Request<DeletePublicAccessBlockInput>,
    ) -> S3Result<S3Response<DeletePublicAccessBlockOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        self.store
            .set_bucket_setting(&bucket, BLOCK_SETTING, None)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(DeletePublicAccessBlockOutput::default()))
    }
}
