//! One worker process: started, spoken with, and ended whatever it does.
//!
//! The process gets an empty environment and exactly two descriptors beside the standard ones: its end of a socket pair
//! and, where the object lies in one file, that file. It is killed when this future is dropped.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use command_fds::{CommandFdExt as _, FdMapping};
use nebula_hwaccel::protocol::{
    self, CONTROL_FD, Failure, FromWorker, INPUT_FD, Input, Job, JobSpec, LENGTH_PREFIX_BYTES,
    Limits, MAX_READ_BYTES, ReadReply, Summary, ToWorker,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::telemetry::metrics as names;

/// A worker that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_mins(2);
/// How long a worker may take to stop when asked.
const CANCEL_GRACE: Duration = Duration::from_secs(2);
/// How long a worker may take to exit after its last message.
const EXIT_GRACE: Duration = Duration::from_secs(5);

/// Where a worker's input comes from.
pub enum Source {
    /// Nothing is read.
    None,
    /// The object lies in one file, whose descriptor the worker gets.
    File {
        /// Open for reading.
        file: OwnedFd,
        /// First byte of the object.
        offset_bytes: u64,
        /// Length of the object.
        size_bytes: u64,
    },
    /// The worker asks for ranges of an object that is still arriving, and each waits for its bytes.
    Arriving {
        /// Length of the object, when it is known.
        size_bytes: Option<u64>,
        /// Who answers.
        bytes: Arc<dyn RangeRead>,
    },
    /// The worker asks for ranges.
    Ranges {
        /// Length of the object.
        size_bytes: u64,
        /// Who answers.
        bytes: Arc<dyn RangeRead>,
    },
}

/// Answers a worker's questions for bytes.
#[async_trait]
pub trait RangeRead: Send + Sync {
    /// Up to `len` bytes from `offset`, fewer only at the end; the error is a sentence for people.
    async fn read(&self, offset: u64, len: u32) -> Result<Bytes, String>;
}

/// Takes what a worker makes, piece by piece.
#[async_trait]
pub trait Receive: Send {
    /// Anything but questions for bytes and the last message; the error is a sentence for people and ends the job.
    async fn receive(&mut self, message: FromWorker) -> Result<(), String>;
}

/// One run of a worker.
pub struct Run<'a> {
    /// The binary.
    pub binary: &'a Path,
    /// What to do.
    pub job: Job,
    /// How much it may use.
    pub limits: Limits,
    /// The whole run may take so long.
    pub deadline: Duration,
    /// Whether a driver of a GPU may see its own settings.
    pub gpu: bool,
}

/// Why a run did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The worker says that the object is to blame: no other try will do better.
    #[error("{0}")]
    Refused(String),
    /// Something else went wrong; another try may do better.
    #[error("{0}")]
    Failed(String),
    /// The process ended by itself, by a signal or without its last message.
    #[error("{0}")]
    Crashed(String),
    /// It was asked to stop.
    #[error("stopped")]
    Stopped,
}

