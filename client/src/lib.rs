//! The typed client of a Nebula node.
//!
//! Everything a face needs (the command line today, a terminal interface tomorrow) is here,
//! and nothing that draws: [`Client`] speaks the JSON API, [`upload`] sends files over tus until
//! they are there and proven equal, [`download`] fetches them the same way back,
//! [`profile`] remembers nodes and their keys. Each failure is an [`Error`] that a person can
//! act on, with an exit code and a hint.
//!
//! Data passes one way: a face builds a [`Client`] from a profile, asks it, and shows what it says;
//! long transfers report to a [`transfer::Observer`]. Every future here may be dropped at any
//! moment: what was acknowledged stays, and the same call later goes on from there.
//!
//! The crate depends on `nebula-api` alone, never on the daemon.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod client;
pub mod download;
pub mod error;
mod journal;
mod lanes;
pub mod pace;
pub mod profile;
pub mod remote;
mod sums;
pub mod sync;
pub mod transfer;
pub mod upload;
pub mod watch;
pub mod xdg;

pub use client::{Client, Credentials};
pub use error::{Error, Exit};
pub use nebula_api as api;
pub use remote::Remote;
