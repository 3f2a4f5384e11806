//! POST: a new upload, with its first bytes if they come along.

use axum::body::HttpBody as _;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::append::{self, End, Taken, note_stored, take};
use super::checksum::Check;
use super::concat::{Concat, UPLOAD_CONCAT};
use super::headers::{OFFSET_STREAM, declared_length, http_date, is_offset_stream, text};
use super::inspect::find;
use super::metadata::Metadata;
use super::rights::{Sender, may_write_somewhere};
use super::{Door, problem, repeat};
use crate::catalog::{Protocol, UploadRole};
use crate::http::{Problem, audited, identity_of};
use crate::identity::{Action, Caller, Identity, Resource};
use crate::kernel::{BucketName, UploadId};
use crate::store::{NewResumable, ObjectHeaders, StoreError, Tags, Upload};

pub(super) async fn create(
    State(door): State<Door>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &()).await?;
    let concat = Concat::of(&parts.headers)?;
    let check = Check::of(&parts.headers)?;
    let length = match &concat {
        Concat::Final(_) if parts.headers.contains_key("upload-length") => {
            return Err(Problem::invalid(
                "A final upload has no Upload-Length: it follows from its parts.",
            ));
        }
        Concat::Final(_) => None,
        _ => declared_length(&parts.headers, door.options.size_max)?,
    };
    let raw = text(&parts.headers, "upload-metadata")?;
    let metadata = Metadata::parse(raw)?;
    let with_bytes = parts.headers.contains_key(header::CONTENT_TYPE);
    if with_bytes && !is_offset_stream(&parts.headers) && !body.is_end_stream() {
        return Err(problem::content_type(OFFSET_STREAM));
    }
    let bucket = metadata
        .bucket
        .unwrap_or_else(|| door.options.inbox.clone());
    let resource = match &metadata.key {
        Some(key) => Resource::Object(&bucket, key),
        None => Resource::Bucket(&bucket),
    };
    let identity = identity_of(&parts.extensions)?;
    let said = text(&parts.headers, UPLOAD_CONCAT)?;
    let new = NewResumable {
        protocol: Protocol::Tus,
        role: match &concat {
            Concat::None => UploadRole::Whole,
            Concat::Partial => UploadRole::Partial,
            Concat::Final(_) => UploadRole::Final,
        },
        bucket: bucket.clone(),
        key: metadata.key.clone(),
        headers: ObjectHeaders {
            content_type: metadata.content_type,
            // Under the name that other tools give it, so that theirs and ours understand each other.
            user: metadata
                .mtime
                .map(|mtime| ("mtime".to_owned(), mtime))
                .into_iter()
                .collect(),
            ..ObjectHeaders::default()
        },
        tags: Tags::new(),
        owner: caller.actor().to_string(),
        length,
        metadata: serde_json::json!({ "raw": raw, "concat": said }).to_string(),
        idle_ms: Some(door.options.idle_ms),
        // Anything else is made in a file of its own.
        lane: metadata.lane.filter(|_| concat == Concat::Partial),
    };
    let action = Action::WriteObject;
    let id = repeat::id(&parts.headers, &caller)?;
    let upload = match concat {
        Concat::Partial => {
            may_write_somewhere(&caller)?;
            begin(&door, id, new).await?
        }
        Concat::None => {
            let begin = begin(&door, id, new);
            audited(&identity, &caller, action, &resource, begin).await?
        }
        Concat::Final(partials) => {
            let join = join(&door, &identity, &caller, new, partials);
            audited(&identity, &caller, action, &resource, join).await?
        }
    };
    let mut expires_ms = upload.expires_ms;
    let mut offset = upload.offset;
    let has_bytes = with_bytes && is_offset_stream(&parts.headers) && !body.is_end_stream();
    // A creation that was repeated goes on from what the first one brought.
    let is_empty = offset == 0 && !upload.is_complete;
    if is_empty && (has_bytes || length == Some(0)) {
        if upload.role == UploadRole::Final {
            return Err(problem::is_final());
        }
        let session = append::begin(&door, upload.id, 0, check.is_some()).await?;
        let sender = Sender::of(&parts)?;
        let body = has_bytes.then_some(body);
        // What broke off is kept under the URL that this answer tells.
        match take(&door, session, &sender, &upload, body, check, End::AtLength).await? {
            Taken::Part { offset: at } => offset = at,
            Taken::Whole { offset: at, .. } => {
                note_stored(&parts.extensions, &caller, &upload).await?;
                offset = at;
                expires_ms = None;
            }
            Taken::Refused(problem) => {
                // Nobody learned of its address.
                door.store.terminate_upload(upload.id).await?;
                return Err(problem);
            }
        }
    }
    let mut response = StatusCode::CREATED.into_response();
    let headers = response.headers_mut();
    let location = HeaderValue::from_str(&format!("/-/tus/{}", upload.id));
    headers.insert(header::LOCATION, location.map_err(Problem::internal)?);
    if upload.role != UploadRole::Final || upload.is_complete {
        headers.insert("upload-offset", offset.into());
    }
    if let Some(date) = expires_ms
        .filter(|_| !upload.is_complete)
        .and_then(http_date)
    {
        headers.insert("upload-expires", date);
    }
    Ok(response)
}

/// Makes a final upload of partial ones that the caller may go on with.
async fn join(
    door: &Door,
    identity: &Identity,
    caller: &Caller,
    new: NewResumable,
    partials: Vec<UploadId>,
) -> Result<Upload, Problem> {
    let mut total = 0_u64;
    for id in &partials {
        let partial = find(door, identity, caller, &id.to_string()).await?;
        if partial.role != UploadRole::Partial {
            return Err(Problem::invalid(format!(
                "Upload-Concat names {id}, which is no partial upload."
            )));
        }
        total = total.saturating_add(partial.length.unwrap_or(partial.offset));
    }
    if total > door.options.size_max {
        return Err(problem::too_large(door.options.size_max));
    }
    inbox(door, &new.bucket).await?;
    Ok(door.store.concatenate(new, partials).await?)
}

/// Makes the upload, or finds the one that the same creation made before.
pub(super) async fn begin(
    door: &Door,
    id: Option<UploadId>,
    new: NewResumable,
) -> Result<Upload, Problem> {
    inbox(door, &new.bucket).await?;
    let Some(id) = id else {
        return Ok(door.store.begin_upload(new).await?);
    };
    if let Some(known) = repeat::known(&door.store, id, &new).await? {
        return Ok(known);
    }
    match door.store.begin_upload_as(id, new.clone()).await {
        Ok(upload) => Ok(upload),
        // Both came at once, and the other was first.
        Err(error) => match repeat::known(&door.store, id, &new).await? {
            Some(known) => Ok(known),
            None => Err(error.into()),
        },
    }
}

/// Makes the inbox on its first use.
async fn inbox(door: &Door, bucket: &BucketName) -> Result<(), Problem> {
    if *bucket == door.options.inbox {
        match door.store.create_bucket(bucket, "system").await {
            Ok(_) | Err(StoreError::BucketExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
