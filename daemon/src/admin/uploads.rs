//! Unfinished uploads; a final one stands for the partial ones that it is made of.

use std::collections::HashSet;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use nebula_api::problem::code;
use nebula_api::{Page, PageQuery, Upload, UploadProtocol};

use super::{AdminParts, Query};
use crate::catalog::{Protocol, UploadRole};
use crate::http::Problem;
use crate::identity::{Action, Caller, Identity, Outcome, Resource};
use crate::kernel::UploadId;
use crate::store::{self, LiveUpload, Store, StoreError};

/// Uploads looked at for one listing; far above what an appliance has under way.
const LOOKED_AT_MAX: usize = 10_000;

pub(super) async fn list(
    State(parts): State<AdminParts>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<axum::Json<Page<Upload>>, Problem> {
    if caller.is_anonymous() {
        return Err(Problem::unauthenticated(
            "Uploads are shown to who began them.",
        ));
    }
    let limit = query.limit_items() as usize;
    let mut uploads = Vec::new();
    for upload in parts.store.open_uploads(LOOKED_AT_MAX).await? {
        uploads.push(Whole::of(&parts.store, upload).await?);
    }
    let lanes: HashSet<UploadId> = uploads.iter().flat_map(|one| &one.lanes).copied().collect();
    uploads.retain(|one| !lanes.contains(&one.upload.id));
    let mut seen = Vec::with_capacity(uploads.len());
    for one in &uploads {
        seen.push(may(&parts.identity, &caller, &one.upload).await?);
    }
    // The page after the cursor; one that ended meanwhile starts the list again rather than losing any.
    let start = query.cursor.as_deref().and_then(|cursor| {
        uploads
            .iter()
            .position(|one| one.upload.id.to_string() == cursor)
    });
    let live = parts.store.live_uploads();
    let rest = uploads.iter().zip(seen).skip(start.map_or(0, |at| at + 1));
    let mut items: Vec<Upload> = rest
        .filter(|(_, is_seen)| *is_seen)
        .map(|(one, _)| one.wire(&live))
        .take(limit + 1)
        .collect();
    let next = (items.len() > limit).then(|| items[limit - 1].id.clone());
    items.truncate(limit);
    Ok(axum::Json(Page { items, next }))
}

pub(super) async fn get(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<axum::Json<Upload>, Problem> {
    let upload = find(&parts, &caller, &id).await?;
    if upload.is_complete && upload.role != UploadRole::Partial {
        return Err(missing());
    }
    let live = parts.store.live_uploads();
    let whole = Whole::of(&parts.store, upload).await?;
    Ok(axum::Json(whole.wire(&live)))
}

fn missing() -> Problem {
    Problem::not_found(code::UPLOAD_NOT_FOUND, "There is no such upload.")
}

/// The upload, if the caller may know of it.
async fn find(parts: &AdminParts, caller: &Caller, id: &str) -> Result<store::Upload, Problem> {
    let id: UploadId = id.parse().map_err(|_| missing())?;
    let upload = match parts.store.upload(id).await {
        Err(StoreError::NoSuchUpload(_)) => return Err(missing()),
        other => other?,
    };
    if may(&parts.identity, caller, &upload).await? {
        Ok(upload)
    } else {
        Err(missing())
    }
}

pub(super) async fn delete(
    State(parts): State<AdminParts>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let upload = find(&parts, &caller, &id).await?;
    let whole = Whole::of(&parts.store, upload).await?;
    let ended = whole.end(&parts.store).await;
    let upload = whole.upload;
    let resource = Resource::Object(&upload.bucket, &upload.key);
    let outcome = if ended.is_ok() {
        Outcome::Done
    } else {
        Outcome::Failed
    };
    // Whoever began it gives it up by the right to write, everybody else by the right to manage.
    let identity = &parts.identity;
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
    parts
        .identity
        .audit(&caller, action, &resource, outcome, &rule)
        .await;
    ended?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whoever began an upload, and whoever manages those of its bucket.
async fn may(
    identity: &Identity,
    caller: &Caller,
    upload: &store::Upload,
) -> Result<bool, Problem> {
    let resource = Resource::Object(&upload.bucket, &upload.key);
    let action = Action::ManageUploads;
    Ok(upload.owner == caller.actor().to_string()
        || identity.decide(caller, action, &resource).await?.allow)
}

/// An upload, and where it is a final one, its partial ones with what they received.
struct Whole {
    upload: store::Upload,
    lanes: Vec<UploadId>,
}

impl Whole {
    async fn of(store: &Store, mut upload: store::Upload) -> Result<Self, StoreError> {
        let mut lanes = Vec::new();
        if upload.role == UploadRole::Final && !upload.is_complete {
            let partials = store.partials(upload.id).await?;
            upload.offset = partials.iter().map(|(_, offset, _)| offset).sum();
            upload.length = partials.iter().map(|(_, _, length)| *length).sum();
            lanes.extend(partials.iter().map(|(id, ..)| *id));
        }
        Ok(Self { upload, lanes })
    }

    /// Gives it up, and what was sent for it.
    async fn end(&self, store: &Store) -> Result<(), StoreError> {
        store.terminate_upload(self.upload.id).await?;
        for lane in &self.lanes {
            match store.terminate_upload(*lane).await {
                Ok(()) | Err(StoreError::NoSuchUpload(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn wire(&self, live: &[LiveUpload]) -> Upload {
        let upload = &self.upload;
        let is_ours = |live: &&LiveUpload| live.id == upload.id || self.lanes.contains(&live.id);
        let live: Vec<&LiveUpload> = live.iter().filter(is_ours).collect();
        let quiet_ms = live.iter().map(|live| live.quiet_ms).min();
        Upload {
            is_receiving: !live.is_empty(),
            bytes_per_s: (!live.is_empty()).then(|| live.iter().map(|live| live.bytes_per_s).sum()),
            quiet_ms: quiet_ms.map(|quiet_ms| quiet_ms.max(0).unsigned_abs()),
            id: upload.id.to_string(),
            protocol: match upload.protocol {
                Protocol::Tus => UploadProtocol::Tus,
                Protocol::Rufh => UploadProtocol::Rufh,
                Protocol::S3 => UploadProtocol::S3,
            },
            bucket: upload.bucket.to_string(),
            key: upload.key.to_string(),
            size_bytes: upload.length,
            offset_bytes: upload.offset,
            content_type: None,
            created_by: Some(upload.owner.clone()),
            created_at_ms: upload.created_ms,
            updated_at_ms: upload.created_ms,
            expires_at_ms: upload.expires_ms,
        }
    }
}
