//! ListObjectVersions.

use s3s::dto::{
    DeleteMarkerEntry, ListObjectVersionsInput, ListObjectVersionsOutput, ObjectVersion,
    ObjectVersionStorageClass,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::bucket_name;
use super::error::{self, say};
use super::list::{common, echo};
use super::operations::Operations;
use super::owners::Owners;
use super::wire::{encoded, encodes, etag, limit, timestamp, version_id};
use crate::kernel::limits::LIST_KEYS_MAX;
use crate::store::{ListItem, ListRequest};

fn version(item: &ListItem, encode: bool, owners: &Owners) -> ObjectVersion {
    ObjectVersion {
        e_tag: Some(etag(&item.etag)),
        is_latest: Some(item.is_latest),
        key: Some(encoded(item.key.as_str(), encode)),
        last_modified: Some(timestamp(item.modified_ms)),
        owner: Some(owners.owner(&item.owner)),
        size: i64::try_from(item.size).ok(),
        storage_class: Some(ObjectVersionStorageClass::from_static(
            ObjectVersionStorageClass::STANDARD,
        )),
        version_id: Some(item.version_id.to_string()),
        ..ObjectVersion::default()
    }
}

fn marker(item: &ListItem, encode: bool, owners: &Owners) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        is_latest: Some(item.is_latest),
        key: Some(encoded(item.key.as_str(), encode)),
        last_modified: Some(timestamp(item.modified_ms)),
        owner: Some(owners.owner(&item.owner)),
        version_id: Some(item.version_id.to_string()),
    }
}

impl Operations {
    /// Every version and delete marker.
    pub(super) async fn list_all_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = request.input;
        let bucket = bucket_name(&input.bucket)?;
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let encode = encodes(input.encoding_type.as_ref())?;
        let limit = limit(input.max_keys, LIST_KEYS_MAX, "max-keys")?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = input.delimiter.unwrap_or_default();
        let key_marker = input.key_marker.unwrap_or_default();
        let after_version = version_id(input.version_id_marker.as_deref())?;
        if key_marker.is_empty() && after_version.is_some() {
            return Err(say(
                S3ErrorCode::InvalidArgument,
                "A version-id marker cannot be specified without a key marker.",
            ));
        }
        let page = ListRequest {
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
            after: (!key_marker.is_empty()).then(|| key_marker.clone()),
            after_version,
            limit,
            versions: true,
        };
        let page = self.store.list(&bucket, &page).await.map_err(error::of)?;
        let owners = Owners::of(page.items.iter().map(|item| item.owner.as_str())).await;
        let (markers, versions): (Vec<_>, Vec<_>) =
            page.items.iter().partition(|item| item.is_delete_marker);
        let markers: Vec<_> = markers
            .into_iter()
            .map(|item| marker(item, encode, &owners))
            .collect();
        let versions: Vec<_> = versions
            .into_iter()
            .map(|item| version(item, encode, &owners))
            .collect();
        let truncated = page.is_truncated;
        Ok(S3Response::new(ListObjectVersionsOutput {
            common_prefixes: common(page.prefixes, encode),
            delete_markers: (!markers.is_empty()).then_some(markers),
            delimiter: (!delimiter.is_empty()).then(|| encoded(&delimiter, encode)),
            encoding_type: echo(encode),
            is_truncated: Some(truncated),
            key_marker: Some(encoded(&key_marker, encode)),
            max_keys: i32::try_from(limit).ok(),
            name: Some(input.bucket),
            next_key_marker: page
                .next_after
                .filter(|_| truncated)
                .map(|key| encoded(&key, encode)),
            next_version_id_marker: page
                .next_after_version
                .filter(|_| truncated)
                .map(|id| id.to_string()),
            prefix: Some(encoded(&prefix, encode)),
            request_charged: None,
            version_id_marker: input.version_id_marker,
            versions: (!versions.is_empty()).then_some(versions),
        }))
    }
}
