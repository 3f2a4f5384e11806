//! HEAD and DELETE: where an upload stands, and its end.

use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::concat::UPLOAD_CONCAT;
use super::headers::http_date;
use super::rights::{Sender, may_go_on};
use super::{Door, problem};
use crate::catalog::{Protocol, UploadRole};
use crate::http::{Problem, identity_of};
use crate::identity::{Action, Caller, Identity, Outcome, Resource};
use crate::kernel::UploadId;
use crate::store::{StoreError, Upload};

/// The upload that a path names, if the caller may go on with it.
pub(super) async fn find(
    door: &Door,
    identity: &Identity,
    caller: &Caller,
    path: &str,
) -> Result<Upload, Problem> {
    let id: UploadId = path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .parse()
        .map_err(|_| problem::no_upload())?;
    let upload = match door.store.upload(id).await {
        Err(StoreError::NoSuchUpload(_)) => return Err(problem::no_upload()),
        other => other?,
    };
    let now_ms = door.store.clock().now_ms();
    let is_over = !upload.is_complete && upload.expires_ms.is_some_and(|at| at <= now_ms);
    if is_over || upload.protocol == Protocol::S3 {
        return Err(problem::no_upload());
    }
    may_go_on(identity, caller, &upload).await?;
    Ok(upload)
}

pub(super) async fn head(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &()).await?;
    let identity = identity_of(&parts.extensions)?;
    let known = find(&door, &identity, &caller, parts.uri.path()).await?;
    let upload = door.store.conclude_upload(known.id).await?;
    if upload.role == UploadRole::Partial && upload.is_complete {
        // Where it stands is told in any case.
        let ended = Sender::of(&parts)?.end_finals(&door.store, upload.id).await;
        if let Err(problem) = ended {
            tracing::debug!(upload.id = %upload.id, ?problem, "a final upload waits on");
        }
    }
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    if upload.role != UploadRole::Final || upload.is_complete {
        headers.insert("upload-offset", upload.offset.into());
    }
    match upload.length {
        None if upload.role == UploadRole::Final => None,
        Some(length) => headers.insert("upload-length", length.into()),
        None => headers.insert("upload-defer-length", HeaderValue::from_static("1")),
    };
    let metadata: serde_json::Value = serde_json::from_str(&upload.metadata).unwrap_or_default();
    for (name, field) in [("upload-metadata", "raw"), (UPLOAD_CONCAT, "concat")] {
        let value = metadata.get(field).and_then(|raw| raw.as_str());
        if let Some(value) = value.and_then(|raw| HeaderValue::from_str(raw).ok()) {
            headers.insert(name, value);
        }
    }
    if let Some(date) = upload
        .expires_ms
        .filter(|_| !upload.is_complete)
        .and_then(http_date)
    {
        headers.insert("upload-expires", date);
    }
    Ok(response)
}

pub(super) async fn delete(
    State(door): State<Door>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &()).await?;
    let identity = identity_of(&parts.extensions)?;
    let upload = find(&door, &identity, &caller, parts.uri.path()).await?;
    let ended = door.store.terminate_upload(upload.id).await;
    let outcome = if ended.is_ok() {
        Outcome::Done
    } else {
        Outcome::Failed
    };
    let resource = Resource::Object(&upload.bucket, &upload.key);
    // Its owner gives it up by the right to write, everybody else by the right to manage.
    let managed = identity
        .decide(&caller, Action::ManageUploads, &resource)
        .await?;
    let (action, rule) = if managed.allow {
        (Action::ManageUploads, managed.rule)
    } else {
        let action = Action::WriteObject;
        let decision = identity.decide(&caller, action, &resource).await?;
        (action, decision.rule)
    };
    identity
        .audit(&caller, action, &resource, outcome, &rule)
        .await;
    ended?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
