//! Reads every packet once and finds out where its bytes lie.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ffmpeg_next::ffi::AVMediaType;
use nebula_hwaccel::index::MAX_SAMPLES;
use nebula_hwaccel::protocol::{Failure, Stage};

use crate::av::{Input, Packet, StreamInfo};
use crate::control::Link;
use crate::failure::JobError;
use crate::source::Source;

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// The longest header between a container's packet position and the sample itself.
const HEADER_BYTES_MAX: usize = 64;
/// Of the first packet this much is kept, to describe codecs whose container does not.
const FIRST_BYTES: usize = 64;
/// So many packets in a row may be unreadable.
const ERRORS_MAX: u32 = 100;

/// A packet as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    pub pts: Option<i64>,
    pub dts: Option<i64>,
    pub duration: i64,
    pub offset: u64,
    pub size: u32,
    pub key: bool,
    pub shown: bool,
    /// Whether the bitstream itself says that decoding can start here; only known for H.264 and HEVC behind lengths.
    pub intra: Option<bool>,
}

/// A track as it was read.
pub struct Track {
    pub id: u32,
    pub info: StreamInfo,
    pub samples: Vec<Found>,
    /// Why its samples are not where they seem to be, if they are not.
    pub scattered: Option<&'static str>,
    /// Head of the first packet.
    pub first: Vec<u8>,
    nal: Option<Nal>,
    skip: usize,
    last: (Option<u64>, u64),
}

pub struct Scanned {
    pub tracks: Vec<Track>,
    pub notes: Vec<String>,
    pub encrypted: bool,
}

pub fn run(link: &Arc<Link>, source: &Source, input: &mut Input) -> Result<Scanned, JobError> {
    let mut tracks: Vec<Option<Track>> = (0..input.stream_count())
        .map(|id| wanted(input, id))
        .collect();
    let ids: Vec<usize> = (0..tracks.len())
        .filter(|id| tracks[*id].is_some())
        .collect();
    input.only(&ids);
    let mut scanned = Scanned {
        tracks: Vec::new(),
        notes: Vec::new(),
        encrypted: false,
    };
    let mut packet = Packet::new().map_err(|error| JobError::av(Failure::Internal, &error))?;
    let mut buffer = Vec::new();
    let (mut count, mut errors) = (0usize, 0u32);
    let mut told = Instant::now();
    loop {
        link.check()?;
        match input.read(&mut packet) {
            Ok(true) => errors = 0,
            Ok(false) => break,
            Err(error) => {
                if let Some(failure) = source.failure() {
                    return Err(failure);
                }
                errors += 1;
                if errors == 1 {
                    scanned.notes.push(error.to_string());
                }
                if errors > ERRORS_MAX {
                    break;
                }
                continue;
            }
        }
        let Some(Some(track)) = tracks.get_mut(packet.stream()) else {
            continue;
        };
        count += 1;
        if count > MAX_SAMPLES {
            return Err(JobError::new(
                Failure::TooLarge,
                format!("there are more than {MAX_SAMPLES} samples"),
            ));
        }
        scanned.encrypted |= packet.is_encrypted();
        track.add(source, &packet, &mut buffer);
        if told.elapsed() > PROGRESS_EVERY {
            told = Instant::now();
            let at = packet.position().unwrap_or(0) as f64 / source.size().max(1) as f64;
            link.progress(at * 0.95, Stage::Indexing, 0.0)?;
        }
    }
    for track in tracks
        .iter()
        .flatten()
        .filter(|track| track.info.parameters.codec_name() == "none")
    {
        scanned
            .notes
            .push(format!("track {} is of no known codec", track.id));
    }
    scanned.tracks = tracks
        .into_iter()
        .flatten()
        .filter(|track| !track.samples.is_empty())
        .collect();
    if scanned.encrypted {
        scanned.tracks.clear();
    }
    Ok(scanned)
}

fn wanted(input: &Input, id: usize) -> Option<Track> {
    let info = input.stream(id)?;
    let kind = info.parameters.raw().codec_type;
    let wanted = matches!(
        kind,
        AVMediaType::AVMEDIA_TYPE_VIDEO
            | AVMediaType::AVMEDIA_TYPE_AUDIO
            | AVMediaType::AVMEDIA_TYPE_SUBTITLE
    );
    (wanted && !info.picture_only).then(|| Track {
        id: id as u32,
        nal: Nal::of(&info.parameters.codec_name(), info.parameters.extradata()),
        info,
        samples: Vec::new(),
        scattered: None,
        first: Vec::new(),
        skip: 0,
        last: (None, 0),
    })
}

