//! CMAF by hand (ISO/IEC 23000-19): the `moov` of a track and the head of a segment whose samples stay where they lie.
//!
//! The worker writes whole segments of what it encoded; here only heads are made, the bytes behind them come straight
//! from the object. Presentation times are exact, and none lies before its decoding time, as libav moves a whole track by
//! such a difference; sound that starts before the zero of the timeline is cut off by an edit list, not by dropping samples.

use nebula_hwaccel::index::{Sample, TrackFacts, TrackKind};

const TRACK_ID: u32 = 1;
/// `sample_depends_on = 2`: needs no other sample.
const FLAGS_KEY: u32 = 0x0200_0000;
/// `sample_depends_on = 1`, `sample_is_non_sync_sample`.
const FLAGS_DELTA: u32 = 0x0101_0000;
/// Undetermined language: `und` as three letters of five bits (ISO/IEC 14496-12 §8.4.2).
const UNDETERMINED: u16 = 0x55c4;
/// Bytes of `styp`.
pub const SEGMENT_TYPE_BYTES: u64 = 24;
/// Bytes of `moof` without samples, and the short head of `mdat`.
const HEAD_BYTES: u64 = 8 + 16 + 8 + 16 + 20 + 20 + 8;
/// Bytes of one sample in `trun`.
const SAMPLE_BYTES: u64 = 16;
/// A longer head of `mdat`, for segments beyond 4 GiB.
const MDAT_LARGE_EXTRA: u64 = 8;

