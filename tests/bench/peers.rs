//! The S3 servers that ours is measured beside: whichever of them are on this machine.

use std::path::Path;

use anyhow::Result;

use crate::compare::print_absent;
use crate::server::Server;

/// A server to be measured beside.
pub struct Peer {
    pub name: &'static str,
    pub server: Server,
    /// Whether it is another one again, with settings that listings do not feel.
    pub is_variant: bool,
}

/// Starts what is there, and says loudly what is not.
pub async fn start(title: &str, place: &Path) -> Result<Vec<Peer>> {
    const BUILT: &str = "make bench builds it";
    let mut peers = Vec::new();
    let found = [
        (
            "rclone",
            Server::rclone(place).await?,
            "packaging/prepare test, or PATH",
        ),
        ("s3s-fs", Server::s3s_fs(place).await?, BUILT),
        ("garage", Server::garage(place, false).await?, BUILT),
        ("+ fsync", Server::garage(place, true).await?, BUILT),
    ];
    for (name, server, cure) in found {
        match server {
            Some(server) => peers.push(Peer {
                name,
                server,
                is_variant: name.starts_with('+'),
            }),
            None => print_absent(title, name, cure),
        }
    }
    Ok(peers)
}
