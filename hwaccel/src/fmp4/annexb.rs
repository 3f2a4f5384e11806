//! H.264 as encoders give it (Annex B, start codes) to H.264 as CMAF wants it (`avcC`, length prefixes).

use std::ops::Range;

/// Every unit follows one, often behind a further zero.
const START: &[u8] = &[0, 0, 1];
/// NAL unit types of parameter sets and delimiters, which have no place in a sample.
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;

/// Where the NAL units of an Annex B stream lie in it, without start codes and trailing zeros; empty ones are left out.
pub fn unit_ranges(stream: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = after_start(stream, 0);
    std::iter::from_fn(move || {
        let from = start?;
        start = after_start(stream, from);
        let end = start.map_or(stream.len(), |next| next - START.len());
        let zeros = stream[from..end]
            .iter()
            .rev()
            .take_while(|byte| **byte == 0)
            .count();
        Some(from..end - zeros)
    })
    .filter(|unit| !unit.is_empty())
}

/// The NAL units of an Annex B stream, as [`unit_ranges`] finds them.
pub fn units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    unit_ranges(stream).map(|unit| &stream[unit])
}

/// Where the first start code at or behind a place ends.
fn after_start(bytes: &[u8], from: usize) -> Option<usize> {
    let found = memchr::memmem::find(&bytes[from..], START)?;
    Some(from + found + START.len())
}

/// How fine a picture's colours are, as configuration records want it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// `chroma_format_idc`: 0 for none, 1 for 4:2:0, 2 for 4:2:2, 3 for 4:4:4.
    pub chroma: u8,
    /// Bits of a colour sample.
    pub bit_depth: u8,
}

/// 4:2:0 in eight bits: all that is ever encoded here.
pub const USUAL: Sampling = Sampling {
    chroma: 1,
    bit_depth: 8,
};

/// The payload of `avcC` (ISO/IEC 14496-15 §5.3.3) from parameter sets in Annex B form.
pub fn avcc_payload(extradata: &[u8], sampling: Sampling) -> Option<Vec<u8>> {
    let of = |kind: u8| units(extradata).find(|unit| unit[0] & 0x1f == kind);
    let (sps, pps) = (of(SPS)?, of(PPS)?);
    let [_, profile, compatibility, level, ..] = *sps else {
        return None;
    };
    let mut payload = vec![1, profile, compatibility, level, 0xff, 0xe1];
    payload.extend_from_slice(&u16::try_from(sps.len()).ok()?.to_be_bytes());
    payload.extend_from_slice(sps);
    payload.push(1);
    payload.extend_from_slice(&u16::try_from(pps.len()).ok()?.to_be_bytes());
    payload.extend_from_slice(pps);
    if matches!(profile, 100 | 110 | 122 | 144 | 244) {
        let depth = 0xf8 | sampling.bit_depth.saturating_sub(8) & 7;
        payload.extend_from_slice(&[0xfc | sampling.chroma & 3, depth, depth, 0]);
    }
    Some(payload)
}

/// The payload of `hvcC` (ISO/IEC 14496-15 §8.3.3) from parameter sets in Annex B form.
pub fn hvcc_payload(extradata: &[u8], sampling: Sampling) -> Option<Vec<u8>> {
    const VPS: u8 = 32;
    const SETS: [u8; 3] = [VPS, VPS + 1, VPS + 2];
    let of = |kind: u8| units(extradata).filter(move |unit| unit[0] >> 1 & 0x3f == kind);
    let sps: Vec<u8> = unescaped(of(SETS[1]).next()?).take(15).collect();
    // Two bytes of unit header; then four bits, the sub-layers and a flag; then profile, tier and level in twelve bytes.
    let [_, _, layers, profile @ ..] = sps.as_slice() else {
        return None;
    };
    let profile: &[u8; 12] = profile.first_chunk()?;
    let depth = 0xf8 | sampling.bit_depth.saturating_sub(8) & 7;
    let temporal_layers = (layers >> 1 & 7) + 1;
    let mut payload = vec![1];
    payload.extend_from_slice(profile);
    payload.extend_from_slice(&[
        0xf0,
        0,
        0xfc,
        0xfc | sampling.chroma & 3,
        depth,
        depth,
        0,
        0,
    ]);
    payload.push(temporal_layers << 3 | (layers & 1) << 2 | 3);
    payload.push(SETS.len() as u8);
    for kind in SETS {
        let sets: Vec<&[u8]> = of(kind).collect();
        payload.push(kind);
        payload.extend_from_slice(&u16::try_from(sets.len()).ok()?.to_be_bytes());
        for set in sets {
            payload.extend_from_slice(&u16::try_from(set.len()).ok()?.to_be_bytes());
            payload.extend_from_slice(set);
        }
    }
    of(VPS).next().is_some().then_some(payload)
}

