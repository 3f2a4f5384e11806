//! `[worker]`: how many media jobs run on this machine, and with what.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::Fault;

/// The name of the sandboxed media process.
const WORKER_NAME: &str = "nebula-worker";

/// What transcodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Acceleration {
    /// The best of the others that really works, found by trying.
    #[default]
    Auto,
    /// Intel QuickSync.
    Qsv,
    /// VA-API.
    Vaapi,
    /// The processor alone.
    Software,
}

/// The media jobs of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerConfig {
    /// Jobs at once; 0 leaves all jobs to workers elsewhere.
    pub slots: u32,
    /// Memory of one job, in MiB; more ends the job, not the daemon.
    pub memory_mib: u64,
    /// The sandboxed process; none is `nebula-worker` beside `nebulad`.
    pub binary: Option<PathBuf>,
    /// What transcodes.
    pub acceleration: Acceleration,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            slots: 1,
            memory_mib: 2048,
            binary: None,
            acceleration: Acceleration::Auto,
        }
    }
}

impl WorkerConfig {
    pub(super) fn check(&self) -> Result<(), Fault> {
        Fault::bounds("worker.slots", u64::from(self.slots), 0, 64)?;
        Fault::bounds("worker.memory_mib", self.memory_mib, 128, 1024 * 1024)
    }

    /// Where the sandboxed process lies.
    pub fn binary_path(&self) -> PathBuf {
        self.binary.clone().unwrap_or_else(|| {
            std::env::current_exe()
                .ok()
                .and_then(|daemon| Some(daemon.parent()?.join(WORKER_NAME)))
                .unwrap_or_else(|| PathBuf::from(WORKER_NAME))
        })
    }
}
