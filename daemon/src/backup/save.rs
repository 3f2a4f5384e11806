//! Taking a snapshot while the appliance serves.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use time::OffsetDateTime;
use time::macros::format_description;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::chunks::{Chunker, Spool};
use super::copy::{Copied, Sender};
use super::lines::{self, Line};
use super::manifest::{self, Damage, FORMAT, KeptFile, Manifest};
use super::{BackupError, Passphrase, Target};
use crate::catalog::{Table, Value};
use crate::kernel::{BlobId, Id, Millis};
use crate::store::Store;
use crate::telemetry::build::VERSION_AND_ID;

/// How long files stay held when nobody says more, and how often that is said.
const HOLD_MS: Millis = 10 * 60 * 1000;
const RENEW_EVERY: Duration = Duration::from_secs(60);
/// Where the catalog keeps the name by which a target knows its appliance.
const APPLIANCE: &str = "backup.appliance";
/// Files of the data directory above this are no keys.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What a backup takes along.
#[derive(Clone, Debug, Default)]
pub struct SaveOptions {
    /// The data directory, for the key files in it.
    pub data_dir: PathBuf,
    /// Encrypt with this.
    pub passphrase: Option<Passphrase>,
    /// Take keys along into a target that is not encrypted.
    pub include_secrets: bool,
    /// Take indexes, posters and renditions along, which can be made again.
    pub include_made: bool,
}

/// What a backup did.
#[derive(Clone, Debug)]
pub struct Saved {
    /// The snapshot.
    pub manifest: Manifest,
    /// Blobs of which something was sent.
    pub sent_blobs: u64,
    /// Bytes that were sent.
    pub sent_bytes: u64,
}

/// Takes a snapshot; what an earlier run left in the target is used.
///
/// # Errors
/// [`BackupError::Busy`] beside another backup; those of the target, the catalog and the files.
/// A blob that is missing or damaged is no error: the snapshot names it.
pub async fn save(
    store: &Store,
    target: &Target,
    options: &SaveOptions,
) -> Result<Saved, BackupError> {
    let hold = Hold::take(store).await?;
    let saved = save_held(store, target, options, &hold).await;
    hold.release().await;
    saved
}

async fn save_held(
    store: &Store,
    target: &Target,
    options: &SaveOptions,
    hold: &Hold,
) -> Result<Saved, BackupError> {
    let appliance = appliance(store).await?;
    let vault = manifest::open_or_create(target, options.passphrase.as_ref(), &appliance).await?;
    let with_secrets = vault.is_sealing() || options.include_secrets;
    let files = if with_secrets {
        key_files(&options.data_dir)?
    } else {
        Vec::new()
    };
    let created_ms = store.clock().now_ms();

    let mut spool = Spool::new(&options.data_dir)?;
    let mut snapshot = store.catalog().snapshot(options.include_made).await?;
    let mut objects = 0;
    for table in snapshot.tables() {
        spool.write(&lines::of_table(&table))?;
        let counts = table.table == "object_version";
        snapshot
            .rows(&table, |row| {
                objects += u64::from(counts);
                spool.write(&lines::of_row(row))
            })
            .await?;
    }
    let sequences = snapshot.sequences().await?;
    // From here on nobody's transaction is open.
    drop(snapshot);

    let mut spooled = spool.rewind()?;
    let mut rows = Chunker::new(target, &vault);
    let mut index = Chunker::new(target, &vault);
    let mut sender = Sender::new(target, &vault, store.blobs());
    let mut damaged = Vec::new();
    let (mut blobs, mut bytes) = (0, 0);
    let mut table: Option<Table> = None;
    while let Some(line) = spooled.next()? {
        rows.push(line).await?;
        // Only two kinds of lines say something here.
        let of_blobs = table.as_ref().is_some_and(|table| table.table == "blob");
        if !of_blobs && line.first() != Some(&b'{') {
            continue;
        }
        match lines::read(line, table.as_ref())? {
            Line::Table(next) => table = Some(next),
            Line::Row(row) => {
                let blob = table.as_ref().and_then(|table| blob_of(table, &row));
                let blob = blob.ok_or_else(|| {
                    BackupError::damaged("the catalog", "a row of a blob cannot be read")
                })?;
                blobs += 1;
                bytes += blob.size;
                let copied = if blob.is_sound {
                    sender.send(blob.id, blob.size, blob.blake3).await?
                } else {
                    Copied::Damaged("it is in quarantine".into())
                };
                match copied {
                    Copied::Whole(line) => index.push(&line.to_line()).await?,
                    Copied::Damaged(why) => damaged.push(Damage {
                        blob: blob.id.to_string(),
                        why,
                    }),
                }
                hold.check()?;
            }
        }
    }
    sender.finish().await?;
    let (rows, sent_rows) = rows.finish().await?;
    let (index, sent_index) = index.finish().await?;
    let manifest = Manifest {
        format: FORMAT,
        id: snapshot_id(created_ms),
        created_ms,
        version: VERSION_AND_ID.to_owned(),
        database: store.catalog().kind().to_owned(),
        objects,
        blobs,
        bytes,
        has_secrets: with_secrets,
        has_made: options.include_made,
        sequences,
        rows,
        index,
        files,
        damaged,
    };
    // What the manifest names is safe before the manifest is there, and the manifest before anybody is told.
    target.settle().await?;
    hold.check()?;
    let kept = manifest.to_kept(&vault);
    target
        .put(&Manifest::name_of(&manifest.id), kept.into())
        .await?;
    target.settle().await?;
    Ok(Saved {
        manifest,
        sent_blobs: sender.sent_blobs,
        sent_bytes: sender.sent_bytes + sent_rows + sent_index,
    })
}