/// A unit's bytes without those that keep it from looking like a start code (ITU-T H.265 §7.3.1.1).
fn unescaped(unit: &[u8]) -> impl Iterator<Item = u8> {
    let mut zeros = 0;
    unit.iter().copied().filter(move |byte| {
        let escape = zeros >= 2 && *byte == 3;
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        !escape
    })
}

/// A sample with four-byte lengths, without parameter sets and delimiters.
pub fn length_prefixed(stream: &[u8]) -> Vec<u8> {
    let mut sample = Vec::with_capacity(stream.len() + 16);
    for unit in units(stream).filter(|unit| !matches!(unit[0] & 0x1f, SPS | PPS | DELIMITER)) {
        sample.extend_from_slice(&(unit.len() as u32).to_be_bytes());
        sample.extend_from_slice(unit);
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STREAM: &[u8] = &[
        0, 0, 0, 1, 0x67, 0x64, 0, 0x1e, 9, 0, 0, 1, 0x68, 5, 0, 0, 0, 1, 0x65, 1, 2, 3, 0, 0,
    ];

    #[test]
    fn a_stream_is_taken_apart() {
        let found: Vec<&[u8]> = units(STREAM).collect();
        assert_eq!(
            found,
            [&[0x67, 0x64, 0, 0x1e, 9][..], &[0x68, 5], &[0x65, 1, 2, 3]]
        );
        assert_eq!(length_prefixed(STREAM), [0, 0, 0, 4, 0x65, 1, 2, 3]);
        let payload = avcc_payload(STREAM, USUAL).expect("both sets are there");
        assert_eq!(payload[..8], [1, 0x64, 0, 0x1e, 0xff, 0xe1, 0, 5]);
        assert_eq!(
            crate::codecs::avc("avc1", &payload).as_deref(),
            Some("avc1.64001e")
        );
    }

    #[test]
    fn a_record_of_hevc_names_its_profile() {
        // Main, level 3.1, with an emulation prevention byte in the constraints, as encoders write it.
        let sps = [
            0x42, 1, 1, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0xa0,
        ];
        let mut stream = vec![0, 0, 0, 1, 0x40, 1, 0xc, 0, 0, 1];
        stream.extend(sps);
        stream.extend([0, 0, 1, 0x44, 1, 0xc1]);
        let payload = hvcc_payload(&stream, USUAL).expect("all sets are there");
        assert_eq!(
            crate::codecs::hevc("hvc1", &payload).as_deref(),
            Some("hvc1.1.6.L93.90")
        );
        assert_eq!(payload[21..23], [0x0f, 3]);
        assert_eq!(hvcc_payload(&stream[10..], USUAL), None);
    }

    #[test]
    fn without_parameter_sets_there_is_no_record() {
        assert_eq!(avcc_payload(&STREAM[9..], USUAL), None);
        assert_eq!(avcc_payload(&[], USUAL), None);
    }

    proptest! {
        #[test]
        fn hostile_streams_never_panic(stream in proptest::collection::vec(0u8..4, 0..80)) {
            let _ = (avcc_payload(&stream, USUAL), hvcc_payload(&stream, USUAL), length_prefixed(&stream));
        }
    }
}
