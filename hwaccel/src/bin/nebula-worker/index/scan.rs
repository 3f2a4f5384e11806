//! Reads every packet once and finds out where its bytes lie.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ffmpeg_next::ffi::AVMediaType;
use nebula_hwaccel::fmp4::annexb;
use nebula_hwaccel::index::{Layout, MAX_SAMPLES};
use nebula_hwaccel::protocol::{Failure, Stage};

use super::gather::Gather;
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
/// Codecs whose packets libav takes from mp4 without looking into them.
const PASSED_ON: [&str; 6] = ["h264", "hevc", "aac", "alac", "opus", "mov_text"];
/// After so many packets at exact positions the table of a plain mp4 is trusted.
const TRUST_AFTER: usize = 256;
/// Samples that are told before their bytes come: more than a player needs for a segment.
const COMING_MAX: usize = 1024;
/// More boxes than this at the top are not plain.
const BOXES_MAX: u32 = 64;
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
    /// What of a packet is served.
    pub shape: Shape,
    /// Where its samples lie, when they are not served as packets lie there.
    pub layout: Option<Layout>,
    nal: Option<Nal>,
    skip: usize,
    last: (Option<u64>, u64),
}

/// What of a packet a sample is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// All of it.
    Whole,
    /// Its NAL units, with lengths instead of start codes.
    Units,
    /// What is behind its ADTS header.
    Adts,
}

impl Shape {
    fn of(info: &StreamInfo) -> Self {
        let parameters = &info.parameters;
        let config = parameters.extradata();
        match parameters.codec_name().as_str() {
            "h264" | "hevc" if config.first() != Some(&1) && !config.is_empty() => Self::Units,
            _ => Self::Whole,
        }
    }

    /// The parts of a packet that are served, relative to it.
    fn parts(self, data: &[u8]) -> Result<Vec<Range<u64>>, &'static str> {
        let all = 0..data.len() as u64;
        match self {
            Self::Whole => Ok(vec![all]),
            Self::Units => {
                let mut units: Vec<Range<u64>> = annexb::unit_ranges(data)
                    .map(|unit| unit.start as u64..unit.end as u64)
                    .collect();
                let last = units.last_mut().ok_or("a packet holds no NAL unit")?;
                // As libav's own conversion has it: a zero behind the last unit is kept.
                last.end = all.end;
                Ok(units)
            }
            Self::Adts => match *data {
                // Seven bytes, two more of a checksum where there is one, and one frame (ISO/IEC 13818-7 §6.2).
                [0xff, second, _, _, _, _, frames, ..] if second & 0xf6 == 0xf0 => {
                    if frames & 3 != 0 {
                        return Err("an ADTS packet holds several frames");
                    }
                    let head = if second & 1 == 0 { 9 } else { 7 };
                    if head >= all.end {
                        return Err("an ADTS packet is empty");
                    }
                    let frame = head..all.end;
                    Ok(vec![frame])
                }
                _ => Err("not every packet has an ADTS header"),
            },
        }
    }
}

pub struct Scanned {
    pub tracks: Vec<Track>,
    pub notes: Vec<String>,
    pub encrypted: bool,
}

/// How to scan.
pub enum How<'a> {
    /// All of it is there.
    Whole,
    /// A table tells where everything lies, and what it names has not all arrived: the table is believed.
    Table,
    /// What arrives is told of as it is read.
    Follow(&'a mut dyn Follower),
}

/// Tells of tracks while they grow.
pub trait Follower {
    /// Whether to tell now that the track at this place has one more packet.
    fn is_due(&mut self, input: &Input, tracks: &[Option<Track>], last: usize) -> bool;
    /// Tells of the tracks as they are, with their layouts.
    fn tell(&mut self, input: &Input, tracks: &mut [Option<Track>]) -> Result<(), JobError>;
}

