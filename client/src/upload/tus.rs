//! The requests of tus 1.0 that a push needs.

use super::{
    body::{Taken, body},
    source::Source,
    state::Notes,
};
use crate::{Client, Error};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use nebula_api::{problem::code, routes};
use reqwest::{
    Body, Method, RequestBuilder, Response,
    header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION},
};
use std::{fmt::Write as _, future::Future, ops::Range, time::Duration};
use tokio::time::{Instant, interval};

/// The protocol's version.
const VERSION: (&str, &str) = ("Tus-Resumable", "1.0.0");
/// The media type of pieces of an upload.
const PIECE: &str = "application/offset+octet-stream";
/// How long the answer to a body that was taken whole may take: the node may have a hash to end or a file to encrypt first.
const ANSWER: Duration = Duration::from_mins(10);
/// How often a body is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What is to become of the bytes.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) bucket: String,
    pub(super) key: String,
    pub(super) content_type: String,
    /// The file's modification time, in nanoseconds since the epoch.
    pub(super) modified_ns: Option<i128>,
}

impl Target {
    /// Whether it is a film or a recording: those play from their beginning while the rest is on its way.
    pub(super) fn plays(&self) -> bool {
        self.content_type.starts_with("video/") || self.content_type.starts_with("audio/")
    }

    /// As `Upload-Metadata`.
    fn metadata(&self) -> String {
        let mut text = format!(
            "bucket {},filename {},filetype {}",
            STANDARD.encode(&self.bucket),
            STANDARD.encode(&self.key),
            STANDARD.encode(&self.content_type)
        );
        if let Some(modified) = self.modified_ns {
            let seconds = crate::transfer::mtime_text(modified);
            let _ = write!(text, ",mtime {}", STANDARD.encode(seconds));
        }
        text
    }
}

/// A part of a file that other uploads complete ("Parallel uploads" in ARCHITECTURE.md).
#[derive(Debug, Clone, Copy)]
pub(super) struct Lane<'a> {
    /// The name of all of them together.
    pub(super) group: &'a str,
    /// Where it begins.
    pub(super) start: u64,
    /// How long the whole is.
    pub(super) total: u64,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offset {
    /// The node has this much.
    At(u64),
    /// The node knows nothing of it, or of another length.
    Gone,
}

/// An upload that the node has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begun {
    /// Its address.
    pub(super) url: String,
    /// What the node has of it: something, where it was begun before or the first bytes came along.
    pub(super) offset: u64,
    /// The largest body that the node asks for, where it asks for one.
    pub(super) body_bytes_max: Option<u64>,
}

/// Begins an upload (creation extension) of so many bytes, or of a length that is told later.
///
/// Repeated with the same `once`, it finds the upload that the first call made.
pub(super) async fn create(
    client: &Client,
    length: Option<u64>,
    target: &Target,
    lane: Option<&Lane<'_>>,
    once: &str,
) -> Result<Begun, Error> {
    let request = creation(client, length, target, lane, once)?.header(CONTENT_LENGTH, 0);
    begun(client, &client.send(request).await?)
}

/// Begins an upload with all of its content in the same request (creation-with-upload extension); `taken` counts it on its way.
pub(super) async fn create_with(
    client: &Client,
    target: &Target,
    once: &str,
    piece: &Piece<'_>,
    taken: &Taken,
) -> Result<Begun, Error> {
    let length = piece.stretch.end - piece.stretch.start;
    let request = creation(client, Some(length), target, None, once)?;
    let answer = send_piece(client, request.header(CONTENT_TYPE, PIECE), piece, taken).await?;
    begun(client, &answer)
}

fn creation(
    client: &Client,
    length: Option<u64>,
    target: &Target,
    lane: Option<&Lane<'_>>,
    once: &str,
) -> Result<RequestBuilder, Error> {
    let mut metadata = target.metadata();
    let mut request = client
        .request(Method::POST, routes::TUS)?
        .header(VERSION.0, VERSION.1)
        .header("Idempotency-Key", once);
    if let Some(lane) = lane {
        let hints = [
            ("lane-of", lane.group.to_owned()),
            ("lane-start", lane.start.to_string()),
            ("lane-total", lane.total.to_string()),
        ];
        for (name, value) in hints {
            let _ = write!(metadata, ",{name} {}", STANDARD.encode(value));
        }
        request = request.header("Upload-Concat", "partial");
    }
    request = request.header("Upload-Metadata", metadata);
    Ok(match length {
        Some(length) => request.header("Upload-Length", length),
        None => request.header("Upload-Defer-Length", 1),
    })
}

fn begun(client: &Client, response: &Response) -> Result<Begun, Error> {
    Ok(Begun {
        url: location(client, response)?,
        offset: number(response, "Upload-Offset").unwrap_or(0),
        body_bytes_max: body_bytes_max(response),
    })
}

/// The largest body that the node asks for (`Upload-Limit` of the IETF's resumable uploads, which it sends with answers of tus as well).
fn body_bytes_max(response: &Response) -> Option<u64> {
    let limits = response.headers().get("Upload-Limit")?.to_str().ok()?;
    let terms = limits.split(',').filter_map(|term| term.split_once('='));
    let mut sizes = terms.filter(|(name, _)| name.trim() == "max-append-size");
    let (_, size) = sizes.next()?;
    size.trim().parse().ok().filter(|size| *size > 0)
}

