//! The S3 servers that ours is measured beside: whichever of them are on this machine.

use std::path::Path;

use anyhow::Result;

use crate::compare::print_absent;
use crate::server::Server;

/// A server to be measured beside.
pub struct Peer {
    pub name: &'static str,
    pub server: Server,
}

/// Starts what is there, and says loudly what is not.
pub async fn start(title: &str, place: &Path) -> Result<Vec<Peer>> {
    let mut peers = Vec::new();
    let found = [
        (
            "rclone",
            Server::rclone(place).await?,
            "packaging/prepare test, or PATH",
        ),
        (
            "s3s-fs",
            Server::s3s_fs(place).await?,
            "make bench installs it, or: cargo install --locked --root target/peers --features binary s3s-fs@0.14.1",
        ),
    ];
    for (name, server, cure) in found {
        match server {
            Some(server) => peers.push(Peer { name, server }),
            None => print_absent(title, name, cure),
        }
    }
    // It wants a cluster layout and keys of its own form before it answers anything, and half an hour to be built.
    print_absent(title, "garage", "not part of this bench");
    Ok(peers)
}
