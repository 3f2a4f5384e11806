//! Jobs for workers on other machines: they lease from Redis, read and report here, and never see the database.
//!
//! `POST …/{id}/open` answers with an [`Opening`](crate::media::Opening) as JSON, `GET …/{id}/input` with any range of the object, and
//! `POST …/{id}/report` takes a [`Report`](crate::media::Report) in postcard. All need [`Action::Worker`]; a worker gets at the inputs of jobs that
//! are active, and at nothing else.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use nebula_api::problem::code;

use super::Door;
use super::access::media_problem;
use crate::http::{Problem, Representation, require, serve_object};
use crate::identity::{Action, Caller, Resource};
use crate::kernel::ETag;
use crate::media::{BenchError, Job, Opening, Report, Workbench as _};

pub(super) use crate::media::REPORT_BYTES_MAX;

pub(super) async fn open(
    State(door): State<Door>,
    Path(id): Path<String>,
    caller: Caller,
) -> Result<Json<Opening>, Problem> {
    let job = job(&door, &caller, &id).await?;
    let (opening, _) = door.media.open(&job).await.map_err(bench_problem)?;
    Ok(Json(opening))
}

pub(super) async fn report(
    State(door): State<Door>,
    Path(id): Path<String>,
    caller: Caller,
    body: Bytes,
) -> Result<Response, Problem> {
    let job = job(&door, &caller, &id).await?;
    let report: Report = postcard::from_bytes(&body).map_err(|error| {
        Problem::invalid(format!("the report cannot be read: {error}"))
            .hint("Run worker and daemon of one release.")
    })?;
    door.media
        .report(&job, report)
        .await
        .map_err(bench_problem)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn input(
    State(door): State<Door>,
    Path(id): Path<String>,
    caller: Caller,
    request: Request,
) -> Result<Response, Problem> {
    let job = job(&door, &caller, &id).await?;
    let reader = door
        .media
        .input(&job)
        .await
        .map_err(bench_problem)?
        .ok_or_else(no_job)?;
    let etag = ETag::from_content(blake3::hash(id.as_bytes()).as_bytes());
    let about = Representation::new(reader.size(), etag, 0, "application/octet-stream");
    serve_object(request.method(), request.headers(), &about, |range| {
        let body = reader.body(range);
        async move { Ok::<_, Problem>(body) }
    })
    .await
}

async fn job(door: &Door, caller: &Caller, id: &str) -> Result<Job, Problem> {
    require(caller, Action::Worker, &Resource::Node)?;
    let id = id.parse().map_err(|_| no_job())?;
    door.media
        .active_job(id)
        .await
        .map_err(media_problem)?
        .ok_or_else(no_job)
}

fn no_job() -> Problem {
    Problem::not_found(
        code::JOB_NOT_FOUND,
        "There is no such job, or it has ended.",
    )
}

fn bench_problem(error: BenchError) -> Problem {
    match error {
        BenchError::Unavailable(text) => crate::store::StoreError::Unavailable(text).into(),
        BenchError::Refused(text) => Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            code::INVALID_REQUEST,
            "The job makes no sense.",
        )
        .detail(text),
    }
}
