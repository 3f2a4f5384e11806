//! A VobSub pair from packets of DVD subtitles: pictures in an MPEG programme stream, and an index of them in text.

use std::fmt::Write as _;

/// Length of a pack, which is a sector of a DVD.
const PACK_BYTES: usize = 2048;
/// Of a pack header (ISO/IEC 13818-1 §2.5.3.3).
const PACK_HEADER_BYTES: usize = 14;
/// Start code, length, flags and length of the rest of the header (§2.4.3.6).
const PES_HEADER_BYTES: usize = 9;
const PTS_BYTES: usize = 5;
/// The first stream of subtitles.
const SUBSTREAM: u8 = 0x20;
/// The longest body that fits the length field of padding.
const PADDING_HEADER_BYTES: usize = 6;

/// A pair that grows.
#[derive(Debug, Default)]
pub struct Pair {
    /// The `.sub` file.
    pub sub: Vec<u8>,
    /// The entries of the `.idx` file.
    entries: String,
}

impl Pair {
    /// Appends one picture shown from `time_us` on.
    pub fn append(&mut self, time_us: i64, packet: &[u8]) {
        if packet.is_empty() {
            return;
        }
        let ms = time_us.max(0) / 1000;
        let _ = writeln!(
            self.entries,
            "timestamp: {:02}:{:02}:{:02}:{:03}, filepos: {:09x}",
            ms / 3_600_000,
            ms / 60_000 % 60,
            ms / 1000 % 60,
            ms % 1000,
            self.sub.len()
        );
        let mut rest = packet;
        let mut first = true;
        while !rest.is_empty() {
            let header = PES_HEADER_BYTES + if first { PTS_BYTES } else { 0 };
            let room = PACK_BYTES - PACK_HEADER_BYTES - header - 1;
            let (body, behind) = rest.split_at(room.min(rest.len()));
            self.pack(first.then_some(time_us.max(0)), body);
            rest = behind;
            first = false;
        }
    }

    /// The `.idx` file; `config` is what the container says of the stream: size and palette in the same words.
    pub fn index(&self, config: &[u8], language: Option<&str>) -> String {
        let config = String::from_utf8_lossy(config);
        let mut out = String::from("# VobSub index file, v7 (do not modify this line!)\n");
        let known = [
            "size:",
            "palette:",
            "org:",
            "scale:",
            "alpha:",
            "custom colors:",
        ];
        for line in config.split(['\n', '\0']).map(str::trim) {
            if known.iter().any(|word| line.starts_with(word)) {
                let _ = writeln!(out, "{line}");
            }
        }
        let language: String = language
            .unwrap_or("--")
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .take(8)
            .collect();
        let _ = writeln!(out, "langidx: 0\nid: {language}, index: 0");
        out.push_str(&self.entries);
        out
    }

    /// One pack with one packet, padded to its full length.
    fn pack(&mut self, time_us: Option<i64>, body: &[u8]) {
        let begun = self.sub.len();
        self.sub
            .extend_from_slice(&[0, 0, 1, 0xba, 0x44, 0, 4, 0, 4, 1, 0, 0, 3, 0xf8]);
        let pts_bytes = if time_us.is_some() { PTS_BYTES } else { 0 };
        let used = PACK_HEADER_BYTES + PES_HEADER_BYTES + pts_bytes + 1 + body.len();
        let left = PACK_BYTES - used;
        // What is too short for a packet of padding stuffs the header.
        let stuffing = if left < PADDING_HEADER_BYTES { left } else { 0 };
        let length =
            PES_HEADER_BYTES - PADDING_HEADER_BYTES + pts_bytes + stuffing + 1 + body.len();
        self.sub.extend_from_slice(&[0, 0, 1, 0xbd]);
        self.sub.extend_from_slice(&(length as u16).to_be_bytes());
        let flags = if time_us.is_some() { 0x80 } else { 0 };
        self.sub
            .extend_from_slice(&[0x81, flags, (pts_bytes + stuffing) as u8]);
        if let Some(time_us) = time_us {
            let ticks = (i128::from(time_us) * 90_000 / 1_000_000) as u64;
            self.sub.extend_from_slice(&[
                0x21 | (ticks >> 29) as u8 & 0x0e,
                (ticks >> 22) as u8,
                (ticks >> 14) as u8 | 1,
                (ticks >> 7) as u8,
                (ticks << 1) as u8 | 1,
            ]);
        }
        self.sub.resize(self.sub.len() + stuffing, 0xff);
        self.sub.push(SUBSTREAM);
        self.sub.extend_from_slice(body);
        if left >= PADDING_HEADER_BYTES {
            self.sub.extend_from_slice(&[0, 0, 1, 0xbe]);
            let padding = left - PADDING_HEADER_BYTES;
            self.sub.extend_from_slice(&(padding as u16).to_be_bytes());
            self.sub.resize(self.sub.len() + padding, 0xff);
        }
        debug_assert_eq!(self.sub.len() - begun, PACK_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_index_names_time_and_place() {
        let mut pair = Pair::default();
        pair.append(3_661_042_000, &[1; 10]);
        pair.append(3_662_000_000, &[2; 5000]);
        pair.append(3_663_000_000, &[3; 10]);
        let index = pair.index(b"size: 720x576\npalette: 0, 1\nhostile: x\n\0", Some("ger"));
        assert_eq!(
            index,
            "# VobSub index file, v7 (do not modify this line!)\nsize: 720x576\npalette: 0, 1\n\
             langidx: 0\nid: ger, index: 0\n\
             timestamp: 01:01:01:042, filepos: 000000000\n\
             timestamp: 01:01:02:000, filepos: 000000800\n\
             timestamp: 01:01:03:000, filepos: 000002000\n"
        );
    }

    proptest! {
        #[test]
        fn a_pack_is_a_sector(length in 1usize..5000) {
            let mut pair = Pair::default();
            pair.append(0, &vec![7; length]);
            prop_assert_eq!(pair.sub.len() % PACK_BYTES, 0);
        }
    }
}