/// What the catalog says of a blob.
struct BlobFacts {
    id: BlobId,
    size: u64,
    /// Known of complete ones.
    blake3: Option<[u8; 32]>,
    is_sound: bool,
}

fn blob_of(table: &Table, row: &[Value]) -> Option<BlobFacts> {
    let at = |column| Some(&row[table.place(column)?]);
    let (Value::Text(id), Value::Int(size), Value::Text(state)) =
        (at("id")?, at("size_bytes")?, at("state")?)
    else {
        return None;
    };
    let blake3 = match at("blake3")? {
        Value::Bytes(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    };
    Some(BlobFacts {
        id: id.parse().ok()?,
        size: u64::try_from(*size).ok()?,
        // The hash of a growing one is not that of its first bytes.
        blake3: blake3.filter(|_| state != "open"),
        is_sound: state != "quarantined",
    })
}

/// A name that sorts by time.
fn snapshot_id(created_ms: Millis) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(created_ms) * 1_000_000);
    let time = time
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .format(format_description!(
            "[year][month][day]T[hour][minute][second].[subsecond digits:3]Z"
        ));
    let time = time.expect("the format has no part that a date lacks");
    format!("{time}-{}", &Id::random().to_string()[..8])
}

/// The name by which a target knows this appliance, made at its first backup.
async fn appliance(store: &Store) -> Result<String, BackupError> {
    let fresh = Id::random().to_string();
    let name = store.catalog().write(move |tx| {
        Box::pin(async move { tx.setting_or_insert(APPLIANCE, fresh.as_bytes()).await })
    });
    Ok(String::from_utf8_lossy(&name.await?).into_owned())
}

/// Keys and credentials: the small text files of the data directory that are neither database nor lock.
fn key_files(dir: &Path) -> Result<Vec<KeptFile>, BackupError> {
    let failed = |error| BackupError::file("reading", dir, error);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let is_lock = Path::new(&name)
            .extension()
            .is_some_and(|end| end == "lock");
        let passing = name.starts_with('.') || name.contains(".db") || is_lock;
        let meta = entry.metadata().map_err(failed)?;
        if passing || !meta.is_file() || meta.len() > FILE_BYTES_MAX {
            continue;
        }
        let path = entry.path();
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|error| BackupError::file("reading", &path, error))?;
        files.push(KeptFile { name, text });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Holds the files of the appliance still until it is released.
pub(super) struct Hold {
    store: Store,
    lost: Arc<AtomicBool>,
    stop: CancellationToken,
    renewing: AbortOnDropHandle<()>,
}

impl Hold {
    pub(super) async fn take(store: &Store) -> Result<Self, BackupError> {
        if !store.hold_files(HOLD_MS).await? {
            return Err(BackupError::Busy);
        }
        let lost = Arc::new(AtomicBool::new(false));
        let stop = CancellationToken::new();
        let renewing = tokio::spawn(renew(store.clone(), Arc::clone(&lost), stop.clone()));
        Ok(Self {
            store: store.clone(),
            lost,
            stop,
            renewing: AbortOnDropHandle::new(renewing),
        })
    }

    /// Whether the hold never ran out so far.
    pub(super) fn check(&self) -> Result<(), BackupError> {
        if self.lost.load(Ordering::Relaxed) {
            Err(BackupError::LetGo)
        } else {
            Ok(())
        }
    }

    pub(super) async fn release(self) {
        self.stop.cancel();
        // A renewal after the release would hold files for nobody.
        let _ended = self.renewing.await;
        if let Err(error) = self.store.release_files().await {
            tracing::warn!(%error, "dead files stay for ten minutes more: {error}");
        }
    }
}

async fn renew(store: Store, lost: Arc<AtomicBool>, stop: CancellationToken) {
    let mut good_until = store.clock().now_ms() + HOLD_MS;
    loop {
        let rest = tokio::time::sleep(RENEW_EVERY);
        if stop.run_until_cancelled(rest).await.is_none() {
            return;
        }
        let now_ms = store.clock().now_ms();
        // One that ran out may be taken again, but files may have gone in between.
        let held = now_ms < good_until && matches!(store.hold_files(HOLD_MS).await, Ok(true));
        if held {
            good_until = now_ms + HOLD_MS;
        } else if now_ms >= good_until {
            lost.store(true, Ordering::Relaxed);
            return;
        }
    }
}