pub fn run(
    link: &Arc<Link>,
    source: &Source,
    input: &mut Input,
    mut how: How<'_>,
) -> Result<Scanned, JobError> {
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
    let format = input.format();
    let keys = tracks.iter().flatten().filter(|track| track.is_timed());
    let keys = keys.map(|track| (track.key(&format), track.shape == Shape::Units));
    let mut gather = Gather::new(source, &format, keys);
    let plain = matches!(how, How::Whole) && plain_mp4(source, input, tracks.iter().flatten());
    let (mut count, mut errors, mut trusted) = (0usize, 0u32, false);
    if matches!(how, How::Table) {
        trusted = true;
        input.skip_payload();
    }
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
        let taken_apart = gather.as_mut().filter(|_| track.is_timed());
        match taken_apart {
            Some(gather) => {
                let key = track.key(&format);
                track.add(source, &packet, trusted, |_, data, parts| {
                    gather.sample(key, data, parts).map(|size| (0, size))
                });
            }
            None => track.add(source, &packet, trusted, |track, data, parts| {
                track.in_place(source, &packet, data, parts, &mut buffer)
            }),
        }
        // Without the payload libav's parsers do not recognise key pictures; the container's table knows them.
        if trusted
            && let (Some(key), Some(last)) = (input.table_key(&packet), track.samples.last_mut())
        {
            last.key = key;
        }
        if let How::Follow(follower) = &mut how
            && follower.is_due(input, &tracks, packet.stream())
        {
            if let Some(gather) = &gather {
                for track in tracks.iter_mut().flatten() {
                    track.layout = gather.layout(track.key(&format)).cloned();
                }
            }
            follower.tell(input, &mut tracks)?;
        }
        if plain && count == TRUST_AFTER && tracks.iter().flatten().all(Track::is_exact) {
            trusted = true;
            input.skip_payload();
        }
        if told.elapsed() > PROGRESS_EVERY {
            told = Instant::now();
            let at = packet.position().unwrap_or(0) as f64 / source.size().max(1) as f64;
            link.progress(at * 0.95, Stage::Indexing, 0.0)?;
        }
    }
    for track in tracks.iter_mut().flatten() {
        if let Some(gather) = &mut gather {
            track.layout = gather.take(track.key(&format));
        }
        track.straighten();
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

/// Whether all positions come from one table in front of or behind plain sample data, for codecs that libav passes on
/// unseen: then the first packets vouch for the others, and a film of many gigabytes is indexed in a moment.
fn plain_mp4<'a>(
    source: &Source,
    input: &Input,
    mut tracks: impl Iterator<Item = &'a Track>,
) -> bool {
    if !input.format().starts_with("mov") || !tracks.all(is_passed_on) {
        return false;
    }
    let (mut at, mut table) = (0u64, false);
    for _ in 0..BOXES_MAX {
        if at == source.size() {
            return table;
        }
        let mut head = [0; 16];
        let length = head
            .len()
            .min(usize::try_from(source.size() - at).unwrap_or(16));
        if length < 8
            || !source
                .read_exact_at(at, &mut head[..length])
                .unwrap_or(false)
        {
            return false;
        }
        let [s0, s1, s2, s3, kind @ .., l0, l1, l2, l3, l4, l5, l6, l7] = head;
        let size = match u32::from_be_bytes([s0, s1, s2, s3]) {
            0 => source.size() - at,
            1 => u64::from_be_bytes([l0, l1, l2, l3, l4, l5, l6, l7]),
            size => u64::from(size),
        };
        table |= kind == *b"moov";
        let Some(next) = at.checked_add(size) else {
            return false;
        };
        if size < 8 || next > source.size() || kind == *b"moof" {
            return false;
        }
        at = next;
    }
    false
}

fn is_passed_on(track: &Track) -> bool {
    PASSED_ON.contains(&track.info.parameters.codec_name().as_str())
}

