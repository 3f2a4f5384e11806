use proptest::prelude::*;

use super::*;

fn track(id: u32) -> TrackFacts {
    TrackFacts {
        id,
        kind: TrackKind::Video(VideoFacts {
            width: 1280,
            height: 720,
            ..VideoFacts::default()
        }),
        codec: "h264".into(),
        codecs: Some("avc1.64001f".into()),
        time_base: Rational::new(1, 90_000),
        start_ticks: 0,
        duration_ticks: 0,
        bitrate_bps: 0,
        language: Some("eng".into()),
        title: None,
        default: true,
        forced: false,
        config: vec![1, 2, 3],
        sample_entry: Vec::new(),
        copyable: Copyable::Contiguous,
    }
}

fn index(tables: Vec<Vec<Sample>>) -> MediaIndex {
    let tracks = (0..tables.len() as u32).map(track).collect();
    MediaIndex {
        facts: MediaFacts {
            container: "mp4".into(),
            tracks,
            ..MediaFacts::default()
        },
        tables,
        layouts: Vec::new(),
    }
}

fn sample() -> impl Strategy<Value = Sample> {
    (
        0..1u64 << 50,
        -1_000_000i64..1 << 50,
        any::<u32>(),
        any::<u32>(),
        any::<i32>(),
        any::<bool>(),
    )
        .prop_map(|(offset, dts, size, duration, composition, key)| Sample {
            offset,
            dts,
            size,
            duration,
            composition,
            key,
        })
}

/// A film as encoders make them: B-frames, a key every two seconds, sound between the pictures.
fn film(minutes: usize) -> MediaIndex {
    let mut state = 1u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 16
    };
    let (mut video, mut audio, mut offset) = (Vec::new(), Vec::new(), 48u64);
    for second in 0..minutes * 60 {
        for frame in 0..24usize {
            let at = second * 24 + frame;
            let key = at % 48 == 0;
            let size = if key {
                60_000 + random() % 30_000
            } else {
                2_000 + random() % 12_000
            };
            let composition = [2002, 5005, 2002, 0, 1001][at % 5];
            video.push(Sample {
                offset,
                dts: at as i64 * 1001 - 2002,
                size,
                duration: 1001,
                composition,
                key,
            });
            offset += u64::from(size);
        }
        for frame in 0..47usize {
            let size = 300 + random() % 100;
            let dts = (second * 47 + frame) as i64 * 1024;
            audio.push(Sample {
                offset,
                dts,
                size,
                duration: 1024,
                composition: 0,
                key: true,
            });
            offset += u64::from(size);
        }
    }
    index(vec![video, audio])
}

#[test]
fn a_two_hour_film_is_small_and_quick_to_read() {
    let film = film(120);
    let samples: usize = film.tables.iter().map(Vec::len).sum();
    let bytes = encode(&film).expect("within the limits");
    let per_sample = bytes.len() as f64 / samples as f64;
    let started = std::time::Instant::now();
    let back = decode(&bytes).expect("just written");
    let took = started.elapsed();
    assert_eq!(back, film);
    println!(
        "{samples} samples in {} bytes ({per_sample:.2} a sample), read in {took:?}",
        bytes.len()
    );
    assert!(per_sample < 4.0, "{per_sample}");
    assert!(cfg!(debug_assertions) || took.as_millis() < 20, "{took:?}");
}

#[test]
fn the_facts_alone_are_readable() {
    let bytes = encode(&film(1)).expect("within the limits");
    assert_eq!(facts(&bytes).expect("just written").tracks.len(), 2);
}

#[test]
fn foreign_and_cut_bytes_are_refused() {
    assert_eq!(decode(b""), Err(IndexError::Foreign));
    assert_eq!(decode(b"NBIX\x09rest"), Err(IndexError::Foreign));
    let bytes = encode(&film(1)).expect("within the limits");
    for cut in (0..bytes.len()).step_by(7) {
        assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(decode(&longer).is_err());
}

#[test]
fn a_small_input_cannot_ask_for_much_memory() {
    let mut table = Vec::new();
    column::put_unsigned(&mut table, MAX_SAMPLES as u64);
    assert!(table::decode(&table, MAX_SAMPLES).is_err());
}

#[test]
fn times_are_rescaled_to_the_nearest() {
    let base = Rational::new(1001, 24_000);
    assert_eq!(base.micros(24), 1_001_000);
    assert_eq!(base.rescale(-1, 24_000), -1001);
    assert_eq!(Rational::new(1, 3).rescale(1, 1000), 333);
    assert_eq!(Rational::new(1, 1).micros(i64::MAX), i64::MAX);
}

proptest! {
    #[test]
    fn what_is_written_is_read(tables in proptest::collection::vec(proptest::collection::vec(sample(), 0..40), 0..4)) {
        let index = index(tables);
        let bytes = encode(&index).expect("within the limits");
        prop_assert_eq!(decode(&bytes).expect("just written"), index);
    }

    #[test]
    fn hostile_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
        bytes.splice(0..0, *b"NBIX\x01");
        let _ = decode(&bytes);
    }

    #[test]
    fn flipped_bits_never_panic(place in 0usize..20_000, bit in 0u8..8) {
        let mut bytes = encode(&film(1)).expect("within the limits");
        let place = place % bytes.len();
        bytes[place] ^= 1 << bit;
        let _ = decode(&bytes);
    }

    #[test]
    fn hostile_tables_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = table::decode(&bytes, MAX_SAMPLES);
    }
}

