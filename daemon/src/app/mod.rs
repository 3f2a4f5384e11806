//! Wiring: the only place that sees every room.
//!
//! [`House`] puts the rooms together for every role; [`serve`] opens its doors; the other functions play the roles that print a result.

mod backup;
mod doors;
mod house;
mod metered;
mod repair;
mod roles;
mod welcome;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::config::Config;
use crate::lifecycle::{Exit, Lifecycle};
use crate::serve::{Bounds, Listeners, Server};
use crate::store::Reconciled;
use crate::telemetry::Exporter;

pub use backup::{backup, export, restore, unfinished};
pub use house::House;
pub use repair::{drain, fsck, scrub};
pub use roles::{doctor_hw, keys, look_at_catalog, migrate, worker};

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
    life.starting("opening the catalog and the data directory");
    let house = House::open(&config).await?;
    let root = house.ensure_root(&config).await?;
    let reconciled = house.store.reconcile().await?;
    if reconciled != Reconciled::default() {
        tracing::info!(?reconciled, "collected what an earlier stop left");
    }
    let listen: Vec<String> = listeners
        .addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    welcome::print(&config, &listen, &root);
    let ready = format!("serving on {}", listen.join(", "));
    house.run_background(&life, &config)?;
    let doors = Arc::new(doors::House::new(&house, &config, &life, exporter, listen));
    let server = Server::new(listeners, doors, bounds(&config), &life);
    tracing::info!("{ready}");
    let grace = Duration::from_secs(config.server.drain_s);
    let exit = life.run(server, grace, &ready).await;
    house.close().await;
    Ok(exit)
}

/// The bounds of the listeners, from the configuration.
pub fn bounds(config: &Config) -> Bounds {
    Bounds {
        connections_max: config.limits.connections_max as usize,
        head_timeout: Duration::from_secs(config.limits.head_timeout_s),
        idle_timeout: Duration::from_secs(config.limits.idle_timeout_s),
    }
}
