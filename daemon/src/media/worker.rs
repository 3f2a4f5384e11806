//! The worker loop: leases jobs, runs a process for each, keeps what it makes, settles.
//!
//! The same loop runs beside the daemon and on other machines; what differs is the [`Workbench`].

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use nebula_hwaccel::choice;
use nebula_hwaccel::protocol::{Acceleration, FromWorker, Job as Task, Limits, ProbeReport, Stage};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::chosen::{Chosen, ChosenHardware};
use super::order::{Opening, Report};
use super::process::{Receive, Run, RunError, Source};
use super::{probe, sounds};
use crate::queue::{Beat, Job, Lease, Progress, SharedQueue, kind};

/// Pause after the queue could not be asked.
const QUEUE_PAUSE: Duration = Duration::from_secs(2);
/// Heartbeats within the life of a lease.
const BEATS_PER_LEASE: i64 = 4;
/// Whatever encodes nothing needs no more than this.
const SMALL_MEMORY_BYTES_MAX: u64 = 2 << 30;

/// Why a workbench did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Trying again later may help.
    #[error("{0}")]
    Unavailable(String),
    /// The job makes no sense (any more).
    #[error("{0}")]
    Refused(String),
}

/// Where jobs begin and where their results are kept.
#[async_trait]
pub trait Workbench: Send + Sync {
    /// What is to be done for a job, and its input.
    async fn open(&self, job: &Job) -> Result<(Opening, Source), BenchError>;

    /// Keeps what was made.
    async fn report(&self, job: &Job, report: Report) -> Result<(), BenchError>;
}

/// Which hardware the worker is to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hardware {
    /// The best that really works, found by trying once.
    #[default]
    Auto,
    /// Quick Sync or nothing better than software.
    Qsv,
    /// VA-API or nothing better than software.
    Vaapi,
    /// The CPU.
    Software,
}

/// How a worker loop works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// As people see it beside a job.
    pub name: String,
    /// The binary of the worker process.
    pub binary: PathBuf,
    /// Jobs at once.
    pub slots: u32,
    /// Address space of one process.
    pub memory_bytes: u64,
    /// Which hardware.
    pub hardware: Hardware,
    /// Life of a lease without a heartbeat.
    pub lease_ms: i64,
}

/// A loop with everything it needs; cheap to clone.
#[derive(Clone)]
pub struct Worker {
    queue: SharedQueue,
    bench: Arc<dyn Workbench>,
    options: Arc<WorkerOptions>,
    /// Found by the first ladder job, shared by the slots.
    hardware: ChosenHardware,
}

impl Worker {
    /// A worker that is not running yet.
    pub fn new(queue: SharedQueue, bench: Arc<dyn Workbench>, options: WorkerOptions) -> Self {
        Self {
            queue,
            bench,
            options: Arc::new(options),
            hardware: ChosenHardware::default(),
        }
    }

    /// The same, telling others which hardware it chose.
    #[must_use]
    pub fn telling(mut self, hardware: &ChosenHardware) -> Self {
        self.hardware = hardware.clone();
        self
    }

    /// Starts every slot; each ends when `cancel` is cancelled, its job handed back.
    pub fn spawn(&self, tasks: &TaskTracker, cancel: &CancellationToken) {
        for slot in 0..self.options.slots {
            let (worker, cancel) = (self.clone(), cancel.clone());
            tasks.spawn(async move { worker.slot(slot, &cancel).await });
        }
    }

    async fn slot(&self, slot: u32, cancel: &CancellationToken) {
        let name = format!("{}/{slot}", self.options.name);
        let kinds = kind::ALL;
        while !cancel.is_cancelled() {
            match self.queue.lease(&name, &kinds, self.options.lease_ms).await {
                Ok(Some(lease)) => self.attempt(&lease, cancel).await,
                Ok(None) => self.queue.wait(cancel).await,
                Err(error) => {
                    warn!(%error, "no job could be leased: {error}");
                    tokio::select! {
                        () = cancel.cancelled() => {}
                        () = tokio::time::sleep(QUEUE_PAUSE) => {}
                    }
                }
            }
        }
    }