/// A track as a transport stream holds it: packets of 184 bytes, other tracks between them, units behind start codes.
fn transport(frames: usize) -> MediaIndex {
    let mut layout = Layout::new(true);
    let (mut packet, mut samples) = (0u64, Vec::new());
    for frame in 0..frames {
        let size = if frame % 50 == 0 {
            40_000
        } else {
            4_000 + frame as u64 % 700
        };
        let (mut left, mut start) = (size, None);
        while left > 0 {
            let room = if start.is_none() { 165 } else { 184 };
            let bytes = left.min(room);
            let at = layout.append(packet * 188 + 188 - bytes, bytes as u32);
            start = start.or(at.ok());
            left -= bytes;
            packet += if packet % 9 == 0 { 2 } else { 1 };
        }
        let start = start.expect("a frame has bytes");
        let units = [start + 4..start + 6, start + 10..start + size];
        let size = layout.sample(&units).expect("inside");
        samples.push(Sample {
            dts: frame as i64 * 3600,
            size,
            duration: 3600,
            key: frame % 50 == 0,
            ..Sample::default()
        });
    }
    let mut index = index(vec![samples]);
    index.facts.tracks[0].copyable = Copyable::Gathered;
    index.layouts = vec![Some(layout)];
    index
}

#[test]
fn a_layout_is_small_and_gives_every_byte_of_its_samples() {
    let media = transport(3000);
    let bytes = encode(&media).expect("within the limits");
    assert_eq!(decode(&bytes).expect("just written"), media);
    let layout = media.layout(0).expect("gathered");
    let packets: u64 = media.tables[0]
        .iter()
        .map(|sample| u64::from(sample.size) / 184)
        .sum();
    println!(
        "{} samples in {packets} packets: {} bytes, {} in memory",
        layout.samples(),
        bytes.len(),
        layout.memory_bytes()
    );
    assert!((bytes.len() as u64) < packets * 2, "{} bytes", bytes.len());
    for (at, sample) in media.tables[0].iter().enumerate() {
        let pieces = layout.pieces(at..at + 1);
        let size: u64 = pieces.iter().map(Piece::size_bytes).sum();
        assert_eq!(size, u64::from(sample.size), "sample {at}");
        assert_eq!(pieces[0], Piece::Length([0, 0, 0, 2]));
    }
    assert!(layout.pieces(3000..3001).is_empty());
    assert!(Layout::default().pieces(0..1).is_empty());
}

#[test]
fn a_layout_that_does_not_fit_its_samples_is_refused() {
    let mut media = transport(20);
    media.tables[0][7].size += 1;
    let bytes = encode(&media).expect("within the limits");
    assert!(matches!(decode(&bytes), Err(IndexError::Damaged(_))));
    let mut layout = Layout::new(false);
    layout.append(50, 10).expect("room");
    assert!(
        layout.sample(std::slice::from_ref(&(5..11))).is_err(),
        "beyond the stream"
    );
    assert!(layout.sample(&[3..5, 4..6]).is_err(), "twice the same byte");
}

#[test]
fn samples_in_one_piece_each_need_no_layout() {
    let mut layout = Layout::new(false);
    for (offset, bytes) in [(100, 20), (120, 30), (900, 17)] {
        let start = layout.append(offset, bytes).expect("room");
        let frame = start + 7..start + u64::from(bytes);
        layout.sample(std::slice::from_ref(&frame)).expect("inside");
    }
    assert_eq!(layout.contiguous(), Some(vec![107, 127, 907]));
    let start = layout.append(960, 10).expect("room");
    layout.append(980, 10).expect("room");
    layout
        .sample(std::slice::from_ref(&(start..start + 20)))
        .expect("inside");
    assert_eq!(layout.contiguous(), None);
}

proptest! {
    #[test]
    fn pieces_give_what_was_appended(
        runs in proptest::collection::vec((0u64..50, 1u32..40, 0u32..9), 1..60),
        cuts in proptest::collection::vec((0u64..9, 0u64..60), 1..30),
        lengths: bool,
    ) {
        let mut layout = Layout::new(lengths);
        // The stream byte by byte, as places in the object.
        let (mut stream, mut at) = (Vec::new(), 0u64);
        for (gap, bytes, repeat) in runs {
            for _ in 0..=repeat {
                at += gap;
                prop_assert_eq!(layout.append(at, bytes).expect("few"), stream.len() as u64);
                stream.extend(at..at + u64::from(bytes));
                at += u64::from(bytes);
            }
        }
        let (mut start, mut wanted) = (0u64, Vec::new());
        for (skip, size) in cuts {
            let from = (start + skip).min(stream.len() as u64);
            let to = (from + size).min(stream.len() as u64);
            layout.sample(std::slice::from_ref(&(from..to))).expect("inside");
            wanted.push(from..to);
            start = to;
        }
        for (sample, range) in wanted.iter().enumerate() {
            let mut found = Vec::new();
            for piece in layout.pieces(sample..sample + 1) {
                if let Piece::Object { offset, bytes, stride, count } = piece {
                    for n in 0..u64::from(count) {
                        let from = offset + n * u64::from(stride);
                        found.extend(from..from + u64::from(bytes));
                    }
                }
            }
            prop_assert_eq!(&found, &stream[range.start as usize..range.end as usize]);
        }
    }

    #[test]
    fn mutated_layouts_never_panic(places in proptest::collection::vec((0usize..5_000, any::<u8>()), 1..6)) {
        let mut bytes = encode(&transport(40)).expect("within the limits");
        let length = bytes.len();
        for (place, value) in places {
            bytes[place % length] = value;
        }
        if let Ok(media) = decode(&bytes)
            && let Some(layout) = media.layout(0)
        {
            let size: u64 = layout.pieces(0..layout.samples()).iter().map(Piece::size_bytes).sum();
            let told: u64 = media.tables[0].iter().map(|sample| u64::from(sample.size)).sum();
            prop_assert_eq!(size, told);
        }
    }
}
