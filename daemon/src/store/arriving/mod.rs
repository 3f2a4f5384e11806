//! Uploads read while they arrive: what is there, and a bounded wait for what is coming.
//!
//! An upload is a list of pieces, each a file that grows: one for a sequential upload, one for each partial upload of a final one.
//! Of an S3 multipart upload the parts count that are there without a gap from the first on.
//! A byte counts as there when no later request can change it: bytes whose checksum is still to be verified do not.
//!
//! A reader keeps to the files that it began with.
//! When the upload becomes its object it goes on there, after making sure that the object begins with the same bytes; when the upload goes away, it fails.

mod reader;

pub use reader::{ArrivingBody, ArrivingReader};

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use crate::blob::{DataKey, Slice};
use crate::catalog::{Protocol, UploadPiece, UploadRole, UploadRow, UploadState};
use crate::kernel::limits::PARTS_MAX;
use crate::kernel::{BucketName, ContentId, Millis, ObjectKey, UploadId, VersionId};
use crate::store::finish::FINISHED_KEPT_MS;
use crate::store::headers::ObjectHeaders;
use crate::store::object::{Object, json};
use crate::store::{Store, StoreError};

/// While waiting, how often the rows are looked at: another daemon may write the upload, or end it.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a reader waits for the next byte at its place before it gives up.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Readers of unfinished uploads at the same time.
const READERS_MAX: usize = 512;
/// Uploads to one key that are looked through.
const UPLOADS_MAX: i64 = 16;
/// A final upload of more partial ones is read only when it is whole.
const PIECES_MAX: usize = 1_000;

/// What the sessions of this process are writing, and who reads it.
pub(in crate::store) struct Arrivals {
    live: Mutex<HashMap<UploadId, watch::Receiver<u64>>>,
    /// Counts beginnings and ends of sessions.
    changed: watch::Sender<u64>,
    readers: Arc<Semaphore>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            live: Mutex::default(),
            changed: watch::Sender::new(0),
            readers: Arc::new(Semaphore::new(READERS_MAX)),
        }
    }
}

/// A session whose bytes count as they are written; ends with its handle.
pub(in crate::store) struct Live {
    arrivals: Arc<Arrivals>,
    id: UploadId,
    written: watch::Receiver<u64>,
}

impl Arrivals {
    /// Lets readers follow a session.
    pub(in crate::store) fn enter(
        self: &Arc<Self>,
        id: UploadId,
        written: watch::Receiver<u64>,
    ) -> Live {
        self.lock().insert(id, written.clone());
        self.changed.send_modify(|count| *count += 1);
        Live {
            arrivals: Arc::clone(self),
            id,
            written,
        }
    }

    fn of(&self, id: UploadId) -> Option<watch::Receiver<u64>> {
        self.lock().get(&id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, watch::Receiver<u64>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let mut live = self.arrivals.lock();
        // The next session may have entered already.
        if live
            .get(&self.id)
            .is_some_and(|there| there.same_channel(&self.written))
        {
            live.remove(&self.id);
        }
        drop(live);
        self.arrivals.changed.send_modify(|count| *count += 1);
    }
}

/// An unfinished upload, seen as the object that it will be; cheap to clone.
#[derive(Clone)]
pub struct Arriving(Arc<Inner>);

struct Inner {
    store: Store,
    id: UploadId,
    bucket: BucketName,
    key: ObjectKey,
    headers: ObjectHeaders,
    begun_ms: Millis,
    protocol: Option<Protocol>,
    role: UploadRole,
    /// Opens the parts of an encrypted multipart upload.
    data: Option<DataKey>,
    size: Option<u64>,
}

/// How far an upload reaches from some byte on.
#[derive(Debug)]
pub enum Reach {
    /// Every byte up to here is there; nothing more came in time when this is where was asked.
    Until(u64),
    /// The upload is this object now.
    Finished(Box<Object>),
    /// The upload ended without becoming an object, or its object is gone.
    Gone,
}

/// A file of an upload.
#[derive(Clone, Debug)]
struct Piece {
    /// First byte in the object to be.
    start: u64,
    /// Whose session writes it; `None` for a part, which came whole.
    upload: Option<UploadId>,
    slice: Slice,
    /// All its bytes, when declared.
    full: Option<u64>,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start + self.slice.length
    }

    fn is_whole(&self) -> bool {
        self.full == Some(self.slice.length)
    }
}

/// What the rows say of an upload.
enum Seen {
    Open {
        pieces: Vec<Piece>,
    },
    /// The object, and when the upload ended.
    Finished(Box<Object>, Option<Millis>),
    Gone,
}

