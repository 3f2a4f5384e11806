//! Health, metrics and discovery.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics::gauge;
use nebula_api::{Discovery, contract, routes};

use super::AdminParts;
use crate::http::{Problem, require};
use crate::identity::{Action, Caller, Resource};
use crate::kernel::Millis;
use crate::telemetry::metrics::{
    BLOB_FREE_BYTES, STORE_OBJECT_BYTES, STORE_OBJECTS, UPLOADS_OPEN, UPLOADS_STALLED,
};

/// From when on an upload that sends nothing counts as stalled.
pub(super) const STALLED_MS: Millis = 10_000;

/// Alive: the process answers.
pub(super) async fn healthz(State(parts): State<AdminParts>) -> String {
    parts.health.state().word().to_owned()
}

/// Ready: the doors are open and what they stand on answers.
pub(super) async fn readyz(State(parts): State<AdminParts>) -> (StatusCode, String) {
    let state = parts.health.state();
    if !state.is_ready() {
        return (StatusCode::SERVICE_UNAVAILABLE, state.reason().to_owned());
    }
    match parts.store.probe().await {
        Ok(()) => (StatusCode::OK, state.word().to_owned()),
        // The cause is for the log: it may name files, and nobody is known here.
        Err(error) => {
            tracing::warn!(%error, "not ready: {error}");
            let reason = "the catalog or the data directory does not answer";
            (StatusCode::SERVICE_UNAVAILABLE, reason.to_owned())
        }
    }
}

/// Counters and gauges in the text format of Prometheus.
pub(super) async fn metrics(
    State(parts): State<AdminParts>,
    caller: Caller,
) -> Result<Response, Problem> {
    require(&caller, Action::ReadMetrics, &Resource::Node)?;
    let stalled = parts.store.live_uploads();
    let stalled = stalled.iter().filter(|live| live.quiet_ms >= STALLED_MS);
    gauge!(UPLOADS_STALLED).set(stalled.count() as f64);
    gauge!(UPLOADS_OPEN).set(parts.store.catalog().count_open_uploads().await? as f64);
    let owners = parts.store.catalog().owner_usages().await?;
    let objects: i64 = owners.iter().map(|owner| owner.usage_objects).sum();
    let bytes: i64 = owners.iter().map(|owner| owner.usage_bytes).sum();
    gauge!(STORE_OBJECTS).set(objects as f64);
    gauge!(STORE_OBJECT_BYTES).set(bytes as f64);
    let spaces = parts.store.disks().into_iter();
    let spaces = spaces.filter(|disk| !disk.is_draining);
    let spaces = spaces.filter_map(|disk| disk.space);
    let free: u64 = spaces
        .map(|space| space.free.saturating_sub(space.reserve))
        .sum();
    gauge!(BLOB_FREE_BYTES).set(free as f64);
    Ok((
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4")],
        parts.exporter.render(),
    )
        .into_response())
}

/// What a client needs to know before it has a credential.
pub(super) async fn discovery(State(parts): State<AdminParts>) -> axum::Json<Discovery> {
    axum::Json(Discovery {
        product: "nebula".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        api: routes::API.to_owned(),
        tus: routes::TUS.to_owned(),
        upload: Some(routes::RESUMABLE.to_owned()),
        upload_chunk_bytes: parts.node.upload_chunk_bytes,
        console: routes::CONSOLE.to_owned(),
        s3_region: parts.node.region.clone(),
    })
}

/// The description of this API, for people and for generators of clients.
pub(super) async fn openapi() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, contract::DOCUMENT).into_response()
}
