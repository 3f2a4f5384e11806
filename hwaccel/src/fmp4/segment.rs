//! Init and media segments.

use super::boxed;

/// The only track of every segment made here.
const TRACK_ID: u32 = 1;
/// `sample_depends_on = 2`: needs no other sample.
const FLAGS_KEY: u32 = 0x0200_0000;
/// `sample_depends_on = 1`, `sample_is_non_sync_sample`.
const FLAGS_DELTA: u32 = 0x0101_0000;
const IDENTITY: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// What an init segment says about its track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// Ticks per second.
    pub timescale: u32,
    /// Picture or sound.
    pub shape: TrackShape,
    /// A complete `stsd` entry.
    pub sample_entry: Vec<u8>,
}

/// Picture or sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackShape {
    /// A picture as shown, in pixels.
    Picture {
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
    },
    /// Sound.
    Sound,
}

/// One sample of a fragment, in decoding order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentSample {
    /// Ticks until the next sample in decoding order.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// Presentation time less decoding time.
    pub composition: i32,
    /// Decoding can start here.
    pub key: bool,
}

/// Decoding times for samples with these presentation times (in decoding order), the first at `start`.
///
/// A sample is decoded as late as its own presentation and those after it allow; samples that would share a time are
/// spread evenly back to the one before. So a segment that begins with its earliest picture has rising decoding times,
/// none before its start and none after its presentation, without anything of its neighbours.
pub fn decode_times(start: i64, presentation: Vec<i64>) -> Vec<i64> {
    let mut times = presentation;
    for at in (1..times.len()).rev() {
        times[at - 1] = times[at - 1].min(times[at]);
    }
    if let Some(first) = times.first_mut() {
        *first = start;
    }
    let mut at = 1;
    while at < times.len() {
        let (before, latest) = (times[at - 1], times[at]);
        let run = times[at..]
            .iter()
            .take_while(|time| **time == latest)
            .count();
        for (place, time) in times[at..at + run].iter_mut().enumerate() {
            *time = before + (latest - before) * (place as i64 + 1) / run as i64;
        }
        at += run;
    }
    times
}

/// Sum of the durations.
pub fn duration_ticks(samples: &[FragmentSample]) -> u64 {
    samples
        .iter()
        .map(|sample| u64::from(sample.duration))
        .sum()
}

/// `ftyp` and `moov`.
pub fn init(track: &Track) -> Vec<u8> {
    let matrix: Vec<u8> = IDENTITY
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect();
    let (width, height, handler, name, media_header) = match track.shape {
        TrackShape::Picture { width, height } => (
            width,
            height,
            b"vide",
            &b"picture\0"[..],
            boxed(b"vmhd", &[&[0, 0, 0, 1], &[0; 8]]),
        ),
        TrackShape::Sound => (0, 0, b"soun", &b"sound\0"[..], boxed(b"smhd", &[&[0; 8]])),
    };
    let volume: [u8; 2] = if track.shape == TrackShape::Sound {
        [1, 0]
    } else {
        [0, 0]
    };
    let mvhd = boxed(
        b"mvhd",
        &[
            &[0; 12],
            &track.timescale.to_be_bytes(),
            &[0; 4],
            &[0, 1, 0, 0, 1, 0],
            &[0; 10],
            &matrix,
            &[0; 24],
            &[0, 0, 0, 2],
        ],
    );
    let fixed = |side: u32| (side.min(0xffff) << 16).to_be_bytes();
    let tkhd = boxed(
        b"tkhd",
        &[
            &[0, 0, 0, 7],
            &[0; 8],
            &TRACK_ID.to_be_bytes(),
            &[0; 8],
            &[0; 8],
            &[0; 4],
            &volume,
            &[0; 2],
            &matrix,
            &fixed(width),
            &fixed(height),
        ],
    );
    // Language `und` as three five-bit letters.
    let mdhd = boxed(
        b"mdhd",
        &[
            &[0; 12],
            &track.timescale.to_be_bytes(),
            &[0; 4],
            &[0x55, 0xc4, 0, 0],
        ],
    );
    let hdlr = boxed(b"hdlr", &[&[0; 8], handler, &[0; 12], name]);
    let dinf = boxed(
        b"dinf",
        &[&boxed(
            b"dref",
            &[&[0; 7], &[1], &boxed(b"url ", &[&[0, 0, 0, 1]])],
        )],
    );
    let stbl = boxed(
        b"stbl",
        &[
            &boxed(b"stsd", &[&[0; 7], &[1], &track.sample_entry]),
            &boxed(b"stts", &[&[0; 8]]),
            &boxed(b"stsc", &[&[0; 8]]),
            &boxed(b"stsz", &[&[0; 12]]),
            &boxed(b"stco", &[&[0; 8]]),
        ],
    );
    let minf = boxed(b"minf", &[&media_header, &dinf, &stbl]);
    let trak = boxed(b"trak", &[&tkhd, &boxed(b"mdia", &[&mdhd, &hdlr, &minf])]);
    let trex = boxed(
        b"trex",
        &[
            &[0; 4],
            &TRACK_ID.to_be_bytes(),
            &1u32.to_be_bytes(),
            &[0; 12],
        ],
    );
    let moov = boxed(b"moov", &[&mvhd, &trak, &boxed(b"mvex", &[&trex])]);
    let mut out = boxed(b"ftyp", &[b"iso6", &[0; 4], b"iso6", b"cmfc", b"mp41"]);
    out.extend_from_slice(&moov);
    out
}

