//! Buckets: make, look, list, remove, location and versioning.

use s3s::dto::{
    Bucket, BucketLocationConstraint, BucketVersioningStatus, CreateBucketInput,
    CreateBucketOutput, DeleteBucketInput, DeleteBucketOutput, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketVersioningInput, GetBucketVersioningOutput, HeadBucketInput,
    HeadBucketOutput, ListBucketsInput, ListBucketsOutput, PutBucketVersioningInput,
    PutBucketVersioningOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::DEFAULT_REGION;
use super::access::{bucket_name, caller, identity, owner};
use super::error::{self, not_built, say};
use super::operations::Operations;
use super::wire;
use super::{owners, ownership};
use crate::catalog::Versioning;
use crate::identity::{
    ACL_SETTING, Action, BucketRules, Circumstances, OWNERSHIP_SETTING, Resource, account_of,
};
use crate::kernel::BucketName;
use crate::store::StoreError;

/// Buckets of one page (Amazon S3, ListBuckets).
const BUCKETS_MAX: usize = 10_000;

impl Operations {
    /// Compares `x-amz-expected-bucket-owner` with who made the bucket; costs nothing when it did not come.
    pub(super) async fn expect_owner(
        &self,
        bucket: &BucketName,
        expected: Option<&str>,
    ) -> S3Result<()> {
        let Some(expected) = expected else {
            return Ok(());
        };
        let row = self.store.bucket(bucket).await.map_err(error::of)?;
        if account_of(&row.owner) == expected {
            return Ok(());
        }
        Err(say(
            S3ErrorCode::AccessDenied,
            "the bucket belongs to somebody else than x-amz-expected-bucket-owner says",
        ))
    }

    /// Makes a bucket.
    pub(super) async fn make_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let owner = owner(&caller(&request));
        let acl = self.brought_bucket(&request.headers, &owner).await?;
        let ownership = ownership::of_headers(&request.headers)?;
        ownership::fits(ownership, acl.as_ref())?;
        let input = request.input;
        let name = bucket_name(&input.bucket)?;
        let mut settings = serde_json::Map::new();
        if let Some(acl) = &acl {
            settings.insert(ACL_SETTING.to_owned(), serde_json::json!(acl));
        }
        if let Some(ownership) = ownership {
            settings.insert(OWNERSHIP_SETTING.to_owned(), serde_json::json!(ownership));
        }
        let place = input
            .create_bucket_configuration
            .and_then(|c| c.location_constraint);
        if let Some(place) = place.as_ref().map(BucketLocationConstraint::as_str)
            && !place.is_empty()
            && place != self.region
            && place != DEFAULT_REGION
        {
            let text = format!(
                "this appliance is the region {}, not {}",
                self.region,
                place.chars().take(64).collect::<String>()
            );
            return Err(say(S3ErrorCode::InvalidLocationConstraint, text));
        }
        let made = if input.object_lock_enabled_for_bucket == Some(true) {
            self.store
                .create_locking_bucket(&name, &owner, settings)
                .await
        } else {
            self.store.create_bucket_with(&name, &owner, settings).await
        };
        match made {
            Ok(_) => {}
            Err(StoreError::BucketExists(taken)) => {
                let row = self.store.bucket(&name).await.map_err(error::of)?;
                let rules = BucketRules::of(&row);
                let same = rules.acl == acl
                    && ownership.is_none_or(|ownership| rules.ownership == Some(ownership));
                // A success would say that what was asked for is there.
                if rules.owner != owner || !same {
                    return Err(error::of(StoreError::BucketExists(taken)));
                }
                // In the default region making a bucket again is a success (Amazon S3, CreateBucket).
                if self.region == DEFAULT_REGION {
                    return Ok(S3Response::new(CreateBucketOutput {
                        location: Some(format!("/{name}")),
                    }));
                }
                return Err(say(
                    S3ErrorCode::BucketAlreadyOwnedByYou,
                    format!("the bucket `{name}` is yours already"),
                ));
            }
            Err(other) => return Err(error::of(other)),
        }
        Ok(S3Response::new(CreateBucketOutput {
            location: Some(format!("/{name}")),
        }))
    }

    /// Whether there is a bucket.
    pub(super) async fn look_at_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        let name = bucket_name(&request.input.bucket)?;
        self.expect_owner(&name, request.input.expected_bucket_owner.as_deref())
            .await?;
        self.store.bucket(&name).await.map_err(error::of)?;
        Ok(S3Response::new(HeadBucketOutput {
            bucket_region: Some(self.region.clone()),
            ..HeadBucketOutput::default()
        }))
    }

    /// The buckets that the caller may list, by name.
    pub(super) async fn buckets(
        &self,
        request: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let caller = caller(&request);
        let input = request.input;
        let limit = wire::limit(input.max_buckets, BUCKETS_MAX, "max-buckets")?;
        let (prefix, after) = (
            input.prefix.unwrap_or_default(),
            input.continuation_token.unwrap_or_default(),
        );
        let rows = self.store.buckets().await.map_err(error::of)?;
        let identity = identity();
        let visible = rows.into_iter().filter(|row| {
            let rules = identity.as_ref().map(|identity| identity.rules(row));
            let here = Circumstances {
                rules: rules.as_deref(),
                s3: None,
            };
            row.name.starts_with(&prefix)
                && row.name > after
                && row.name.parse().is_ok_and(|name| {
                    let bucket = Resource::Bucket(&name);
                    caller.may_here(Action::ListBuckets, &bucket, &here).allow
                })
        });
        let mut shown: Vec<_> = visible.take(limit.saturating_add(1)).collect();
        let more = shown.len() > limit;
        shown.truncate(limit);
        let continuation_token = shown.last().filter(|_| more).map(|row| row.name.clone());
        let buckets = shown.into_iter().map(|row| Bucket {
            bucket_region: Some(self.region.clone()),
            creation_date: Some(wire::timestamp(row.created_ms)),
            name: Some(row.name),
        });
        Ok(S3Response::new(ListBucketsOutput {
            buckets: Some(buckets.collect()),
            continuation_token,
            owner: Some(owners::owner(&owner(&caller)).await),
            prefix: (!prefix.is_empty()).then_some(prefix),
        }))
    }

    /// Removes an empty bucket.
    pub(super) async fn remove_bucket(
        &self,
        request: S3Request<DeleteBucketInput>,
    ) -> S3Result<S3Response<DeleteBucketOutput>> {
        let name = bucket_name(&request.input.bucket)?;
        self.expect_owner(&name, request.input.expected_bucket_owner.as_deref())
            .await?;
        self.store.delete_bucket(&name).await.map_err(error::of)?;
        Ok(S3Response::new(DeleteBucketOutput::default()))
    }

    /// The region; the default one has no name here (Amazon S3, GetBucketLocation).
    pub(super) async fn location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> S3Result<S3Response<GetBucketLocationOutput>> {
        let name = bucket_name(&request.input.bucket)?;
        self.expect_owner(&name, request.input.expected_bucket_owner.as_deref())
            .await?;
        self.store.bucket(&name).await.map_err(error::of)?;
        let named = (self.region != DEFAULT_REGION)
            .then(|| BucketLocationConstraint::from(self.region.clone()));
        Ok(S3Response::new(GetBucketLocationOutput {
            location_constraint: named,
        }))
    }

    /// Whether old versions are kept.
    pub(super) async fn versioning(
        &self,
        request: S3Request<GetBucketVersioningInput>,
    ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
        let name = bucket_name(&request.input.bucket)?;
        self.expect_owner(&name, request.input.expected_bucket_owner.as_deref())
            .await?;
        let status = match self
            .store
            .bucket(&name)
            .await
            .map_err(error::of)?
            .versioning()
        {
            Versioning::Off => None,
            Versioning::Enabled => Some(BucketVersioningStatus::from_static(
                BucketVersioningStatus::ENABLED,
            )),
            Versioning::Suspended => Some(BucketVersioningStatus::from_static(
                BucketVersioningStatus::SUSPENDED,
            )),
        };
        Ok(S3Response::new(GetBucketVersioningOutput {
            mfa_delete: None,
            status,
        }))
    }

    /// Switches versioning on, or suspends it.
    pub(super) async fn put_versioning(
        &self,
        request: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        let name = bucket_name(&request.input.bucket)?;
        self.expect_owner(&name, request.input.expected_bucket_owner.as_deref())
            .await?;
        let asked = request.input.versioning_configuration;
        if asked
            .mfa_delete
            .is_some_and(|mfa| mfa.as_str() != "Disabled")
        {
            return Err(not_built("MFA delete"));
        }
        let versioning = match asked.status.as_ref().map(BucketVersioningStatus::as_str) {
            Some(BucketVersioningStatus::ENABLED) => Versioning::Enabled,
            Some(BucketVersioningStatus::SUSPENDED) => Versioning::Suspended,
            _ => {
                return Err(say(
                    S3ErrorCode::MalformedXML,
                    "the versioning status is Enabled or Suspended",
                ));
            }
        };
        self.store
            .set_versioning(&name, versioning)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(PutBucketVersioningOutput::default()))
    }
}
