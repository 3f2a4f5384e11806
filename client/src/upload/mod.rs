//! Sending a file until it is there.
//!
//! [`push`] opens the source, asks the node whether it has the very same content already,
//! and otherwise sends it over tus: bounded PATCH requests with streamed bodies, each failure
//! that passes (a cut, a restart, a busy node) answered with a wait and the question how far it got.
//! A small state file per node and source remembers the upload's address from before the first
//! byte until the end, so the same call after Ctrl-C or a reboot goes on where it stopped.
//! At the end size and BLAKE3 are compared with what the node says.
//!
//! A source that changed is never spliced: the state names size, modification time and inode,
//! they are checked before and after each request, and the hash has the last word.
//!
//! One lane carries the whole file today; the state file already speaks of lanes.

mod body;
mod source;
mod state;
mod tus;

pub(crate) use source::blocking;

pub use source::{Fingerprint, Source};
pub use state::{Lane, State, StateDir};

use crate::{
    Client, Error,
    backoff::{Backoff, PATIENCE},
    transfer::{self, Observer, Step, Verified},
};
use nebula_api::ObjectDetails;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tus::Offset;

/// The most content one PATCH carries.
pub const PATCH_BYTES: u64 = 64 << 20;
/// How often one call begins an upload anew because the node had forgotten it.
const MAX_BEGINNINGS: u32 = 5;

/// Where to, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The media type; guessed from the key's extension when absent.
    pub content_type: Option<String>,
    /// Send even what the node already has.
    pub even_if_there: bool,
    /// The most content one PATCH carries.
    pub patch_bytes: u64,
    /// How long to go on without any progress.
    pub patience: Duration,
    /// Where unfinished uploads are remembered; nowhere when absent.
    pub state: Option<StateDir>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            content_type: None,
            even_if_there: false,
            patch_bytes: PATCH_BYTES,
            patience: PATIENCE,
            state: Some(StateDir::of_user()),
        }
    }
}

/// How a push ended.
#[derive(Debug, Clone)]
pub struct Pushed {
    /// The object as the node shows it.
    pub object: ObjectDetails,
    /// BLAKE3 of what was read here, 64 hex digits.
    pub blake3: String,
    /// How sure it is that both sides are equal.
    pub verified: Verified,
    /// How many bytes of content this call put on the wire.
    pub sent_bytes: u64,
    /// Whether the node had it already.
    pub was_there: bool,
}

/// Sends one file to `bucket`/`key`, or finishes sending it.
pub async fn push(
    client: &Client,
    path: &Path,
    bucket: &str,
    key: &str,
    options: &Options,
    observer: &dyn Observer,
) -> Result<Pushed, Error> {
    let source = Source::open(path).await?;
    if !options.even_if_there
        && let Some(there) = already_there(client, &source, bucket, key, observer).await?
    {
        return Ok(there);
    }
    let state = match &options.state {
        Some(dir) => Some(dir.open(&client.origin(), source.path(), bucket, key)?),
        None => None,
    };
    let mut sending = Sending {
        client,
        source: &source,
        bucket,
        key,
        options,
        observer,
        state,
        url: None,
        sent_bytes: 0,
        beginnings: 0,
    };
    sending.pick_up().await?;
    let object = loop {
        sending.run().await?;
        // From here on this upload is over: going on with it would only prove the same thing.
        sending.clear()?;
        observer.step(Step::Verifying);
        match published(client, bucket, key, options.patience).await? {
            Some(object) => break object,
            // An earlier call had finished it, and what it made was deleted since.
            None if sending.beginnings == 0 => observer.step(Step::StartedAnew),
            None => {
                return Err(Error::Mismatch {
                    what: format!("{bucket}:{key}"),
                    detail: "every byte was sent, and the node has no such object".into(),
                });
            }
        }
    };
    if let Some(state) = sending.state.take() {
        state.forget();
    }
    let blake3 = source.hash().await?;
    let verified = transfer::compare(
        &format!("{bucket}:{key}"),
        (source.size_bytes(), &blake3),
        (object.object.size_bytes, object.blake3.as_deref()),
    )?;
    Ok(Pushed {
        object,
        verified,
        blake3,
        sent_bytes: sending.sent_bytes,
        was_there: false,
    })
}

/// One upload under way.
struct Sending<'a> {
    client: &'a Client,
    source: &'a Source,
    bucket: &'a str,
    key: &'a str,
    options: &'a Options,
    observer: &'a dyn Observer,
    state: Option<State>,
    /// The upload's address, once there is one.
    url: Option<String>,
    sent_bytes: u64,
    /// How often an upload was begun.
    beginnings: u32,
}

