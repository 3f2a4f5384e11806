//! Tags of objects and of buckets.

use s3s::dto::{
    DeleteBucketTaggingInput, DeleteBucketTaggingOutput, DeleteObjectTaggingInput,
    DeleteObjectTaggingOutput, GetBucketTaggingInput, GetBucketTaggingOutput,
    GetObjectTaggingInput, GetObjectTaggingOutput, PutBucketTaggingInput, PutBucketTaggingOutput,
    PutObjectTaggingInput, PutObjectTaggingOutput, Tag,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{bucket_name, object_key};
use super::error::{self, say};
use super::get::missing;
use super::headers;
use super::operations::Operations;
use super::wire::version_id;
use crate::store::{Object, Tags};

/// The setting of a bucket that holds its tags.
const SETTING: &str = "tagging";
/// Tags of one bucket (Amazon S3).
const BUCKET_TAGS_MAX: usize = 50;

fn shown(tags: Tags) -> Vec<Tag> {
    tags.into_iter()
        .map(|(key, value)| Tag {
            key: Some(key),
            value: Some(value),
        })
        .collect()
}

fn read(tags: Vec<Tag>) -> S3Result<Tags> {
    headers::checked(
        tags.into_iter()
            .map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default())),
    )
}

fn version_of(object: &Object, named: bool) -> Option<String> {
    (named || !object.version_id.is_null()).then(|| object.version_id.to_string())
}

impl Operations {
    async fn tagged(
        &self,
        bucket: &str,
        key: &str,
        version: Option<&str>,
        expected_owner: Option<&str>,
    ) -> S3Result<Object> {
        let (bucket, key) = (bucket_name(bucket)?, object_key(key)?);
        self.expect_owner(&bucket, expected_owner).await?;
        let version = version_id(version)?;
        self.store
            .head(&bucket, &key, version.as_ref())
            .await
            .map_err(|e| missing(e, version.is_some()))
    }

    /// The tags of an object.
    pub(super) async fn get_tags(
        &self,
        request: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        let input = request.input;
        let (version, owner) = (
            input.version_id.as_deref(),
            input.expected_bucket_owner.as_deref(),
        );
        let object = self
            .tagged(&input.bucket, &input.key, version, owner)
            .await?;
        let version_id = version_of(&object, version.is_some());
        Ok(S3Response::new(GetObjectTaggingOutput {
            tag_set: shown(object.tags),
            version_id,
        }))
    }

    /// Replaces the tags of an object.
    pub(super) async fn put_tags(
        &self,
        request: S3Request<PutObjectTaggingInput>,
    ) -> S3Result<S3Response<PutObjectTaggingOutput>> {
        let tags = headers::of_object(read(request.input.tagging.tag_set.clone())?)?;
        self.check_tags(&request, &tags).await?;
        let input = request.input;
        let (version, owner) = (
            input.version_id.as_deref(),
            input.expected_bucket_owner.as_deref(),
        );
        let object = self
            .tagged(&input.bucket, &input.key, version, owner)
            .await?;
        self.store
            .set_tags(&object, tags)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(PutObjectTaggingOutput {
            version_id: version_of(&object, version.is_some()),
        }))
    }

    /// Takes the tags off an object.
    pub(super) async fn delete_tags(
        &self,
        request: S3Request<DeleteObjectTaggingInput>,
    ) -> S3Result<S3Response<DeleteObjectTaggingOutput>> {
        let input = request.input;
        let (version, owner) = (
            input.version_id.as_deref(),
            input.expected_bucket_owner.as_deref(),
        );
        let object = self
            .tagged(&input.bucket, &input.key, version, owner)
            .await?;
        self.store
            .set_tags(&object, Tags::new())
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(DeleteObjectTaggingOutput {
            version_id: version_of(&object, version.is_some()),
        }))
    }

    /// The tags of a bucket.
    pub(super) async fn get_bucket_tags(
        &self,
        request: S3Request<GetBucketTaggingInput>,
    ) -> S3Result<S3Response<GetBucketTaggingOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let setting = self
            .store
            .bucket_setting(&bucket, SETTING)
            .await
            .map_err(error::of)?;
        let tags = setting.and_then(|value| serde_json::from_value::<Tags>(value).ok());
        let tags =
            tags.ok_or_else(|| say(S3ErrorCode::NoSuchTagSet, "The TagSet does not exist"))?;
        Ok(S3Response::new(GetBucketTaggingOutput {
            tag_set: shown(tags),
        }))
    }

    /// Replaces the tags of a bucket.
    pub(super) async fn put_bucket_tags(
        &self,
        request: S3Request<PutBucketTaggingInput>,
    ) -> S3Result<S3Response<PutBucketTaggingOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        let tags = read(request.input.tagging.tag_set)?;
        if tags.len() > BUCKET_TAGS_MAX {
            return Err(say(
                S3ErrorCode::InvalidTag,
                format!("a bucket has at most {BUCKET_TAGS_MAX} tags"),
            ));
        }
        let value = serde_json::json!(tags);
        self.store
            .set_bucket_setting(&bucket, SETTING, Some(value))
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(PutBucketTaggingOutput::default()))
    }

    /// Takes the tags off a bucket.
    pub(super) async fn delete_bucket_tags(
        &self,
        request: S3Request<DeleteBucketTaggingInput>,
    ) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        self.expect_owner(&bucket, request.input.expected_bucket_owner.as_deref())
            .await?;
        self.store
            .set_bucket_setting(&bucket, SETTING, None)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(DeleteBucketTaggingOutput::default()))
    }
}
