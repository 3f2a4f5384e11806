//! PATCH: bytes at the offset where the upload stands.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{Extensions, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::checksum::Check;
use super::headers::{OFFSET_STREAM, bytes, http_date, is_offset_stream};
use super::inspect::find;
use super::rights::Sender;
use super::{Door, problem};
use crate::catalog::UploadRole;
use crate::http::{Problem, identity_of};
use crate::identity::{Action, Caller, Outcome, Resource};
use crate::kernel::UploadId;
use crate::store::{StoreError, Upload, UploadSession};

/// Within a long PATCH the offset is made durable after this many bytes …
const CHECKPOINT_BYTES: u64 = 64 * 1024 * 1024;
/// … or after this long, whichever comes first.
const CHECKPOINT_AFTER: Duration = Duration::from_secs(1);

/// When nothing has come for this long, what has come is written, be it little.
const NUDGE_AFTER: Duration = Duration::from_millis(10);

/// What became of a body.
pub(super) enum Taken {
    /// More is to come.
    Part {
        /// Durable bytes.
        offset: u64,
    },
    /// The upload has become its object.
    Whole {
        /// All bytes.
        offset: u64,
        /// The object's entity tag, without quotes.
        etag: String,
    },
    /// They are not those of their checksum, and none was kept; or all are kept and their sender may not make an object of them.
    Refused(Problem),
}

/// Where an upload ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// At its declared length.
    AtLength,
    /// Behind this body, which must reach the declared length, if one was declared.
    Here,
    /// Not with this body.
    Open,
}

/// Takes the right to append.
pub(super) async fn begin(
    door: &Door,
    id: UploadId,
    offset: u64,
    is_checked: bool,
) -> Result<UploadSession, StoreError> {
    let idle_ms = Some(door.options.idle_ms);
    if is_checked {
        door.store.append_unverified(id, offset, idle_ms).await
    } else {
        door.store.append(id, offset, idle_ms).await
    }
}

pub(super) async fn patch(State(door): State<Door>, request: Request) -> Result<Response, Problem> {
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &()).await?;
    if !is_offset_stream(&parts.headers) {
        return Err(problem::content_type(OFFSET_STREAM));
    }
    let offset = bytes(&parts.headers, "upload-offset")?;
    let offset = offset.ok_or_else(|| Problem::invalid("The header Upload-Offset is needed."))?;
    let length = bytes(&parts.headers, "upload-length")?;
    let identity = identity_of(&parts.extensions)?;
    let upload = find(&door, &identity, &caller, parts.uri.path()).await?;
    if upload.role == UploadRole::Final {
        return Err(problem::is_final());
    }
    let check = Check::of(&parts.headers)?;
    if upload.is_complete {
        return finished(offset, upload.offset);
    }
    if let Some(length) = length {
        if length > door.options.size_max {
            return Err(problem::too_large(door.options.size_max));
        }
        if length < upload.offset {
            return Err(Problem::invalid(format!(
                "Upload-Length is {length}, below the {} bytes received.",
                upload.offset
            )));
        }
        if upload.length.is_some_and(|known| known != length) {
            return Err(StoreError::LengthKnown.into());
        }
        if upload.length.is_none() && offset == upload.offset {
            door.store.set_upload_length(upload.id, length).await?;
        }
    }
    // Refused before the body is read: what cannot fit, and what is not at the offset.
    let total = length.or(upload.length).unwrap_or(door.options.size_max);
    let announced = bytes(&parts.headers, "content-length")?.unwrap_or(0);
    if offset.saturating_add(announced) > total {
        if offset != upload.offset {
            // A client that is wrong about the offset shall hear that: its size follows from it.
            door.store.append(upload.id, offset, None).await?;
        }
        return Err(problem::too_large(total));
    }
    let session = begin(&door, upload.id, offset, check.is_some()).await?;
    let sender = Sender::of(&parts)?;
    let taken = take(
        &door,
        session,
        &sender,
        &upload,
        Some(body),
        check,
        End::AtLength,
    );
    let (offset, expires_ms) = match taken.await? {
        Taken::Part { offset } => (
            offset,
            Some(door.store.clock().now_ms() + door.options.idle_ms),
        ),
        Taken::Whole { offset, .. } => {
            note_stored(&parts.extensions, &caller, &upload).await?;
            (offset, None)
        }
        Taken::Refused(problem) => return Err(problem),
    };
    let mut response = StatusCode::NO_CONTENT.into_response();
    response
        .headers_mut()
        .insert("upload-offset", offset.into());
    if let Some(date) = expires_ms.and_then(http_date) {
        response.headers_mut().insert("upload-expires", date);
    }
    Ok(response)
}

