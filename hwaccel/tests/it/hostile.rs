//! Bytes that are no film, or only a part of one.

use std::path::{Path, PathBuf};

use nebula_hwaccel::protocol::{Failure, FromWorker, Job, ReadReply, ToWorker};

use crate::films;
use crate::worker::{Bytes, Worker, index};

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("room");
    path
}

#[test]
fn what_is_no_film_is_refused_with_a_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "This is a text, not a film.\n".repeat(500);
    let table: &[(&str, &[u8], Failure)] = &[
        ("empty.mp4", b"", Failure::Empty),
        ("text.mp4", text.as_bytes(), Failure::NotMedia),
        ("one.mp4", b"x", Failure::NotMedia),
        (
            "playlist.m3u8",
            b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
            Failure::NotMedia,
        ),
        (
            "concat.txt",
            b"ffconcat version 1.0\nfile /etc/passwd\n",
            Failure::NotMedia,
        ),
        (
            "boxes.mp4",
            b"\0\0\0\x18ftypisom\0\0\0\0isommp42\xff\xff\xff\xffmoov",
            Failure::NoPlayableTrack,
        ),
    ];
    for (name, bytes, expected) in table {
        let said = index(&write(folder.path(), name, bytes));
        let (reason, detail) = said.failed.expect("refused");
        assert_eq!(reason, *expected, "{name}: {detail}");
        assert!(!detail.is_empty());
    }
}

#[test]
fn a_cut_film_gives_a_shorter_index_or_a_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = folder.path().join("whole.mp4");
    if !films::film(&whole, 6, &["-movflags", "+faststart"]) {
        return;
    }
    let bytes = std::fs::read(&whole).expect("just made");
    let said = index(&write(folder.path(), "half.mp4", &bytes[..bytes.len() / 2]));
    let media = said.media();
    assert!(
        media.facts.duration_us < 5_000_000,
        "{}",
        media.facts.duration_us
    );
    assert!(
        media
            .facts
            .notes
            .iter()
            .any(|note| note.contains("ends after")),
        "{:?}",
        media.facts.notes
    );
    for length in [40, 400, 2000] {
        let said = index(&write(folder.path(), "start.mp4", &bytes[..length]));
        assert!(said.failed.is_some(), "{length} bytes");
    }
}

#[test]
fn mangled_films_never_crash_the_worker() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["film.mp4", "film.mkv", "film.ts"] {
        let whole = folder.path().join(name);
        if !films::film(&whole, 2, &[]) {
            return;
        }
        let bytes = std::fs::read(&whole).expect("just made");
        let mut state = 7u64;
        for round in 0..12 {
            let mut bytes = bytes.clone();
            for _ in 0..60 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let place = (state >> 33) as usize % bytes.len();
                bytes[place] = (state >> 20) as u8;
            }
            // finish() demands that an end was told: a crash would be none.
            let said = index(&write(folder.path(), &format!("{round}-{name}"), &bytes));
            assert!(said.index.is_some() || said.failed.is_some());
        }
    }
}

#[test]
fn a_daemon_that_cannot_read_or_lies_fails_the_job() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), "film.mp4", &[0; 5000]);
    for reply in [
        ReadReply::Failed {
            detail: "the disk is gone".into(),
        },
        ReadReply::Bytes {
            offset: 99,
            data: vec![0; 10],
        },
        ReadReply::Bytes {
            offset: 0,
            data: vec![],
        },
    ] {
        let mut worker = Worker::spawn(&Bytes::Ranges(&path), Job::Index { poster: false });
        loop {
            match worker.hear().expect("it goes on") {
                FromWorker::ReadRange { .. } => worker.say(&ToWorker::Read(reply.clone())),
                FromWorker::Failed {
                    reason,
                    retryable,
                    detail,
                } => {
                    assert_eq!(reason, Failure::Read, "{detail}");
                    assert!(retryable);
                    break;
                }
                FromWorker::Done(_) => panic!("it cannot be done"),
                _ => {}
            }
        }
    }
}

#[test]
fn cancelling_while_it_waits_for_bytes_is_quick() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = write(folder.path(), "film.mp4", &[0; 5000]);
    let mut worker = Worker::spawn(&Bytes::Ranges(&path), Job::Index { poster: false });
    while !matches!(
        worker.hear().expect("it asks"),
        FromWorker::ReadRange { .. }
    ) {}
    let took = worker.cancel();
    assert!(took.as_millis() < 1000, "{took:?}");
}
