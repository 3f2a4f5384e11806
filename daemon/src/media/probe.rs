//! Trying the hardware: a worker process really decodes, scales and encodes a few frames on each way there is.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use nebula_hwaccel::choice;
use nebula_hwaccel::protocol::{FromWorker, Job as Task, Limits, ProbeReport};
use tokio_util::sync::CancellationToken;

use super::process::{Receive, Run, RunError, Source};

/// Trying every way takes a second or two; a driver that hangs for a minute is given up.
const PROBE_DEADLINE: Duration = Duration::from_mins(1);

/// One way to encode and how its trial went, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// The way, with its device.
    pub name: String,
    /// The driver's name for itself, where it could be asked.
    pub driver: Option<String>,
    /// Whether frames came out.
    pub ok: bool,
    /// What was done, or why it does not work.
    pub reason: String,
    /// How long the trial took, in milliseconds.
    pub took_ms: u64,
}

/// Tries every way on this machine, best first; the last is software.
///
/// # Errors
/// Why the worker process did not answer, in one sentence.
pub async fn trials(binary: &Path) -> Result<Vec<Trial>, String> {
    let report = probe(binary, &CancellationToken::new())
        .await
        .map_err(|error| error.to_string())?;
    let trial = |entry: nebula_hwaccel::protocol::ProbeEntry| Trial {
        name: choice::name(&entry.acceleration).to_owned(),
        driver: entry.driver,
        ok: entry.ok,
        reason: entry.reason,
        took_ms: entry.took_ms,
    };
    Ok(report.entries.into_iter().map(trial).collect())
}

/// What the worker process found.
pub(super) async fn probe(
    binary: &Path,
    stop: &CancellationToken,
) -> Result<ProbeReport, RunError> {
    let run = Run {
        binary,
        job: Task::Probe {
            devices: Vec::new(),
        },
        limits: Limits::default(),
        deadline: PROBE_DEADLINE,
        gpu: true,
    };
    let mut ears = Ears(ProbeReport {
        entries: Vec::new(),
    });
    run.start(Source::None, &mut ears, stop).await?;
    Ok(ears.0)
}

/// Hears what a probe found.
struct Ears(ProbeReport);

#[async_trait]
impl Receive for Ears {
    async fn receive(&mut self, message: FromWorker) -> Result<(), String> {
        if let FromWorker::Probe(report) = message {
            self.0 = report;
        }
        Ok(())
    }
}
