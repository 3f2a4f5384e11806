//! The page cache before a comparison of servers that read files.
//!
//! How bytes came into it decides what it costs to send them: of a file that was read or written from its beginning they lie
//! in pieces of up to 2 MiB, of one that was read here and there in pieces of 4 KiB.
//! And a kernel may let go of what nobody asked for lately.
//! So before each comparison the files of all sides are let go and read anew in the same way.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use rustix::fs::{Advice, fadvise};

const READ_BYTES: usize = 1 << 20;

/// Has every file below a directory lie in the page cache as if it had been read once.
pub fn read_anew(dir: &Path) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    each_file(dir, &mut |path| {
        let mut file = File::open(path)?;
        // What is not on the disk yet would stay.
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
        while file.read(&mut buffer)? > 0 {}
        Ok(())
    })
}

/// Gives the largest file below a directory a further name.
pub fn link_largest(dir: &Path, name: &Path) -> Result<()> {
    let mut largest = None;
    each_file(dir, &mut |path| {
        largest = largest
            .take()
            .max(Some((path.metadata()?.len(), path.to_owned())));
        Ok(())
    })?;
    let (_, path) = largest.with_context(|| format!("no file in {}", dir.display()))?;
    Ok(fs::hard_link(path, name)?)
}

fn each_file(dir: &Path, what: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            each_file(&path, what)?;
        } else {
            what(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}
