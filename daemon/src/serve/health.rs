//! The private health socket: who this instance is and how it does, for the service manager's helpers and deploys.
//!
//! Two daemons may share one public socket for the length of a drain, so that a question asked there may be answered
//! by either; this socket belongs to one instance alone.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tracing::debug;

use crate::lifecycle::Lifecycle;
use crate::telemetry::{Health, build};

/// For one question and its answer.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Askers at once.
const ASKERS_MAX: usize = 16;
/// An answer longer than this does not come from a Nebula.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What an instance says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// `starting`, `ready`, `unwell` or `draining`.
    pub status: String,
    /// Why it is not ready; empty when it is.
    pub reason: String,
    /// The version of the workspace.
    pub version: String,
    /// The commit it was built from.
    pub build: String,
    /// Its process.
    pub pid: u32,
}

impl Instance {
    fn now(health: &Health) -> Self {
        let state = health.state();
        Self {
            status: state.word().to_owned(),
            reason: state.reason().to_owned(),
            version: build::VERSION.to_owned(),
            build: build::ID.to_owned(),
            pid: std::process::id(),
        }
    }
}

/// Answers on the private socket until the very end, so that a drain can be watched.
pub(crate) async fn answer(listener: UnixListener, life: Lifecycle) {
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(ASKERS_MAX));
    let over = life.over();
    loop {
        let next = async {
            let place = std::sync::Arc::clone(&places)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let Some((place, accepted)) = over.run_until_cancelled(next).await else {
            return;
        };
        let Ok((stream, _)) = accepted else {
            continue;
        };
        let health = life.health().clone();
        life.tracker().spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = respond(request.uri().path(), &health);
                async move { Ok::<_, Infallible>(response) }
            });
            let exchange = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(EXCHANGE_TIMEOUT)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            if !matches!(
                tokio::time::timeout(EXCHANGE_TIMEOUT, exchange).await,
                Ok(Ok(()))
            ) {
                debug!("a question on the private health socket was not finished");
            }
            drop(place);
        });
    }
}

fn respond(path: &str, health: &Health) -> Response<Full<Bytes>> {
    let instance = Instance::now(health);
    let status = match path {
        "/-/healthz" => StatusCode::OK,
        "/-/readyz" if health.state().is_ready() => StatusCode::OK,
        "/-/readyz" => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::NOT_FOUND,
    };
    let json = serde_json::to_vec(&instance).expect("five plain fields are JSON");
    let mut response = Response::new(Full::new(Bytes::from(json)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}

/// Asks the instance behind a private socket how it does.
pub async fn ask(socket: &Path) -> io::Result<Instance> {
    let exchange = async {
        let stream = UnixStream::connect(socket).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
                .await
                .map_err(io::Error::other)?;
        let request = Request::builder()
            .uri("/-/healthz")
            .header(header::HOST, "nebula")
            .body(Empty::new())
            .map_err(io::Error::other)?;
        let talk = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(io::Error::other)?;
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(io::Error::other)?;
            serde_json::from_slice(&body.to_bytes()).map_err(io::Error::other)
        };
        tokio::select! {
            answer = talk => answer,
            Err(error) = connection => Err(io::Error::other(error)),
        }
    };
    tokio::time::timeout(EXCHANGE_TIMEOUT, exchange)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
