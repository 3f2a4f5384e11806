//! Access control lists: read, replaced, and brought along by what makes a bucket or an object.

use http::HeaderMap;
use s3s::dto::{
    AccessControlPolicy, GetBucketAclInput, GetBucketAclOutput, GetObjectAclInput,
    GetObjectAclOutput, PutBucketAclInput, PutBucketAclOutput, PutObjectAclInput,
    PutObjectAclOutput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{bucket_name, object_key};
use super::decide::decider;
use super::error::{self, say};
use super::get::missing;
use super::grants::{Sent, known, of_headers, of_policy, shown};
use super::operations::Operations;
use super::owners::owner;
use super::wire::version_id;
use crate::identity::{ACL_SETTING, BucketRules, Ownership};
use crate::kernel::{Acl, BucketName};

/// Who owns what is being written, and its list where it is not the plain one.
pub(super) struct Brought {
    /// The owner.
    pub(super) owner: String,
    /// The list.
    pub(super) acl: Option<Acl>,
}

/// What a bucket that keeps no lists says.
fn unsupported() -> S3Error {
    say(
        S3ErrorCode::AccessControlListNotSupported,
        "The bucket does not allow ACLs",
    )
}

/// Refuses a list that the bucket's public access block forbids.
fn check_block(rules: &BucketRules, acl: &Acl) -> S3Result<()> {
    if rules.block().block_public_acls && acl.is_public() {
        return Err(say(
            S3ErrorCode::AccessDenied,
            "the public access block of the bucket refuses public access control lists",
        ));
    }
    Ok(())
}

impl Operations {
    /// What a bucket says about access, as of now.
    pub(super) async fn rules_of(&self, bucket: &BucketName) -> S3Result<BucketRules> {
        let row = self.store.bucket(bucket).await.map_err(error::of)?;
        Ok(BucketRules::of(&row))
    }

    /// The owner and the list of an object that a request writes: what its headers ask for, within what the bucket allows.
    ///
    /// Costs a look at the bucket only where headers ask for anything.
    pub(super) async fn brought<T>(
        &self,
        request: &S3Request<T>,
        bucket: &BucketName,
        writer: String,
    ) -> S3Result<Brought> {
        let sent = of_headers(&request.headers)?;
        let Some(sent) = sent else {
            let decider = decider(request);
            let owner = match decider.rules() {
                Some(rules) if !rules.has_lists() => rules.owner.clone(),
                _ => writer,
            };
            return Ok(Brought { owner, acl: None });
        };
        let rules = self.rules_of(bucket).await?;
        let offers_all = matches!(&sent, Sent::Canned(name) if name == "bucket-owner-full-control");
        match rules.ownership {
            Some(Ownership::BucketOwnerEnforced) if !offers_all => return Err(unsupported()),
            Some(Ownership::BucketOwnerEnforced | Ownership::BucketOwnerPreferred)
                if offers_all =>
            {
                return Ok(Brought {
                    owner: rules.owner,
                    acl: None,
                });
            }
            _ => {}
        }
        known(&sent).await?;
        let acl = sent.list(&writer, &rules.owner, false)?;
        check_block(&rules, &acl)?;
        let acl = (!acl.is_private(&writer)).then_some(acl);
        Ok(Brought { owner: writer, acl })
    }

    /// The list that comes with a new bucket.
    pub(super) async fn brought_bucket(
        &self,
        headers: &HeaderMap,
        owner: &str,
    ) -> S3Result<Option<Acl>> {
        let Some(sent) = of_headers(headers)? else {
            return Ok(None);
        };
        known(&sent).await?;
        let acl = sent.list(owner, owner, true)?;
        Ok((!acl.is_private(owner)).then_some(acl))
    }

    /// The list of a bucket.
    pub(super) async fn bucket_acl(
        &self,
        request: S3Request<GetBucketAclInput>,
    ) -> S3Result<S3Response<GetBucketAclOutput>> {
        let name = bucket_name(&request.input.bucket)?;
        self.expect_owner(&name, request.input.expected_bucket_owner.as_deref())
            .await?;
        let rules = self.rules_of(&name).await?;
        let acl = rules
            .acl
            .filter(|_| rules.ownership != Some(Ownership::BucketOwnerEnforced));
        let acl = acl.unwrap_or_else(|| Acl::private(&rules.owner));
        Ok(S3Response::new(GetBucketAclOutput {
            grants: Some(shown(&acl).await),
            owner: Some(owner(&rules.owner).await),
        }))
    }

    /// Replaces the list of a bucket.
    pub(super) async fn put_bucket_list(
        &self,
        request: S3Request<PutBucketAclInput>,
    ) -> S3Result<S3Response<PutBucketAclOutput>> {
        let name = bucket_name(&request.input.bucket)?;
        self.expect_owner(&name, request.input.expected_bucket_owner.as_deref())
            .await?;
        let rules = self.rules_of(&name).await?;
        if !rules.has_lists() {
            return Err(unsupported());
        }
        let sent = one(
            &request.headers,
            request.input.access_control_policy,
            &rules.owner,
        )?;
        known(&sent).await?;
        let acl = sent.list(&rules.owner, &rules.owner, true)?;
        check_block(&rules, &acl)?;
        let stored = (!acl.is_private(&rules.owner)).then(|| serde_json::json!(acl));
        self.store
            .set_bucket_setting(&name, ACL_SETTING, stored)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(PutBucketAclOutput::default()))
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
        let rules = self.rules_of(&bucket).await?;
        let version = version_id(input.version_id.as_deref())?;
        let object = self
            .store
            .head(&bucket, &key, version.as_ref())
            .await
            .map_err(|e| missing(e, version.is_some()))?;
        let (holder, acl) = if rules.has_lists() {
            (object.owner, object.extras.acl)
        } else {
            (rules.owner, None)
        };
        let acl = acl.unwrap_or_else(|| Acl::private(&holder));
        Ok(S3Response::new(GetObjectAclOutput {
            grants: Some(shown(&acl).await),
            owner: Some(owner(&holder).await),
            request_charged: None,
        }))
    }

    /// Replaces the list of an object.
    pub(super) async fn put_object_list(
        &self,
        request: S3Request<PutObjectAclInput>,
    ) -> S3Result<S3Response<PutObjectAclOutput>> {
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let rules = self.rules_of(&bucket).await?;
        if !rules.has_lists() {
            return Err(unsupported());
        }
        let version = version_id(input.version_id.as_deref())?;
        let object = self
            .store
            .head(&bucket, &key, version.as_ref())
            .await
            .map_err(|e| missing(e, version.is_some()))?;
        let sent = one(&request.headers, input.access_control_policy, &object.owner)?;
        known(&sent).await?;
        let acl = sent.list(&object.owner, &rules.owner, false)?;
        check_block(&rules, &acl)?;
        let stored = (!acl.is_private(&object.owner)).then_some(acl);
        let change = move |extras: &mut crate::store::ObjectExtras| {
            extras.acl = stored;
            Ok(())
        };
        self.store
            .change_extras(&object, change)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(PutObjectAclOutput::default()))
    }
}

/// The one list that a request to replace one brings: in its headers or in its body.
fn one(headers: &HeaderMap, body: Option<AccessControlPolicy>, owner: &str) -> S3Result<Sent> {
    match (of_headers(headers)?, body) {
        (Some(sent), None) => Ok(sent),
        (None, Some(policy)) => of_policy(policy, owner),
        (Some(_), Some(_)) => Err(say(
            S3ErrorCode::UnexpectedContent,
            "This request does not support content: the list stands in the headers",
        )),
        (None, None) => Err(say(
            S3ErrorCode::MissingSecurityHeader,
            "Your request was missing a required header: x-amz-acl, x-amz-grant-*, or a list in the body",
        )),
    }
}
