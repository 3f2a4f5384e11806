//! A picture of a film.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::Full;
use nebula_api::problem::code;

use super::Door;
use super::access::{Visit, media_problem};
use crate::http::{Problem, Representation, serve_object};
use crate::identity::Caller;
use crate::kernel::ETag;

const ASK_AGAIN: HeaderValue = HeaderValue::from_static("private, no-cache");

pub(super) async fn by_name(
    State(door): State<Door>,
    caller: Caller,
    request: Request,
) -> Response {
    let visit = Visit::by_name(request, caller, "/-/api/v1/posters/");
    let outcome = serve(&door, &visit).await;
    Visit::answer(&visit.parts, &visit.caller, outcome)
}

async fn serve(door: &Door, visit: &Visit) -> Result<Response, Problem> {
    let object = visit.object(door.media.store(), &visit.rest).await?;
    let poster = door
        .media
        .poster(object.content_id)
        .await
        .map_err(media_problem)?;
    let Some(poster) = poster.map(Bytes::from) else {
        return Err(Problem::not_found(
            code::ASSET_NOT_FOUND,
            "There is no picture of this object.",
        )
        .detail("It is no film, or it was not looked at yet."));
    };
    let etag = ETag::from_content(blake3::hash(&poster).as_bytes());
    let mut about =
        Representation::new(poster.len() as u64, etag, object.modified_ms, "image/jpeg");
    about.headers.insert(header::CACHE_CONTROL, ASK_AGAIN);
    serve_object(&visit.parts.method, &visit.parts.headers, &about, |range| {
        let part = poster.slice(range.start as usize..range.end as usize);
        async move { Ok(Full::new(part)) }
    })
    .await
}
