//! Blobs as pieces in a target: which are there, sending the others, and reading them back.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use tokio::task::JoinSet;

use super::BackupError;
use super::lines::BlobLine;
use super::target::{Target, Walk};
use super::vault::{OVERHEAD, Vault};
use crate::blob::{BlobError, BlobReader, Blobs, Slice};
use crate::kernel::BlobId;

/// A piece of a blob: small enough that some of them at once are little memory.
pub(super) const PIECE_BYTES: u64 = 4 * 1024 * 1024;
/// Pieces on their way at once.
const AT_ONCE: usize = 4;
pub(super) const BLOBS: &str = "blobs/";
const NUMBER_DIGITS: usize = 6;

/// The object that holds a piece; names sort as blobs and pieces do.
pub(super) fn piece_name(blob: BlobId, number: u64) -> String {
    let id = blob.to_string();
    format!("{BLOBS}{}/{id}.{number:06x}", &id[..2])
}

/// The blob and the number that an object's name stands for.
pub(super) fn piece_of(name: &str) -> Option<(BlobId, u64)> {
    let (_, file) = name.strip_prefix(BLOBS)?.split_once('/')?;
    let (id, number) = file.split_once('.')?;
    if number.len() != NUMBER_DIGITS {
        return None;
    }
    Some((id.parse().ok()?, u64::from_str_radix(number, 16).ok()?))
}

pub(super) fn pieces(size: u64) -> u64 {
    size.div_ceil(PIECE_BYTES)
}

/// Bytes of one piece of a blob of `size` bytes.
fn piece_len(size: u64, number: u64) -> u64 {
    (size - number * PIECE_BYTES).min(PIECE_BYTES)
}

/// What became of a blob.
pub(super) enum Copied {
    /// It is in the target, and this is what it is.
    Whole(BlobLine),
    /// Its bytes cannot be had, or are not what they were.
    Damaged(String),
}

/// Sends blobs in the order of their ids.
pub(super) struct Sender<'a> {
    target: &'a Target,
    vault: &'a Vault,
    blobs: &'a Blobs,
    there: Walk<'a>,
    /// The first object behind those of the last blob.
    ahead: Option<(BlobId, u64, u64)>,
    under_way: JoinSet<Result<(), BackupError>>,
    pub(super) sent_blobs: u64,
    pub(super) sent_bytes: u64,
}

impl<'a> Sender<'a> {
    pub(super) fn new(target: &'a Target, vault: &'a Vault, blobs: &'a Blobs) -> Self {
        Self {
            target,
            vault,
            blobs,
            there: target.walk(BLOBS),
            ahead: None,
            under_way: JoinSet::new(),
            sent_blobs: 0,
            sent_bytes: 0,
        }
    }

