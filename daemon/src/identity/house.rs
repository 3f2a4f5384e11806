//! The handle that doors hold.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::actor::{Actor, Caller};
use super::audit::Notes;
use super::cache::{Cache, Found};
use super::decide::RulesMemory;
use super::error::IdentityError;
use super::grant::Grant;
use super::links::LinkEntry;
use super::secret::Secret;
use super::tailnet::{Tailnet, TailnetOptions};
use super::token::LinkSigner;
use crate::catalog::{AccessKeyRow, Catalog};
use crate::kernel::{AccessKeyId, Clock, LinkId, MasterKey, Millis};

/// Where the seal of a known text lies, to notice a master key that does not belong to the catalog.
pub(super) const SEAL_CHECK: &str = "identity.seal_check";
const SEAL_CHECK_TEXT: &[u8] = b"nebula";
/// Where the sealed key of signed links lies.
pub(super) const LINK_KEY: &str = "identity.link_key";

/// What [`Identity::open`] needs beside the catalog.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory, which holds the two secret files.
    pub data_dir: PathBuf,
    /// How to ask tailscaled; without it no tailnet peer is known.
    pub tailnet: Option<TailnetOptions>,
}

/// Tells callers and keeps their keys; a cheap handle.
#[derive(Clone)]
pub struct Identity(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) catalog: Catalog,
    pub(super) clock: Clock,
    pub(super) data_dir: PathBuf,
    pub(super) master: MasterKey,
    pub(super) signer: LinkSigner,
    tailnet: Option<Tailnet>,
    pub(super) keys: Cache<AccessKeyId, Arc<KeyEntry>>,
    pub(super) links: Cache<LinkId, Arc<LinkEntry>>,
    /// Temporary keys that were taken back.
    pub(super) revoked: Cache<(), Arc<HashSet<AccessKeyId>>>,
    pub(super) rules: RulesMemory,
    pub(super) notes: Notes,
}

