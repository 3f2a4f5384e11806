//! Where the bytes of a packet lie in containers that take a track apart: MPEG transport streams and AVI.
//!
//! libav puts packets together and does not say from what. So the object is read a second time beside it, only far enough
//! to know which of its bytes belong to which track, and each packet is looked for in the stream that these make.
//! A packet that is not found where the last one ended, or soon after, makes its track one that cannot be copied;
//! a wrong guess here can therefore not give wrong samples.

use std::collections::BTreeMap;
use std::ops::Range;

use nebula_hwaccel::index::Layout;

use crate::source::Source;

/// The object is read in blocks of this size.
const READ_BYTES: usize = 256 << 10;
/// A track may be so far behind the others, and a packet so far behind its predecessor.
const BEHIND_BYTES_MAX: usize = 32 << 20;
/// What was looked at is thrown away in pieces of this size.
const FORGET_BYTES: usize = 1 << 20;
const NOT_FOUND: &str = "the container splits or alters the samples";
const TOO_FAR: &str = "the tracks are interleaved too far apart";
const TOO_MANY: &str = "the samples lie in too many pieces";

/// Length of a transport packet, and of what some containers put in front of or behind it.
const TS_BYTES: usize = 188;
const TS_STEPS: [usize; 3] = [188, 192, 204];
const TS_SYNC: u8 = 0x47;
/// So many packets in a row show where they begin.
const TS_PROBES: usize = 5;

/// Reads the object along with libav.
pub struct Gather {
    source: Source,
    container: Container,
    streams: BTreeMap<u32, Stream>,
    /// Where the next unit of the container begins.
    at: u64,
    block: Vec<u8>,
    block_at: u64,
}

enum Container {
    /// Transport packets every so many bytes, the sync byte so far into each.
    Transport { step: usize },
    /// RIFF chunks.
    Avi,
}

/// What is known of one track's stream.
struct Stream {
    layout: Layout,
    /// Bytes that no packet has taken yet, behind `taken` that one has.
    bytes: Vec<u8>,
    taken: usize,
    /// Place of the first of `bytes` in the stream.
    first: u64,
    /// Transport: header bytes of a packetised unit that are still to come.
    header_left: usize,
    /// Transport: nothing counts before the first unit begins.
    begun: bool,
    lost: Option<&'static str>,
}

impl Gather {
    /// For a demuxer whose packets need it; `keys` are PIDs or stream numbers, and whether their units get lengths.
    pub fn new(
        source: &Source,
        format: &str,
        keys: impl Iterator<Item = (u32, bool)>,
    ) -> Option<Self> {
        let (container, at) = match format {
            "mpegts" => transport(source)?,
            "avi" => (Container::Avi, 12),
            _ => return None,
        };
        let stream = |lengths| Stream {
            layout: Layout::new(lengths),
            bytes: Vec::new(),
            taken: 0,
            first: 0,
            header_left: 0,
            begun: false,
            lost: None,
        };
        Some(Self {
            source: source.clone(),
            container,
            streams: keys.map(|(key, lengths)| (key, stream(lengths))).collect(),
            at,
            block: Vec::new(),
            block_at: 0,
        })
    }

