//! `[limits]`: bounds on strangers.

use serde::{Deserialize, Serialize};

use super::error::Fault;

/// What one visitor, or all of them, may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Connections at once; more wait in the kernel's queue.
    pub connections_max: u32,
    /// Seconds a client has to send the head of a request.
    pub head_timeout_s: u64,
    /// Seconds a connection may be open without a request.
    pub idle_timeout_s: u64,
    /// Bytes of one object.
    pub object_bytes_max: u64,
    /// Seconds after which an unfinished upload that nobody continues is removed.
    pub upload_expiry_s: u64,
    /// Largest body that upload clients are asked to send; 0 for any.
    pub upload_chunk_bytes: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            head_timeout_s: 30,
            idle_timeout_s: 75,
            object_bytes_max: 5 << 40,
            upload_expiry_s: 7 * 24 * 3600,
            upload_chunk_bytes: 0,
        }
    }
}

impl LimitsConfig {
    pub(super) fn check(&self) -> Result<(), Fault> {
        Fault::bounds(
            "limits.connections_max",
            u64::from(self.connections_max),
            8,
            1 << 20,
        )?;
        Fault::bounds("limits.head_timeout_s", self.head_timeout_s, 1, 3600)?;
        Fault::bounds("limits.idle_timeout_s", self.idle_timeout_s, 1, 86_400)?;
        Fault::bounds("limits.object_bytes_max", self.object_bytes_max, 1, 1 << 50)?;
        Fault::bounds(
            "limits.upload_expiry_s",
            self.upload_expiry_s,
            1,
            365 * 24 * 3600,
        )?;
        if self.upload_chunk_bytes > 0 {
            let (least, most) = (64 << 10, 1 << 40);
            Fault::bounds(
                "limits.upload_chunk_bytes",
                self.upload_chunk_bytes,
                least,
                most,
            )?;
        }
        Ok(())
    }
}