/// A key that was looked up, opened.
pub(super) struct KeyEntry {
    pub(super) secret: Secret,
    pub(super) caller: Caller,
    disabled: bool,
    pub(super) expires_ms: Option<Millis>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl Identity {
    /// Reads or makes the master key, and checks that it fits the catalog.
    ///
    /// # Errors
    /// [`IdentityError::File`] and [`IdentityError::MasterKey`] stop a start; [`IdentityError::Catalog`] when the database does not answer.
    ///
    /// # Panics
    /// When the operating system has no randomness to give, which no caller can act on.
    pub async fn open(
        catalog: Catalog,
        clock: Clock,
        options: Options,
    ) -> Result<Self, IdentityError> {
        let dir = options.data_dir.clone();
        let master = tokio::task::spawn_blocking(move || MasterKey::load_or_create(&dir))
            .await
            .expect("loading the master key does not panic and is not aborted")?;
        let check = master.seal(SEAL_CHECK, SEAL_CHECK_TEXT);
        let mut fresh = [0; 32];
        getrandom::fill(&mut fresh).expect("the kernel gives random bytes");
        let link_key = master.seal(LINK_KEY, &fresh);
        let (check, link_key) = catalog
            .write(move |tx| {
                Box::pin(async move {
                    let check = tx.setting_or_insert(SEAL_CHECK, &check).await?;
                    let link_key = tx.setting_or_insert(LINK_KEY, &link_key).await?;
                    Ok::<_, IdentityError>((check, link_key))
                })
            })
            .await?;
        if master.open(SEAL_CHECK, &check).as_deref() != Some(SEAL_CHECK_TEXT) {
            return Err(IdentityError::MasterKey);
        }
        let link_key = master
            .open(LINK_KEY, &link_key)
            .ok_or(IdentityError::MasterKey)?;
        let tailnet = options.tailnet.map(|o| Tailnet::new(o, clock.clone()));
        Ok(Self(Arc::new(Inner {
            catalog,
            clock,
            data_dir: options.data_dir,
            master,
            signer: LinkSigner::new(&link_key),
            tailnet: tailnet.transpose()?,
            keys: Cache::new(),
            links: Cache::new(),
            revoked: Cache::new(),
            rules: RulesMemory::default(),
            notes: Notes::new(),
        })))
    }

    /// The master key, for other rooms that seal what rests.
    pub fn master_key(&self) -> MasterKey {
        self.0.master.clone()
    }

    /// The caller that holds this access key pair; `None` for an unknown id, a wrong secret, a disabled or an expired key alike.
    pub async fn basic(&self, id: &str, secret: &str) -> Result<Option<Caller>, IdentityError> {
        let Some(entry) = self.usable_key(id).await? else {
            // As much work as a wrong secret costs.
            let _ = Secret::new(id).equals(secret);
            return Ok(None);
        };
        if !entry.secret.equals(secret) {
            return Ok(None);
        }
        self.used(&entry.caller);
        Ok(Some(entry.caller.clone()))
    }

    /// The secret of an access key, for a door that checks a signature, and the caller to be believed once it holds; call [`Identity::used`] then.
    pub async fn secret_of(&self, id: &str) -> Result<Option<(Secret, Caller)>, IdentityError> {
        let entry = self.usable_key(id).await?;
        Ok(entry.map(|entry| (entry.secret.clone(), entry.caller.clone())))
    }

    /// The tailnet's word about an address; `None` when it is not of the tailnet, or no tailnet is configured.
    ///
    /// # Errors
    /// [`IdentityError::Tailnet`] when the address is of the tailnet and tailscaled does not answer: nobody is believed then.
    pub async fn peer(&self, address: SocketAddr) -> Result<Option<Caller>, IdentityError> {
        match &self.0.tailnet {
            Some(tailnet) => tailnet.peer(address).await,
            None => Ok(None),
        }
    }

    /// What an account is called: the name of an access key, used or not; `None` for a key that does not exist, and for what is no key.
    pub async fn display_name(&self, account: &str) -> Result<Option<String>, IdentityError> {
        let entry = self.known_key(account).await?;
        Ok(entry.map(|entry| match entry.caller.actor() {
            Actor::AccessKey { name, .. } if !name.is_empty() => name.clone(),
            _ => account.to_owned(),
        }))
    }

    pub(super) async fn usable_key(
        &self,
        id: &str,
    ) -> Result<Option<Arc<KeyEntry>>, IdentityError> {
        let now_ms = self.0.clock.now_ms();
        let alive = |entry: &Arc<KeyEntry>| {
            !entry.disabled && entry.expires_ms.is_none_or(|end| now_ms < end)
        };
        Ok(self.known_key(id).await?.filter(alive))
    }

    async fn known_key(&self, id: &str) -> Result<Option<Arc<KeyEntry>>, IdentityError> {
        let Ok(id) = id.parse::<AccessKeyId>() else {
            return Ok(None);
        };
        let now_ms = self.0.clock.now_ms();
        let entry = match self.0.keys.get(&id, now_ms) {
            Found::Value(entry) => entry,
            Found::Missing(generation) => {
                // Only keys that exist are remembered: guesses cannot push them out.
                let Some(row) = self.0.catalog.access_key(&id).await? else {
                    return Ok(None);
                };
                let entry = Arc::new(self.open_key(&id, row)?);
                self.0.keys.put(id, entry.clone(), now_ms, generation);
                entry
            }
        };
        Ok(Some(entry))
    }

    fn open_key(&self, id: &AccessKeyId, row: AccessKeyRow) -> Result<KeyEntry, IdentityError> {
        let opened = self.0.master.open(id.as_str(), &row.secret);
        let secret = opened.and_then(|bytes| String::from_utf8(bytes).ok());
        let grants = parse_grants(&row);
        let actor = Actor::AccessKey {
            id: id.clone(),
            name: row.name,
            root: row.is_root,
        };
        Ok(KeyEntry {
            secret: Secret::new(secret.ok_or(IdentityError::MasterKey)?),
            caller: Caller::new(actor, grants),
            disabled: row.disabled,
            expires_ms: row.expires_ms,
        })
    }
}

/// A grant that this version cannot read grants nothing; the others stand.
pub(super) fn parse_grants(row: &AccessKeyRow) -> Vec<Grant> {
    let list: Vec<serde_json::Value> = serde_json::from_str(&row.grants).unwrap_or_else(|error| {
        tracing::warn!(key.id = %row.id, "the grants of key {} are unreadable and count as none: {error}", row.id);
        Vec::new()
    });
    let read = |value| match serde_json::from_value::<Grant>(value) {
        Ok(grant) => Some(grant),
        Err(error) => {
            tracing::warn!(key.id = %row.id, "a grant of key {} is unreadable and counts as none: {error}", row.id);
            None
        }
    };
    list.into_iter().filter_map(read).collect()
}
