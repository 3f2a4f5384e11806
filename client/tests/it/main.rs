//! The client library against a small stand-in for the daemon, and a network that breaks.

#![expect(clippy::unwrap_used, reason = "tests")]

mod command;
mod network;
mod node;
mod pushes;
mod stage;
mod transfers;
