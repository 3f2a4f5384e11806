//! MD5 of several streams at once, step by step abreast.
//!
//! The steps of one stream wait for each other and leave most of a processor idle; two streams side by side fill it, and
//! four fit the lanes of its vector unit.
//! It is plain arithmetic on arrays, which the compiler turns into vectors where there are any, once for each kind of
//! processor: the one at hand is chosen when it runs.
//!
//! A package of its own for one reason: without optimisation it would be the slowest part of every test.
#![forbid(unsafe_code)]

use multiversion::multiversion;

/// Streams abreast: what four lanes of 32 bits take.
pub const ABREAST: usize = 4;
/// Bytes of a block.
const BLOCK: usize = 64;
/// Bytes of a block that stay for the length of the message.
const LENGTH_AT: usize = BLOCK - 8;

/// The MD5 of a stream so far (RFC 1321).
#[derive(Clone, Debug)]
pub struct Md5 {
    state: [u32; 4],
    /// The beginning of a block that is not full.
    rest: [u8; BLOCK],
    bytes: u64,
}

impl Default for Md5 {
    fn default() -> Self {
        Self {
            state: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476],
            rest: [0; BLOCK],
            bytes: 0,
        }
    }
}

impl Md5 {
    fn rest_len(&self) -> usize {
        (self.bytes % BLOCK as u64) as usize
    }

    /// The digest.
    pub fn finish(mut self) -> [u8; 16] {
        let bits = self.bytes.wrapping_mul(8);
        let mut len = self.rest_len();
        self.rest[len] = 0x80;
        len += 1;
        if len > LENGTH_AT {
            self.rest[len..].fill(0);
            compress([&mut self.state], [&[self.rest]], 1);
            len = 0;
        }
        self.rest[len..LENGTH_AT].fill(0);
        self.rest[LENGTH_AT..].copy_from_slice(&bits.to_le_bytes());
        compress([&mut self.state], [&[self.rest]], 1);
        let mut digest = [0; 16];
        for (four, word) in digest.chunks_exact_mut(4).zip(self.state) {
            four.copy_from_slice(&word.to_le_bytes());
        }
        digest
    }
}

/// A stream, and the pieces of bytes that come next in it.
pub type Next<'a, P> = (&'a mut Md5, &'a [P]);

/// Takes the next bytes of at most [`ABREAST`] streams, as many abreast as have some left.
///
/// # Panics
/// With more streams than that.
pub fn update<P: AsRef<[u8]>>(streams: &mut [Next<'_, P>]) {
    assert!(streams.len() <= ABREAST, "there are {ABREAST} lanes");
    let next = streams.iter_mut();
    let mut runs: Vec<Run<'_, P>> = next.map(|(md5, pieces)| Run::new(md5, pieces)).collect();
    loop {
        runs.retain_mut(Run::has_block);
        let ready = runs.iter().map(|run| run.ready().len()).min();
        match (ready, runs.len()) {
            (None, _) => return,
            (Some(blocks), 1) => abreast::<1, P>(&mut runs, blocks),
            (Some(blocks), 2) => abreast::<2, P>(&mut runs, blocks),
            (Some(blocks), _) => abreast::<ABREAST, P>(&mut runs, blocks),
        }
    }
}

/// The bytes of one stream on their way through [`compress`].
struct Run<'a, P> {
    state: &'a mut [u32; 4],
    rest: &'a mut [u8; BLOCK],
    pieces: std::slice::Iter<'a, P>,
    /// What is left of the piece that was taken last.
    ahead: &'a [u8],
    /// Bytes in `rest`; a full one goes first.
    held: usize,
}

impl<'a, P: AsRef<[u8]>> Run<'a, P> {
    fn new(md5: &'a mut Md5, pieces: &'a [P]) -> Self {
        let held = md5.rest_len();
        let bytes: u64 = pieces.iter().map(|piece| piece.as_ref().len() as u64).sum();
        md5.bytes = md5.bytes.wrapping_add(bytes);
        Self {
            state: &mut md5.state,
            rest: &mut md5.rest,
            pieces: pieces.iter(),
            ahead: &[],
            held,
        }
    }

    /// Sees to it that a whole block is ready; `false` when there is none, and then every byte left is in `rest`.
    fn has_block(&mut self) -> bool {
        loop {
            if self.held == BLOCK || self.held == 0 && self.ahead.len() >= BLOCK {
                return true;
            }
            let few = self.ahead.len().min(BLOCK - self.held);
            let (now, later) = self.ahead.split_at(few);
            self.rest[self.held..self.held + few].copy_from_slice(now);
            self.held += few;
            self.ahead = later;
            if self.ahead.is_empty() && self.held < BLOCK {
                match self.pieces.next() {
                    Some(piece) => self.ahead = piece.as_ref(),
                    None => return false,
                }
            }
        }
    }

    /// At least one block, after [`Run::has_block`] said so.
    fn ready(&self) -> &[[u8; BLOCK]] {
        if self.held == BLOCK {
            std::slice::from_ref(self.rest)
        } else {
            self.ahead.as_chunks().0
        }
    }

    fn pass(&mut self, blocks: usize) {
        if self.held == BLOCK {
            self.held = 0;
        } else {
            self.ahead = &self.ahead[blocks * BLOCK..];
        }
    }
}

