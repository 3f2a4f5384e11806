//! The house of the Nebula appliance: every room of the daemon, and the front door `app`.
//!
//! Data flows one way: upload (`s3`, `tus`) → `store` → durable event → `queue` → `media` worker → renditions in the store → `stream`.
//! Which room may lean on which is checked by the tidy test in `tests/it`.
#![forbid(unsafe_code)]

pub mod admin;
pub mod app;
pub mod backup;
pub mod blob;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod http;
pub mod identity;
pub mod kernel;
pub mod lifecycle;
pub mod media;
pub mod notify;
pub mod queue;
pub mod s3;
pub mod serve;
pub mod store;
pub mod stream;
pub mod telemetry;
pub mod tus;
pub mod website;
