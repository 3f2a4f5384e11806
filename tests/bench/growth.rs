//! Whether a bucket becomes slower as it grows: the same requests at a thousand, a hundred thousand and a million objects.
//!
//! The objects are rows with a few bytes each, put straight into the catalog while the daemon is down, in an order that is
//! not theirs; what is measured goes through the daemon like anything else.
//! Each size has a daemon of its own, and they take turns: a machine that is slower for a minute is so for all of them.
//! A hot read asks for the same thousand keys at every size, a cold one for any key.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use nebula_daemon::catalog::{
    Catalog, CatalogError, Durability, NewBucket, NewObject, Options, Versioning,
};
use nebula_daemon::kernel::{BucketName, Clock, ContentId, ETag, ObjectKey, VersionId};

use crate::compare::{Measure, Pace, median};
use crate::load::{self, Request, Script, Until};
use crate::server::Server;
use crate::sign::{ACCESS_KEY, Signer};
use crate::usage;

const BUCKET: &str = "grown";
const SIZES: [u64; 3] = [1_000, 100_000, 1_000_000];
/// When there is a minute only.
const SIZES_QUICK: [u64; 3] = [1_000, 10_000, 100_000];
/// Rows of one transaction.
const BATCH: u64 = 500;
const HOT_KEYS: u64 = 1_000;
const PUT_BYTES: usize = 4096;

/// One kind of request, and how many connections make it.
struct Act {
    name: &'static str,
    connections: usize,
    script: fn(Signer, u64, usize) -> Script,
}

const ACTS: [Act; 6] = [
    Act {
        name: "GET, hot",
        connections: 64,
        script: |signer, _, _| get(signer, HOT_KEYS),
    },
    Act {
        name: "GET, any",
        connections: 64,
        script: |signer, objects, _| get(signer, objects),
    },
    Act {
        name: "HEAD, any",
        connections: 64,
        script: head,
    },
    Act {
        name: "list a page of 1,000",
        connections: 4,
        script: list,
    },
    Act {
        name: "list the folders",
        connections: 4,
        script: folders,
    },
    // Last, so that the sizes are what they say for all the others.
    Act {
        name: "PUT 4 KiB",
        connections: 64,
        script: put,
    },
];

/// Spreads numbers: neighbours in time are no neighbours in order.
fn key(n: u64) -> String {
    let spread = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56;
    format!("d{spread:02x}/{n:08}")
}

/// A daemon that serves so many objects.
struct Grown {
    objects: u64,
    server: Server,
    start_s: f64,
}

