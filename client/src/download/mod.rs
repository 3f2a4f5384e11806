//! Fetching an object until it is here.
//!
//! The content goes into a part beside the destination ([`part`]), block by block, in ranges that several lanes fetch at once.
//! A broken connection is followed by a request for what is missing; `If-Match` and the range that is answered make sure that it is of the same version.
//! An object that is replaced on the way is begun anew, never spliced.
//! Size and BLAKE3 are compared before the part takes the destination's name in one step.

mod part;
mod stream;

pub use stream::pull_stream;

use crate::{
    Client, Error,
    backoff::{Backoff, Hope, Patience},
    lanes::{Carried, Lanes},
    pace::MOST_LANES,
    transfer::{self, MTIME, Observer, Step, Verified},
    upload::{STALL, Source, blocking},
};
use nebula_api::{ObjectDetails, Problem, problem::code, routes};
use part::Part;
use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_RANGE, ETAG, HeaderValue, IF_MATCH, RANGE},
};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};
use tokio::time::timeout;

/// How often an object may be replaced while it is fetched.
const MAX_REPLACED: u32 = 3;

/// How to fetch.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most lanes that fetch one object.
    pub lanes: u32,
    /// How long to go on without any progress.
    pub patience: Patience,
    /// How long the network may bring nothing.
    pub stall: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lanes: MOST_LANES,
            patience: Patience::default(),
            stall: STALL,
        }
    }
}

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

/// Fetches one object to `to`, or finishes fetching it, with the default [`Options`].
pub async fn pull(
    client: &Client,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    to: &Path,
    observer: &dyn Observer,
) -> Result<Pulled, Error> {
    let options = Options::default();
    pull_with(client, bucket, key, version, to, &options, observer).await
}

/// Fetches one object to `to`, or finishes fetching it. Replaces what is there, at the end and in one step.
pub async fn pull_with(
    client: &Client,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    to: &Path,
    options: &Options,
    observer: &dyn Observer,
) -> Result<Pulled, Error> {
    let received = AtomicU64::new(0);
    let mut replaced = 0;
    loop {
        let object = known(client, bucket, key, version, options).await?;
        if already_here(&object, to, observer).await? {
            let received_bytes = received.load(Ordering::Relaxed);
            return Ok(Pulled {
                object,
                path: to.to_owned(),
                verified: Verified::Hash,
                received_bytes,
                was_there: received_bytes == 0,
            });
        }
        let (described, place) = (object.object.clone(), to.to_owned());
        let part = blocking(move || Part::open(&described, &place)).await?;
        let fetching = Fetching {
            client,
            // Where versions are kept, the one that was described is fetched, whatever comes on top.
            version: version.or(object.object.version.as_deref()),
            object: &object,
            part: &part,
            options,
            observer,
            received: &received,
            position: AtomicU64::new(part.there_bytes()),
            lanes: Lanes::default(),
            hope: Hope::new(&options.patience),
        };
        match fetching.everything().await {
            Ok(()) => {}
            Err(Error::Conflict(p)) if p.status == 412 && replaced < MAX_REPLACED => {
                replaced += 1;
                part.discard();
                observer.step(Step::StartedAnew);
                continue;
            }
            Err(error) => return Err(error),
        }
        observer.step(Step::Verifying);
        let blake3 = part.root().unwrap_or_default();
        let here = (object.object.size_bytes, blake3.as_str());
        let there = (object.object.size_bytes, object.blake3.as_deref());
        let verified = match transfer::compare(&format!("{bucket}:{key}"), here, there) {
            Ok(verified) => verified,
            Err(e) => {
                // Going on from wrong bytes would never end.
                part.discard();
                return Err(e);
            }
        };
        let modified = object.metadata.get(MTIME);
        let modified = modified.and_then(|text| transfer::parse_mtime(text));
        part.publish(to, modified).await?;
        return Ok(Pulled {
            object,
            path: to.to_owned(),
            verified,
            received_bytes: received.load(Ordering::Relaxed),
            was_there: false,
        });
    }
}

/// The object as the node shows it, asked for until the node can answer.
async fn known(
    client: &Client,
    bucket: &str,
    key: &str,
    version: Option<&str>,
    options: &Options,
) -> Result<ObjectDetails, Error> {
    let mut backoff = Backoff::new(&options.patience);
    loop {
        match client.object(bucket, key, version).await {
            Ok(Some(object)) => return Ok(object),
            Ok(None) => return Err(not_there(bucket, key)),
            // A first refusal of the connection is told at once: the node may simply not run.
            Err(e @ Error::Busy { .. }) => match backoff.next_wait(e.retry_after()) {
                Some(wait) => backoff.rest(wait).await,
                None => return Err(e),
            },
            Err(e) => return Err(e),
        }
    }
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

/// One download under way.
struct Fetching<'a> {
    client: &'a Client,
    version: Option<&'a str>,
    object: &'a ObjectDetails,
    part: &'a Part,
    options: &'a Options,
    observer: &'a dyn Observer,
    /// How many bytes of content came over the wire.
    received: &'a AtomicU64,
    /// How many bytes are here, or in the memory of a lane.
    position: AtomicU64,
    lanes: Lanes,
    hope: Hope,
}

/// How far a lane is: it keeps what it has of a block over a failure.
struct Stretch {
    at: u64,
    end: u64,
    pending: Vec<u8>,
}

