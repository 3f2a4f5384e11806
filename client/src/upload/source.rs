//! The file that is sent: opened once, watched for change, hashed on the way.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// How much is read at once.
pub const READ_BYTES: usize = 256 << 10;

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Its length.
    pub size_bytes: u64,
    /// Its modification time in nanoseconds.
    pub modified_ns: i128,
    /// Its inode: a file moved over it is another one, whatever its times say.
    pub inode: u64,
}

impl Fingerprint {
    fn of(meta: &Metadata) -> Self {
        Self {
            size_bytes: meta.len(),
            modified_ns: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
            inode: meta.ino(),
        }
    }
}

/// An open source file. Cheap to clone; clones share the hash.
#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
    file: Arc<File>,
    fingerprint: Fingerprint,
    hash: Arc<Mutex<Hash>>,
}

/// The hash of the content up to a position.
#[derive(Debug, Default)]
struct Hash {
    hasher: blake3::Hasher,
    hashed_bytes: u64,
}

impl Source {
    /// Opens a regular file.
    pub async fn open(path: &Path) -> Result<Self, Error> {
        let path = super::absolute(path);
        blocking(move || {
            let fail = |e| Error::local("read", &path, e);
            let file = File::open(&path).map_err(fail)?;
            let meta = file.metadata().map_err(fail)?;
            if !meta.is_file() {
                return Err(fail(io::Error::other("it is not a regular file")));
            }
            Ok(Self {
                fingerprint: Fingerprint::of(&meta),
                file: Arc::new(file),
                hash: Arc::default(),
                path,
            })
        })
        .await
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length when it was opened.
    pub fn size_bytes(&self) -> u64 {
        self.fingerprint.size_bytes
    }

    /// What it looked like when it was opened.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Fails when the open file, or the one that has its name now, is not what was opened.
    pub async fn check_unchanged(&self) -> Result<(), Error> {
        let this = self.clone();
        blocking(move || {
            let same = |meta: io::Result<Metadata>| {
                meta.is_ok_and(|m| Fingerprint::of(&m) == this.fingerprint)
            };
            if same(this.file.metadata()) && same(std::fs::metadata(&this.path)) {
                Ok(())
            } else {
                Err(Error::SourceChanged {
                    path: this.path.clone(),
                })
            }
        })
        .await
    }

    /// Reads a whole buffer at a position. Blocks.
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    /// Takes content into the hash where it goes on from what the hash has seen. Blocks.
    pub(super) fn absorb(&self, content: &[u8], offset: u64) {
        let mut hash = self.hash.lock().unwrap_or_else(PoisonError::into_inner);
        hash.absorb(content, offset);
    }

    /// BLAKE3 of the whole content, 64 hex digits: what passed by while sending,
    /// and the rest read now.
    pub async fn hash(&self) -> Result<String, Error> {
        let this = self.clone();
        blocking(move || {
            let mut hash = this.hash.lock().unwrap_or_else(PoisonError::into_inner);
            let mut buffer = vec![0; READ_BYTES];
            while hash.hashed_bytes < this.size_bytes() {
                let left = this.size_bytes() - hash.hashed_bytes;
                let take = READ_BYTES.min(usize::try_from(left).unwrap_or(READ_BYTES));
                let at = hash.hashed_bytes;
                this.read_exact_at(&mut buffer[..take], at)
                    .map_err(|e| match e.kind() {
                        io::ErrorKind::UnexpectedEof => Error::SourceChanged {
                            path: this.path.clone(),
                        },
                        _ => Error::local("read", &this.path, e),
                    })?;
                hash.absorb(&buffer[..take], at);
            }
            Ok(hash.hasher.finalize().to_hex().to_string())
        })
        .await
    }
}

impl Hash {
    fn absorb(&mut self, content: &[u8], offset: u64) {
        // A resend covers what was hashed before; a resumed upload begins beyond it and is caught up later.
        let Some(known) = self.hashed_bytes.checked_sub(offset) else {
            return;
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        if let Some(fresh) = content.get(known..) {
            self.hasher.update(fresh);
            self.hashed_bytes += fresh.len() as u64;
        }
    }
}

/// Runs work that touches the disk off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_does_not_care_how_the_content_came() {
        let content: Vec<u8> = (0..100_000_u32).map(|i| (i % 251) as u8).collect();
        let mut hash = Hash::default();
        hash.absorb(&content[..40_000], 0);
        hash.absorb(&content[30_000..60_000], 30_000); // a resend
        hash.absorb(&content[70_000..], 70_000); // beyond: not yet
        hash.absorb(&content[10_000..20_000], 10_000); // known already
        assert_eq!(hash.hashed_bytes, 60_000);
        hash.absorb(&content[60_000..], 60_000);
        assert_eq!(hash.hasher.finalize(), blake3::hash(&content));
    }
}
