//! The JSON API under `/-/api/v1`, and the operations endpoints.
//!
//! Requests come in as the types of `nebula-api`, go to the rooms, and come back as such types; every error is a problem (RFC 9457).
//! One file per noun. The routes are the constants of `nebula_api::routes`, so client and daemon cannot drift apart.
//! The room decides nothing by itself: rights are asked of `authorize` through `http::require`, states are those of the rooms.

mod assets;
mod buckets;
mod choices;
mod console;
mod contents;
mod drains;
mod events;
mod jobs;
mod keys;
mod library;
mod links;
mod objects;
mod operations;
mod positions;
mod renditions;
mod sessions;
mod status;
mod streams;
mod uploads;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use nebula_api::{contract, routes};
use tokio_util::sync::CancellationToken;

use crate::http::Problem;
use crate::identity::Identity;
use crate::kernel::limits::DOCUMENT_BYTES_MAX;
use crate::media::{ChosenHardware, Media};
use crate::queue::Jobs;
use crate::store::Store;
use crate::telemetry::{Exporter, Health};

/// What the room is made of.
#[derive(Clone)]
pub struct AdminParts {
    /// Buckets, objects, uploads, events.
    pub store: Store,
    /// Jobs.
    pub jobs: Jobs,
    /// Films and their renditions.
    pub media: Media,
    /// What transcodes here.
    pub hardware: ChosenHardware,
    /// Keys and links.
    pub identity: Identity,
    /// For `/-/healthz` and `/-/readyz`.
    pub health: Health,
    /// For `/-/metrics`.
    pub exporter: Exporter,
    /// Facts about this node.
    pub node: Arc<NodeFacts>,
    /// Ends event streams when the daemon drains.
    pub drain: CancellationToken,
}

/// What the status tells that no room knows.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// How people call this node.
    pub name: String,
    /// The addresses it serves on.
    pub listen: Vec<String>,
    /// `embedded` or `redis`.
    pub queue: &'static str,
    /// When this process began, in milliseconds since the epoch.
    pub started_ms: i64,
    /// The region that S3 clients name.
    pub region: String,
    /// Largest body that upload clients are asked to send.
    pub upload_chunk_bytes: Option<u64>,
}

/// Every route of the room; the layer `http::context` lies around them.
pub fn router(parts: AdminParts) -> Router {
    Router::new()
        .route(routes::STATUS, get(status::status))
        .route(routes::BUCKETS, get(buckets::list).post(buckets::create))
        .route(
            routes::BUCKET,
            get(buckets::get)
                .patch(buckets::patch)
                .delete(buckets::delete),
        )
        .route(routes::OBJECTS, get(objects::list))
        .route(
            routes::OBJECT,
            get(objects::get)
                .delete(objects::delete)
                .post(objects::restore),
        )
        .route(routes::CONTENT, post(contents::claim))
        .route(routes::ASSETS, get(assets::list))
        .route(routes::ASSET, get(assets::get))
        .route(routes::LIBRARY, get(library::list))
        .route(routes::POSITIONS, get(positions::list))
        .route(
            routes::POSITION,
            get(positions::get)
                .put(positions::put)
                .delete(positions::delete),
        )
        .route(routes::STREAMS, get(streams::list))
        .route(routes::JOBS, get(jobs::list))
        .route(routes::JOB, get(jobs::get))
        .route(routes::JOB_CANCEL, post(jobs::cancel))
        .route(routes::JOB_RETRY, post(jobs::retry))
        .route(routes::KEYS, get(keys::list).post(keys::create))
        .route(
            routes::KEY,
            axum::routing::delete(keys::delete).patch(keys::patch),
        )
        .route(routes::SESSIONS, get(sessions::list).post(sessions::create))
        .route(routes::SESSION, axum::routing::delete(sessions::remove))
        .route(routes::DRAINS, get(drains::list).post(drains::begin))
        .route(routes::DRAIN, axum::routing::delete(drains::cancel))
        .route(routes::LINKS, get(links::list).post(links::create))
        .route(routes::LINK, axum::routing::delete(links::delete))
        .route(routes::UPLOADS, get(uploads::list))
        .route(routes::UPLOAD, get(uploads::get).delete(uploads::delete))
        .route(routes::EVENTS, get(events::stream))
        .route(routes::DISCOVERY, get(operations::discovery))
        .route(routes::OPENAPI, get(operations::openapi))
        .route(contract::HEALTHZ, get(operations::healthz))
        .route(contract::READYZ, get(operations::readyz))
        .route(contract::METRICS, get(operations::metrics))
        .merge(console::router())
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(DOCUMENT_BYTES_MAX))
        .with_state(parts)
}

/// 404 for a path under `/-/` that no door knows.
pub async fn no_route() -> Problem {
    Problem::not_found(
        nebula_api::problem::code::ROUTE_NOT_FOUND,
        "There is no such address.",
    )
    .hint("The API is described at /-/api/v1/openapi.json.")
}

/// 405 for a method that an address does not take.
async fn no_method() -> Problem {
    Problem::new(
        axum::http::StatusCode::METHOD_NOT_ALLOWED,
        nebula_api::problem::code::METHOD_NOT_ALLOWED,
        "The address does not take this method.",
    )
    .hint("The API is described at /-/api/v1/openapi.json.")
}

/// A JSON body, refused with a problem that says where it is wrong.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> axum::extract::FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Problem> {
        match axum::Json::<T>::from_request(request, state).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::invalid(rejection.body_text())),
        }
    }
}

/// A query string, refused with a problem that says where it is wrong.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> axum::extract::FromRequestParts<S>
    for Query<T>
{
    type Rejection = Problem;

    async fn from_request_parts(
        parts: &mut axum::http::request::Parts,
        state: &S,
    ) -> Result<Self, Problem> {
        match axum::extract::Query::<T>::from_request_parts(parts, state).await {
            Ok(axum::extract::Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(Problem::invalid(rejection.body_text())),
        }
    }
}
