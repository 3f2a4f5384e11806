//! The four requests of tus 1.0 that a push needs.

use super::{body::body, source::Source};
use crate::{
    Client, Error,
    transfer::{Observer, Step},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use nebula_api::{problem::code, routes};
use reqwest::{
    Body, Method, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
};
use std::time::Duration;
use tokio::time::{Instant, interval};

/// The protocol's version.
const VERSION: (&str, &str) = ("Tus-Resumable", "1.0.0");
/// A PATCH of which the network takes nothing for this long is given up and asked about.
const STALL: Duration = Duration::from_mins(1);
/// How often progress is told.
const TELL: Duration = Duration::from_millis(100);

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offset {
    /// The node has this much.
    At(u64),
    /// The node knows nothing of it, or of another length.
    Gone,
}

/// Begins an upload (creation extension). Returns its address.
pub(super) async fn create(
    client: &Client,
    size_bytes: u64,
    bucket: &str,
    key: &str,
    content_type: &str,
) -> Result<String, Error> {
    let metadata = format!(
        "bucket {},filename {},filetype {}",
        STANDARD.encode(bucket),
        STANDARD.encode(key),
        STANDARD.encode(content_type)
    );
    let request = client
        .request(Method::POST, routes::TUS)?
        .header(VERSION.0, VERSION.1)
        .header("Upload-Length", size_bytes)
        .header("Upload-Metadata", metadata)
        .header(CONTENT_LENGTH, 0);
    let response = client.send(request).await?;
    let location = response.headers().get(LOCATION);
    let location = location.and_then(|l| l.to_str().ok());
    location.map(str::to_owned).ok_or_else(|| Error::NotNebula {
        url: client.origin(),
        reason: "it began an upload without saying where".into(),
    })
}

/// Asks how far an upload is.
pub(super) async fn offset(client: &Client, url: &str, size_bytes: u64) -> Result<Offset, Error> {
    let request = client
        .request(Method::HEAD, url)?
        .header(VERSION.0, VERSION.1);
    match client.send(request).await {
        Ok(response) => {
            let declared = number(&response, "Upload-Length");
            if declared.is_some_and(|d| d != size_bytes) {
                return Ok(Offset::Gone);
            }
            let offset = upload_offset(client, &response)?;
            Ok(if offset <= size_bytes {
                Offset::At(offset)
            } else {
                Offset::Gone
            })
        }
        Err(e) if is_gone(&e) => Ok(Offset::Gone),
        Err(e) => Err(e),
    }
}

/// Whether the node says that there is no such upload (any more).
pub(super) fn is_gone(error: &Error) -> bool {
    match error {
        Error::NotFound(p) => p.code != code::BUCKET_NOT_FOUND,
        Error::Said(p) => p.status == 410,
        _ => false,
    }
}

/// Gives an upload up (termination extension).
pub(super) async fn terminate(client: &Client, url: &str) -> Result<(), Error> {
    let request = client
        .request(Method::DELETE, url)?
        .header(VERSION.0, VERSION.1);
    client.send(request).await.map(drop)
}

/// Sends one piece. Returns the node's new offset, and how much the network took either way.
pub(super) async fn patch(
    client: &Client,
    url: &str,
    source: &Source,
    offset: u64,
    length: u64,
    observer: &dyn Observer,
) -> (Result<u64, Error>, u64) {
    let request = match client.patient_request(Method::PATCH, url) {
        Ok(request) => request,
        Err(e) => return (Err(e), 0),
    };
    let (stream, taken) = body(source, offset, length);
    let request = request
        .header(VERSION.0, VERSION.1)
        .header("Upload-Offset", offset)
        .header(CONTENT_TYPE, "application/offset+octet-stream")
        .header(CONTENT_LENGTH, length)
        .body(Body::wrap_stream(stream));
    let answer = client.send(request);
    tokio::pin!(answer);
    let mut tick = interval(TELL);
    let mut seen = (0, Instant::now());
    let result = loop {
        tokio::select! {
            answer = &mut answer => break answer,
            _ = tick.tick() => {
                let now = taken.bytes();
                if now > seen.0 {
                    seen = (now, Instant::now());
                    observer.step(Step::Moved { offset_bytes: offset + now });
                } else if seen.1.elapsed() > STALL {
                    break Err(Error::Unreachable {
                        url: client.origin(),
                        reason: format!("it took nothing for {} s", STALL.as_secs()),
                    });
                }
            }
        }
    };
    // A source that ended early shows as a broken body; say what it was.
    if result.is_err()
        && let Err(changed) = source.check_unchanged().await
    {
        return (Err(changed), taken.bytes());
    }
    let result = match result {
        Ok(response) => upload_offset(client, &response).and_then(|new| {
            // A node that goes backwards or beyond would have us loop or skip.
            if new >= offset && new <= offset + length && (new > offset || length == 0) {
                Ok(new)
            } else {
                Err(Error::Unreachable {
                    url: client.origin(),
                    reason: format!("it took nothing of {length} bytes"),
                })
            }
        }),
        Err(e) => Err(e),
    };
    if let Ok(new) = result {
        observer.step(Step::Moved { offset_bytes: new });
    }
    (result, taken.bytes())
}

fn upload_offset(client: &Client, response: &Response) -> Result<u64, Error> {
    number(response, "Upload-Offset").ok_or_else(|| Error::NotNebula {
        url: client.origin(),
        reason: "its upload door does not say how far it is".into(),
    })
}

fn number(response: &Response, name: &str) -> Option<u64> {
    response.headers().get(name)?.to_str().ok()?.parse().ok()
}
