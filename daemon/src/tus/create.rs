//! POST: a new upload, with its first bytes if they come along.

use axum::body::HttpBody as _;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::append::{Taken, note_stored, take};
use super::headers::{declared_length, http_date, is_offset_stream, text};
use super::metadata::Metadata;
use super::{Door, problem};
use crate::catalog::Protocol;
use crate::http::{Problem, audited, identity_of};
use crate::identity::{Action, Caller, Resource};
use crate::store::{NewResumable, ObjectHeaders, StoreError, Tags, Upload};

pub(super) async fn create(
    State(door): State<Door>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &()).await?;
    let length = declared_length(&parts.headers, door.options.size_max)?;
    let raw = text(&parts.headers, "upload-metadata")?;
    let metadata = Metadata::parse(raw)?;
    let with_bytes = parts.headers.contains_key(header::CONTENT_TYPE);
    if with_bytes && !is_offset_stream(&parts.headers) && !body.is_end_stream() {
        return Err(problem::content_type());
    }
    let bucket = metadata
        .bucket
        .unwrap_or_else(|| door.options.inbox.clone());
    let resource = match &metadata.key {
        Some(key) => Resource::Object(&bucket, key),
        None => Resource::Bucket(&bucket),
    };
    let identity = identity_of(&parts.extensions)?;
    let new = NewResumable {
        protocol: Protocol::Tus,
        bucket: bucket.clone(),
        key: metadata.key.clone(),
        headers: ObjectHeaders {
            content_type: metadata.content_type,
            ..ObjectHeaders::default()
        },
        tags: Tags::new(),
        owner: caller.actor().to_string(),
        length,
        metadata: serde_json::json!({ "raw": raw }).to_string(),
        idle_ms: Some(door.options.idle_ms),
    };
    let begin = begin(&door, new);
    let action = Action::WriteObject;
    let upload = audited(&identity, &caller, action, &resource, begin).await?;
    let mut expires_ms = upload.expires_ms;
    let mut offset = 0;
    let has_bytes = with_bytes && is_offset_stream(&parts.headers) && !body.is_end_stream();
    if has_bytes || length == Some(0) {
        let session = door
            .store
            .append(upload.id, 0, Some(door.options.idle_ms))
            .await?;
        // What broke off is kept under the URL that this answer tells.
        match take(
            session,
            if has_bytes { Some(body) } else { None },
            &door.options.cut,
        )
        .await?
        {
            Taken::Part { offset: at } => offset = at,
            Taken::Whole { offset: at } => {
                note_stored(&parts.extensions, &caller, &upload).await?;
                offset = at;
                expires_ms = None;
            }
        }
    }
    let mut response = StatusCode::CREATED.into_response();
    let headers = response.headers_mut();
    let location = HeaderValue::from_str(&format!("/-/tus/{}", upload.id));
    headers.insert(header::LOCATION, location.map_err(Problem::internal)?);
    headers.insert("upload-offset", offset.into());
    if let Some(date) = expires_ms.and_then(http_date) {
        headers.insert("upload-expires", date);
    }
    Ok(response)
}

/// Makes the upload, and the inbox on its first use.
async fn begin(door: &Door, new: NewResumable) -> Result<Upload, Problem> {
    if new.bucket == door.options.inbox {
        match door.store.create_bucket(&new.bucket, "system").await {
            Ok(_) | Err(StoreError::BucketExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(door.store.begin_upload(new).await?)
}
