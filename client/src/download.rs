//! Fetching an object until it is here.
//!
//! The content goes into `NAME.XXXXXXXX.part` beside the destination, whose name carries the
//! object's identity: a part of another version is never gone on with. A broken connection is
//! followed by a ranged request from what is there (`If-Range` makes sure of the version).
//! Size and BLAKE3 are compared before the part takes the destination's name in one step.

use crate::{
    Client, Error,
    backoff::{Backoff, PATIENCE},
    transfer::{self, Observer, Step, Verified},
    upload::Source,
};
use nebula_api::{ObjectDetails, Problem, problem::code, routes};
use reqwest::{
    Method, StatusCode,
    header::{CONTENT_RANGE, ETAG, IF_RANGE, RANGE},
};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::time::timeout;

/// A download of which nothing arrives for this long is begun anew from where it is.
const STALL: Duration = Duration::from_mins(1);
/// Content is handed to the disk in pieces of at least this much.
const WRITE_BYTES: usize = 1 << 20;

/// How a pull ended.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The object as the node showed it.
    pub object: ObjectDetails,
    /// Where it is now.
    pub path: PathBuf,
    /// How sure it is that both sides are equal.
    pub verified: Verified,
    /// How many bytes of content this call took off the wire.
    pub received_bytes: u64,
    /// Whether the very same content was here already.
    pub was_there: bool,
}

/// Fetches one object to `to`, or finishes fetching it. Replaces what is there, at the end and in one step.
pub async fn pull(
    client: &Client,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    to: &Path,
    observer: &dyn Observer,
) -> Result<Pulled, Error> {
    let Some(object) = client.object(bucket, key, version).await? else {
        return Err(not_there(bucket, key));
    };
    if already_here(&object, to, observer).await? {
        return Ok(Pulled {
            object,
            path: to.to_owned(),
            verified: Verified::Hash,
            received_bytes: 0,
            was_there: true,
        });
    }
    let mut part = Part::open(&object, to)?;
    if part.length_bytes > 0 {
        observer.step(Step::Resumed {
            offset_bytes: part.length_bytes,
        });
    }
    let received_bytes = fetch(client, &object, version, &mut part, observer).await?;
    observer.step(Step::Verifying);
    let blake3 = Source::open(&part.path).await?.hash().await?;
    let here = (part.length_bytes, blake3.as_str());
    let there = (object.object.size_bytes, object.blake3.as_deref());
    let verified = match transfer::compare(&format!("{bucket}:{key}"), here, there) {
        Ok(verified) => verified,
        Err(e) => {
            // Going on from wrong bytes would never end.
            part.discard();
            return Err(e);
        }
    };
    part.publish(to)?;
    Ok(Pulled {
        object,
        path: to.to_owned(),
        verified,
        received_bytes,
        was_there: false,
    })
}

fn not_there(bucket: &str, key: &str) -> Error {
    Error::NotFound(Box::new(
        Problem::new(
            404,
            code::OBJECT_NOT_FOUND,
            &format!("There is no {bucket}:{key}"),
        )
        .hint(format!("nebula ls {bucket}: --recursive")),
    ))
}

async fn already_here(
    object: &ObjectDetails,
    to: &Path,
    observer: &dyn Observer,
) -> Result<bool, Error> {
    let (Some(there), Ok(source)) = (&object.blake3, Source::open(to).await) else {
        return Ok(false);
    };
    if source.size_bytes() != object.object.size_bytes {
        return Ok(false);
    }
    observer.step(Step::Comparing);
    Ok(source.hash().await?.eq_ignore_ascii_case(there))
}

/// Requests from where the part ends until it is complete. Returns how much came over the wire.
async fn fetch(
    client: &Client,
    object: &ObjectDetails,
    version: Option<&str>,
    part: &mut Part,
    observer: &dyn Observer,
) -> Result<u64, Error> {
    let size = object.object.size_bytes;
    let mut backoff = Backoff::new(PATIENCE);
    let mut received = 0;
    while part.length_bytes < size {
        let before = received;
        let Err(error) = request(client, object, version, part, &mut received, observer).await
        else {
            continue;
        };
        if !error.is_passing() {
            return Err(error);
        }
        if received > before {
            backoff.progress();
        }
        let Some(wait) = backoff.next_wait() else {
            return Err(error);
        };
        observer.step(Step::Waiting {
            reason: error.to_string(),
            wait,
        });
        tokio::time::sleep(wait).await;
    }
    Ok(received)
}

