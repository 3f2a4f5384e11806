//! What a target and a snapshot say of themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BackupError;
use super::target::Target;
use super::vault::{Passphrase, SealedKey, Vault};
use crate::kernel::{BlobId, Millis};

/// The only format there is; a reader refuses any other.
pub(super) const FORMAT: u32 = 1;
pub(super) const HEADER_NAME: &str = "nebula-backup.json";
pub(super) const SNAPSHOTS: &str = "snapshots/";
/// Ends the JSON, and its hash.
const LINE: u8 = b'\n';

/// The first object of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: u32,
    /// Whose backups these are.
    pub(super) appliance: String,
    /// None: plain.
    pub(super) encryption: Option<SealedKey>,
}

/// One snapshot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Its name in the target, which sorts by time.
    pub id: String,
    /// When its rows were read.
    pub created_ms: Millis,
    /// The version that took it.
    pub version: String,
    /// The database it was taken from; it restores into either.
    pub database: String,
    /// Object versions in it.
    pub objects: u64,
    /// Blobs in it.
    pub blobs: u64,
    /// Bytes of these blobs.
    pub bytes: u64,
    /// Whether the keys that open what is sealed are in it.
    pub has_secrets: bool,
    /// Whether indexes, posters and renditions are in it.
    pub has_made: bool,
    /// Last numbers of counting tables.
    pub(super) sequences: BTreeMap<String, i64>,
    /// The rows.
    pub(super) rows: Vec<Chunk>,
    /// The blobs, a line each.
    pub(super) index: Vec<Chunk>,
    /// Small files of the data directory: keys.
    pub(super) files: Vec<KeptFile>,
    /// Blobs whose bytes could not be had when it was taken.
    pub damaged: Vec<Damage>,
}

/// A piece of a long text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Chunk {
    pub(super) name: String,
    pub(super) blake3: String,
    pub(super) bytes: u64,
}

/// A file of the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeptFile {
    pub(super) name: String,
    pub(super) text: String,
}

/// A blob that a snapshot lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Which.
    pub blob: String,
    /// What was wrong with it.
    pub why: String,
}

impl Manifest {
    /// The object of the target that holds a snapshot.
    pub(super) fn name_of(id: &str) -> String {
        format!("{SNAPSHOTS}{id}")
    }

    pub(super) fn is_damaged(&self, blob: BlobId) -> bool {
        let blob = blob.to_string();
        self.damaged.iter().any(|damage| damage.blob == blob)
    }

