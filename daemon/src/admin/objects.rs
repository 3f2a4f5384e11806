//! Objects of a bucket.

use axum::extract::{OriginalUri, Path, State};
use axum::http::StatusCode;
use nebula_api::{Object, ObjectDetails, ObjectPage, ObjectsQuery, Urls, VersionQuery, routes};

use super::{AdminParts, Query, assets};
use crate::http::{Problem, audited, content_type, path, require_here};
use crate::identity::{Action, Caller, Resource};
use crate::kernel::{BucketName, ObjectKey, VersionId};
use crate::media::decide::Capabilities;
use crate::store::{self, Condition, ListItem, ListRequest};

pub(super) async fn list(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(bucket): Path<String>,
    Query(query): Query<ObjectsQuery>,
) -> Result<axum::Json<ObjectPage>, Problem> {
    let bucket: BucketName = bucket.parse()?;
    let prefix = query.prefix.as_deref().unwrap_or_default();
    let resource = Resource::Prefix(&bucket, prefix);
    require_here(&parts.identity, &caller, Action::ListObjects, &resource).await?;
    let (after, after_version) = query
        .cursor
        .as_deref()
        .map(read_cursor)
        .transpose()?
        .unzip();
    let request = ListRequest {
        limit: query.limit_items() as usize,
        prefix: query.prefix.unwrap_or_default(),
        delimiter: query.delimiter.unwrap_or_default(),
        after,
        after_version: after_version.flatten(),
        versions: query.versions,
    };
    let page = parts.store.list(&bucket, &request).await?;
    let next = page
        .is_truncated
        .then(|| write_cursor(page.next_after.as_deref(), page.next_after_version.as_ref()));
    let items = page
        .items
        .iter()
        .map(|item| listed(&bucket, item))
        .collect();
    Ok(axum::Json(ObjectPage {
        items,
        prefixes: page.prefixes,
        next,
    }))
}

/// A cursor is the last key in hex, and behind a dot its version where versions are listed: safe in a URL whatever the key holds.
fn write_cursor(key: Option<&str>, version: Option<&VersionId>) -> String {
    let key = hex::encode(key.unwrap_or_default());
    version.map_or(key.clone(), |version| format!("{key}.{version}"))
}

fn read_cursor(cursor: &str) -> Result<(String, Option<VersionId>), Problem> {
    let invalid = || Problem::invalid("The cursor is not one that a listing gave.");
    let (key, version) = cursor
        .split_once('.')
        .map_or((cursor, None), |(key, version)| (key, Some(version)));
    let key = hex::decode(key)
        .ok()
        .and_then(|key| String::from_utf8(key).ok())
        .ok_or_else(invalid)?;
    Ok((
        key,
        version.map(str::parse).transpose().map_err(|_| invalid())?,
    ))
}

/// Bucket and key of a raw path: a router's capture may have been decoded or merged.
pub(super) fn named(
    uri: &OriginalUri,
    prefix: &str,
    between: &str,
) -> Result<(BucketName, ObjectKey), Problem> {
    let rest = path::behind(uri.path(), prefix).unwrap_or_default();
    let (bucket, key) = rest.split_once(between).unwrap_or((rest, ""));
    Ok((path::decode_bucket(bucket)?, path::decode_key(key)?))
}

fn of_request(
    uri: &OriginalUri,
    query: &VersionQuery,
) -> Result<(BucketName, ObjectKey, Option<VersionId>), Problem> {
    let (bucket, key) = named(uri, &format!("{}/", routes::BUCKETS), "/objects/")?;
    let version = query.version.as_deref().map(str::parse).transpose();
    Ok((
        bucket,
        key,
        version.map_err(|_| Problem::invalid("version is `null` or 32 hexadecimal digits"))?,
    ))
}

pub(super) async fn get(
    State(parts): State<AdminParts>,
    caller: Caller,
    uri: OriginalUri,
    Query(query): Query<VersionQuery>,
) -> Result<axum::Json<ObjectDetails>, Problem> {
    let (bucket, key, version) = of_request(&uri, &query)?;
    let resource = Resource::Object(&bucket, &key);
    require_here(&parts.identity, &caller, Action::ReadObject, &resource).await?;
    let object = parts.store.head(&bucket, &key, version.as_ref()).await?;
    Ok(axum::Json(details(&parts, &caller, &object).await?))
}