impl Sending<'_> {
    /// Takes up what an earlier call left, unless the source is another one by now.
    async fn pick_up(&mut self) -> Result<(), Error> {
        let Some(lane) = self.state.as_ref().and_then(State::lane) else {
            return Ok(());
        };
        let url = lane.url.clone();
        if self.state.as_ref().is_some_and(|s| s.is_of(self.source)) {
            self.url = Some(url);
            return Ok(());
        }
        self.observer.step(Step::StartedAnew);
        // Best effort: what stays behind expires on the node.
        let _ = tus::terminate(self.client, &url).await;
        self.clear()
    }

    /// Forgets the upload's address, here and in the state file.
    fn clear(&mut self) -> Result<(), Error> {
        self.url = None;
        match &mut self.state {
            Some(state) => state.clear(),
            None => Ok(()),
        }
    }

    /// Sends until the node has every byte.
    async fn run(&mut self) -> Result<(), Error> {
        let mut backoff = Backoff::new(self.options.patience);
        let mut furthest = 0;
        loop {
            match self.advance().await {
                Ok(offset) if offset == self.source.size_bytes() => return Ok(()),
                Ok(offset) => {
                    if offset > furthest {
                        furthest = offset;
                        backoff.progress();
                    }
                }
                Err(error) if error.is_passing() || is_offset_conflict(&error) => {
                    if let Some(offset) = self.ask_offset_quietly().await
                        && offset > furthest
                    {
                        furthest = offset;
                        backoff.progress();
                    }
                    let Some(wait) = backoff.next_wait() else {
                        return Err(error);
                    };
                    self.observer.step(Step::Waiting {
                        reason: error.to_string(),
                        wait,
                    });
                    tokio::time::sleep(wait).await;
                }
                Err(error) => {
                    if matches!(error, Error::SourceChanged { .. }) {
                        if let Some(url) = &self.url {
                            let _ = tus::terminate(self.client, url).await;
                        }
                        self.clear()?;
                    }
                    return Err(error);
                }
            }
        }
    }

    /// One step: create if need be, ask how far it is, send one request's worth. Returns the new offset.
    async fn advance(&mut self) -> Result<u64, Error> {
        self.source.check_unchanged().await?;
        let Some(url) = self.url.clone() else {
            self.beginnings += 1;
            let url = self.create().await?;
            if let Some(state) = &mut self.state {
                state.begin(self.source, &url)?;
            }
            self.url = Some(url);
            return if self.source.size_bytes() == 0 {
                self.patch(0).await
            } else {
                Ok(0)
            };
        };
        match tus::offset(self.client, &url, self.source.size_bytes()).await? {
            Offset::At(offset) if offset == self.source.size_bytes() => Ok(offset),
            Offset::At(offset) => {
                if self.sent_bytes == 0 && offset > 0 {
                    self.observer.step(Step::Resumed {
                        offset_bytes: offset,
                    });
                }
                self.patches_from(offset).await
            }
            Offset::Gone => self.begin_anew(),
        }
    }

    /// The node has forgotten the upload: the next step begins another one.
    fn begin_anew(&mut self) -> Result<u64, Error> {
        self.clear()?;
        if self.beginnings >= MAX_BEGINNINGS {
            return Err(Error::NotNebula {
                url: self.client.origin(),
                reason: "it keeps forgetting the upload".into(),
            });
        }
        self.observer.step(Step::StartedAnew);
        Ok(0)
    }

    /// PATCH after PATCH while all goes well: each answer says where the next begins.
    async fn patches_from(&mut self, mut offset: u64) -> Result<u64, Error> {
        while self.url.is_some() && offset < self.source.size_bytes() {
            offset = self.patch(offset).await?;
        }
        Ok(offset)
    }

    async fn patch(&mut self, offset: u64) -> Result<u64, Error> {
        self.source.check_unchanged().await?;
        let Some(url) = &self.url else {
            return Ok(offset);
        };
        let length = self.options.patch_bytes.max(1);
        let length = length.min(self.source.size_bytes() - offset);
        let (result, sent) =
            tus::patch(self.client, url, self.source, offset, length, self.observer).await;
        self.sent_bytes += sent;
        match result {
            Err(error) if tus::is_gone(&error) => self.begin_anew(),
            other => other,
        }
    }

    async fn create(&self) -> Result<String, Error> {
        let guessed;
        let content_type = if let Some(given) = &self.options.content_type {
            given.as_str()
        } else {
            guessed = mime_guess::from_path(self.key).first_or_octet_stream();
            guessed.essence_str()
        };
        let size = self.source.size_bytes();
        tus::create(self.client, size, self.bucket, self.key, content_type).await
    }

    async fn ask_offset_quietly(&self) -> Option<u64> {
        let url = self.url.as_deref()?;
        match tus::offset(self.client, url, self.source.size_bytes()).await {
            Ok(Offset::At(offset)) => Some(offset),
            _ => None,
        }
    }
}

/// 409: the node is at another offset than we thought; asking again settles it.
fn is_offset_conflict(error: &Error) -> bool {
    matches!(error, Error::Conflict(problem) if problem.status == 409)
}

/// Whether the node has this content under this key already; hashes only when the sizes agree.
async fn already_there(
    client: &Client,
    source: &Source,
    bucket: &str,
    key: &str,
    observer: &dyn Observer,
) -> Result<Option<Pushed>, Error> {
    let there = match client.object(bucket, key, None).await {
        Ok(there) => there,
        // Who may write but not read finds nothing out; a passing failure is the upload's to wait for.
        Err(Error::Refused(_)) => None,
        Err(e) if e.is_passing() => None,
        Err(e) => return Err(e),
    };
    let Some(object) = there.filter(|o| o.object.size_bytes == source.size_bytes()) else {
        return Ok(None);
    };
    let Some(hash) = object.blake3.clone() else {
        return Ok(None);
    };
    observer.step(Step::Comparing);
    let blake3 = source.hash().await?;
    Ok(blake3.eq_ignore_ascii_case(&hash).then_some(Pushed {
        object,
        blake3,
        verified: Verified::Hash,
        sent_bytes: 0,
        was_there: true,
    }))
}

/// The finished object, asked for until the node can answer.
async fn published(
    client: &Client,
    bucket: &str,
    key: &str,
    patience: Duration,
) -> Result<Option<ObjectDetails>, Error> {
    let mut backoff = Backoff::new(patience);
    loop {
        match client.object(bucket, key, None).await {
            Ok(found) => return Ok(found),
            Err(e) if e.is_passing() => match backoff.next_wait() {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(e),
            },
            Err(e) => return Err(e),
        }
    }
}

/// The absolute form of a path, for state that outlives the working directory.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
