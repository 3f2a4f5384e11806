//! Renditions: decodable, cut where they should be, at the source's times, and always the same bytes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nebula_hwaccel::index::{MediaIndex, Rational, Sample, TrackKind};
use nebula_hwaccel::protocol::{
    Acceleration, AudioSpec, Failure, FromWorker, Job, LadderSpec, Preset, RungKind, RungSpec,
};

use crate::films;
use crate::worker::{Bytes, Said, Worker, index};

/// A ladder as the daemon asks for it: cuts at key pictures at least `every_s` apart.
pub fn spec(media: &MediaIndex, heights: &[u32], every_s: f64) -> LadderSpec {
    let tracks = || media.facts.tracks.iter().zip(&media.tables);
    let picture = tracks().find(|(track, _)| matches!(track.kind, TrackKind::Video(_)));
    let sound = tracks().find(|(track, _)| matches!(track.kind, TrackKind::Audio(_)));
    let (track, table) = picture.or(sound).expect("something to play");
    let end = track.start_ticks + track.duration_ticks as i64;
    let mut cuts = vec![track.start_ticks];
    let mut keys: Vec<i64> = table
        .iter()
        .filter(|sample| sample.key)
        .map(Sample::pts)
        .collect();
    keys.sort_unstable();
    for key in keys {
        let since_s = (key - cuts[cuts.len() - 1]) as f64 * track.time_base.as_f64();
        if since_s >= every_s && key < end {
            cuts.push(key);
        }
    }
    cuts.push(end);
    let rung = |height: &u32| RungSpec {
        name: format!("{height}p"),
        height: *height,
        bitrate_bps_max: 1_000_000,
    };
    LadderSpec {
        video_track: picture.map(|(track, _)| track.id),
        rungs: if picture.is_some() {
            heights.iter().map(rung).collect()
        } else {
            Vec::new()
        },
        audio: sound.map(|(track, _)| AudioSpec {
            name: "audio".into(),
            track: track.id,
            bitrate_bps: 128_000,
        }),
        time_base: track.time_base,
        origin: cuts[0],
        cuts,
        first_segment: 0,
        acceleration: Acceleration::Software,
        preset: Preset::Superfast,
        encoder_threads: 1,
    }
}

fn encode(path: &Path, spec: &LadderSpec) -> Said {
    let said = Worker::spawn(&Bytes::Fd(path), Job::Ladder(spec.clone())).finish();
    assert!(said.done.is_some(), "{}: {:?}", path.display(), said.failed);
    said
}

/// Init and segments of each rung as one file.
fn join(folder: &Path, said: &Said) -> BTreeMap<String, PathBuf> {
    let mut files = BTreeMap::new();
    for init in &said.inits {
        assert_eq!(init.init_number, 0, "one init for all chunks");
        let mut bytes = init.bytes.clone();
        for segment in said
            .segments
            .iter()
            .filter(|segment| segment.rung == init.rung)
        {
            bytes.extend_from_slice(&segment.bytes);
        }
        let path = folder.join(format!("{}.mp4", init.rung));
        std::fs::write(&path, bytes).expect("room");
        files.insert(init.rung.clone(), path);
    }
    files
}

/// Presentation times of the frames, in ticks of the file.
fn frame_times(path: &Path) -> Vec<i64> {
    let rows = films::ffprobe(
        path,
        &[
            "-select_streams",
            "v:0",
            "-show_entries",
            "frame=best_effort_timestamp",
        ],
    );
    rows.iter().filter_map(|row| row[0].parse().ok()).collect()
}

