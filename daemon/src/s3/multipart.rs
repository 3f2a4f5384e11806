//! CreateMultipartUpload, CompleteMultipartUpload and AbortMultipartUpload.

use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart as NamedPart,
    CreateMultipartUploadInput, CreateMultipartUploadOutput,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::{bucket_name, caller, object_key, owner};
use super::encryption;
use super::error::{self, say};
use super::headers;
use super::intake::of_whole;
use super::operations::Operations;
use super::put::condition;
use super::wire::{Sums, algorithm, algorithm_out, etag, fill_checksums, kind_out, upload_id};
use crate::kernel::limits::PARTS_MAX;
use crate::store::{ChecksumAlgorithm, ChecksumKind, CompletedPart, NewMultipart, ObjectExtras};

/// The checksum chosen at the beginning, with the kind that S3 gives each algorithm by default.
fn checksum(
    sent: Option<&s3s::dto::ChecksumAlgorithm>,
    kind: Option<&ChecksumType>,
) -> S3Result<Option<(ChecksumAlgorithm, ChecksumKind)>> {
    let Some(sent) = sent else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(say(
                S3ErrorCode::InvalidRequest,
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.",
            )),
        };
    };
    let chosen = algorithm(sent)?;
    let kind = match kind.map(ChecksumType::as_str) {
        None if chosen == ChecksumAlgorithm::Crc64Nvme => ChecksumKind::FullObject,
        Some(ChecksumType::FULL_OBJECT) => ChecksumKind::FullObject,
        None | Some(ChecksumType::COMPOSITE) => ChecksumKind::Composite,
        Some(_) => {
            return Err(say(
                S3ErrorCode::InvalidRequest,
                "Value for x-amz-checksum-type header is invalid.",
            ));
        }
    };
    let possible = match chosen {
        ChecksumAlgorithm::Crc64Nvme => kind == ChecksumKind::FullObject,
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => kind == ChecksumKind::Composite,
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => true,
    };
    if !possible {
        let text = format!(
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind_out(kind).as_str(),
            chosen.as_str()
        );
        return Err(say(S3ErrorCode::InvalidRequest, text));
    }
    Ok(Some((chosen, kind)))
}

fn named(part: NamedPart) -> S3Result<CompletedPart> {
    let number = part
        .part_number
        .and_then(|n| u32::try_from(n).ok())
        .filter(|n| (1..=PARTS_MAX).contains(n));
    let number = number.ok_or_else(|| {
        say(
            S3ErrorCode::InvalidArgument,
            format!("part numbers are 1 to {PARTS_MAX}"),
        )
    })?;
    let etag = part.e_tag.ok_or_else(|| {
        say(
            S3ErrorCode::MalformedXML,
            format!("part {number} has no ETag"),
        )
    })?;
    let sums = [
        (ChecksumAlgorithm::Crc32, part.checksum_crc32),
        (ChecksumAlgorithm::Crc32c, part.checksum_crc32c),
        (ChecksumAlgorithm::Crc64Nvme, part.checksum_crc64nvme),
        (ChecksumAlgorithm::Sha1, part.checksum_sha1),
        (ChecksumAlgorithm::Sha256, part.checksum_sha256),
    ];
    let checksums: Sums = sums
        .into_iter()
        .filter_map(|(algorithm, value)| Some((algorithm, value?)))
        .collect();
    Ok(CompletedPart {
        number,
        etag: etag.into_value(),
        checksums,
    })
}

