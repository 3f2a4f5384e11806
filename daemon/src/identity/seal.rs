//! The master key of the data directory: read, made, and replaced.
//!
//! The file holds 64 hex digits; after a replacement, older keys stand below with the time in milliseconds at which they were replaced.
//! An older key stays while anything may still be sealed by it.

use std::path::{Path, PathBuf};

use super::error::IdentityError;
use super::files::{self, FileError};
use super::house::{Identity, LINK_KEY, SEAL_CHECK};
use crate::catalog::Tx;
use crate::kernel::{MasterKey, Millis};

/// The file in the data directory, mode 0600.
pub const MASTER_KEY_FILE: &str = "master.key";
/// How long an older key is kept: nothing that a process sealed with it can be under way any longer.
const KEPT_MS: Millis = 60 * 60 * 1000;
/// Older keys that the file has room for.
const OLDER_MAX: usize = 32;
/// A row that whoever changes the file writes first, so that two take turns.
const TURN: &str = "identity.master_key.turn";
/// Access keys looked at in one step.
const PAGE: u32 = 100;
const KEY_BYTES: usize = 32;

/// A key, and when it was replaced.
type Line = ([u8; KEY_BYTES], Option<Millis>);

fn parse(path: &Path, text: &str) -> Result<Vec<Line>, FileError> {
    let line = |line: &str| {
        let (key, replaced) = line
            .split_once(' ')
            .map_or((line, None), |(k, r)| (k, Some(r)));
        let mut bytes = [0; KEY_BYTES];
        hex::decode_to_slice(key, &mut bytes).ok()?;
        Some((bytes, replaced.map(str::parse).transpose().ok()?))
    };
    let lines: Option<Vec<Line>> = text.trim().lines().map(line).collect();
    lines
        .filter(|lines| !lines.is_empty())
        .ok_or_else(|| FileError::content(path, "64 hexadecimal digits"))
}

fn written(lines: &[Line]) -> String {
    let line = |(key, replaced): &Line| match replaced {
        Some(at_ms) => format!("{} {at_ms}\n", hex::encode(key)),
        None => format!("{}\n", hex::encode(key)),
    };
    lines.iter().map(line).collect()
}

fn fresh(path: &Path) -> Result<[u8; KEY_BYTES], FileError> {
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(|error| FileError::io(path, error.into()))?;
    Ok(key)
}

impl MasterKey {
    /// Reads the key of a data directory, or makes it; two daemons that start at once get the same.
    ///
    /// # Errors
    /// [`FileError`] when the file cannot be made or read, is open to others, or holds something else.
    pub fn load_or_create(data_dir: &Path) -> Result<Self, FileError> {
        let path = data_dir.join(MASTER_KEY_FILE);
        let key = fresh(&path)?;
        let text = files::read_or_create(&path, || written(&[(key, None)]))?;
        parse(&path, &text)?;
        let source = path.clone();
        let tell = move || {
            let text = files::read(&source).ok().flatten()?;
            let lines = parse(&source, &text).ok()?;
            Some(lines.into_iter().map(|(key, _)| key).collect())
        };
        Self::from_source(Box::new(tell))
            .ok_or_else(|| FileError::content(&path, "64 hexadecimal digits"))
    }
}

/// Puts a new key first.
fn add(path: &Path, now_ms: Millis) -> Result<(), FileError> {
    let text = files::read(path)?.unwrap_or_default();
    let mut lines = parse(path, &text)?;
    if lines.len() > OLDER_MAX {
        // So many replacements were cut off: this one brings them to their end first.
        return Ok(());
    }
    if let Some((_, replaced)) = lines.first_mut() {
        *replaced = Some(now_ms);
    }
    lines.insert(0, (fresh(path)?, None));
    files::replace(path, &written(&lines))
}

/// Drops keys that were replaced long enough ago; returns how many went and how many older ones stay.
fn prune(path: &Path, now_ms: Millis) -> Result<(usize, usize), FileError> {
    let text = files::read(path)?.unwrap_or_default();
    let mut lines = parse(path, &text)?;
    let all = lines.len();
    lines.retain(|(_, replaced)| replaced.is_none_or(|at_ms| now_ms - at_ms < KEPT_MS));
    if lines.len() < all {
        files::replace(path, &written(&lines))?;
    }
    Ok((all - lines.len(), lines.len().saturating_sub(1)))
}

