//! Multipart uploads: how fast the parts go in, and how long their completion takes.

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

/// Of the parts, and of the ends.
type Both = (Vec<Measure>, Vec<Measure>);
use crate::usage;

/// Of one part.
const PART_MIB: usize = 16;
const CONNECTIONS: usize = 4;
const GIB_IN_MIB: f64 = 1024.0;

/// Both rows.
pub async fn rows(pace: Pace, ours: &Server, peers: &[Peer], piece: &Bytes) -> Result<()> {
    if !pace.wants("multipart") {
        return Ok(());
    }
    let mut of_ours = (Vec::new(), Vec::new());
    let mut of_peers: Vec<_> = peers
        .iter()
        .map(|_| Some((Vec::new(), Vec::new())))
        .collect();
    for round in 0..pace.rounds_large {
        let measured = one(pace, ours, piece, round).await;
        let (parts, end) = measured.context("a multipart upload of ours")?;
        of_ours.0.push(parts);
        of_ours.1.push(end);
        for (peer, of_peer) in peers.iter().zip(&mut of_peers) {
            let Some(measures) = of_peer else { continue };
            match one(pace, &peer.server, piece, round).await {
                Ok((parts, end)) => {
                    measures.0.push(parts);
                    measures.1.push(end);
                }
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
    let of = |pick: fn(&Both) -> &Vec<Measure>| -> Vec<Option<Measure>> {
        let medians = of_peers.iter();
        medians
            .map(|of| of.as_ref().map(|of| median(pick(of))))
            .collect()
    };
    print_row(
        &format!("multipart {mib} MiB, {CONNECTIONS} connections"),
        ["MiB/s ↑", "CPU s/GiB ↓"],
        median(&of_ours.0),
        &of(|of| &of.0),
    );
    print_row(
        &format!("completing {mib} MiB"),
        ["ms ↓", "CPU ms ↓"],
        median(&of_ours.1),
        &of(|of| &of.1),
    );
    Ok(())
}

/// One upload: its parts, then its end.
async fn one(
    pace: Pace,
    server: &Server,
    piece: &Bytes,
    round: usize,
) -> Result<(Measure, Measure)> {
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
    let of_end = Measure {
        rate: start.elapsed().as_secs_f64() * 1000.0,
        cpu: (usage::cpu_s(pid) - before) * 1000.0,
        peak_mib: usage::peak_mib(pid),
    };
    let gone = Request::of(signer.head("DELETE", &path, ""));
    load::status(server.address, &gone).await?;
    Ok((of_parts, of_end))
}