/// A box: length, type and the parts of its payload.
fn boxed(kind: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let length = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(kind);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// `ftyp` and `moov` of a track with so many ticks per second on the wire; the first `lead` ticks of its media lie before the zero of the timeline.
pub fn init(track: &TrackFacts, timescale: u32, lead: u64) -> Vec<u8> {
    let timescale = timescale.to_be_bytes();
    let (size, matrix, handler, name, media_header, volume) = match &track.kind {
        TrackKind::Video(video) => (
            [video.display_width, video.display_height],
            rotation(video.rotation_deg, video.width, video.height),
            b"vide",
            &b"picture\0"[..],
            boxed(b"vmhd", &[&[0, 0, 0, 1], &[0; 8]]),
            [0, 0],
        ),
        _ => (
            [0, 0],
            rotation(0, 0, 0),
            b"soun",
            &b"sound\0"[..],
            boxed(b"smhd", &[&[0; 8]]),
            [1, 0],
        ),
    };
    // The size in `tkhd` is that before the matrix turns it.
    let turned = matches!(&track.kind, TrackKind::Video(video) if video.rotation_deg % 180 == 90);
    let [wide, high] = if turned { [size[1], size[0]] } else { size };
    let fixed = |side: u32| (side.min(0xffff) << 16).to_be_bytes();
    let identity = rotation(0, 0, 0);
    let mvhd = boxed(
        b"mvhd",
        &[
            &[0; 12],
            &timescale,
            &[0; 4],
            &[0, 1, 0, 0, 1, 0],
            &[0; 10],
            &identity,
            &[0; 24],
            &[0, 0, 0, 2],
        ],
    );
    let tkhd = boxed(
        b"tkhd",
        &[
            &[0, 0, 0, 7],
            &[0; 8],
            &TRACK_ID.to_be_bytes(),
            &[0; 16],
            &[0; 4],
            &volume,
            &[0; 2],
            &matrix,
            &fixed(wide),
            &fixed(high),
        ],
    );
    let edits = if lead == 0 {
        Vec::new()
    } else {
        // One edit of unknown length (0 in a fragmented file, §8.6.6) that starts behind the lead, at normal rate.
        boxed(
            b"edts",
            &[&boxed(
                b"elst",
                &[
                    &[1, 0, 0, 0],
                    &[0, 0, 0, 1],
                    &[0; 8],
                    &lead.to_be_bytes(),
                    &[0, 1, 0, 0],
                ],
            )],
        )
    };
    let language = language(track.language.as_deref()).to_be_bytes();
    let mdhd = boxed(
        b"mdhd",
        &[&[0; 12], &timescale, &[0; 4], &language, &[0; 2]],
    );
    let hdlr = boxed(b"hdlr", &[&[0; 8], handler, &[0; 12], name]);
    let url = boxed(b"url ", &[&[0, 0, 0, 1]]);
    let dinf = boxed(
        b"dinf",
        &[&boxed(b"dref", &[&[0, 0, 0, 0, 0, 0, 0, 1], &url])],
    );
    let stbl = boxed(
        b"stbl",
        &[
            &boxed(b"stsd", &[&[0, 0, 0, 0, 0, 0, 0, 1], &track.sample_entry]),
            &boxed(b"stts", &[&[0; 8]]),
            &boxed(b"stsc", &[&[0; 8]]),
            &boxed(b"stsz", &[&[0; 12]]),
            &boxed(b"stco", &[&[0; 8]]),
        ],
    );
    let minf = boxed(b"minf", &[&media_header, &dinf, &stbl]);
    let mdia = boxed(b"mdia", &[&mdhd, &hdlr, &minf]);
    let trex = boxed(
        b"trex",
        &[
            &[0; 4],
            &TRACK_ID.to_be_bytes(),
            &1u32.to_be_bytes(),
            &[0; 12],
        ],
    );
    let mut out = boxed(b"ftyp", &[b"iso6", &[0; 4], b"iso6", b"cmfc", b"mp41"]);
    out.extend_from_slice(&boxed(
        b"moov",
        &[
            &mvhd,
            &boxed(b"trak", &[&tkhd, &edits, &mdia]),
            &boxed(b"mvex", &[&trex]),
        ],
    ));
    out
}

/// The matrix of `tkhd` that turns a picture clockwise into view (ISO/IEC 14496-12 §6.2.2).
fn rotation(degrees: u16, width: u32, height: u32) -> Vec<u8> {
    const ONE: u32 = 0x1_0000;
    const MINUS: u32 = 0xffff_0000;
    let fixed = |side: u32| side.min(0x7fff) << 16;
    let [xx, xy, yx, yy, left, top] = match degrees % 360 {
        90 => [0, ONE, MINUS, 0, fixed(height), 0],
        180 => [MINUS, 0, 0, MINUS, fixed(width), fixed(height)],
        270 => [0, MINUS, ONE, 0, 0, fixed(width)],
        _ => [ONE, 0, 0, ONE, 0, 0],
    };
    [xx, xy, 0, yx, yy, 0, left, top, 0x4000_0000]
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}

/// ISO 639-2 in fifteen bits; anything else is undetermined.
fn language(code: Option<&str>) -> u16 {
    let Some([a, b, c]) = code.map(str::as_bytes) else {
        return UNDETERMINED;
    };
    if ![a, b, c].iter().all(|letter| letter.is_ascii_lowercase()) {
        return UNDETERMINED;
    }
    u16::from(a - 0x60) << 10 | u16::from(b - 0x60) << 5 | u16::from(c - 0x60)
}

/// `styp`, with which a segment begins.
pub fn segment_type() -> Vec<u8> {
    boxed(b"styp", &[b"msdh", &[0; 4], b"msdh", b"cmfs"])
}

/// Length of a fragment of so many samples and bytes of media, head included.
pub fn fragment_bytes(samples: u64, media_bytes: u64) -> u64 {
    let large = if media_bytes + 8 > u64::from(u32::MAX) {
        MDAT_LARGE_EXTRA
    } else {
        0
    };
    HEAD_BYTES + SAMPLE_BYTES * samples + large + media_bytes
}

/// When a sample is decoded and shown, in ticks of the track on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SampleTime {
    /// Rises from sample to sample.
    pub decode: i64,
    /// Not before `decode`, or libav moves the whole track.
    pub present: i64,
}