/// Makes the object of partial uploads (concatenation extension): at once when all of them are whole, otherwise with the last byte of the last one. A repeated call finds what the first one made. Returns its address.
pub(super) async fn join(client: &Client, target: &Target, urls: &[&str]) -> Result<String, Error> {
    let request = client
        .patient_request(Method::POST, routes::TUS)?
        .header(VERSION.0, VERSION.1)
        .header("Upload-Metadata", target.metadata())
        .header("Upload-Concat", format!("final;{}", urls.join(" ")))
        .header(CONTENT_LENGTH, 0)
        .timeout(ANSWER);
    location(client, &client.send(request).await?)
}

fn location(client: &Client, response: &Response) -> Result<String, Error> {
    let location = response.headers().get(LOCATION);
    let location = location.and_then(|l| l.to_str().ok());
    location.map(str::to_owned).ok_or_else(|| Error::NotNebula {
        url: client.origin(),
        reason: "it began an upload without saying where".into(),
    })
}

/// Asks how far an upload of this length is, and which largest body the node asks for.
pub(super) async fn offset(
    client: &Client,
    url: &str,
    length: Option<u64>,
) -> Result<(Offset, Option<u64>), Error> {
    let request = client
        .request(Method::HEAD, url)?
        .header(VERSION.0, VERSION.1);
    match client.send(request).await {
        Ok(response) => {
            let most = body_bytes_max(&response);
            let declared = number(&response, "Upload-Length");
            if declared.is_some_and(|declared| length.is_some_and(|length| declared != length)) {
                return Ok((Offset::Gone, most));
            }
            let offset = upload_offset(client, &response)?;
            if length.is_none_or(|length| offset <= length) {
                Ok((Offset::At(offset), most))
            } else {
                Ok((Offset::Gone, most))
            }
        }
        Err(e) if is_gone(&e) => Ok((Offset::Gone, None)),
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

fn patch_request(client: &Client, url: &str, offset: u64) -> Result<RequestBuilder, Error> {
    let request = client.patient_request(Method::PATCH, url)?;
    Ok(request
        .header(VERSION.0, VERSION.1)
        .header("Upload-Offset", offset)
        .header(CONTENT_TYPE, PIECE))
}

/// Where a piece comes from and what it is counted in.
pub(super) struct Piece<'a> {
    pub(super) source: &'a Source,
    pub(super) notes: &'a Notes,
    /// Where in the source it lies.
    pub(super) stretch: Range<u64>,
    /// Counts every byte that the network took.
    pub(super) wire: &'a Taken,
    /// A body of which the network takes nothing for this long is given up and asked about.
    pub(super) stall: Duration,
}

/// Sends one piece at an upload's `offset`; `taken` counts it on its way. Returns the node's new offset.
pub(super) async fn patch(
    client: &Client,
    url: &str,
    offset: u64,
    piece: &Piece<'_>,
    taken: &Taken,
) -> Result<u64, Error> {
    let length = piece.stretch.end - piece.stretch.start;
    let request = patch_request(client, url, offset)?;
    let answer = send_piece(client, request, piece, taken).await?;
    advanced(client, &answer, offset, length)
}

/// Sends a request with a piece as its body.
async fn send_piece(
    client: &Client,
    request: RequestBuilder,
    piece: &Piece<'_>,
    taken: &Taken,
) -> Result<Response, Error> {
    let length = piece.stretch.end - piece.stretch.start;
    let counts = [piece.wire.clone(), taken.clone()];
    let (stream, failure) = body(piece.source, piece.notes, piece.stretch.clone(), counts);
    let request = request
        .header(CONTENT_LENGTH, length)
        .body(Body::wrap_stream(stream));
    let result = watched(client, client.send(request), taken, length, piece.stall).await;
    if result.is_err() {
        // A source that failed shows as a broken body; say what it was.
        if let Some(why) = failure.take() {
            return Err(why);
        }
        piece.source.check_unchanged().await?;
    }
    result
}

/// Sends one piece out of memory at an upload's `offset`, which may be its last: then `length` is that of the whole. Returns the node's new offset.
pub(super) async fn patch_bytes(
    client: &Client,
    url: &str,
    offset: u64,
    content: bytes::Bytes,
    length: Option<u64>,
) -> Result<u64, Error> {
    let size = content.len() as u64;
    let mut request = patch_request(client, url, offset)?
        .timeout(ANSWER)
        .body(content);
    if let Some(length) = length {
        request = request.header("Upload-Length", length);
    }
    advanced(client, &client.send(request).await?, offset, size)
}

/// Waits for the answer as long as the body moves.
async fn watched<T>(
    client: &Client,
    answer: impl Future<Output = Result<T, Error>>,
    taken: &Taken,
    length: u64,
    stall: Duration,
) -> Result<T, Error> {
    tokio::pin!(answer);
    let mut tick = interval(LOOK);
    let mut seen = (taken.bytes(), Instant::now());
    let end = seen.0 + length;
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            _ = tick.tick() => {
                let now = taken.bytes();
                let patience = if now >= end { ANSWER } else { stall };
                if now > seen.0 {
                    seen = (now, Instant::now());
                } else if seen.1.elapsed() > patience {
                    return Err(Error::Unreachable {
                        url: client.origin(),
                        reason: format!("it took nothing for {} s", patience.as_secs()),
                    });
                }
            }
        }
    }
}

/// A node that goes backwards or beyond would have us loop or skip.
fn advanced(client: &Client, response: &Response, offset: u64, length: u64) -> Result<u64, Error> {
    let new = upload_offset(client, response)?;
    if new >= offset && new <= offset + length && (new > offset || length == 0) {
        Ok(new)
    } else {
        Err(Error::Unreachable {
            url: client.origin(),
            reason: format!("it took nothing of {length} bytes"),
        })
    }
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
