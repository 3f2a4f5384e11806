//! An object's own bytes.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use super::access::{Found, Visit};
use super::{Door, arriving};
use crate::http::{Problem, Representation, content_type, serve_object};
use crate::identity::Caller;
use crate::kernel::ObjectKey;
use crate::media::{Asked, looks_like_media};
use crate::store::{Bypass, Object, ObjectHeaders};

/// What a private cache may do with an object that can be replaced: keep it and ask.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("private, no-cache");

pub(super) async fn by_name(
    State(door): State<Door>,
    caller: Caller,
    request: Request,
) -> Response {
    answer(&door, Ok(Visit::by_name(request, caller, "/-/file/"))).await
}

pub(super) async fn by_link(State(door): State<Door>, request: Request) -> Response {
    answer(&door, Visit::by_link(request, "file/").await).await
}

async fn answer(door: &Door, visit: Result<Visit, Problem>) -> Response {
    match visit {
        Err(problem) => problem.into_response(),
        Ok(visit) => {
            let outcome = serve(door, &visit).await;
            Visit::answer(&visit.parts, &visit.caller, outcome)
        }
    }
}

async fn serve(door: &Door, visit: &Visit) -> Result<Response, Problem> {
    let store = door.media.store();
    let object = match visit.find(store, &visit.rest).await? {
        Found::Object(object) => object,
        Found::Arriving(arriving) => return Box::pin(arriving::file(visit, &arriving)).await,
    };
    let mut about = representation(&object);
    if visit.query("download").is_some() {
        about
            .headers
            .insert(header::CONTENT_DISPOSITION, attachment(&object.key));
    }
    let bypass = visit.parts.extensions.get::<Bypass>();
    let answer = serve_object(&visit.parts.method, &visit.parts.headers, &about, |range| {
        let object = &object;
        async move {
            let reader = store.reader_within(object, None, range.clone()).await;
            let reader = reader.map_err(Problem::from)?;
            reader.check(range.clone()).map_err(Problem::from)?;
            Ok::<_, Problem>(reader.body(range).past(bypass))
        }
    })
    .await?;
    if looks_like_media(&object) {
        visit.note(&door.media, &object, Asked::File, &answer);
    }
    Ok(answer)
}

fn representation(object: &Object) -> Representation {
    let stored = &object.headers;
    let kind = content_type::served(stored.content_type.as_deref(), &object.key);
    let mut about = Representation::new(object.size, object.etag.clone(), object.modified_ms, kind);
    let headers = &mut about.headers;
    headers.insert(header::CACHE_CONTROL, ASK_AGAIN);
    kept_headers(stored, headers);
    about
}

/// The headers that an object's writer chose for its readers.
pub(super) fn kept_headers(stored: &ObjectHeaders, headers: &mut HeaderMap) {
    let kept = [
        (header::CACHE_CONTROL, &stored.cache_control),
        (header::CONTENT_DISPOSITION, &stored.content_disposition),
        (header::CONTENT_ENCODING, &stored.content_encoding),
        (header::CONTENT_LANGUAGE, &stored.content_language),
    ];
    for (name, value) in kept {
        // What no header can carry is left out.
        if let Some(value) = value
            .as_deref()
            .and_then(|value| HeaderValue::from_str(value).ok())
        {
            headers.insert(name, value);
        }
    }
}

/// `Content-Disposition: attachment` with the key's last part (RFC 6266, RFC 8187).
pub(super) fn attachment(key: &ObjectKey) -> HeaderValue {
    let name = nebula_api::routes::encode_segment(key.file_name());
    HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{name}"))
        .unwrap_or(HeaderValue::from_static("attachment"))
}
