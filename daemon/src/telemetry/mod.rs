//! What the daemon says about itself: metrics, logs, health and its own name.
//!
//! Promises: every metric has one constant and one description in [`metrics`], so that a name is spelt once and
//! `/-/metrics` explains itself; logs go to standard error in the shape the reader there wants; [`Health`] is the one
//! answer to "may I send you traffic", for `/-/readyz`, the service manager and a deploy alike.
//!
//! Data passes one way: rooms record with the `metrics` and `tracing` macros, and whoever serves
//! `/-/metrics` or `/-/healthz` reads [`Exporter::render`] and [`Health::state`].
//!
//! Refuses to know: what is measured, or who asks. Never here: tokens, presigned queries, bodies, and labels
//! whose values a stranger chooses.

pub mod build;
mod exporter;
mod health;
mod log;
pub mod metrics;

pub use exporter::{Exporter, ExporterError};
pub use health::{Health, State};
pub use log::{Log, LogError, Output};