/// Everything that must hold of a ladder.
pub fn examine(path: &Path, spec: &LadderSpec, said: &Said, folder: &Path) {
    let name = path
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let total = spec.cuts.len() - 1;
    for (rung, file) in join(folder, said) {
        let init = said
            .inits
            .iter()
            .find(|init| init.rung == rung)
            .expect("an init");
        // The output may be finer than the film's clock.
        let fine = i64::from(init.timescale / spec.time_base.den.min(init.timescale));
        let ticks = |pts: i64| (pts - spec.origin) * i64::from(spec.time_base.num) * fine;
        let segments: Vec<_> = said
            .segments
            .iter()
            .filter(|segment| segment.rung == rung)
            .collect();
        assert_eq!(segments.len(), total, "{name} {rung}: number of segments");
        assert!(
            segments
                .iter()
                .enumerate()
                .all(|(at, segment)| segment.number as usize == at),
            "in order"
        );
        // Decodes from end to end without a complaint.
        films::ffprobe(
            &file,
            &["-count_frames", "-show_entries", "stream=nb_read_frames"],
        );
        match init.kind {
            RungKind::Video { width, height, .. } => {
                let rows = films::ffprobe(
                    &file,
                    &["-show_entries", "stream=width,height,pix_fmt,profile,level"],
                );
                let [profile, w, h, format, level] = rows[0].as_slice() else {
                    panic!("{rows:?}")
                };
                assert_eq!((w, h), (&width.to_string(), &height.to_string()), "{name}");
                assert_eq!(format, "yuv420p", "{name}");
                assert_eq!(profile, "High");
                let level: u8 = level.parse().expect("a level");
                assert_eq!(init.codecs, format!("avc1.6400{level:02x}"), "{name}");
                let got = frame_times(&file);
                let mut expected: Vec<i64> = frame_times(path).into_iter().map(ticks).collect();
                expected.retain(|time| (0..ticks(spec.cuts[total])).contains(time));
                expected.dedup();
                assert_eq!(got, expected, "{name} {rung}: frame times are the source's");
                for (at, segment) in segments.iter().enumerate() {
                    assert_eq!(
                        segment.start_ticks as i64,
                        ticks(spec.cuts[at]),
                        "{name} {rung} segment {at}"
                    );
                    assert_eq!(
                        segment.start_ticks + segment.duration_ticks,
                        ticks(spec.cuts[at + 1]) as u64,
                        "{name} {rung} segment {at} ends at the next cut"
                    );
                }
            }
            RungKind::Audio { sample_rate, .. } => {
                assert_eq!(init.codecs, "mp4a.40.2");
                let mut at = 0;
                for segment in &segments {
                    let cut = spec.time_base.rescale(
                        spec.cuts[segment.number as usize] - spec.origin,
                        sample_rate,
                    );
                    if segment.duration_ticks > 0 {
                        assert_eq!(segment.start_ticks, at, "{name}: sound has no gaps");
                        assert!(
                            (0..1024).contains(&(at as i64 - cut)),
                            "{name}: sound is cut at {at}, not {cut}"
                        );
                    }
                    at += segment.duration_ticks;
                }
                let end = spec
                    .time_base
                    .rescale(spec.cuts[total] - spec.origin, sample_rate);
                assert!(
                    (0..1024).contains(&(at as i64 - end)),
                    "{name}: sound ends at {at} of {end}"
                );
            }
        }
    }
}

#[test]
fn a_ladder_is_what_it_should_be_and_always_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("film.mp4");
    // More than one chunk, so that a fresh encoder takes over in mid-film.
    if !films::film(&path, 95, &[]) {
        return;
    }
    let spec = spec(&index(&path).media(), &[240, 144], 4.0);
    assert!(spec.cuts.len() > 20);
    let once = encode(&path, &spec);
    examine(&path, &spec, &once, folder.path());
    let progress = once.progress;
    assert!(progress > 0, "progress is told");

    let sorted = |said: &Said, from: u32| {
        let mut all: Vec<_> = said
            .segments
            .iter()
            .filter(|segment| segment.number >= from)
            .map(|segment| (segment.rung.clone(), segment.number, segment.bytes.clone()))
            .collect();
        all.sort();
        all
    };
    let by_ranges = Worker::spawn(&Bytes::Ranges(&path), Job::Ladder(spec.clone())).finish();
    assert!(
        sorted(&once, 0) == sorted(&by_ranges, 0),
        "two runs give the same bytes"
    );

    let resumed = encode(
        &path,
        &LadderSpec {
            first_segment: 13,
            ..spec.clone()
        },
    );
    assert_eq!(
        resumed.segments.iter().map(|segment| segment.number).min(),
        Some(13)
    );
    assert!(
        sorted(&once, 13) == sorted(&resumed, 13),
        "a resumed job gives the same bytes"
    );
}

#[test]
fn odd_films_become_sane_ladders() {
    let folder = tempfile::tempdir().expect("a folder");
    let kinds: &[(&str, &[&str])] = &[
        ("film.mkv", &[]),
        ("film.ts", &[]),
        ("wide.mp4", &["-vf", "setsar=4/3"]),
        (
            "odd.mkv",
            &[
                "-vf",
                "scale=639:359",
                "-pix_fmt",
                "yuv444p",
                "-c:v",
                "libx264",
            ],
        ),
        ("ten.mp4", &["-pix_fmt", "yuv420p10le"]),
        (
            "late-sound.mkv",
            &["-af", "adelay=3000:all=1", "-ac", "6", "-c:a", "ac3"],
        ),
        (
            "vfr.mkv",
            &[
                "-vf",
                "select='not(mod(n,7))+not(mod(n,3))'",
                "-vsync",
                "vfr",
            ],
        ),
        ("shifted.ts", &["-output_ts_offset", "1000"]),
        (
            "open-gop.mp4",
            &["-x264-params", "open-gop=1:keyint=36:bframes=3"],
        ),
    ];
    for (name, more) in kinds {
        let path = folder.path().join(name);
        if !films::film(&path, 9, more) {
            return;
        }
        let spec = spec(&index(&path).media(), &[240], 2.0);
        let said = encode(&path, &spec);
        examine(&path, &spec, &said, folder.path());
    }
}

