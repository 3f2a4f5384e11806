//! kill -9 at random moments, again and again: what was acknowledged is there and whole, what was not is there whole
//! or not at all, nothing is left over, and what was under way goes on to an equal end.
//!
//! `NEBULA_CRASHES` says how often (a small number without it), `NEBULA_SEED` tells the story again.

#![expect(clippy::unwrap_used, reason = "tests")]

mod book;
mod traffic;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nebula_client::api::{CreateBucket, ObjectsQuery};
use nebula_tests::{Appliance, Seed, within};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use book::{Book, Hash};
use traffic::{Field, Parts, Pushing};

/// Without `NEBULA_CRASHES`.
const CRASHES: u64 = 12;
/// For one crash with all that follows, generously.
const LIMIT_EACH: Duration = Duration::from_secs(30);
/// How long traffic flows before a crash.
const MOMENT_MS: (u64, u64) = (15, 900);
/// How many of the keys that no traffic touched are read again after each crash.
const SAMPLE: usize = 8;
/// Writers of small and middling objects at once.
const WRITERS: usize = 3;

fn crashes() -> u64 {
    let chosen = std::env::var("NEBULA_CRASHES").ok();
    chosen.map_or(CRASHES, |text| {
        text.parse().expect("NEBULA_CRASHES is a number")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_daemon_is_killed() {
    let crashes = crashes();
    let limit = LIMIT_EACH * u32::try_from(crashes).unwrap() + Duration::from_mins(1);
    within(limit, story(crashes)).await;
}

async fn story(crashes: u64) {
    let mut seed = Seed::new("crash");
    let mut appliance = Appliance::start().await;
    let films = CreateBucket {
        name: "films".into(),
        ..CreateBucket::default()
    };
    appliance.client().create_bucket(&films).await.unwrap();
    let book = Arc::new(Book::default());
    let mut parts = Parts::new(seed.split());
    let mut pushing = Pushing::new(seed.split());
    let (mut slowest, mut read) = (Duration::ZERO, 0);

    for round in 0..crashes {
        let field = Field {
            s3: appliance.s3(),
            client: appliance.client(),
            book: Arc::clone(&book),
            stop: CancellationToken::new(),
        };
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            writers.spawn(traffic::write(field.clone(), writer, round, seed.split()));
        }
        let parts_flow = tokio::spawn(parts.go_on(field.clone()));
        let push_flow = tokio::spawn(pushing.go_on(field.clone()));
        // Not a wait for anything: the random moment itself.
        let moment = Duration::from_millis(seed.within(MOMENT_MS.0, MOMENT_MS.1));
        tokio::time::sleep(moment).await;
        appliance.kill();
        field.stop.cancel();
        while let Some(writer) = writers.join_next().await {
            writer.unwrap();
        }
        parts = parts_flow.await.unwrap();
        pushing = push_flow.await.unwrap();

        let start = Instant::now();
        appliance.restart().await;
        slowest = slowest.max(start.elapsed());
        read += check(&appliance, &book, Some(&mut seed)).await;
        appliance.fsck(false).await;
    }

    // What was under way at the last crash is brought to its end.
    let field = Field {
        s3: appliance.s3(),
        client: appliance.client(),
        book: Arc::clone(&book),
        stop: CancellationToken::new(),
    };
    let resumed = parts.finish(&field).await + pushing.finish(&field).await;
    read += check(&appliance, &book, None).await;
    // An upload whose creation was never answered is known to nobody but the daemon.
    let client = appliance.client();
    for unanswered in client.all_uploads().await.unwrap() {
        client.delete_upload(&unanswered.id).await.unwrap();
    }
    assert!(client.all_uploads().await.unwrap().is_empty());
    let status = appliance.stop().await;
    assert!(status.success(), "{status}");
    appliance.fsck(true).await;
    nothing_unfinished(&appliance);
    let acknowledged = book.acknowledged();
    println!(
        "{crashes} crashes: {acknowledged} writes acknowledged, {read} objects read back whole, \
         {resumed} resumed to an equal hash, slowest restart {slowest:?}"
    );
}

/// Every key that should be there is, with a content it may have; no other key is there. Gives how many were read.
async fn check(appliance: &Appliance, book: &Book, sample: Option<&mut Seed>) -> usize {
    let there = listed(appliance).await;
    let s3 = appliance.s3();
    let touched = book.touched();
    let keys = match sample {
        None => book.keys(),
        Some(seed) => {
            let all = book.keys();
            let mut keys: BTreeSet<String> = touched;
            if !all.is_empty() {
                for _ in 0..SAMPLE {
                    let at = seed.within(0, all.len() as u64) as usize;
                    keys.extend(all.iter().nth(at).cloned());
                }
            }
            keys
        }
    };
    for key in &there {
        assert!(book.may_exist(key), "{key} is there, and nobody wrote it");
    }
    let mut read = 0;
    for key in keys {
        if !there.contains(&key) {
            book.settle(&key, None);
            continue;
        }
        let answer = s3.get_object().bucket("films").key(&key).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("{key} is listed: {error:?}"));
        let content = answer.body.collect().await;
        let content = content.unwrap_or_else(|error| panic!("{key} ends early: {error:?}"));
        let found: Hash = blake3::hash(&content.into_bytes());
        book.settle(&key, Some(found));
        read += 1;
    }
    read
}

async fn listed(appliance: &Appliance) -> BTreeSet<String> {
    let client = appliance.client();
    let mut query = ObjectsQuery {
        limit: Some(1000),
        ..ObjectsQuery::default()
    };
    let mut keys = BTreeSet::new();
    loop {
        let page = client.objects("films", &query).await.unwrap();
        keys.extend(page.items.into_iter().map(|object| object.key));
        query.cursor = page.next;
        if query.cursor.is_none() {
            return keys;
        }
    }
}

/// After an orderly end no file is unfinished and none is in quarantine.
fn nothing_unfinished(appliance: &Appliance) {
    for folder in ["tmp", "quarantine"] {
        let path = appliance.data_dir().join("blobs").join(folder);
        let left: Vec<_> = std::fs::read_dir(&path).into_iter().flatten().collect();
        assert!(left.is_empty(), "{}: {left:?}", path.display());
    }
}
