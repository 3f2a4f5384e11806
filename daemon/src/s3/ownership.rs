//! Who owns the objects of a bucket, and whether access control lists count there.

use http::HeaderMap;
use s3s::dto::{
    DeleteBucketOwnershipControlsInput, DeleteBucketOwnershipControlsOutput,
    GetBucketOwnershipControlsInput, GetBucketOwnershipControlsOutput, ObjectOwnership,
    OwnershipControls, OwnershipControlsRule, PutBucketOwnershipControlsInput,
    PutBucketOwnershipControlsOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::bucket_name;
use super::error::{self, say};
use super::operations::Operations;
use crate::identity::{OWNERSHIP_SETTING, Ownership};
use crate::kernel::Acl;

fn of_text(text: &str) -> S3Result<Ownership> {
    Ownership::parse(text).ok_or_else(|| {
        say(
            S3ErrorCode::InvalidArgument,
            "the object ownership is BucketOwnerEnforced, BucketOwnerPreferred or ObjectWriter",
        )
    })
}

/// What a new bucket is to have.
pub(super) fn of_headers(headers: &HeaderMap) -> S3Result<Option<Ownership>> {
    let sent = headers.get("x-amz-object-ownership");
    sent.map(|value| of_text(&String::from_utf8_lossy(value.as_bytes())))
        .transpose()
}

/// Refuses to switch lists off while one lets others in.
pub(super) fn fits(ownership: Option<Ownership>, acl: Option<&Acl>) -> S3Result<()> {
    if ownership == Some(Ownership::BucketOwnerEnforced) && acl.is_some() {
        return Err(say(
            S3ErrorCode::InvalidBucketAclWithObjectOwnership,
            "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting",
        ));
    }
    Ok(())
}

impl Operations {
    /// The ownership controls of a bucket.
    pub(super) async fn get_ownership(
        &self,
        request: S3Request<GetBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<GetBucketOwnershipControlsOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let ownership = self.rules_of(&bucket).await?.ownership.ok_or_else(|| {
            say(
                S3ErrorCode::OwnershipControlsNotFoundError,
                "The bucket ownership controls were not found",
            )
        })?;
        let rule = OwnershipControlsRule {
            object_ownership: ObjectOwnership::from_static(ownership.as_str()),
        };
        Ok(S3Response::new(GetBucketOwnershipControlsOutput {
            ownership_controls: Some(OwnershipControls { rules: vec![rule] }),
        }))
    }

    /// Replaces the ownership controls of a bucket.
    pub(super) async fn put_ownership(
        &self,
        request: S3Request<PutBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<PutBucketOwnershipControlsOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let [rule] = request.input.ownership_controls.rules.as_slice() else {
            return Err(say(
                S3ErrorCode::MalformedXML,
                "ownership controls have exactly one rule",
            ));
        };
        let ownership = of_text(rule.object_ownership.as_str())?;
        let rules = self.rules_of(&bucket).await?;
        fits(Some(ownership), rules.acl.as_ref())?;
        self.store
            .set_bucket_setting(
                &bucket,
                OWNERSHIP_SETTING,
                Some(serde_json::json!(ownership)),
            )
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(PutBucketOwnershipControlsOutput::default()))
    }

    /// Drops the ownership controls of a bucket.
    pub(super) async fn delete_ownership(
        &self,
        request: S3Request<DeleteBucketOwnershipControlsInput>,
    ) -> S3Result<S3Response<DeleteBucketOwnershipControlsOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        self.store
            .set_bucket_setting(&bucket, OWNERSHIP_SETTING, None)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(
            DeleteBucketOwnershipControlsOutput::default(),
        ))
    }
}