/// Everything of a fragment before its media: `moof` and the head of `mdat`.
///
/// `sequence` counts from 0; `times` are those of `samples`, and `end` is the decoding time of what follows.
pub fn fragment_head(sequence: u32, samples: &[Sample], times: &[SampleTime], end: i64) -> Vec<u8> {
    let media_bytes: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
    let large = media_bytes + 8 > u64::from(u32::MAX);
    let mut decode = times.first().map_or(0, |time| time.decode).max(0);
    let base = decode as u64;
    let trun_bytes = 20 + samples.len() * SAMPLE_BYTES as usize;
    let traf_bytes = 8 + 16 + 20 + trun_bytes;
    let moof_bytes = 8 + 16 + traf_bytes;
    let data_offset = moof_bytes + 8 + if large { MDAT_LARGE_EXTRA as usize } else { 0 };

    let mut out = Vec::with_capacity(moof_bytes + 16);
    let word = |out: &mut Vec<u8>, value: u32| out.extend_from_slice(&value.to_be_bytes());
    word(&mut out, moof_bytes as u32);
    out.extend_from_slice(b"moof");
    out.extend_from_slice(&boxed(
        b"mfhd",
        &[&[0; 4], &sequence.wrapping_add(1).to_be_bytes()],
    ));
    word(&mut out, traf_bytes as u32);
    out.extend_from_slice(b"traf");
    // `default-base-is-moof`.
    out.extend_from_slice(&boxed(b"tfhd", &[&[0, 2, 0, 0], &TRACK_ID.to_be_bytes()]));
    out.extend_from_slice(&boxed(b"tfdt", &[&[1, 0, 0, 0], &base.to_be_bytes()]));
    word(&mut out, trun_bytes as u32);
    // Version 1; data offset, duration, size, flags and composition are there.
    out.extend_from_slice(b"trun\x01\x00\x0f\x01");
    word(&mut out, samples.len() as u32);
    word(&mut out, data_offset as u32);
    for (at, (sample, time)) in samples.iter().zip(times).enumerate() {
        // Steps, not durations: a player adds them up, and must arrive where the next sample is.
        let next = times.get(at + 1).map_or(end, |next| next.decode);
        let step = next.saturating_sub(decode).clamp(0, i64::from(u32::MAX));
        let composition = time.present.saturating_sub(decode);
        word(&mut out, step as u32);
        word(&mut out, sample.size);
        word(&mut out, if sample.key { FLAGS_KEY } else { FLAGS_DELTA });
        let composition = composition.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
        out.extend_from_slice(&composition.to_be_bytes());
        decode = decode.saturating_add(step);
    }
    if large {
        word(&mut out, 1);
        out.extend_from_slice(b"mdat");
        out.extend_from_slice(&(media_bytes + 16).to_be_bytes());
    } else {
        word(&mut out, (media_bytes + 8) as u32);
        out.extend_from_slice(b"mdat");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(dts: i64, composition: i32, size: u32) -> Sample {
        Sample {
            offset: 0,
            dts,
            size,
            duration: 512,
            composition,
            key: dts == 0,
        }
    }

    fn word(bytes: &[u8], at: usize) -> u32 {
        u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
    }

    fn times(pairs: &[(i64, i64)]) -> Vec<SampleTime> {
        pairs
            .iter()
            .map(|&(decode, present)| SampleTime { decode, present })
            .collect()
    }

    #[test]
    fn the_head_is_as_long_as_announced_and_points_behind_itself() {
        let samples = [
            sample(0, 1024, 100),
            sample(512, 512, 20),
            sample(1024, 0, 3),
        ];
        let head = fragment_head(0, &samples, &times(&[(0, 0), (1, 3), (2, 2)]), 4);
        assert_eq!(head.len() as u64 + 123, fragment_bytes(3, 123));
        let trun = head.windows(4).position(|w| w == b"trun").expect("there");
        assert_eq!(word(&head, trun + 12) as usize, head.len());
        assert_eq!(word(&head, head.len() - 8), 131);
    }

    #[test]
    fn times_are_exact_whatever_the_durations_say() {
        let samples = [sample(0, 0, 1), sample(700, 0, 1), sample(650, 100, 1)];
        let wanted = [(90, 90), (700, 900), (650, 750)];
        let head = fragment_head(3, &samples, &times(&wanted), 2090);
        let tfdt = head.windows(4).position(|w| w == b"tfdt").expect("there");
        assert_eq!(word(&head, tfdt + 12), 90);
        let trun = head.windows(4).position(|w| w == b"trun").expect("there") + 16;
        let (mut decode, mut seen) = (90i64, Vec::new());
        for at in 0..3 {
            let row = trun + at * 16;
            seen.push(decode + i64::from(word(&head, row + 12) as i32));
            decode += i64::from(word(&head, row));
        }
        assert_eq!(seen, [90, 900, 750]);
        assert_eq!(decode, 2090);
    }

    #[test]
    fn a_huge_segment_has_a_long_head() {
        let samples = [sample(0, 0, u32::MAX), sample(512, 0, 100)];
        let head = fragment_head(0, &samples, &times(&[(0, 0), (512, 512)]), 1024);
        let media = u64::from(u32::MAX) + 100;
        assert_eq!(head.len() as u64 + media, fragment_bytes(2, media));
        assert!(head.ends_with(&(media + 16).to_be_bytes()));
    }

    #[test]
    fn languages_are_packed() {
        assert_eq!(language(Some("und")), UNDETERMINED);
        assert_eq!(language(Some("english")), UNDETERMINED);
        assert_eq!(language(Some("eng")), 5 << 10 | 14 << 5 | 7);
    }
}
