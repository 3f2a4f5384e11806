//! A directory: a disk, a mount, a stick.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::Page;
use crate::backup::BackupError;
use crate::kernel::Id;

/// What a file is called while it is written; nobody lists it.
const UNFINISHED: &str = ".unfinished-";
/// Folders before a name.
const FOLDERS_MAX: usize = 2;
/// What a fresh file system has.
const FRESH: &str = "lost+found";

#[derive(Clone)]
pub(super) struct Dir(Arc<Path>);

impl fmt::Display for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Dir {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path.into())
    }

    async fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        name: &str,
        work: impl FnOnce(&Path, &Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BackupError> {
        let (root, path) = (Arc::clone(&self.0), self.0.join(name));
        let done = tokio::task::spawn_blocking(move || {
            work(&root, &path).map_err(|error| BackupError::file(what, &path, error))
        });
        done.await.expect("file work does not panic")
    }

    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), BackupError> {
        self.run("writing", name, move |_, path| {
            let dir = path.parent().unwrap_or(path);
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            let unfinished = dir.join(format!("{UNFINISHED}{}", Id::random()));
            let written = File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&unfinished)
                .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_data()))
                .and_then(|()| fs::rename(&unfinished, path));
            if written.is_err() {
                // The first error is the one to tell.
                let _ = fs::remove_file(&unfinished);
            }
            written
        })
        .await
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, BackupError> {
        self.run("reading", name, |_, path| found(fs::read(path)))
            .await
    }

    pub(super) async fn size(&self, name: &str) -> Result<Option<u64>, BackupError> {
        self.run("looking at", name, |_, path| {
            Ok(found(fs::metadata(path))?.map(|meta| meta.len()))
        })
        .await
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), BackupError> {
        self.run("removing", name, |_, path| {
            found(fs::remove_file(path)).map(|_| ())
        })
        .await
    }

    /// One call for all names that were made since the last.
    pub(super) async fn settle(&self) -> Result<(), BackupError> {
        self.run("syncing", "", |root, _| {
            Ok(rustix::fs::syncfs(File::open(root)?)?)
        })
        .await
    }

    /// Whether nothing is in it.
    pub(super) async fn is_empty(&self) -> Result<bool, BackupError> {
        self.run("listing", "", |root, _| {
            let any = [entries(root, false)?, entries(root, true)?].concat();
            Ok(any.iter().all(|name| name == FRESH))
        })
        .await
    }

    /// The names of one folder: that of `after`, or the first behind it with any.
    pub(super) async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Page, BackupError> {
        let (prefix, after) = (prefix.to_owned(), after.map(str::to_owned));
        self.run("listing", "", move |root, _| {
            let mut folders = vec![String::new()];
            let mut at = 0;
            while at < folders.len() {
                let folder = folders[at].clone();
                at += 1;
                if folder.matches('/').count() == FOLDERS_MAX {
                    continue;
                }
                for name in entries(&root.join(&folder), true)? {
                    let inside = format!("{folder}{name}/");
                    if inside.starts_with(&prefix) || prefix.starts_with(&inside) {
                        folders.push(inside);
                    }
                }
            }
            folders.sort();
            for (number, folder) in folders.iter().enumerate() {
                let mut names = Vec::new();
                for file in entries(&root.join(folder), false)? {
                    let name = format!("{folder}{file}");
                    if !name.starts_with(&prefix) || after.as_ref().is_some_and(|a| name <= *a) {
                        continue;
                    }
                    if let Some(meta) = found(fs::metadata(root.join(&name)))? {
                        names.push((name, meta.len()));
                    }
                }
                if !names.is_empty() {
                    let more = number + 1 < folders.len();
                    return Ok(Page { names, more });
                }
            }
            Ok(Page {
                names: Vec::new(),
                more: false,
            })
        })
        .await
    }
}

/// What is not there is nothing, not an error.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The folders or the files of a folder, sorted; of a folder that is not there, none.
fn entries(dir: &Path, folders: bool) -> io::Result<Vec<String>> {
    let Some(read) = found(fs::read_dir(dir))? else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in read {
        let entry = entry?;
        if entry.file_type()?.is_dir() != folders {
            continue;
        }
        // Names that are no text are none of ours.
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with(UNFINISHED)
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
