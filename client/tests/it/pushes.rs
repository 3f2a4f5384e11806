//! How a push goes about it: in how many requests and parts, over what it waits, and what it never does.

use crate::{
    network::Way,
    stage::{Hasty, Stage},
};
use axum::http::Method;
use nebula_client::{
    Error,
    backoff::Patience,
    transfer::{Step, Unwatched, Verified},
    upload::{self, Options},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

/// An mp4 whose index comes behind its media, as cameras write them.
fn film_with_its_index_last(stage: &Stage, media: usize, index: usize) -> (PathBuf, Vec<u8>) {
    let (path, mut content) = stage.file(32 + media + index);
    let mut head = |at: usize, length: usize, kind: &[u8; 4]| {
        content[at..at + 4].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
        content[at + 4..at + 8].copy_from_slice(kind);
    };
    head(0, 32, b"ftyp");
    head(32, media, b"mdat");
    head(32 + media, index, b"moov");
    fs::write(&path, &content).unwrap();
    (path, content)
}

#[tokio::test]
async fn a_busy_node_is_asked_again() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(100_000);
    let busy = [Method::GET, Method::POST, Method::POST, Method::GET];
    stage
        .node
        .with(|n| n.refusals = busy.map(|method| (method, 503)).into());
    stage.push(&path).await.unwrap();
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
    assert!(stage.node.with(|n| n.refusals.is_empty()));
}

#[tokio::test]
async fn whatever_passes_is_waited_out() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(4_000_000);
    for status in [408, 409, 423, 429, 500, 502, 503, 504] {
        let refusals = [
            (Method::PATCH, status),
            (Method::HEAD, 503),
            (Method::PATCH, status),
        ];
        stage.node.with(|n| n.refusals.extend(refusals));
        let options = Options {
            patience: Patience::by(Duration::from_mins(15), Arc::new(Hasty::new())),
            even_if_there: true,
            ..stage.options()
        };
        let pushed = upload::push(
            &stage.client,
            &path,
            "films",
            "film.mp4",
            &options,
            &Unwatched,
        );
        let pushed = pushed
            .await
            .unwrap_or_else(|error| panic!("{status}: {error}"));
        assert_eq!(pushed.verified, Verified::Hash);
        assert!(stage.node.with(|n| n.refusals.is_empty()), "{status}");
    }
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
    assert_eq!(stage.states(), 0);
}

#[tokio::test]
async fn a_cut_of_minutes_is_waited_out_and_a_longer_one_leaves_something_to_go_on_with() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(4_000_000);
    let clock = Hasty::new();
    let options = Options {
        patience: Patience::by(Duration::from_mins(15), Arc::new(clock.clone())),
        ..stage.options()
    };
    // It stays away, and the transfer gives up in the end.
    stage.network.cut_after(Way::ToNode, &[1_500_000]);
    let network = stage.network.clone();
    let watch = move |step: Step| {
        if matches!(step, Step::Waiting { .. }) {
            network.set_down(true);
        }
    };
    let push = upload::push(&stage.client, &path, "films", "film.mp4", &options, &watch);
    let given_up = push.await;
    assert!(
        matches!(given_up, Err(Error::Unreachable { .. })),
        "{given_up:?}"
    );
    assert!(
        clock.passed() >= Duration::from_mins(15),
        "{:?}",
        clock.passed()
    );
    assert_eq!(stage.states(), 1);
    let kept = stage.node.with(|n| n.received_bytes);
    assert!(kept > 0);

    // It comes back after some minutes, counted by the clock that the waiting itself moves.
    stage.network.set_down(false);
    stage.network.cut_after(Way::ToNode, &[1_200_000]);
    let before = clock.passed();
    let (network, now) = (stage.network.clone(), clock.clone());
    let watch = move |step: Step| {
        if matches!(step, Step::Waiting { .. }) {
            network.set_down(now.passed() < before + Duration::from_mins(5));
        }
    };
    let push = upload::push(&stage.client, &path, "films", "film.mp4", &options, &watch);
    assert_eq!(push.await.unwrap().verified, Verified::Hash);
    assert!(clock.passed() >= before + Duration::from_mins(5));
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
    assert_eq!(stage.node.with(|n| n.received_bytes), 4_000_000);
    assert_eq!(stage.node.with(|n| n.begun), 1);
}

#[tokio::test]
async fn a_small_file_takes_one_request() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(200_000);
    let before = stage.node.with(|n| n.requests);
    let pushed = stage.push(&path).await.unwrap();
    assert_eq!(pushed.sent_bytes, 200_000);
    // A question before, one after, and the upload between them.
    assert_eq!(stage.node.with(|n| n.requests) - before, 3);
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
    assert_eq!(stage.states(), 0);
}

