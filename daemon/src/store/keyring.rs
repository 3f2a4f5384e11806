//! The encryption keys of the appliance: what wraps the data keys of objects.
//!
//! They rest in the catalog, sealed by the master key of the data directory, newest last; new data keys are wrapped by the newest.
//! [`Store::rotate_keys`] makes a new one, wraps every data key anew, and drops what nothing needs any more; no stored byte is read or written for that.
//! An older key stays until a whole walk has found nothing wrapped by it, and an hour longer, so that neither a crash nor a daemon that has not seen the new key yet can lose a data key.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::encryption::{Encrypted, WrappedKey};
use super::extras::ObjectExtras;
use super::object::{json, to_json};
use super::{Store, StoreError};
use crate::blob::DataKey;
use crate::catalog::{EncryptedRow, Tx};
use crate::kernel::{Id, MasterKey, Millis};

/// Where the sealed keys lie.
const SETTING: &str = "store.encryption_keys";
/// A row that whoever changes them writes first.
const TURN: &str = "store.encryption_keys.turn";
/// The associated data of a wrapped data key.
const DATA_KEY: &str = "store.data_key";
/// How long another daemon's new key may go unseen.
const AGE_MAX_MS: Millis = 10_000;
/// How long a key is kept that was replaced, whatever a walk finds.
const KEPT_MS: Millis = 60 * 60 * 1000;
/// Rows that are wrapped anew in one transaction.
const PAGE: i64 = 100;
/// Walks until one finds nothing to do; more mean that somebody keeps wrapping with an old key.
const WALKS_MAX: u32 = 10;

/// One key as it rests.
#[derive(Clone, Serialize, Deserialize)]
struct KeptKey {
    id: String,
    /// What the master key made of its 32 bytes, in base64.
    sealed: String,
    created_ms: Millis,
    /// Set while not everything is wrapped by it yet.
    #[serde(default, skip_serializing_if = "is_false")]
    unfinished: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The keys, opened; newest last.
type Ring = Arc<Vec<(String, MasterKey)>>;

/// Opens and remembers the keys.
pub(super) struct Keyring {
    master: MasterKey,
    known: Mutex<Option<(Ring, Millis)>>,
}

/// What a rotation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// The id of the newest key.
    pub key: String,
    /// Whether an earlier rotation that was cut off was brought to its end, instead of a new one begun.
    pub resumed: bool,
    /// Object versions and uploads whose data keys were wrapped anew, and the key of what is made of films.
    pub rewrapped: u64,
    /// Older keys that were dropped.
    pub dropped: usize,
    /// Older keys that nothing needs but that are kept for an hour yet.
    pub kept: usize,
}

fn name_of(id: &str) -> String {
    format!("{SETTING}:{id}")
}

impl Keyring {
    pub(super) fn new(master: MasterKey) -> Self {
        Self {
            master,
            known: Mutex::new(None),
        }
    }

    /// A fresh key, sealed.
    fn fresh(&self, now_ms: Millis, unfinished: bool) -> KeptKey {
        let id = Id::random().to_string();
        KeptKey {
            sealed: seal(&self.master, &id, DataKey::random().as_bytes()),
            id,
            created_ms: now_ms,
            unfinished,
        }
    }

    fn open(&self, kept: &[KeptKey]) -> Result<Ring, StoreError> {
        let open = |key: &KeptKey| {
            let bytes = open(&self.master, key)?;
            Ok((key.id.clone(), MasterKey::from_bytes(bytes)))
        };
        kept.iter()
            .map(open)
            .collect::<Result<_, _>>()
            .map(Arc::new)
    }
}

fn seal(master: &MasterKey, id: &str, key: &[u8; 32]) -> String {
    BASE64_STANDARD.encode(master.seal(&name_of(id), key))
}

fn open(master: &MasterKey, kept: &KeptKey) -> Result<[u8; 32], StoreError> {
    let sealed = BASE64_STANDARD.decode(&kept.sealed).unwrap_or_default();
    let bytes = master.open(&name_of(&kept.id), &sealed);
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| {
            StoreError::Damaged(format!(
                "master.key does not open the encryption key {}",
                kept.id
            ))
        })
}

fn read(setting: &[u8]) -> Result<Vec<KeptKey>, StoreError> {
    json(SETTING, &String::from_utf8_lossy(setting))
}

