//! Which segments share one encoder.
//!
//! Each chunk of about [`CHUNK_S`] starts with a fresh encoder, so that a job resumed at any segment, on any worker,
//! gives the same bytes: the chunks follow from the cut times alone, never from where a job began.

use std::ops::Range;

use crate::index::Rational;

/// A chunk ends with the first segment that makes it at least this long, in seconds.
pub const CHUNK_S: f64 = 40.0;

/// The chunks of a film whose segment `n` is `cuts[n]..cuts[n + 1]`, as ranges of segment numbers, in order.
/// Fewer than two cuts give none.
pub fn chunks(cuts: &[i64], time_base: Rational) -> Vec<Range<usize>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    for end in 1..cuts.len() {
        let length_s = (cuts[end].saturating_sub(cuts[start])) as f64 * time_base.as_f64();
        if length_s >= CHUNK_S || end + 1 == cuts.len() {
            chunks.push(start..end);
            start = end;
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn four_second_segments_go_by_ten() {
        let cuts: Vec<i64> = (0..=25).map(|n| n * 4).collect();
        assert_eq!(chunks(&cuts, Rational::new(1, 1)), [0..10, 10..20, 20..25]);
    }

    #[test]
    fn nothing_to_do_is_no_chunk() {
        assert!(chunks(&[], Rational::new(1, 1)).is_empty());
        assert!(chunks(&[7], Rational::new(1, 1)).is_empty());
    }

    proptest! {
        #[test]
        fn every_segment_is_in_exactly_one_chunk(steps in proptest::collection::vec(1i64..100, 1..200)) {
            let mut cuts = vec![0];
            for step in steps {
                cuts.push(cuts[cuts.len() - 1] + step);
            }
            let flat: Vec<usize> = chunks(&cuts, Rational::new(1, 2)).into_iter().flatten().collect();
            prop_assert_eq!(flat, (0..cuts.len() - 1).collect::<Vec<_>>());
        }
    }
}
