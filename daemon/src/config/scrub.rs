//! `[scrub]`: how often every stored byte is read, and how gently.

use serde::{Deserialize, Serialize};

use super::error::Fault;

/// The walk that looks for damage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScrubConfig {
    /// Hours from the end of one walk to the beginning of the next; 0 never walks.
    pub every_h: u64,
    /// Bytes read per second at most.
    pub bytes_per_s: u64,
}

impl Default for ScrubConfig {
    fn default() -> Self {
        Self {
            every_h: 720,
            bytes_per_s: 32 << 20,
        }
    }
}

impl ScrubConfig {
    pub(super) fn check(&self) -> Result<(), Fault> {
        Fault::bounds("scrub.every_h", self.every_h, 0, 24 * 3650)?;
        Fault::bounds("scrub.bytes_per_s", self.bytes_per_s, 64 * 1024, 1 << 40)
    }
}
