//! Uploads and downloads that are cut, stopped, forgotten, falsified and changed under way.

use crate::{network::Way, stage::Stage};
use nebula_client::{
    Client, Error, download,
    transfer::{Step, Unwatched, Verified},
    upload,
};
use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

#[tokio::test]
async fn a_file_arrives_whole_and_is_not_sent_twice() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(3_500_000);
    let pushed = stage.push(&path).await.unwrap();
    assert_eq!(pushed.verified, Verified::Hash);
    assert_eq!(pushed.sent_bytes, 3_500_000);
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
    assert_eq!(stage.states(), 0);
    let again = stage.push(&path).await.unwrap();
    assert!(again.was_there && again.sent_bytes == 0);
    assert_eq!(stage.node.with(|n| n.begun), 1);
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let stage = Stage::set().await;
    let (path, _) = stage.file(0);
    stage.push(&path).await.unwrap();
    assert_eq!(stage.node.content("film.mp4").unwrap(), b"");
}

#[tokio::test]
async fn cut_connections_cost_no_more_than_what_was_under_way() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(5_000_000);
    stage
        .network
        .cut_after(Way::ToNode, &[700_000, 300_000, 1_500_000, 20_000]);
    let pushed = stage.push(&path).await.unwrap();
    assert_eq!(stage.network.cuts_left(), 0);
    assert_eq!(pushed.verified, Verified::Hash);
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
    // The node kept every byte it got, and none of them came again.
    assert_eq!(stage.node.with(|n| n.received_bytes), 5_000_000);
    assert_eq!(stage.node.with(|n| n.begun), 1);
}

#[tokio::test]
async fn a_lost_answer_is_no_lost_upload() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(900_000);
    // The second answer on the wire is that of the creation; what follows is cut at once.
    stage.network.cut_after(Way::FromNode, &[800, 1]);
    let pushed = stage.push(&path).await.unwrap();
    assert_eq!(pushed.verified, Verified::Hash);
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
}

#[tokio::test]
async fn a_node_that_is_away_is_waited_for() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(2_000_000);
    stage.network.cut_after(Way::ToNode, &[900_000]);
    let network = stage.network.clone();
    let away = Arc::new(Mutex::new(false));
    let seen = Arc::clone(&away);
    let watch = move |step: Step| {
        let mut away = seen.lock().unwrap();
        if matches!(step, Step::Waiting { .. }) && !*away {
            *away = true;
            network.set_down(true);
        }
    };
    let back = stage.network.clone();
    let returns = tokio::spawn(async move {
        back.turned_away(3).await;
        back.set_down(false);
    });
    let options = stage.options();
    let pushed = upload::push(&stage.client, &path, "films", "film.mp4", &options, &watch);
    assert_eq!(pushed.await.unwrap().verified, Verified::Hash);
    returns.await.unwrap();
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
}

#[tokio::test]
async fn a_dropped_push_goes_on_with_the_next_call() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(4_000_000);
    stage.push_until(&path, 1 << 20).await;
    let options = stage.options();
    assert_eq!(stage.states(), 1);
    let kept = stage.node.with(|n| n.received_bytes);
    let resumed = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&resumed);
    let watch = move |step: Step| {
        if let Step::Resumed { offset_bytes } = step {
            *seen.lock().unwrap() = Some(offset_bytes);
        }
    };
    let pushed = upload::push(&stage.client, &path, "films", "film.mp4", &options, &watch);
    let pushed = pushed.await.unwrap();
    assert_eq!(pushed.verified, Verified::Hash);
    assert!(resumed.lock().unwrap().is_some_and(|at| at >= 1 << 20));
    assert!(pushed.sent_bytes < 4_000_000 && kept >= 1 << 20);
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
    assert_eq!(stage.node.with(|n| n.begun), 1);
    assert_eq!(stage.states(), 0);
}

