//! One follower: a worker process that reads an upload as it arrives, started again where what it needs has come.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use nebula_hwaccel::protocol::{FromWorker, Job, Limits};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::arriving::Progress;
use super::library::read;
use super::process::{RangeRead, Receive, Run, RunError, Source};
use crate::store::{Arriving, ArrivingReader, Reach};

/// How long one wait for bytes takes before it is looked whether anybody still wants them.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A worker that asks for bytes further behind what has arrived is told to come back when they are there.
const AHEAD_BYTES_MAX: u64 = 4 << 20;
/// Address space of a follower.
const MEMORY_BYTES: u64 = 2 << 30;
/// CPU time of a follower, whatever the length of the upload.
const CPU_S: u64 = 3600;
/// The longest upload that is followed in one go.
const DEADLINE: Duration = Duration::from_hours(24 * 7);

/// Why a run ended that is not to blame on the film.
#[derive(Debug, Clone, Copy)]
enum Halt {
    /// It asked for a byte that is too far ahead to be waited for.
    Beyond(u64),
    /// The upload was ended.
    Gone,
}

/// Runs processes until all is known, the upload is over, or it is told to stop.
pub(super) async fn work(
    binary: &Path,
    arriving: &Arriving,
    tell: &watch::Sender<Progress>,
    stop: &CancellationToken,
) {
    loop {
        let bytes = match arriving.reader() {
            Ok(reader) => Arc::new(Arrived {
                reader: tokio::sync::Mutex::new(reader),
                halt: Mutex::default(),
            }),
            Err(error) => return give_up(arriving, tell, error.to_string()),
        };
        let source = Source::Arriving {
            size_bytes: arriving.size(),
            bytes: bytes.clone(),
        };
        let run = Run {
            binary,
            job: Job::Follow,
            limits: Limits {
                memory_bytes: MEMORY_BYTES,
                cpu_s: CPU_S,
            },
            deadline: DEADLINE,
            gpu: false,
        };
        let outcome = run.start(source, &mut Hands { tell }, stop).await;
        let Err(error) = outcome else { return };
        match (error, bytes.halted()) {
            (RunError::Stopped, _) => return,
            (_, Some(Halt::Gone)) => {
                tell.send_replace(Progress::Gone);
                return;
            }
            (_, Some(Halt::Beyond(at))) => {
                tell.send_replace(Progress::Beyond(at));
                if !bytes.wait_for(at, stop).await {
                    tell.send_replace(Progress::Gone);
                    return;
                }
                tell.send_replace(Progress::Looking);
            }
            (error, None) => return give_up(arriving, tell, error.to_string()),
        }
    }
}

fn give_up(arriving: &Arriving, tell: &watch::Sender<Progress>, reason: String) {
    let key = arriving.key();
    tracing::info!(object.key = %key, reason, "{key} cannot be played while it arrives: {reason}");
    tell.send_replace(Progress::Failed(reason));
}

/// Answers a follower's questions with what has arrived.
struct Arrived {
    reader: tokio::sync::Mutex<ArrivingReader>,
    halt: Mutex<Option<Halt>>,
}

impl Arrived {
    fn halted(&self) -> Option<Halt> {
        *self.halt.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn halt(&self, why: Halt) {
        *self.halt.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    /// Waits for one byte as long as the upload lives.
    async fn wait_for(&self, at: u64, stop: &CancellationToken) -> bool {
        let mut reader = self.reader.lock().await;
        while !stop.is_cancelled() {
            match reader.reach(at, Instant::now() + LOOK_EVERY).await {
                Ok(Reach::Until(end)) if end > at => return true,
                Ok(Reach::Until(_)) => {}
                Ok(Reach::Finished(_)) => return true,
                Ok(Reach::Gone) | Err(_) => return false,
            }
        }
        false
    }
}

#[async_trait]
impl RangeRead for Arrived {
    async fn read(&self, offset: u64, len: u32) -> Result<Bytes, String> {
        let mut reader = self.reader.lock().await;
        loop {
            let soon = Instant::now() + LOOK_EVERY;
            let reach = reader.reach(offset, soon).await;
            match reach.map_err(|error| error.to_string())? {
                Reach::Until(end) if end > offset => break,
                Reach::Until(_) => {
                    if offset > reader.front().saturating_add(AHEAD_BYTES_MAX) {
                        self.halt(Halt::Beyond(offset));
                        return Err(format!("byte {offset} has not arrived"));
                    }
                }
                Reach::Finished(object) if offset >= object.size => return Ok(Bytes::new()),
                Reach::Finished(_) => break,
                Reach::Gone => {
                    self.halt(Halt::Gone);
                    return Err("the upload was ended".into());
                }
            }
        }
        let range = offset..offset.saturating_add(u64::from(len));
        let read = reader.read(range, Instant::now() + LOOK_EVERY).await;
        read.map_err(|error| error.to_string())
    }
}

/// Takes the indexes.
struct Hands<'a> {
    tell: &'a watch::Sender<Progress>,
}

#[async_trait]
impl Receive for Hands<'_> {
    async fn receive(&mut self, message: FromWorker) -> Result<(), String> {
        let FromWorker::IndexSoFar { bytes, is_whole } = message else {
            return Ok(());
        };
        let film = read(bytes).await.map_err(|error| error.to_string())?;
        if film.timeline.is_none() {
            if is_whole {
                return Err("nothing in it can be played".into());
            }
            return Ok(());
        }
        if let Progress::Known { film: shorter, .. } = &*self.tell.borrow()
            && !film.continues(shorter)
        {
            return Err("what came later tells otherwise of its beginning".into());
        }
        let film = Arc::new(film);
        self.tell.send_replace(Progress::Known { film, is_whole });
        Ok(())
    }
}