/// The audit is told of an upload's bytes once, when they have become the object.
pub(super) async fn note_stored(
    extensions: &Extensions,
    caller: &Caller,
    upload: &Upload,
) -> Result<(), Problem> {
    let resource = Resource::Object(&upload.bucket, &upload.key);
    let identity = identity_of(extensions)?;
    let action = Action::WriteObject;
    let rule = identity.decide(caller, action, &resource).await?.rule;
    identity
        .audit(caller, action, &resource, Outcome::Done, &rule)
        .await;
    Ok(())
}

/// A repeated last PATCH, whose answer was lost, learns that all is there.
fn finished(offset: u64, size: u64) -> Result<Response, Problem> {
    if offset != size {
        return Err(StoreError::OffsetConflict {
            current: size,
            given: offset,
        }
        .into());
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    response
        .headers_mut()
        .insert("upload-offset", HeaderValue::from(size));
    Ok(response)
}

/// Reads a body into a session until it ends, breaks off, or a newer request takes the upload over.
///
/// Before the last byte makes an object, the sender is asked for the right to it once more.
///
/// # Errors
/// [`StoreError::UploadTakenOver`]; [`StoreError::Body`] after a body that broke off. Either way every received byte is durable first.
pub(super) async fn take(
    door: &Door,
    mut session: UploadSession,
    sender: &Sender,
    upload: &Upload,
    body: Option<Body>,
    mut check: Option<Check>,
    end: End,
) -> Result<Taken, StoreError> {
    let mut taken_over = std::pin::pin!(session.taken_over());
    let mut synced = (session.offset(), Instant::now());
    let mut trailers = None;
    if let Some(mut body) = body {
        let mut is_nudged = true;
        loop {
            let frame = tokio::select! {
                biased;
                () = &mut taken_over => {
                    session.release().await?;
                    return Err(StoreError::UploadTakenOver);
                }
                () = door.options.cut.cancelled() => {
                    session.release().await?;
                    return Err(StoreError::Unavailable("the daemon is stopping".into()));
                }
                frame = body.frame() => frame,
                () = tokio::time::sleep(NUDGE_AFTER), if !is_nudged => {
                    // What has come shall outlive a crash, and be seen by who reads along.
                    session.nudge();
                    is_nudged = true;
                    continue;
                }
            };
            is_nudged = false;
            match frame {
                None => break,
                Some(Ok(frame)) => {
                    let bytes = match frame.into_data() {
                        Ok(bytes) => bytes,
                        Err(frame) => {
                            trailers = frame.into_trailers().ok();
                            continue;
                        }
                    };
                    if let Some(check) = &mut check {
                        check.update(&bytes);
                    }
                    if let Err(error) = session.write(bytes).await {
                        session.release().await?;
                        return Err(error);
                    }
                }
                Some(Err(error)) => {
                    session.release().await?;
                    return Err(StoreError::Body(error.to_string()));
                }
            }
            let is_due = session.offset() - synced.0 >= CHECKPOINT_BYTES
                || synced.1.elapsed() >= CHECKPOINT_AFTER;
            // What is checked counts all or not at all: nothing of it is made durable half-way.
            if is_due && check.is_none() {
                synced = (session.checkpoint().await?, Instant::now());
            }
        }
    }
    if let Some(check) = check {
        if let Err(problem) = check.verify(trailers.as_ref()) {
            session.release().await?;
            return Ok(Taken::Refused(problem));
        }
        session.verified().await?;
    }
    let is_whole = match end {
        End::AtLength => session.is_complete(),
        End::Open => false,
        End::Here => match session.end_here().await {
            Ok(()) => true,
            Err(error) => {
                // What came is kept: the client may go on from there.
                session.release().await?;
                return Err(error);
            }
        },
    };
    if is_whole && let Err(refusal) = sender.still_may(upload).await {
        session.release().await?;
        return Ok(Taken::Refused(refusal));
    }
    if is_whole && session.role() == UploadRole::Partial {
        let (store, sender, id) = (door.store.clone(), sender.clone(), upload.id);
        let end = async move {
            let offset = session.seal().await?;
            Ok(match sender.end_finals(&store, id).await {
                Ok(()) => Taken::Part { offset },
                Err(problem) => Taken::Refused(problem),
            })
        };
        return door.store.to_its_end(end).await;
    }
    if is_whole {
        let published = session.finish().await?;
        return Ok(Taken::Whole {
            offset: published.object.size,
            etag: published.object.etag.as_str().to_owned(),
        });
    }
    Ok(Taken::Part {
        offset: session.release().await?,
    })
}