#[tokio::test]
async fn a_changed_file_is_never_spliced() {
    let stage = Stage::set().await;
    let (path, _) = stage.file(3_000_000);
    let changed = path.clone();
    let once = Mutex::new(false);
    let watch = move |step: Step| {
        let mut once = once.lock().unwrap();
        if matches!(step, Step::Moved { offset_bytes, .. } if offset_bytes >= 1 << 20) && !*once {
            *once = true;
            fs::write(&changed, vec![7; 3_000_000]).unwrap();
        }
    };
    let options = stage.options();
    let result = upload::push(&stage.client, &path, "films", "film.mp4", &options, &watch).await;
    assert!(
        matches!(result, Err(Error::SourceChanged { .. })),
        "{result:?}"
    );
    assert!(stage.node.content("film.mp4").is_none());
    assert!(stage.node.with(|n| n.uploads.is_empty()));
    let pushed = stage.push(&path).await.unwrap();
    assert_eq!(pushed.sent_bytes, 3_000_000);
    assert_eq!(stage.node.content("film.mp4").unwrap(), vec![7; 3_000_000]);
}

#[tokio::test]
async fn a_forgotten_upload_begins_anew() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(3_000_000);
    stage.node.with(|n| n.forget_after_bytes = Some(1_500_000));
    let pushed = stage.push(&path).await.unwrap();
    assert_eq!(pushed.verified, Verified::Hash);
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
    assert_eq!(stage.node.with(|n| n.begun), 2);
}

#[tokio::test]
async fn falsified_content_is_noticed() {
    let stage = Stage::set().await;
    let (path, _) = stage.file(100_000);
    stage.node.with(|n| n.corrupt = true);
    let result = stage.push(&path).await;
    assert!(matches!(result, Err(Error::Mismatch { .. })), "{result:?}");
}

#[tokio::test]
async fn what_cannot_succeed_is_not_tried_again() {
    let stage = Stage::set().await;
    let (path, _) = stage.file(10);
    let options = stage.options();
    let result = upload::push(&stage.client, &path, "nobody", "k", &options, &Unwatched).await;
    assert!(matches!(result, Err(Error::NotFound(_))), "{result:?}");
    let stranger = Client::new(&stage.network.url(), None).unwrap();
    let result = upload::push(&stranger, &path, "films", "k", &options, &Unwatched).await;
    assert!(
        matches!(result, Err(Error::NeedsLogin { .. })),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_cut_download_goes_on_and_is_verified() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(3_000_000);
    stage.push(&path).await.unwrap();
    stage
        .network
        .cut_after(Way::FromNode, &[400_000, 900_000, 50_000]);
    let to = stage.dir.path().join("here/film.mp4");
    let pulled = download::pull(&stage.client, "films", "film.mp4", None, &to, &Unwatched);
    let pulled = pulled.await.unwrap();
    assert_eq!(stage.network.cuts_left(), 0);
    assert_eq!(pulled.verified, Verified::Hash);
    assert_eq!(fs::read(&to).unwrap(), content);
    // No part is left beside it.
    assert_eq!(fs::read_dir(to.parent().unwrap()).unwrap().count(), 1);
    let again = download::pull(&stage.client, "films", "film.mp4", None, &to, &Unwatched);
    assert!(again.await.unwrap().was_there);
}

#[tokio::test]
async fn a_dropped_download_goes_on_with_the_next_call() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(6_000_000);
    stage.push(&path).await.unwrap();
    let to = stage.dir.path().join("again.mp4");
    stage.pull_until(&to, 3 << 20).await;
    assert!(!to.exists());
    let pulled = download::pull(&stage.client, "films", "film.mp4", None, &to, &Unwatched);
    let pulled = pulled.await.unwrap();
    assert!(
        pulled.received_bytes < 6_000_000,
        "{}",
        pulled.received_bytes
    );
    assert_eq!(fs::read(&to).unwrap(), content);
}

/// How many unfinished files lie beside a destination.
fn parts_beside(to: &Path) -> usize {
    let entries = fs::read_dir(to.parent().unwrap()).unwrap().flatten();
    entries
        .filter(|e| e.file_name().to_string_lossy().contains(".part"))
        .count()
}

