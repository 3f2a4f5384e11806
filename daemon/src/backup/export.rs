//! A bucket as plain files, for any other program: nobody's data is hostage.
//!
//! `DIR/.nebula/objects.jsonl` says what files cannot: key, version, entity tag, headers, tags and checksums of each, a line each.
//! A file that is there with the size and the time of its object is not written again, so an export that was cut goes on, and a later one brings what is new.

use std::fs::{self, File, FileTimes};
use std::io::{self, BufWriter, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use http_body_util::BodyExt as _;
use serde_json::json;

use super::BackupError;
use super::names::{SIDE, path_of};
use crate::kernel::{BucketName, Millis};
use crate::store::{ListItem, ListRequest, Object, Store, StoreError};

/// Objects listed at a time.
const PAGE: usize = 1000;
const LIST: &str = "objects.jsonl";
const UNFINISHED: &str = "unfinished";
const VERSIONS: &str = "versions";

/// What an export did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Files that are there now.
    pub files: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Files of these that had to be written.
    pub written: u64,
    /// Objects that could not be read, with the reason.
    pub failed: Vec<String>,
}

/// Writes the objects of a bucket below `dir`; with `versions`, the older ones too, into the side of the export.
///
/// # Errors
/// [`StoreError::NoSuchBucket`] and those of the directory; an object that cannot be read is named in the outcome.
pub async fn export(
    store: &Store,
    bucket: &BucketName,
    dir: &Path,
    versions: bool,
) -> Result<Exported, BackupError> {
    store.bucket(bucket).await?;
    let side = dir.join(SIDE);
    fs::create_dir_all(&side).map_err(|error| BackupError::file("making", &side, error))?;
    let list = side.join(format!("{LIST}.{UNFINISHED}"));
    let failed = |error| BackupError::file("writing", &list, error);
    let mut lines = BufWriter::new(File::create(&list).map_err(failed)?);
    let mut exported = Exported::default();
    let mut request = ListRequest {
        limit: PAGE,
        versions,
        ..ListRequest::default()
    };
    loop {
        let page = store.list(bucket, &request).await?;
        for item in &page.items {
            let line = one(store, bucket, dir, item, &mut exported).await?;
            if let Some(line) = line {
                writeln!(lines, "{line}").map_err(failed)?;
            }
        }
        if !page.is_truncated {
            break;
        }
        request.after = page.next_after;
        request.after_version = page.next_after_version;
    }
    let whole = side.join(LIST);
    let settled = lines
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&list, &whole))
        .and_then(|()| Ok(rustix::fs::syncfs(File::open(dir)?)?));
    settled.map_err(failed)?;
    Ok(exported)
}

/// Writes one version, unless it is there; gives its line in the list.
async fn one(
    store: &Store,
    bucket: &BucketName,
    dir: &Path,
    item: &ListItem,
    exported: &mut Exported,
) -> Result<Option<serde_json::Value>, BackupError> {
    let mut line = json!({
        "key": item.key.as_str(),
        "version_id": item.version_id.as_str(),
        "is_latest": item.is_latest,
        "is_delete_marker": item.is_delete_marker,
        "modified_ms": item.modified_ms,
        "owner": item.owner,
    });
    if item.is_delete_marker {
        return Ok(Some(line));
    }
    let found = store
        .object(bucket, &item.key, Some(&item.version_id))
        .await;
    let object = match found {
        Ok(object) => object,
        // Deleted since it was listed.
        Err(StoreError::NoSuchKey(_) | StoreError::NoSuchVersion(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let place = place(store, bucket, &object, item.is_latest).await?;
    line["path"] = place.clone().into();
    line["size_bytes"] = object.size.into();
    line["etag"] = object.etag.as_str().into();
    line["headers"] = json!(object.headers);
    line["tags"] = json!(object.tags);
    line["checksums"] = json!(object.checksums);
    line["extras"] = json!(object.extras);
    let path = dir.join(&place);
    if !is_there(&path, &object) {
        match write(store, &object, dir, &path).await {
            Ok(()) => exported.written += 1,
            Err(BackupError::Store(StoreError::NoSuchKey(_))) => return Ok(None),
            Err(BackupError::Store(
                error @ (StoreError::ObjectDamaged(_)
                | StoreError::Damaged(_)
                | StoreError::KeyRequired),
            )) => {
                exported.failed.push(format!("{}: {error}", item.key));
                line["failed"] = error.to_string().into();
                return Ok(Some(line));
            }
            Err(error) => return Err(error),
        }
    }
    exported.files += 1;
    exported.bytes += object.size;
    Ok(Some(line))
}

/// Where an object goes, below the directory.
async fn place(
    store: &Store,
    bucket: &BucketName,
    object: &Object,
    is_latest: bool,
) -> Result<String, BackupError> {
    if !is_latest {
        let path = path_of(object.key.as_str(), false);
        let version = &object.version_id;
        return Ok(format!("{SIDE}/{VERSIONS}/{path}%v{}", version.as_str()));
    }
    let below = ListRequest {
        prefix: format!("{}/", object.key),
        limit: 1,
        ..ListRequest::default()
    };
    let is_folder = !store.list(bucket, &below).await?.items.is_empty();
    Ok(path_of(object.key.as_str(), is_folder))
}

fn is_there(path: &Path, object: &Object) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| {
        meta.is_file()
            && meta.len() == object.size
            && meta
                .modified()
                .is_ok_and(|time| time == time_of(object.modified_ms))
    })
}

fn time_of(ms: Millis) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms.max(0) as u64)
}

/// Writes a file aside and moves it into place.
async fn write(store: &Store, object: &Object, dir: &Path, path: &Path) -> Result<(), BackupError> {
    let unfinished: PathBuf = dir.join(SIDE).join(UNFINISHED);
    let failed = |error| BackupError::file("writing", path, error);
    let mut body = store.reader(object).await?.body(0..object.size);
    let mut file = File::create(&unfinished).map_err(failed)?;
    while let Some(frame) = body.frame().await {
        if let Ok(bytes) = frame?.into_data() {
            file.write_all(&bytes).map_err(failed)?;
        }
    }
    let times = FileTimes::new().set_modified(time_of(object.modified_ms));
    file.set_times(times).map_err(failed)?;
    drop(file);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| match error.kind() {
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => in_the_way(folder),
            _ => failed(error),
        })?;
    }
    fs::rename(&unfinished, path).map_err(|error| match error.kind() {
        ErrorKind::IsADirectory => in_the_way(path),
        _ => failed(error),
    })
}

/// What an earlier export, or somebody else, has put there.
fn in_the_way(path: &Path) -> BackupError {
    let why = io::Error::other("something else is in the way; move it aside and export again");
    BackupError::file("making", path, why)
}
