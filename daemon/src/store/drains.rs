//! The drains that this daemon does itself, as people asked for them over the JSON API: begun, told, taken back, and gone on with after a restart.
//!
//! What is asked for is noted with the disk; of two daemons the one that holds the lease does it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::drain::Drained;
use super::{Store, StoreError};
use crate::kernel::Millis;

/// How long the right to empty a disk is held; renewed at a third of it.
const LEASE_MS: Millis = 30_000;
const RENEW_EVERY: Duration = Duration::from_secs(10);

/// How the emptying of a disk stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrainState {
    /// The name of the disk.
    pub disk: String,
    /// What is happening.
    pub phase: DrainPhase,
    /// What was done since this process took it up.
    pub done: Drained,
    /// Since when it is being emptied.
    pub since_ms: Millis,
    /// At most so many bytes a second; 0 is no bound.
    pub bytes_per_s: u64,
    /// Why it rests; it is tried again.
    pub error: Option<String>,
}

/// What is happening to a disk that is being emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainPhase {
    /// Another process does it, or nobody yet.
    Waiting,
    /// Files move.
    Running,
    /// Something stays that cannot be moved, or the others have no room; it is tried again.
    Stuck,
    /// It is empty.
    Done,
}

/// What this daemon empties.
#[derive(Default)]
pub(super) struct Drains {
    running: Mutex<BTreeMap<String, Running>>,
    /// Rung when somebody asked for one, or took one back.
    changed: Notify,
}

struct Running {
    state: DrainState,
    stop: CancellationToken,
}

