//! Sending what has no length yet, as standard input: read once, sent while it comes, hashed on the way.
//!
//! What the node has not acknowledged is kept in memory, so a cut or a restart costs nothing; a stream cannot outlive this process, though.

use super::{
    Options, Pushed, content_type, published,
    send::random_name,
    source::blocking,
    tus::{self, Offset, Target},
};
use crate::{
    Client, Error,
    backoff::Backoff,
    transfer::{self, Observer, Step},
};
use bytes::{Bytes, BytesMut};
use std::{
    io::{self, Read},
    path::Path,
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout_at},
};

/// The most that one PATCH carries; about twice this is in memory: what is sent, and what is read meanwhile.
const CHUNK_BYTES: usize = 8 << 20;
/// How long a slow source is waited for before what came is sent.
const GATHER: Duration = Duration::from_secs(1);
/// How much is read at once.
const READ_BYTES: usize = 256 << 10;

/// Sends everything that `input` brings to `bucket`/`key`; `name` is what a person calls it.
///
/// # Errors
/// Those of [`super::push`]; [`Error::NotNebula`] when the node forgets the upload, as its beginning is gone.
pub async fn push_stream(
    client: &Client,
    input: impl Read + Send + 'static,
    name: &Path,
    bucket: &str,
    key: &str,
    options: &Options,
    observer: &dyn Observer,
) -> Result<Pushed, Error> {
    let target = Target {
        bucket: bucket.to_owned(),
        key: key.to_owned(),
        content_type: content_type(key, options.content_type.as_deref()),
        modified_ns: None,
    };
    let mut sending = Streaming {
        client,
        target: &target,
        options,
        observer,
        name: random_name(),
        url: None,
        body_bytes_max: u64::MAX,
        offset: 0,
        sent_bytes: 0,
    };
    let blake3 = match sending.everything(input, name).await {
        Ok(blake3) => blake3,
        Err(error) => {
            if let Some(url) = &sending.url {
                // Best effort: nobody can go on with it, and it expires.
                let _ = tus::terminate(client, url).await;
            }
            return Err(error);
        }
    };
    observer.step(Step::Verifying);
    let what = format!("{bucket}:{key}");
    let found = published(client, bucket, key, &options.patience).await?;
    let object = found.ok_or_else(|| Error::Mismatch {
        what: what.clone(),
        detail: "every byte was sent, and the node has no such object".into(),
    })?;
    let there = (object.object.size_bytes, object.blake3.as_deref());
    let verified = transfer::compare(&what, (sending.offset, &blake3), there)?;
    Ok(Pushed {
        object,
        blake3,
        verified,
        sent_bytes: sending.sent_bytes,
        was_there: false,
        copied: false,
    })
}

fn read(mut input: impl Read, send: &mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = BytesMut::zeroed(READ_BYTES);
        let read = match input.read(&mut piece) {
            Ok(0) => return,
            Ok(n) => Ok(piece.split_to(n).freeze()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => Err(e),
        };
        let failed = read.is_err();
        if send.blocking_send(read).is_err() || failed {
            return;
        }
    }
}

/// What comes within a chunk's size and time; whether it was the last.
async fn gather(pieces: &mut mpsc::Receiver<io::Result<Bytes>>) -> io::Result<(Bytes, bool)> {
    let mut chunk = BytesMut::new();
    let mut until = None;
    while chunk.len() < CHUNK_BYTES {
        let next = pieces.recv();
        let piece = match until {
            None => next.await,
            Some(until) => match timeout_at(until, next).await {
                Ok(piece) => piece,
                Err(_) => break,
            },
        };
        match piece {
            Some(piece) => chunk.extend_from_slice(&piece?),
            None => return Ok((chunk.freeze(), true)),
        }
        until = until.or_else(|| Some(Instant::now() + GATHER));
    }
    Ok((chunk.freeze(), false))
}

