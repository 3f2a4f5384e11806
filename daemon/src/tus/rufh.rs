//! Resumable uploads of the IETF (draft-ietf-httpbis-resumable-upload, interop version 8) at `/-/upload/`.
//!
//! `POST` or `PUT /-/upload/{bucket}/{key}` begins one and names its object; `/-/upload/{id}` is the upload itself.
//! An upload begins with its first bytes, with all of them, or with none: the careful form, which learns the address before anything can be lost.
//! It ends where the client says so (`Upload-Complete: ?1`), not where a length is reached.
//!
//! It is the same upload as that of tus: either protocol goes on with what the other began.

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;

use super::append::{self, End, Taken, note_stored, take};
use super::create::begin;
use super::fields::{boolean, integer};
use super::headers::bytes;
use super::inspect::{self, find};
use super::rights::Sender;
use super::{Door, cross_origin, preflight, problem, repeat};
use crate::catalog::{Protocol, UploadRole};
use crate::http::path::{behind, bucket_and_key};
use crate::http::{Problem, audited, identity_of};
use crate::identity::{Action, Caller, Resource};
use crate::kernel::{BucketName, Millis, ObjectKey};
use crate::store::{NewResumable, ObjectHeaders, StoreError, Tags, Upload};

/// Where the door stands.
const PREFIX: &str = "/-/upload/";
/// The version of the draft that is spoken.
const INTEROP: HeaderValue = HeaderValue::from_static("8");
const INTEROP_VERSION: HeaderName = HeaderName::from_static("upload-draft-interop-version");
const COMPLETE: &str = "upload-complete";
const OFFSET: &str = "upload-offset";
const LENGTH: &str = "upload-length";
const LIMIT: &str = "upload-limit";
const YES: HeaderValue = HeaderValue::from_static("?1");
const NO: HeaderValue = HeaderValue::from_static("?0");
/// The media type of every body that continues an upload.
const PARTIAL_UPLOAD: &str = "application/partial-upload";
/// What pages of other origins may read.
const EXPOSED: &str =
    "Location, Upload-Offset, Upload-Complete, Upload-Length, Upload-Limit, ETag, X-Request-Id";

/// The routes below `/-/upload/`.
pub(super) fn router(door: Door) -> Router {
    Router::new()
        .route("/-/upload/{*rest}", any(resource))
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(door.clone(), protocol))
        .with_state(door)
}

/// The headers of every answer.
async fn protocol(State(door): State<Door>, request: Request, next: Next) -> Response {
    let origin = request.headers().contains_key(header::ORIGIN);
    let changes = matches!(
        *request.method(),
        Method::POST | Method::PUT | Method::PATCH
    );
    let mut response = if request.method() == Method::OPTIONS {
        options(&door, request.headers())
    } else {
        next.run(request).await
    };
    let (status, headers) = (response.status(), response.headers_mut());
    headers.insert(INTEROP_VERSION, INTEROP);
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if changes {
        // Whatever was refused did not end the upload.
        headers.entry(COMPLETE).or_insert(NO);
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        headers.insert(LIMIT, limit(&door, None));
    }
    if origin {
        cross_origin(headers, EXPOSED);
    }
    response
}

async fn resource(state: State<Door>, request: Request) -> Response {
    let rest = behind(request.uri().path(), PREFIX).unwrap_or_default();
    let answer = match (rest.contains('/'), request.method()) {
        (true, &(Method::POST | Method::PUT)) => Box::pin(create(state, request)).await,
        (true, _) => return problem::method("POST, PUT, OPTIONS"),
        (false, &(Method::HEAD | Method::GET)) => head(state, request).await,
        (false, &Method::PATCH) => Box::pin(patch(state, request)).await,
        (false, &Method::DELETE) => inspect::delete(state, request).await,
        (false, _) => return problem::method("HEAD, GET, PATCH, DELETE, OPTIONS"),
    };
    answer.into_response()
}

fn options(door: &Door, request: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(LIMIT, limit(door, None));
    headers.insert("accept-patch", HeaderValue::from_static(PARTIAL_UPLOAD));
    preflight(
        request,
        headers,
        "POST, PUT, HEAD, GET, PATCH, DELETE, OPTIONS",
    );
    response
}

/// What the client shall keep to; `max-age` counts from now.
fn limit(door: &Door, expires_ms: Option<Millis>) -> HeaderValue {
    let mut terms = vec![
        format!("max-size={}", door.options.size_max),
        "min-size=0".into(),
    ];
    terms.extend(
        door.options
            .chunk_bytes
            .map(|bytes| format!("max-append-size={bytes}")),
    );
    terms.extend(expires_ms.map(|at_ms| {
        let left_ms = at_ms - door.store.clock().now_ms();
        format!("max-age={}", left_ms.max(0) / 1000)
    }));
    HeaderValue::from_str(&terms.join(", ")).unwrap_or(HeaderValue::from_static("min-size=0"))
}