impl Identity {
    fn master_file(&self) -> PathBuf {
        self.0.data_dir.join(MASTER_KEY_FILE)
    }

    /// Puts a new master key in front of the present one: from now on it seals, in every process of this data directory.
    ///
    /// # Errors
    /// [`IdentityError::File`]; those of the catalog.
    pub async fn add_master_key(&self) -> Result<(), IdentityError> {
        let (path, now_ms) = (self.master_file(), self.0.clock.now_ms());
        self.in_turn(move || add(&path, now_ms)).await
    }

    /// Seals anew what this room has sealed; returns how many values.
    ///
    /// # Errors
    /// [`IdentityError::MasterKey`] for a value that no key opens, and then nothing may be dropped; those of the catalog.
    pub async fn reseal(&self) -> Result<u64, IdentityError> {
        let master = self.0.master.clone();
        let mut done = self
            .0
            .catalog
            .write(move |tx| {
                Box::pin(async move {
                    for name in [SEAL_CHECK, LINK_KEY] {
                        let sealed = tx.setting_or_insert(name, b"").await?;
                        tx.put_setting(name, &again(&master, name, &sealed)?)
                            .await?;
                    }
                    Ok::<_, IdentityError>(2)
                })
            })
            .await?;
        let mut after = String::new();
        loop {
            let page = self.keys(&after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(done);
            };
            after = last.id.to_string();
            for key in page {
                let master = self.0.master.clone();
                let reseal = self.0.catalog.write(move |tx| {
                    Box::pin(async move {
                        let Some(row) = tx.access_key(&key.id).await? else {
                            return Ok(0);
                        };
                        let sealed = again(&master, key.id.as_str(), &row.secret)?;
                        // A secret that somebody replaces at this moment is sealed by the new key already, and must not be undone.
                        let swapped = tx
                            .swap_access_key_secret(&key.id, &row.secret, &sealed)
                            .await?;
                        Ok::<_, IdentityError>(u64::from(swapped))
                    })
                });
                done += reseal.await?;
            }
        }
    }

    /// Drops older master keys that nothing can need any more, and tells how many went and how many stay; to be called when everything was sealed anew.
    ///
    /// # Errors
    /// [`IdentityError::File`]; those of the catalog.
    pub async fn prune_master_keys(&self) -> Result<(usize, usize), IdentityError> {
        let (path, now_ms) = (self.master_file(), self.0.clock.now_ms());
        self.in_turn(move || prune(&path, now_ms)).await
    }

    /// Changes the file while no other process does.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, IdentityError> {
        self.0
            .catalog
            .write(move |tx: &mut Tx| {
                Box::pin(async move {
                    tx.put_setting(TURN, b"").await?;
                    // Short, and the others are to wait for it.
                    Ok::<_, IdentityError>(work()?)
                })
            })
            .await
    }
}

fn again(master: &MasterKey, name: &str, sealed: &[u8]) -> Result<Vec<u8>, IdentityError> {
    let plain = master.open(name, sealed).ok_or(IdentityError::MasterKey)?;
    Ok(master.seal(name, &plain))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn racing_daemons_agree_on_one_key() {
        let dir = tempfile::tempdir().unwrap();
        let sealed: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let start = || {
                MasterKey::load_or_create(dir.path())
                    .unwrap()
                    .seal("x", b"y")
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let key = MasterKey::load_or_create(dir.path()).unwrap();
        assert!(sealed.iter().all(|s| key.open("x", s).is_some()));
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "only the key is left: {left:?}");
    }

    #[test]
    fn older_keys_stay_an_hour_and_open_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(MASTER_KEY_FILE);
        let first = MasterKey::load_or_create(dir.path()).unwrap();
        let sealed = first.seal("x", b"y");
        add(&path, 1000).unwrap();
        add(&path, 2000).unwrap();
        let newest = MasterKey::load_or_create(dir.path()).unwrap();
        assert!(newest.open("x", &sealed).is_some());
        assert!(first.open("x", &newest.seal("x", b"z")).is_some());
        assert_eq!(prune(&path, 1000 + KEPT_MS - 1).unwrap(), (0, 2));
        assert_eq!(prune(&path, 1000 + KEPT_MS).unwrap(), (1, 1));
        let newest = MasterKey::load_or_create(dir.path()).unwrap();
        assert!(newest.open("x", &sealed).is_none());
        std::fs::write(&path, "nonsense\n").unwrap();
        assert!(MasterKey::load_or_create(dir.path()).is_err());
    }
}