impl Run<'_> {
    /// Starts the process, serves its questions and hands on what it makes, until it ends.
    ///
    /// # Errors
    /// [`RunError`]; whatever it is, the process is gone.
    pub async fn start(
        self,
        source: Source,
        sink: &mut dyn Receive,
        stop: &CancellationToken,
    ) -> Result<Summary, RunError> {
        let (mut child, mut talk) = self.spawn(source)?;
        let deadline = Instant::now() + self.deadline;
        let outcome = tokio::select! {
            outcome = talk.run(self.job, self.limits, sink, deadline) => outcome,
            () = stop.cancelled() => Err(Ended::Stopped),
        };
        match outcome {
            Ok(summary) => {
                drop(talk);
                if tokio::time::timeout(EXIT_GRACE, child.wait())
                    .await
                    .is_err()
                {
                    end(&mut child).await;
                }
                Ok(summary)
            }
            Err(Ended::Stopped) => {
                // A worker that is asked stops between two frames; one that cannot is killed.
                let asked = tokio::time::timeout(CANCEL_GRACE, talk.cancel(&mut child)).await;
                if asked.is_err() {
                    end(&mut child).await;
                }
                Err(RunError::Stopped)
            }
            Err(Ended::Gone) => {
                drop(talk);
                let status = tokio::time::timeout(EXIT_GRACE, child.wait()).await;
                let Ok(Ok(status)) = status else {
                    count_death("silence");
                    end(&mut child).await;
                    return Err(RunError::Crashed(
                        "the worker closed its socket and had to be killed".into(),
                    ));
                };
                Err(crashed(status))
            }
            Err(Ended::Error(error)) => {
                end(&mut child).await;
                Err(error)
            }
        }
    }

    fn spawn(&self, source: Source) -> Result<(Child, Talk), RunError> {
        let failed = |what: &str, error: io::Error| RunError::Failed(format!("{what}: {error}"));
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()
            .map_err(|error| failed("no socket pair for the worker", error))?;
        ours.set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(ours))
            .map_err(|error| failed("the worker's socket cannot be used", error))
            .and_then(|socket| {
                let mut fds = vec![FdMapping {
                    parent_fd: theirs.into(),
                    child_fd: CONTROL_FD,
                }];
                let (input, ranges) = match source {
                    Source::None => (Input::None, None),
                    Source::File {
                        file,
                        offset_bytes,
                        size_bytes,
                    } => {
                        fds.push(FdMapping {
                            parent_fd: file,
                            child_fd: INPUT_FD,
                        });
                        (
                            Input::Fd {
                                offset_bytes,
                                size_bytes,
                            },
                            None,
                        )
                    }
                    Source::Arriving { size_bytes, bytes } => {
                        (Input::Arriving { size_bytes }, Some(bytes))
                    }
                    Source::Ranges { size_bytes, bytes } => {
                        (Input::Ranges { size_bytes }, Some(bytes))
                    }
                };
                let mut command = Command::new(self.binary);
                command
                    .env_clear()
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .current_dir("/")
                    .kill_on_drop(true);
                if self.gpu {
                    let settings = std::env::vars_os()
                        .filter(|(name, _)| name.to_string_lossy().starts_with("LIBVA_"));
                    command.envs(settings);
                }
                command.fd_mappings(fds).map_err(|error| {
                    RunError::Failed(format!("the worker's descriptors collide: {error}"))
                })?;
                let child = command.spawn().map_err(|error| {
                    failed(
                        &format!("the worker {} cannot be started", self.binary.display()),
                        error,
                    )
                })?;
                Ok((
                    child,
                    Talk {
                        socket,
                        input,
                        ranges,
                    },
                ))
            })
    }
}

/// How a conversation ended.
enum Ended {
    Stopped,
    Gone,
    Error(RunError),
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// Our end of the conversation.
struct Talk {
    socket: UnixStream,
    input: Input,
    ranges: Option<Arc<dyn RangeRead>>,
}

impl Talk {
    async fn run(
        &mut self,
        job: Job,
        limits: Limits,
        sink: &mut dyn Receive,
        deadline: Instant,
    ) -> Result<Summary, Ended> {
        let spec = JobSpec {
            input: self.input.clone(),
            job,
            limits,
        };
        self.send(&ToWorker::Job {
            version: protocol::VERSION,
            spec,
        })
        .await?;
        loop {
            let patience = deadline.min(Instant::now() + SILENCE_MAX);
            let message = match tokio::time::timeout_at(patience, self.hear()).await {
                Ok(message) => message?,
                Err(_) if Instant::now() >= deadline => {
                    count_death("deadline");
                    return fail(RunError::Refused(
                        "the worker took too long and was killed".into(),
                    ));
                }
                Err(_) => {
                    count_death("silence");
                    let text = format!(
                        "the worker hung: it said nothing for {} s and was killed",
                        SILENCE_MAX.as_secs()
                    );
                    return fail(RunError::Crashed(text));
                }
            };
            match message {
                FromWorker::Hello { version, .. } if version != protocol::VERSION => {
                    let text = format!(
                        "the worker speaks version {version} of the protocol, the daemon {}: install both from one release",
                        protocol::VERSION
                    );
                    return fail(RunError::Failed(text));
                }
                FromWorker::Hello { sandbox, .. } => {
                    if let Some(note) = sandbox.note {
                        tracing::debug!(note, "the sandbox of a worker: {note}");
                    }
                }
                FromWorker::ReadRange { offset, len } => self.answer(offset, len).await?,
                FromWorker::Done(summary) => return Ok(summary),
                FromWorker::Failed {
                    reason,
                    detail,
                    retryable,
                } => {
                    return fail(refusal(reason, detail, retryable));
                }
                other => {
                    if let Err(text) = sink.receive(other).await {
                        return fail(RunError::Failed(text));
                    }
                }
            }
        }
    }

