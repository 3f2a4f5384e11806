//! PutObject.

use http::HeaderMap;
use s3s::dto::{ChecksumType, PutObjectInput, PutObjectOutput};
use s3s::{S3Request, S3Response, S3Result};

use super::access::{bucket_name, caller, is_form, object_key, owner};
use super::encryption;
use super::error;
use super::headers;
use super::intake::{Expected, Intake};
use super::operations::Operations;
use super::post::AtLeast;
use super::wire::{etag, fill_checksums};
use crate::store::{Condition, ObjectExtras, PutObject};

/// The conditions of a write, to be decided inside its commit.
pub(super) fn condition(headers: &HeaderMap) -> Condition {
    let text = |name: http::HeaderName| {
        headers
            .get(name)
            .map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
    };
    Condition {
        if_match: text(http::header::IF_MATCH),
        if_none_match: text(http::header::IF_NONE_MATCH),
        ..Condition::default()
    }
}

impl Operations {
    /// Stores an object: bytes first, verified, then its name.
    pub(super) async fn put(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        let brought = self
            .brought(&request, &bucket, owner(&caller(&request)))
            .await?;
        let input = request.input;
        let mut put = PutObject {
            key: object_key(&input.key)?,
            headers: headers::of(&request.headers, input.metadata)?,
            tags: headers::of_object(headers::tags(input.tagging.as_deref())?)?,
            extras: ObjectExtras {
                acl: brought.acl,
                ..ObjectExtras::default()
            },
            owner: brought.owner,
            condition: condition(&request.headers),
            etag: None,
            bucket,
        };
        self.expect_owner(&put.bucket, input.expected_bucket_owner.as_deref())
            .await?;
        put.extras.lock = self.lock_asked(&request.headers, &put.bucket).await?;
        let asked = encryption::asked(&request.headers)?;
        let encryption = self.store.encryption(&put.bucket, asked).await;
        let intake = Intake {
            encryption: encryption.map_err(error::of)?,
            body: input.body,
            size: input.content_length,
            trailers: request.trailing_headers,
            expected: Expected::of(&request.headers)?,
            also: None,
            is_part: false,
            bucket: put.bucket.clone(),
            key: put.key.clone(),
            owner: put.owner.clone(),
            at_least: request
                .extensions
                .get::<AtLeast>()
                .map_or(0, |least| least.0),
        };
        let sealed = intake.take(&self.store).await?;
        let via = if is_form() { "post" } else { "put" };
        let published = self.store.publish_via(put, sealed, via).await;
        let published = published.map_err(error::of)?;
        let mut output = PutObjectOutput {
            expiration: self.expiration(&published.object).await,
            e_tag: Some(etag(&published.object.etag)),
            version_id: published
                .is_versioned
                .then(|| published.object.version_id.to_string()),
            ..PutObjectOutput::default()
        };
        let sums = &published.object.checksums.values;
        fill_checksums!(output, sums);
        if !sums.is_empty() {
            output.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
        }
        let mut response = S3Response::new(output);
        let encrypted = published.object.encrypted();
        encryption::tell(&mut response.headers, encrypted, &request.headers);
        Ok(response)
    }
}