    /// Works on one lease and settles it.
    async fn attempt(&self, lease: &Lease, cancel: &CancellationToken) {
        let stop = cancel.child_token();
        let progress = Arc::new(Mutex::new(Progress::default()));
        let verdict = {
            let work = self.work(&lease.job, &progress, &stop);
            tokio::pin!(work);
            let every = Duration::from_millis((lease.for_ms / BEATS_PER_LEASE).max(100) as u64);
            let mut ticks = tokio::time::interval(every);
            let mut verdict = None;
            loop {
                tokio::select! {
                    outcome = &mut work => break verdict.unwrap_or(Verdict::Ended(outcome)),
                    _ = ticks.tick(), if verdict.is_none() => {
                        let now = progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
                        match self.queue.heartbeat(lease, &now).await {
                            Ok(Beat::Continue) => {}
                            Ok(Beat::Cancelled) => {
                                verdict = Some(Verdict::Cancelled);
                                stop.cancel();
                            }
                            Ok(Beat::Lost) => {
                                verdict = Some(Verdict::Lost);
                                stop.cancel();
                            }
                            Err(error) => warn!(job.id = %lease.job.id, %error, "no heartbeat for job {}: {error}", lease.job.id),
                        }
                    }
                }
            }
        };
        if let Err(error) = self.settle(lease, verdict).await {
            warn!(job.id = %lease.job.id, %error, "job {} could not be settled, its lease will run out: {error}", lease.job.id);
        }
    }

    async fn settle(
        &self,
        lease: &Lease,
        verdict: Verdict,
    ) -> Result<(), crate::queue::QueueError> {
        let job = &lease.job;
        let (id, what) = (job.id, job.kind.as_str());
        match verdict {
            Verdict::Lost => {
                info!(job.id = %id, "{what} job {id} went to another worker");
                Ok(())
            }
            Verdict::Cancelled => {
                info!(job.id = %id, "{what} job {id} was cancelled");
                self.queue.fail(lease, "cancelled", false).await
            }
            Verdict::Ended(Ok(result)) => {
                info!(job.id = %id, "{what} job {id} is done");
                self.queue.complete(lease, result).await
            }
            Verdict::Ended(Err(RunError::Stopped)) => self.queue.release(lease).await,
            Verdict::Ended(Err(error)) => {
                let reason = error.to_string();
                let retryable = match &error {
                    RunError::Failed(_) => true,
                    // A crash on a stranger's file comes again; a kill from outside need not.
                    RunError::Crashed(text) => text.contains("SIGKILL") || text.contains("SIGTERM"),
                    RunError::Refused(_) | RunError::Stopped => false,
                };
                warn!(job.id = %id, reason, "{what} job {id} failed: {reason}");
                if !retryable || job.attempt >= job.attempts_max {
                    // The result must say so too, or a film would stay `indexing` for ever.
                    let told = self
                        .bench
                        .report(job, Report::Refused(reason.clone()))
                        .await;
                    if let Err(error) = told {
                        warn!(job.id = %id, %error, "the failure of job {id} could not be noted: {error}");
                    }
                }
                self.queue.fail(lease, &reason, retryable).await
            }
        }
    }

    async fn work(
        &self,
        job: &Job,
        progress: &Arc<Mutex<Progress>>,
        stop: &CancellationToken,
    ) -> Result<serde_json::Value, RunError> {
        let (opening, source) = self.bench.open(job).await.map_err(bench_error)?;
        let mut order = match opening {
            Opening::Nothing { reason } => return Ok(json!({ "skipped": reason })),
            Opening::Work(order) => *order,
        };
        let deadline = Duration::from_secs(order.deadline_s);
        let mut limits = Limits {
            memory_bytes: self.options.memory_bytes,
            cpu_s: order.deadline_s.saturating_mul(8),
        };
        let mut gpu = false;
        match &mut order.job {
            Task::Ladder(ladder) if !sounds::is_sound(ladder) => {
                ladder.acceleration = self.acceleration(stop).await.clone();
                gpu = ladder.acceleration != Acceleration::Software;
            }
            _ => limits.memory_bytes = limits.memory_bytes.min(SMALL_MEMORY_BYTES_MAX),
        }
        let is_index = matches!(order.job, Task::Index { .. });
        let run = Run {
            binary: &self.options.binary,
            job: order.job,
            limits,
            deadline,
            gpu,
        };
        let mut hands = Hands {
            bench: &*self.bench,
            job,
            progress,
            index: None,
            poster: None,
        };
        let summary = run.start(source, &mut hands, stop).await?;
        let report = if is_index {
            let Some(index) = hands.index.take() else {
                return Err(RunError::Crashed(
                    "the worker ended well without an index".into(),
                ));
            };
            Report::Indexed {
                index,
                poster: hands.poster.take(),
            }
        } else {
            Report::Encoded
        };
        self.bench.report(job, report).await.map_err(bench_error)?;
        Ok(json!({
            "wall_ms": summary.wall_ms,
            "cpu_ms": summary.cpu_ms,
            "memory_bytes_peak": summary.memory_bytes_peak,
            "read_bytes": summary.read_bytes,
            "frames": summary.frames,
            "segments": summary.segments,
            "notes": summary.notes,
        }))
    }

