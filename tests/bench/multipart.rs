//! Multipart uploads: how fast the parts go in, how long their completion takes, and both as one.
//!
//! Some servers leave their work to the completion, so neither of the two tells by itself what an upload takes.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;

use crate::compare::{Measure, Pace, median, print_row};
use crate::load::{self, Request, Script, Until};
use crate::peers::Peer;
use crate::server::Server;
use crate::sign::Signer;

use crate::usage;

/// Of the parts, of the ends, and of both as one.
type All = [Vec<Measure>; 3];

/// Of one part.
const PART_MIB: usize = 16;
const CONNECTIONS: usize = 4;
const GIB_IN_MIB: f64 = 1024.0;

/// The rows.
pub async fn rows(pace: Pace, ours: &Server, peers: &[Peer], piece: &Bytes) -> Result<()> {
    if !pace.wants("multipart") {
        return Ok(());
    }
    let mut of_ours = All::default();
    let mut of_peers: Vec<_> = peers.iter().map(|_| Some(All::default())).collect();
    for round in 0..pace.rounds_large {
        let measured = one(pace, ours, piece, round).await;
        let measured = measured.context("a multipart upload of ours")?;
        note(&mut of_ours, measured);
        for (peer, of_peer) in peers.iter().zip(&mut of_peers) {
            let Some(measures) = of_peer else { continue };
            match one(pace, &peer.server, piece, round).await {
                Ok(measured) => note(measures, measured),
                Err(error) => {
                    println!(
                        "  {:<34}SKIPPED: {} failed: {error:#}",
                        "multipart", peer.name
                    );
                    *of_peer = None;
                }
            }
        }
    }
    let mib = pace.large_mib;
    let throughput = ["MiB/s ↑", "CPU s/GiB ↓"];
    let named = [
        (
            format!("parts of {mib} MiB, {CONNECTIONS} connections"),
            throughput,
        ),
        (format!("completing {mib} MiB"), ["ms ↓", "CPU ms ↓"]),
        (format!("multipart {mib} MiB, completed"), throughput),
    ];
    for (n, (name, units)) in named.iter().enumerate() {
        let peers = of_peers.iter();
        let peers: Vec<_> = peers
            .map(|of| of.as_ref().map(|of| median(&of[n])))
            .collect();
        print_row(name, *units, median(&of_ours[n]), &peers);
    }
    Ok(())
}

fn note(all: &mut All, measured: [Measure; 3]) {
    for (of, one) in all.iter_mut().zip(measured) {
        of.push(one);
    }
}

/// One upload: its parts, then its end, and both.
async fn one(pace: Pace, server: &Server, piece: &Bytes, round: usize) -> Result<[Measure; 3]> {
    let path = format!("/bench/parts-{round}");
    let signer = Arc::new(Signer::new(&server.host()));
    let begin = Request::with_body(&signer.head("POST", &path, "uploads="), Bytes::new(), 1);
    let answer = String::from_utf8(load::body(server.address, &begin).await?)?;
    let id = answer
        .split_once("<UploadId>")
        .and_then(|(_, rest)| rest.split_once("</UploadId>"))
        .map(|(id, _)| id.to_owned())
        .context("no upload id")?;
    tokio::task::spawn_blocking(rustix::fs::sync).await?;

    let pid = server.pid();
    usage::forget_peak(pid);
    let before = usage::cpu_s(pid);
    let query = move |number: u64, id: &str| format!("partNumber={number}&uploadId={id}");
    let script: Script = {
        let (signer, path, id, piece) = (signer.clone(), path.clone(), id.clone(), piece.clone());
        Arc::new(move |connection, n| {
            let number = n * CONNECTIONS as u64 + connection as u64 + 1;
            let head = signer.head("PUT", &path, &query(number, &id));
            Request::with_body(&head, piece.clone(), PART_MIB)
        })
    };
    let parts = pace.large_mib / PART_MIB;
    let each = Until::Requests((parts / CONNECTIONS) as u64);
    let done = load::run(server.address, CONNECTIONS, each, script).await?;
    let mib = pace.large_mib as f64;
    let cpu_s = usage::cpu_s(pid) - before;
    let of_parts = Measure {
        rate: mib / done.wall_s,
        cpu: cpu_s * GIB_IN_MIB / mib,
        peak_mib: usage::peak_mib(pid),
    };

    // Every part has the same bytes, so one that is sent again tells the tag of all.
    let head = signer.head("PUT", &path, &query(1, &id));
    let again = Request::with_body(&head, piece.clone(), PART_MIB);
    let tag = load::tag(server.address, &again).await?;
    let mut list = String::from("<CompleteMultipartUpload>");
    for number in 1..=parts {
        let _ = write!(
            list,
            "<Part><PartNumber>{number}</PartNumber><ETag>{tag}</ETag></Part>"
        );
    }
    list.push_str("</CompleteMultipartUpload>");
    let head = signer.head("POST", &path, &format!("uploadId={id}"));
    let complete = Request::with_body(&head, Bytes::from(list), 1);
    usage::forget_peak(pid);
    let before = usage::cpu_s(pid);
    let start = Instant::now();
    let status = load::status(server.address, &complete).await?;
    ensure!(status == 200, "the completion was answered {status}");
    let (end_s, end_cpu_s) = (start.elapsed().as_secs_f64(), usage::cpu_s(pid) - before);
    let of_end = Measure {
        rate: end_s * 1000.0,
        cpu: end_cpu_s * 1000.0,
        peak_mib: usage::peak_mib(pid),
    };
    let of_both = Measure {
        rate: mib / (done.wall_s + end_s),
        cpu: (cpu_s + end_cpu_s) * GIB_IN_MIB / mib,
        peak_mib: of_parts.peak_mib.max(of_end.peak_mib),
    };
    let gone = Request::of(signer.head("DELETE", &path, ""));
    load::status(server.address, &gone).await?;
    Ok([of_parts, of_end, of_both])
}
