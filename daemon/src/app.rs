//! Wiring: the only place that sees every room.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::cli::check::Finding;
use crate::cli::{DoctorArgs, FsckArgs, KeysCommand, WorkerArgs};
use crate::config::Config;
use crate::lifecycle::{Exit, Lifecycle};
use crate::serve::{Bounds, Doors, Listeners, Server};
use crate::telemetry::{Exporter, Health};

/// What a serving daemon starts with: everything outside the rooms.
pub struct Start {
    /// Whole and checked; the data directory exists and is ours.
    pub config: Config,
    /// Tokens, tracker, health.
    pub life: Lifecycle,
    /// Open, not yet accepting.
    pub listeners: Listeners,
    /// For `/-/metrics`.
    pub exporter: Exporter,
    /// Whether another daemon may still live in the data directory.
    pub candidate: bool,
}

/// Runs the appliance until it is told to stop.
pub async fn serve(start: Start) -> Result<Exit> {
    let Start {
        config,
        life,
        listeners,
        exporter,
        ..
    } = start;
    let bounds = bounds(&config);
    let addresses: Vec<String> = listeners
        .addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    let ready = format!("serving on {}", addresses.join(", "));
    tracing::info!("{ready}");
    let doors = Arc::new(Operations {
        health: life.health().clone(),
        exporter,
    });
    let server = Server::new(listeners, doors, bounds, &life);
    let grace = Duration::from_secs(config.server.drain_s);
    Ok(life.run(server, grace, &ready).await)
}

/// The bounds of the listeners, from the configuration.
pub fn bounds(config: &Config) -> Bounds {
    Bounds {
        connections_max: config.limits.connections_max as usize,
        head_timeout: Duration::from_secs(config.limits.head_timeout_s),
        idle_timeout: Duration::from_secs(config.limits.idle_timeout_s),
    }
}

/// Runs media jobs of an appliance elsewhere.
pub async fn worker(_config: Config, _args: WorkerArgs, _life: Lifecycle) -> Result<Exit> {
    bail!("this build has no media worker")
}

/// Whether the catalog answers, for `nebulad check`.
pub async fn look_at_catalog(_config: &Config) -> Finding {
    Finding::new("catalog", Ok("not looked at".to_owned()))
}

/// Brings the catalog to the schema of this version.
pub async fn migrate(_config: Config) -> Result<()> {
    bail!("this build has no catalog")
}

/// Makes, lists and revokes access keys.
pub async fn keys(_config: Config, _command: KeysCommand) -> Result<()> {
    bail!("this build has no keys")
}

/// Compares rows and files; false when they disagree.
pub async fn fsck(_config: Config, _args: FsckArgs) -> Result<bool> {
    bail!("this build has no store")
}

/// Tries and measures the hardware, for `nebulad doctor --hw`.
pub async fn doctor_hw(_config: &Config, _args: &DoctorArgs) -> Result<String> {
    bail!("this build has no media worker")
}

/// Operations endpoints alone.
struct Operations {
    health: Health,
    exporter: Exporter,
}

impl Doors for Operations {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>) -> Response<Self::Body> {
        let state = self.health.state();
        let (status, text) = match request.uri().path() {
            "/-/healthz" => (StatusCode::OK, state.word().to_owned()),
            "/-/readyz" if state.is_ready() => (StatusCode::OK, state.word().to_owned()),
            "/-/readyz" => (StatusCode::SERVICE_UNAVAILABLE, state.reason().to_owned()),
            "/-/metrics" => (StatusCode::OK, self.exporter.render()),
            _ => (StatusCode::NOT_FOUND, "not found".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response
    }

    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }

    async fn drain(&self) {}
}
