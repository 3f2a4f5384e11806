//! Sample entries and RFC 6381 names from what containers keep of a codec.

use nebula_hwaccel::fmp4::annexb;
use nebula_hwaccel::index::{TrackKind, VideoFacts};
use nebula_hwaccel::{codecs, fmp4};

use super::describe::full_range;
use super::scan::{Shape, Track};

/// What a packager needs besides the samples.
#[derive(Default)]
pub struct Described {
    pub codecs: Option<String>,
    pub sample_entry: Vec<u8>,
    /// A configuration made here, where the container has another or none.
    pub config: Option<Vec<u8>>,
    /// Why the samples cannot go into an `mdat` as they are.
    pub obstacle: Option<&'static str>,
}

/// The bit rate of sound whose rate varies (ISO/IEC 14496-1 §7.2.6.6): it would change with what comes later.
const RATE_VARIES: u32 = 0;
const NO_ENTRY: &str = "the codec has no place in CMAF";
const NO_SETS: &str = "the stream begins without its parameter sets";
const NO_TIMES: &str = "the container does not say when pictures are shown";
const NO_CONFIG: &str = "the container keeps no codec configuration";

pub fn describe(codec: &str, track: &Track, kind: &TrackKind) -> Described {
    let described = match kind {
        TrackKind::Video(facts) => picture(codec, track, facts),
        TrackKind::Audio(facts) => {
            let shape = fmp4::AudioShape {
                channels: facts.channels,
                sample_rate: facts.sample_rate,
            };
            sound(codec, track, shape)
        }
        TrackKind::Subtitle { .. } => Err("subtitles are delivered on their own"),
    };
    described.unwrap_or_else(|obstacle| Described {
        obstacle: Some(obstacle),
        codecs: fallback_name(codec, track),
        ..Described::default()
    })
}

/// A name where there is no entry: for deciding what a player can take.
fn fallback_name(codec: &str, track: &Track) -> Option<String> {
    let raw = track.info.parameters.raw();
    let (profile, level) = (
        u8::try_from(raw.profile & 0xff).ok()?,
        u8::try_from(raw.level).ok(),
    );
    match codec {
        "h264" => Some(format!("avc1.{profile:02x}00{:02x}", level?)),
        "aac" => Some("mp4a.40.2".to_owned()),
        "vp8" => Some("vp8".to_owned()),
        "vorbis" => Some("vorbis".to_owned()),
        "dts" => Some("dtsc".to_owned()),
        "mp2" => Some("mp4a.69".to_owned()),
        _ => None,
    }
}

fn picture(codec: &str, track: &Track, facts: &VideoFacts) -> Result<Described, &'static str> {
    let kept = track.info.parameters.extradata();
    // Containers that pass the codec's own stream on have its parameter sets there, and no record of them.
    let made = (track.shape == Shape::Units).then(|| {
        let sampling = annexb::Sampling {
            chroma: chroma(&facts.pixel_format),
            bit_depth: facts.bit_depth,
        };
        match codec {
            "h264" => annexb::avcc_payload(kept, sampling),
            _ => annexb::hvcc_payload(kept, sampling),
        }
    });
    let made = made.map(|made| made.ok_or(NO_SETS)).transpose()?;
    let config = made.as_deref().unwrap_or(kept);
    let reordered = track.info.parameters.raw().video_delay > 0;
    if reordered && track.samples.iter().any(|sample| sample.pts.is_none()) {
        return Err(NO_TIMES);
    }
    let (primaries, transfer, matrix) = facts.color;
    let known = [primaries, transfer, matrix]
        .iter()
        .any(|point| !matches!(point, 0 | 2));
    let color = known.then(|| fmp4::Color {
        primaries,
        transfer,
        matrix,
        full_range: full_range(track),
    });
    let shape = fmp4::PictureShape {
        width: facts.width,
        height: facts.height,
        pixel_aspect: (facts.pixel_aspect.num, facts.pixel_aspect.den),
        color,
    };
    let (name, fourcc, configuration) = match codec {
        "h264" => {
            let name = codecs::avc("avc1", config).ok_or(NO_CONFIG)?;
            (name, b"avc1", fmp4::avcc(config))
        }
        "hevc" => {
            // Parameter sets inside the samples are allowed only under `hev1`.
            let inside = track.info.parameters.raw().codec_tag == u32::from_le_bytes(*b"hev1");
            let (word, fourcc) = if inside {
                ("hev1", b"hev1")
            } else {
                ("hvc1", b"hvc1")
            };
            if config.first() != Some(&1) {
                return Err(NO_CONFIG);
            }
            (
                codecs::hevc(word, config).ok_or(NO_CONFIG)?,
                fourcc,
                fmp4::hvcc(config),
            )
        }
        "av1" => (
            codecs::av1(config).ok_or(NO_CONFIG)?,
            b"av01",
            fmp4::av1c(config),
        ),
        "vp9" => {
            // Frame marker, then the profile, low bit first (VP9 bitstream §6.2).
            let head = track.first.first().copied().unwrap_or(0x80);
            let profile = head >> 5 & 1 | (head >> 4 & 1) << 1;
            let level = codecs::vp9_level(facts.width, facts.height, facts.frame_rate.as_f64());
            let depth = facts.bit_depth.max(8);
            (
                codecs::vp9(profile, level, depth),
                b"vp09",
                fmp4::vpcc(profile, level, depth, 1, color),
            )
        }
        _ => return Err(NO_ENTRY),
    };
    let sample_entry = fmp4::picture_entry(fourcc, &shape, &configuration);
    Ok(Described {
        codecs: Some(name),
        sample_entry,
        config: made,
        obstacle: None,
    })
}