impl Store {
    /// The unfinished upload that becomes the object of this name; of several the one that was begun last.
    ///
    /// An upload whose key the customer keeps cannot be read before it is whole.
    pub async fn arriving(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Option<Arriving>, StoreError> {
        let rows = self.uploads_to(bucket, key).await?;
        let open = rows
            .into_iter()
            .find(|row| row.state() == UploadState::Open);
        match open {
            Some(row) => self.as_arriving(row).await,
            None => Ok(None),
        }
    }

    /// An upload to this name by the beginning of its [stand-in](Arriving::stand_in), finished ones of the last day included.
    pub async fn arriving_tagged(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        tag: &str,
    ) -> Result<Option<Arriving>, StoreError> {
        for row in self.uploads_to(bucket, key).await? {
            if stand_in(row.id()?).to_string().starts_with(tag) {
                return self.as_arriving(row).await;
            }
        }
        Ok(None)
    }

    async fn uploads_to(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Vec<UploadRow>, StoreError> {
        let catalog = &self.0.catalog;
        Ok(catalog
            .uploads_to(bucket.as_str(), key.as_bytes(), UPLOADS_MAX)
            .await?)
    }

    async fn as_arriving(&self, row: UploadRow) -> Result<Option<Arriving>, StoreError> {
        let data = match self.upload_encrypted(&row)? {
            Some(encrypted) if encrypted.is_customers() => return Ok(None),
            Some(encrypted) => Some(self.decryption(&encrypted, None).await?.data),
            None => None,
        };
        let mut arriving = Inner {
            store: self.clone(),
            id: row.id()?,
            bucket: crate::store::finish::bucket_of(&row)?,
            key: row.key()?,
            headers: json("upload.headers", &row.headers)?,
            begun_ms: row.created_ms,
            protocol: Protocol::parse(&row.protocol),
            role: row.role(),
            data,
            size: row.length(),
        };
        if arriving.role == UploadRole::Final && row.state() == UploadState::Open {
            let members = arriving.members().await?;
            if members.len() > PIECES_MAX {
                return Ok(None);
            }
            arriving.size = members
                .iter()
                .try_fold(0_u64, |sum, member| sum.checked_add(member.length()?));
        }
        Ok(Some(Arriving(Arc::new(arriving))))
    }
}

fn stand_in(id: UploadId) -> ContentId {
    let key = "nebula 2026-11 stand-in for the content of an unfinished upload";
    let mut hasher = blake3::Hasher::new_derive_key(key);
    hasher.update(id.to_string().as_bytes());
    ContentId(*hasher.finalize().as_bytes())
}

impl Inner {
    async fn members(&self) -> Result<Vec<UploadPiece>, StoreError> {
        let catalog = &self.store.0.catalog;
        Ok(catalog
            .upload_pieces(self.id, PIECES_MAX as i64 + 1)
            .await?)
    }

    /// Asks the rows.
    async fn look(&self) -> Result<Seen, StoreError> {
        let catalog = &self.store.0.catalog;
        let Some(row) = catalog.upload_piece(self.id).await? else {
            return Ok(Seen::Gone);
        };
        if row.is_finished() {
            let ended_ms = row.expires_ms.map(|at| at - FINISHED_KEPT_MS);
            return self.finished(row.version_id.as_deref(), ended_ms).await;
        }
        let pieces = match (self.protocol, self.role) {
            (Some(Protocol::S3), _) => self.parts().await?,
            (_, UploadRole::Final) => pieces(&self.members().await?)?,
            _ => pieces(&[row])?,
        };
        Ok(Seen::Open { pieces })
    }

    async fn finished(
        &self,
        version: Option<&str>,
        ended_ms: Option<Millis>,
    ) -> Result<Seen, StoreError> {
        let Some(version) = version.and_then(|version| version.parse::<VersionId>().ok()) else {
            return Ok(Seen::Gone);
        };
        match self
            .store
            .head(&self.bucket, &self.key, Some(&version))
            .await
        {
            Ok(object) => Ok(Seen::Finished(Box::new(object), ended_ms)),
            Err(
                StoreError::NoSuchKey(_)
                | StoreError::NoSuchVersion(_)
                | StoreError::NoSuchBucket(_)
                | StoreError::DeleteMarker { .. },
            ) => Ok(Seen::Gone),
            Err(error) => Err(error),
        }
    }

    /// The parts that are there without a gap.
    async fn parts(&self) -> Result<Vec<Piece>, StoreError> {
        let catalog = &self.store.0.catalog;
        let rows = catalog.parts(self.id, 0, i64::from(PARTS_MAX)).await?;
        let mut pieces = Vec::new();
        let mut start = 0;
        for (expected, row) in (1..).zip(&rows) {
            if row.number != expected {
                break;
            }
            for extent in row.extents()? {
                pieces.push(Piece {
                    start,
                    upload: None,
                    slice: Slice {
                        blob: extent.blob,
                        offset: extent.offset,
                        length: extent.length,
                    },
                    full: Some(extent.length),
                });
                start += extent.length;
            }
        }
        Ok(pieces)
    }

    /// Whether the object that the upload became begins with the bytes before `at` of these pieces.
    async fn continues(
        &self,
        object: &Object,
        ended_ms: Option<Millis>,
        pieces: &[Piece],
        at: u64,
    ) -> Result<bool, StoreError> {
        if at > object.size || self.size.is_some_and(|size| size != object.size) {
            return Ok(false);
        }
        let is_multipart = self.protocol == Some(Protocol::S3);
        if at == 0 || (!object.version_id.is_null() && !is_multipart) {
            return Ok(true);
        }
        if object.encrypted().is_some() && !is_multipart {
            // It grew as plaintext and was encrypted into another file; both rows are of one commit.
            return Ok(ended_ms == Some(object.modified_ms));
        }
        let mut places = BTreeMap::new();
        let mut start = 0;
        for extent in self.store.0.catalog.extents(object.row_id).await? {
            places.insert(start, (extent.blob, extent.offset));
            start += extent.length;
        }
        // Lanes of one file are one extent in the end.
        let same = |piece: &Piece| {
            let around = places.range(..=piece.start).next_back();
            around.is_some_and(|(start, (blob, offset))| {
                (*blob, offset + (piece.start - start)) == (piece.slice.blob, piece.slice.offset)
            })
        };
        Ok(pieces
            .iter()
            .filter(|piece| piece.start < at && piece.slice.length > 0)
            .all(same))
    }
}

/// Sequential files one behind the other, as far as their places are known.
fn pieces(rows: &[UploadPiece]) -> Result<Vec<Piece>, StoreError> {
    let mut pieces = Vec::new();
    let mut start = 0_u64;
    for row in rows {
        if let Some((blob, offset)) = row.place()? {
            let length = row.offset();
            pieces.push(Piece {
                start,
                upload: Some(row.id()?),
                slice: Slice {
                    blob,
                    offset,
                    length,
                },
                full: row.length(),
            });
        }
        match row.length() {
            Some(length) => start = start.saturating_add(length),
            None => break,
        }
    }
    Ok(pieces)
}

impl Arriving {
    /// The upload.
    pub fn id(&self) -> UploadId {
        self.0.id
    }

    /// What stands in addresses for the content that is not known yet: tells this upload from every other, and nobody its id.
    pub fn stand_in(&self) -> ContentId {
        stand_in(self.0.id)
    }

    /// Whether it became this version.
    ///
    /// # Errors
    /// Those of the catalog.
    pub async fn became(&self, object: &Object) -> Result<bool, StoreError> {
        let seen = self.0.look().await?;
        Ok(matches!(seen, Seen::Finished(became, _) if became.row_id == object.row_id))
    }

    /// The bucket of the object to be.
    pub fn bucket(&self) -> &BucketName {
        &self.0.bucket
    }

    /// Its key.
    pub fn key(&self) -> &ObjectKey {
        &self.0.key
    }

    /// Its headers.
    pub fn headers(&self) -> &ObjectHeaders {
        &self.0.headers
    }

    /// When the upload was begun.
    pub fn begun_ms(&self) -> Millis {
        self.0.begun_ms
    }

    /// All its bytes, when declared.
    pub fn size(&self) -> Option<u64> {
        self.0.size
    }

    /// A cursor over its bytes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when too many read unfinished uploads.
    pub fn reader(&self) -> Result<ArrivingReader, StoreError> {
        let readers = Arc::clone(&self.0.store.0.arrivals.readers);
        let permit = readers.try_acquire_owned().map_err(|_| {
            StoreError::Unavailable(format!(
                "more than {READERS_MAX} readers follow unfinished uploads"
            ))
        })?;
        Ok(ArrivingReader {
            of: self.clone(),
            pieces: Vec::new(),
            object: None,
            _permit: Arc::new(permit),
        })
    }
}
