//! CMAF (ISO/IEC 23000-19) by hand: sample entries, init segments and media segments of one track each.
//!
//! Written here rather than by a general muxer because three things must hold that muxers make hard:
//! a segment's `tfdt` is exactly its place in the playlist, presentation times need neither an edit list nor negative
//! composition offsets (libav adds their greatest to every time, so that sound and picture part), and the same samples
//! always give the same bytes.

pub mod annexb;
mod entry;
mod segment;

pub use entry::{
    AudioShape, Color, PictureShape, alac, audio_entry, av1c, avcc, dac3, dec3, dfla, dops,
    esds_aac, esds_mp3, hvcc, picture_entry, vpcc,
};
pub use segment::{
    FragmentSample, Track, TrackShape, decode_times, duration_ticks, init, media_segment,
};

/// A box: length, type, and the parts of its payload.
pub(crate) fn boxed(kind: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let length = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(kind);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn track() -> Track {
        let picture = PictureShape {
            width: 640,
            height: 360,
            pixel_aspect: (1, 1),
            color: None,
        };
        Track {
            timescale: 12_800,
            shape: TrackShape::Picture {
                width: 640,
                height: 360,
            },
            sample_entry: picture_entry(b"avc1", &picture, &avcc(&[1, 0x64, 0, 0x1e])),
        }
    }

    #[test]
    fn decoding_never_waits_for_the_future() {
        // I0 P3 B1 B2 P6 B4 B5, 100 ticks a frame, behind a cut at 1000.
        let times = decode_times(1000, vec![1000, 1300, 1100, 1200, 1600, 1400, 1500]);
        assert_eq!(times, [1000, 1050, 1100, 1200, 1300, 1400, 1500]);
        assert_eq!(decode_times(7, vec![]), Vec::<i64>::new());
        assert_eq!(decode_times(7, vec![9]), [7]);
    }

    proptest::proptest! {
        #[test]
        fn decoding_times_rise_and_never_pass_presentation(
            start in 0i64..1000,
            frames in proptest::collection::btree_set(1i64..200, 0..40),
            order in proptest::collection::vec(0usize..40, 40),
        ) {
            // A key picture first, then the others in any order, far enough apart to fit between.
            let mut times: Vec<i64> = frames.into_iter().map(|at| start + at * 1000).collect();
            for (at, to) in order.into_iter().enumerate() {
                if at < times.len() && to < times.len() {
                    times.swap(at, to);
                }
            }
            times.insert(0, start);
            let decode = decode_times(start, times.clone());
            proptest::prop_assert!(decode.is_sorted_by(|a, b| a < b));
            proptest::prop_assert!(decode.iter().zip(&times).all(|(dts, pts)| dts <= pts && *dts >= start));
        }
    }

    #[test]
    fn the_init_segment_is_well_formed() {
        let bytes = init(&track());
        let mut at = 0;
        let mut kinds = Vec::new();
        while at < bytes.len() {
            let length =
                u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
            kinds.push(bytes[at + 4..at + 8].to_vec());
            at += length;
        }
        assert_eq!(at, bytes.len());
        assert_eq!(kinds, [b"ftyp".to_vec(), b"moov".to_vec()]);
    }

    #[test]
    fn a_segment_points_at_its_data() {
        let samples = [
            FragmentSample {
                duration: 512,
                size: 3,
                composition: 0,
                key: true,
            },
            FragmentSample {
                duration: 512,
                size: 2,
                composition: -512,
                key: false,
            },
        ];
        let bytes = media_segment(7, 25_600, &samples, b"abcde");
        assert_eq!(bytes, media_segment(7, 25_600, &samples, b"abcde"));
        assert!(bytes.ends_with(b"\0\0\0\x0dmdatabcde"));
        let moof = bytes.windows(4).position(|w| w == b"moof").expect("there") - 4;
        let trun = bytes.windows(4).position(|w| w == b"trun").expect("there");
        let offset = i32::from_be_bytes(bytes[trun + 12..trun + 16].try_into().expect("four bytes"))
            as usize;
        assert_eq!(&bytes[moof + offset..], b"abcde");
        assert_eq!(duration_ticks(&samples), 1024);
    }
}
