//! Long texts of lines as chunks whose ends their content decides, and the nameless file that lines pass through.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::BackupError;
use super::manifest::Chunk;
use super::target::Target;
use super::vault::Vault;

/// A chunk ends behind a line whose hash says so, once in so many bytes of lines of usual length.
const CUT_MASK: u32 = (1 << 11) - 1;
/// But never before so many bytes,
const CHUNK_BYTES_MIN: usize = 256 * 1024;
/// nor after so many and a line.
const CHUNK_BYTES_MAX: usize = 3 * 1024 * 1024;

/// Cuts lines into chunks and sends those that the target lacks.
pub(super) struct Chunker<'a> {
    target: &'a Target,
    vault: &'a Vault,
    held: Vec<u8>,
    chunks: Vec<Chunk>,
    /// Bytes that were sent.
    pub(super) sent: u64,
}

impl<'a> Chunker<'a> {
    pub(super) fn new(target: &'a Target, vault: &'a Vault) -> Self {
        Self {
            target,
            vault,
            held: Vec::new(),
            chunks: Vec::new(),
            sent: 0,
        }
    }

    /// Takes a line, its end included.
    pub(super) async fn push(&mut self, line: &[u8]) -> Result<(), BackupError> {
        self.held.extend_from_slice(line);
        let hash = blake3::hash(line);
        let word = u32::from_le_bytes([
            hash.as_bytes()[0],
            hash.as_bytes()[1],
            hash.as_bytes()[2],
            hash.as_bytes()[3],
        ]);
        let long = self.held.len();
        if long >= CHUNK_BYTES_MAX || (long >= CHUNK_BYTES_MIN && word & CUT_MASK == 0) {
            self.cut().await?;
        }
        Ok(())
    }

    async fn cut(&mut self) -> Result<(), BackupError> {
        let bytes = std::mem::take(&mut self.held);
        if bytes.is_empty() {
            return Ok(());
        }
        let name = self.vault.chunk_name(&bytes);
        let len = bytes.len() as u64;
        self.chunks.push(Chunk {
            name: name.clone(),
            blake3: blake3::hash(&bytes).to_hex().to_string(),
            bytes: len,
        });
        let kept = self.vault.kept_len(len);
        if self.target.size(&name).await? != Some(kept) {
            let sealed = self.vault.seal(&name, bytes);
            self.target.put(&name, sealed.into()).await?;
            self.sent += kept;
        }
        Ok(())
    }

    /// The chunks, in order.
    pub(super) async fn finish(mut self) -> Result<(Vec<Chunk>, u64), BackupError> {
        self.cut().await?;
        Ok((self.chunks, self.sent))
    }
}

/// Reads chunks back line by line; each is checked before its first line is given out.
pub(super) struct Lines<'a> {
    target: &'a Target,
    vault: &'a Vault,
    chunks: std::slice::Iter<'a, Chunk>,
    held: Vec<u8>,
    at: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(target: &'a Target, vault: &'a Vault, chunks: &'a [Chunk]) -> Self {
        Self {
            target,
            vault,
            chunks: chunks.iter(),
            held: Vec::new(),
            at: 0,
        }
    }

    /// The next line with its end.
    pub(super) async fn next(&mut self) -> Result<Option<&[u8]>, BackupError> {
        while self.at == self.held.len() {
            let Some(chunk) = self.chunks.next() else {
                return Ok(None);
            };
            self.held = read(self.target, self.vault, chunk).await?;
            self.at = 0;
        }
        let rest = &self.held[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        let end = end.map_or(rest.len(), |at| at + 1);
        self.at += end;
        Ok(Some(&rest[..end]))
    }
}

/// One chunk, checked.
pub(super) async fn read(
    target: &Target,
    vault: &Vault,
    chunk: &Chunk,
) -> Result<Vec<u8>, BackupError> {
    let broken = |why| BackupError::damaged(&chunk.name, why);
    let kept = target.get(&chunk.name).await?;
    let kept = kept.ok_or_else(|| broken("it is not there"))?;
    let bytes = vault.unseal(&chunk.name, kept)?;
    if blake3::hash(&bytes).to_hex().as_str() != chunk.blake3 {
        return Err(broken("it does not match its hash"));
    }
    Ok(bytes)
}

/// A file without a name: it is gone with its handle, also when the process dies.
pub(super) struct Spool {
    file: BufWriter<File>,
    path: PathBuf,
}

impl Spool {
    pub(super) fn new(dir: &Path) -> Result<Self, BackupError> {
        let path = dir.join(format!(".backup-{}", std::process::id()));
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|file| std::fs::remove_file(&path).map(|()| file));
        match file {
            Ok(file) => Ok(Self {
                file: BufWriter::new(file),
                path,
            }),
            Err(error) => Err(BackupError::file("making", &path, error)),
        }
    }

    pub(super) fn write(&mut self, line: &[u8]) -> Result<(), BackupError> {
        let written = self.file.write_all(line);
        written.map_err(|error| BackupError::file("writing", &self.path, error))
    }

    /// From writing to reading.
    pub(super) fn rewind(self) -> Result<Spooled, BackupError> {
        let path = self.path;
        let rewound = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error);
        let rewound = rewound.and_then(|mut file| file.rewind().map(|()| file));
        match rewound {
            Ok(file) => Ok(Spooled {
                lines: BufReader::new(file),
                line: Vec::new(),
                path,
            }),
            Err(error) => Err(BackupError::file("writing", &path, error)),
        }
    }
}

/// What was written, line by line.
pub(super) struct Spooled {
    lines: BufReader<File>,
    line: Vec<u8>,
    path: PathBuf,
}

impl Spooled {
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, BackupError> {
        self.line.clear();
        match self.lines.read_until(b'\n', &mut self.line) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(&self.line)),
            Err(error) => Err(BackupError::file("reading", &self.path, error)),
        }
    }
}
