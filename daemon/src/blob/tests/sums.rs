use proptest::prelude::*;

use super::super::sums::{SUM_BYTES, Summer, block_sum, root};
use super::noise;
use crate::kernel::limits::SUM_BLOCK_BYTES;

const MIB: usize = SUM_BLOCK_BYTES as usize;

/// Sizes around block borders, and anywhere up to nine blocks.
fn size() -> impl Strategy<Value = usize> {
    let border = (0_usize..9, -2_isize..=2).prop_map(|(n, d)| (n * MIB).saturating_add_signed(d));
    prop_oneof![border, 0..9 * MIB]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_whole_is_blake3_whatever_the_pieces(len in size(), cuts in prop::collection::vec(0_usize..9 * MIB, 0..6)) {
        let bytes = noise(len);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(len)).collect();
        cuts.extend([0, len]);
        cuts.sort_unstable();
        let mut summer = Summer::new();
        for pair in cuts.windows(2) {
            summer.update(&bytes[pair[0]..pair[1]]);
        }
        prop_assert_eq!(summer.size(), len as u64);
        let digest = summer.finish();
        prop_assert_eq!(digest.blake3, *blake3::hash(&bytes).as_bytes());
        prop_assert_eq!(digest.sums.len(), len.div_ceil(MIB) * SUM_BYTES);
        if len > MIB {
            prop_assert_eq!(root(&digest.sums), Some(digest.blake3));
        }
        for (number, block) in bytes.chunks(MIB).enumerate() {
            let sum = block_sum(number as u64, block).unwrap();
            prop_assert_eq!(&sum[..], &digest.sums[number * SUM_BYTES..][..SUM_BYTES]);
        }
    }

    #[test]
    fn a_resumed_sum_ends_the_same(len in size(), stop in 0_usize..9 * MIB) {
        let bytes = noise(len);
        let stop = stop.min(len);
        let mut first = Summer::new();
        first.update(&bytes[..stop]);
        let known = first.full_sums();
        prop_assert_eq!(known.len(), stop / MIB * SUM_BYTES);
        let mut second = Summer::resume(&known, stop as u64);
        let from = second.size() as usize;
        prop_assert!(from <= stop && (stop - from < MIB || stop < 2 * MIB));
        second.update(&bytes[from..]);
        let digest = second.finish();
        prop_assert_eq!(digest.blake3, *blake3::hash(&bytes).as_bytes());
    }
}

#[test]
fn sums_that_are_too_many_or_torn_are_not_trusted() {
    let summer = Summer::resume(&[7; 5 * SUM_BYTES + 3], 3 * SUM_BLOCK_BYTES);
    assert_eq!(summer.size(), 3 * SUM_BLOCK_BYTES);
    assert_eq!(block_sum(0, &[]), None);
    assert_eq!(block_sum(0, &vec![0; MIB + 1]), None);
    assert_eq!(root(&[0; SUM_BYTES]), None);
}
