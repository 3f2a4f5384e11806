//! Runs one job and collects what the worker says.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nebula_hwaccel::index::{self, MediaIndex};
use nebula_hwaccel::protocol::{
    self, Failure, FromWorker, Input, Job, JobSpec, Limits, ReadReply, RungInit, SandboxReport,
    Segment, Summary, ToWorker,
};

/// Nothing a test does takes longer.
const PATIENCE: Duration = Duration::from_mins(2);

pub enum Bytes<'a> {
    None,
    /// As descriptor 4.
    Fd(&'a Path),
    /// Over the socket.
    Ranges(&'a Path),
}

/// Everything a worker said.
#[derive(Debug, Default)]
pub struct Said {
    pub sandbox: Option<SandboxReport>,
    pub index: Option<Vec<u8>>,
    pub poster: Option<(Vec<u8>, u32, u32)>,
    pub inits: Vec<RungInit>,
    pub segments: Vec<Segment>,
    pub others: Vec<FromWorker>,
    pub done: Option<Summary>,
    pub failed: Option<(Failure, String)>,
    pub progress: u32,
}

impl Said {
    pub fn media(&self) -> MediaIndex {
        let bytes = self
            .index
            .as_ref()
            .unwrap_or_else(|| panic!("no index; failed: {:?}", self.failed));
        index::decode(bytes).expect("the worker writes what the library reads")
    }
}

pub struct Worker {
    child: Child,
    socket: UnixStream,
    input: Option<File>,
}

impl Worker {
    pub fn spawn(bytes: &Bytes<'_>, job: Job) -> Self {
        Self::spawn_with(bytes, job, &[])
    }

    pub fn spawn_with(bytes: &Bytes<'_>, job: Job, environment: &[(&str, &str)]) -> Self {
        let (ours, theirs) = UnixStream::pair().expect("a socket pair");
        let mut command = Command::new(env!("CARGO_BIN_EXE_nebula-worker"));
        command
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit());
        command.envs(environment.iter().copied());
        let control = above(theirs.as_raw_fd());
        let (input, file) = match bytes {
            Bytes::None => (Input::None, None),
            Bytes::Fd(path) | Bytes::Ranges(path) => {
                let file = File::open(path).expect("the film");
                let size_bytes = file.metadata().expect("its size").len();
                match bytes {
                    Bytes::Fd(_) => (
                        Input::Fd {
                            offset_bytes: 0,
                            size_bytes,
                        },
                        Some(file),
                    ),
                    _ => (Input::Ranges { size_bytes }, Some(file)),
                }
            }
        };
        let object = match (&input, &file) {
            (Input::Fd { .. }, Some(file)) => Some(above(file.as_raw_fd())),
            _ => None,
        };
        let (control_fd, object_fd) =
            (control.as_raw_fd(), object.as_ref().map(AsRawFd::as_raw_fd));
        // SAFETY: dup2 is async-signal-safe; the sources lie above the targets and stay open until the fork.
        unsafe {
            command.pre_exec(move || {
                if libc::dup2(control_fd, protocol::CONTROL_FD) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                if let Some(fd) = object_fd
                    && libc::dup2(fd, protocol::INPUT_FD) < 0
                {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().expect("the worker starts");
        ours.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let mut worker = Self {
            child,
            socket: ours,
            input: file,
        };
        let limits = Limits {
            memory_bytes: 4 << 30,
            cpu_s: 300,
        };
        worker.say(&ToWorker::Job {
            version: protocol::VERSION,
            spec: JobSpec { input, job, limits },
        });
        worker
    }

    pub fn say(&mut self, message: &ToWorker) {
        self.socket
            .write_all(&protocol::encode(message).expect("small"))
            .expect("the worker listens");
    }

    /// The next message; none when the worker has gone.
    pub fn hear(&mut self) -> Option<FromWorker> {
        let mut prefix = [0; protocol::LENGTH_PREFIX_BYTES];
        self.socket.read_exact(&mut prefix).ok()?;
        let mut body = vec![0; protocol::frame_length(prefix).expect("within the limit")];
        self.socket
            .read_exact(&mut body)
            .expect("the whole message");
        Some(protocol::decode(&body).expect("a message"))
    }

    pub fn serve(&mut self, offset: u64, len: u32) {
        use std::os::unix::fs::FileExt;
        assert!(len <= protocol::MAX_READ_BYTES);
        let mut data = vec![0; len as usize];
        let file = self.input.as_ref().expect("an object");
        let read = file.read_at(&mut data, offset).expect("readable");
        data.truncate(read);
        self.say(&ToWorker::Read(ReadReply::Bytes { offset, data }));
    }

    /// Listens to the end.
    pub fn finish(mut self) -> Said {
        let mut said = Said::default();
        while let Some(message) = self.hear() {
            match message {
                FromWorker::Hello { version, sandbox } => {
                    assert_eq!(version, protocol::VERSION);
                    said.sandbox = Some(sandbox);
                }
                FromWorker::ReadRange { offset, len } => self.serve(offset, len),
                FromWorker::Progress { .. } => said.progress += 1,
                FromWorker::Index { bytes } => said.index = Some(bytes),
                FromWorker::Poster {
                    jpeg,
                    width,
                    height,
                    ..
                } => said.poster = Some((jpeg, width, height)),
                FromWorker::RungInit(init) => said.inits.push(init),
                FromWorker::Segment(segment) => said.segments.push(segment),
                FromWorker::Done(summary) => said.done = Some(summary),
                FromWorker::Failed { reason, detail, .. } => said.failed = Some((reason, detail)),
                other => said.others.push(other),
            }
        }
        let status = self.child.wait().expect("it ends");
        assert!(
            said.done.is_some() != said.failed.is_some(),
            "exactly one end is told; status {status}, done {:?}, failed {:?}",
            said.done,
            said.failed
        );
        said
    }

    /// Cancels and gives the time until the worker says so.
    pub fn cancel(mut self) -> Duration {
        let started = Instant::now();
        self.say(&ToWorker::Cancel);
        loop {
            match self.hear() {
                Some(FromWorker::Failed { reason, .. }) => {
                    assert_eq!(reason, Failure::Cancelled);
                    return started.elapsed();
                }
                Some(FromWorker::Done(_)) | None => {
                    panic!("it ended without saying that it was cancelled")
                }
                Some(_) => {}
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A copy of a descriptor, out of the way of those the child gets.
fn above(fd: i32) -> OwnedFd {
    // SAFETY: the descriptor is open; the copy is owned by nobody else.
    unsafe {
        let copy = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 64);
        assert!(copy >= 0);
        OwnedFd::from_raw_fd(copy)
    }
}

pub fn index(path: &Path) -> Said {
    Worker::spawn(&Bytes::Fd(path), Job::Index { poster: true }).finish()
}