/// The keys as they rest, with the right to change them until this transaction ends.
async fn kept_keys(tx: &mut Tx) -> Result<Vec<KeptKey>, StoreError> {
    // Two that rotate at once write this row both, and so the second waits for the first.
    tx.put_setting(TURN, b"").await?;
    read(&tx.setting_or_insert(SETTING, b"[]").await?)
}

fn wrap(ring: &Ring, key: &DataKey) -> Result<WrappedKey, StoreError> {
    let (id, newest) = ring
        .last()
        .ok_or_else(|| StoreError::Damaged("the appliance has no encryption key".into()))?;
    Ok(WrappedKey {
        by: id.clone(),
        sealed: BASE64_STANDARD.encode(newest.seal(DATA_KEY, key.as_bytes())),
    })
}

/// `None` when the ring lacks the key.
fn unwrap(ring: &Ring, wrapped: &WrappedKey) -> Option<Result<DataKey, StoreError>> {
    let (_, key) = ring.iter().find(|(id, _)| *id == wrapped.by)?;
    let sealed = BASE64_STANDARD.decode(&wrapped.sealed).unwrap_or_default();
    let opened = key.open(DATA_KEY, &sealed);
    let opened = opened.and_then(|bytes| bytes.try_into().ok());
    Some(opened.map(DataKey::from_bytes).ok_or_else(|| {
        StoreError::Damaged(format!(
            "a data key does not open with the encryption key {}",
            wrapped.by
        ))
    }))
}

impl Store {
    /// The keys as they are now, or were at most some seconds ago; the first is made when there is none.
    async fn ring(&self, fresh: bool) -> Result<Ring, StoreError> {
        let now_ms = self.0.clock.now_ms();
        let keys = &self.0.keys;
        {
            let known = keys.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((ring, read_ms)) = &*known
                && !fresh
                && (0..AGE_MAX_MS).contains(&(now_ms - read_ms))
            {
                return Ok(Arc::clone(ring));
            }
        }
        let setting = match self.0.catalog.setting(SETTING).await? {
            Some(setting) => setting,
            None => {
                let first = to_json(&[keys.fresh(now_ms, false)]);
                let make = self.0.catalog.write(move |tx| {
                    Box::pin(async move {
                        let stands = tx.setting_or_insert(SETTING, first.as_bytes()).await?;
                        Ok::<_, StoreError>(stands)
                    })
                });
                make.await?
            }
        };
        let ring = keys.open(&read(&setting)?)?;
        *keys.known.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((Arc::clone(&ring), now_ms));
        Ok(ring)
    }

    pub(super) async fn wrap(&self, key: &DataKey) -> Result<WrappedKey, StoreError> {
        wrap(&self.ring(false).await?, key)
    }

    pub(super) async fn unwrap_key(&self, wrapped: &WrappedKey) -> Result<DataKey, StoreError> {
        if let Some(key) = unwrap(&self.ring(false).await?, wrapped) {
            return key;
        }
        // Another process may have made it a moment ago.
        unwrap(&self.ring(true).await?, wrapped).unwrap_or_else(|| {
            Err(StoreError::Damaged(format!(
                "the encryption key {} is not there",
                wrapped.by
            )))
        })
    }