/// The length that a request says, by itself or by its body.
///
/// # Errors
/// 400 when the two differ, or differ from what is known; 413 above the largest size.
fn length_of(
    door: &Door,
    headers: &HeaderMap,
    offset: u64,
    ends: bool,
    known: Option<u64>,
) -> Result<Option<u64>, Problem> {
    let declared = integer(headers, LENGTH);
    let body = bytes(headers, "content-length")?;
    let end = body.map(|body| offset.saturating_add(body));
    let by_body = end.filter(|_| ends);
    let lengths = [known, declared, by_body];
    let mut said = lengths.iter().flatten();
    let length = said.next().copied();
    if said.any(|other| Some(*other) != length) {
        return Err(inconsistent(format!(
            "Known before: {known:?}, Upload-Length: {declared:?}, by the body: {by_body:?}."
        )));
    }
    match (length, end) {
        (Some(length), _) | (None, Some(length)) if length > door.options.size_max => {
            Err(problem::too_large(door.options.size_max))
        }
        (Some(length), Some(end)) if end > length => Err(inconsistent(format!(
            "The body ends at {end}, behind the length {length}."
        ))),
        (Some(length), _) if length < offset => Err(inconsistent(format!(
            "The length {length} lies before the offset {offset}."
        ))),
        _ => Ok(length),
    }
}

fn inconsistent(detail: String) -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "inconsistent_upload_length",
        "The lengths of the upload do not agree.",
    )
    .kind("https://iana.org/assignments/http-problem-types#inconsistent-upload-length")
    .detail(detail)
}

/// 409 with where the upload stands.
fn mismatching(current: u64, given: u64) -> Response {
    let problem = Problem::new(
        StatusCode::CONFLICT,
        "mismatching_upload_offset",
        "The upload stands elsewhere.",
    )
    .kind("https://iana.org/assignments/http-problem-types#mismatching-upload-offset")
    .detail(format!("It stands at {current} bytes, not at {given}."))
    .offsets(current, given);
    let mut response = problem.into_response();
    response.headers_mut().insert(OFFSET, current.into());
    response
}

async fn create(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &()).await?;
    let rest = behind(parts.uri.path(), PREFIX).unwrap_or_default();
    let (bucket, key) = bucket_and_key(rest)?;
    // Without the header it is a plain upload in one request.
    let ends = boolean(&parts.headers, COMPLETE).unwrap_or(true);
    let length = length_of(&door, &parts.headers, 0, ends, None)?;
    let only_new = only_new(&parts.headers)?;
    let resource = Resource::Object(&bucket, &key);
    let identity = identity_of(&parts.extensions)?;
    let new = NewResumable {
        protocol: Protocol::Rufh,
        role: UploadRole::Whole,
        bucket: bucket.clone(),
        key: Some(key.clone()),
        headers: headers_of(&parts.headers),
        tags: Tags::new(),
        owner: caller.actor().to_string(),
        length,
        metadata: serde_json::json!({ "only_new": only_new }).to_string(),
        idle_ms: Some(door.options.idle_ms),
        lane: None,
    };
    let action = Action::WriteObject;
    let repeat = repeat::id(&parts.headers, &caller)?;
    let begun = async {
        if only_new && door.store.head(&bucket, &key, None).await.is_ok() {
            return Err(StoreError::PreconditionFailed("If-None-Match").into());
        }
        begin(&door, repeat, new).await
    };
    let upload = audited(&identity, &caller, action, &resource, begun).await?;
    if body.is_end_stream() && !ends {
        return begun_at(&door, &upload, 0);
    }
    let session = append::begin(&door, upload.id, 0, false).await?;
    let end = if ends { End::Here } else { End::Open };
    let sender = Sender::of(&parts)?;
    let taken = take(&door, session, &sender, &upload, Some(body), None, end).await?;
    match &taken {
        Taken::Part { offset } => return begun_at(&door, &upload, *offset),
        // Nobody learned of its address.
        Taken::Refused(_) => door.store.terminate_upload(upload.id).await?,
        Taken::Whole { .. } => {}
    }
    answer(&door, &parts.extensions, &caller, &upload, taken).await
}

/// 201 with the address of an upload that goes on.
fn begun_at(door: &Door, upload: &Upload, offset: u64) -> Result<Response, Problem> {
    let mut response = StatusCode::CREATED.into_response();
    let headers = response.headers_mut();
    let location = HeaderValue::from_str(&format!("{PREFIX}{}", upload.id));
    headers.insert(header::LOCATION, location.map_err(Problem::internal)?);
    headers.insert(OFFSET, offset.into());
    headers.insert(COMPLETE, NO);
    headers.insert(LIMIT, limit(door, upload.expires_ms));
    Ok(response)
}

/// `If-None-Match: *`, the one condition that can wait for the end of an upload.
fn only_new(headers: &HeaderMap) -> Result<bool, Problem> {
    if headers.contains_key(header::IF_MATCH) {
        return Err(Problem::invalid("If-Match is not for uploads.")
            .hint("Of conditions, an upload takes If-None-Match: * alone."));
    }
    match headers.get(header::IF_NONE_MATCH) {
        None => Ok(false),
        Some(value) if value == "*" => Ok(true),
        Some(_) => Err(Problem::invalid("If-None-Match must be * for an upload.")),
    }
}

