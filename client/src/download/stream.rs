//! Fetching an object into a stream, as standard output: in order, hashed on the way.

use super::{Options, known, ranged, replaced};
use crate::{
    Client, Error,
    backoff::Backoff,
    transfer::{self, Observer, Step, Verified},
    upload::blocking,
};
use bytes::Bytes;
use nebula_api::ObjectDetails;
use std::{
    io::{self, Write},
    path::Path,
};
use tokio::time::timeout;

/// Writes one object to `output`; `name` is what a person calls that. Returns the object, and how sure it is that what was written is it.
///
/// # Errors
/// Those of [`super::pull`]; [`Error::Conflict`] when the object is replaced on the way, [`Error::Mismatch`] when what was written is not it: then it is too late to take back what was written.
pub async fn pull_stream(
    client: &Client,
    (bucket, key, version): (&str, &str, Option<&str>),
    output: impl Write + Send + 'static,
    name: &Path,
    options: &Options,
    observer: &dyn Observer,
) -> Result<(ObjectDetails, Verified), Error> {
    let object = known(client, bucket, key, version, options).await?;
    let size = object.object.size_bytes;
    let version = version.or(object.object.version.as_deref());
    let fail = |e| Error::local("write", name, e);
    let mut writing = Writing {
        output,
        hasher: blake3::Hasher::new(),
        at: 0,
    };
    let mut backoff = Backoff::new(&options.patience);
    while writing.at < size {
        let before = writing.at;
        let stalled = || Error::Unreachable {
            url: client.origin(),
            reason: format!("nothing came for {} s", options.stall.as_secs()),
        };
        let asked = ranged(client, &object, version, writing.at..size);
        let asked = timeout(options.stall, asked).await;
        let failure = match asked.unwrap_or_else(|_| Err(stalled())) {
            Err(error) => Some(error),
            Ok(mut response) => loop {
                match timeout(options.stall, response.chunk()).await {
                    Err(_) => break Some(stalled()),
                    Ok(Err(e)) => break Some(client.network(&e)),
                    Ok(Ok(None)) => break None,
                    Ok(Ok(Some(chunk))) if writing.at + chunk.len() as u64 > size => {
                        return Err(replaced(&object));
                    }
                    Ok(Ok(Some(chunk))) => {
                        writing = writing.write(chunk).await.map_err(fail)?;
                        observer.step(Step::Moved {
                            offset_bytes: writing.at,
                            wire_bytes: writing.at,
                        });
                    }
                }
            },
        };
        if writing.at > before {
            backoff.progress();
        }
        // An answer that ends early without a word is asked again, as one that breaks off.
        let error = match failure {
            Some(error) => error,
            None if writing.at == size => break,
            None => stalled(),
        };
        if !error.is_passing() {
            return Err(error);
        }
        let Some(wait) = backoff.next_wait(error.retry_after()) else {
            return Err(error);
        };
        observer.step(Step::Waiting {
            reason: error.to_string(),
            wait,
        });
        backoff.rest(wait).await;
    }
    // An empty write flushes.
    let writing = writing.write(Bytes::new()).await.map_err(fail)?;
    let hash = writing.hasher.finalize().to_hex();
    let here = (writing.at, hash.as_str());
    let there = (size, object.blake3.as_deref());
    let verified = transfer::compare(&format!("{bucket}:{key}"), here, there)?;
    Ok((object, verified))
}

/// Where the content goes.
struct Writing<W> {
    output: W,
    hasher: blake3::Hasher,
    at: u64,
}

impl<W: Write + Send + 'static> Writing<W> {
    /// Writes the next piece, all of it; an empty one flushes.
    async fn write(mut self, content: Bytes) -> io::Result<Self> {
        let written = blocking(move || {
            let result = if content.is_empty() {
                self.output.flush()
            } else {
                self.hasher.update(&content);
                self.at += content.len() as u64;
                self.output.write_all(&content)
            };
            Ok(result.map(|()| self))
        });
        written
            .await
            .unwrap_or_else(|e| Err(io::Error::other(e.to_string())))
    }
}