/// The table.
pub async fn rows(pace: Pace, place: &Path) -> Result<()> {
    let sizes = if pace.rounds == 1 { SIZES_QUICK } else { SIZES };
    let mut all = Vec::new();
    for objects in sizes {
        let begun = Instant::now();
        let place = place.join(objects.to_string());
        fill(&place.join("nebula"), objects).await?;
        println!(
            "  filled with {objects} objects in {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        let begun = Instant::now();
        let server = Server::ours(&place).await.context("nebulad")?;
        all.push(Grown {
            objects,
            server,
            start_s: begun.elapsed().as_secs_f64(),
        });
    }
    print_head(&sizes);
    for act in ACTS.iter().filter(|act| pace.wants(act.name)) {
        let measures = take_turns(pace, act, &all).await?;
        let of = |figure: fn(&Measure) -> f64| measures.iter().map(figure).collect::<Vec<_>>();
        print_line(act.name, "ops/s ↑", &of(|one| one.rate));
        print_line("", "CPU µs/op ↓", &of(|one| one.cpu));
        print_line("", "peak MiB ↓", &of(|one| one.peak_mib));
    }
    let starts: Vec<_> = all.iter().map(|one| one.start_s).collect();
    print_line("start until ready", "seconds ↓", &starts);
    Ok(())
}

/// The medians of each size.
async fn take_turns(pace: Pace, act: &Act, all: &[Grown]) -> Result<Vec<Measure>> {
    let mut measures = vec![Vec::new(); all.len()];
    for round in 0..pace.rounds {
        for (one, measures) in all.iter().zip(&mut measures) {
            let measure = measure(pace, act, one, round).await;
            measures
                .push(measure.with_context(|| format!("{} at {} objects", act.name, one.objects))?);
        }
    }
    Ok(measures.iter().map(|of| median(of)).collect())
}

async fn measure(pace: Pace, act: &Act, one: &Grown, round: usize) -> Result<Measure> {
    let signer = Signer::new(&one.server.host());
    let script = (act.script)(signer, one.objects, round);
    tokio::task::spawn_blocking(rustix::fs::sync).await?;
    let pid = one.server.pid();
    usage::forget_peak(pid);
    let before = usage::cpu_s(pid);
    let until = Until::Time(pace.time);
    let done = load::run(one.server.address, act.connections, until, script).await?;
    let requests = done.requests as f64;
    Ok(Measure {
        rate: requests / done.wall_s,
        cpu: (usage::cpu_s(pid) - before) * 1e6 / requests,
        peak_mib: usage::peak_mib(pid),
    })
}

fn print_head(sizes: &[u64]) {
    println!("\nGrowth: one bucket; ratio = the dearest to the cheapest size");
    print!("  {:<24}{:<14}", "", "unit");
    for size in sizes {
        print!("{size:>12}");
    }
    println!("{:>9}", "ratio");
}

fn print_line(name: &str, unit: &str, figures: &[f64]) {
    print!("  {name:<24}{unit:<14}");
    for figure in figures {
        let digits = usize::from(*figure < 10.0) * 2;
        print!("{figure:>12.digits$}");
    }
    let most = figures.iter().copied().fold(0.0, f64::max);
    let least = figures.iter().copied().fold(f64::MAX, f64::min);
    println!("{:>9.2}", most / least);
}

fn put(signer: Signer, objects: u64, round: usize) -> Script {
    let body = Bytes::from_static(&[b'x'; PUT_BYTES]);
    Arc::new(move |connection, n| {
        let number = (n << 8) + connection as u64;
        let path = format!("/{BUCKET}/{}-{objects}-{round}", key(number));
        Request::with_body(&signer.head("PUT", &path, ""), body.clone(), 1)
    })
}

/// Some key below `objects`, another each time.
fn some(connection: usize, n: u64, objects: u64) -> String {
    let at = (n * 64 + connection as u64).wrapping_mul(0x9E37_79B9) % objects;
    format!("/{BUCKET}/{}", key(at))
}

fn get(signer: Signer, objects: u64) -> Script {
    Arc::new(move |connection, n| {
        Request::of(signer.head("GET", &some(connection, n, objects), ""))
    })
}

fn head(signer: Signer, objects: u64, _: usize) -> Script {
    Arc::new(move |connection, n| {
        Request::of(signer.head("HEAD", &some(connection, n, objects), ""))
    })
}

fn list(signer: Signer, _: u64, _: usize) -> Script {
    Arc::new(move |connection, n| {
        // Never so near the end that the page would not be full.
        let folder = (n * 4 + connection as u64) * 37 % 0x40;
        let query = format!("list-type=2&max-keys=1000&start-after=d{folder:02x}%2F");
        Request::of(signer.head("GET", &format!("/{BUCKET}"), &query))
    })
}

fn folders(signer: Signer, _: u64, _: usize) -> Script {
    let query = "delimiter=%2F&list-type=2&max-keys=1000";
    let head = signer.head("GET", &format!("/{BUCKET}"), query);
    Arc::new(move |_, _| Request::of(head.clone()))
}

/// Enters so many objects.
async fn fill(data: &Path, objects: u64) -> Result<()> {
    std::fs::create_dir_all(data)?;
    let catalog = Catalog::open(&Options::Sqlite(data.join("nebula.db"))).await?;
    let name: BucketName = BUCKET.parse().context("the bucket's name")?;
    let now_ms = Clock::system().now_ms();
    let new = NewBucket {
        name: name.clone(),
        owner: ACCESS_KEY.into(),
        versioning: Versioning::Off,
        durability: Durability::Strict,
        created_ms: now_ms,
    };
    catalog
        .write(move |tx| Box::pin(async move { tx.insert_bucket(&new).await }))
        .await?;
    let bucket_id = catalog.bucket(&name).await?.context("no bucket")?.id;
    for first in (0..objects).step_by(BATCH as usize) {
        let end = objects.min(first + BATCH);
        catalog
            .write(move |tx| {
                Box::pin(async move {
                    for n in first..end {
                        tx.insert_object(&object(bucket_id, n, now_ms)).await?;
                    }
                    let count = (end - first) as i64;
                    tx.add_bucket_usage(bucket_id, count * 8, count).await
                })
            })
            .await
            .map_err(|error: CatalogError| anyhow::anyhow!("filling: {error}"))?;
    }
    catalog.close().await;
    Ok(())
}

fn object(bucket_id: i64, n: u64, modified_ms: i64) -> NewObject {
    let key: ObjectKey = key(n).parse().expect("a number is a key");
    let bytes = n.to_le_bytes().to_vec();
    let hash = *blake3::hash(&bytes).as_bytes();
    NewObject {
        bucket_id,
        key,
        version_id: VersionId::null(),
        is_delete_marker: false,
        size: bytes.len() as u64,
        etag: ETag::from_stored(hex::encode(&hash[..16])),
        content_id: Some(ContentId(hash)),
        headers: "{}".into(),
        tags: "{}".into(),
        checksums: "{}".into(),
        extras: "{}".into(),
        inline: Some(bytes),
        owner: ACCESS_KEY.into(),
        modified_ms,
    }
}