fn sound(codec: &str, track: &Track, shape: fmp4::AudioShape) -> Result<Described, &'static str> {
    let config = track.info.parameters.extradata();
    let mut made = None;
    let (name, fourcc, configuration) = match codec {
        "aac" => {
            if track.shape == Shape::Adts {
                made = Some(adts_config(&track.first).ok_or(NO_CONFIG)?);
            }
            let config = made.as_deref().unwrap_or(config);
            (
                codecs::aac(config).ok_or(NO_CONFIG)?,
                b"mp4a",
                fmp4::esds_aac(config, RATE_VARIES),
            )
        }
        "mp3" => (
            "mp4a.6B".to_owned(),
            b"mp4a",
            fmp4::esds_mp3(shape.sample_rate, RATE_VARIES),
        ),
        "opus" => (
            "opus".to_owned(),
            b"Opus",
            fmp4::dops(config).ok_or(NO_CONFIG)?,
        ),
        "flac" => (
            "fLaC".to_owned(),
            b"fLaC",
            fmp4::dfla(config).ok_or(NO_CONFIG)?,
        ),
        "ac3" => (
            "ac-3".to_owned(),
            b"ac-3",
            fmp4::dac3(&track.first).ok_or(NO_CONFIG)?,
        ),
        "eac3" => (
            "ec-3".to_owned(),
            b"ec-3",
            fmp4::dec3(&track.first, first_rate_bps(track)).ok_or(NO_CONFIG)?,
        ),
        "alac" => (
            "alac".to_owned(),
            b"alac",
            fmp4::alac(config).ok_or(NO_CONFIG)?,
        ),
        _ => return Err(NO_ENTRY),
    };
    let sample_entry = fmp4::audio_entry(fourcc, shape, &configuration);
    Ok(Described {
        codecs: Some(name),
        sample_entry,
        config: made,
        obstacle: None,
    })
}

/// Bits per second of the first frame: E-AC-3 is of a constant rate, and no later frame may change an entry.
fn first_rate_bps(track: &Track) -> u64 {
    let Some(first) = track.samples.first() else {
        return 0;
    };
    let length_us = u64::try_from(track.info.time_base.micros(first.duration)).unwrap_or(0);
    super::bits_per_second(u64::from(first.size), length_us)
}

/// An AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1) from an ADTS header; nothing for channels that only the stream describes.
fn adts_config(head: &[u8]) -> Option<Vec<u8>> {
    let [0xff, _, third, fourth, ..] = *head else {
        return None;
    };
    let (object, rate) = ((third >> 6) + 1, third >> 2 & 0xf);
    let channels = (third & 1) << 2 | fourth >> 6;
    (rate < 13 && channels > 0).then(|| vec![object << 3 | rate >> 1, rate << 7 | channels << 3])
}

/// `chroma_format_idc` of one of FFmpeg's pixel formats.
fn chroma(pixel_format: &str) -> u8 {
    match pixel_format {
        name if name.contains("444") || name.starts_with("gbr") => 3,
        name if name.contains("422") => 2,
        name if name.starts_with("gray") => 0,
        _ => 1,
    }
}
