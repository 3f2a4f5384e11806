//! Which disks belong to the appliance, and whether they are there.
//!
//! The catalog knows each disk by the id in its marker: so a bare mount point, or a disk of somebody else, is not taken for it.
//! The id is noted before the marker is written, and as ready only after: a crash in between is made good at the next look, and a disk that was ready once never gets a second marker.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::object::{json, to_json};
use super::{Store, StoreError};
use crate::blob::BlobError;
use crate::kernel::{Id, Millis};

/// Where the disks are noted.
const SETTING: &str = "disks";
/// How often their markers are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What is noted of a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Noted {
    /// What its marker holds.
    pub(super) id: String,
    /// Whether its marker was written.
    pub(super) ready: bool,
    /// Since when it is being emptied; 0 when it is not.
    pub(super) draining_ms: Millis,
    /// Whether that was done.
    pub(super) drained: bool,
    /// Whether the appliance does it itself, rather than somebody with `nebulad drain`.
    pub(super) asked: bool,
    /// Bytes a second at most when it does; 0 is no bound.
    pub(super) bytes_per_s: u64,
}

pub(super) type Notes = BTreeMap<String, Noted>;

impl Store {
    pub(super) async fn disk_notes(&self) -> Result<Notes, StoreError> {
        match self.0.catalog.setting(SETTING).await? {
            None => Ok(Notes::new()),
            Some(text) => json("setting.disks", &String::from_utf8_lossy(&text)),
        }
    }

    /// Changes the note of one disk in one transaction; returns it.
    async fn note_disk(
        &self,
        name: &str,
        change: impl FnOnce(&mut Noted) + Send + 'static,
    ) -> Result<Noted, StoreError> {
        let name = name.to_owned();
        let change = self.0.catalog.write(move |tx| {
            Box::pin(async move {
                let text = tx.setting_or_insert(SETTING, b"{}").await?;
                let mut notes: Notes = json("setting.disks", &String::from_utf8_lossy(&text))?;
                let noted = notes.entry(name).or_default();
                change(noted);
                let noted = noted.clone();
                tx.put_setting(SETTING, to_json(&notes).as_bytes()).await?;
                Ok::<_, StoreError>(noted)
            })
        });
        change.await
    }

    /// Whether what every request stands on answers: the catalog and the data directory.
    ///
    /// # Errors
    /// What does not, in a sentence.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.0.catalog.ping().await?;
        Ok(self.0.blobs.probe()?)
    }

    /// Looks at every configured disk; `true` when one has come back.
    ///
    /// # Errors
    /// Those of the catalog; a disk that is away is no error.
    pub async fn look_at_disks(&self) -> Result<bool, StoreError> {
        let names = self.0.blobs.disk_names();
        let notes = self.disk_notes().await?;
        let drains = |name: &str| notes.get(name).is_some_and(|noted| noted.draining_ms > 0);
        self.0.blobs.set_draining("main", drains("main"));
        let forgotten = |(name, noted): (&String, &Noted)| {
            let lost = noted.ready && !noted.drained && !self.0.blobs.has_disk(name);
            lost.then(|| name.clone())
        };
        let forgotten: Vec<String> = notes.iter().filter_map(forgotten).collect();
        self.0.blobs.set_forgotten(forgotten);
        let mut returned = false;
        for name in names {
            let noted = match notes.get(&name) {
                Some(noted) if !noted.id.is_empty() => noted.clone(),
                _ => {
                    let id = Id::random().to_string();
                    self.note_disk(&name, move |noted| {
                        if noted.id.is_empty() {
                            noted.id = id;
                        }
                    })
                    .await?
                }
            };
            self.0.blobs.set_draining(&name, drains(&name));
            let looked = self.0.blobs.look_at_disk(&name, &noted.id, !noted.ready);
            match looked.await {
                Ok(false) => {}
                Ok(true) => {
                    tracing::info!(disk = %name, "disk {name} is there");
                    returned = true;
                }
                Err(BlobError::DiskAway { why, .. }) => {
                    tracing::debug!(disk = %name, "disk {name} is away: {why}");
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            if !noted.ready {
                self.note_disk(&name, |noted| noted.ready = true).await?;
            }
        }
        Ok(returned)
    }

    /// Looks now and then until stopped; what was deleted while a disk was away is removed when it is back.
    pub async fn run_disks(self, stop: CancellationToken) {
        if self.0.blobs.disk_names().is_empty() {
            return;
        }
        let mut drains = JoinSet::new();
        loop {
            if let Err(error) = self.take_up_drains(&mut drains, &stop).await {
                tracing::warn!(%error, "what is to be emptied is looked at again: {error}");
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.0.drains.changed() => continue,
                Some(_) = drains.join_next() => continue,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let looked = match self.look_at_disks().await {
                Ok(true) => self.reconcile().await.map(drop),
                other => other.map(drop),
            };
            if let Err(error) = looked {
                tracing::warn!(%error, "the disks are looked at again: {error}");
            }
        }
        while drains.join_next().await.is_some() {}
    }

    /// Says whether new files may go to a disk, for every daemon from its next look on.
    pub async fn mark_draining(&self, name: &str, drains: bool) -> Result<(), StoreError> {
        let now_ms = self.0.clock.now_ms();
        self.note_disk(name, move |noted| {
            noted.draining_ms = match (drains, noted.draining_ms) {
                (false, _) => 0,
                (true, 0) => now_ms.max(1),
                (true, since) => since,
            };
            noted.drained = false;
            noted.asked &= drains;
        })
        .await?;
        self.0.blobs.set_draining(name, drains);
        Ok(())
    }

    /// Notes that the appliance is to empty a disk itself.
    pub(super) async fn ask_to_drain(
        &self,
        name: &str,
        bytes_per_s: u64,
    ) -> Result<(), StoreError> {
        self.mark_draining(name, true).await?;
        self.note_disk(name, move |noted| {
            noted.asked = true;
            noted.bytes_per_s = bytes_per_s;
        })
        .await?;
        Ok(())
    }

    /// Notes that a disk holds nothing any more, so that nobody misses it when it leaves the configuration.
    pub(super) async fn mark_drained(&self, name: &str) -> Result<(), StoreError> {
        self.note_disk(name, |noted| noted.drained = true).await?;
        Ok(())
    }
}