    /// Which way to encode on this machine, found by really trying, once.
    async fn acceleration(&self, stop: &CancellationToken) -> &Acceleration {
        let chosen = self
            .hardware
            .0
            .get_or_init(|| async {
                if self.options.hardware == Hardware::Software {
                    return Chosen::configured();
                }
                let found = probe::probe(&self.options.binary, stop).await;
                let mut report = found.unwrap_or_else(|error| {
                    warn!(%error, "the hardware could not be tried, software encodes: {error}");
                    ProbeReport {
                        entries: Vec::new(),
                    }
                });
                report.entries.retain(|entry| match self.options.hardware {
                    Hardware::Qsv => !matches!(entry.acceleration, Acceleration::Vaapi { .. }),
                    Hardware::Vaapi => !matches!(entry.acceleration, Acceleration::Qsv { .. }),
                    Hardware::Auto | Hardware::Software => true,
                });
                let best = choice::best(&report);
                info!("films are encoded with {}", choice::name(&best));
                Chosen::tried(best, &report)
            })
            .await;
        &chosen.acceleration
    }
}

fn bench_error(error: BenchError) -> RunError {
    match error {
        BenchError::Unavailable(text) => RunError::Failed(text),
        BenchError::Refused(text) => RunError::Refused(text),
    }
}

/// How an attempt ended.
enum Verdict {
    Ended(Result<serde_json::Value, RunError>),
    Cancelled,
    Lost,
}

/// Takes what a job's process makes.
struct Hands<'a> {
    bench: &'a dyn Workbench,
    job: &'a Job,
    progress: &'a Mutex<Progress>,
    index: Option<Vec<u8>>,
    poster: Option<Vec<u8>>,
}

#[async_trait]
impl Receive for Hands<'_> {
    async fn receive(&mut self, message: FromWorker) -> Result<(), String> {
        let report = match message {
            FromWorker::Progress {
                fraction,
                stage,
                speed,
            } => {
                let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
                progress.fraction = if fraction.is_finite() {
                    f64::from(fraction)
                } else {
                    0.0
                };
                progress.stage = stage_word(stage, speed);
                return Ok(());
            }
            FromWorker::Index { bytes } => {
                self.index = Some(bytes);
                return Ok(());
            }
            FromWorker::Poster { jpeg, .. } => {
                self.poster = Some(jpeg);
                return Ok(());
            }
            FromWorker::Texts(track) => Report::Texts(track),
            FromWorker::Pictures(track) => Report::Pictures(track),
            FromWorker::Sheet(sheet) => Report::Sheet(sheet),
            FromWorker::RungInit(init) => Report::Init(init),
            FromWorker::Segment(segment) => Report::Segment(segment),
            _ => return Ok(()),
        };
        self.bench
            .report(self.job, report)
            .await
            .map_err(|error| error.to_string())
    }
}

fn stage_word(stage: Stage, speed: f32) -> String {
    match stage {
        Stage::Opening => "opening".into(),
        Stage::Indexing => "indexing".into(),
        Stage::Poster => "poster".into(),
        Stage::Subtitles => "subtitles".into(),
        Stage::Storyboard => "storyboard".into(),
        Stage::Encoding if speed > 0.0 => format!("encoding {speed:.1}x"),
        Stage::Encoding => "encoding".into(),
        Stage::Probing => "probing".into(),
    }
}