/// Passes blocks of at most N streams; the last goes through the lanes left over too, and what comes of that is nobody's.
fn abreast<const N: usize, P: AsRef<[u8]>>(runs: &mut [Run<'_, P>], blocks: usize) {
    let last = runs.len() - 1;
    let mut states: [[u32; 4]; N] = std::array::from_fn(|n| *runs[n.min(last)].state);
    let ready = std::array::from_fn(|n| runs[n.min(last)].ready());
    compress(states.each_mut(), ready, blocks);
    for (run, state) in runs.iter_mut().zip(states) {
        *run.state = state;
        run.pass(blocks);
    }
}

/// The sines of the 64 steps (RFC 1321 §3.4).
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// One word of each stream.
type Words<const N: usize> = [u32; N];

/// Takes the first `blocks` blocks of each of N streams (RFC 1321 §3.4).
///
/// Plain arrays, which the compiler turns into vectors where there are any; with those of AVX-512 a rotation and any
/// mixture of three words are one instruction each.
#[multiversion(targets(
    "x86_64+avx+avx2+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+bmi1+bmi2",
    "x86_64+avx+avx2+bmi1+bmi2"
))]
#[expect(
    clippy::needless_range_loop,
    reason = "a block is the same place in every stream"
)]
fn compress<const N: usize>(
    states: [&mut [u32; 4]; N],
    streams: [&[[u8; BLOCK]]; N],
    blocks: usize,
) {
    let of = |word: usize| -> Words<N> { std::array::from_fn(|n| states[n][word]) };
    let mut sum = [of(0), of(1), of(2), of(3)];
    for block in 0..blocks {
        let here: [&[u8; BLOCK]; N] = std::array::from_fn(|n| &streams[n][block]);
        let mut words = [[0; N]; 16];
        for (word, lanes) in words.iter_mut().enumerate() {
            for (lane, here) in lanes.iter_mut().zip(here) {
                let four = &here[word * 4..word * 4 + 4];
                *lane = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            }
        }
        let mut v = sum;
        round::<N, 7, 12, 17, 22>(&mut v, &words, 0, |i| i, |x, y, z| (x & y) | (!x & z));
        round::<N, 5, 9, 14, 20>(
            &mut v,
            &words,
            16,
            |i| 5 * i + 1,
            |x, y, z| (x & z) | (y & !z),
        );
        round::<N, 4, 11, 16, 23>(&mut v, &words, 32, |i| 3 * i + 5, |x, y, z| x ^ y ^ z);
        round::<N, 6, 10, 15, 21>(&mut v, &words, 48, |i| 7 * i, |x, y, z| y ^ (x | !z));
        for (sum, v) in sum.iter_mut().zip(v) {
            for (sum, v) in sum.iter_mut().zip(v) {
                *sum = sum.wrapping_add(v);
            }
        }
    }
    for (n, state) in states.into_iter().enumerate() {
        *state = std::array::from_fn(|word| sum[word][n]);
    }
}

/// Sixteen steps, which rotate by A, B, C and D in turns.
#[expect(
    clippy::inline_always,
    reason = "only what is part of `compress` is compiled for its kinds of processors"
)]
#[inline(always)]
fn round<const N: usize, const A: u32, const B: u32, const C: u32, const D: u32>(
    [a, b, c, d]: &mut [Words<N>; 4],
    words: &[Words<N>; 16],
    first: usize,
    which: impl Fn(usize) -> usize,
    mix: impl Fn(u32, u32, u32) -> u32 + Copy,
) {
    for four in (0..16).step_by(4) {
        let of = |i: usize| (words[which(four + i) & 15], SINES[first + four + i]);
        *a = step::<N, A>(*a, [*b, *c, *d], of(0), mix);
        *d = step::<N, B>(*d, [*a, *b, *c], of(1), mix);
        *c = step::<N, C>(*c, [*d, *a, *b], of(2), mix);
        *b = step::<N, D>(*b, [*c, *d, *a], of(3), mix);
    }
}

#[expect(
    clippy::inline_always,
    reason = "only what is part of `compress` is compiled for its kinds of processors"
)]
#[inline(always)]
fn step<const N: usize, const ROTATION: u32>(
    old: Words<N>,
    [x, y, z]: [Words<N>; 3],
    (word, sine): (Words<N>, u32),
    mix: impl Fn(u32, u32, u32) -> u32,
) -> Words<N> {
    std::array::from_fn(|n| {
        let sum = old[n]
            .wrapping_add(mix(x[n], y[n], z[n]))
            .wrapping_add(word[n])
            .wrapping_add(sine);
        sum.rotate_left(ROTATION).wrapping_add(x[n])
    })
}

#[cfg(test)]
mod tests {
    use md5::Digest as _;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn streams_of_any_pieces_abreast_are_those_of_the_standard(
            streams in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12), 1..=ABREAST),
            cut in 0_usize..12,
        ) {
            let mut sums = vec![Md5::default(); streams.len()];
            // In two calls, so that a block is left half full between them.
            let halves = streams.iter().map(|pieces| pieces.split_at(cut.min(pieces.len())));
            let (firsts, seconds): (Vec<_>, Vec<_>) = halves.unzip();
            for half in [firsts, seconds] {
                let mut next: Vec<Next<'_, Vec<u8>>> = sums.iter_mut().zip(half).collect();
                update(&mut next);
            }
            for (sum, stream) in sums.into_iter().zip(&streams) {
                let expected: [u8; 16] = md5::Md5::digest(stream.concat()).into();
                prop_assert_eq!(sum.finish(), expected);
            }
        }
    }
}