#[tokio::test]
async fn a_file_that_changed_without_showing_it_is_never_spliced() {
    let stage = Stage::set().await;
    let (path, mut content) = stage.file(4_000_000);
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    stage.push_until(&path, 2 << 20).await;
    assert_eq!(stage.states(), 1);
    // Same length, same time, same inode: only the bytes tell.
    content[5] ^= 1;
    let file = fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &content[5..6], 5).unwrap();
    file.set_modified(before).unwrap();
    let pushed = stage.push(&path).await.unwrap();
    assert_eq!(pushed.verified, Verified::Hash);
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
    assert_eq!(stage.node.with(|n| n.begun), 2);
    assert!(stage.node.with(|n| n.uploads.len() <= 1), "nothing is left");
}

#[tokio::test]
async fn a_stream_survives_cuts() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(20_000_000);
    stage
        .network
        .cut_after(Way::ToNode, &[3_000_000, 6_000_000, 20_000]);
    let input = fs::File::open(&path).unwrap();
    let options = stage.options();
    let pushed = upload::push_stream(
        &stage.client,
        input,
        Path::new("a pipe"),
        "films",
        "film.mp4",
        &options,
        &Unwatched,
    );
    let pushed = pushed.await.unwrap();
    assert_eq!(stage.network.cuts_left(), 0);
    assert_eq!(pushed.verified, Verified::Hash);
    assert_eq!(stage.node.content("film.mp4").unwrap(), content);
    assert_eq!(stage.node.with(|n| n.received_bytes), 20_000_000);
    assert!(stage.node.with(|n| n.begun) == 1);
}

#[tokio::test]
async fn an_object_that_is_replaced_on_the_way_is_never_spliced() {
    let stage = Stage::set().await;
    let (path, _) = stage.file(6_000_000);
    stage.push(&path).await.unwrap();
    stage.network.cut_after(Way::FromNode, &[2_000_000]);
    let to = stage.dir.path().join("replaced.mp4");
    let other = vec![9; 5_000_000];
    let (node, content) = (stage.node.clone(), other.clone());
    let watch = move |step: Step| {
        if matches!(step, Step::Waiting { .. }) {
            let at = ("films".into(), "film.mp4".into());
            node.with(|n| n.objects.insert(at, content.clone()));
        }
    };
    let pulled = download::pull(&stage.client, "films", "film.mp4", None, &to, &watch);
    assert_eq!(pulled.await.unwrap().verified, Verified::Hash);
    assert_eq!(fs::read(&to).unwrap(), other);
    assert_eq!(parts_beside(&to), 0);
}

#[tokio::test]
async fn a_part_that_the_disk_lost_is_fetched_again() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(6_000_000);
    stage.push(&path).await.unwrap();
    let to = stage.dir.path().join("lost.mp4");
    stage.pull_until(&to, 3 << 20).await;
    let part = fs::read_dir(stage.dir.path()).unwrap().flatten();
    let mut part = part.filter(|e| e.path().extension().is_some_and(|e| e == "part"));
    let part = part.next().unwrap().path();
    // As after a power cut: the line was written, the block was not.
    let file = fs::File::options().write(true).open(part).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0; 5000], 0).unwrap();
    let pulled = download::pull(&stage.client, "films", "film.mp4", None, &to, &Unwatched);
    let pulled = pulled.await.unwrap();
    assert_eq!(pulled.verified, Verified::Hash);
    assert!(pulled.received_bytes < 6_000_000, "{pulled:?}");
    assert_eq!(fs::read(&to).unwrap(), content);
    assert_eq!(parts_beside(&to), 0);
}

#[tokio::test]
async fn an_object_is_written_to_a_stream_over_cuts() {
    let stage = Stage::set().await;
    let (path, content) = stage.file(5_000_000);
    stage.push(&path).await.unwrap();
    stage
        .network
        .cut_after(Way::FromNode, &[1_500_000, 200_000]);
    let to = stage.dir.path().join("stream");
    let output = fs::File::create(&to).unwrap();
    let from = ("films", "film.mp4", None);
    let options = download::Options::default();
    let name = Path::new("a pipe");
    let pulled =
        download::pull_stream(&stage.client, from, output, name, &options, &Unwatched).await;
    assert_eq!(pulled.unwrap().1, Verified::Hash);
    assert_eq!(stage.network.cuts_left(), 0);
    assert_eq!(fs::read(&to).unwrap(), content);
}