impl Drains {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, disk: &str, change: impl FnOnce(&mut DrainState)) {
        if let Some(running) = self.lock().get_mut(disk) {
            change(&mut running.state);
        }
    }

    /// Waits until somebody asks for something.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Store {
    /// Has a disk emptied by the appliance itself; asked again, it changes the rate. `None` when there is no such disk.
    ///
    /// # Errors
    /// Those of the catalog; [`StoreError::BucketState`] when nothing else could take its files.
    pub async fn begin_drain(
        &self,
        disk: &str,
        bytes_per_s: u64,
    ) -> Result<Option<DrainState>, StoreError> {
        if !self.0.blobs.has_disk(disk) {
            return Ok(None);
        }
        if self.0.blobs.disk_names().is_empty() {
            return Err(StoreError::BucketState(
                "there is no other disk that could take the files: see data.disks".into(),
            ));
        }
        self.end_drain(disk);
        self.ask_to_drain(disk, bytes_per_s).await?;
        self.0.drains.changed.notify_one();
        self.drain_of(disk).await
    }

    /// Takes the word back: what was moved stays where it is, and new files may go to the disk again. `false` when it was not being emptied.
    pub async fn cancel_drain(&self, disk: &str) -> Result<bool, StoreError> {
        let known = self
            .disk_notes()
            .await?
            .get(disk)
            .is_some_and(|noted| noted.draining_ms > 0);
        if !known {
            return Ok(false);
        }
        self.mark_draining(disk, false).await?;
        self.end_drain(disk);
        Ok(true)
    }

    fn end_drain(&self, disk: &str) {
        if let Some(running) = self.0.drains.lock().remove(disk) {
            running.stop.cancel();
        }
    }

    /// Every disk that is being emptied or was, by name.
    pub async fn drains(&self) -> Result<Vec<DrainState>, StoreError> {
        let notes = self.disk_notes().await?;
        let running = self.0.drains.lock();
        let states = notes.iter().filter(|(_, noted)| noted.draining_ms > 0);
        let states = states.map(|(disk, noted)| {
            let known = running.get(disk).map(|running| running.state.clone());
            let mut state = known.unwrap_or_else(|| DrainState {
                disk: disk.clone(),
                phase: DrainPhase::Waiting,
                done: Drained::default(),
                since_ms: noted.draining_ms,
                bytes_per_s: noted.bytes_per_s,
                error: None,
            });
            if noted.drained {
                state.phase = DrainPhase::Done;
                state.done.is_empty = true;
            }
            state
        });
        Ok(states.collect())
    }

    /// One of them.
    pub async fn drain_of(&self, disk: &str) -> Result<Option<DrainState>, StoreError> {
        let all = self.drains().await?;
        Ok(all.into_iter().find(|state| state.disk == disk))
    }

    /// Takes up what was asked for and is not under way here.
    pub(super) async fn take_up_drains(
        &self,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let notes = self.disk_notes().await?;
        for (disk, noted) in notes {
            let asked = noted.asked && noted.draining_ms > 0 && !noted.drained;
            let here = self.0.blobs.has_disk(&disk);
            if !asked || !here || self.0.drains.lock().contains_key(&disk) {
                // Taken back by another process: then it ends here too.
                if noted.draining_ms == 0 {
                    self.end_drain(&disk);
                }
                continue;
            }
            if !self.hold_drain(&disk).await? {
                continue;
            }
            let running = Running {
                state: DrainState {
                    disk: disk.clone(),
                    phase: DrainPhase::Running,
                    done: Drained::default(),
                    since_ms: noted.draining_ms,
                    bytes_per_s: noted.bytes_per_s,
                    error: None,
                },
                stop: stop.child_token(),
            };
            let token = running.stop.clone();
            self.0.drains.lock().insert(disk.clone(), running);
            tasks.spawn(self.clone().run_drain(disk, noted.bytes_per_s, token));
        }
        Ok(())
    }

    async fn run_drain(self, disk: String, bytes_per_s: u64, stop: CancellationToken) {
        tracing::info!(disk = %disk, "disk {disk} is being emptied");
        let work = self.empty_disk(&disk, bytes_per_s, &stop, |drained| {
            self.0
                .drains
                .change(&disk, |state| state.done = drained.clone());
        });
        let renew = async {
            loop {
                tokio::time::sleep(RENEW_EVERY).await;
                match self.hold_drain(&disk).await {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => {
                        tracing::warn!(%error, "the right to empty {disk} is asked for again: {error}");
                    }
                }
            }
        };
        let ended = tokio::select! {
            ended = work => Some(ended),
            () = renew => None,
        };
        let (phase, error) = match &ended {
            Some(Ok(drained)) if drained.is_empty => (DrainPhase::Done, None),
            Some(Ok(drained)) if !drained.left.is_empty() => (
                DrainPhase::Stuck,
                Some("some files cannot be moved".to_owned()),
            ),
            Some(Err(error)) => (DrainPhase::Stuck, Some(error.to_string())),
            // Stopped, or another process took over.
            Some(Ok(_)) | None => (DrainPhase::Waiting, None),
        };
        match &error {
            Some(why) => tracing::warn!(disk = %disk, "emptying disk {disk} rests: {why}"),
            None => tracing::info!(disk = %disk, "emptying disk {disk} has ended"),
        }
        if !stop.is_cancelled() {
            self.tell_end(&disk, ended, phase, error);
        }
        if phase == DrainPhase::Stuck {
            // Tried again after a while, from where it is.
            let _stopped = tokio::time::timeout(RENEW_EVERY, stop.cancelled()).await;
        }
        let is_mine = {
            let mut running = self.0.drains.lock();
            if !stop.is_cancelled() && phase != DrainPhase::Done {
                running.remove(&disk);
            }
            running
                .get(&disk)
                .is_none_or(|now| now.stop.is_cancelled() || phase == DrainPhase::Done)
        };
        if is_mine {
            self.let_go_of_drain(&disk).await;
        }
    }

    fn tell_end(
        &self,
        disk: &str,
        ended: Option<Result<Drained, StoreError>>,
        phase: DrainPhase,
        error: Option<String>,
    ) {
        self.0.drains.change(disk, |state| {
            if let Some(Ok(drained)) = ended {
                state.done = drained;
            }
            state.phase = phase;
            state.error = error;
        });
    }

    async fn let_go_of_drain(&self, disk: &str) {
        let (name, holder) = (lease(disk), self.0.instance.clone());
        let released = self.0.catalog.write(move |tx| {
            Box::pin(async move { Ok::<_, StoreError>(tx.release_lease(&name, &holder).await?) })
        });
        if let Err(error) = released.await {
            tracing::debug!(%error, "the right to empty {disk} ends by itself: {error}");
        }
    }

    async fn hold_drain(&self, disk: &str) -> Result<bool, StoreError> {
        let (name, holder) = (lease(disk), self.0.instance.clone());
        let now_ms = self.0.clock.now_ms();
        let held = self.0.catalog.write(move |tx| {
            Box::pin(async move {
                let until_ms = now_ms + LEASE_MS;
                Ok::<_, StoreError>(tx.take_lease(&name, &holder, now_ms, until_ms).await?)
            })
        });
        held.await
    }
}

fn lease(disk: &str) -> String {
    format!("drain:{disk}")
}
