//! Chance that can be told again: one number, printed, decides everything drawn from it.

/// A small generator (SplitMix64); good enough to choose moments and sizes.
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// From the variable `NEBULA_SEED`, else from the system; printed, so that a failure can be run again.
    ///
    /// # Panics
    /// When the variable is no number.
    pub fn new(of: &str) -> Self {
        let chosen = std::env::var("NEBULA_SEED").ok();
        let seed = match chosen {
            Some(text) => text.parse().expect("NEBULA_SEED is a number"),
            None => getrandom::u64().expect("the system has chance to give"),
        };
        eprintln!("{of}: NEBULA_SEED={seed}");
        Self(seed)
    }

    /// Always the same, for what needs no chance.
    pub fn fixed(seed: u64) -> Self {
        Self(seed)
    }

    /// An independent generator, for one of several tasks.
    #[must_use]
    pub fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// The next number.
    #[expect(
        clippy::should_implement_trait,
        reason = "it has no end to tell of, so it is no iterator"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` up to, not with, `high`.
    pub fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    /// That many bytes that no compression makes smaller.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new()
            .update(&self.next().to_le_bytes())
            .finalize_xof()
            .fill(&mut bytes);
        bytes
    }
}
