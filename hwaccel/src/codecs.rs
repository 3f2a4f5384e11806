//! Names of codecs as players want them (RFC 6381), from the configuration records of the containers.
//!
//! Records come from strangers: whatever is too short or makes no sense gives `None`.

use std::fmt::Write;

/// `avc1.PPCCLL` from the payload of `avcC` (ISO/IEC 14496-15 §5.3.3); `avc1` or `avc3` as `fourcc`.
pub fn avc(fourcc: &str, config: &[u8]) -> Option<String> {
    match config {
        [1, profile, compatibility, level, ..] => Some(format!(
            "{fourcc}.{profile:02x}{compatibility:02x}{level:02x}"
        )),
        _ => None,
    }
}

/// `hvc1.A.B.C.D` from the payload of `hvcC` (ISO/IEC 14496-15 annex E.3); `hvc1` or `hev1` as `fourcc`.
pub fn hevc(fourcc: &str, config: &[u8]) -> Option<String> {
    let head: &[u8; 13] = config.first_chunk()?;
    let space = ["", "A", "B", "C"][usize::from(head[1] >> 6)];
    let tier = if head[1] & 0x20 == 0 { 'L' } else { 'H' };
    let profile = head[1] & 0x1f;
    let compatibility = u32::from_be_bytes([head[2], head[3], head[4], head[5]]).reverse_bits();
    let mut name = format!(
        "{fourcc}.{space}{profile}.{compatibility:X}.{tier}{}",
        head[12]
    );
    let constraints = &head[6..12];
    let used = constraints
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    for byte in &constraints[..used] {
        write!(name, ".{byte:X}").ok()?;
    }
    Some(name)
}

/// `av01.P.LLT.DD` from the payload of `av1C` (AV1 in ISOBMFF §2.3, §5).
pub fn av1(config: &[u8]) -> Option<String> {
    let [0x81, levels, flags, ..] = *config else {
        return None;
    };
    let depth = match (flags & 0x40 != 0, flags & 0x20 != 0) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    let tier = if flags & 0x80 == 0 { 'M' } else { 'H' };
    Some(format!(
        "av01.{}.{:02}{tier}.{depth:02}",
        levels >> 5,
        levels & 0x1f
    ))
}

/// `vp09.PP.LL.DD` (VP Codec ISO Media File Format Binding).
pub fn vp9(profile: u8, level: u8, bit_depth: u8) -> String {
    format!("vp09.{profile:02}.{level:02}.{bit_depth:02}")
}

/// The lowest VP9 level (times ten) for a picture of this size and rate, as in the VP9 levels table.
pub fn vp9_level(width: u32, height: u32, frames_per_s: f64) -> u8 {
    const LEVELS: [(u8, f64, f64); 14] = [
        (10, 829_440.0, 36_864.0),
        (11, 2_764_800.0, 73_728.0),
        (20, 4_608_000.0, 122_880.0),
        (21, 9_216_000.0, 245_760.0),
        (30, 20_736_000.0, 552_960.0),
        (31, 36_864_000.0, 983_040.0),
        (40, 83_558_400.0, 2_228_224.0),
        (41, 160_432_128.0, 2_228_224.0),
        (50, 311_951_360.0, 8_912_896.0),
        (51, 588_251_136.0, 8_912_896.0),
        (52, 1_176_502_272.0, 8_912_896.0),
        (60, 1_176_502_272.0, 35_651_584.0),
        (61, 2_353_004_544.0, 35_651_584.0),
        (62, 4_706_009_088.0, 35_651_584.0),
    ];
    let picture = f64::from(width) * f64::from(height);
    LEVELS
        .iter()
        .find(|(_, rate, size)| picture * frames_per_s <= *rate && picture <= *size)
        .map_or(62, |(level, _, _)| *level)
}

/// `mp4a.40.N` from an AudioSpecificConfig (ISO/IEC 14496-3 §1.6.2.1).
pub fn aac(config: &[u8]) -> Option<String> {
    let [first, second, ..] = *config else {
        return None;
    };
    let kind = match first >> 3 {
        31 => 32 + ((first & 7) << 3 | second >> 5),
        0 => return None,
        kind => kind,
    };
    Some(format!("mp4a.40.{kind}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_records() {
        assert_eq!(
            avc("avc1", &[1, 0x64, 0, 0x1f, 0xff]).as_deref(),
            Some("avc1.64001f")
        );
        let main10 = [1, 2, 0x20, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 120, 0xf0];
        assert_eq!(hevc("hvc1", &main10).as_deref(), Some("hvc1.2.4.L120.90"));
        assert_eq!(
            av1(&[0x81, 0x08, 0x4c, 0]).as_deref(),
            Some("av01.0.08M.10")
        );
        assert_eq!(vp9(0, vp9_level(1920, 1080, 30.0), 8), "vp09.00.40.08");
        assert_eq!(aac(&[0x12, 0x10]).as_deref(), Some("mp4a.40.2"));
        assert_eq!(aac(&[0xf8, 0xe0]).as_deref(), Some("mp4a.40.39"));
    }

    proptest! {
        #[test]
        fn hostile_records_never_panic(config in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = (avc("avc1", &config), hevc("hvc1", &config), av1(&config), aac(&config));
        }
    }
}