/// An object with all that is known of it.
pub(super) async fn details(
    parts: &AdminParts,
    caller: &Caller,
    object: &store::Object,
) -> Result<ObjectDetails, Problem> {
    let client = Capabilities::default();
    let asset = assets::of_object(parts, caller, &client, object).await?;
    Ok(ObjectDetails {
        blake3: object
            .is_hashed_whole()
            .then(|| object.content_id.to_string()),
        metadata: object.headers.user.clone(),
        urls: asset
            .as_ref()
            .map_or_else(|| file_url(object), |asset| asset.urls.clone()),
        asset,
        object: wire(object),
    })
}

pub(super) async fn delete(
    State(parts): State<AdminParts>,
    caller: Caller,
    uri: OriginalUri,
    Query(query): Query<VersionQuery>,
) -> Result<StatusCode, Problem> {
    let (bucket, key, version) = of_request(&uri, &query)?;
    let resource = Resource::Object(&bucket, &key);
    let work = remove(&parts, &caller, &bucket, &key, version.as_ref());
    audited(
        &parts.identity,
        &caller,
        Action::DeleteObject,
        &resource,
        work,
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Undeletes, or puts an old version on top again.
pub(super) async fn restore(
    State(parts): State<AdminParts>,
    caller: Caller,
    uri: OriginalUri,
    Query(query): Query<VersionQuery>,
) -> Result<axum::Json<Object>, Problem> {
    let (bucket, key, version) = of_request(&uri, &query)?;
    let resource = Resource::Object(&bucket, &key);
    let owner = caller.actor().to_string();
    let work = async {
        let store = &parts.store;
        Ok(match &version {
            None => store.undelete(&bucket, &key, &owner).await?,
            Some(version) => {
                let restored = store.restore(&bucket, &key, version, &owner).await?;
                restored.object
            }
        })
    };
    let object = audited(
        &parts.identity,
        &caller,
        Action::WriteObject,
        &resource,
        work,
    )
    .await?;
    Ok(axum::Json(wire(&object)))
}

async fn remove(
    parts: &AdminParts,
    caller: &Caller,
    bucket: &BucketName,
    key: &ObjectKey,
    version: Option<&VersionId>,
) -> Result<(), Problem> {
    if version.is_none() {
        // Deleting nothing is told here, unlike in S3: a person who mistypes wants to know.
        parts.store.head(bucket, key, None).await?;
    }
    let owner = caller.actor().to_string();
    let deleted = parts
        .store
        .delete(bucket, key, version, Condition::default(), &owner)
        .await?;
    if deleted.existed {
        return Ok(());
    }
    let version = version.map(ToString::to_string).unwrap_or_default();
    Err(store::StoreError::NoSuchVersion(version).into())
}

fn file_url(object: &store::Object) -> Urls {
    Urls {
        file: routes::file(object.bucket.as_str(), object.key.as_str()),
        hls: None,
        poster: None,
    }
}

pub(super) fn wire(object: &store::Object) -> Object {
    Object {
        bucket: object.bucket.to_string(),
        key: object.key.to_string(),
        version: (!object.version_id.is_null()).then(|| object.version_id.to_string()),
        latest: object.is_latest,
        delete_marker: false,
        size_bytes: object.size,
        etag: object.etag.to_string(),
        content_type: Some(
            content_type::served(object.headers.content_type.as_deref(), &object.key).to_owned(),
        ),
        modified_at_ms: object.modified_ms,
    }
}

fn listed(bucket: &BucketName, item: &ListItem) -> Object {
    Object {
        bucket: bucket.to_string(),
        key: item.key.to_string(),
        version: (!item.version_id.is_null()).then(|| item.version_id.to_string()),
        latest: item.is_latest,
        delete_marker: item.is_delete_marker,
        size_bytes: item.size,
        etag: item.etag.to_string(),
        content_type: None,
        modified_at_ms: item.modified_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_carry_any_key() {
        for key in ["a", "films/ö.mkv", "..", "a.b"] {
            let cursor = write_cursor(Some(key), None);
            assert_eq!(
                read_cursor(&cursor).map_err(|_| ()),
                Ok((key.to_owned(), None))
            );
            let version = VersionId::random();
            let cursor = write_cursor(Some(key), Some(&version));
            assert_eq!(
                read_cursor(&cursor).map_err(|_| ()),
                Ok((key.to_owned(), Some(version)))
            );
        }
        for bad in ["zz", "61.x", "ff"] {
            assert!(read_cursor(bad).is_err(), "{bad}");
        }
    }
}
