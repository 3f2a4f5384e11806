//! `stsd` entries and the configuration boxes inside them.

use super::boxed;

/// Shape and colour of a picture, for its sample entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureShape {
    /// Coded, in pixels.
    pub width: u32,
    /// Coded, in pixels.
    pub height: u32,
    /// Shape of a pixel; written as `pasp` when not square.
    pub pixel_aspect: (u32, u32),
    /// Written as `colr` when known.
    pub color: Option<Color>,
}

/// Colour as code points of ITU-T H.273.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color {
    /// Primaries.
    pub primaries: u8,
    /// Transfer.
    pub transfer: u8,
    /// Matrix.
    pub matrix: u8,
    /// Full rather than studio range.
    pub full_range: bool,
}

/// Channels and rate of sound, for its sample entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioShape {
    /// Channels.
    pub channels: u16,
    /// In hertz; 0 is written above 65,535.
    pub sample_rate: u32,
}

/// A visual sample entry (ISO/IEC 14496-12 §12.1.3) with its configuration box.
pub fn picture_entry(fourcc: &[u8; 4], shape: &PictureShape, config: &[u8]) -> Vec<u8> {
    let side = |side: u32| (side.min(0xffff) as u16).to_be_bytes();
    let mut extra = Vec::new();
    if let Some(color) = shape.color {
        let range = u8::from(color.full_range) << 7;
        let points = [
            0,
            color.primaries,
            0,
            color.transfer,
            0,
            color.matrix,
            range,
        ];
        extra.extend_from_slice(&boxed(b"colr", &[b"nclx", &points]));
    }
    let (num, den) = shape.pixel_aspect;
    if num != den && num != 0 && den != 0 {
        extra.extend_from_slice(&boxed(b"pasp", &[&num.to_be_bytes(), &den.to_be_bytes()]));
    }
    boxed(
        fourcc,
        &[
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0; 16],
            &side(shape.width),
            &side(shape.height),
            // 72 dpi, one frame a sample, no compressor name, 24 bits, no colour table.
            &[0, 0x48, 0, 0, 0, 0x48, 0, 0, 0, 0, 0, 0, 0, 1],
            &[0; 32],
            &[0, 0x18, 0xff, 0xff],
            config,
            &extra,
        ],
    )
}

/// An audio sample entry (ISO/IEC 14496-12 §12.2.3) with its configuration box.
pub fn audio_entry(fourcc: &[u8; 4], shape: AudioShape, config: &[u8]) -> Vec<u8> {
    let rate = u16::try_from(shape.sample_rate).unwrap_or(0);
    boxed(
        fourcc,
        &[
            &[0, 0, 0, 0, 0, 0, 0, 1],
            &[0; 8],
            &shape.channels.to_be_bytes(),
            &[0, 16, 0, 0, 0, 0],
            &rate.to_be_bytes(),
            &[0, 0],
            config,
        ],
    )
}

/// `avcC` from its payload.
pub fn avcc(payload: &[u8]) -> Vec<u8> {
    boxed(b"avcC", &[payload])
}

/// `hvcC` from its payload.
pub fn hvcc(payload: &[u8]) -> Vec<u8> {
    boxed(b"hvcC", &[payload])
}

/// `av1C` from its payload.
pub fn av1c(payload: &[u8]) -> Vec<u8> {
    boxed(b"av1C", &[payload])
}

/// `vpcC`: profile, level times ten, bit depth and 4:2:0 (1) or another subsampling code.
pub fn vpcc(
    profile: u8,
    level: u8,
    bit_depth: u8,
    subsampling: u8,
    color: Option<Color>,
) -> Vec<u8> {
    let color = color.unwrap_or(Color {
        primaries: 2,
        transfer: 2,
        matrix: 2,
        full_range: false,
    });
    let packed = bit_depth << 4 | (subsampling & 7) << 1 | u8::from(color.full_range);
    boxed(
        b"vpcC",
        &[&[
            1,
            0,
            0,
            0,
            profile,
            level,
            packed,
            color.primaries,
            color.transfer,
            color.matrix,
            0,
            0,
        ]],
    )
}

/// `esds` of AAC from its AudioSpecificConfig.
pub fn esds_aac(config: &[u8], bitrate_bps: u32) -> Vec<u8> {
    esds(0x40, Some(config), bitrate_bps)
}

/// `esds` of MP3 (MPEG-1 layer III, or MPEG-2 at lower rates).
pub fn esds_mp3(sample_rate: u32, bitrate_bps: u32) -> Vec<u8> {
    esds(
        if sample_rate < 32_000 { 0x69 } else { 0x6b },
        None,
        bitrate_bps,
    )
}