impl Fetching<'_> {
    /// Fetches what is missing, and proves what an earlier call fetched.
    async fn everything(&self) -> Result<(), Error> {
        let offset_bytes = self.position.load(Ordering::Relaxed);
        if offset_bytes > 0 {
            self.observer.step(Step::Resumed { offset_bytes });
        }
        loop {
            let missing = self.part.missing();
            if missing.is_empty() && self.part.root().is_some() {
                return Ok(());
            }
            self.fetch(&missing).await?;
            self.part.prove().await?;
            let there = self.part.there_bytes();
            self.position.store(there, Ordering::Relaxed);
        }
    }

    async fn fetch(&self, missing: &[Range<u64>]) -> Result<(), Error> {
        let told = AtomicUsize::new(1);
        let tell = |lanes: usize| {
            if lanes > 0 && told.swap(lanes, Ordering::Relaxed) != lanes {
                self.observer.step(Step::Lanes { lanes });
            }
            self.observer.step(Step::Moved {
                offset_bytes: self.position.load(Ordering::Relaxed),
                wire_bytes: self.received.load(Ordering::Relaxed),
            });
        };
        let carry = |n: usize| self.carry(missing[n].clone());
        let moved = || self.received.load(Ordering::Relaxed);
        let order = (0..missing.len()).collect();
        self.lanes
            .carry_all(order, self.options.lanes, carry, moved, tell)
            .await
    }

    /// Fetches one piece until it is here.
    async fn carry(&self, piece: Range<u64>) -> Result<Carried, Error> {
        let mut stretch = Stretch {
            at: piece.start,
            end: piece.end,
            pending: Vec::new(),
        };
        let mut backoff = Backoff::with(&self.hope);
        loop {
            let before = stretch.at;
            let result = self.request(&mut stretch).await;
            if stretch.at > before {
                backoff.progress();
            }
            match result {
                Ok(()) if stretch.at == stretch.end => return Ok(Carried::Done),
                // The answer ended early without a failure of the connection.
                Ok(()) if stretch.at > before => {}
                Ok(()) => return Err(self.replaced()),
                Err(error) if error.is_passing() => {
                    self.lanes.failed();
                    let Some(wait) = backoff.next_wait(error.retry_after()) else {
                        return Err(error);
                    };
                    self.observer.step(Step::Waiting {
                        reason: error.to_string(),
                        wait,
                    });
                    backoff.rest(wait).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One request for the rest of a stretch.
    async fn request(&self, stretch: &mut Stretch) -> Result<(), Error> {
        let asked = ranged(
            self.client,
            self.object,
            self.version,
            stretch.at..stretch.end,
        );
        let mut response = self.in_time(asked).await?;
        loop {
            let chunk = async { response.chunk().await.map_err(|e| self.client.network(&e)) };
            let Some(mut chunk) = self.in_time(chunk).await? else {
                return Ok(());
            };
            if chunk.len() as u64 > stretch.end - stretch.at {
                return Err(self.replaced());
            }
            let length = chunk.len() as u64;
            self.received.fetch_add(length, Ordering::Relaxed);
            self.position.fetch_add(length, Ordering::Relaxed);
            while !chunk.is_empty() {
                let (block, block_end) = self.part.block_at(stretch.at);
                let room = usize::try_from(block_end - stretch.at).unwrap_or(usize::MAX);
                let now = chunk.split_to(chunk.len().min(room));
                stretch.pending.extend_from_slice(&now);
                stretch.at += now.len() as u64;
                if stretch.at == block_end {
                    let content = std::mem::take(&mut stretch.pending);
                    self.part.keep(block, content).await?;
                }
            }
        }
    }

    /// Waits for the network, but not for ever.
    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let stall = self.options.stall;
        timeout(stall, work).await.unwrap_or_else(|_| {
            Err(Error::Unreachable {
                url: self.client.origin(),
                reason: format!("nothing came for {} s", stall.as_secs()),
            })
        })
    }

    fn replaced(&self) -> Error {
        replaced(self.object)
    }
}

/// Asks for a range of exactly this object.
async fn ranged(
    client: &Client,
    object: &ObjectDetails,
    version: Option<&str>,
    range: Range<u64>,
) -> Result<Response, Error> {
    let path = routes::file(&object.object.bucket, &object.object.key);
    let mut request = client.patient_request(Method::GET, &path)?;
    if let Some(version) = version {
        request = request.query(&[("version", version)]);
    }
    let etag = format!("\"{}\"", object.object.etag);
    request = request
        .header(RANGE, format!("bytes={}-{}", range.start, range.end - 1))
        .header(IF_MATCH, &etag);
    let response = client.send(request).await?;
    let header = |name| response.headers().get(name).map(HeaderValue::as_bytes);
    let size = object.object.size_bytes;
    let want = format!("bytes {}-{}/{size}", range.start, range.end - 1);
    let is_it = response.status() == StatusCode::PARTIAL_CONTENT
        && header(CONTENT_RANGE) == Some(want.as_bytes());
    let is_same = header(ETAG).is_none_or(|there| there == etag.as_bytes());
    // The whole instead of a range is as good, when the whole was wanted.
    let is_whole = response.status() == StatusCode::OK
        && range == (0..size)
        && response.content_length() == Some(size);
    if is_same && (is_it || is_whole) {
        Ok(response)
    } else {
        Err(replaced(object))
    }
}

/// Another version is there than the one that was described.
fn replaced(object: &ObjectDetails) -> Error {
    Error::Conflict(Box::new(Problem::new(
        412,
        code::PRECONDITION_FAILED,
        &format!(
            "{}:{} was replaced while it was being fetched",
            object.object.bucket, object.object.key
        ),
    )))
}