impl Operations {
    /// Begins an upload in parts.
    pub(super) async fn create_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let bucket = bucket_name(&request.input.bucket)?;
        let brought = self
            .brought(&request, &bucket, owner(&caller(&request)))
            .await?;
        let input = request.input;
        let checksum = checksum(
            input.checksum_algorithm.as_ref(),
            input.checksum_type.as_ref(),
        )?;
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let asked = encryption::asked(&request.headers)?;
        let encryption = self.store.encryption(&bucket, asked).await;
        let encrypted = match encryption.map_err(error::of)? {
            Some(encryption) => Some(self.store.encrypted(&encryption).await.map_err(error::of)?),
            None => None,
        };
        let mut new = NewMultipart {
            bucket,
            key: object_key(&input.key)?,
            headers: headers::of(&request.headers, input.metadata)?,
            tags: headers::of_object(headers::tags(input.tagging.as_deref())?)?,
            extras: ObjectExtras {
                acl: brought.acl,
                sse: encrypted.clone(),
                ..ObjectExtras::default()
            },
            owner: brought.owner,
            checksum,
        };
        new.extras.lock = self.lock_asked(&request.headers, &new.bucket).await?;
        let id = self.store.begin_multipart(new).await.map_err(error::of)?;
        let mut response = S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(id.to_string()),
            checksum_algorithm: checksum.map(|(algorithm, _)| algorithm_out(algorithm)),
            checksum_type: checksum.map(|(_, kind)| kind_out(kind)),
            ..CreateMultipartUploadOutput::default()
        });
        encryption::tell(&mut response.headers, encrypted.as_ref(), &request.headers);
        Ok(response)
    }

    /// Turns the named parts into the object.
    pub(super) async fn complete_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let whole = of_whole(&request.headers);
        let condition = condition(&request.headers);
        let bucket = bucket_name(&request.input.bucket)?;
        let key = object_key(&request.input.key)?;
        self.check_completion(&request, &bucket, &key).await?;
        let input = request.input;
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let id = upload_id(&input.upload_id)?;
        let parts = input
            .multipart_upload
            .and_then(|upload| upload.parts)
            .unwrap_or_default();
        if parts.is_empty() || parts.len() > PARTS_MAX as usize {
            return Err(say(
                S3ErrorCode::MalformedXML,
                format!("a completion names 1 to {PARTS_MAX} parts"),
            ));
        }
        let mut parts: Vec<_> = parts.into_iter().map(named).collect::<S3Result<_>>()?;
        // A part that was sent again and is named twice in a row: the last one counts.
        parts.reverse();
        parts.dedup_by_key(|part| part.number);
        parts.reverse();
        let (row, _) = self
            .store
            .multipart(id, &bucket, &key)
            .await
            .map_err(error::of)?;
        let encrypted = self.store.upload_encrypted(&row).map_err(error::of)?;
        encryption::of_part(&request.headers, encrypted.as_ref())?;
        if !whole.is_empty() || input.mpu_object_size.is_some() {
            self.verify_whole(id, &bucket, &key, &parts, &whole, input.mpu_object_size)
                .await?;
        }
        let published = self
            .store
            .complete_multipart(id, &bucket, &key, parts, condition)
            .await
            .map_err(error::of)?;
        let object = published.object;
        let mut output = CompleteMultipartUploadOutput {
            expiration: self.expiration(&object).await,
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(etag(&object.etag)),
            version_id: published
                .is_versioned
                .then(|| object.version_id.to_string()),
            ..CompleteMultipartUploadOutput::default()
        };
        if !object.checksums.values.is_empty() {
            fill_checksums!(output, &object.checksums.values);
            output.checksum_type = Some(kind_out(object.checksums.kind));
        }
        let mut response = S3Response::new(output);
        encryption::tell(&mut response.headers, object.encrypted(), &request.headers);
        Ok(response)
    }

    /// Drops an upload and its parts.
    pub(super) async fn abort_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        let (bucket, key) = (bucket_name(&input.bucket)?, object_key(&input.key)?);
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        self.store.bucket(&bucket).await.map_err(error::of)?;
        self.store
            .abort_multipart(upload_id(&input.upload_id)?, &bucket, &key)
            .await
            .map_err(error::of)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_has_its_kinds() {
        use s3s::dto::ChecksumAlgorithm as Sent;
        let of = |name: &'static str, kind: Option<&'static str>| {
            checksum(
                Some(&Sent::from_static(name)),
                kind.map(ChecksumType::from_static).as_ref(),
            )
            .ok()
            .flatten()
            .map(|(_, kind)| kind)
        };
        assert_eq!(of("CRC64NVME", None), Some(ChecksumKind::FullObject));
        assert_eq!(of("CRC32", None), Some(ChecksumKind::Composite));
        assert_eq!(
            of("CRC32", Some("FULL_OBJECT")),
            Some(ChecksumKind::FullObject)
        );
        assert_eq!(of("SHA256", Some("FULL_OBJECT")), None);
        assert_eq!(of("CRC64NVME", Some("COMPOSITE")), None);
        assert_eq!(of("MD4", None), None);
        assert!(checksum(None, Some(&ChecksumType::from_static("COMPOSITE"))).is_err());
    }
}
