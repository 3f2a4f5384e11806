//! A check beside work that goes on.

use super::*;
use crate::catalog::{BlobRow, BlobState};

/// Objects that come and go while it looks.
const CHANGES: usize = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_takes_no_change_for_damage() {
    let house = House::new().await;
    let store = house.store.clone();
    store.create_bucket(&bucket(), "me").await.unwrap();
    let busy = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 0..CHANGES {
                // Another file each time, and the end of the one before.
                put(&store, "busy", &noise(40_000, number as u8)).await;
            }
        }
    });
    let mut looks = 0;
    while !busy.is_finished() {
        let findings = store.fsck(false).await.unwrap().findings;
        let damage: Vec<_> = findings.iter().filter(|one| !one.is_harmless()).collect();
        assert!(damage.is_empty(), "look {looks}: {damage:?}");
        looks += 1;
    }
    busy.await.unwrap();
    assert!(looks > 0);

    // What is really gone is found all the same.
    let blobs = store.catalog().blobs_after("", 500).await.unwrap();
    // Those of replaced objects go behind the answers.
    let is_live = |row: &&BlobRow| row.state().unwrap() == BlobState::Live;
    let row = blobs.iter().find(is_live).unwrap();
    store.blobs().remove(row.id().unwrap()).await.unwrap();
    let findings = store.fsck(false).await.unwrap().findings;
    let blob = row.id().unwrap();
    assert!(
        findings.contains(&Finding::MissingFile { blob }),
        "{findings:?}"
    );
}
