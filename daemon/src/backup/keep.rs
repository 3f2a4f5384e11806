//! What a target holds: listing it, proving it, thinning it out.

use std::collections::HashSet;

use super::chunks::{self, Lines};
use super::copy::{BLOBS, fetch, piece_of};
use super::lines::BlobLine;
use super::manifest::{self, Manifest, ids};
use super::save::Hold;
use super::{BackupError, Passphrase, Target, Vault};
use crate::kernel::BlobId;
use crate::store::Store;

const CHUNKS: &str = "catalog/";

/// A snapshot, or a manifest that cannot be read.
#[derive(Debug)]
pub struct Listed {
    /// Its name.
    pub id: String,
    /// What it says of itself, or what is wrong with it.
    pub manifest: Result<Manifest, BackupError>,
}

/// What is in a target, the newest first.
///
/// # Errors
/// Those of the target as a whole; one unreadable snapshot does not hide the others.
pub async fn list(
    target: &Target,
    passphrase: Option<&Passphrase>,
) -> Result<Vec<Listed>, BackupError> {
    let (_, vault) = manifest::open(target, passphrase).await?;
    let mut listed = Vec::new();
    for id in ids(target).await?.into_iter().rev() {
        let manifest = Manifest::find(target, &vault, Some(&id)).await;
        listed.push(Listed { id, manifest });
    }
    Ok(listed)
}

/// What reading a snapshot through showed.
#[derive(Debug)]
pub struct Verified {
    /// The snapshot.
    pub manifest: Manifest,
    /// Bytes of blobs that were read and are what they were.
    pub bytes: u64,
    /// What is not.
    pub damaged: Vec<String>,
}

/// Reads every byte of a snapshot and compares it with its hash.
///
/// # Errors
/// Those of the target, and of a snapshot whose list of blobs cannot be read; other damage is named in the outcome.
pub async fn verify(
    target: &Target,
    passphrase: Option<&Passphrase>,
    snapshot: Option<&str>,
) -> Result<Verified, BackupError> {
    let (_, vault) = manifest::open(target, passphrase).await?;
    let manifest = Manifest::find(target, &vault, snapshot).await?;
    let (mut bytes, mut damaged) = (0, Vec::new());
    for chunk in &manifest.rows {
        note(chunks::read(target, &vault, chunk).await, &mut damaged)?;
    }
    let mut index = Lines::new(target, &vault, &manifest.index);
    while let Some(line) = index.next().await? {
        let line = BlobLine::read(line)?;
        let read = fetch(target, &vault, line, async |_| Ok(())).await;
        if note(read, &mut damaged)? {
            bytes += line.size;
        }
    }
    Ok(Verified {
        manifest,
        bytes,
        damaged,
    })
}

/// Damage is written down, anything else ends the work; true when all is well.
fn note<T>(read: Result<T, BackupError>, damaged: &mut Vec<String>) -> Result<bool, BackupError> {
    match read {
        Ok(_) => Ok(true),
        Err(BackupError::Damaged { name, why }) => {
            damaged.push(format!("{name}: {why}"));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// What thinning out did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Snapshots that were removed.
    pub snapshots: Vec<String>,
    /// Objects of the target that nothing refers to any more, and their bytes.
    pub objects: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// Keeps the newest `keep` snapshots and what they need.
///
/// No backup runs meanwhile: it holds the appliance's files, and this takes the same hold.
///
/// # Errors
/// When a snapshot to be kept cannot be read, nothing at all is removed.
pub async fn prune(
    store: &Store,
    target: &Target,
    passphrase: Option<&Passphrase>,
    keep: usize,
) -> Result<Pruned, BackupError> {
    let hold = Hold::take(store).await?;
    let pruned = prune_held(target, passphrase, keep, &hold).await;
    hold.release().await;
    pruned
}

async fn prune_held(
    target: &Target,
    passphrase: Option<&Passphrase>,
    keep: usize,
    hold: &Hold,
) -> Result<Pruned, BackupError> {
    let (_, vault) = manifest::open(target, passphrase).await?;
    let all = ids(target).await?;
    let (old, kept) = all.split_at(all.len().saturating_sub(keep.max(1)));
    let mut needed = Needed::default();
    for id in kept {
        needed.add(target, &vault, id).await?;
    }
    hold.check()?;
    let mut pruned = Pruned::default();
    for id in old {
        target.delete(&Manifest::name_of(id)).await?;
        pruned.snapshots.push(id.clone());
    }
    // A manifest that comes back after a power failure would name what is gone.
    target.settle().await?;
    for prefix in [CHUNKS, BLOBS] {
        let mut names = target.walk(prefix);
        while let Some((name, bytes)) = names.next().await? {
            if needed.holds(&name) {
                continue;
            }
            hold.check()?;
            target.delete(&name).await?;
            pruned.objects += 1;
            pruned.bytes += bytes;
        }
    }
    Ok(pruned)
}

/// What snapshots refer to.
#[derive(Default)]
struct Needed {
    chunks: HashSet<String>,
    blobs: HashSet<BlobId>,
}

impl Needed {
    async fn add(&mut self, target: &Target, vault: &Vault, id: &str) -> Result<(), BackupError> {
        let manifest = Manifest::find(target, vault, Some(id)).await?;
        let chunks = manifest.rows.iter().chain(&manifest.index);
        self.chunks.extend(chunks.map(|chunk| chunk.name.clone()));
        let mut index = Lines::new(target, vault, &manifest.index);
        while let Some(line) = index.next().await? {
            self.blobs.insert(BlobLine::read(line)?.id);
        }
        Ok(())
    }

    /// What is not ours is not ours to remove.
    fn holds(&self, name: &str) -> bool {
        if name.starts_with(CHUNKS) {
            return self.chunks.contains(name);
        }
        piece_of(name).is_none_or(|(blob, _)| self.blobs.contains(&blob))
    }
}
