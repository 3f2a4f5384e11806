//! The socket to the parent: one thread listens, any thread may speak.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::FromRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nebula_hwaccel::protocol::{
    self, CONTROL_FD, FromWorker, JobSpec, LENGTH_PREFIX_BYTES, ReadReply, Stage, ToWorker,
};

use crate::failure::JobError;

/// How often a thread that waits for bytes looks whether it was cancelled.
const CANCEL_POLL: Duration = Duration::from_millis(100);

/// This process's end of the conversation.
pub struct Link {
    /// `read(2)` and `write(2)` on a plain descriptor: the sandbox allows no other calls on sockets.
    socket: File,
    writing: Mutex<()>,
    reading: Mutex<Receiver<ReadReply>>,
    replies: SyncSender<ReadReply>,
    cancel: Arc<AtomicBool>,
}

impl Link {
    /// Takes the inherited socket and reads the job from it.
    pub fn open() -> io::Result<(Arc<Self>, JobSpec)> {
        // SAFETY: fcntl on a number is harmless, whatever it refers to.
        if unsafe { libc::fcntl(CONTROL_FD, libc::F_GETFD) } < 0 {
            return Err(io::Error::other(format!(
                "descriptor {CONTROL_FD} is not open"
            )));
        }
        // SAFETY: the descriptor is open, was inherited for this purpose, and nobody else in this process owns it.
        let mut socket = unsafe { File::from_raw_fd(CONTROL_FD) };
        let spec = match receive(&mut socket)? {
            ToWorker::Job {
                version: protocol::VERSION,
                spec,
            } => spec,
            ToWorker::Job { version, .. } => {
                let text = format!(
                    "the daemon speaks version {version} and this worker {}",
                    protocol::VERSION
                );
                return Err(io::Error::other(text));
            }
            _ => return Err(io::Error::other("the first message is no job")),
        };
        let (replies, reading) = sync_channel(1);
        let link = Self {
            socket,
            writing: Mutex::new(()),
            reading: Mutex::new(reading),
            replies,
            cancel: Arc::new(AtomicBool::new(false)),
        };
        Ok((Arc::new(link), spec))
    }

    /// Starts the thread that takes replies and cancellation. It ends the process when the parent is gone.
    pub fn start_listening(self: &Arc<Self>) -> io::Result<()> {
        let link = Arc::clone(self);
        std::thread::Builder::new()
            .name("control".into())
            .spawn(move || link.listen())?;
        Ok(())
    }

    fn listen(&self) {
        loop {
            match receive(&mut &self.socket) {
                Ok(ToWorker::Read(reply)) => {
                    // One reply per request; a surplus one is dropped.
                    let _ = self.replies.try_send(reply);
                }
                Ok(ToWorker::Cancel) => self.cancel.store(true, Ordering::SeqCst),
                Ok(ToWorker::Job { .. }) => {}
                // SAFETY: nothing of this process is worth a clean-up when nobody listens to it; other threads may be
                // inside FFmpeg, where running exit handlers would be unsound.
                Err(_) => unsafe { libc::_exit(1) },
            }
        }
    }

    /// Says something.
    pub fn send(&self, message: &FromWorker) -> Result<(), JobError> {
        let frame = protocol::encode(message)?;
        let _turn = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        (&self.socket).write_all(&frame)?;
        Ok(())
    }

    /// Says how far the job is.
    pub fn progress(&self, fraction: f64, stage: Stage, speed: f64) -> Result<(), JobError> {
        let fraction = if fraction.is_finite() {
            fraction.clamp(0.0, 1.0) as f32
        } else {
            0.0
        };
        self.send(&FromWorker::Progress {
            fraction,
            stage,
            speed: speed as f32,
        })
    }

    /// Asks the parent for bytes; at most `len`, fewer only at the end.
    pub fn read_range(&self, offset: u64, len: u32) -> io::Result<Vec<u8>> {
        let replies = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        self.send(&FromWorker::ReadRange { offset, len })
            .map_err(|error| io::Error::other(error.detail))?;
        loop {
            if self.cancelled() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match replies.recv_timeout(CANCEL_POLL) {
                Ok(ReadReply::Bytes { offset: at, data })
                    if at == offset && data.len() <= len as usize =>
                {
                    return Ok(data);
                }
                Ok(ReadReply::Bytes { .. }) => {
                    return Err(io::Error::other(
                        "the daemon sent other bytes than asked for",
                    ));
                }
                Ok(ReadReply::Failed { detail }) => return Err(io::Error::other(detail)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
    }

    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::SeqCst)
    }

    /// The flag itself, for FFmpeg's interrupt callback.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    /// An error when the job was cancelled.
    pub fn check(&self) -> Result<(), JobError> {
        if self.cancelled() {
            Err(JobError::cancelled())
        } else {
            Ok(())
        }
    }
}

fn receive(socket: &mut impl Read) -> io::Result<ToWorker> {
    let mut prefix = [0; LENGTH_PREFIX_BYTES];
    socket.read_exact(&mut prefix)?;
    let mut body = vec![0; protocol::frame_length(prefix).map_err(io::Error::other)?];
    socket.read_exact(&mut body)?;
    protocol::decode(&body).map_err(io::Error::other)
}
