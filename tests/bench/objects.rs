//! Objects over S3 beside other S3 servers: large ones, small ones, ranges.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;

use crate::compare::{Case, Pace, Per, Side, print_head};
use crate::load::{self, Request, Script, Until};
use crate::peers;
use crate::ranges::ranges;
use crate::server::Server;
use crate::sign::Signer;
use crate::{listing, multipart};

const KIB: u64 = 1 << 10;
const SMALL_BYTES: usize = 4096;
/// Keys of the bucket that is read and listed: one page.
const SMALL_KEYS: u64 = 1000;
const MANY: usize = 64;
const TITLE: &str = "Objects over S3";

/// Puts what the rows read: `/bench/large`, `/bench/middle` and `/small/0000` to `/small/0999`.
pub async fn furnish(pace: Pace, server: &Server, piece: &Bytes) -> Result<()> {
    let signer = Signer::new(&server.host());
    for bucket in ["/bench", "/small"] {
        let request = Request::with_body(&signer.head("PUT", bucket, ""), Bytes::new(), 1);
        let status = load::status(server.address, &request).await?;
        anyhow::ensure!(status == 200, "PUT {bucket}: answered {status}");
    }
    for (key, mib) in [("large", pace.large_mib), ("middle", 8)] {
        let head = signer.head("PUT", &format!("/bench/{key}"), "");
        let request = Request::with_body(&head, piece.clone(), mib);
        let status = load::status(server.address, &request).await?;
        anyhow::ensure!(status == 200, "PUT {key}: answered {status}");
    }
    let small = piece.slice(..SMALL_BYTES);
    let at_once = 10;
    let script: Script = Arc::new(move |connection, n| {
        let key = connection as u64 + n * at_once as u64;
        let head = signer.head("PUT", &format!("/small/{key:04}"), "");
        Request::with_body(&head, small.clone(), 1)
    });
    let each = Until::Requests(SMALL_KEYS / at_once as u64);
    load::run(server.address, at_once, each, script)
        .await
        .context("furnishing the small keys")?;
    Ok(())
}

/// Every row.
pub async fn rows(pace: Pace, place: &Path, ours: &Server, piece: &Bytes) -> Result<()> {
    let mut peers = Vec::new();
    for peer in peers::start(TITLE, place).await? {
        match furnish(pace, &peer.server, piece).await {
            Ok(()) => peers.push(peer),
            Err(error) => println!("\n{TITLE}\n  SKIPPED: {} failed: {error:#}", peer.name),
        }
    }
    let names: Vec<_> = peers.iter().map(|peer| peer.name).collect();
    print_head(
        &format!(
            "{TITLE} (ours and the last column answer when the data is safe, the others before)"
        ),
        &names,
    );
    let cases = cases(pace, piece);
    for (case, scripts) in &cases {
        let side = |name, server| Side {
            name,
            server,
            script: Box::new(move |round| scripts(Signer::new(&Server::host(server)), round)),
        };
        let peers = peers.iter().map(|peer| side(peer.name, &peer.server));
        case.compare(pace, side("ours", ours), peers.collect())
            .await?;
    }
    multipart::rows(pace, ours, &peers, piece).await?;
    listing::rows(pace, ours, &peers).await
}

fn cases(pace: Pace, piece: &Bytes) -> Vec<(Case, Scripts)> {
    let large_mib = pace.large_mib;
    let large = piece.clone();
    let small = piece.slice(..SMALL_BYTES);
    let whole = large_mib as u64 * KIB * KIB;
    let middle = piece.clone();
    vec![
        (
            Case::new(format!("PUT {large_mib} MiB, 1 connection"), Per::Byte, 1)
                .writing()
                .large(),
            Box::new(move |signer, round| {
                let large = large.clone();
                Arc::new(move |_, _| {
                    let head = signer.head("PUT", &format!("/bench/put-{round}"), "");
                    Request::with_body(&head, large.clone(), large_mib)
                })
            }),
        ),
        (
            Case::new("PUT 8 MiB, 16 connections", Per::Byte, 16).writing(),
            Box::new(move |signer, _| {
                let middle = middle.clone();
                Arc::new(move |connection, _| {
                    let head = signer.head("PUT", &format!("/bench/put-8-{connection}"), "");
                    Request::with_body(&head, middle.clone(), 8)
                })
            }),
        ),
        (
            Case::new(format!("GET {large_mib} MiB, 1 connection"), Per::Byte, 1).large(),
            Box::new(|signer, _| get("GET", "/bench/large", &signer)),
        ),
        (
            Case::new("GET 8 MiB, 16 connections", Per::Byte, 16),
            Box::new(|signer, _| get("GET", "/bench/middle", &signer)),
        ),
        (
            Case::new("range of 256 KiB, 16 connections", Per::Request, 16),
            Box::new(move |signer, _| {
                ranges(signer.head("GET", "/bench/large", ""), 256 * KIB, whole)
            }),
        ),
        (
            Case::new("PUT 4 KiB, 64 connections", Per::Request, MANY).writing(),
            Box::new(move |signer, round| {
                let small = small.clone();
                Arc::new(move |connection, n| {
                    let path = format!("/bench/small-{round}-{connection}-{n}");
                    Request::with_body(&signer.head("PUT", &path, ""), small.clone(), 1)
                })
            }),
        ),
        (
            Case::new("GET 4 KiB, 64 connections", Per::Request, MANY),
            Box::new(|signer, _| each_small("GET", signer)),
        ),
        (
            Case::new("HEAD, 64 connections", Per::Request, MANY),
            Box::new(|signer, _| each_small("HEAD", signer)),
        ),
    ]
}

/// Makes the script of a round from a signer of now.
pub type Scripts = Box<dyn Fn(Signer, usize) -> Script>;

fn get(method: &str, path: &str, signer: &Signer) -> Script {
    let head = signer.head(method, path, "");
    Arc::new(move |_, _| Request::of(head.clone()))
}

fn each_small(method: &'static str, signer: Signer) -> Script {
    Arc::new(move |connection, n| {
        let key = (connection as u64 * 31 + n) % SMALL_KEYS;
        Request::of(signer.head(method, &format!("/small/{key:04}"), ""))
    })
}
