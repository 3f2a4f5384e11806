//! The sums of a blob: one mechanism for damage per MiB, the hash of the whole, and uploads that stop and go on.
//!
//! A blob is cut into blocks of 1 MiB ([`SUM_BLOCK_BYTES`]), the last one shorter or of full length.
//! The sum of a block is the 32-byte *chaining value* of that subtree in the BLAKE3 tree of the whole blob, never its root form, whatever the number of blocks.
//! `sums` is the sums in order: `32 × ⌈size / 1 MiB⌉` bytes, none for the empty blob.
//!
//! With two blocks or more, BLAKE3 of the whole is the merge of the sums ([`root`]).
//! With one block it is the root form of the same subtree, with none BLAKE3 of nothing; neither follows from the sums, so the digest always carries it too.
//!
//! The block sums of a growing blob never change once a block is full, so an upload continues from the stored sums and reads at most the last, unfinished block again.

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

use crate::kernel::limits::SUM_BLOCK_BYTES;

/// Bytes of one sum.
pub const SUM_BYTES: usize = 32;

/// What the bytes of a blob hash to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlobDigest {
    /// BLAKE3 of the whole.
    pub blake3: [u8; 32],
    /// 32 bytes per MiB, as the module says.
    pub sums: Vec<u8>,
}

/// Sums bytes as they come.
#[derive(Debug)]
pub(super) struct Summer {
    /// Blocks of the blob before those that are summed here.
    first: usize,
    /// Sums of the blocks before the current one.
    sums: Vec<u8>,
    /// The current block; it may be full, because only a byte more tells that it is not the last.
    block: Hasher,
}

impl Summer {
    /// For a blob from its first byte.
    pub(super) fn new() -> Self {
        Self::resume(&[], 0)
    }

    /// For a blob of which `offset` bytes are there and the sums of some full blocks are known.
    ///
    /// [`Summer::size`] tells where to go on: never behind `offset`, and at the first byte when less than two blocks are known, because the hash of a blob of one block does not follow from its sum.
    pub(super) fn resume(sums: &[u8], offset: u64) -> Self {
        let known = (sums.len() / SUM_BYTES).min((offset / SUM_BLOCK_BYTES) as usize);
        let known = if known < 2 { 0 } else { known };
        Self {
            first: 0,
            sums: sums[..known * SUM_BYTES].to_vec(),
            block: block_hasher(known),
        }
    }

    /// For a stretch of a blob that begins with its block `first`, of which `offset` bytes are there and the sums of some full blocks are known.
    ///
    /// All sizes count from the stretch's first byte; it ends with [`Summer::finish_stretch`].
    pub(super) fn stretch(first: u64, sums: &[u8], offset: u64) -> Self {
        let known = (sums.len() / SUM_BYTES).min((offset / SUM_BLOCK_BYTES) as usize);
        let first = first as usize;
        Self {
            first,
            sums: sums[..known * SUM_BYTES].to_vec(),
            block: block_hasher(first + known),
        }
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let mut room = SUM_BLOCK_BYTES - self.block.count();
            if room == 0 {
                self.sums.extend_from_slice(&self.block.finalize_non_root());
                self.block = block_hasher(self.first + self.sums.len() / SUM_BYTES);
                room = SUM_BLOCK_BYTES;
            }
            let (now, later) = bytes.split_at(bytes.len().min(room as usize));
            self.block.update(now);
            bytes = later;
        }
    }

    /// Bytes summed so far.
    pub(super) fn size(&self) -> u64 {
        (self.sums.len() / SUM_BYTES) as u64 * SUM_BLOCK_BYTES + self.block.count()
    }

    /// Sums of the full blocks so far, with which [`Summer::resume`] continues.
    pub(super) fn full_sums(&self) -> Vec<u8> {
        let mut sums = self.sums.clone();
        if self.block.count() == SUM_BLOCK_BYTES {
            sums.extend_from_slice(&self.block.finalize_non_root());
        }
        sums
    }

    /// The sums of a stretch, its last block included.
    pub(super) fn finish_stretch(mut self) -> Vec<u8> {
        if self.block.count() > 0 {
            self.sums.extend_from_slice(&self.block.finalize_non_root());
        }
        self.sums
    }

    /// The digest of what was summed.
    pub(super) fn finish(mut self) -> BlobDigest {
        if self.block.count() > 0 {
            self.sums.extend_from_slice(&self.block.finalize_non_root());
        }
        // Without a root there is one block at most, and it is the one in the hasher.
        let blake3 = root(&self.sums).unwrap_or_else(|| *self.block.finalize().as_bytes());
        BlobDigest {
            blake3,
            sums: self.sums,
        }
    }
}

fn block_hasher(number: usize) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.set_input_offset(number as u64 * SUM_BLOCK_BYTES);
    hasher
}

/// The sum of one block, the `number`th of its blob; `None` when it is empty or longer than a block.
pub fn block_sum(number: u64, bytes: &[u8]) -> Option<[u8; 32]> {
    if bytes.is_empty() || bytes.len() as u64 > SUM_BLOCK_BYTES {
        return None;
    }
    let mut hasher = block_hasher(usize::try_from(number).ok()?);
    Some(hasher.update(bytes).finalize_non_root())
}

/// BLAKE3 of the whole blob with these sums; `None` with fewer than two blocks, where the sums do not tell.
pub fn root(sums: &[u8]) -> Option<[u8; 32]> {
    let (values, _) = sums.as_chunks::<SUM_BYTES>();
    if values.len() < 2 {
        return None;
    }
    let (left, right) = values.split_at(left_len(values.len()));
    let whole = merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash);
    Some(*whole.as_bytes())
}

/// The left side of a BLAKE3 tree holds the largest power of two that leaves something for the right.
fn left_len(len: usize) -> usize {
    len.next_power_of_two() / 2
}

fn subtree(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [one] => *one,
        [] => [0; SUM_BYTES],
        more => {
            let (left, right) = more.split_at(left_len(more.len()));
            merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}
