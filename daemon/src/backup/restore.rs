//! Making an appliance from a snapshot, on a bare machine.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::chunks::{Lines, Spool, Spooled};
use super::copy::{PIECE_BYTES, fetch};
use super::lines::{self, BlobLine, Line};
use super::manifest::{self, Manifest};
use super::{BackupError, Passphrase, Target, Vault};
use crate::blob::{BlobError, BlobWriter, Blobs, Slice};
use crate::catalog::{Catalog, Table, Tx, Value};

/// The file without which nothing that is sealed opens.
const MASTER_KEY: &str = "master.key";
/// Rows that mean nothing without it.
const SEALED_SETTINGS: [&str; 2] = ["identity.", "store.encryption_keys"];
/// Rows that mean nothing elsewhere: the disks, and how far the scrub of them is.
const MACHINE_SETTINGS: [&str; 2] = ["disks", "scrub"];
/// Lies in a data directory until its restore is done; a daemon refuses to live beside it.
pub const UNFINISHED_FILE: &str = "restore.unfinished";
const UNFINISHED_WORDS: &str =
    "A restore into this directory has not ended. Run it again: it goes on where it was.\n";
/// What may lie in a directory before: keys that a snapshot lacks, what a file system brings, and the lock of this very process.
const FRESH: [&str; 4] = [MASTER_KEY, "lost+found", "daemon.lock", "candidate.lock"];

/// What to restore.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// The data directory to fill.
    pub data_dir: PathBuf,
    /// Which snapshot; the newest without it.
    pub snapshot: Option<String>,
    /// What opens an encrypted target.
    pub passphrase: Option<Passphrase>,
}

/// What a restore did.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The snapshot.
    pub manifest: Manifest,
    /// Bytes of blobs that were fetched; less than the whole when an earlier run had some.
    pub fetched_bytes: u64,
    /// Access keys that were left out, because their secrets cannot be opened without the master key.
    pub keys_left_out: u64,
}

/// Marks a data directory as one to restore into; a restore that was interrupted may go on there.
///
/// # Errors
/// [`BackupError::NotEmpty`] when it holds anything but keys that were laid there for the restore.
pub fn claim(data_dir: &Path) -> Result<(), BackupError> {
    let mark = data_dir.join(UNFINISHED_FILE);
    if mark.exists() {
        return Ok(());
    }
    let failed = |error| BackupError::file("looking into", data_dir, error);
    for entry in fs::read_dir(data_dir).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        if !FRESH.contains(&name.as_ref()) {
            let found = format!("{} ({name})", data_dir.display());
            return Err(BackupError::NotEmpty(found));
        }
    }
    write_new(&mark, UNFINISHED_WORDS).map_err(|error| BackupError::file("writing", &mark, error))
}

/// Takes the mark away: what is there is an appliance.
///
/// # Errors
/// Those of the file.
pub fn finish(data_dir: &Path) -> Result<(), BackupError> {
    let mark = data_dir.join(UNFINISHED_FILE);
    fs::remove_file(&mark)
        .and_then(|()| File::open(data_dir)?.sync_all())
        .map_err(|error| BackupError::file("removing", &mark, error))
}

/// Restores a snapshot into an open, blank catalog and an open blob directory.
///
/// A master key that lies in the data directory already is kept: it may be the very one that the snapshot lacks.
///
/// # Errors
/// [`BackupError::NotEmpty`] when the catalog holds anything, [`BackupError::Damaged`] when the target does not hold what was put there.
/// The catalog is blank after any error, and the next run goes on with the files that are there.
pub async fn restore(
    catalog: &Catalog,
    blobs: &Blobs,
    target: &Target,
    options: &RestoreOptions,
) -> Result<Restored, BackupError> {
    if !catalog.is_blank().await? {
        return Err(BackupError::NotEmpty("the database".to_owned()));
    }
    let (_, vault) = manifest::open(target, options.passphrase.as_ref()).await?;
    let manifest = Manifest::find(target, &vault, options.snapshot.as_deref()).await?;

    let mut spool = Spool::new(&options.data_dir)?;
    let mut rows = Lines::new(target, &vault, &manifest.rows);
    while let Some(line) = rows.next().await? {
        spool.write(line)?;
    }
    let mut fetched_bytes = 0;
    let mut index = Lines::new(target, &vault, &manifest.index);
    while let Some(line) = index.next().await? {
        let line = BlobLine::read(line)?;
        if !is_there(blobs, line).await? {
            bring(blobs, target, &vault, line).await?;
            fetched_bytes += line.size;
        }
    }
    for file in &manifest.files {
        keep(&options.data_dir, &file.name, &file.text)?;
    }
    let has_master = options.data_dir.join(MASTER_KEY).exists();
    let keys_left_out = enter(catalog, spool.rewind()?, &manifest, has_master).await?;
    Ok(Restored {
        manifest,
        fetched_bytes,
        keys_left_out,
    })
}

