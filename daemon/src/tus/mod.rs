//! The resumable upload door: tus 1.0 at `/-/tus/`, the IETF's resumable uploads at `/-/upload/` (`rufh`).
//!
//! Protocol in, store out: a creation makes an upload row and its file, a PATCH appends to that file in place, and the last byte publishes the object.
//! Every received byte counts: after a drop the offset is what came in, and an offset that was told is durable.
//! A newer request wins: HEAD, PATCH and DELETE end a running PATCH of the same upload, which flushes what it has.
//! `Upload-Metadata` names the object: `bucket` (the configured inbox without it), `filename` (the key; the upload's id without it) and `filetype`.
//!
//! The door knows no files and no tables.

mod append;
mod checksum;
mod concat;
mod content;
mod create;
mod fields;
mod headers;
mod inspect;
mod metadata;
mod problem;
mod repeat;
mod rights;
mod rufh;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use tokio_util::sync::CancellationToken;

use crate::kernel::{BucketName, Millis};
use crate::store::Store;

/// The version of the protocol.
pub const VERSION: &str = "1.0.0";
/// The extensions that are whole.
const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,termination,expiration,checksum,checksum-trailer,concatenation,concatenation-unfinished";

const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const METHOD_OVERRIDE: &str = "x-http-method-override";
/// What pages of other origins may read.
const EXPOSED: &str = "Location, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Upload-Limit, Upload-Offset, Upload-Length, \
     Upload-Defer-Length, Upload-Metadata, Upload-Concat, Upload-Expires, Tus-Checksum-Algorithm, X-Request-Id";

/// What the door is made of.
#[derive(Clone, Debug)]
pub struct TusOptions {
    /// Where uploads go that name no bucket; made on first use.
    pub inbox: BucketName,
    /// Largest upload.
    pub size_max: u64,
    /// How long an unfinished upload may rest.
    pub idle_ms: Millis,
    /// Largest body that clients are asked to send, for proxies that gather bodies before they pass them on.
    pub chunk_bytes: Option<u64>,
    /// Cancelled when the daemon stops: running bodies end, and what they brought is kept.
    pub cut: CancellationToken,
}

#[derive(Clone)]
struct Door {
    store: Store,
    options: Arc<TusOptions>,
}

/// The routes below `/-/tus/`; the layer `http::context` lies around them.
pub fn router(store: Store, options: TusOptions) -> Router {
    let door = Door {
        store,
        options: Arc::new(options),
    };
    Router::new()
        .route("/-/tus", any(collection))
        .route("/-/tus/", any(collection))
        .route("/-/tus/{id}", any(upload))
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(door.clone(), protocol))
        .with_state(door.clone())
        .merge(rufh::router(door))
}

/// Version negotiation and the headers of every answer (tus 1.0, "Tus-Resumable").
async fn protocol(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let mut origin = request.headers().contains_key(header::ORIGIN);
    let mut response = if request.method() == Method::OPTIONS {
        options(&door, request.headers())
    } else if request.method() == Method::GET {
        // No request of the protocol: whoever follows the address of an upload names no version. Which pages may read, it says itself.
        origin = false;
        next.run(request).await
    } else {
        override_method(&mut request);
        match request.headers().get(TUS_RESUMABLE) {
            Some(version) if version == VERSION => next.run(request).await,
            _ => {
                let mut refused = problem::version().into_response();
                refused
                    .headers_mut()
                    .insert(TUS_VERSION, HeaderValue::from_static(VERSION));
                refused
            }
        }
    };
    let headers = response.headers_mut();
    headers.insert(TUS_RESUMABLE, HeaderValue::from_static(VERSION));
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    if let Some(bytes) = door.options.chunk_bytes {
        headers.insert("upload-limit", chunk_limit(bytes));
    }
    if origin {
        cross_origin(headers, EXPOSED);
    }
    response
}

/// A client behind a proxy that knows few methods says what it means in a header; the real method is then ignored (tus 1.0, "X-HTTP-Method-Override").
fn override_method(request: &mut Request) {
    let meant = request
        .headers()
        .get(METHOD_OVERRIDE)
        .and_then(|value| value.to_str().ok());
    if let Some(method @ ("PATCH" | "DELETE" | "HEAD")) = meant {
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap_or(Method::POST);
    }
}

fn options(door: &Door, request: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(TUS_VERSION, HeaderValue::from_static(VERSION));
    headers.insert("tus-extension", HeaderValue::from_static(EXTENSIONS));
    headers.insert(
        "tus-checksum-algorithm",
        HeaderValue::from_static(checksum::ALGORITHMS),
    );
    headers.insert("tus-max-size", door.options.size_max.into());
    preflight(request, headers, "POST, GET, HEAD, PATCH, DELETE, OPTIONS");
    response
}

/// What clients of tus are told of the bound of a body; the header is that of the IETF's protocol, as tus has none.
fn chunk_limit(bytes: u64) -> HeaderValue {
    HeaderValue::from_str(&format!("max-append-size={bytes}"))
        .unwrap_or(HeaderValue::from_static("min-size=0"))
}

/// A page of another origin acts with a credential that it was given, never with the browser's.
fn cross_origin(headers: &mut HeaderMap, exposed: &'static str) {
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(exposed),
    );
}

/// What a browser asks before it lets such a page send.
fn preflight(request: &HeaderMap, headers: &mut HeaderMap, methods: &'static str) {
    if !request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        return;
    }
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static(methods),
    );
    let asked = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        asked.unwrap_or(HeaderValue::from_static("*")),
    );
    headers.insert(
        header::ACCESS_CONTROL_MAX_AGE,
        HeaderValue::from_static("86400"),
    );
}

async fn collection(state: State<Door>, request: Request) -> Response {
    match *request.method() {
        Method::POST => Box::pin(create::create(state, request))
            .await
            .into_response(),
        _ => problem::method("POST, OPTIONS"),
    }
}

async fn upload(state: State<Door>, request: Request) -> Response {
    match *request.method() {
        Method::GET => content::get(state, request).await.into_response(),
        Method::HEAD => Box::pin(inspect::head(state, request))
            .await
            .into_response(),
        Method::PATCH => Box::pin(append::patch(state, request))
            .await
            .into_response(),
        Method::DELETE => inspect::delete(state, request).await.into_response(),
        _ => problem::method("GET, HEAD, PATCH, DELETE, OPTIONS"),
    }
}
