//! What is known about a media file.

use serde::{Deserialize, Serialize};

/// A fraction of two positive numbers; as a time base, the seconds of one tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rational {
    /// Numerator.
    pub num: u32,
    /// Denominator, never 0 in a valid value.
    pub den: u32,
}

impl Default for Rational {
    fn default() -> Self {
        Self { num: 0, den: 1 }
    }
}

impl Rational {
    /// `num / den`.
    pub const fn new(num: u32, den: u32) -> Self {
        Self { num, den }
    }

    /// As a floating-point number; 0 when the denominator is 0.
    pub fn as_f64(self) -> f64 {
        if self.den == 0 {
            0.0
        } else {
            f64::from(self.num) / f64::from(self.den)
        }
    }

    /// Ticks of this time base in microseconds, rounded down; saturates.
    pub fn micros(self, ticks: i64) -> i64 {
        if self.den == 0 {
            return 0;
        }
        let micros = i128::from(ticks) * i128::from(self.num) * 1_000_000;
        let micros = micros.div_euclid(i128::from(self.den));
        i64::try_from(micros).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX })
    }

    /// Ticks of this time base in ticks of `timescale` per second, rounded to the nearest; saturates.
    pub fn rescale(self, ticks: i64, timescale: u32) -> i64 {
        if self.den == 0 {
            return 0;
        }
        let den = i128::from(self.den);
        let scaled = i128::from(ticks) * i128::from(self.num) * i128::from(timescale);
        let scaled = (scaled + den / 2).div_euclid(den);
        i64::try_from(scaled).unwrap_or(if scaled < 0 { i64::MIN } else { i64::MAX })
    }
}

/// What is known about the whole file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MediaFacts {
    /// Short name of the container: `mp4`, `mkv`, `ts`, `flv`, `avi`, `ogg`, `mp3`, `wav`, `flac`, `aac`.
    pub container: String,
    /// Length of the object in bytes.
    pub size_bytes: u64,
    /// From [`MediaFacts::start_us`] to the end of the longest audio or video track, in microseconds.
    pub duration_us: u64,
    /// Earliest presentation time of any audio or video track, in microseconds; may be negative.
    pub start_us: i64,
    /// All tracks together, bits per second, rounded.
    pub bitrate_bps: u64,
    /// Title from the tags.
    pub title: Option<String>,
    /// Other tags of the file, at most 64 of at most 1,024 bytes.
    pub tags: Vec<(String, String)>,
    /// Chapters in order, at most 1,024.
    pub chapters: Vec<Chapter>,
    /// The tracks in the file's order.
    pub tracks: Vec<TrackFacts>,
    /// What a person should know about the file (`truncated after 12.4 s`), at most 20 sentences.
    pub notes: Vec<String>,
}

/// A named part of a film.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chapter {
    /// In microseconds.
    pub start_us: i64,
    /// In microseconds.
    pub end_us: i64,
    /// Its name, where it has one.
    pub title: Option<String>,
}

/// What is known about one track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrackFacts {
    /// The track's number in the file, which jobs use to name it.
    pub id: u32,
    /// Picture, sound or text.
    pub kind: TrackKind,
    /// Short name of the codec, as FFmpeg has it: `h264`, `hevc`, `aac`, `subrip`.
    pub codec: String,
    /// RFC 6381 name such as `avc1.64001f`, where there is one.
    pub codecs: Option<String>,
    /// Seconds of one tick of the sample times.
    pub time_base: Rational,
    /// Presentation time of the first sample shown.
    pub start_ticks: i64,
    /// From there to the end of the last sample.
    pub duration_ticks: u64,
    /// Bits per second, from the samples.
    pub bitrate_bps: u64,
    /// As in the file, usually ISO 639-2; absent when undetermined.
    pub language: Option<String>,
    /// The track's title.
    pub title: Option<String>,
    /// Marked as the default of its kind.
    pub default: bool,
    /// Marked as forced (subtitles).
    pub forced: bool,
    /// Codec configuration as the container has it (the payload of `avcC`, an AudioSpecificConfig, …).
    pub config: Vec<u8>,
    /// A complete `stsd` entry (`avc1` with `avcC`, `mp4a` with `esds`, …); empty where the codec has none.
    pub sample_entry: Vec<u8>,
    /// Whether its samples can be served from the object as they lie there.
    pub copyable: Copyable,
}

/// Whether samples can be served from the object as they lie there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Copyable {
    /// Yes: offsets and sizes are exact, and a sample entry is there.
    Contiguous,
    /// No; the reason is a sentence part such as `the samples are in Annex B form`.
    NeedsRemux {
        /// Why.
        reason: String,
    },
    /// Yes, put together from parts of the object: the track has a layout, and a sample entry is there.
    Gathered,
}

/// Picture, sound or text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TrackKind {
    /// A picture.
    Video(VideoFacts),
    /// Sound.
    Audio(AudioFacts),
    /// Subtitles.
    Subtitle {
        /// Pictures (PGS, VobSub) rather than text.
        image: bool,
    },
}

/// What is known about a picture.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VideoFacts {
    /// Coded, in pixels.
    pub width: u32,
    /// Coded, in pixels.
    pub height: u32,
    /// As shown: square pixels, upright.
    pub display_width: u32,
    /// As shown: square pixels, upright.
    pub display_height: u32,
    /// Shape of a pixel, 1/1 when square.
    pub pixel_aspect: Rational,
    /// To be turned clockwise by this for showing: 0, 90, 180 or 270.
    pub rotation_deg: u16,
    /// Average frames per second.
    pub frame_rate: Rational,
    /// Whether the steps between frames differ.
    pub variable_frame_rate: bool,
    /// Bits per colour sample.
    pub bit_depth: u8,
    /// FFmpeg's name of the pixel format, such as `yuv420p10le`.
    pub pixel_format: String,
    /// `VIDEO-RANGE` of HLS.
    pub range: VideoRange,
    /// ITU-T H.273 colour primaries, transfer and matrix; 2 is unspecified.
    pub color: (u8, u8, u8),
}

/// `VIDEO-RANGE` of HLS (RFC 8216bis §4.4.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum VideoRange {
    /// BT.709 and the like.
    #[default]
    Sdr,
    /// Hybrid log-gamma.
    Hlg,
    /// SMPTE ST 2084.
    Pq,
}

/// What is known about sound.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AudioFacts {
    /// In hertz.
    pub sample_rate: u32,
    /// Channels.
    pub channels: u16,
    /// FFmpeg's name of the layout, such as `5.1(side)`.
    pub layout: String,
}

/// One sample (packet) in decoding order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sample {
    /// First byte in the object; 0 throughout where the track is not contiguous.
    pub offset: u64,
    /// Decoding time.
    pub dts: i64,
    /// Bytes.
    pub size: u32,
    /// Until the next sample in decoding order (for the last: its own duration).
    pub duration: u32,
    /// Presentation time less decoding time.
    pub composition: i32,
    /// Decoding can start here.
    pub key: bool,
}

impl Sample {
    /// Presentation time.
    pub fn pts(&self) -> i64 {
        self.dts.saturating_add(i64::from(self.composition))
    }
}
