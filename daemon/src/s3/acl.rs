//! Access control lists, read only: everything belongs to whoever made it, and rights come from access keys.

use s3s::dto::{
    GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput, GetObjectAclOutput, Grant, Grantee,
    Permission, Type,
};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{bucket_name, object_key};
use super::error;
use super::get::missing;
use super::operations::Operations;
use super::wire::{owner, version_id};

/// What `private` looks like, the only list there is.
fn private(holder: &str) -> Vec<Grant> {
    vec![Grant {
        grantee: Some(Grantee {
            display_name: Some(holder.to_owned()),
            email_address: None,
            id: Some(holder.to_owned()),
            type_: Type::from_static(Type::CANONICAL_USER),
            uri: None,
        }),
        permission: Some(Permission::from_static(Permission::FULL_CONTROL)),
    }]
}

impl Operations {
    /// The list of a bucket.
    pub(super) async fn bucket_acl(
        &self,
        request: S3Request<GetBucketAclInput>,
    ) -> S3Result<S3Response<GetBucketAclOutput>> {
        let name = bucket_name(&request.input.bucket)?;
        self.expect_owner(&name, request.input.expected_bucket_owner.as_deref())
            .await?;
        let row = self.store.bucket(&name).await.map_err(error::of)?;
        Ok(S3Response::new(GetBucketAclOutput {
            grants: Some(private(&row.owner)),
            owner: Some(owner(&row.owner)),
        }))
    }

    /// The list of an object.
    pub(super) async fn object_acl(
        &self,
        request: S3Request<GetObjectAclInput>,
    ) -> S3Result<S3Response<GetObjectAclOutput>> {
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let version = version_id(input.version_id.as_deref())?;
        let object = self
            .store
            .head(&bucket, &key, version.as_ref())
            .await
            .map_err(|e| missing(e, version.is_some()))?;
        Ok(S3Response::new(GetObjectAclOutput {
            grants: Some(private(&object.owner)),
            owner: Some(owner(&object.owner)),
            request_charged: None,
        }))
    }
}