#[tokio::test]
async fn no_body_is_larger_than_the_node_asks_for() {
    let stage = Stage::set().await;
    stage.node.with(|n| n.body_bytes_max = Some(300_000));
    let (path, content) = stage.file(2_000_000);
    // The node of these tests panics over a longer one.
    assert_eq!(stage.push(&path).await.unwrap().verified, Verified::Hash);
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
    let input = fs::File::open(&path).unwrap();
    let options = stage.options();
    let (from, to) = (Path::new("a pipe"), "stream.mp4");
    let pushed = upload::push_stream(
        &stage.client,
        input,
        from,
        "films",
        to,
        &options,
        &Unwatched,
    );
    assert_eq!(pushed.await.unwrap().verified, Verified::Hash);
    assert_eq!(stage.node.content(to).unwrap(), content);
}

#[tokio::test]
async fn what_got_there_another_way_is_not_sent() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(2_000_000);
    // The claim of its content, and then the upload.
    stage
        .node
        .with(|n| n.refusals = vec![(Method::POST, 503); 2]);
    let options = Options {
        patience: Duration::ZERO.into(),
        ..stage.options()
    };
    let push = upload::push(
        &stage.client,
        &path,
        "films",
        "film.mp4",
        &options,
        &Unwatched,
    );
    assert!(matches!(push.await, Err(Error::Busy { .. })));
    assert_eq!(stage.states(), 1, "what was meant is remembered");
    let at = ("films".into(), "film.mp4".into());
    stage.node.with(|n| n.objects.insert(at, content));
    let pushed = stage.push(&path).await.unwrap();
    assert!(pushed.was_there && pushed.sent_bytes == 0, "{pushed:?}");
    assert_eq!(stage.states(), 0);
}

#[tokio::test]
async fn a_film_with_its_index_last_is_sent_tail_first() {
    let stage = Stage::set().await;
    let (path, content) = film_with_its_index_last(&stage, 9 << 20, 1 << 20);
    let pushed = stage.push(&path).await.unwrap();
    assert_eq!(pushed.verified, Verified::Hash);
    assert_eq!(pushed.sent_bytes, content.len() as u64);
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
    // The cut lies at the whole MiB before the index.
    assert_eq!(stage.node.with(|n| n.lanes.clone()), [9 << 20, 0]);
    assert_eq!(stage.node.with(|n| n.joined.len()), 1);
}

#[tokio::test]
async fn parts_are_joined_before_they_are_there_and_a_silent_change_never_spliced() {
    let stage = Stage::set().await;
    let (path, mut content) = film_with_its_index_last(&stage, 9 << 20, 1 << 20);
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    // The tail is there, and some of the rest.
    stage.push_until(&path, 5 << 20).await;
    assert_eq!(
        stage.node.with(|n| n.joined.len()),
        1,
        "it can be read already"
    );
    assert_eq!(stage.node.with(|n| n.lanes.clone()), [9 << 20, 0]);
    content[100] ^= 1;
    let file = fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &content[100..101], 100).unwrap();
    file.set_modified(before).unwrap();
    let node = stage.node.clone();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let watch = move |step: Step| {
        if step == Step::StartedAnew {
            let spliced = node.content("film.mp4");
            told.lock().unwrap().push(spliced.is_none());
        }
    };
    let options = stage.options();
    let push = upload::push(&stage.client, &path, "films", "film.mp4", &options, &watch);
    assert_eq!(push.await.unwrap().verified, Verified::Hash);
    assert_eq!(
        *seen.lock().unwrap(),
        [true],
        "noticed, and before the last byte"
    );
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
    assert_eq!(stage.states(), 0);
}

#[tokio::test]
async fn cut_parts_go_on_each_where_it_was() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(70 << 20);
    stage
        .network
        .cut_after(Way::ToNode, &[3_000_000, 800_000, 1_000]);
    let options = Options {
        patch_bytes: 64 << 20,
        ..stage.options()
    };
    let pushed = upload::push(
        &stage.client,
        &path,
        "films",
        "film.mp4",
        &options,
        &Unwatched,
    );
    let pushed = pushed.await.unwrap();
    assert_eq!(stage.network.cuts_left(), 0);
    assert_eq!(pushed.verified, Verified::Hash);
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
    assert_eq!(stage.node.with(|n| n.received_bytes), 70 << 20);
    assert_eq!(stage.states(), 0);
}
