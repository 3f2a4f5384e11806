//! Resumable uploads beside @tus/server, the server that most tus clients meet: one long stream, parts, many at once.
//!
//! It writes into plain files, syncs nothing and sums nothing; ours is durable before it says so.
//! It knows no concatenation, so its four parts stay four files; those rows compare the sending.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::compare::{Pace, print_absent, print_head, print_line};
use crate::load::{self, Request, Until};
use crate::server::Server;
use crate::sign::{ACCESS_KEY, SECRET_KEY, Signer};
use crate::usage;

const BUCKET: &str = "uploads";
const PEER: &str = "@tus/server";
/// Long enough that a body is under way when it is taken over.
const UNDER_WAY_BYTES: usize = 8 << 20;
/// How often it is taken over.
const TAKEN_OVER: usize = 9;

/// A server that speaks tus.
struct Side<'a> {
    server: &'a Server,
    /// Where uploads are made.
    path: &'static str,
    authorization: String,
}

/// What is sent: so many uploads at once, of so many pieces each.
struct Load {
    name: &'static str,
    uploads: usize,
    pieces: usize,
    /// Whether they are parts of one.
    joined: bool,
}

/// What that took.
#[derive(Clone, Copy)]
struct Took {
    mib_per_s: f64,
    cpu_s_per_gib: f64,
    peak_mib: f64,
    /// Bytes written to the disk by each byte sent.
    written: f64,
    /// Of the request that joins the parts.
    join_ms: f64,
}

pub async fn rows(pace: Pace, place: &Path, piece: &Bytes) -> Result<()> {
    let title = "Resumable uploads (tus 1.0); the peer syncs and sums nothing";
    let place = place.join("tus");
    std::fs::create_dir_all(&place)?;
    let ours = Server::ours(&place).await?;
    let peer = Server::tus(&place).await?;
    if peer.is_none() {
        print_absent(title, PEER, "node 20, and: npm --prefix tests/peers ci");
    }
    let bucket = Signer::new(&ours.host()).head("PUT", &format!("/{BUCKET}"), "");
    let bucket = Request::with_body(&bucket, Bytes::new(), 1);
    let status = load::status(ours.address, &bucket).await?;
    ensure!(status == 200, "PUT /{BUCKET}: answered {status}");
    let pair = BASE64_STANDARD.encode(format!("{ACCESS_KEY}:{SECRET_KEY}"));
    let ours = Side {
        server: &ours,
        path: "/-/tus/",
        authorization: format!("authorization: Basic {pair}\r\n"),
    };
    let peer = peer.as_ref().map(|server| Side {
        server,
        path: "/files",
        authorization: String::new(),
    });
    print_head(title, &[PEER]);
    let large = pace.large_mib;
    let loads = [
        Load {
            name: "one stream",
            uploads: 1,
            pieces: 2 * large,
            joined: false,
        },
        Load {
            name: "four parts at once",
            uploads: 4,
            pieces: large / 4,
            joined: true,
        },
        Load {
            name: "64 uploads at once",
            uploads: 64,
            pieces: large / 16,
            joined: false,
        },
    ];
    for load in &loads {
        let mut took = (Vec::new(), Vec::new());
        for _ in 0..pace.rounds_large {
            took.0
                .push(ours.takes(load, piece, true).await.context("ours")?);
            if let Some(peer) = &peer {
                took.1
                    .push(peer.takes(load, piece, false).await.context(PEER)?);
            }
        }
        print(load, &took.0, &took.1);
    }
    let ours_ms = ours.taken_over_ms(piece).await?;
    let peer_ms = match &peer {
        Some(peer) => Some(peer.taken_over_ms(piece).await?),
        None => None,
    };
    print_line(
        "taken over by another request",
        "worst ms ↓",
        ours_ms,
        &[peer_ms],
    );
    Ok(())
}

