//! From a request to an object that its caller may read.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use nebula_api::problem::code;

use crate::http::{
    Gate, PeerAddr, Problem, media_cors, path, require_here, stated_player, user_agent,
};
use crate::identity::{Action, Actor, Caller, Resource};
use crate::kernel::{BucketName, ObjectKey};
use crate::media::decide::Capabilities;
use crate::media::{Asked, Media, MediaError, ViewerKey};
use crate::store::{Arriving, Object, Store, StoreError};
use crate::telemetry::metrics as names;

/// A request by somebody, with what stands behind its prefix, still percent-encoded.
pub(super) struct Visit {
    pub(super) parts: Parts,
    pub(super) caller: Caller,
    pub(super) rest: String,
}

/// What a name leads to.
pub(super) enum Found {
    /// A finished object.
    Object(Arc<Object>),
    /// An upload that has not ended.
    Arriving(Arriving),
}

impl Visit {
    /// A request of a caller that the gate knows.
    pub(super) fn by_name(request: Request, caller: Caller, prefix: &str) -> Self {
        let (parts, _) = request.into_parts();
        let rest = path::behind(parts.uri.path(), prefix)
            .unwrap_or_default()
            .to_owned();
        Self {
            parts,
            caller,
            rest,
        }
    }

    /// A request with a signed link: `/-/link/{token}/{door}/…`. Whatever else the request carries gives no more rights.
    pub(super) async fn by_link(request: Request, door: &str) -> Result<Self, Problem> {
        let (parts, _) = request.into_parts();
        let behind = path::behind(parts.uri.path(), "/-/link/").unwrap_or_default();
        let (token, rest) = behind.split_once('/').ok_or_else(Problem::link_not_found)?;
        let rest = path::behind(rest, door)
            .ok_or_else(Problem::link_not_found)?
            .to_owned();
        let gate = gate(&parts)?;
        let caller = gate.link(token, PeerAddr::of(&parts.extensions)).await?;
        Ok(Self {
            parts,
            caller,
            rest,
        })
    }

    /// Answers with what `work` makes of it, with the headers that players of other origins need.
    pub(super) fn answer(
        parts: &Parts,
        caller: &Caller,
        outcome: Result<Response, Problem>,
    ) -> Response {
        let mut response = outcome.unwrap_or_else(Problem::into_response);
        if let Ok(gate) = gate(parts) {
            media_cors(gate, caller, &parts.headers, response.headers_mut());
        }
        response
    }

    /// Whether the caller may do something beside what was asked for.
    pub(super) async fn may(
        &self,
        action: Action,
        resource: &Resource<'_>,
    ) -> Result<bool, Problem> {
        let identity = gate(&self.parts)?.identity();
        let decision = identity.decide(&self.caller, action, resource).await?;
        Ok(decision.allow)
    }

    /// The object of this name, without its bytes, when the caller may read it.
    pub(super) async fn object(&self, store: &Store, raw: &str) -> Result<Arc<Object>, Problem> {
        let (bucket, key) = self.readable(raw).await?;
        store
            .look(&bucket, &key)
            .await
            .map_err(|error| self.problem(error, &bucket, &key))
    }

    /// The same, or the unfinished upload that becomes it: an object that is there goes before the upload that will replace it.
    pub(super) async fn find(&self, store: &Store, raw: &str) -> Result<Found, Problem> {
        let (bucket, key) = self.readable(raw).await?;
        let missing = match store.look(&bucket, &key).await {
            Ok(object) => return Ok(Found::Object(object)),
            Err(error @ (StoreError::NoSuchKey(_) | StoreError::DeleteMarker { .. })) => error,
            Err(error) => return Err(self.problem(error, &bucket, &key)),
        };
        match Box::pin(store.arriving(&bucket, &key)).await? {
            Some(arriving) => Ok(Found::Arriving(arriving)),
            // It may have ended between the two questions.
            None => match store.look(&bucket, &key).await {
                Ok(object) => Ok(Found::Object(object)),
                Err(_) => Err(self.problem(missing, &bucket, &key)),
            },
        }
    }

    /// Bucket and key that a path names, when the caller may read there.
    pub(super) async fn readable(&self, raw: &str) -> Result<(BucketName, ObjectKey), Problem> {
        let (bucket, key) = path::bucket_and_key(raw)?;
        let resource = Resource::Object(&bucket, &key);
        let identity = gate(&self.parts)?.identity();
        require_here(identity, &self.caller, Action::ReadObject, &resource).await?;
        Ok((bucket, key))
    }

    fn problem(&self, error: StoreError, bucket: &BucketName, key: &ObjectKey) -> Problem {
        match error {
            StoreError::NoSuchBucket(_)
            | StoreError::NoSuchKey(_)
            | StoreError::DeleteMarker { .. } => {
                if matches!(self.caller.actor(), Actor::Link { .. }) {
                    return Problem::link_not_found();
                }
                Problem::not_found(code::OBJECT_NOT_FOUND, "There is no such object.")
                    .detail(format!("{bucket} holds no object {key}."))
            }
            other => other.into(),
        }
    }

    /// Notes that a part of a film left for this caller.
    pub(super) fn note(&self, media: &Media, object: &Object, asked: Asked, answer: &Response) {
        if self.parts.method != Method::GET || !answer.status().is_success() {
            return;
        }
        let who = ViewerKey::new(
            self.caller.actor().to_string(),
            PeerAddr::of(&self.parts.extensions).map(|peer| peer.0.ip()),
            user_agent(&self.parts.headers),
            object.content_id,
        );
        let now_ms = media.store().clock().now_ms();
        media
            .viewers()
            .note(who, (&object.bucket, &object.key), asked, now_ms);
    }

    /// Counts a segment that is sent: of the object itself, or of what was made of it.
    pub(super) fn count_segment(&self, source: &'static str, answer: &Response) {
        if self.parts.method == Method::GET && answer.status().is_success() {
            metrics::counter!(names::MEDIA_SEGMENTS_TOTAL, "source" => source).increment(1);
        }
    }

    /// What the caller's player takes.
    pub(super) fn client(&self) -> Result<Capabilities, Problem> {
        let stated = stated_player(&self.parts)?;
        Capabilities::of(&stated, user_agent(&self.parts.headers)).map_err(Problem::invalid)
    }

    /// A parameter of the query, as sent.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let pairs = self.parts.uri.query()?.split('&');
        let mut pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

fn gate(parts: &Parts) -> Result<&Gate, Problem> {
    parts
        .extensions
        .get::<Gate>()
        .ok_or_else(|| Problem::internal("the router has no gate"))
}

pub(super) fn media_problem(error: MediaError) -> Problem {
    match error {
        MediaError::Store(error) => error.into(),
        MediaError::Damaged(_) => Problem::internal(error),
    }
}

/// 404 for an address beside a master playlist that leads nowhere (any more).
pub(super) fn no_such_part() -> Problem {
    Problem::not_found(code::ASSET_NOT_FOUND, "The film has no such part.")
        .detail("It was replaced, or its playlist is an old one.")
        .hint("Load the master playlist again.")
}

/// 422: looked at, and nothing to play.
pub(super) fn not_playable(reason: &str) -> Problem {
    Problem::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "not_playable",
        "This object cannot be played.",
    )
    .detail(reason)
    .hint("Its bytes can still be had under /-/file/.")
}
