//! Ranges of a large file beside nginx: what a player or a browser asks for.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::compare::{Case, Pace, Per, Side, print_absent, print_head};
use crate::load::{self, Request, Script};
use crate::server::Server;
use crate::sign::{ACCESS_KEY, SECRET_KEY};
use crate::warm;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const TITLE: &str = "Ranges of a large file in the page cache";

/// Every row; the file lies in the daemon already, as `/bench/large`.
pub async fn rows(pace: Pace, place: &Path, ours: &Server) -> Result<()> {
    let root = place.join("www");
    std::fs::create_dir_all(&root)?;
    // The same file for both, and so the same pages.
    warm::link_largest(&Server::blobs_of_ours(place), &root.join("large"))?;
    let Some(nginx) = Server::nginx(place, &root).await? else {
        print_absent(TITLE, "nginx", "apt-get install nginx-light");
        return Ok(());
    };
    let own = get(ours, "/-/file/bench/large");
    let first = Request::of(own.clone() + "range: bytes=0-0\r\n");
    if load::status(ours.address, &first).await? != 206 {
        println!("\n{TITLE}\n  SKIPPED: this build has no /-/file/ door");
        return Ok(());
    }
    let peers = get(&nginx, "/large");
    print_head(
        &format!("{TITLE}: /-/file/ beside nginx with sendfile, the same file"),
        &["nginx"],
    );
    let whole = pace.large_mib as u64 * MIB;
    let files = [root];
    for (name, size, connections) in [
        ("64 KiB, 16 connections", 64 * KIB, 16),
        ("1 MiB, 16 connections", MIB, 16),
        ("whole, 4 connections", whole, 4),
    ] {
        let side = |name, server, head: &str| Side {
            name,
            server,
            script: {
                let head = head.to_owned();
                Box::new(move |_| ranges(head.clone(), size, whole))
            },
        };
        let case = Case::new(name, Per::Byte, connections).over(&files);
        case.compare(
            pace,
            side("ours", ours, &own),
            vec![side("nginx", &nginx, &peers)],
        )
        .await?;
    }
    Ok(())
}

fn get(server: &Server, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: {}\r\n",
        server.host(),
        basic()
    )
}

/// The root key as every door but S3 takes it.
pub fn basic() -> String {
    let pair = STANDARD.encode(format!("{ACCESS_KEY}:{SECRET_KEY}"));
    format!("Basic {pair}")
}

/// Ranges all over the file, in an order that no read-ahead guesses.
pub fn ranges(head: String, size: u64, whole: u64) -> Script {
    // Any odd stride visits every place once.
    const STRIDE: u64 = 0x9E37_79B9;
    Arc::new(move |connection, n| {
        let places = (whole / size).max(1);
        let at = (n * STRIDE + connection as u64 * 7) % places * size;
        Request::of(format!("{head}range: bytes={at}-{}\r\n", at + size - 1))
    })
}
