//! Sending a file until it is there.
//!
//! [`push`] opens the source, asks the node whether it has the very same content already, and otherwise sends it over tus:
//! a small file in one request, a short one as one upload, a long one in parts that several lanes carry at once, as many as make it faster ([`crate::pace`]).
//! The parts are joined as soon as they are begun, so what is there of a file can be read, and a film be played, while the rest is on its way.
//! Each failure that passes (a cut, a restart, a busy node) is answered with a wait and the question how far it got.
//! A journal per node, source and destination remembers addresses and sums from before the first byte until the end,
//! so the same call after Ctrl-C or a reboot goes on where it stopped.
//!
//! A source that changed is never spliced: size, modification time and inode are checked before and after each request,
//! what an earlier call sent is held against the file block by block before the object is made, and at the end size and BLAKE3 are compared with what the node says.
//!
//! Data pass from [`source`] through [`body`] to [`tus`]; [`plan`] cuts the file, [`send`] carries the parts, [`state`] remembers,
//! [`known`] looks for what is there already, and [`stream`] sends what has no length yet.

mod body;
mod known;
mod plan;
mod send;
mod source;
mod state;
mod stream;
mod tus;

pub(crate) use source::blocking;

pub use source::{Fingerprint, Source};
pub use state::StateDir;
pub use stream::push_stream;

use crate::{
    Client, Error,
    backoff::{Backoff, Patience},
    pace::MOST_LANES,
    transfer::{self, Observer, Step, Verified},
};
use body::Taken;
use nebula_api::ObjectDetails;
use send::Sending;
use state::{Left, State};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use tus::Target;

/// The most content one PATCH carries.
pub const PATCH_BYTES: u64 = 64 << 20;
/// A body of which the network takes nothing for this long is given up and asked about.
pub const STALL: Duration = Duration::from_mins(1);

/// Where to, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The media type; guessed from the key's extension when absent.
    pub content_type: Option<String>,
    /// Send even what the node already has.
    pub even_if_there: bool,
    /// The most lanes that carry one file.
    pub lanes: u32,
    /// The most content one PATCH carries.
    pub patch_bytes: u64,
    /// How long to go on without any progress.
    pub patience: Patience,
    /// How long the network may take nothing.
    pub stall: Duration,
    /// Where unfinished uploads are remembered; nowhere when absent.
    pub state: Option<StateDir>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            content_type: None,
            even_if_there: false,
            lanes: MOST_LANES,
            patch_bytes: PATCH_BYTES,
            patience: Patience::default(),
            stall: STALL,
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
    /// Whether the node made it of content that it had under another name.
    pub copied: bool,
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
    let mut source = Source::open(path).await?;
    let target = target(&source, bucket, key, options);
    let mut state = open_state(client, &source, &target, options).await?;
    let mut left = pick_up(client, &source, &target, state.as_mut(), observer).await?;
    let look = known::Look {
        client,
        target: &target,
        observer,
    };
    // What an earlier call only meant to send may be there by now.
    let is_fresh = !left.as_ref().is_some_and(Left::has_begun) && !options.even_if_there;
    if is_fresh && let Some(there) = look.before(&source).await? {
        forget(state);
        return Ok(there);
    }
    let wire = Taken::default();
    let mut anew = false;
    let (object, source) = loop {
        let went_on = left.as_ref().is_some_and(Left::has_begun);
        let state_ref = state.as_ref();
        let sending = Sending::new(
            client,
            &source,
            &target,
            options,
            observer,
            &wire,
            state_ref,
            left.take(),
        )
        .await?;
        let ran = tokio::select! {
            ran = sending.run() => ran,
            there = look.beside(&source), if is_fresh && !anew => {
                sending.terminate().await;
                forget(state.take());
                return Ok(Pushed { sent_bytes: wire.bytes(), ..there });
            }
        };
        if let Err(error) = ran {
            if !matches!(error, Error::SourceChanged { .. }) {
                return Err(error);
            }
            sending.terminate().await;
            clear(state.as_ref())?;
            // Unless it changes right now, it changed since an earlier call, without showing it.
            if anew || !went_on || source.check_unchanged().await.is_err() {
                return Err(error);
            }
            anew = true;
            observer.step(Step::StartedAnew);
            source = Source::open(path).await?;
            continue;
        }
        // From here on this upload is over: going on with it would only prove the same thing.
        clear(state.as_ref())?;
        observer.step(Step::Verifying);
        match published(client, bucket, key, &options.patience).await? {
            Some(object) => break (object, source),
            // An earlier call had finished it, and what it made was deleted since.
            None if !sending.was_begun() && !anew => {
                anew = true;
                observer.step(Step::StartedAnew);
            }
            None => {
                return Err(Error::Mismatch {
                    what: format!("{bucket}:{key}"),
                    detail: "every byte was sent, and the node has no such object".into(),
                });
            }
        }
    };
    forget(state);
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
        sent_bytes: wire.bytes(),
        was_there: false,
        copied: false,
    })
}

fn target(source: &Source, bucket: &str, key: &str, options: &Options) -> Target {
    Target {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        content_type: content_type(key, options.content_type.as_deref()),
        modified_ns: Some(source.fingerprint().modified_ns),
    }
}

/// The media type that an object gets: the one that was `given`, or what its key suggests.
pub fn content_type(key: &str, given: Option<&str>) -> String {
    match given {
        Some(given) => given.to_owned(),
        None => mime_guess::from_path(key)
            .first_or_octet_stream()
            .essence_str()
            .to_owned(),
    }
}

async fn open_state(
    client: &Client,
    source: &Source,
    target: &Target,
    options: &Options,
) -> Result<Option<State>, Error> {
    let Some(dir) = options.state.clone() else {
        return Ok(None);
    };
    let (server, path) = (client.origin(), source.path().to_owned());
    let (bucket, key) = (target.bucket.clone(), target.key.clone());
    blocking(move || dir.open(&server, &path, &bucket, &key).map(Some)).await
}

/// What an earlier call left, unless the source is another one by now.
async fn pick_up(
    client: &Client,
    source: &Source,
    target: &Target,
    state: Option<&mut State>,
    observer: &dyn Observer,
) -> Result<Option<Left>, Error> {
    let Some(state) = state else {
        return Ok(None);
    };
    let Some(left) = state.take_left() else {
        return Ok(None);
    };
    if left.is_of(source) && left.head.content_type == target.content_type {
        return Ok(Some(left));
    }
    if left.has_begun() {
        observer.step(Step::StartedAnew);
    }
    for url in left.joined.iter().chain(left.urls.values()) {
        // Best effort: what stays behind expires on the node.
        let _ = tus::terminate(client, url).await;
    }
    state.clear()?;
    Ok(None)
}

fn clear(state: Option<&State>) -> Result<(), Error> {
    state.map_or(Ok(()), State::clear)
}

fn forget(state: Option<State>) {
    if let Some(state) = state {
        state.remove();
    }
}

/// The finished object, asked for until the node can answer.
async fn published(
    client: &Client,
    bucket: &str,
    key: &str,
    patience: &Patience,
) -> Result<Option<ObjectDetails>, Error> {
    let mut backoff = Backoff::new(patience);
    loop {
        match client.object(bucket, key, None).await {
            Ok(found) => return Ok(found),
            Err(e) if e.is_passing() => match backoff.next_wait(e.retry_after()) {
                Some(wait) => backoff.rest(wait).await,
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