    /// As it is kept: one line of JSON, one of its BLAKE3; sealed where the target is.
    pub(super) fn to_kept(&self, vault: &Vault) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("plain fields are JSON");
        let hash = blake3::hash(&bytes).to_hex();
        bytes.push(LINE);
        bytes.extend_from_slice(hash.as_bytes());
        bytes.push(LINE);
        vault.seal(&Self::name_of(&self.id), bytes)
    }

    /// Reads a snapshot's manifest; `None` when there is none of that id.
    pub(super) async fn read(
        target: &Target,
        vault: &Vault,
        id: &str,
    ) -> Result<Option<Self>, BackupError> {
        let name = Self::name_of(id);
        let Some(kept) = target.get(&name).await? else {
            return Ok(None);
        };
        let bytes = vault.unseal(&name, kept)?;
        let broken = |why| BackupError::damaged(&name, why);
        let mut lines = bytes.split(|byte| *byte == LINE);
        let (json, hash) = (lines.next().unwrap_or_default(), lines.next());
        if hash != Some(blake3::hash(json).to_hex().as_bytes()) {
            return Err(broken("it does not match its hash"));
        }
        let format: Format = serde_json::from_slice(json).map_err(|_| broken("it is no JSON"))?;
        if format.format != FORMAT {
            return Err(BackupError::Format(format.format));
        }
        let manifest: Self =
            serde_json::from_slice(json).map_err(|_| broken("it lacks a field"))?;
        if manifest.id != id {
            return Err(broken("it is of another snapshot"));
        }
        Ok(Some(manifest))
    }

    /// Reads the one asked for, or the newest.
    pub(super) async fn find(
        target: &Target,
        vault: &Vault,
        wanted: Option<&str>,
    ) -> Result<Self, BackupError> {
        let id = match wanted {
            Some(id) => id.to_owned(),
            None => {
                let ids = ids(target).await?;
                let newest = ids.into_iter().next_back();
                newest.ok_or_else(|| BackupError::NoSnapshot("at all".to_owned()))?
            }
        };
        let found = Self::read(target, vault, &id).await?;
        found.ok_or(BackupError::NoSnapshot(id))
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The snapshots of a target, the oldest first.
pub(super) async fn ids(target: &Target) -> Result<Vec<String>, BackupError> {
    let mut names = target.walk(SNAPSHOTS);
    let mut ids = Vec::new();
    while let Some((name, _)) = names.next().await? {
        if let Some(id) = name.strip_prefix(SNAPSHOTS) {
            ids.push(id.to_owned());
        }
    }
    Ok(ids)
}

/// Opens a target that holds backups.
pub(super) async fn open(
    target: &Target,
    passphrase: Option<&Passphrase>,
) -> Result<(Header, Vault), BackupError> {
    match read_header(target).await? {
        Some(header) => {
            let vault = unlock(&header, passphrase)?;
            Ok((header, vault))
        }
        None => Err(BackupError::Target(format!(
            "{target} holds no backup of Nebula"
        ))),
    }
}

/// Opens a target to add to it, making its header when it has none.
pub(super) async fn open_or_create(
    target: &Target,
    passphrase: Option<&Passphrase>,
    appliance: &str,
) -> Result<Vault, BackupError> {
    if let Some(header) = read_header(target).await? {
        if header.appliance != appliance {
            return Err(BackupError::Target(format!(
                "{target} holds the backups of another appliance; choose another directory or prefix"
            )));
        }
        return unlock(&header, passphrase);
    }
    if !target.is_empty().await? {
        return Err(BackupError::Target(format!(
            "{target} holds other things than backups; choose an empty directory or prefix"
        )));
    }
    let (vault, encryption) = match passphrase {
        None => (Vault::PLAIN, None),
        Some(passphrase) => {
            let (vault, sealed) = Vault::create(passphrase)?;
            (vault, Some(sealed))
        }
    };
    let header = Header {
        format: FORMAT,
        appliance: appliance.to_owned(),
        encryption,
    };
    let bytes = serde_json::to_vec_pretty(&header).expect("plain fields are JSON");
    target.put(HEADER_NAME, bytes.into()).await?;
    Ok(vault)
}

async fn read_header(target: &Target) -> Result<Option<Header>, BackupError> {
    let Some(bytes) = target.get(HEADER_NAME).await? else {
        return Ok(None);
    };
    let broken = |_| BackupError::damaged(HEADER_NAME, "it cannot be read");
    let format: Format = serde_json::from_slice(&bytes).map_err(broken)?;
    if format.format != FORMAT {
        return Err(BackupError::Format(format.format));
    }
    serde_json::from_slice(&bytes).map_err(broken).map(Some)
}

fn unlock(header: &Header, passphrase: Option<&Passphrase>) -> Result<Vault, BackupError> {
    match (&header.encryption, passphrase) {
        (None, None) => Ok(Vault::PLAIN),
        (Some(sealed), Some(passphrase)) => Vault::open(sealed, passphrase),
        (Some(_), None) => Err(BackupError::Passphrase(
            "the target is encrypted: give --passphrase-file, or set backup.passphrase",
        )),
        (None, Some(_)) => Err(BackupError::Passphrase(
            "the target was begun without encryption: leave the passphrase out, or choose another directory or prefix",
        )),
    }
}
