//! A thread for work that nobody waits for: walks over every byte.
//!
//! It runs at the lowest CPU priority, from which Linux also derives the priority of its disk reads (`ioprio_set`(2), "best-effort" of the lowest level), so that a request always goes first where the I/O scheduler knows priorities.
//! It starts with the first work and ends with the room.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::BlobError;

type Work = Box<dyn FnOnce() + Send>;

/// The nicest a thread can be.
const NICE_MAX: i32 = 19;

/// The way to the thread.
#[derive(Debug, Default)]
pub(super) struct Idle(Mutex<Option<Sender<Work>>>);

impl Idle {
    /// Runs disk work on the thread, after what was asked of it before.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let (answer, answered) = oneshot::channel();
        let work: Work = Box::new(move || {
            // A caller that went away needs no answer.
            let _ = answer.send(work());
        });
        self.send(work)
            .map_err(|source| BlobError::Io { what, source })?;
        answered
            .await
            .unwrap_or_else(|_| Err(BlobError::lost(what)))
    }

    fn send(&self, work: Work) -> std::io::Result<()> {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A thread that a panic has ended is replaced.
        let work = match &*thread {
            Some(sender) => match sender.send(work) {
                Ok(()) => return Ok(()),
                Err(unsent) => unsent.0,
            },
            None => work,
        };
        let (sender, receiver) = channel::<Work>();
        std::thread::Builder::new()
            .name("idle-disk".into())
            .spawn(move || {
                let _best_effort = rustix::process::setpriority_process(None, NICE_MAX);
                while let Ok(work) = receiver.recv() {
                    work();
                }
            })?;
        let _the_thread_is_there = sender.send(work);
        *thread = Some(sender);
        Ok(())
    }
}
