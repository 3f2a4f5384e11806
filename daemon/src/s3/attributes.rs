//! GetObjectAttributes, and GetObjectTorrent, which no object has.

use s3s::dto::{
    Checksum, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
    GetObjectTorrentInput, GetObjectTorrentOutput, ObjectAttributes, ObjectPart, StorageClass,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{bucket_name, object_key};
use super::encryption;
use super::error::say;
use super::get::missing;
use super::operations::Operations;
use super::wire::{etag, fill_checksums, kind_out, limit, part_marker, timestamp, version_id};
use crate::kernel::limits::LIST_KEYS_MAX;
use crate::store::Object;

/// What may be asked for.
const KNOWN: [&str; 5] = [
    ObjectAttributes::CHECKSUM,
    ObjectAttributes::ETAG,
    ObjectAttributes::OBJECT_PARTS,
    ObjectAttributes::OBJECT_SIZE,
    ObjectAttributes::STORAGE_CLASS,
];

fn checksum(object: &Object) -> Option<Checksum> {
    if object.checksums.values.is_empty() {
        return None;
    }
    let mut out = Checksum {
        checksum_type: Some(kind_out(object.checksums.kind)),
        ..Checksum::default()
    };
    fill_checksums!(out, &object.checksums.values);
    Some(out)
}

fn parts(object: &Object, marker: u32, limit: usize) -> Option<GetObjectAttributesParts> {
    let all = &object.checksums.parts;
    if all.is_empty() {
        return None;
    }
    let mut rest = all.iter().filter(|part| part.number > marker);
    // Parts are listed only where they carry checksums (Amazon S3, GetObjectAttributes).
    let shown: Vec<_> = rest.by_ref().take(limit).collect();
    let is_truncated = rest.next().is_some();
    let next = shown.last().map(|part| part.number);
    let listed = shown.iter().map(|part| {
        let mut out = ObjectPart {
            part_number: i32::try_from(part.number).ok(),
            size: i64::try_from(part.size_bytes).ok(),
            ..ObjectPart::default()
        };
        fill_checksums!(out, &part.values);
        out
    });
    let has_checksums = all.iter().any(|part| !part.values.is_empty());
    Some(GetObjectAttributesParts {
        is_truncated: Some(is_truncated),
        max_parts: i32::try_from(limit).ok(),
        next_part_number_marker: i32::try_from(next.unwrap_or(marker)).ok(),
        part_number_marker: i32::try_from(marker).ok(),
        parts: has_checksums.then(|| listed.collect()),
        total_parts_count: i32::try_from(all.len()).ok(),
    })
}

impl Operations {
    /// Says that an object is not offered as a torrent.
    pub(super) async fn torrent(
        &self,
        request: S3Request<GetObjectTorrentInput>,
    ) -> S3Result<S3Response<GetObjectTorrentOutput>> {
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let object = self.store.head(&bucket, &key, None).await;
        object.map_err(|e| missing(e, false))?;
        Err(say(
            S3ErrorCode::NoSuchKey,
            "objects are not offered as torrents here",
        ))
    }

    /// What was asked of an object's attributes.
    pub(super) async fn attributes(
        &self,
        request: S3Request<GetObjectAttributesInput>,
    ) -> S3Result<S3Response<GetObjectAttributesOutput>> {
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let asked: Vec<&str> = input
            .object_attributes
            .iter()
            .flat_map(|a| a.as_str().split(','))
            .map(str::trim)
            .collect();
        if asked.is_empty() || asked.iter().any(|name| !KNOWN.contains(name)) {
            return Err(say(
                S3ErrorCode::InvalidArgument,
                "Invalid attribute name specified.",
            ));
        }
        let limit = limit(input.max_parts, LIST_KEYS_MAX, "x-amz-max-parts")?;
        let marker = part_marker(input.part_number_marker)?;
        let version = version_id(input.version_id.as_deref())?;
        let object = self
            .store
            .head(&bucket, &key, version.as_ref())
            .await
            .map_err(|e| missing(e, version.is_some()))?;
        encryption::of_read(&request.headers, &object)?;
        let wants = |name| asked.contains(&name);
        let mut response = S3Response::new(GetObjectAttributesOutput {
            checksum: if wants(ObjectAttributes::CHECKSUM) {
                checksum(&object)
            } else {
                None
            },
            e_tag: wants(ObjectAttributes::ETAG).then(|| etag(&object.etag)),
            last_modified: Some(timestamp(object.modified_ms)),
            object_parts: if wants(ObjectAttributes::OBJECT_PARTS) {
                parts(&object, marker, limit)
            } else {
                None
            },
            object_size: if wants(ObjectAttributes::OBJECT_SIZE) {
                i64::try_from(object.size).ok()
            } else {
                None
            },
            storage_class: wants(ObjectAttributes::STORAGE_CLASS)
                .then(|| StorageClass::from_static(StorageClass::STANDARD)),
            version_id: (version.is_some() || !object.version_id.is_null())
                .then(|| object.version_id.to_string()),
            ..GetObjectAttributesOutput::default()
        });
        response.extensions.insert(super::PlainTags);
        Ok(response)
    }
}