/// `styp`, `moof` and `mdat` of one segment.
///
/// `number` is the segment's number from 0, `decode_time` the decoding time of its first sample, `data` the samples'
/// bytes one after the other.
pub fn media_segment(
    number: u32,
    decode_time: u64,
    samples: &[FragmentSample],
    data: &[u8],
) -> Vec<u8> {
    let mut trun = Vec::with_capacity(12 + samples.len() * 16);
    // Version 1 (signed composition offsets); data offset, duration, size, flags and composition present.
    trun.extend_from_slice(&0x0100_0f01u32.to_be_bytes());
    trun.extend_from_slice(&(samples.len() as u32).to_be_bytes());
    trun.extend_from_slice(&[0; 4]);
    for sample in samples {
        trun.extend_from_slice(&sample.duration.to_be_bytes());
        trun.extend_from_slice(&sample.size.to_be_bytes());
        trun.extend_from_slice(&if sample.key { FLAGS_KEY } else { FLAGS_DELTA }.to_be_bytes());
        trun.extend_from_slice(&sample.composition.to_be_bytes());
    }
    let mfhd = boxed(b"mfhd", &[&[0; 4], &number.wrapping_add(1).to_be_bytes()]);
    // `default-base-is-moof`.
    let tfhd = boxed(
        b"tfhd",
        &[&0x0002_0000u32.to_be_bytes(), &TRACK_ID.to_be_bytes()],
    );
    let tfdt = boxed(b"tfdt", &[&[1, 0, 0, 0], &decode_time.to_be_bytes()]);
    let moof_length = 8 + mfhd.len() + 8 + tfhd.len() + tfdt.len() + 8 + trun.len();
    trun[8..12].copy_from_slice(&((moof_length + 8) as u32).to_be_bytes());
    let moof = boxed(
        b"moof",
        &[
            &mfhd,
            &boxed(b"traf", &[&tfhd, &tfdt, &boxed(b"trun", &[&trun])]),
        ],
    );
    let styp = boxed(b"styp", &[b"msdh", &[0; 4], b"msdh", b"cmfs"]);
    let mut out = Vec::with_capacity(styp.len() + moof.len() + 8 + data.len());
    out.extend_from_slice(&styp);
    out.extend_from_slice(&moof);
    out.extend_from_slice(
        &u32::try_from(data.len() + 8)
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    out.extend_from_slice(b"mdat");
    out.extend_from_slice(data);
    out
}
