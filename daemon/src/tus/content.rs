//! GET: what a finished upload became, at the upload's own address.
//!
//! The protocol gives GET no meaning; other servers answer it with the bytes, and clients that know nothing but the upload's address can have them so.

use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use nebula_api::problem::code;
use nebula_api::routes;

use super::Door;
use super::inspect::find;
use crate::catalog::UploadRole;
use crate::http::{
    Gate, Problem, Representation, content_type, identity_of, media_cors, require_here,
    serve_object,
};
use crate::identity::{Action, Caller, Resource};
use crate::store::{Bypass, Upload};

pub(super) async fn get(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &()).await?;
    let identity = identity_of(&parts.extensions)?;
    let upload = find(&door, &identity, &caller, parts.uri.path()).await?;
    if upload.role == UploadRole::Partial {
        return Err(unreadable("A partial upload is bytes for others.")
            .hint("Join it with others by Upload-Concat, and read the final upload."));
    }
    let resource = Resource::Object(&upload.bucket, &upload.key);
    require_here(&identity, &caller, Action::ReadObject, &resource).await?;
    if !upload.is_complete {
        return Err(arriving(&upload));
    }
    let object = door.store.made_by(&upload).await?.ok_or_else(|| {
        Problem::not_found(code::OBJECT_NOT_FOUND, "What was uploaded is gone.").detail(format!(
            "{}/{} was deleted or replaced since.",
            upload.bucket, upload.key
        ))
    })?;
    let kind = content_type::served(object.headers.content_type.as_deref(), &object.key);
    let about = Representation::new(object.size, object.etag.clone(), object.modified_ms, kind);
    let bypass = parts.extensions.get::<Bypass>();
    let (method, headers) = (&parts.method, &parts.headers);
    let mut response = serve_object(method, headers, &about, |range| {
        let (store, object) = (door.store.clone(), object.clone());
        async move {
            let reader = store.reader_within(&object, None, range.clone()).await?;
            reader.check(range.clone())?;
            Ok::<_, Problem>(reader.body(range).past(bypass))
        }
    })
    .await?;
    if let Some(gate) = parts.extensions.get::<Gate>() {
        media_cors(gate, &caller, headers, response.headers_mut());
    }
    let kept = HeaderValue::from_static("private, no-cache");
    response.headers_mut().insert(header::CACHE_CONTROL, kept);
    Ok(response)
}

fn unreadable(title: &'static str) -> Problem {
    Problem::new(StatusCode::CONFLICT, code::CONFLICT, title)
}

/// 409: the bytes have not all come.
fn arriving(upload: &Upload) -> Problem {
    let total = upload.length.map(|length| format!(" of {length}"));
    let total = total.unwrap_or_default();
    let address = routes::file(upload.bucket.as_str(), upload.key.as_str());
    unreadable("The upload is not finished.")
        .detail(format!("{}{total} bytes have come.", upload.offset))
        .hint(format!("{address} is read while it arrives."))
}
