//! BLAKE3 of a file whose blocks come in any order.
//!
//! Several lanes carry several stretches of one file at once, so no single hasher sees it from its first byte to its last.
//! Here each block has its chaining value in the BLAKE3 tree of the whole, and the hash is their merge:
//! the same 64 digits that hashing in one go gives, as the node computes them too.
//!
//! A block's sum is either *told* (an earlier run wrote it down) or *seen* (this run read the bytes).
//! A told sum that differs from the one that is seen means that the content is not what it was.

use blake3::{
    Hash, Hasher,
    hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root},
};
use std::ops::Range;

const MIB: u64 = 1 << 20;
/// Files up to here have blocks of 1 MiB; longer ones larger blocks, so that their sums stay few.
const SMALL_BLOCKS_TO: u64 = 64 << 30;

/// What is known of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Unknown,
    Told([u8; 32]),
    Seen([u8; 32]),
}

/// The block is not what an earlier run saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Differs;

/// The sums of one file.
#[derive(Debug)]
pub(crate) struct Sums {
    size_bytes: u64,
    blocks: Vec<Block>,
}

/// How long the blocks of a file are: a power of two, as the tree wants.
pub(crate) fn block_bytes(size_bytes: u64) -> u64 {
    if size_bytes <= SMALL_BLOCKS_TO {
        MIB
    } else {
        4 * MIB
    }
}

/// How many blocks a file has.
pub(crate) fn block_count(size_bytes: u64) -> usize {
    usize::try_from(size_bytes.div_ceil(block_bytes(size_bytes))).unwrap_or(usize::MAX)
}

/// Where a block lies.
pub(crate) fn block_range(size_bytes: u64, block: usize) -> Range<u64> {
    let length = block_bytes(size_bytes);
    let start = (block as u64 * length).min(size_bytes);
    start..(start + length).min(size_bytes)
}

/// The sum of one whole block of a file of this size.
pub(crate) fn block_sum(size_bytes: u64, block: usize, content: &[u8]) -> [u8; 32] {
    if block_count(size_bytes) <= 1 {
        // The only block is the root itself.
        return *blake3::hash(content).as_bytes();
    }
    let mut hasher = Hasher::new();
    hasher.set_input_offset(block as u64 * block_bytes(size_bytes));
    hasher.update(content).finalize_non_root()
}

impl Sums {
    /// Of a file of which nothing is known.
    pub(crate) fn new(size_bytes: u64) -> Self {
        Self {
            size_bytes,
            blocks: vec![Block::Unknown; block_count(size_bytes)],
        }
    }

    /// Takes in what an earlier run saw.
    pub(crate) fn tell(&mut self, block: usize, sum: [u8; 32]) {
        if let Some(known @ (Block::Unknown | Block::Told(_))) = self.blocks.get_mut(block) {
            *known = Block::Told(sum);
        }
    }

    /// Takes in what was read now.
    pub(crate) fn see(&mut self, block: usize, sum: [u8; 32]) -> Result<(), Differs> {
        let Some(known) = self.blocks.get_mut(block) else {
            return Err(Differs);
        };
        match *known {
            Block::Told(told) | Block::Seen(told) if told != sum => Err(Differs),
            _ => {
                *known = Block::Seen(sum);
                Ok(())
            }
        }
    }

    /// The block's sum, when this run has read it.
    pub(crate) fn seen(&self, block: usize) -> Option<[u8; 32]> {
        match self.blocks.get(block) {
            Some(Block::Seen(sum)) => Some(*sum),
            _ => None,
        }
    }

    /// Whether an earlier run or this one knows its sum.
    pub(crate) fn is_known(&self, block: usize) -> bool {
        !matches!(self.blocks.get(block), Some(Block::Unknown) | None)
    }

    /// Forgets a block.
    pub(crate) fn forget(&mut self, block: usize) {
        if let Some(known) = self.blocks.get_mut(block) {
            *known = Block::Unknown;
        }
    }

    /// The first block from `from` on that this run has not read.
    pub(crate) fn next_unseen(&self, from: usize) -> Option<usize> {
        (from..self.blocks.len()).find(|block| self.seen(*block).is_none())
    }

    /// The hash of the whole, once every block was seen.
    pub(crate) fn root(&self) -> Option<Hash> {
        let values: Option<Vec<ChainingValue>> = self
            .blocks
            .iter()
            .map(|block| match block {
                Block::Seen(sum) => Some(*sum),
                _ => None,
            })
            .collect();
        Some(match values?.as_slice() {
            [] if self.size_bytes == 0 => blake3::hash(b""),
            [] => return None,
            [only] => Hash::from_bytes(*only),
            many => {
                let (left, right) = many.split_at(left_len(many.len()));
                merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash)
            }
        })
    }
}

/// The left side of a BLAKE3 tree holds the largest power of two that leaves something for the right.
fn left_len(len: usize) -> usize {
    len.next_power_of_two() / 2
}

fn subtree(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [one] => *one,
        [] => [0; 32],
        more => {
            let (left, right) = more.split_at(left_len(more.len()));
            merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn content(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|i| (i * 31 + i / 997) as u8).collect()
    }

    #[test]
    fn blocks_in_any_order_give_the_hash_of_the_whole() {
        let mib = usize::try_from(MIB).unwrap();
        for bytes in [0, 1, mib - 1, mib, mib + 1, 3 * mib, 5 * mib + 17] {
            let content = content(bytes);
            let size = bytes as u64;
            let mut sums = Sums::new(size);
            let count = block_count(size);
            for block in (0..count).rev() {
                assert_eq!(sums.root(), None, "{bytes}");
                let range = block_range(size, block);
                let piece = &content[range.start as usize..range.end as usize];
                assert_eq!(sums.see(block, block_sum(size, block, piece)), Ok(()));
            }
            assert_eq!(sums.root(), Some(blake3::hash(&content)), "{bytes}");
        }
    }

    #[test]
    fn what_was_told_is_held_against_what_is_seen() {
        let mut sums = Sums::new(3 * MIB);
        sums.tell(1, [7; 32]);
        assert!(sums.is_known(1) && sums.seen(1).is_none());
        assert_eq!(sums.see(1, [8; 32]), Err(Differs));
        assert_eq!(sums.see(1, [7; 32]), Ok(()));
        assert_eq!(sums.next_unseen(0), Some(0));
        assert_eq!(sums.next_unseen(1), Some(2));
        sums.forget(1);
        assert_eq!(sums.see(1, [8; 32]), Ok(()));
        assert_eq!(sums.see(9, [0; 32]), Err(Differs));
    }
}
