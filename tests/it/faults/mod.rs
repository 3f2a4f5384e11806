//! Uploads over networks that break at random moments, to a daemon that is killed meanwhile: all of them end, each once.
//!
//! `NEBULA_FAULT_UPLOADS` says how many (some hundreds without it), `NEBULA_SEED` which.

#![expect(clippy::unwrap_used, reason = "tests")]

mod command;
mod library;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nebula_tests::{Appliance, Seed, wait};

/// For all of them.
const LIMIT: Duration = Duration::from_mins(20);
/// The daemon is killed once for about so many that end.
const UPLOADS_PER_KILL: u64 = 60;
/// What one request carries at most: what a fault may cost.
const CHUNK_BYTES: u64 = 256 << 10;
/// What the head of a request may take.
const HEAD_BYTES: u64 = 2048;

/// How many uploads; `few` when nobody says.
fn uploads(few: u64) -> u64 {
    std::env::var("NEBULA_FAULT_UPLOADS").map_or(few, |text| {
        text.parse().expect("NEBULA_FAULT_UPLOADS is a number")
    })
}

/// Kills the daemon now and then until every upload has ended.
async fn kill_now_and_then(
    mut appliance: Appliance,
    mut seed: Seed,
    ended: &AtomicU64,
    kills: &AtomicU64,
    of: u64,
) -> Appliance {
    let mut next = seed.within(1, UPLOADS_PER_KILL);
    while next < of {
        wait::patiently(LIMIT, "some more uploads end", async || {
            ended.load(Ordering::SeqCst) >= next
        })
        .await;
        kills.fetch_add(1, Ordering::SeqCst);
        appliance.kill();
        appliance.restart().await;
        next += seed.within(UPLOADS_PER_KILL / 2, UPLOADS_PER_KILL * 3 / 2);
    }
    appliance
}

/// No upload is open, every row has its file and every file its row, and nothing temporary lies about.
async fn nothing_is_left(appliance: &mut Appliance) {
    let left = appliance.client().all_uploads().await.unwrap();
    assert!(left.is_empty(), "{left:?}");
    // While it runs: a stop may cut off a request that a proxy repeats late, and its file waits for the next start then.
    appliance.fsck(true).await;
    assert!(appliance.stop().await.success());
    let blobs = appliance.data_dir().join("blobs");
    let temporary = std::fs::read_dir(blobs.join("tmp")).unwrap().count();
    assert_eq!(temporary, 0, "no temporary file is left");
}
