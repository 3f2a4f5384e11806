//! The S3 door as real clients see it: the Rust SDK, awscli, rclone, and raw requests that no client would send.
#![expect(clippy::unwrap_used, reason = "tests")]

mod backups;
mod boto;
mod clients;
mod conformance;
mod encryption;
mod headers;
mod mounts;
mod notify;
mod races;
mod ranges;
mod raw;
mod sdk;
mod server;
mod stories;
