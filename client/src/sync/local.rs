//! The files of a folder, by the names that they have below it.

use crate::Error;
use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

/// No folder with more files is looked through.
const FILES_MAX: usize = 1_000_000;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// Where it is.
    pub path: PathBuf,
    /// Its length.
    pub size_bytes: u64,
    /// When it was changed, in nanoseconds since the epoch.
    pub modified_ns: i128,
}

/// What was found, and what could not be looked at.
#[derive(Debug, Default)]
pub struct Found {
    /// By name, with `/` between folders.
    pub files: BTreeMap<String, Here>,
    /// Each with the reason.
    pub unreadable: Vec<(String, Error)>,
}

impl Here {
    pub(crate) fn of(path: PathBuf, meta: &Metadata) -> Self {
        Self {
            path,
            size_bytes: meta.len(),
            modified_ns: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
        }
    }
}

/// Every file below a folder whose name `takes` likes. Links to files are followed, links to folders are not. Blocks.
///
/// # Errors
/// When the folder itself cannot be read.
pub fn files(folder: &Path, takes: &dyn Fn(&str) -> bool) -> Result<Found, Error> {
    let entries = fs::read_dir(folder).map_err(|e| Error::local("read", folder, e))?;
    let mut found = Found::default();
    walk(entries, "", takes, &mut found);
    Ok(found)
}

fn walk(entries: fs::ReadDir, below: &str, takes: &dyn Fn(&str) -> bool, found: &mut Found) {
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(e) => {
                let failed = Error::local("read", below, e);
                found.unreadable.push((below.to_owned(), failed));
                continue;
            }
        };
        let path = entry.path();
        let file_name = entry.file_name();
        let Some(name) = file_name.to_str() else {
            let why = io::Error::other("its name is not UTF-8, as keys are");
            let name = format!("{below}{}", file_name.to_string_lossy());
            found
                .unreadable
                .push((name, Error::local("send", path, why)));
            continue;
        };
        let name = format!("{below}{name}");
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        match fs::metadata(&path) {
            Ok(meta) if meta.is_dir() && !is_link => match fs::read_dir(&path) {
                Ok(entries) => walk(entries, &format!("{name}/"), takes, found),
                Err(e) => found.unreadable.push((name, Error::local("read", path, e))),
            },
            Ok(meta) if meta.is_file() && takes(&name) => {
                if found.files.len() >= FILES_MAX {
                    let why = io::Error::other(format!("there are more than {FILES_MAX} files"));
                    found
                        .unreadable
                        .push((name, Error::local("read", path, why)));
                    return;
                }
                found.files.insert(name, Here::of(path, &meta));
            }
            Ok(_) => {}
            // A dead link is nothing to be sent, and nothing that is missing.
            Err(e) if is_link && e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => found.unreadable.push((name, Error::local("read", path, e))),
        }
    }
}

/// Where a name lies below a folder; none when it would lie elsewhere, or cannot be a file's.
pub fn place(folder: &Path, name: &str) -> Option<PathBuf> {
    let inside = |component| matches!(component, Component::Normal(_));
    let is_plain = !name.is_empty() && !name.contains('\0') && !name.contains("//");
    let inside = is_plain && Path::new(name).components().all(inside);
    // `a/./b` and `a/b` would be one file.
    let same = inside && Path::new(name).components().count() == name.split('/').count();
    same.then(|| folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_lies_below_its_folder_or_nowhere() {
        let at = |name: &str| place(Path::new("/to"), name);
        assert_eq!(at("a/b.mkv"), Some(PathBuf::from("/to/a/b.mkv")));
        for evil in [
            "",
            "../x",
            "a/../../x",
            "/etc/passwd",
            "a/./b",
            "a//b",
            "a/",
            "x\0y",
        ] {
            assert_eq!(at(evil), None, "{evil}");
        }
    }
}