/// How to find the NAL units of a sample.
#[derive(Debug, Clone, Copy)]
struct Nal {
    hevc: bool,
    length_bytes: usize,
}

impl Nal {
    fn of(codec: &str, config: &[u8]) -> Option<Self> {
        let (hevc, at) = match codec {
            "h264" => (false, 4),
            "hevc" => (true, 21),
            _ => return None,
        };
        let length_bytes = usize::from(config.get(at)? & 3) + 1;
        (config.first() == Some(&1)).then_some(Self { hevc, length_bytes })
    }

    /// By the type of the first coded slice.
    fn is_intra(self, mut data: &[u8]) -> Option<bool> {
        while let Some((length, rest)) = data.split_at_checked(self.length_bytes) {
            let length = length
                .iter()
                .fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
            let (unit, rest) = rest.split_at_checked(length)?;
            let head = *unit.first()?;
            if self.hevc {
                match head >> 1 & 0x3f {
                    kind @ 0..=31 => return Some((16..=23).contains(&kind)),
                    _ => {}
                }
            } else {
                match head & 0x1f {
                    5 => return Some(true),
                    1 | 2 => return Some(false),
                    _ => {}
                }
            }
            data = rest;
        }
        None
    }
}

impl Track {
    fn add(&mut self, source: &Source, packet: &Packet, buffer: &mut Vec<u8>) {
        let data = packet.data();
        // A packet cut off by the end of the file cannot be played.
        if data.is_empty()
            || packet.is_corrupt()
                && packet
                    .position()
                    .is_some_and(|at| at + data.len() as u64 >= source.size())
        {
            return;
        }
        if self.samples.is_empty() {
            self.first = data[..data.len().min(FIRST_BYTES)].to_vec();
        }
        let mut offset = 0;
        if self.scattered.is_none() {
            match self.locate(source, packet, buffer) {
                Ok(at) => offset = at,
                Err(why) => self.scattered = Some(why),
            }
        }
        self.samples.push(Found {
            pts: packet.pts(),
            dts: packet.dts(),
            duration: packet.duration(),
            offset,
            size: u32::try_from(data.len()).unwrap_or(u32::MAX),
            key: packet.is_key(),
            shown: !packet.is_discarded(),
            intra: self.nal.and_then(|nal| nal.is_intra(data)),
        });
    }

    /// Where exactly the packet's bytes lie: behind a header of the container's that is learnt from the first packets,
    /// or right after the previous packet of the same block (lacing). Each packet is compared with the object.
    fn locate(
        &mut self,
        source: &Source,
        packet: &Packet,
        buffer: &mut Vec<u8>,
    ) -> Result<u64, &'static str> {
        const ALTERED: &str = "the container splits or alters the samples";
        let data = packet.data();
        let position = packet
            .position()
            .ok_or("the container does not say where the samples are")?;
        let (last_position, last_end) = self.last;
        let laced = (last_position == Some(position)).then_some(last_end);
        let guesses = [laced, position.checked_add(self.skip as u64)];
        buffer.resize(data.len(), 0);
        let mut at = None;
        for guess in guesses.into_iter().flatten() {
            if source.read_exact_at(guess, buffer).unwrap_or(false) && buffer == data {
                at = Some(guess);
                break;
            }
        }
        if at.is_none() {
            let left = source.size().saturating_sub(position);
            let window =
                (data.len() + HEADER_BYTES_MAX).min(usize::try_from(left).unwrap_or(usize::MAX));
            buffer.resize(window, 0);
            if source.read_exact_at(position, buffer).unwrap_or(false)
                && let Some(skip) = buffer.windows(data.len()).position(|bytes| bytes == data)
            {
                self.skip = skip;
                at = Some(position + skip as u64);
            }
        }
        let at = at.ok_or(ALTERED)?;
        self.last = (Some(position), at + data.len() as u64);
        Ok(at)
    }
}