fn print(load: &Load, ours: &[Took], peer: &[Took]) {
    let median = |of: &[Took], figure: fn(&Took) -> f64| {
        let mut all: Vec<f64> = of.iter().map(figure).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let line = |name: &str, unit: &str, figure: fn(&Took) -> f64| {
        if let Some(ours) = median(ours, figure) {
            print_line(name, unit, ours, &[median(peer, figure)]);
        }
    };
    let bytes = load.uploads * load.pieces;
    let name = format!("{}, {bytes} MiB in all", load.name);
    line(&name, "MiB/s ↑", |took| took.mib_per_s);
    line("", "CPU s/GiB ↓", |took| took.cpu_s_per_gib);
    line("", "peak MiB ↓", |took| took.peak_mib);
    line("", "written ÷ sent ↓", |took| took.written);
    if load.joined
        && let Some(ours) = median(ours, |took| took.join_ms)
    {
        print_line("", "joined in ms ↓", ours, &[None]);
    }
}

impl Side<'_> {
    async fn takes(&self, load: &Load, piece: &Bytes, joins: bool) -> Result<Took> {
        tokio::task::spawn_blocking(rustix::fs::sync).await?;
        let pid = self.server.pid();
        usage::forget_peak(pid);
        let cpu_s = usage::cpu_s(pid);
        let written = usage::written_bytes(pid)?;
        let sent = load.uploads * load.pieces * piece.len();
        let start = Instant::now();
        let mut urls = Vec::new();
        for number in 0..load.uploads {
            let concat = if joins && load.joined {
                "upload-concat: partial\r\n"
            } else {
                ""
            };
            let length = load.pieces * piece.len();
            let more = format!("{concat}upload-length: {length}\r\n");
            urls.push(self.create(&format!("{number}.bin"), &more).await?);
        }
        let patches: Vec<String> = urls.iter().map(|url| self.patch(url)).collect();
        let (body, times) = (piece.clone(), load.pieces);
        let script: load::Script =
            Arc::new(move |number, _| Request::with_body(&patches[number], body.clone(), times));
        load::run(
            self.server.address,
            load.uploads,
            Until::Requests(1),
            script,
        )
        .await?;
        let joining = Instant::now();
        let mut whole = None;
        if joins && load.joined {
            let more = format!("upload-concat: final;{}\r\n", urls.join(" "));
            whole = Some(self.create("joined.bin", &more).await?);
        }
        let wall_s = start.elapsed().as_secs_f64();
        let took = Took {
            mib_per_s: sent as f64 / f64::from(1 << 20) / wall_s,
            cpu_s_per_gib: (usage::cpu_s(pid) - cpu_s) * f64::from(1 << 30) / sent as f64,
            peak_mib: usage::peak_mib(pid),
            written: (usage::written_bytes(pid)? - written) as f64 / sent as f64,
            join_ms: joining.elapsed().as_secs_f64() * 1e3,
        };
        self.clear(&urls, whole.is_some()).await?;
        Ok(took)
    }

    /// Makes an upload and gives its path.
    async fn create(&self, key: &str, more: &str) -> Result<String> {
        let (bucket, key) = (BASE64_STANDARD.encode(BUCKET), BASE64_STANDARD.encode(key));
        let head = self.head(
            "POST",
            self.path,
            &format!(
                "upload-metadata: bucket {bucket},filename {key}\r\ncontent-length: 0\r\n{more}"
            ),
        );
        let at = load::location(self.server.address, &Request::of(head)).await?;
        let path = at.find(self.path).context("an address of another place")?;
        Ok(at[path..].to_owned())
    }

    fn patch(&self, url: &str) -> String {
        let kind = "content-type: application/offset+octet-stream";
        self.head("PATCH", url, &format!("upload-offset: 0\r\n{kind}\r\n"))
    }

    fn head(&self, method: &str, path: &str, more: &str) -> String {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ntus-resumable: 1.0.0\r\n{}{more}",
            self.server.host(),
            self.authorization
        )
    }

    /// Makes room for the next: the peer's uploads are its files, ours have become objects.
    async fn clear(&self, urls: &[String], was_joined: bool) -> Result<()> {
        let made: Vec<String> = match (self.authorization.is_empty(), was_joined) {
            (true, _) => urls.to_vec(),
            (false, true) => vec![object("joined.bin")],
            (false, false) => (0..urls.len())
                .map(|n| object(&format!("{n}.bin")))
                .collect(),
        };
        for path in made {
            let head = self.head("DELETE", &path, "content-length: 0\r\n");
            let status = load::status(self.server.address, &Request::of(head)).await?;
            ensure!(status < 300, "DELETE {path}: answered {status}");
        }
        Ok(())
    }

    /// How long HEAD takes, at worst, while a body is under way that does not end.
    async fn taken_over_ms(&self, piece: &Bytes) -> Result<f64> {
        let mut worst = Duration::ZERO;
        for _ in 0..TAKEN_OVER {
            let length = format!("upload-length: {}\r\n", 1 << 30);
            let url = self.create("taken-over.bin", &length).await?;
            let mut body = TcpStream::connect(self.server.address).await?;
            let head = format!("{}content-length: {}\r\n\r\n", self.patch(&url), 1 << 30);
            body.write_all(head.as_bytes()).await?;
            for _ in 0..UNDER_WAY_BYTES / piece.len() {
                body.write_all(piece).await?;
            }
            let start = Instant::now();
            let head = Request::of(self.head("HEAD", &url, ""));
            let status = load::status(self.server.address, &head).await?;
            ensure!(status < 300, "HEAD {url}: {status}");
            worst = worst.max(start.elapsed());
            drop(body);
            let head = self.head("DELETE", &url, "content-length: 0\r\n");
            load::status(self.server.address, &Request::of(head)).await?;
        }
        Ok(worst.as_secs_f64() * 1e3)
    }
}

/// Where an object of ours is deleted.
fn object(key: &str) -> String {
    format!("/-/api/v1/buckets/{BUCKET}/objects/{key}")
}
