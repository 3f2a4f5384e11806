//! Removing the files of blobs that lost their last reference, after the answer.
//!
//! To unlink a large file takes the kernel a tenth of a second and more, and nobody who deletes or replaces has to wait for that.
//! The queue here is only the short way: dead blobs keep their rows until their files are gone, so what a crash, a stop or a hold leaves is found by [`Store::sweep_dead`].

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Store, StoreError};
use crate::blob::BlobError;
use crate::kernel::BlobId;

/// Files that wait; whoever kills another then waits as well, so that deletions never run away from the disk.
const WAITING_MAX: usize = 4096;
/// Files after which their rows are removed, in one commit.
const BATCH: usize = 64;
/// How long a write that finds the disk full waits for the space of what was deleted before it.
const SPACE_WAIT: Duration = Duration::from_secs(5);
/// How long a stop waits for the files that are being removed; the next start finds the others.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// Files that wait for their removal.
#[derive(Default)]
pub(super) struct Burials {
    state: Mutex<State>,
    /// Rung when a batch was taken, and when nothing is left.
    moved: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<BlobId>,
    /// A task works on them.
    running: bool,
    /// Nothing more is begun: the process ends.
    stopped: bool,
}

impl Burials {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues files, waiting while too many do; `true` when nobody works on them yet.
    async fn add(&self, dead: Vec<BlobId>) -> bool {
        loop {
            let moved = self.moved.notified();
            {
                let mut state = self.lock();
                if state.stopped {
                    return false;
                }
                if state.waiting.len() < WAITING_MAX {
                    state.waiting.extend(dead);
                    return !std::mem::replace(&mut state.running, true);
                }
            }
            moved.await;
        }
    }

    /// The next files; empty when there is none, and from then on nobody works.
    fn next(&self) -> Vec<BlobId> {
        let mut state = self.lock();
        if state.stopped {
            state.waiting.clear();
        }
        let count = state.waiting.len().min(BATCH);
        state.running = count > 0;
        let batch = state.waiting.drain(..count).collect();
        drop(state);
        self.moved.notify_waiters();
        batch
    }

    /// Waits until nothing is left.
    async fn idle(&self) {
        loop {
            let moved = self.moved.notified();
            if !self.lock().running {
                return;
            }
            moved.await;
        }
    }
}

/// The end of the work, be it a panic: then the next to come starts it anew.
struct Working<'a>(&'a Burials);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().running = false;
            self.0.moved.notify_waiters();
        }
    }
}

impl Store {
    /// Has the files of blobs that lost their last reference removed soon; what cannot be removed now, or is held, is removed by a later sweep.
    pub(super) async fn bury(&self, dead: Vec<BlobId>) {
        if dead.is_empty() || !self.0.burials.add(dead).await {
            return;
        }
        let store = self.clone();
        tokio::spawn(async move {
            let working = Working(&store.0.burials);
            loop {
                let batch = working.0.next();
                if batch.is_empty() {
                    return;
                }
                store.bury_now(batch).await;
            }
        });
    }

    /// The same, done when this returns.
    pub(super) async fn bury_now(&self, dead: Vec<BlobId>) {
        if dead.is_empty() || self.files_are_held().await {
            return;
        }
        let mut gone = Vec::with_capacity(dead.len());
        for blob in dead {
            if self.0.burials.lock().stopped {
                break;
            }
            match self.0.blobs.remove(blob).await {
                Ok(()) => gone.push(blob),
                Err(error) => {
                    tracing::warn!(blob.id = %blob, %error, "the file of a dead blob stays for now: {error}");
                }
            }
        }
        let forgotten = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    for blob in gone {
                        tx.delete_dead_blob(blob).await?;
                    }
                    Ok::<_, StoreError>(())
                })
            })
            .await;
        if let Err(error) = forgotten {
            tracing::warn!(%error, "rows of dead blobs stay for now: {error}");
        }
    }

    /// Refuses bytes that do not fit; the space of what was deleted before counts, also while its file is still being removed.
    ///
    /// # Errors
    /// [`StoreError::Full`] and the other refusals of the disk.
    pub async fn room_for(&self, bytes: u64) -> Result<(), StoreError> {
        match self.0.blobs.admit(bytes) {
            Err(BlobError::Full { .. } | BlobError::NoInodes) if self.0.burials.lock().running => {
                let _in_time = tokio::time::timeout(SPACE_WAIT, self.0.burials.idle()).await;
                Ok(self.0.blobs.admit(bytes)?)
            }
            admitted => Ok(admitted?),
        }
    }

    /// Waits until everything that was begun in the background is done: cut sessions have flushed, files of the dead are gone, dropped writers have cleaned up.
    pub async fn settle(&self) {
        self.0.endings.idle().await;
        self.0.burials.idle().await;
        self.0.blobs.settle().await;
    }

    /// The same at the end of the process, within bounds, with all that is being ended; what it leaves, the next start finds.
    pub async fn close(&self) {
        self.0.endings.close().await;
        if tokio::time::timeout(STOP_WAIT, self.0.burials.idle())
            .await
            .is_err()
        {
            self.0.burials.lock().stopped = true;
            self.0.burials.idle().await;
        }
        self.0.blobs.settle().await;
    }
}