/// One stream under way.
struct Streaming<'a> {
    client: &'a Client,
    target: &'a Target,
    options: &'a Options,
    observer: &'a dyn Observer,
    /// Drawn by lot, so that a repeated creation is one.
    name: String,
    url: Option<String>,
    /// The largest body that the node asks for.
    body_bytes_max: u64,
    /// How much the node has acknowledged.
    offset: u64,
    sent_bytes: u64,
}

impl Streaming<'_> {
    /// Sends all that comes. Returns its BLAKE3.
    async fn everything(
        &mut self,
        input: impl Read + Send + 'static,
        name: &Path,
    ) -> Result<String, Error> {
        let (send, mut pieces) = mpsc::channel(CHUNK_BYTES / READ_BYTES);
        // Ends with the input, or with its next piece once nobody listens any more.
        tokio::task::spawn_blocking(move || read(input, &send));
        let mut hasher = blake3::Hasher::new();
        loop {
            let gathered = gather(&mut pieces).await;
            let (chunk, is_last) = gathered.map_err(|e| Error::local("read", name, e))?;
            let content = chunk.clone();
            hasher = blocking(move || {
                hasher.update(&content);
                Ok(hasher)
            })
            .await?;
            self.send(chunk, is_last).await?;
            if is_last {
                return Ok(hasher.finalize().to_hex().to_string());
            }
        }
    }

    /// Sends one chunk until the node has it.
    async fn send(&mut self, chunk: Bytes, is_last: bool) -> Result<(), Error> {
        let end = self.offset + chunk.len() as u64;
        let mut backoff = Backoff::new(&self.options.patience);
        let mut is_known = true;
        loop {
            let before = self.offset;
            match self.attempt(&chunk, end, is_last, is_known).await {
                Ok(true) => return Ok(()),
                Ok(false) => is_known = true,
                Err(error) if error.is_passing() || matches!(error, Error::Conflict(_)) => {
                    if self.offset > before {
                        backoff.progress();
                    }
                    is_known = false;
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

    /// One request or two. Returns whether the node has the whole chunk.
    async fn attempt(
        &mut self,
        chunk: &Bytes,
        end: u64,
        is_last: bool,
        is_known: bool,
    ) -> Result<bool, Error> {
        let Some(url) = self.url.clone() else {
            let begun = tus::create(self.client, None, self.target, None, &self.name).await?;
            self.body_bytes_max = begun.body_bytes_max.unwrap_or(u64::MAX);
            self.url = Some(begun.url);
            let plays = self.target.plays();
            self.observer.step(Step::Begun { plays });
            return Ok(false);
        };
        let start = end - chunk.len() as u64;
        if !is_known {
            self.offset = match tus::offset(self.client, &url, None).await? {
                (Offset::At(offset), _) if (start..=end).contains(&offset) => offset,
                _ => return Err(self.lost()),
            };
        }
        if self.offset == end && !is_last {
            return Ok(true);
        }
        let from = usize::try_from(self.offset - start).unwrap_or(usize::MAX);
        let mut rest = chunk.slice(from.min(chunk.len())..);
        rest.truncate(usize::try_from(self.body_bytes_max).unwrap_or(usize::MAX));
        let is_last = is_last && self.offset + rest.len() as u64 == end;
        self.sent_bytes += rest.len() as u64;
        let length = is_last.then_some(end);
        let new = tus::patch_bytes(self.client, &url, self.offset, rest, length).await;
        self.offset = match new {
            Err(error) if tus::is_gone(&error) => return Err(self.lost()),
            other => other?,
        };
        self.observer.step(Step::Moved {
            offset_bytes: self.offset,
            wire_bytes: self.sent_bytes,
        });
        Ok(self.offset == end)
    }

    fn lost(&self) -> Error {
        Error::NotNebula {
            url: self.client.origin(),
            reason: "it forgot the upload, and a stream cannot be read again".into(),
        }
    }
}