    async fn answer(&mut self, offset: u64, len: u32) -> Result<(), Ended> {
        let reply = match &self.ranges {
            None => ReadReply::Failed {
                detail: "this job reads from its descriptor".into(),
            },
            Some(_) if len > MAX_READ_BYTES => ReadReply::Failed {
                detail: "too many bytes at once".into(),
            },
            Some(ranges) => match ranges.read(offset, len).await {
                Ok(data) => ReadReply::Bytes {
                    offset,
                    data: data.to_vec(),
                },
                Err(detail) => ReadReply::Failed { detail },
            },
        };
        self.send(&ToWorker::Read(reply)).await
    }

    async fn send(&mut self, message: &ToWorker) -> Result<(), Ended> {
        let frame = protocol::encode(message)
            .map_err(|error| Ended::Error(RunError::Failed(error.to_string())))?;
        Ok(self.socket.write_all(&frame).await?)
    }

    async fn hear(&mut self) -> Result<FromWorker, Ended> {
        let broken = |error: protocol::ProtocolError| {
            count_death("nonsense");
            Ended::Error(RunError::Crashed(format!(
                "the worker spoke nonsense and was killed: {error}"
            )))
        };
        let mut prefix = [0; LENGTH_PREFIX_BYTES];
        self.socket.read_exact(&mut prefix).await?;
        let length = protocol::frame_length(prefix).map_err(broken)?;
        // Grows with what arrives, so that an announced length costs nothing by itself.
        let mut body = Vec::with_capacity(length.min(1 << 16));
        let read = (&mut self.socket)
            .take(length as u64)
            .read_to_end(&mut body)
            .await?;
        if read < length {
            return Err(Ended::Gone);
        }
        protocol::decode(&body).map_err(broken)
    }

    /// Asks the worker to stop and reads what it still says, so that it is not stuck in saying it.
    async fn cancel(&mut self, child: &mut Child) {
        // A worker that cannot be told is killed by the caller when the grace is over.
        if self.send(&ToWorker::Cancel).await.is_ok() {
            while let Ok(read) = self.socket.read(&mut [0; 4096]).await {
                if read == 0 {
                    break;
                }
            }
        }
        let _ = child.wait().await;
    }
}

fn fail<T>(error: RunError) -> Result<T, Ended> {
    Err(Ended::Error(error))
}

/// Whether the object or the circumstances are to blame.
fn refusal(reason: Failure, detail: String, retryable: bool) -> RunError {
    match reason {
        Failure::Cancelled => RunError::Stopped,
        _ if retryable => RunError::Failed(detail),
        Failure::Internal | Failure::Read => RunError::Failed(detail),
        _ => RunError::Refused(detail),
    }
}

/// Notes that a process ended without an answer; a stop that was asked for is none.
fn count_death(cause: &'static str) {
    metrics::counter!(names::MEDIA_WORKER_DEATHS_TOTAL, "cause" => cause).increment(1);
}

fn crashed(status: ExitStatus) -> RunError {
    count_death(match status.signal() {
        None => "exit",
        Some(9 | 15) => "killed",
        Some(24) => "cpu_time",
        Some(31) => "forbidden",
        Some(_) => "crash",
    });
    RunError::Crashed(match (status.signal(), status.code()) {
        (Some(signal), _) => format!("the worker crashed: {}", signal_name(signal)),
        (None, Some(code)) => format!("the worker ended without a result (exit code {code})"),
        (None, None) => "the worker ended without a result".into(),
    })
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        4 => "SIGILL (illegal instruction)",
        6 => "SIGABRT (it gave up)",
        7 => "SIGBUS (bad memory access)",
        8 => "SIGFPE (arithmetic)",
        9 => "SIGKILL (killed, perhaps for want of memory)",
        11 => "SIGSEGV (bad memory access)",
        15 => "SIGTERM (told to end)",
        24 => "SIGXCPU (too much CPU time)",
        31 => "SIGSYS (it tried what the sandbox forbids)",
        _ => return format!("signal {signal}"),
    };
    name.into()
}

async fn end(child: &mut Child) {
    // An error means that it has ended already; the wait collects it either way.
    let _ = child.start_kill();
    let _ = child.wait().await;
}
