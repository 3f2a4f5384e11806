//! The index is what the packets are.

use std::path::Path;

use nebula_hwaccel::index::{Copyable, TrackKind};
use nebula_hwaccel::protocol::{Failure, Job};

use crate::films;
use crate::worker::{Bytes, Said, Worker, index};

/// Compares each table with what ffprobe lists, and each contiguous sample with the film's bytes.
fn compare(path: &Path, said: &Said) {
    let media = said.media();
    for (track, table) in media.facts.tracks.iter().zip(&media.tables) {
        let stream = track.id.to_string();
        let rows = films::ffprobe(
            path,
            &[
                "-select_streams",
                &stream,
                "-show_entries",
                "packet=pts,dts,size,pos,flags",
            ],
        );
        assert_eq!(
            rows.len(),
            table.len(),
            "{} track {stream}: number of packets",
            path.display()
        );
        for (at, (row, sample)) in rows.iter().zip(table).enumerate() {
            let name = format!(
                "{} track {stream} packet {at} {row:?} {sample:?}",
                path.display()
            );
            // What is gathered is served in another form than it lies there, and so in another size.
            if track.copyable != Copyable::Gathered {
                assert_eq!(row[2], sample.size.to_string(), "size of {name}");
            }
            if row[0] != "N/A" {
                assert_eq!(row[0], sample.pts().to_string(), "pts of {name}");
            }
            if row[1] != "N/A" {
                assert_eq!(row[1], sample.dts.to_string(), "dts of {name}");
            }
            // Without a table of key samples, libav calls each a key; the index looks into the bitstream.
            if !path.ends_with("mp4__sample_without_stss.mp4") {
                assert_eq!(row[4].starts_with('K'), sample.key, "key of {name}");
            }
        }
        if track.copyable == Copyable::Contiguous {
            assert!(
                !track.sample_entry.is_empty(),
                "{} track {stream} has an entry",
                path.display()
            );
            let length = std::fs::metadata(path).expect("the film").len();
            assert!(
                table
                    .iter()
                    .all(|sample| sample.offset + u64::from(sample.size) <= length)
            );
        }
    }
}

#[test]
fn generated_films_match_their_packets() {
    let folder = tempfile::tempdir().expect("a folder");
    let kinds: &[(&str, &[&str], bool)] = &[
        ("plain.mp4", &[], true),
        ("faststart.mp4", &["-movflags", "+faststart"], true),
        (
            "fragmented.mp4",
            &["-movflags", "+frag_keyframe+empty_moov"],
            true,
        ),
        ("plain.mov", &[], true),
        ("plain.mkv", &[], true),
        (
            "negative.mp4",
            &[
                "-avoid_negative_ts",
                "disabled",
                "-output_ts_offset",
                "-0.5",
            ],
            true,
        ),
        ("plain.ts", &[], false),
        ("plain.flv", &[], true),
        ("plain.avi", &["-bf", "0", "-c:a", "mp3"], false),
    ];
    for (name, more, contiguous) in kinds {
        let path = folder.path().join(name);
        if !films::film(&path, 7, more) {
            return;
        }
        let said = index(&path);
        compare(&path, &said);
        let facts = said.media().facts;
        let seconds = facts.duration_us as f64 / 1e6;
        assert!((6.4..7.2).contains(&seconds), "{name}: {seconds} s");
        let picture = facts
            .tracks
            .iter()
            .find(|track| matches!(track.kind, TrackKind::Video(_)))
            .expect("a picture");
        assert_eq!(
            picture.copyable == Copyable::Contiguous,
            *contiguous,
            "{name}: {:?}",
            picture.copyable
        );
        assert!(
            picture
                .codecs
                .as_deref()
                .is_some_and(|name| name.starts_with("avc1.")),
            "{name}"
        );
        let (jpeg, width, height) = said.poster.expect("a poster");
        assert_eq!(jpeg[..2], [0xff, 0xd8], "{name}");
        assert_eq!((width, height), (640, 360), "{name}");
        assert!(said.progress > 0);
    }
}

