//! Server-sent events: the outbox, from where a client stopped reading.

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{KeepAlive, Sse};
use futures::Stream;
use nebula_api::{Event, EventBody, EventsQuery, Job, ObjectRef};

use super::{AdminParts, Query};
use crate::catalog::{EventKind, EventRow};
use crate::http::{Problem, require};
use crate::identity::{Action, Caller, Resource};
use crate::kernel::{BucketName, UploadId};

/// Events read from the log at a time.
const BATCH: i64 = 256;
/// How long a change of another daemon on the same catalog may wait to be seen.
const POLL: Duration = Duration::from_secs(1);
/// How often the progress of uploads is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// How often an idle stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

type SseEvent = Result<axum::response::sse::Event, Infallible>;

pub(super) async fn stream(
    State(parts): State<AdminParts>,
    caller: Caller,
    headers: HeaderMap,
    Query(query): Query<EventsQuery>,
) -> Result<Sse<impl Stream<Item = SseEvent>>, Problem> {
    require(&caller, Action::ReadEvents, &Resource::Node)?;
    let last = headers
        .get("last-event-id")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<i64>().ok());
    let start = match last.or(query
        .after
        .map(|after| i64::try_from(after).unwrap_or(i64::MAX)))
    {
        Some(seq) => seq,
        None => parts.store.catalog().last_event().await?,
    };
    let follow = Follow {
        changes: parts.store.changes(),
        progress: Instant::now(),
        told: HashMap::new(),
        parts,
        caller,
        seq: start,
        ready: Vec::new(),
    };
    let stream = futures::stream::unfold(follow, |mut follow| async move {
        follow.next().await.map(|event| (event, follow))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// One reader of the log.
struct Follow {
    parts: AdminParts,
    caller: Caller,
    changes: tokio::sync::watch::Receiver<u64>,
    seq: i64,
    /// Read and not yet told, newest first.
    ready: Vec<axum::response::sse::Event>,
    /// When the uploads were last looked at.
    progress: Instant,
    /// How far each was then.
    told: HashMap<UploadId, u64>,
}

impl Follow {
    /// The next event that the caller may see; `None` ends the stream when the daemon drains or the log cannot be read.
    async fn next(&mut self) -> Option<SseEvent> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Some(Ok(event));
            }
            self.changes.mark_unchanged();
            let rows = match self
                .parts
                .store
                .catalog()
                .events_after(self.seq, BATCH)
                .await
            {
                Ok(rows) => rows,
                Err(error) => {
                    // The client comes back by itself and goes on behind the last event it saw.
                    tracing::warn!(%error, "an event stream ends: {error}");
                    return None;
                }
            };
            if let Some(last) = rows.last() {
                self.seq = last.seq;
                self.ready = rows
                    .iter()
                    .rev()
                    .filter_map(|row| tell(&self.caller, row))
                    .collect();
                continue;
            }
            if self.progress.elapsed() >= PROGRESS_EVERY {
                self.progress = Instant::now();
                self.ready = self.moved();
                if !self.ready.is_empty() {
                    continue;
                }
            }
            tokio::select! {
                () = self.parts.drain.cancelled() => return None,
                changed = self.changes.changed() => changed.ok()?,
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }
}

impl Follow {
    /// The uploads that got on since they were last told of.
    fn moved(&mut self) -> Vec<axum::response::sse::Event> {
        let live = self.parts.store.live_uploads();
        let before = std::mem::take(&mut self.told);
        let at_ms = self.parts.store.clock().now_ms();
        let owner = self.caller.actor().to_string();
        let mut events = Vec::new();
        for upload in live {
            let resource = Resource::Object(&upload.bucket, &upload.key);
            let is_seen =
                upload.owner == owner || self.caller.may(Action::ListObjects, &resource).allow;
            if !is_seen {
                continue;
            }
            self.told.insert(upload.id, upload.offset);
            if before.get(&upload.id) == Some(&upload.offset) {
                continue;
            }
            let body = EventBody::UploadProgress {
                upload: upload.id.to_string(),
                object: ObjectRef {
                    bucket: upload.bucket.to_string(),
                    key: upload.key.to_string(),
                    version: None,
                },
                offset_bytes: upload.offset,
                size_bytes: upload.length,
                bytes_per_s: upload.bytes_per_s,
            };
            let sse = axum::response::sse::Event::default().event(body.name());
            let event = Event {
                seq: self.seq.max(0).unsigned_abs(),
                at_ms,
                body,
            };
            // Without an id: a reader that comes back goes on in the log where it was.
            events.extend(sse.json_data(&event));
        }
        events
    }
}

fn tell(caller: &Caller, row: &EventRow) -> Option<axum::response::sse::Event> {
    let body = body(row)?;
    let decision = match body.bucket() {
        Some(bucket) => {
            let bucket: BucketName = bucket.parse().ok()?;
            let key = row.key.as_deref().map(String::from_utf8_lossy);
            match key.and_then(|key| key.parse().ok()) {
                Some(key) => caller.may(Action::ListObjects, &Resource::Object(&bucket, &key)),
                None => caller.may(Action::ListObjects, &Resource::Bucket(&bucket)),
            }
        }
        // A job of no object is the node's own.
        None => caller.may(Action::ReadJobs, &Resource::Node),
    };
    if !decision.allow {
        return None;
    }
    let name = body.name();
    let event = Event {
        seq: row.seq as u64,
        at_ms: row.time_ms,
        body,
    };
    let sse = axum::response::sse::Event::default()
        .id(row.seq.to_string())
        .event(name);
    sse.json_data(&event).ok()
}

/// The wire form of a row; a kind that this version does not know is passed over.
fn body(row: &EventRow) -> Option<EventBody> {
    let payload: serde_json::Value = serde_json::from_str(&row.payload).ok()?;
    let bucket = || row.bucket.clone().unwrap_or_default();
    let text = |name: &str| {
        payload
            .get(name)
            .and_then(|value| value.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let object = || ObjectRef {
        bucket: bucket(),
        key: row
            .key
            .as_deref()
            .map(String::from_utf8_lossy)
            .unwrap_or_default()
            .into_owned(),
        version: row.version_id.clone().filter(|version| version != "null"),
    };
    Some(match EventKind::parse(&row.kind)? {
        // For webhooks alone.
        EventKind::NotificationTest => return None,
        EventKind::BucketCreated => EventBody::BucketCreated { bucket: bucket() },
        EventKind::BucketDeleted => EventBody::BucketDeleted { bucket: bucket() },
        EventKind::ObjectCreated => EventBody::ObjectCreated {
            object: object(),
            size_bytes: payload
                .get("size_bytes")
                .and_then(serde_json::Value::as_u64)
                .unwrap_or(0),
            etag: text("etag"),
        },
        EventKind::ObjectDeleted => EventBody::ObjectDeleted { object: object() },
        EventKind::ObjectDamaged => EventBody::ObjectDamaged {
            object: object(),
            reason: text("reason"),
        },
        EventKind::AssetReady => EventBody::AssetReady { object: object() },
        EventKind::AssetFailed => EventBody::AssetFailed {
            object: object(),
            reason: text("reason"),
        },
        EventKind::RenditionReady => EventBody::RenditionReady {
            object: object(),
            rendition: text("rendition"),
        },
        EventKind::JobChanged => EventBody::JobChanged {
            job: Box::new(job(row, &payload)?),
        },
    })
}

/// A job as its event tells it: what the payload leaves out is asked of the job itself.
fn job(row: &EventRow, payload: &serde_json::Value) -> Option<Job> {
    let mut job = payload.clone();
    let members = job.as_object_mut()?;
    for (name, value) in [
        ("attempt", 0),
        ("max_attempts", 0),
        ("created_at_ms", row.time_ms),
        ("updated_at_ms", row.time_ms),
    ] {
        members.entry(name).or_insert(value.into());
    }
    members.entry("progress").or_insert(0.0.into());
    serde_json::from_value(job).ok()
}