#[test]
fn turned_and_high_dynamic_range_films_are_shown_upright_and_plain() {
    let Some(samples) = films::samples() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let table = [
        (
            "mp4__internal_emulator_transformer_output_270_rotated.mp4",
            480,
            (480, 854),
        ),
        ("mp4__hdr10-av1.mp4", 240, (240, 426)),
        ("mp4__sample_edit_list.mp4", 240, (240, 426)),
        (
            "mp4__bbb_800x640_768kbps_30fps_avc_pyramid_3b.mp4",
            360,
            (640, 360),
        ),
        ("bigbuckbunny_720p_5s.mp4", 360, (640, 360)),
    ];
    for (name, height, expected) in table {
        let path = samples.join(name);
        if !path.exists() {
            println!("SKIPPED: {name} is not there");
            continue;
        }
        let spec = spec(&index(&path).media(), &[height], 2.0);
        let said = encode(&path, &spec);
        examine(&path, &spec, &said, folder.path());
        let sizes: Vec<_> = said
            .inits
            .iter()
            .filter_map(|init| match init.kind {
                RungKind::Video { width, height, .. } => Some((width, height)),
                RungKind::Audio { .. } => None,
            })
            .collect();
        assert!(
            sizes[0].0.abs_diff(expected.0) <= 2 && sizes[0].1.abs_diff(expected.1) <= 2,
            "{name}: {sizes:?}"
        );
    }
}

#[test]
fn sound_alone_is_a_ladder_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("song.flac");
    if !films::ffmpeg(
        &[
            "-f",
            "lavfi",
            "-i",
            "sine=frequency=440:sample_rate=44100",
            "-t",
            "9",
        ],
        &path,
    ) {
        return;
    }
    let spec = spec(&index(&path).media(), &[], 4.0);
    let said = encode(&path, &spec);
    assert!(said.inits.iter().all(|init| init.rung == "audio"));
    examine(&path, &spec, &said, folder.path());
}

#[test]
fn a_ladder_is_cancelled_within_a_second() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("film.mp4");
    if !films::film(&path, 60, &["-s", "1280x720"]) {
        return;
    }
    let spec = spec(&index(&path).media(), &[720, 480], 4.0);
    let mut worker = Worker::spawn(&Bytes::Fd(&path), Job::Ladder(spec));
    while !matches!(worker.hear().expect("it works"), FromWorker::Segment(_)) {}
    let took = worker.cancel();
    println!("cancelled within {took:?}");
    assert!(took.as_millis() < 1000, "{took:?}");
}

#[test]
fn a_job_that_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("film.mp4");
    if !films::film(&path, 2, &[]) {
        return;
    }
    let good = spec(&index(&path).media(), &[240], 1.0);
    let bad = [
        LadderSpec {
            cuts: vec![0],
            ..good.clone()
        },
        LadderSpec {
            cuts: vec![5, 5],
            ..good.clone()
        },
        LadderSpec {
            cuts: vec![i64::MIN, i64::MAX],
            origin: i64::MIN,
            ..good.clone()
        },
        LadderSpec {
            origin: i64::MAX,
            ..good.clone()
        },
        LadderSpec {
            video_track: Some(40),
            ..good.clone()
        },
        LadderSpec {
            time_base: Rational::new(0, 0),
            ..good.clone()
        },
        LadderSpec {
            time_base: Rational::new(1, 7),
            ..good.clone()
        },
        LadderSpec {
            rungs: Vec::new(),
            ..good.clone()
        },
        LadderSpec {
            first_segment: 999,
            ..good.clone()
        },
        LadderSpec {
            rungs: vec![RungSpec {
                name: "4320p".into(),
                height: 4320,
                bitrate_bps_max: 1,
            }],
            ..good.clone()
        },
    ];
    for spec in bad {
        let said = Worker::spawn(&Bytes::Fd(&path), Job::Ladder(spec.clone())).finish();
        assert_eq!(
            said.failed.as_ref().map(|(reason, _)| *reason),
            Some(Failure::BadRequest),
            "{spec:?} {:?}",
            said.failed
        );
    }
}