/// ISO/IEC 14496-1 §7.2.6: ES descriptor, decoder configuration, the codec's own record, SL configuration.
fn esds(object_type: u8, config: Option<&[u8]>, bitrate_bps: u32) -> Vec<u8> {
    let own = config
        .map(|config| descriptor(5, &[config]))
        .unwrap_or_default();
    let rate = bitrate_bps.to_be_bytes();
    let decoder = descriptor(4, &[&[object_type, 0x15, 0, 0, 0], &rate, &rate, &own]);
    let whole = descriptor(3, &[&[0, 1, 0], &decoder, &descriptor(6, &[&[2]])]);
    boxed(b"esds", &[&[0; 4], &whole])
}

fn descriptor(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = vec![tag];
    for shift in [21, 14, 7] {
        out.push(0x80 | (length >> shift) as u8 & 0x7f);
    }
    out.push(length as u8 & 0x7f);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

/// `dOps` from an `OpusHead` (RFC 7845 §5.1), which has the same fields in the other byte order.
pub fn dops(head: &[u8]) -> Option<Vec<u8>> {
    let fields = head.strip_prefix(b"OpusHead")?;
    let [
        _,
        channels,
        s0,
        s1,
        r0,
        r1,
        r2,
        r3,
        g0,
        g1,
        mapping,
        table @ ..,
    ] = fields
    else {
        return None;
    };
    if *mapping != 0 && table.len() < 2 + usize::from(*channels) {
        return None;
    }
    let table = if *mapping == 0 {
        &[][..]
    } else {
        &table[..2 + usize::from(*channels)]
    };
    Some(boxed(
        b"dOps",
        &[
            &[
                0, *channels, *s1, *s0, *r3, *r2, *r1, *r0, *g1, *g0, *mapping,
            ],
            table,
        ],
    ))
}

/// `dfLa` from the 34 bytes of a STREAMINFO block.
pub fn dfla(stream_info: &[u8]) -> Option<Vec<u8>> {
    let block: &[u8; 34] = stream_info
        .strip_prefix(b"fLaC\x80\0\0\x22")
        .unwrap_or(stream_info)
        .first_chunk()?;
    // The last (and only) metadata block, of type STREAMINFO, 34 bytes long.
    Some(boxed(b"dfLa", &[&[0; 4], &[0x80, 0, 0, 34], block]))
}

/// `dac3` from the first frame of AC-3 (ETSI TS 102 366 §F.4).
pub fn dac3(frame: &[u8]) -> Option<Vec<u8>> {
    let [0x0b, 0x77, _, _, rate, id, modes, more, ..] = *frame else {
        return None;
    };
    let (rate_code, size_code) = (rate >> 6, rate & 0x3f);
    let (stream_id, mode) = (id >> 3, id & 7);
    if stream_id > 10 || rate_code == 3 {
        return None;
    }
    let channels = modes >> 5;
    let lfe = lfe_bit(channels, modes, more);
    let packed = u32::from(rate_code) << 22
        | u32::from(stream_id) << 17
        | u32::from(mode) << 14
        | u32::from(channels) << 11
        | u32::from(lfe) << 10
        | u32::from(size_code >> 1) << 5;
    Some(boxed(b"dac3", &[&packed.to_be_bytes()[1..]]))
}

/// The `lfeon` bit lies behind mix levels that are there only for some channel modes.
fn lfe_bit(channels: u8, modes: u8, more: u8) -> u8 {
    let bits = u16::from(modes) << 8 | u16::from(more);
    let mut skip = 3;
    if channels & 1 != 0 && channels != 1 {
        skip += 2;
    }
    if channels & 4 != 0 {
        skip += 2;
    }
    if channels == 2 {
        skip += 2;
    }
    (bits >> (15 - skip) & 1) as u8
}

/// `dec3` from the first frame of E-AC-3 with one independent substream (ETSI TS 102 366 §F.6).
pub fn dec3(frame: &[u8], bitrate_bps: u64) -> Option<Vec<u8>> {
    let [0x0b, 0x77, kind, _, rate, id, ..] = *frame else {
        return None;
    };
    let stream_id = id >> 3;
    // Stream type 0 or 2 (independent), substream 0, bit stream 11 to 16.
    if kind >> 6 == 1 || kind >> 3 & 7 != 0 || !(11..=16).contains(&stream_id) {
        return None;
    }
    let (rate_code, channels, lfe) = (rate >> 6, rate >> 1 & 7, rate & 1);
    let kbps = u16::try_from(bitrate_bps / 1000)
        .unwrap_or(0x1fff)
        .min(0x1fff);
    let packed = u32::from(rate_code) << 22
        | u32::from(stream_id) << 17
        | u32::from(channels) << 9
        | u32::from(lfe) << 8;
    Some(boxed(
        b"dec3",
        &[&(kbps << 3).to_be_bytes(), &packed.to_be_bytes()[1..]],
    ))
}

/// `alac` from its magic cookie (the 24 bytes, or the box FFmpeg keeps around them).
pub fn alac(cookie: &[u8]) -> Option<Vec<u8>> {
    let plain = if cookie.get(4..8) == Some(b"alac") {
        cookie.get(12..)?
    } else {
        cookie
    };
    (plain.len() >= 24).then(|| boxed(b"alac", &[&[0; 4], plain]))
}
