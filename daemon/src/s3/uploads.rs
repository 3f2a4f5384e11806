//! ListMultipartUploads.

use s3s::dto::{
    ListMultipartUploadsInput, ListMultipartUploadsOutput, MultipartUpload, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::access::bucket_name;
use super::error;
use super::list::{common, echo};
use super::operations::Operations;
use super::owners::{Owners, initiator};
use super::wire::{encoded, encodes, limit, timestamp};
use crate::catalog::UploadRow;
use crate::kernel::limits::LIST_KEYS_MAX;
use crate::kernel::{BucketName, ObjectKey, UploadId};
use crate::store::StoreError;

/// Sorts behind every upload id, which is hexadecimal.
const BEHIND_IDS: &str = "~";
/// Sorts behind every key with a prefix it is appended to.
const BEHIND_KEYS: char = char::MAX;

/// What to list.
struct Asked {
    prefix: String,
    delimiter: String,
    key: String,
    id: String,
    limit: usize,
}

/// One page.
#[derive(Default)]
struct Page {
    uploads: Vec<(ObjectKey, UploadId, UploadRow)>,
    prefixes: Vec<String>,
    is_truncated: bool,
    next: Option<(String, String)>,
}

impl Operations {
    /// The uploads in parts that are neither completed nor aborted.
    pub(super) async fn list_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        let bucket = bucket_name(&input.bucket)?;
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let encode = encodes(input.encoding_type.as_ref())?;
        let limit = limit(input.max_uploads, LIST_KEYS_MAX, "max-uploads")?;
        let key_marker = input.key_marker.unwrap_or_default();
        // Without a key marker the id marker is ignored (Amazon S3, ListMultipartUploads).
        let id_marker = input
            .upload_id_marker
            .filter(|id| !key_marker.is_empty() && !id.is_empty());
        let asked = Asked {
            prefix: input.prefix.unwrap_or_default(),
            delimiter: input.delimiter.unwrap_or_default(),
            id: match &id_marker {
                Some(id) => id.clone(),
                None if key_marker.is_empty() => String::new(),
                None => BEHIND_IDS.to_owned(),
            },
            key: key_marker.clone(),
            limit,
        };
        let page = self
            .uploads_page(&bucket, &asked)
            .await
            .map_err(error::of)?;
        let owners = Owners::of(page.uploads.iter().map(|(_, _, row)| row.owner.as_str())).await;
        let uploads: Vec<_> = page
            .uploads
            .iter()
            .map(|(key, id, row)| upload(key, *id, row, encode, &owners))
            .collect();
        let next = page.next.filter(|_| page.is_truncated);
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            common_prefixes: common(page.prefixes, encode),
            delimiter: (!asked.delimiter.is_empty()).then(|| encoded(&asked.delimiter, encode)),
            encoding_type: echo(encode),
            is_truncated: Some(page.is_truncated),
            key_marker: Some(encoded(&key_marker, encode)),
            max_uploads: i32::try_from(limit).ok(),
            next_key_marker: next.as_ref().map(|(key, _)| encoded(key, encode)),
            next_upload_id_marker: next.map(|(_, id)| id),
            prefix: Some(encoded(&asked.prefix, encode)),
            upload_id_marker: Some(id_marker.unwrap_or_default()),
            uploads: (!uploads.is_empty()).then_some(uploads),
            request_charged: None,
        }))
    }

    /// Walks the uploads by key and id, folding at the delimiter; a folded prefix is stepped over as a whole.
    async fn uploads_page(&self, bucket: &BucketName, asked: &Asked) -> Result<Page, StoreError> {
        let mut page = Page::default();
        let (mut key, mut id) = (asked.key.clone(), asked.id.clone());
        if key.as_str() < asked.prefix.as_str() {
            (key, id) = (asked.prefix.clone(), String::new());
        }
        loop {
            let rows = self
                .store
                .multipart_uploads(bucket, &key, &id, LIST_KEYS_MAX)
                .await?;
            let is_end = rows.len() < LIST_KEYS_MAX;
            let mut jumped = false;
            for row in rows {
                let (at, upload) = (row.key()?, row.id()?);
                let Some(rest) = at.as_str().strip_prefix(asked.prefix.as_str()) else {
                    return Ok(page);
                };
                let folded = if asked.delimiter.is_empty() {
                    None
                } else {
                    rest.find(&asked.delimiter)
                };
                let folded = folded.map(|end| {
                    at.as_str()[..asked.prefix.len() + end + asked.delimiter.len()].to_owned()
                });
                if let Some(folded) = &folded
                    && asked.key.starts_with(folded.as_str())
                {
                    // The page before this one ended with this prefix.
                    (key, id, jumped) = (behind(folded), BEHIND_IDS.to_owned(), true);
                    break;
                }
                if page.uploads.len() + page.prefixes.len() == asked.limit {
                    page.is_truncated = asked.limit > 0;
                    return Ok(page);
                }
                if let Some(folded) = folded {
                    (key, id, jumped) = (behind(&folded), BEHIND_IDS.to_owned(), true);
                    page.next = Some((folded.clone(), String::new()));
                    page.prefixes.push(folded);
                    break;
                }
                (key, id) = (at.to_string(), upload.to_string());
                page.next = Some((key.clone(), id.clone()));
                page.uploads.push((at, upload, row));
            }
            if is_end && !jumped {
                return Ok(page);
            }
        }
    }
}

fn behind(prefix: &str) -> String {
    format!("{prefix}{BEHIND_KEYS}")
}

fn upload(
    key: &ObjectKey,
    id: UploadId,
    row: &UploadRow,
    encode: bool,
    owners: &Owners,
) -> MultipartUpload {
    let owner = owners.owner(&row.owner);
    MultipartUpload {
        initiated: Some(timestamp(row.created_ms)),
        initiator: Some(initiator(&owner)),
        key: Some(encoded(key.as_str(), encode)),
        owner: Some(owner),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        upload_id: Some(id.to_string()),
        ..MultipartUpload::default()
    }
}
