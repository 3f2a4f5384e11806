//! Listings: pages all over a bucket of many keys, its folders, and one of them.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::Bytes;

use crate::compare::{Case, Pace, Per, Side};
use crate::load::{self, Request, Script, Until};
use crate::objects::Scripts;
use crate::peers::Peer;
use crate::server::Server;
use crate::sign::Signer;

/// Folders at the top of the bucket; the keys lie evenly in them.
const FOLDERS: u64 = 100;
const AT_ONCE: usize = 20;
const CONNECTIONS: usize = 4;

/// The key with this number.
fn key(n: u64, keys: u64) -> String {
    let each = (keys / FOLDERS).max(1);
    format!("d{:03}/k{:06}", n / each, n % each)
}

async fn furnish(pace: Pace, server: &Server) -> Result<()> {
    let signer = Signer::new(&server.host());
    let request = Request::with_body(&signer.head("PUT", "/many", ""), Bytes::new(), 1);
    let status = load::status(server.address, &request).await?;
    anyhow::ensure!(status == 200, "PUT /many: answered {status}");
    let keys = pace.listed_keys;
    let signer = Arc::new(signer);
    // One by one first: some servers fail when two keys make one folder.
    let each = (keys / FOLDERS).max(1);
    let firsts = move |_, n| key(n * each, keys);
    put(server, 1, FOLDERS, Arc::clone(&signer), firsts).await?;
    let every = move |connection: usize, n: u64| key(connection as u64 + n * AT_ONCE as u64, keys);
    put(server, AT_ONCE, keys / AT_ONCE as u64, signer, every).await
}

/// Puts a byte under each of these keys.
async fn put(
    server: &Server,
    connections: usize,
    requests: u64,
    signer: Arc<Signer>,
    key: impl Fn(usize, u64) -> String + Send + Sync + 'static,
) -> Result<()> {
    let script: Script = Arc::new(move |connection, n| {
        let path = format!("/many/{}", key(connection, n));
        let head = signer.head("PUT", &path, "");
        Request::with_body(&head, Bytes::from_static(b"x"), 1)
    });
    let until = Until::Requests(requests);
    load::run(server.address, connections, until, script)
        .await
        .context("furnishing the keys to be listed")?;
    Ok(())
}

/// Every row.
pub async fn rows(pace: Pace, ours: &Server, peers: &[Peer]) -> Result<()> {
    if !pace.wants("list") {
        return Ok(());
    }
    furnish(pace, ours).await?;
    // Half a bucket is listed fast: the column of who failed stays empty.
    let mut furnished = Vec::new();
    for peer in peers {
        if peer.is_variant {
            furnished.push(false);
            continue;
        }
        let done = furnish(pace, &peer.server).await;
        if let Err(error) = &done {
            println!(
                "  {:<34}SKIPPED: {} failed: {error:#}",
                "listings", peer.name
            );
        }
        furnished.push(done.is_ok());
    }
    let keys = pace.listed_keys;
    let cases: [(&str, Scripts); 3] = [
        (
            "page of 1,000",
            Box::new(move |signer, _| {
                Arc::new(move |connection, n| {
                    let at = (connection as u64 * 37 + n * 7919) % keys;
                    let after = key(at, keys).replace('/', "%2F");
                    let query = format!("list-type=2&max-keys=1000&start-after={after}");
                    Request::of(signer.head("GET", "/many", &query))
                })
            }),
        ),
        (
            "its 100 folders",
            Box::new(|signer, _| {
                let query = "delimiter=%2F&list-type=2&max-keys=1000";
                let head = signer.head("GET", "/many", query);
                Arc::new(move |_, _| Request::of(head.clone()))
            }),
        ),
        (
            "one folder",
            Box::new(|signer, _| {
                Arc::new(move |connection, n| {
                    let folder = (connection as u64 * 31 + n) % FOLDERS;
                    let query =
                        format!("delimiter=%2F&list-type=2&max-keys=1000&prefix=d{folder:03}%2F");
                    Request::of(signer.head("GET", "/many", &query))
                })
            }),
        ),
    ];
    for (name, scripts) in &cases {
        let name = format!("list {keys}: {name}");
        let case = Case::new(name, Per::Request, CONNECTIONS);
        let side = |name, server| Side {
            name,
            server,
            script: Box::new(move |round| scripts(Signer::new(&Server::host(server)), round)),
        };
        let peers = peers.iter().zip(&furnished);
        let peers = peers.map(|(peer, furnished)| furnished.then(|| side(peer.name, &peer.server)));
        case.compare_some(pace, side("ours", ours), peers.collect())
            .await?;
    }
    Ok(())
}