#[test]
fn ranges_over_the_socket_give_the_same_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("film.mp4");
    if !films::film(&path, 5, &[]) {
        return;
    }
    let by_fd = index(&path);
    let by_ranges = Worker::spawn(&Bytes::Ranges(&path), Job::Index { poster: true }).finish();
    assert_eq!(by_fd.index, by_ranges.index);
    assert_eq!(by_fd.poster, by_ranges.poster);
}

#[test]
fn other_codecs_get_an_entry() {
    let folder = tempfile::tempdir().expect("a folder");
    let kinds: &[(&str, &[&str], &str, &str)] = &[
        (
            "vp9.webm",
            &[
                "-c:v",
                "libvpx-vp9",
                "-deadline",
                "realtime",
                "-cpu-used",
                "8",
                "-c:a",
                "libopus",
            ],
            "vp09.",
            "opus",
        ),
        ("flac.mkv", &["-c:a", "flac"], "avc1.", "fLaC"),
        ("ac3.mp4", &["-c:a", "ac3"], "avc1.", "ac-3"),
        ("eac3.mp4", &["-c:a", "eac3"], "avc1.", "ec-3"),
        ("mp3.mp4", &["-c:a", "libmp3lame"], "avc1.", "mp4a.6B"),
        (
            "hevc.mp4",
            &[
                "-c:v",
                "libx265",
                "-x265-params",
                "log-level=none",
                "-tag:v",
                "hvc1",
            ],
            "hvc1.",
            "mp4a.40.2",
        ),
    ];
    for (name, more, video, audio) in kinds {
        let path = folder.path().join(name);
        if !films::film(&path, 2, more) {
            return;
        }
        let said = index(&path);
        compare(&path, &said);
        for track in said.media().facts.tracks {
            let expected = if matches!(track.kind, TrackKind::Video(_)) {
                video
            } else {
                audio
            };
            assert!(
                track.codecs.as_deref().unwrap_or("").starts_with(expected),
                "{name}: {:?}",
                track.codecs
            );
            assert_eq!(
                track.copyable,
                Copyable::Contiguous,
                "{name} {}",
                track.codec
            );
        }
    }
}

#[test]
fn every_real_film_is_indexed_or_refused_with_a_reason() {
    let Some(folder) = films::samples() else {
        return;
    };
    let mut films: Vec<_> = std::fs::read_dir(folder)
        .expect("the films")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    films.retain(|path| path.extension().is_none_or(|extension| extension != "md"));
    films.sort();
    for path in films {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let said = index(&path);
        if let Some((reason, detail)) = &said.failed {
            println!("{name}: {reason:?}: {detail}");
            assert!(
                name.contains("clearkey") || name.contains("malformed_free_box"),
                "{name}: {reason:?} {detail}"
            );
            assert!(matches!(reason, Failure::NotMedia | Failure::Encrypted));
            continue;
        }
        let media = said.media();
        let bytes = said.index.as_ref().map_or(0, Vec::len);
        let samples: usize = media.tables.iter().map(Vec::len).sum();
        println!(
            "{name}: {} {:.2} s, {samples} samples in {bytes} B, notes {:?}",
            media.facts.container,
            media.facts.duration_us as f64 / 1e6,
            media.facts.notes
        );
        for track in &media.facts.tracks {
            println!(
                "   {} {} {:?} {:?} {:?}",
                track.id, track.codec, track.codecs, track.copyable, track.kind
            );
        }
        let pictured = media
            .facts
            .tracks
            .iter()
            .any(|track| matches!(track.kind, TrackKind::Video(_)));
        assert_eq!(
            said.poster.is_some(),
            pictured,
            "{name}: a poster where there is a picture; {:?}",
            said.done
        );
        if !name.contains("mdat_too_long") && !name.contains("missing_stsd") {
            compare(&path, &said);
        }
    }
}
