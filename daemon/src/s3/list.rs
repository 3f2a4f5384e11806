//! ListObjects and ListObjectsV2.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use s3s::dto::{
    CommonPrefix, EncodingType, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, ObjectStorageClass,
};
use s3s::{S3ErrorCode, S3Request, S3Response, S3Result};

use super::access::bucket_name;
use super::error::{self, say};
use super::operations::Operations;
use super::owners::Owners;
use super::wire::{algorithm_out, encoded, encodes, etag, kind_out, limit, timestamp};
use crate::kernel::limits::{LIST_KEYS_MAX, OBJECT_KEY_BYTES_MAX};
use crate::store::{Checksums, ListItem, ListRequest};

/// One entry as both versions show it.
fn entry(item: &ListItem, encode: bool, owners: Option<&Owners>) -> Object {
    let checksums: Checksums = serde_json::from_str(&item.checksums).unwrap_or_default();
    let algorithms: Vec<_> = checksums.values.keys().map(|a| algorithm_out(*a)).collect();
    Object {
        checksum_type: (!algorithms.is_empty()).then(|| kind_out(checksums.kind)),
        checksum_algorithm: (!algorithms.is_empty()).then_some(algorithms),
        e_tag: Some(etag(&item.etag)),
        key: Some(encoded(item.key.as_str(), encode)),
        last_modified: Some(timestamp(item.modified_ms)),
        owner: owners.map(|owners| owners.owner(&item.owner)),
        restore_status: None,
        size: i64::try_from(item.size).ok(),
        storage_class: Some(ObjectStorageClass::from_static(
            ObjectStorageClass::STANDARD,
        )),
    }
}

/// Common prefixes as every listing shows them.
pub(super) fn common(prefixes: Vec<String>, encode: bool) -> Option<Vec<CommonPrefix>> {
    let shown: Vec<_> = prefixes
        .into_iter()
        .map(|p| CommonPrefix {
            prefix: Some(encoded(&p, encode)),
        })
        .collect();
    (!shown.is_empty()).then_some(shown)
}

/// How the encoding is echoed.
pub(super) fn echo(encode: bool) -> Option<EncodingType> {
    encode.then(|| EncodingType::from_static(EncodingType::URL))
}

/// A continuation token: the place where the next page begins, wrapped so that nobody builds one.
fn token(after: &str) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(after)
}

fn read_token(token: &str) -> S3Result<String> {
    let invalid = || {
        say(
            S3ErrorCode::InvalidArgument,
            "The continuation token provided is incorrect",
        )
    };
    if token.len() > OBJECT_KEY_BYTES_MAX * 2 {
        return Err(invalid());
    }
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|_| invalid())?;
    String::from_utf8(bytes).map_err(|_| invalid())
}

/// Listings are always in order; a client that allows disorder (a parameter of Ceph's) cannot ask for folding with it.
fn ordered(query: Option<&str>, delimiter: Option<&str>) -> S3Result<()> {
    let unordered =
        query.is_some_and(|query| query.split('&').any(|pair| pair == "allow-unordered=true"));
    if unordered && delimiter.is_some_and(|d| !d.is_empty()) {
        return Err(say(
            S3ErrorCode::InvalidArgument,
            "an unordered listing has no delimiter",
        ));
    }
    Ok(())
}

impl Operations {
    /// The first version, with markers.
    pub(super) async fn list(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        ordered(request.uri.query(), request.input.delimiter.as_deref())?;
        let input = request.input;
        let bucket = bucket_name(&input.bucket)?;
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let encode = encodes(input.encoding_type.as_ref())?;
        let limit = limit(input.max_keys, LIST_KEYS_MAX, "max-keys")?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = input.delimiter.unwrap_or_default();
        let marker = input.marker.unwrap_or_default();
        let page = ListRequest {
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
            after: (!marker.is_empty()).then(|| marker.clone()),
            limit,
            ..ListRequest::default()
        };
        let page = self.store.list(&bucket, &page).await.map_err(error::of)?;
        let owners = Owners::of(page.items.iter().map(|item| item.owner.as_str())).await;
        // Without a delimiter the last key serves as marker (Amazon S3, ListObjects).
        let next = page
            .next_after
            .filter(|_| page.is_truncated && !delimiter.is_empty());
        Ok(S3Response::new(ListObjectsOutput {
            contents: Some(
                page.items
                    .iter()
                    .map(|item| entry(item, encode, Some(&owners)))
                    .collect(),
            ),
            common_prefixes: common(page.prefixes, encode),
            delimiter: (!delimiter.is_empty()).then(|| encoded(&delimiter, encode)),
            encoding_type: echo(encode),
            is_truncated: Some(page.is_truncated),
            marker: Some(encoded(&marker, encode)),
            max_keys: i32::try_from(limit).ok(),
            name: Some(input.bucket),
            next_marker: next.map(|next| encoded(&next, encode)),
            // Clients decode everything of this version but the prefix; what XML cannot carry is encoded all the same.
            prefix: Some(encoded(
                &prefix,
                encode
                    && prefix
                        .chars()
                        .any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')),
            )),
            request_charged: None,
        }))
    }

    /// The second version, with continuation tokens.
    pub(super) async fn list_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        ordered(request.uri.query(), request.input.delimiter.as_deref())?;
        let input = request.input;
        let bucket = bucket_name(&input.bucket)?;
        self.expect_owner(&bucket, input.expected_bucket_owner.as_deref())
            .await?;
        let encode = encodes(input.encoding_type.as_ref())?;
        let limit = limit(input.max_keys, LIST_KEYS_MAX, "max-keys")?;
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = input.delimiter.unwrap_or_default();
        let after = match input
            .continuation_token
            .as_deref()
            .filter(|t| !t.is_empty())
        {
            Some(token) => Some(read_token(token)?),
            None => input.start_after.clone().filter(|start| !start.is_empty()),
        };
        let page = ListRequest {
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
            after,
            limit,
            ..ListRequest::default()
        };
        let page = self.store.list(&bucket, &page).await.map_err(error::of)?;
        let owners = if input.fetch_owner.unwrap_or(false) {
            Some(Owners::of(page.items.iter().map(|item| item.owner.as_str())).await)
        } else {
            None
        };
        let next = page.next_after.filter(|_| page.is_truncated);
        Ok(S3Response::new(ListObjectsV2Output {
            key_count: i32::try_from(page.items.len() + page.prefixes.len()).ok(),
            contents: (!page.items.is_empty()).then(|| {
                page.items
                    .iter()
                    .map(|item| entry(item, encode, owners.as_ref()))
                    .collect()
            }),
            common_prefixes: common(page.prefixes, encode),
            continuation_token: input.continuation_token,
            delimiter: (!delimiter.is_empty()).then(|| encoded(&delimiter, encode)),
            encoding_type: echo(encode),
            is_truncated: Some(page.is_truncated),
            max_keys: i32::try_from(limit).ok(),
            name: Some(input.bucket),
            next_continuation_token: next.map(|next| token(&next)),
            prefix: Some(encoded(&prefix, encode)),
            start_after: input.start_after.map(|start| encoded(&start, encode)),
            request_charged: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_where_the_next_page_begins() {
        assert_eq!(read_token(&token("a/b é")).ok().as_deref(), Some("a/b é"));
        assert!(read_token("not a token!").is_err());
        assert!(read_token(&"A".repeat(5000)).is_err());
    }
}