    /// Finds a packet, of which `units` are the parts to be served; gives how many bytes these are with their lengths.
    pub fn sample(
        &mut self,
        key: u32,
        data: &[u8],
        units: &[Range<u64>],
    ) -> Result<u32, &'static str> {
        let start = self.find(key, data)?;
        let stream = self.streams.get_mut(&key).ok_or(NOT_FOUND)?;
        let units: Vec<Range<u64>> = units
            .iter()
            .map(|unit| start + unit.start..start + unit.end)
            .collect();
        stream.layout.sample(&units).map_err(|_| TOO_MANY)
    }

    /// What was found for a track so far.
    pub fn layout(&self, key: u32) -> Option<&Layout> {
        self.streams.get(&key).map(|stream| &stream.layout)
    }

    /// What was found for a track.
    pub fn take(&mut self, key: u32) -> Option<Layout> {
        self.streams.remove(&key).map(|stream| stream.layout)
    }

    fn find(&mut self, key: u32, data: &[u8]) -> Result<u64, &'static str> {
        // Searching costs as much as the packet is long, so it is not done for every few bytes that come.
        let mut enough = data.len();
        loop {
            let stream = self.streams.get_mut(&key).ok_or(NOT_FOUND)?;
            if let Some(lost) = stream.lost {
                return Err(lost);
            }
            let waiting = &stream.bytes[stream.taken..];
            let place = if waiting.len() < enough {
                None
            } else if waiting.starts_with(data) {
                Some(0)
            } else {
                enough = waiting.len() + data.len().max(READ_BYTES);
                memchr::memmem::find(waiting, data)
            };
            if let Some(place) = place {
                let start = stream.first + (stream.taken + place) as u64;
                stream.taken += place + data.len();
                if stream.taken > FORGET_BYTES {
                    stream.bytes.drain(..stream.taken);
                    stream.first += stream.taken as u64;
                    stream.taken = 0;
                }
                return Ok(start);
            }
            if waiting.len() > BEHIND_BYTES_MAX.max(data.len() * 2) {
                return Err(TOO_FAR);
            }
            if !self.advance() {
                // What came since the last search is all that will.
                let (least, left) = (data.len(), waiting_bytes(&self.streams, key));
                if enough > left && left >= least && enough != least {
                    enough = left;
                    continue;
                }
                return Err(NOT_FOUND);
            }
        }
    }

    /// Reads the next unit of the container; false at the end.
    fn advance(&mut self) -> bool {
        match self.container {
            Container::Transport { step } => self.transport_packet(step),
            Container::Avi => self.chunk(),
        }
    }

    /// Some bytes at a place, from the block that is kept.
    fn peek(&mut self, at: u64, length: usize) -> Option<&[u8]> {
        let inside = |block_at: u64, block: &[u8]| {
            at >= block_at && at + length as u64 <= block_at + block.len() as u64
        };
        if !inside(self.block_at, &self.block) {
            let left = usize::try_from(self.source.size().checked_sub(at)?).unwrap_or(usize::MAX);
            if left < length {
                return None;
            }
            self.block.resize(left.min(READ_BYTES.max(length)), 0);
            self.block_at = at;
            // No more than is there is waited for, of an object that arrives.
            let read = self.source.read_some_at(at, &mut self.block, length);
            self.block.truncate(read.unwrap_or(0));
        }
        let from = usize::try_from(at - self.block_at).ok()?;
        self.block.get(from..from + length)
    }

    fn put(&mut self, key: u32, at: u64, bytes: &[u8]) {
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        if bytes.is_empty() || stream.lost.is_some() {
            return;
        }
        if stream.bytes.len() - stream.taken > 2 * BEHIND_BYTES_MAX {
            stream.lose(TOO_FAR);
            return;
        }
        match stream.layout.append(at, bytes.len() as u32) {
            Ok(_) => stream.bytes.extend_from_slice(bytes),
            Err(_) => stream.lose(TOO_MANY),
        }
    }

    /// One packet of a transport stream (ISO/IEC 13818-1 §2.4.3).
    fn transport_packet(&mut self, step: usize) -> bool {
        let at = self.at;
        let Some(packet) = self.peek(at, TS_BYTES) else {
            return false;
        };
        let mut packet_bytes = [0; TS_BYTES];
        packet_bytes.copy_from_slice(packet);
        let packet = packet_bytes;
        if packet[0] != TS_SYNC {
            // Lost: go on at the next byte that looks like a beginning.
            let ahead = packet[1..].iter().position(|byte| *byte == TS_SYNC);
            self.at += ahead.map_or(TS_BYTES, |ahead| ahead + 1) as u64;
            return true;
        }
        self.at += step as u64;
        let key = u32::from(packet[1] & 0x1f) << 8 | u32::from(packet[2]);
        let (begins, adapted, filled) = (
            packet[1] & 0x40 != 0,
            packet[3] & 0x20 != 0,
            packet[3] & 0x10 != 0,
        );
        let mut from = if adapted {
            5 + usize::from(packet[4])
        } else {
            4
        };
        if !filled || from >= TS_BYTES {
            return true;
        }
        let Some(stream) = self.streams.get_mut(&key) else {
            return true;
        };
        if begins {
            // A packetised unit (§2.4.3.6): start code, stream, length, flags, and the length of the rest of its header.
            let payload = &packet[from..];
            let Some([0, 0, 1, _, _, _, _, _, rest, ..]) = payload.first_chunk::<9>() else {
                stream.begun = false;
                return true;
            };
            stream.begun = true;
            stream.header_left = 9 + usize::from(*rest);
        }
        if !stream.begun {
            return true;
        }
        let skipped = stream.header_left.min(TS_BYTES - from);
        stream.header_left -= skipped;
        from += skipped;
        self.put(key, at + from as u64, &packet[from..]);
        true
    }

    /// One chunk of an AVI file; of lists the content is gone through.
    fn chunk(&mut self) -> bool {
        let at = self.at;
        let Some(head) = self.peek(at, 8) else {
            return false;
        };
        let [a, b, c, d, s0, s1, s2, s3] = *head else {
            return false;
        };
        let size = u32::from_le_bytes([s0, s1, s2, s3]);
        let kind = [a, b, c, d];
        if kind == *b"RIFF" || kind == *b"LIST" {
            let inside = self
                .peek(at + 8, 4)
                .is_some_and(|name| matches!(name, b"AVIX" | b"movi" | b"rec "));
            self.at += if inside {
                12
            } else {
                8 + u64::from(size) + u64::from(size & 1)
            };
            return true;
        }
        self.at += 8 + u64::from(size) + u64::from(size & 1);
        let data = matches!(&kind[2..], b"dc" | b"db" | b"wb");
        if !(data && a.is_ascii_digit() && b.is_ascii_digit()) {
            return true;
        }
        let key = u32::from(a - b'0') * 10 + u32::from(b - b'0');
        if !self.streams.contains_key(&key) || size as usize > BEHIND_BYTES_MAX {
            return true;
        }
        let left = self.source.size().saturating_sub(at + 8);
        let size = u64::from(size).min(left) as usize;
        if let Some(bytes) = self.peek(at + 8, size) {
            let bytes = bytes.to_vec();
            self.put(key, at + 8, &bytes);
        }
        true
    }
}

