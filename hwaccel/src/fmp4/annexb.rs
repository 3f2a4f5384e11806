//! H.264 as encoders give it (Annex B, start codes) to H.264 as CMAF wants it (`avcC`, length prefixes).

/// NAL unit types of parameter sets and delimiters, which have no place in a sample.
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;

/// The NAL units of an Annex B stream, without start codes and trailing zeros; empty ones are left out.
pub fn units(stream: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start(stream).map(|at| &stream[at..]);
    std::iter::from_fn(move || {
        let unit = rest?;
        let next = after_start(unit);
        rest = next.map(|at| &unit[at..]);
        let end = next.map_or(unit.len(), |at| at - 3);
        let zeros = unit[..end]
            .iter()
            .rev()
            .take_while(|byte| **byte == 0)
            .count();
        Some(&unit[..end - zeros])
    })
    .filter(|unit| !unit.is_empty())
}

/// Where the first start code ends.
fn after_start(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(3)
        .position(|word| word == [0, 0, 1])
        .map(|at| at + 3)
}

/// The payload of `avcC` (ISO/IEC 14496-15 §5.3.3) from parameter sets in Annex B form.
pub fn avcc_payload(extradata: &[u8]) -> Option<Vec<u8>> {
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
    if matches!(profile, 100 | 110 | 122 | 144) {
        // 4:2:0, eight bits, no extensions: all that is ever encoded here.
        payload.extend_from_slice(&[0xfd, 0xf8, 0xf8, 0]);
    }
    Some(payload)
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
        let payload = avcc_payload(STREAM).expect("both sets are there");
        assert_eq!(payload[..8], [1, 0x64, 0, 0x1e, 0xff, 0xe1, 0, 5]);
        assert_eq!(
            crate::codecs::avc("avc1", &payload).as_deref(),
            Some("avc1.64001e")
        );
    }

    #[test]
    fn without_parameter_sets_there_is_no_record() {
        assert_eq!(avcc_payload(&STREAM[9..]), None);
        assert_eq!(avcc_payload(&[]), None);
    }

    proptest! {
        #[test]
        fn hostile_streams_never_panic(stream in proptest::collection::vec(0u8..4, 0..80)) {
            let _ = (avcc_payload(&stream), length_prefixed(&stream));
        }
    }
}
