//! From what was read to what is told.

use ffmpeg_next::ffi::{AVColorRange, AVColorTransferCharacteristic, AVMediaType};
use nebula_hwaccel::geometry;
use nebula_hwaccel::index::{
    AudioFacts, Copyable, Rational, Sample, TrackFacts, TrackKind, VideoFacts, VideoRange,
};

use super::entry;
use super::scan::{Found, Track};
use crate::av::pixel_format;

/// Our short name for a demuxer's list of names.
pub fn container(format: &str) -> String {
    let first = format.split(',').next().unwrap_or(format);
    match first {
        "mov" => "mp4",
        "matroska" => "mkv",
        "mpegts" => "ts",
        other => other,
    }
    .to_owned()
}

/// Facts and table of one track, or a note why it cannot be played.
pub fn track(track: &Track) -> Result<(TrackFacts, Vec<Sample>), String> {
    let raw = track.info.parameters.raw();
    let codec = track.info.parameters.codec_name();
    let time_base = track.info.time_base;
    if codec == "none" || time_base.num == 0 {
        return Err(format!("track {} is of no known codec", track.id));
    }
    let mut samples = samples(&track.samples);
    // A container without a table of key samples calls each one a key; the bitstream knows better.
    if samples.iter().all(|sample| sample.key)
        && track.samples.iter().any(|found| found.intra == Some(true))
    {
        for (sample, found) in samples.iter_mut().zip(&track.samples) {
            sample.key = found.intra != Some(false);
        }
    }
    let (start, duration) = span(track, &samples);
    let bytes: u64 = samples.iter().map(|sample| u64::from(sample.size)).sum();
    let length_us =
        u64::try_from(time_base.micros(i64::try_from(duration).unwrap_or(i64::MAX))).unwrap_or(0);
    let kind = match raw.codec_type {
        AVMediaType::AVMEDIA_TYPE_VIDEO if raw.width > 0 && raw.height > 0 => {
            TrackKind::Video(video(track, &samples, duration))
        }
        AVMediaType::AVMEDIA_TYPE_AUDIO if raw.sample_rate > 0 => TrackKind::Audio(audio(track)),
        AVMediaType::AVMEDIA_TYPE_SUBTITLE => {
            let image = matches!(
                codec.as_str(),
                "hdmv_pgs_subtitle" | "dvd_subtitle" | "dvb_subtitle" | "xsub"
            );
            TrackKind::Subtitle { image }
        }
        _ => return Err(format!("track {} ({codec}) has no size or rate", track.id)),
    };
    let bitrate_bps = super::bits_per_second(bytes, length_us);
    let described = entry::describe(&codec, track, &kind);
    let copyable = match (track.scattered, &described.obstacle) {
        (_, Some(reason)) => Copyable::NeedsRemux {
            reason: (*reason).to_owned(),
        },
        (Some(reason), None) => Copyable::NeedsRemux {
            reason: reason.to_owned(),
        },
        (None, None) if track.layout.is_some() => Copyable::Gathered,
        (None, None) => Copyable::Contiguous,
    };
    if copyable != Copyable::Contiguous {
        for sample in &mut samples {
            sample.offset = 0;
        }
    }
    let tag = |key: &str| {
        track
            .info
            .tags
            .iter()
            .find(|(have, _)| have == key)
            .map(|(_, value)| value.clone())
    };
    let facts = TrackFacts {
        id: track.id,
        kind,
        codecs: described.codecs,
        codec,
        time_base,
        start_ticks: start,
        duration_ticks: duration,
        bitrate_bps,
        language: tag("language").filter(|language| language != "und"),
        title: tag("title"),
        default: track.info.default,
        forced: track.info.forced,
        config: described
            .config
            .unwrap_or_else(|| track.info.parameters.extradata().to_vec()),
        sample_entry: described.sample_entry,
        copyable,
    };
    Ok((facts, samples))
}

/// Fills in the times that containers leave out.
fn samples(found: &[Found]) -> Vec<Sample> {
    let usual = usual_duration(found);
    // Decoding times before the first known one are counted back from it.
    let known = found.iter().position(|sample| sample.dts.is_some());
    let before = known.and_then(|at| Some((at, found[at].dts?)));
    let mut times = Vec::with_capacity(found.len());
    let mut previous: Option<i64> = None;
    for (at, sample) in found.iter().enumerate() {
        let dts = sample.dts.unwrap_or_else(|| match (before, previous) {
            (Some((known, dts)), _) if at < known => {
                dts.saturating_sub(usual.saturating_mul((known - at) as i64))
            }
            (_, Some(previous)) => previous.saturating_add(usual),
            _ => sample.pts.unwrap_or(0),
        });
        times.push(dts);
        previous = Some(dts);
    }
    let mut samples = Vec::with_capacity(found.len());
    for (at, sample) in found.iter().enumerate() {
        let dts = times[at];
        let own = if sample.duration > 0 {
            sample.duration
        } else {
            usual
        };
        let duration = times
            .get(at + 1)
            .map_or(own, |next| next.saturating_sub(dts));
        let composition = sample.pts.map_or(0, |pts| pts.saturating_sub(dts));
        samples.push(Sample {
            offset: sample.offset,
            dts,
            size: sample.size,
            duration: u32::try_from(duration.max(0)).unwrap_or(u32::MAX),
            composition: i32::try_from(composition).unwrap_or(0),
            key: sample.key,
        });
    }
    samples
}

