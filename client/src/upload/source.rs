//! The file that is sent: opened once, watched for change, hashed on the way.

use crate::{
    Error,
    sums::{self, Differs, Sums},
};
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

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
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self {
            size_bytes: meta.len(),
            modified_ns: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
            inode: meta.ino(),
        }
    }
}

/// An open source file. Cheap to clone; clones share the sums.
#[derive(Debug, Clone)]
pub struct Source {
    path: PathBuf,
    file: Arc<File>,
    fingerprint: Fingerprint,
    sums: Arc<Mutex<Sums>>,
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
            let fingerprint = Fingerprint::of(&meta);
            Ok(Self {
                sums: Arc::new(Mutex::new(Sums::new(fingerprint.size_bytes))),
                fingerprint,
                file: Arc::new(file),
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
        blocking(move || this.see_unchanged()).await
    }

    /// The same. Blocks.
    pub(super) fn see_unchanged(&self) -> Result<(), Error> {
        let same = |meta: io::Result<Metadata>| {
            meta.is_ok_and(|m| Fingerprint::of(&m) == self.fingerprint)
        };
        if same(self.file.metadata()) && same(std::fs::metadata(&self.path)) {
            Ok(())
        } else {
            Err(self.changed())
        }
    }

    /// Takes in what an earlier run saw of it.
    pub(super) fn tell(&self, block: usize, sum: [u8; 32]) {
        self.sums().tell(block, sum);
    }

    /// Reads a whole block, and sees that it is what it was before. Blocks.
    ///
    /// Returns the content and its sum.
    pub(super) fn read_block(&self, block: usize) -> Result<(Vec<u8>, [u8; 32]), Error> {
        let size_bytes = self.size_bytes();
        let range = sums::block_range(size_bytes, block);
        let length = usize::try_from(range.end - range.start).unwrap_or(0);
        let mut content = vec![0; length];
        self.read_exact_at(&mut content, range.start)?;
        // The look ahead for what the node has already may have summed it: once is enough.
        if let Some(sum) = self.sums().seen(block) {
            return Ok((content, sum));
        }
        let sum = sums::block_sum(size_bytes, block, &content);
        match self.sums().see(block, sum) {
            Ok(()) => Ok((content, sum)),
            Err(Differs) => Err(self.changed()),
        }
    }

    /// Reads a whole buffer at a position. Blocks.
    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        self.file
            .read_exact_at(buffer, offset)
            .map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => self.changed(),
                _ => Error::local("read", &self.path, e),
            })
    }

    /// BLAKE3 of the whole content, 64 hex digits: what passed by while sending, and the rest read now.
    ///
    /// # Errors
    /// [`Error::SourceChanged`] when a block is not what an earlier run sent.
    pub async fn hash(&self) -> Result<String, Error> {
        let mut at = 0;
        loop {
            let this = self.clone();
            let next = blocking(move || {
                let Some(block) = this.sums().next_unseen(at) else {
                    return Ok(None);
                };
                this.read_block(block)?;
                Ok(Some(block))
            });
            // Block by block, so that a dropped call stops reading soon.
            match next.await? {
                Some(block) => at = block + 1,
                None => break,
            }
        }
        let root = self.sums().root();
        root.map(|root| root.to_hex().to_string())
            .ok_or_else(|| self.changed())
    }

    fn changed(&self) -> Error {
        Error::SourceChanged {
            path: self.path.clone(),
        }
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
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
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn what_was_sent_before_is_held_against_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("film");
        let content: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let source = Source::open(&path).await.unwrap();
        let (_, first) = source.read_block(1).unwrap();
        let again = Source::open(&path).await.unwrap();
        again.tell(1, first);
        let whole = blake3::hash(&content).to_hex().to_string();
        assert_eq!(again.hash().await.unwrap(), whole);
        let wrong = Source::open(&path).await.unwrap();
        wrong.tell(1, [7; 32]);
        let changed = wrong.hash().await;
        assert!(matches!(changed, Err(Error::SourceChanged { .. })));
    }
}