/// Whether a scan of a [table](How::Table) would find what a scan of all bytes finds.
pub fn table_suffices(input: &Input) -> bool {
    (0..input.stream_count())
        .filter_map(|id| wanted(input, id))
        .all(|track| is_passed_on(&track))
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
        shape: Shape::of(&info),
        layout: None,
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
                // Types up to 31 are slices, of which 16 to 23 begin anew.
                let kind = head >> 1 & 0x3f;
                if kind < 32 {
                    return Some((16..=23).contains(&kind));
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
    /// Whether positions have been exact so far, and key samples are told from others by a table.
    fn is_exact(&self) -> bool {
        let picture = self.info.parameters.raw().codec_type == AVMediaType::AVMEDIA_TYPE_VIDEO;
        self.scattered.is_none()
            && self.skip == 0
            && (!picture || self.samples.iter().any(|sample| !sample.key))
    }

    /// What the container calls it, as [`Gather`] does.
    fn key(&self, format: &str) -> u32 {
        match format {
            "mpegts" => self.info.number as u32,
            _ => self.id,
        }
    }

    /// Whether it is a picture or sound.
    pub fn is_timed(&self) -> bool {
        matches!(
            self.info.parameters.raw().codec_type,
            AVMediaType::AVMEDIA_TYPE_VIDEO | AVMediaType::AVMEDIA_TYPE_AUDIO
        )
    }

    /// The sound that comes next, where the container tells of it before its bytes: each fragment of an mp4 begins with a table of what is in it.
    pub fn coming(&self, source: &Source, input: &Input) -> Vec<Found> {
        let Some(last) = self.samples.last() else {
            return Vec::new();
        };
        let is_sound = self.info.parameters.raw().codec_type == AVMediaType::AVMEDIA_TYPE_AUDIO;
        let is_plain = self.shape == Shape::Whole && self.scattered.is_none() && self.skip == 0;
        let Some(mut before) = last.dts.filter(|_| is_sound && is_plain) else {
            return Vec::new();
        };
        if last.pts != Some(before) || !input.format().starts_with("mov") {
            return Vec::new();
        }
        let size_bytes = source.known_size().unwrap_or(u64::MAX);
        let listed = input.table_after(self.id as usize, before, last.offset, COMING_MAX);
        let found = |(time, offset, size): (i64, u64, u32)| {
            let is_inside = offset
                .checked_add(size.into())
                .is_some_and(|end| size > 0 && end <= size_bytes);
            let is_next = std::mem::replace(&mut before, time) < time;
            (is_inside && is_next).then_some(Found {
                pts: Some(time),
                dts: Some(time),
                duration: 0,
                offset,
                size,
                key: true,
                shown: true,
                intra: None,
            })
        };
        listed.into_iter().map_while(found).collect()
    }

    /// Notes a packet; `find` gives its place and size as it is served from its bytes and the parts of them.
    fn add(
        &mut self,
        source: &Source,
        packet: &Packet,
        trusted: bool,
        find: impl FnOnce(&mut Self, &[u8], &[Range<u64>]) -> Result<(u64, u32), &'static str>,
    ) {
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
            let bare = self.info.parameters.extradata().is_empty();
            let adts = matches!(data, [0xff, second, ..] if second & 0xf6 == 0xf0);
            if bare && adts && self.info.parameters.codec_name() == "aac" {
                self.shape = Shape::Adts;
            }
        }
        let (mut offset, mut size) = (0, u32::try_from(data.len()).unwrap_or(u32::MAX));
        if trusted {
            offset = packet.position().unwrap_or(0);
        } else if self.scattered.is_none() {
            let parts = self.shape.parts(data);
            match parts.and_then(|parts| find(self, data, &parts)) {
                Ok(found) => (offset, size) = found,
                Err(why) => self.scattered = Some(why),
            }
        }
        self.samples.push(Found {
            pts: packet.pts(),
            dts: packet.dts(),
            duration: packet.duration(),
            offset,
            size,
            key: packet.is_key(),
            shown: !packet.is_discarded(),
            intra: self.nal.and_then(|nal| nal.is_intra(data)),
        });
    }

    /// Place and size of a sample whose packet lies in the object in one piece.
    fn in_place(
        &mut self,
        source: &Source,
        packet: &Packet,
        data: &[u8],
        parts: &[Range<u64>],
        buffer: &mut Vec<u8>,
    ) -> Result<(u64, u32), &'static str> {
        const TOO_MANY: &str = "the samples lie in too many pieces";
        let offset = self.locate(source, packet, buffer)?;
        let length = u32::try_from(data.len()).map_err(|_| TOO_MANY)?;
        if self.shape == Shape::Whole {
            return Ok((offset, length));
        }
        let lengths = self.shape == Shape::Units;
        let layout = self.layout.get_or_insert_with(|| Layout::new(lengths));
        let start = layout.append(offset, length).map_err(|_| TOO_MANY)?;
        let parts: Vec<Range<u64>> = parts
            .iter()
            .map(|part| start + part.start..start + part.end)
            .collect();
        let size = layout.sample(&parts).map_err(|_| TOO_MANY)?;
        Ok((0, size))
    }

    /// Forgets a layout of samples that lie in one piece each after all, and one of a track that cannot be copied.
    fn straighten(&mut self) {
        if self.scattered.is_some() {
            self.layout = None;
        }
        let Some(offsets) = self.layout.as_ref().and_then(Layout::contiguous) else {
            return;
        };
        for (sample, offset) in self.samples.iter_mut().zip(offsets) {
            sample.offset = offset;
        }
        self.layout = None;
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