/// The median step, for what has none.
fn usual_duration(found: &[Found]) -> i64 {
    let mut steps: Vec<i64> = found
        .iter()
        .map(|sample| sample.duration)
        .filter(|step| *step > 0)
        .take(999)
        .collect();
    if steps.is_empty() {
        let steps_of =
            |pair: &[Found]| Some(pair[1].dts.or(pair[1].pts)? - pair[0].dts.or(pair[0].pts)?);
        steps = found
            .windows(2)
            .take(999)
            .filter_map(steps_of)
            .filter(|step| *step > 0)
            .collect();
    }
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied().unwrap_or(0)
}

/// First presentation time and length.
fn span(track: &Track, samples: &[Sample]) -> (i64, u64) {
    let shown = || {
        samples
            .iter()
            .zip(&track.samples)
            .filter(|(_, found)| found.shown)
            .map(|(sample, _)| sample)
    };
    let first = shown()
        .map(Sample::pts)
        .min()
        .or(samples.first().map(Sample::pts))
        .unwrap_or(0);
    let end = shown()
        .map(|sample| sample.pts().saturating_add(i64::from(sample.duration)))
        .max()
        .unwrap_or(first);
    // Encoder delay of sound is not shown, and the demuxer says so by a later start.
    let audio = track.info.parameters.raw().codec_type == AVMediaType::AVMEDIA_TYPE_AUDIO;
    let start = match track.info.start {
        Some(start) if audio && start > first && start < end => start,
        _ => first,
    };
    (start, u64::try_from(end.saturating_sub(start)).unwrap_or(0))
}

fn video(track: &Track, samples: &[Sample], duration: u64) -> VideoFacts {
    let info = &track.info;
    let raw = info.parameters.raw();
    let (width, height) = (raw.width as u32, raw.height as u32);
    let aspect = info.parameters.pixel_aspect();
    let pixel_aspect = if aspect.num == 0 {
        Rational::new(1, 1)
    } else {
        aspect
    };
    let (display_width, display_height) =
        geometry::displayed(width, height, pixel_aspect, info.rotation_deg);
    let (pixel_format, bit_depth) = pixel_format(raw.format).unwrap_or_default();
    let range = match raw.color_trc {
        AVColorTransferCharacteristic::AVCOL_TRC_SMPTE2084 => VideoRange::Pq,
        AVColorTransferCharacteristic::AVCOL_TRC_ARIB_STD_B67 => VideoRange::Hlg,
        _ => VideoRange::Sdr,
    };
    VideoFacts {
        width,
        height,
        display_width,
        display_height,
        pixel_aspect,
        rotation_deg: info.rotation_deg,
        frame_rate: frame_rate(track, samples.len(), duration),
        variable_frame_rate: varies(samples),
        bit_depth,
        pixel_format,
        range,
        color: (
            raw.color_primaries as u8,
            raw.color_trc as u8,
            raw.color_space as u8,
        ),
    }
}

/// Whether the colour range is full.
pub fn full_range(track: &Track) -> bool {
    track.info.parameters.raw().color_range == AVColorRange::AVCOL_RANGE_JPEG
}

/// The declared rate where the frames bear it out, else the counted one: some containers declare their clock.
fn frame_rate(track: &Track, frames: usize, duration: u64) -> Rational {
    let length_s = duration as f64 * track.info.time_base.as_f64();
    let counted = (frames as f64 / length_s.max(0.001)).clamp(0.001, 1000.0);
    let declared = [track.info.frame_rate, track.info.real_frame_rate];
    let plausible = |rate: &Rational| rate.num > 0 && (rate.as_f64() / counted - 1.0).abs() < 0.25;
    declared
        .into_iter()
        .find(plausible)
        .unwrap_or_else(|| Rational::new((counted * 1000.0).round() as u32, 1000))
}

/// Whether steps differ by more than rounding.
fn varies(samples: &[Sample]) -> bool {
    let mut times: Vec<i64> = samples.iter().map(Sample::pts).collect();
    times.sort_unstable();
    let steps = || times.windows(2).map(|pair| pair[1] - pair[0]);
    match (steps().min(), steps().max()) {
        (Some(least), Some(most)) => most - least > 2 && most - least > least / 20,
        _ => false,
    }
}

fn audio(track: &Track) -> AudioFacts {
    let (channels, layout) = track.info.parameters.channels();
    let sample_rate = u32::try_from(track.info.parameters.raw().sample_rate).unwrap_or(0);
    AudioFacts {
        sample_rate,
        channels,
        layout,
    }
}