impl Stream {
    fn lose(&mut self, why: &'static str) {
        self.lost = Some(why);
        self.bytes = Vec::new();
        self.taken = 0;
    }
}

fn waiting_bytes(streams: &BTreeMap<u32, Stream>, key: u32) -> usize {
    streams
        .get(&key)
        .map_or(0, |stream| stream.bytes.len() - stream.taken)
}

/// Where the packets of a transport stream begin, and how far apart they are.
fn transport(source: &Source) -> Option<(Container, u64)> {
    let mut head = vec![0; TS_STEPS[2] * (TS_PROBES + 1) * 4];
    let wanted = head.len();
    let length = source.read_some_at(0, &mut head, wanted).ok()?;
    head.truncate(length);
    let probes = |step: usize, first: usize| {
        let places = (0..TS_PROBES).map(|n| head.get(first + n * step));
        places.into_iter().all(|byte| byte == Some(&TS_SYNC))
    };
    for first in 0..head.len() {
        if let Some(step) = TS_STEPS.into_iter().find(|step| probes(*step, first)) {
            return Some((Container::Transport { step }, first as u64));
        }
    }
    // A clip of fewer packets than that.
    (head.first() == Some(&TS_SYNC)).then_some((Container::Transport { step: TS_BYTES }, 0))
}
