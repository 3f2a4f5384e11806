//! CopyObject: rows only, no byte moves; all are read where a checksum is asked for that the source has not.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, Method};
use http_body_util::BodyExt as _;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, MetadataDirective, TaggingDirective,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{bucket_name, caller, object_key, owner};
use super::encryption;
use super::error::{self, say};
use super::get::missing;
use super::headers;
use super::operations::Operations;
use super::put::condition;
use super::wire::{algorithm, etag, fill_checksums, kind_out, timestamp, version_id};
use crate::http::condition::{Verdict, evaluate};
use crate::store::{
    ChecksumKind, Checksums, Copy, CopyKeys, Hashers, Object, ObjectExtras, PartSummary,
};

/// Decides `x-amz-copy-source-if-*`, which read like the conditions of a GET.
pub(super) fn source_condition(headers: &HeaderMap, object: &Object) -> S3Result<()> {
    let of_source = headers.iter().filter_map(|(name, value)| {
        let name = name
            .as_str()
            .strip_prefix("x-amz-copy-source-")
            .filter(|name| name.starts_with("if-"))?;
        Some((name.parse::<HeaderName>().ok()?, value.clone()))
    });
    let of_source: HeaderMap = of_source.collect();
    match evaluate(&Method::GET, &of_source, &object.etag, object.modified_ms) {
        Verdict::Proceed => Ok(()),
        Verdict::NotModified | Verdict::PreconditionFailed => Err(say(
            S3ErrorCode::PreconditionFailed,
            "At least one of the pre-conditions you specified did not hold",
        )),
    }
}

/// Whether a directive says REPLACE.
fn replaces(directive: Option<&str>, name: &str) -> S3Result<bool> {
    match directive {
        None | Some("COPY") => Ok(false),
        Some("REPLACE") => Ok(true),
        Some(_) => Err(say(
            S3ErrorCode::InvalidArgument,
            format!("Unknown {name} directive."),
        )),
    }
}

impl Operations {
    /// The checksum of the whole that a copy is to have: the source's own where it has it, else computed, which reads every byte.
    async fn checksum_for_copy(
        &self,
        source: &Object,
        keys: &CopyKeys,
        wanted: &s3s::dto::ChecksumAlgorithm,
    ) -> S3Result<Checksums> {
        let wanted = algorithm(wanted)?;
        let of_whole = source.checksums.kind == ChecksumKind::FullObject;
        let brought = source.checksums.values.get(&wanted).filter(|_| of_whole);
        let value = match brought {
            Some(value) => value.clone(),
            None => {
                let mut sums = Hashers::new(&[wanted]);
                let reader = self.store.reader_with(source, keys.source.as_ref());
                let mut body = reader.await.map_err(error::of)?.body(0..source.size);
                while let Some(frame) = body.frame().await {
                    if let Ok(bytes) = frame.map_err(error::of)?.into_data() {
                        sums.update(&bytes);
                    }
                }
                sums.finish().remove(&wanted).unwrap_or_default()
            }
        };
        let parts = source.checksums.parts.iter().map(|part| PartSummary {
            // What was known of a part is of another algorithm.
            values: BTreeMap::new(),
            ..part.clone()
        });
        Ok(Checksums {
            values: BTreeMap::from([(wanted, value)]),
            kind: ChecksumKind::FullObject,
            parts: parts.collect(),
        })
    }

    /// Copies an object.
    pub(super) async fn copy(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let (from_bucket, from_key, from_version) =
            self.source(&request, &request.input.copy_source).await?;
        let bucket = bucket_name(&request.input.bucket)?;
        let brought = self
            .brought(&request, &bucket, owner(&caller(&request)))
            .await?;
        let input = request.input;
        let key = object_key(&input.key)?;
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        self.expect_owner(&from_bucket, input.expected_source_bucket_owner.as_deref())
            .await?;
        let new_headers = replaces(
            input
                .metadata_directive
                .as_ref()
                .map(MetadataDirective::as_str),
            "metadata",
        )?;
        let new_tags = replaces(
            input
                .tagging_directive
                .as_ref()
                .map(TaggingDirective::as_str),
            "tagging",
        )?;
        let redirects = request
            .headers
            .contains_key("x-amz-website-redirect-location");
        let lock = self.lock_asked(&request.headers, &bucket).await?;
        let to_itself = from_bucket == bucket && from_key == key && from_version.is_none();
        let encrypts = encryption::is_asked(&request.headers);
        if to_itself && !new_headers && !new_tags && !redirects && !encrypts {
            return Err(say(
                S3ErrorCode::InvalidRequest,
                "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
            ));
        }
        let version = version_id(from_version.as_deref())?;
        let mut source = self
            .store
            .object(&from_bucket, &from_key, version.as_ref())
            .await
            .map_err(|e| missing(e, version.is_some()))?;
        let keys = CopyKeys {
            source: encryption::of_source(&request.headers, &source)?,
            asked: encryption::asked(&request.headers)?,
        };
        source_condition(&request.headers, &source)?;
        if let Some(wanted) = &input.checksum_algorithm {
            source.checksums = self.checksum_for_copy(&source, &keys, wanted).await?;
        }
        let mut replaced = if new_headers {
            Some(headers::of(&request.headers, input.metadata)?)
        } else {
            None
        };
        if redirects && !new_headers {
            let mut kept = source.headers.clone();
            kept.website_redirect = input.website_redirect_location;
            replaced = Some(kept);
        }
        let tags = if new_tags {
            Some(headers::of_object(headers::tags(
                input.tagging.as_deref(),
            )?)?)
        } else {
            None
        };
        let source_version = (version.is_some() || !source.version_id.is_null())
            .then(|| source.version_id.to_string());
        let copy = Copy {
            source,
            bucket,
            key,
            headers: replaced,
            tags,
            extras: ObjectExtras {
                acl: brought.acl,
                lock,
                ..ObjectExtras::default()
            },
            owner: brought.owner,
            condition: condition(&request.headers),
        };
        let published = self.store.copy_with(copy, keys).await.map_err(error::of)?;
        let object = published.object;
        let mut result = CopyObjectResult {
            e_tag: Some(etag(&object.etag)),
            last_modified: Some(timestamp(object.modified_ms)),
            ..CopyObjectResult::default()
        };
        if !object.checksums.values.is_empty() {
            fill_checksums!(result, &object.checksums.values);
            result.checksum_type = Some(kind_out(object.checksums.kind));
        }
        let mut response = S3Response::new(CopyObjectOutput {
            expiration: self.expiration(&object).await,
            copy_object_result: Some(result),
            copy_source_version_id: source_version,
            version_id: published
                .is_versioned
                .then(|| object.version_id.to_string()),
            ..CopyObjectOutput::default()
        });
        encryption::tell(&mut response.headers, object.encrypted(), &request.headers);
        Ok(response)
    }
}