    /// Sees to it that the target has the first `size` bytes of a blob; `blake3` is known of a complete one.
    pub(super) async fn send(
        &mut self,
        id: BlobId,
        size: u64,
        blake3: Option<[u8; 32]>,
    ) -> Result<Copied, BackupError> {
        let there = self.there(id).await?;
        let lacks = |number: u64| {
            let wanted = self.vault.kept_len(piece_len(size, number));
            // Of a growing blob, a later snapshot may have kept more.
            let enough = |found: &u64| match blake3 {
                Some(_) => *found == wanted,
                None => *found >= wanted,
            };
            !there.get(&number).is_some_and(enough)
        };
        let missing: Vec<bool> = (0..pieces(size)).map(lacks).collect();
        if let Some(blake3) = blake3
            && !missing.contains(&true)
        {
            return Ok(Copied::Whole(BlobLine { id, size, blake3 }));
        }
        let slice = Slice {
            blob: id,
            offset: 0,
            length: size,
        };
        let reader = match self.blobs.reader(vec![slice]).await {
            Ok(reader) => reader,
            Err(
                error @ (BlobError::Missing { .. }
                | BlobError::Short { .. }
                | BlobError::DiskAway { .. }),
            ) => {
                return Ok(Copied::Damaged(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        self.sent_blobs += u64::from(missing.contains(&true));
        let hash = self.pieces_of(&reader, id, &missing).await;
        let hash = match hash {
            Ok(hash) => hash,
            Err(BackupError::Blob(error)) => {
                self.take_back(id, &missing).await?;
                return Ok(Copied::Damaged(error.to_string()));
            }
            Err(error) => return Err(error),
        };
        if blake3.is_some_and(|known| known != hash) {
            self.take_back(id, &missing).await?;
            return Ok(Copied::Damaged("its bytes do not match its hash".into()));
        }
        Ok(Copied::Whole(BlobLine {
            id,
            size,
            blake3: hash,
        }))
    }

    /// Waits until everything has arrived.
    pub(super) async fn finish(&mut self) -> Result<(), BackupError> {
        while let Some(done) = self.under_way.join_next().await {
            done.expect("sending does not panic")?;
        }
        Ok(())
    }

    /// The pieces that the target has of a blob: number and kept length.
    async fn there(&mut self, id: BlobId) -> Result<BTreeMap<u64, u64>, BackupError> {
        let mut found = BTreeMap::new();
        loop {
            match self.ahead {
                Some((blob, ..)) if blob > id => return Ok(found),
                Some((blob, number, kept)) if blob == id => {
                    found.insert(number, kept);
                }
                _ => {}
            }
            let Some((name, kept)) = self.there.next().await? else {
                self.ahead = None;
                return Ok(found);
            };
            self.ahead = piece_of(&name).map(|(blob, number)| (blob, number, kept));
        }
    }

    /// Reads a blob through and sends its missing pieces; gives its hash.
    async fn pieces_of(
        &mut self,
        reader: &BlobReader,
        id: BlobId,
        missing: &[bool],
    ) -> Result<[u8; 32], BackupError> {
        let mut hasher = blake3::Hasher::new();
        for (number, missing) in (0..).zip(missing) {
            let from = number * PIECE_BYTES;
            let mut body = reader.body(from..from + PIECE_BYTES);
            let mut piece = Vec::with_capacity((body.remaining() + OVERHEAD) as usize);
            while let Some(bytes) = body.try_next().await? {
                hasher.update(&bytes);
                piece.extend_from_slice(&bytes);
            }
            if *missing {
                self.dispatch(piece_name(id, number), piece).await?;
            }
        }
        Ok(*hasher.finalize().as_bytes())
    }

    async fn dispatch(&mut self, name: String, piece: Vec<u8>) -> Result<(), BackupError> {
        while self.under_way.len() >= AT_ONCE {
            if let Some(done) = self.under_way.join_next().await {
                done.expect("sending does not panic")?;
            }
        }
        let (target, vault) = (self.target.clone(), self.vault.clone());
        self.sent_bytes += piece.len() as u64;
        self.under_way.spawn(async move {
            let kept = vault.seal(&name, piece);
            target.put(&name, kept.into()).await
        });
        Ok(())
    }

    /// Removes what was sent of a blob that turned out to be damaged, so that nobody takes it for good.
    async fn take_back(&mut self, id: BlobId, missing: &[bool]) -> Result<(), BackupError> {
        self.finish().await?;
        for (number, missing) in (0..).zip(missing) {
            if *missing {
                self.target.delete(&piece_name(id, number)).await?;
            }
        }
        Ok(())
    }
}

/// Reads a blob back piece by piece, some ahead, and checks the whole against its hash at the end.
///
/// # Errors
/// [`BackupError::Damaged`] after the last piece when the whole is not what it was; what `each` took is to be thrown away then.
pub(super) async fn fetch<F>(
    target: &Target,
    vault: &Vault,
    line: BlobLine,
    mut each: impl FnMut(Vec<u8>) -> F,
) -> Result<(), BackupError>
where
    F: Future<Output = Result<(), BackupError>>,
{
    let mut hasher = blake3::Hasher::new();
    let numbers = futures::stream::iter(0..pieces(line.size));
    let mut coming = numbers
        .map(|number| piece(target, vault, line, number))
        .buffered(AT_ONCE);
    while let Some(bytes) = coming.try_next().await? {
        hasher.update(&bytes);
        each(bytes).await?;
    }
    if *hasher.finalize().as_bytes() == line.blake3 {
        return Ok(());
    }
    let name = format!("{}*", piece_name(line.id, 0).trim_end_matches('0'));
    Err(BackupError::damaged(name, "it does not match its hash"))
}

async fn piece(
    target: &Target,
    vault: &Vault,
    line: BlobLine,
    number: u64,
) -> Result<Vec<u8>, BackupError> {
    let name = piece_name(line.id, number);
    let kept = target.get(&name).await?;
    let kept = kept.ok_or_else(|| BackupError::damaged(&name, "it is not there"))?;
    let mut bytes = vault.unseal(&name, kept)?;
    let wanted = piece_len(line.size, number) as usize;
    if bytes.len() < wanted {
        return Err(BackupError::damaged(&name, "it is too short"));
    }
    bytes.truncate(wanted);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_pieces_sort_and_read_back() {
        let id = BlobId::random();
        let names = [0, 1, 255, 256, 65_536].map(|number| piece_name(id, number));
        assert!(names.is_sorted());
        assert_eq!(piece_of(&names[3]), Some((id, 256)));
        assert_eq!(piece_of("blobs/ab/nonsense"), None);
        assert_eq!(pieces(0), 0);
        assert_eq!(pieces(PIECE_BYTES + 1), 2);
        assert_eq!(piece_len(PIECE_BYTES + 1, 1), 1);
    }
}