fn headers_of(headers: &HeaderMap) -> ObjectHeaders {
    let text = |name| {
        let value: Option<&HeaderValue> = headers.get(name);
        value
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    ObjectHeaders {
        content_type: text(header::CONTENT_TYPE).filter(|kind| kind.contains('/')),
        content_encoding: text(header::CONTENT_ENCODING),
        content_language: text(header::CONTENT_LANGUAGE),
        content_disposition: text(header::CONTENT_DISPOSITION),
        cache_control: text(header::CACHE_CONTROL),
        ..ObjectHeaders::default()
    }
}

async fn head(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &()).await?;
    let identity = identity_of(&parts.extensions)?;
    let known = find(&door, &identity, &caller, parts.uri.path()).await?;
    let upload = door.store.settle_upload(known.id).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(OFFSET, upload.offset.into());
    headers.insert(COMPLETE, if upload.is_complete { YES } else { NO });
    if let Some(length) = upload.length {
        headers.insert(LENGTH, length.into());
    }
    headers.insert(LIMIT, limit(&door, upload.expires_ms));
    Ok(response)
}

async fn patch(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &()).await?;
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let is_partial = kind.is_some_and(|kind| {
        let kind = kind.as_bytes().split(|b| *b == b';').next();
        kind.is_some_and(|kind| {
            kind.trim_ascii()
                .eq_ignore_ascii_case(PARTIAL_UPLOAD.as_bytes())
        })
    });
    if !is_partial {
        return Err(problem::content_type(PARTIAL_UPLOAD));
    }
    let offset = integer(&parts.headers, OFFSET)
        .ok_or_else(|| Problem::invalid("The header Upload-Offset is needed, a number."))?;
    let ends = boolean(&parts.headers, COMPLETE)
        .ok_or_else(|| Problem::invalid("The header Upload-Complete is needed, ?0 or ?1."))?;
    let identity = identity_of(&parts.extensions)?;
    let upload = find(&door, &identity, &caller, parts.uri.path()).await?;
    if upload.role != UploadRole::Whole {
        return Err(problem::is_final());
    }
    if upload.is_complete {
        if offset == upload.offset && ends && body.is_end_stream() {
            // Its answer was lost: the same once more.
            return finished(&upload.bucket, &upload.key, upload.offset, None);
        }
        return Ok(mismatching(upload.offset, offset));
    }
    let length = match length_of(&door, &parts.headers, offset, ends, upload.length) {
        Ok(length) => length,
        Err(_) if offset != upload.offset => {
            // A client that is wrong about the offset shall hear that: the length follows from it.
            return conflict(door.store.append(upload.id, offset, None).await.map(drop));
        }
        Err(problem) => return Err(problem),
    };
    if let Some(length) = length.filter(|_| upload.length.is_none() && offset == upload.offset) {
        door.store.set_upload_length(upload.id, length).await?;
    }
    let session = match append::begin(&door, upload.id, offset, false).await {
        Ok(session) => session,
        Err(error) => return conflict(Err(error)),
    };
    let end = if ends { End::Here } else { End::Open };
    let sender = Sender::of(&parts)?;
    let taken = take(&door, session, &sender, &upload, Some(body), None, end).await?;
    answer(&door, &parts.extensions, &caller, &upload, taken).await
}

/// What an upload that stands elsewhere answers.
fn conflict(outcome: Result<(), StoreError>) -> Result<Response, Problem> {
    match outcome {
        Err(StoreError::OffsetConflict { current, given }) => Ok(mismatching(current, given)),
        Err(error) => Err(error.into()),
        Ok(()) => Err(StoreError::UploadTakenOver.into()),
    }
}

async fn answer(
    door: &Door,
    extensions: &axum::http::Extensions,
    caller: &Caller,
    upload: &Upload,
    taken: Taken,
) -> Result<Response, Problem> {
    match taken {
        Taken::Refused(problem) => Err(problem),
        Taken::Whole { offset, etag } => {
            note_stored(extensions, caller, upload).await?;
            finished(&upload.bucket, &upload.key, offset, Some(&etag))
        }
        Taken::Part { offset } => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            let headers = response.headers_mut();
            headers.insert(OFFSET, offset.into());
            headers.insert(COMPLETE, NO);
            let expires_ms = door.store.clock().now_ms() + door.options.idle_ms;
            headers.insert(LIMIT, limit(door, Some(expires_ms)));
            Ok(response)
        }
    }
}

/// 201: the object is there.
fn finished(
    bucket: &BucketName,
    key: &ObjectKey,
    size: u64,
    etag: Option<&str>,
) -> Result<Response, Problem> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    let address = nebula_api::routes::file(bucket.as_str(), key.as_str());
    let location = HeaderValue::from_str(&address).map_err(Problem::internal)?;
    headers.insert(header::LOCATION, location);
    headers.insert(OFFSET, size.into());
    headers.insert(COMPLETE, YES);
    if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(&format!("\"{etag}\"")).ok()) {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}
