//! The unfinished file beside its destination, and the journal of what is in it.
//!
//! `NAME.XXXXXXXX.part` has its full length from the start, with holes for what is not there yet; `NAME.XXXXXXXX.part.state` has a line with the sum of each block that is.
//! Their names carry the object's identity, so what was fetched of another version is never gone on with.
//! A block that an earlier run fetched is read again and held against its sum before the file takes its name: a power cut may have left the line without the block.

use crate::{
    Error,
    journal::Journal,
    sums::{self, Sums},
    upload::blocking,
};
use nebula_api::Object;
use rustix::{
    fs::{FallocateFlags, fallocate},
    io::Errno,
};
use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

/// The most that one request asks for.
const PIECE_BYTES: u64 = 32 << 20;

/// An unfinished file, locked. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Part {
    path: PathBuf,
    file: Arc<File>,
    journal: Journal,
    size_bytes: u64,
    sums: Arc<Mutex<Sums>>,
}

impl Part {
    /// Opens what there is for this object, or makes it. Blocks.
    pub(super) fn open(o: &Object, to: &Path) -> Result<Self, Error> {
        let identity = format!(
            "{}\0{}\0{:?}\0{}",
            o.etag, o.size_bytes, o.version, o.modified_at_ms
        );
        let identity = blake3::hash(identity.as_bytes()).to_hex();
        let beside = |end: &str| {
            let mut name: OsString = to.file_name().unwrap_or_default().to_owned();
            name.push(format!(".{}{end}", &identity[..8]));
            to.with_file_name(name)
        };
        let path = beside(".part");
        let fail = |e: io::Error| Error::local("write", &path, e);
        if let Some(dir) = to.parent().filter(|d| !d.as_os_str().is_empty()) {
            std::fs::create_dir_all(dir).map_err(fail)?;
        }
        let what = to.display().to_string();
        let (journal, lines) = Journal::open::<(usize, String)>(&beside(".part.state"), &what)?;
        let mut sums = Sums::new(o.size_bytes);
        let is_new = !path.exists();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(fail)?;
        if is_new {
            journal.clear()?;
            // Room is taken at once: a disk that is too small says so before the wait.
            match fallocate(&file, FallocateFlags::empty(), 0, o.size_bytes.max(1)) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
                Err(e) => {
                    let _ = std::fs::remove_file(&path);
                    journal.remove();
                    return Err(fail(e.into()));
                }
            }
        } else {
            for (block, sum) in lines {
                if let Ok(sum) = blake3::Hash::from_hex(sum) {
                    sums.tell(block, *sum.as_bytes());
                }
            }
        }
        file.set_len(o.size_bytes).map_err(fail)?;
        Ok(Self {
            file: Arc::new(file),
            journal,
            size_bytes: o.size_bytes,
            sums: Arc::new(Mutex::new(sums)),
            path,
        })
    }

    /// How much of it is there.
    pub(super) fn there_bytes(&self) -> u64 {
        let sums = self.sums();
        (0..sums::block_count(self.size_bytes))
            .filter(|block| sums.is_known(*block))
            .map(|block| sums::block_range(self.size_bytes, block))
            .map(|range| range.end - range.start)
            .sum()
    }

    /// What is missing, in pieces of a request each.
    pub(super) fn missing(&self) -> Vec<Range<u64>> {
        let sums = self.sums();
        let mut pieces: Vec<Range<u64>> = Vec::new();
        for block in 0..sums::block_count(self.size_bytes) {
            if sums.is_known(block) {
                continue;
            }
            let range = sums::block_range(self.size_bytes, block);
            match pieces.last_mut() {
                Some(last) if last.end == range.start && range.end - last.start <= PIECE_BYTES => {
                    last.end = range.end;
                }
                _ => pieces.push(range),
            }
        }
        pieces
    }

    /// The block that a position is in, and where that ends.
    pub(super) fn block_at(&self, position: u64) -> (usize, u64) {
        let block = usize::try_from(position / sums::block_bytes(self.size_bytes)).unwrap_or(0);
        (block, sums::block_range(self.size_bytes, block).end)
    }

    /// Keeps a whole block.
    pub(super) async fn keep(&self, block: usize, content: Vec<u8>) -> Result<(), Error> {
        let this = self.clone();
        blocking(move || {
            let start = sums::block_range(this.size_bytes, block).start;
            let sum = sums::block_sum(this.size_bytes, block, &content);
            this.file
                .write_all_at(&content, start)
                .map_err(|e| this.fail(e))?;
            let hex = blake3::Hash::from_bytes(sum).to_hex().to_string();
            this.journal.add(&(block, hex))?;
            let mut sums = this.sums();
            sums.forget(block);
            let _ = sums.see(block, sum);
            Ok(())
        })
        .await
    }

    /// Reads again what an earlier run fetched; what is not what it was is missing from then on.
    pub(super) async fn prove(&self) -> Result<(), Error> {
        let mut at = 0;
        loop {
            let this = self.clone();
            let next = blocking(move || {
                let Some(block) = this.sums().next_unseen(at) else {
                    return Ok(None);
                };
                if this.sums().is_known(block) {
                    let range = sums::block_range(this.size_bytes, block);
                    let mut content =
                        vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
                    this.file
                        .read_exact_at(&mut content, range.start)
                        .map_err(|e| this.fail(e))?;
                    let sum = sums::block_sum(this.size_bytes, block, &content);
                    let mut sums = this.sums();
                    if sums.see(block, sum).is_err() {
                        sums.forget(block);
                    }
                }
                Ok(Some(block))
            });
            match next.await? {
                Some(block) => at = block + 1,
                None => return Ok(()),
            }
        }
    }

    /// BLAKE3 of the whole, once every block is there.
    pub(super) fn root(&self) -> Option<String> {
        self.sums().root().map(|root| root.to_hex().to_string())
    }

    /// Gives the whole its name, and the file's own time where it is known.
    pub(super) async fn publish(
        self,
        to: &Path,
        modified: Option<SystemTime>,
    ) -> Result<(), Error> {
        let to = to.to_owned();
        blocking(move || {
            if let Some(modified) = modified {
                // A file system without such times still takes the content.
                let _ = self.file.set_modified(modified);
            }
            let dir = to.parent().filter(|d| !d.as_os_str().is_empty());
            self.file
                .sync_all()
                .and_then(|()| std::fs::rename(&self.path, &to))
                .and_then(|()| File::open(dir.unwrap_or(Path::new(".")))?.sync_all())
                .map_err(|e| Error::local("write", &to, e))?;
            self.journal.remove();
            Ok(())
        })
        .await
    }

    /// Removes all of it.
    pub(super) fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
        self.journal.remove();
    }

    fn fail(&self, e: io::Error) -> Error {
        Error::local("write", &self.path, e)
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
