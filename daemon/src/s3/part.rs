//! UploadPart, UploadPartCopy and ListParts.

use std::collections::BTreeSet;
use std::ops::Range;

use s3s::dto::{
    CopyPartResult, ListPartsInput, ListPartsOutput, Part as ListedPart, StorageClass,
    UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{bucket_name, object_key};
use super::copy::source_condition;
use super::encryption;
use super::error::{self, say};
use super::get::missing;
use super::intake::{Expected, Intake};
use super::operations::Operations;
use super::owners::{self, initiator};
use super::wire::{
    Sums, algorithm_out, etag, fill_checksums, kind_out, limit, part_marker, timestamp, upload_id,
    version_id,
};
use crate::catalog::UploadState;
use crate::kernel::limits::{LIST_KEYS_MAX, PARTS_MAX};
use crate::kernel::{BucketName, ObjectKey, UploadId};
use crate::store::{ChecksumKind, CompletedPart, Part, PartKeys, PartSummary, StoreError, combine};

fn part_number(sent: i32) -> S3Result<u32> {
    let number = u32::try_from(sent)
        .ok()
        .filter(|n| (1..=PARTS_MAX).contains(n));
    number.ok_or_else(|| {
        say(
            S3ErrorCode::InvalidArgument,
            format!("Part number must be an integer between 1 and {PARTS_MAX}, inclusive"),
        )
    })
}

/// `x-amz-copy-source-range`: both ends, within the source.
fn copy_range(sent: Option<&str>, size: u64) -> S3Result<Range<u64>> {
    let Some(sent) = sent else {
        return Ok(0..size);
    };
    let invalid = || {
        say(
            S3ErrorCode::InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy",
        )
    };
    let (first, last) = sent
        .strip_prefix("bytes=")
        .and_then(|r| r.split_once('-'))
        .ok_or_else(invalid)?;
    let digits = |text: &str| {
        text.parse::<u64>()
            .ok()
            .filter(|_| text.bytes().all(|b| b.is_ascii_digit()))
    };
    let (first, last) = (
        digits(first).ok_or_else(invalid)?,
        digits(last).ok_or_else(invalid)?,
    );
    if first > last {
        return Err(invalid());
    }
    if last >= size {
        return Err(error::of(StoreError::InvalidRange { size_bytes: size }));
    }
    Ok(first..last + 1)
}

impl Operations {
    /// Stores a part.
    pub(super) async fn put_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let number = part_number(input.part_number)?;
        let id = upload_id(&input.upload_id)?;
        let (upload, metadata) = self
            .store
            .multipart(id, &bucket, &key)
            .await
            .map_err(error::of)?;
        let encrypted = self.store.upload_encrypted(&upload).map_err(error::of)?;
        let sent = encryption::of_part(&request.headers, encrypted.as_ref())?;
        let encryption = self.store.upload_encryption(&upload, sent.as_ref()).await;
        let intake = Intake {
            encryption: encryption.map_err(error::of)?,
            body: input.body,
            size: input.content_length,
            trailers: request.trailing_headers,
            expected: Expected::of(&request.headers)?,
            also: metadata.checksum.map(|(algorithm, _)| algorithm),
            is_part: true,
            bucket: bucket.clone(),
            key: key.clone(),
            owner: upload.owner,
            at_least: 0,
        };
        let sealed = intake.take(&self.store).await?;
        let part = self
            .store
            .put_part(id, &bucket, &key, number, sealed)
            .await
            .map_err(error::of)?;
        let mut output = UploadPartOutput {
            e_tag: Some(etag(&part.etag)),
            ..UploadPartOutput::default()
        };
        fill_checksums!(output, &part.checksums);
        let mut response = S3Response::new(output);
        encryption::tell(&mut response.headers, encrypted.as_ref(), &request.headers);
        Ok(response)
    }

    /// Makes a part of an object or a range of it.
    pub(super) async fn copy_part(
        &self,
        request: S3Request<UploadPartCopyInput>,
    ) -> S3Result<S3Response<UploadPartCopyOutput>> {
        let (from_bucket, from_key, from_version) =
            self.source(&request, &request.input.copy_source).await?;
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        self.expect_owner(&from_bucket, input.expected_source_bucket_owner.as_deref())
            .await?;
        let number = part_number(input.part_number)?;
        let id = upload_id(&input.upload_id)?;
        let version = version_id(from_version.as_deref())?;
        let source = self
            .store
            .object(&from_bucket, &from_key, version.as_ref())
            .await
            .map_err(|e| missing(e, version.is_some()))?;
        let (row, _) = self
            .store
            .multipart(id, &bucket, &key)
            .await
            .map_err(error::of)?;
        let encrypted = self.store.upload_encrypted(&row).map_err(error::of)?;
        let keys = PartKeys {
            source: encryption::of_source(&request.headers, &source)?,
            target: encryption::of_part(&request.headers, encrypted.as_ref())?,
        };
        source_condition(&request.headers, &source)?;
        let range = copy_range(input.copy_source_range.as_deref(), source.size)?;
        let part = self
            .store
            .copy_part(id, &bucket, &key, number, &source, range, &keys)
            .await
            .map_err(error::of)?;
        let mut result = CopyPartResult {
            e_tag: Some(etag(&part.etag)),
            last_modified: Some(timestamp(part.modified_ms)),
            ..CopyPartResult::default()
        };
        fill_checksums!(result, &part.checksums);
        let mut response = S3Response::new(UploadPartCopyOutput {
            copy_part_result: Some(result),
            copy_source_version_id: (version.is_some() || !source.version_id.is_null())
                .then(|| source.version_id.to_string()),
            ..UploadPartCopyOutput::default()
        });
        encryption::tell(&mut response.headers, encrypted.as_ref(), &request.headers);
        Ok(response)
    }

    /// The parts stored so far.
    pub(super) async fn parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let id = upload_id(&input.upload_id)?;
        let (row, metadata) = self
            .store
            .multipart(id, &bucket, &key)
            .await
            .map_err(error::of)?;
        if row.state() == UploadState::Finished {
            // The row only answers a repeated completion: to everything else the upload is over.
            return Err(error::of(StoreError::NoSuchUpload(input.upload_id)));
        }
        let limit = limit(input.max_parts, LIST_KEYS_MAX, "max-parts")?;
        let marker = part_marker(input.part_number_marker)?;
        let mut parts = self
            .store
            .parts(id, marker, limit + 1)
            .await
            .map_err(error::of)?;
        let is_truncated = parts.len() > limit;
        parts.truncate(limit);
        let next = parts.last().map_or(marker, |part| part.number);
        let owner = owners::owner(&row.owner).await;
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            checksum_algorithm: metadata
                .checksum
                .map(|(algorithm, _)| algorithm_out(algorithm)),
            checksum_type: metadata.checksum.map(|(_, kind)| kind_out(kind)),
            initiator: Some(initiator(&owner)),
            owner: Some(owner),
            is_truncated: Some(is_truncated),
            max_parts: i32::try_from(limit).ok(),
            part_number_marker: i32::try_from(marker).ok(),
            next_part_number_marker: i32::try_from(next).ok(),
            parts: Some(parts.iter().map(listed).collect()),
            storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
            ..ListPartsOutput::default()
        }))
    }

    /// Compares what a completion says of the whole object with what its parts make, before anything is published.
    pub(super) async fn verify_whole(
        &self,
        id: UploadId,
        bucket: &BucketName,
        key: &ObjectKey,
        named: &[CompletedPart],
        whole: &Sums,
        size: Option<i64>,
    ) -> S3Result<()> {
        let (_, metadata) = self
            .store
            .multipart(id, bucket, key)
            .await
            .map_err(error::of)?;
        let parts = self
            .store
            .parts(id, 0, PARTS_MAX as usize)
            .await
            .map_err(error::of)?;
        let numbers: BTreeSet<u32> = named.iter().map(|part| part.number).collect();
        let chosen: Vec<PartSummary> = parts
            .into_iter()
            .filter(|part| numbers.contains(&part.number))
            .map(|part| PartSummary {
                number: part.number,
                size_bytes: part.size,
                values: part.checksums,
            })
            .collect();
        if chosen.is_empty() {
            // Completed before: the store answers as it did then. Or nothing was uploaded: the store refuses.
            return Ok(());
        }
        let sum: u64 = chosen.iter().map(|part| part.size_bytes).sum();
        if size.is_some_and(|size| u64::try_from(size).ok() != Some(sum)) {
            return Err(say(
                S3ErrorCode::InvalidRequest,
                format!("the parts hold {sum} bytes, not what x-amz-mp-object-size says"),
            ));
        }
        for (algorithm, expected) in whole {
            let kind = metadata
                .checksum
                .filter(|(chosen, _)| chosen == algorithm)
                .map_or(ChecksumKind::FullObject, |(_, kind)| kind);
            let computed = combine(*algorithm, kind, &chosen);
            let computed = computed.ok_or_else(|| {
                say(
                    S3ErrorCode::InvalidRequest,
                    format!(
                        "the upload was not begun with the checksum {}",
                        algorithm.as_str()
                    ),
                )
            })?;
            // A composite checksum may come without the number of parts behind it.
            if *expected != computed
                && computed.strip_suffix(&format!("-{}", chosen.len())) != Some(expected)
            {
                return Err(error::of(StoreError::BadDigest {
                    algorithm: algorithm.as_str(),
                    expected: expected.clone(),
                    computed,
                }));
            }
        }
        Ok(())
    }
}

fn listed(part: &Part) -> ListedPart {
    let mut out = ListedPart {
        e_tag: Some(etag(&part.etag)),
        last_modified: Some(timestamp(part.modified_ms)),
        part_number: i32::try_from(part.number).ok(),
        size: i64::try_from(part.size).ok(),
        ..ListedPart::default()
    };
    fill_checksums!(out, &part.checksums);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_to_copy_has_both_ends_within_the_source() {
        let of = |sent: &str| copy_range(Some(sent), 10).map_err(|e| e.code().as_str().to_owned());
        assert_eq!(of("bytes=0-9"), Ok(0..10));
        assert_eq!(of("bytes=3-3"), Ok(3..4));
        assert_eq!(of("bytes=0-10"), Err("InvalidRange".into()));
        for bad in [
            "0-2",
            "bytes=0-",
            "bytes=-2",
            "bytes=5-4",
            "bytes=hello-world",
            "bytes=0-bar",
            "bytes=0-2,3-5",
            "bytes=+1-2",
        ] {
            assert_eq!(of(bad), Err("InvalidArgument".into()), "{bad}");
        }
        assert_eq!(copy_range(None, 10).ok(), Some(0..10));
    }
}
