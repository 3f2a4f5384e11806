//! `[data]`: the data directory and its space.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::error::Fault;

/// SQLite pages stop being cheap to read in one go above this.
const INLINE_BYTES_MAX: u64 = 256 * 1024;

/// Rules count in days, so a walk a day is the least that keeps them.
const LIFECYCLE_INTERVAL_S_MAX: u64 = 24 * 60 * 60;

/// Where objects and, by default, the catalog are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// The data directory. Empty in a file means the default; never empty after a load.
    pub dir: PathBuf,
    /// Writes are refused when fewer bytes than this would stay free.
    pub reserve_bytes: u64,
    /// Objects up to this size are kept in the catalog instead of a file.
    pub inline_bytes_max: u64,
    /// Disks beside the directory.
    pub disks: Vec<DiskConfig>,
    /// Seconds between two walks over what lifecycle rules may have ended.
    pub lifecycle_interval_s: u64,
}

/// A disk beside the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskConfig {
    /// What people call it.
    pub name: String,
    /// A directory on it that nothing else uses.
    pub path: PathBuf,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::new(),
            reserve_bytes: 1 << 30,
            inline_bytes_max: 16 * 1024,
            disks: Vec::new(),
            lifecycle_interval_s: 3600,
        }
    }
}

impl DiskConfig {
    fn check(&self, dir: &Path, before: &[Self]) -> Result<(), Fault> {
        let (name, path) = (&self.name, &self.path);
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        let fault = |what: String, cure: &str| Err(Fault::new("data.disks", what, cure));
        if name.is_empty() || name.len() > 32 || !name.chars().all(plain) || name == "main" {
            let what = format!("`{name}` cannot be the name of a disk");
            return fault(
                what,
                "letters, digits, `-`, `_` and `.`, at most 32; `main` is the data directory's own",
            );
        }
        if !path.is_absolute() || path.starts_with(dir) || dir.starts_with(path) {
            let what = format!("disk `{name}`: {} cannot be its directory", path.display());
            return fault(
                what,
                "an absolute path outside the data directory, on the disk that is meant",
            );
        }
        if before
            .iter()
            .any(|other| other.name == *name || other.path == *path)
        {
            let what = format!("disk `{name}` or its directory stands twice");
            return fault(what, "give each disk a name and a directory of its own");
        }
        Ok(())
    }
}

impl DataConfig {
    pub(super) fn check(&self) -> Result<(), Fault> {
        if !self.dir.is_absolute() {
            return Err(Fault::new(
                "data.dir",
                format!("`{}` is not an absolute path", self.dir.display()),
                "write the path from the root on, as in /srv/nebula",
            ));
        }
        for (at, disk) in self.disks.iter().enumerate() {
            disk.check(&self.dir, &self.disks[..at])?;
        }
        Fault::bounds(
            "data.inline_bytes_max",
            self.inline_bytes_max,
            0,
            INLINE_BYTES_MAX,
        )?;
        Fault::bounds(
            "data.lifecycle_interval_s",
            self.lifecycle_interval_s,
            1,
            LIFECYCLE_INTERVAL_S_MAX,
        )
    }

    /// Creates the directory (mode 0700) if need be and writes a probe into it.
    pub(super) fn prepare(&self) -> Result<(), Fault> {
        let dir = &self.dir;
        let refuse = |error: std::io::Error| {
            let cure = match error.kind() {
                ErrorKind::PermissionDenied => format!(
                    "make it writable for this user (chown), or choose another with --data-dir; it is {}",
                    dir.display()
                ),
                ErrorKind::StorageFull => "free some space on its file system".to_owned(),
                ErrorKind::ReadOnlyFilesystem => {
                    "mount it writable, or choose another with --data-dir".to_owned()
                }
                ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                    "a part of this path is a file: choose another with --data-dir".to_owned()
                }
                _ => "choose a directory this user can write with --data-dir".to_owned(),
            };
            Fault::new(
                "data.dir",
                format!("{} cannot be used: {error}", dir.display()),
                cure,
            )
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(refuse)?;
        // Permission bits say too little (read-only mounts, quotas, a full disk): only a write proves a write.
        let probe = dir.join(format!(".probe-{}", std::process::id()));
        let written = fs::write(&probe, b"probe");
        let removed = fs::remove_file(&probe);
        written.and(removed).map_err(refuse)
    }
}

/// systemd's `STATE_DIRECTORY`, else the user's data home.
pub(super) fn default_dir(environment: &Environment) -> Result<PathBuf, Fault> {
    if let Some(directories) = environment.get("STATE_DIRECTORY") {
        // systemd separates several with colons; the first is ours.
        let first = directories.split(':').next().unwrap_or(directories);
        return Ok(PathBuf::from(first));
    }
    if let Some(home) = environment.get("XDG_DATA_HOME") {
        return Ok(Path::new(home).join("nebula"));
    }
    if let Some(home) = environment.get("HOME") {
        return Ok(Path::new(home).join(".local/share/nebula"));
    }
    Err(Fault::new(
        "data.dir",
        "no directory is configured, and neither STATE_DIRECTORY, XDG_DATA_HOME nor HOME is set",
        "choose one with --data-dir",
    ))
}
