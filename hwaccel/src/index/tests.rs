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