    /// Makes a new encryption key and wraps every data key with it; goes on where an earlier call was cut off.
    ///
    /// Safe beside serving daemons.
    ///
    /// # Errors
    /// Those of the catalog; [`StoreError::Damaged`] for a key that does not open, and then nothing is dropped.
    pub async fn rotate_keys(&self) -> Result<Rotation, StoreError> {
        let resumed = self.begin_rotation().await?;
        let ring = self.ring(true).await?;
        let newest = ring.last().map(|(id, _)| id.clone()).unwrap_or_default();
        let mut done = Rotation {
            key: newest.clone(),
            resumed,
            ..Rotation::default()
        };
        let mut walks = 0;
        loop {
            let rewrapped = self.rewrap_derived(&newest).await?
                + self.rewrap_uploads(&newest).await?
                + self.rewrap_objects(&newest).await?;
            done.rewrapped += rewrapped;
            walks += 1;
            if rewrapped == 0 {
                break;
            }
            if walks == WALKS_MAX {
                return Err(StoreError::Unavailable(
                    "data keys are still being wrapped by an older key; try again".into(),
                ));
            }
        }
        let now_ms = self.0.clock.now_ms();
        let (dropped, kept) = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let all = kept_keys(tx).await?;
                    let mut left = Vec::with_capacity(all.len());
                    for (at, key) in all.iter().enumerate() {
                        // A key was replaced when the next one was made.
                        let replaced_ms = all.get(at + 1).map(|next| next.created_ms);
                        let needed = replaced_ms.is_none_or(|at_ms| now_ms - at_ms < KEPT_MS);
                        if needed || !all[at + 1..].iter().any(|next| next.id == newest) {
                            left.push(key.clone());
                        }
                    }
                    if let Some(key) = left.iter_mut().find(|key| key.id == newest) {
                        key.unfinished = false;
                    }
                    tx.put_setting(SETTING, to_json(&left).as_bytes()).await?;
                    let kept = left.len().saturating_sub(1);
                    Ok::<_, StoreError>((all.len() - left.len(), kept))
                })
            })
            .await?;
        done.dropped = dropped;
        done.kept = kept;
        self.ring(true).await?;
        Ok(done)
    }

    /// Seals the encryption keys anew with the newest master key; returns how many.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] for a key that no master key opens; those of the catalog.
    pub async fn reseal_keys(&self) -> Result<u64, StoreError> {
        self.ring(true).await?;
        let master = self.0.keys.master.clone();
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let mut kept = kept_keys(tx).await?;
                    for key in &mut kept {
                        key.sealed = seal(&master, &key.id, &open(&master, key)?);
                    }
                    tx.put_setting(SETTING, to_json(&kept).as_bytes()).await?;
                    Ok::<_, StoreError>(kept.len() as u64)
                })
            })
            .await
    }

    /// Makes the new key, unless there is one that is not everywhere yet; tells which.
    pub(super) async fn begin_rotation(&self) -> Result<bool, StoreError> {
        self.ring(true).await?;
        let fresh = self.0.keys.fresh(self.0.clock.now_ms(), true);
        self.0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    let mut kept = kept_keys(tx).await?;
                    let resumed = kept.last().is_some_and(|key| key.unfinished);
                    if !resumed {
                        kept.push(fresh);
                        tx.put_setting(SETTING, to_json(&kept).as_bytes()).await?;
                    }
                    Ok::<_, StoreError>(resumed)
                })
            })
            .await
    }

    async fn rewrap_objects(&self, newest: &str) -> Result<u64, StoreError> {
        let (mut after, mut done) = (0, 0);
        loop {
            let page = self.0.catalog.encrypted_objects_after(after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(done);
            };
            after = last.id;
            let changes = self.stale(&page, newest).await?;
            if changes.is_empty() {
                continue;
            }
            done += changes.len() as u64;
            // A row that somebody changed meanwhile is found by the next walk.
            let swap = self.0.catalog.write(move |tx| {
                Box::pin(async move {
                    for (id, old, new) in changes {
                        tx.swap_object_extras(id, &old, &new).await?;
                    }
                    Ok::<_, StoreError>(())
                })
            });
            swap.await?;
        }
    }

    async fn rewrap_uploads(&self, newest: &str) -> Result<u64, StoreError> {
        let (mut after, mut done) = (String::new(), 0);
        loop {
            let page = self.0.catalog.encrypted_uploads_after(&after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(done);
            };
            after.clone_from(&last.id);
            let changes = self.stale(&page, newest).await?;
            if changes.is_empty() {
                continue;
            }
            done += changes.len() as u64;
            let swap = self.0.catalog.write(move |tx| {
                Box::pin(async move {
                    for (id, old, new) in changes {
                        tx.swap_upload_extras(&id, &old, &new).await?;
                    }
                    Ok::<_, StoreError>(())
                })
            });
            swap.await?;
        }
    }

    /// The rows of a page that another key wraps, with what they are to say.
    async fn stale<Id: Clone>(
        &self,
        page: &[EncryptedRow<Id>],
        newest: &str,
    ) -> Result<Vec<(Id, String, String)>, StoreError> {
        let mut changes = Vec::new();
        for row in page {
            let mut extras: ObjectExtras = json("extras", &row.extras)?;
            let wrapped = extras.sse.as_mut().and_then(Encrypted::wrapped);
            let Some(wrapped) = wrapped.filter(|wrapped| wrapped.by != newest) else {
                continue;
            };
            let key = self.unwrap_key(wrapped).await?;
            *wrapped = self.wrap(&key).await?;
            changes.push((row.id.clone(), row.extras.clone(), to_json(&extras)));
        }
        Ok(changes)
    }
}