async fn request(
    client: &Client,
    object: &ObjectDetails,
    version: Option<&str>,
    part: &mut Part,
    received: &mut u64,
    observer: &dyn Observer,
) -> Result<(), Error> {
    let size = object.object.size_bytes;
    let path = routes::file(&object.object.bucket, &object.object.key);
    let mut request = client.patient_request(Method::GET, &path)?;
    if let Some(version) = version {
        request = request.query(&[("version", version)]);
    }
    // Asked for even from 0: then an object that was replaced meanwhile is noticed by its length.
    request = request
        .header(RANGE, format!("bytes={}-", part.length_bytes))
        .header(IF_RANGE, format!("\"{}\"", object.object.etag));
    let stalled = || Error::Unreachable {
        url: client.origin(),
        reason: format!("nothing came for {} s", STALL.as_secs()),
    };
    let mut response = timeout(STALL, client.send(request))
        .await
        .map_err(|_| stalled())??;
    let etag = response.headers().get(ETAG);
    if etag.is_some_and(|e| e.as_bytes() != format!("\"{}\"", object.object.etag).as_bytes()) {
        return Err(replaced(object));
    }
    if response.status() == StatusCode::PARTIAL_CONTENT {
        let want = format!("bytes {}-{}/{size}", part.length_bytes, size - 1);
        let got = response.headers().get(CONTENT_RANGE);
        if got.is_none_or(|got| got.as_bytes() != want.as_bytes()) {
            return Err(replaced(object));
        }
    } else if response.content_length() != Some(size) {
        return Err(replaced(object));
    } else {
        // The whole again: the range was not honoured.
        part.restart()?;
    }
    let mut pending = Vec::with_capacity(WRITE_BYTES);
    loop {
        let chunk = timeout(STALL, response.chunk())
            .await
            .map_err(|_| stalled())
            .and_then(|chunk| chunk.map_err(|e| client.network(&e)));
        // What came before a failure is kept.
        let (chunk, failure) = match chunk {
            Ok(chunk) => (chunk, None),
            Err(e) => (None, Some(e)),
        };
        let ended = chunk.is_none();
        if let Some(chunk) = chunk {
            *received += chunk.len() as u64;
            pending.extend_from_slice(&chunk);
        }
        if ended || pending.len() >= WRITE_BYTES {
            part.append(std::mem::take(&mut pending), size).await?;
        }
        observer.step(Step::Moved {
            offset_bytes: part.length_bytes + pending.len() as u64,
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        if ended {
            return Ok(());
        }
    }
}

fn replaced(object: &ObjectDetails) -> Error {
    Error::Mismatch {
        what: format!("{}:{}", object.object.bucket, object.object.key),
        detail: "the object was replaced while it was being fetched".into(),
    }
}

/// The unfinished file, locked.
struct Part {
    path: PathBuf,
    file: File,
    length_bytes: u64,
}

impl Part {
    fn open(object: &ObjectDetails, to: &Path) -> Result<Self, Error> {
        let o = &object.object;
        let identity = format!(
            "{}\0{}\0{:?}\0{}",
            o.etag, o.size_bytes, o.version, o.modified_at_ms
        );
        let identity = blake3::hash(identity.as_bytes()).to_hex();
        let mut name = to.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", &identity[..8]));
        let path = to.with_file_name(name);
        let fail = |e| Error::local("write", &path, e);
        if let Some(dir) = to.parent().filter(|d| !d.as_os_str().is_empty()) {
            std::fs::create_dir_all(dir).map_err(fail)?;
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&path)
            .map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::InUse {
                    what: to.display().to_string(),
                });
            }
            Err(TryLockError::Error(e)) => return Err(fail(e)),
        }
        let mut part = Self {
            length_bytes: file.metadata().map_err(fail)?.len(),
            file,
            path,
        };
        if part.length_bytes > o.size_bytes {
            part.restart()?;
        }
        Ok(part)
    }

    fn restart(&mut self) -> Result<(), Error> {
        self.length_bytes = 0;
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)).map(drop))
            .map_err(|e| Error::local("write", &self.path, e))
    }

    async fn append(&mut self, content: Vec<u8>, limit_bytes: u64) -> Result<(), Error> {
        if self.length_bytes + content.len() as u64 > limit_bytes {
            self.restart()?;
            return Err(Error::Mismatch {
                what: self.path.display().to_string(),
                detail: format!("more than {limit_bytes} bytes came"),
            });
        }
        let length = content.len() as u64;
        let fail = |path: &Path, e| Error::local("write", path, e);
        let mut file = self.file.try_clone().map_err(|e| fail(&self.path, e))?;
        let path = self.path.clone();
        crate::upload::blocking(move || file.write_all(&content).map_err(|e| fail(&path, e)))
            .await?;
        self.length_bytes += length;
        Ok(())
    }

    fn publish(self, to: &Path) -> Result<(), Error> {
        self.file
            .sync_all()
            .and_then(|()| std::fs::rename(&self.path, to))
            .map_err(|e| Error::local("write", to, e))
    }

    fn discard(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
