//! A `.sup` file from packets of presentation graphics: each segment behind a header with its time.

/// Ticks per second of its times.
const CLOCK: i64 = 90_000;

/// Appends the segments of one packet shown at `time_us`; what is cut off at the end of a packet is left out.
pub fn append(out: &mut Vec<u8>, time_us: i64, mut packet: &[u8]) {
    let ticks = (i128::from(time_us.max(0)) * i128::from(CLOCK) / 1_000_000) as u32;
    while let Some((&[kind, high, low], rest)) = packet.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let Some((body, rest)) = rest.split_at_checked(length) else {
            return;
        };
        out.extend_from_slice(b"PG");
        out.extend_from_slice(&ticks.to_be_bytes());
        // The decoding time, which nobody reads.
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[kind, high, low]);
        out.extend_from_slice(body);
        packet = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_segment_gets_a_header() {
        let mut out = Vec::new();
        append(
            &mut out,
            2_000_000,
            &[0x16, 0, 2, 7, 8, 0x80, 0, 0, 0x14, 0, 9, 1],
        );
        let head = [b'P', b'G', 0, 2, 0xbf, 0x20, 0, 0, 0, 0];
        let expected = [&head[..], &[0x16, 0, 2, 7, 8], &head[..], &[0x80, 0, 0]].concat();
        assert_eq!(out, expected);
    }
}