/// Whether an earlier run has brought a blob, whole.
async fn is_there(blobs: &Blobs, line: BlobLine) -> Result<bool, BackupError> {
    match blobs.len(line.id).await {
        Ok(len) if len == line.size => {}
        Ok(_) | Err(BlobError::Missing { .. }) => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let slice = Slice {
        blob: line.id,
        offset: 0,
        length: line.size,
    };
    let reader = blobs.reader(vec![slice]).await?;
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    while at < line.size {
        let end = (at + PIECE_BYTES).min(line.size);
        hasher.update(&reader.read_range(at..end).await?);
        at = end;
    }
    Ok(*hasher.finalize().as_bytes() == line.blake3)
}

/// Brings a blob: written aside, checked, then moved into place.
async fn bring(
    blobs: &Blobs,
    target: &Target,
    vault: &Vault,
    line: BlobLine,
) -> Result<(), BackupError> {
    let writer = Mutex::new(Some(blobs.create_as(line.id, line.size)?));
    let take = || writer.lock().unwrap_or_else(PoisonError::into_inner).take();
    let give = |back: BlobWriter| {
        *writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(back);
    };
    fetch(target, vault, line, async |piece| {
        let mut writer = take().expect("one piece at a time");
        writer.write(piece.into()).await?;
        give(writer);
        Ok(())
    })
    .await?;
    let writer = take().expect("the last piece gave it back");
    let sealed = writer.seal(true).await?;
    drop(sealed.keep());
    Ok(())
}

/// Writes a key file, for nobody else to read; another one in its place is an error.
fn keep(dir: &Path, name: &str, text: &str) -> Result<(), BackupError> {
    if name.contains('/') || name.starts_with('.') {
        return Err(BackupError::damaged(name, "it is no name of a key file"));
    }
    let path = dir.join(name);
    match write_new(&path, text) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let there = fs::read_to_string(&path);
            let there = there.map_err(|error| BackupError::file("reading", &path, error))?;
            if there == text {
                return Ok(());
            }
            let other = format!("{}, which is not that of the backup,", path.display());
            Err(BackupError::NotEmpty(other))
        }
        written => written.map_err(|error| BackupError::file("writing", &path, error)),
    }
}

/// A new file of mode 0600, durable, whole or not at all.
fn write_new(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| match path.parent() {
            Some(dir) => File::open(dir)?.sync_all(),
            None => Ok(()),
        });
    if written.is_err() {
        // Half a key is worse than none; the first error is the one to tell.
        let _ = fs::remove_file(path);
    }
    written
}

/// Enters all rows in one transaction.
async fn enter(
    catalog: &Catalog,
    mut rows: Spooled,
    manifest: &Manifest,
    has_master: bool,
) -> Result<u64, BackupError> {
    let manifest = Arc::new(manifest.clone());
    catalog
        .write(move |tx| {
            Box::pin(async move { enter_in(tx, &mut rows, &manifest, has_master).await })
        })
        .await
}

async fn enter_in(
    tx: &mut Tx,
    rows: &mut Spooled,
    manifest: &Manifest,
    has_master: bool,
) -> Result<u64, BackupError> {
    let mut left_out = 0;
    let mut current = None;
    while let Some(line) = rows.next()? {
        let table = current.as_ref().map(|(table, _)| table);
        match lines::read(line, table)? {
            Line::Table(table) => {
                let entering = tx.entering(&table).await?;
                current = Some((table, entering));
            }
            Line::Row(mut row) => {
                let Some((table, entering)) = &current else {
                    continue;
                };
                if !has_master && is_sealed(table, &row) {
                    left_out += u64::from(table.table == "access_key");
                    continue;
                }
                if is_of_its_machine(table, &row) {
                    continue;
                }
                mark_damaged(table, &mut row, manifest);
                tx.enter_row(entering, table, row).await?;
            }
        }
    }
    tx.go_on_counting(&manifest.sequences).await?;
    Ok(left_out)
}

/// Whether a row cannot be used without the master key, and would stop the start.
fn is_sealed(table: &Table, row: &[Value]) -> bool {
    match table.table.as_str() {
        "access_key" => true,
        "setting" => {
            let name = table.place("name").map(|at| &row[at]);
            matches!(name, Some(Value::Text(name)) if SEALED_SETTINGS.iter().any(|sealed| name.starts_with(sealed)))
        }
        _ => false,
    }
}

/// Whether a row speaks of the disks of the machine that was backed up: its markers are not here, and every blob is in the data directory now.
fn is_of_its_machine(table: &Table, row: &[Value]) -> bool {
    let name = table.place("name").map(|at| &row[at]);
    table.table == "setting"
        && matches!(name, Some(Value::Text(name)) if MACHINE_SETTINGS.contains(&name.as_str()))
}

/// A blob without bytes is in quarantine, so that reading it says what is wrong.
fn mark_damaged(table: &Table, row: &mut [Value], manifest: &Manifest) {
    if table.table != "blob" || manifest.damaged.is_empty() {
        return;
    }
    let id = table.place("id").map(|at| &row[at]);
    let Some(Value::Text(id)) = id else {
        return;
    };
    if id.parse().is_ok_and(|id| manifest.is_damaged(id))
        && let Some(at) = table.place("state")
    {
        row[at] = Value::Text("quarantined".into());
    }
}
