//! Playlists, init segments and segments.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http_body_util::Full;
use nebula_api::KnownBy;

use super::Door;
use super::access::{Visit, media_problem, no_such_part, not_playable};
use super::arriving_film::{self, Sorted};
use super::body::SegmentBody;
use super::extras;
use crate::http::{Problem, Representation, serve_object};
use crate::identity::Caller;
use crate::kernel::{ContentId, ETag};
use crate::media::decide::decide;
use crate::media::{Asked, Extra, Film, Leaf, Look, Master, content_tag, texts};
use crate::store::{Bypass, Object, StoreError};

/// How long a player waits for a film that is being looked at.
const PATIENCE: Duration = Duration::from_secs(10);
pub(super) const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const MANIFEST: &str = "application/dash+xml";
pub(super) const PICTURE: &str = "video/mp4";
pub(super) const SOUND: &str = "audio/mp4";
/// What the address names by its content never changes.
pub(super) const FOR_EVER: HeaderValue =
    HeaderValue::from_static("private, max-age=31536000, immutable");
/// What a master playlist depends on beside its address.
const BY_PLAYER: HeaderValue = HeaderValue::from_static("User-Agent, Nebula-Player");
pub(super) const ASK_AGAIN: HeaderValue = HeaderValue::from_static("private, no-cache");

pub(super) async fn by_name(
    State(door): State<Door>,
    caller: Caller,
    request: Request,
) -> Response {
    answer(&door, Ok(Visit::by_name(request, caller, "/-/hls/"))).await
}

pub(super) async fn by_link(State(door): State<Door>, request: Request) -> Response {
    answer(&door, Visit::by_link(request, "hls/").await).await
}

async fn answer(door: &Door, visit: Result<Visit, Problem>) -> Response {
    match visit {
        Err(problem) => problem.into_response(),
        Ok(visit) => {
            let outcome = serve(door, &visit).await;
            Visit::answer(&visit.parts, &visit.caller, outcome)
        }
    }
}

async fn serve(door: &Door, visit: &Visit) -> Result<Response, Problem> {
    // From the right: a key may hold anything, `/master.m3u8` included.
    let (raw, name) = visit.rest.rsplit_once('/').ok_or_else(no_such_part)?;
    if let Some(extra) = Extra::parse(name) {
        let object = visit.object(door.media.store(), raw).await?;
        return Box::pin(extras::serve(door, visit, &object, &extra)).await;
    }
    let found = visit.find(door.media.store(), raw).await?;
    let leaf = Leaf::parse(name).ok_or_else(no_such_part)?;
    let (object, began_as) = match arriving_film::sort(door, visit, raw, found, &leaf).await? {
        Sorted::Film(object, began_as) => (object, began_as),
        Sorted::Arriving(arriving) => {
            return Box::pin(arriving_film::serve(door, visit, &arriving, &leaf)).await;
        }
    };
    if matches!(leaf, Leaf::Master | Leaf::Manifest) {
        let mut answer = Box::pin(master(door, visit, &object, &leaf)).await?;
        answer.headers_mut().append(header::VARY, BY_PLAYER);
        return Ok(answer);
    }
    let tag = content_tag(object.content_id);
    let lasting = match visit.query("c") {
        Some(asked) if asked == tag => FOR_EVER,
        Some(_) if began_as.is_some() => ASK_AGAIN,
        // The object was replaced under the player's feet: other samples would be nonsense to it.
        Some(_) => return Err(no_such_part()),
        None => ASK_AGAIN,
    };
    let film = door
        .media
        .film(object.content_id)
        .await
        .map_err(media_problem)?
        .ok_or_else(no_such_part)?;
    let part = Part {
        door,
        visit,
        object: &object,
        film: &film,
        began_as,
        lasting,
    };
    match &leaf {
        Leaf::Master | Leaf::Manifest => Err(no_such_part()),
        Leaf::Keys(stream) => {
            let track = film.stream(stream).ok_or_else(no_such_part)?;
            let text = film.key_playlist(track, object.content_id);
            let text = text.ok_or_else(no_such_part)?;
            text_answer(visit, &object, text, PLAYLIST, part.lasting).await
        }
        Leaf::Playlist(stream) => part.playlist(stream).await,
        Leaf::Init(stream, number) => part.init(&leaf, stream, *number).await,
        Leaf::Segment(stream, number) => {
            let answer = part.segment(&leaf, stream, *number).await?;
            let source = match film.stream(stream) {
                Some(_) => "original",
                None => "rendition",
            };
            visit.count_segment(source, &answer);
            let start_ms = film.timeline.as_ref().map_or(0.0, |timeline| {
                timeline.start_s((*number as usize).min(timeline.segments())) * 1000.0
            });
            let asked = Asked::Segment(stream.clone(), part.is_sound(stream), start_ms as u64);
            visit.note(&door.media, &object, asked, &answer);
            Ok(answer)
        }
    }
}

async fn master(
    door: &Door,
    visit: &Visit,
    object: &Object,
    leaf: &Leaf,
) -> Result<Response, Problem> {
    let media = &door.media;
    let client = visit.client()?;
    let film = match media
        .await_film(object, PATIENCE)
        .await
        .map_err(media_problem)?
    {
        Look::Ready(film) => film,
        Look::Failed(reason) => return Err(not_playable(&reason)),
        Look::Indexing | Look::Unknown => {
            return Err(Problem::unavailable("The film is being looked at.").retry_after_s(1));
        }
    };
    media
        .make_again(object, &film)
        .await
        .map_err(media_problem)?;
    let mut renditions = media
        .renditions(object.content_id)
        .await
        .map_err(media_problem)?;
    let streams = extras::texts(door, visit, object, &film).await?;
    renditions.texts = texts::entries(&streams, object.content_id);
    let coming = media.more_coming(&film, &renditions);
    let decision = decide(&client, &film, &renditions, coming);
    let content = object.content_id;
    let (answer, kind) = match leaf {
        Leaf::Manifest => {
            let answer = film.manifest(&renditions, content, coming, &decision);
            (answer, MANIFEST)
        }
        _ => {
            let answer = film.master(&renditions, content, coming, &decision);
            (answer, PLAYLIST)
        }
    };
    match answer {
        Master::Text(text) => {
            let answer = text_answer(visit, object, text, kind, ASK_AGAIN).await?;
            visit.note(media, object, Asked::Master(Arc::new(client)), &answer);
            Ok(answer)
        }
        Master::Preparing => {
            Err(Problem::unavailable("The film is being made playable.").retry_after_s(5))
        }
        Master::Nothing if client.known_by == KnownBy::Stated => Err(not_playable(&format!(
            "Nothing that there is of it is for this player: {}.",
            decision.reason
        ))),
        Master::Nothing => Err(not_playable(
            "No player takes what is in it, and nothing could be made of it.",
        )),
    }
}

/// One file beside the master playlist.
struct Part<'a> {
    door: &'a Door,
    visit: &'a Visit,
    object: &'a Object,
    film: &'a Film,
    /// What stood for the content when the player began, before the upload had ended.
    began_as: Option<ContentId>,
    lasting: HeaderValue,
}

impl Part<'_> {
    async fn playlist(&self, stream: &str) -> Result<Response, Problem> {
        let content = self.object.content_id;
        let text = if let Some(track) = self.film.stream(stream) {
            match self.began_as {
                Some(names) => self.film.growing_playlist(track, names, usize::MAX, true),
                None => self.film.copied_playlist(track, content),
            }
        } else {
            let whole = self.door.media.rendition(content, stream).await;
            let Some(whole) = whole.map_err(media_problem)? else {
                return Err(self.absent(stream).await);
            };
            self.film.rendition_playlist(&whole, content)
        };
        text_answer(
            self.visit,
            self.object,
            text,
            PLAYLIST,
            self.lasting.clone(),
        )
        .await
    }

    async fn init(&self, leaf: &Leaf, stream: &str, number: u32) -> Result<Response, Problem> {
        let bytes = match self.film.stream(stream) {
            Some(track) if number == 0 => self.film.init(track),
            Some(_) => return Err(no_such_part()),
            None => {
                let media = &self.door.media;
                let init = media
                    .rendition_init(self.object.content_id, stream, number)
                    .await;
                match init.map_err(media_problem)? {
                    Some(bytes) => bytes,
                    None => return Err(self.absent(stream).await),
                }
            }
        };
        let made_from = blake3::hash(&bytes).to_string();
        let about = self.about(leaf, bytes.len() as u64, stream, &made_from);
        self.whole(&about, bytes.into()).await
    }

    async fn segment(&self, leaf: &Leaf, stream: &str, number: u32) -> Result<Response, Problem> {
        let (store, object) = (self.door.media.store(), self.object);
        let (method, headers) = (&self.visit.parts.method, &self.visit.parts.headers);
        if let Some(track) = self.film.stream(stream) {
            let packaged = &self.film.segment(track, number).ok_or_else(no_such_part)?;
            let about = self.about(leaf, packaged.size_bytes, stream, "");
            let bypass = self.visit.parts.extensions.get::<Bypass>();
            return serve_object(method, headers, &about, |range| async move {
                let reader = store.reader(object).await.map_err(Problem::from)?;
                for span in packaged.spans() {
                    reader.check(span).map_err(Problem::from)?;
                }
                Ok(SegmentBody::new(packaged, reader, range, bypass))
            })
            .await;
        }
        let row = self
            .door
            .media
            .rendition_segment(object.content_id, stream, number)
            .await;
        let Some(row) = &row.map_err(media_problem)? else {
            return Err(self.absent(stream).await);
        };
        let blob = row
            .blob()
            .map_err(|error| Problem::from(StoreError::from(error)))?;
        let size_bytes = row.size_bytes.max(0) as u64;
        let bypass = self.visit.parts.extensions.get::<Bypass>();
        let about = self.about(leaf, size_bytes, stream, &blob.to_string());
        serve_object(method, headers, &about, |range| async move {
            let reader = store.segment_reader(object.content_id, row).await;
            let reader = reader.map_err(Problem::from)?;
            reader.check(range.clone()).map_err(Problem::from)?;
            Ok(reader.body(range).past(bypass))
        })
        .await
    }

    /// What to say where a rendition was: its address stays valid, so a player in mid-play asks again when it was evicted.
    async fn absent(&self, stream: &str) -> Problem {
        let media = &self.door.media;
        let coming = match media.make_again(self.object, self.film).await {
            // Another viewer, or an earlier question, had it begun.
            Ok(false) => media.is_coming(self.object.content_id, stream).await,
            asked => asked,
        };
        match coming {
            Ok(true) => {
                Problem::unavailable("This rendition is being made again.").retry_after_s(5)
            }
            Ok(false) => no_such_part(),
            Err(error) => media_problem(error),
        }
    }

    fn is_sound(&self, stream: &str) -> bool {
        stream.starts_with("audio-") || self.film.is_sound(stream)
    }

    /// `made_from` tells what was encoded again from what it replaced: an encoder seldom writes the same bytes twice.
    fn about(&self, leaf: &Leaf, size_bytes: u64, stream: &str, made_from: &str) -> Representation {
        let kind = if self.is_sound(stream) {
            SOUND
        } else {
            PICTURE
        };
        let name = format!("{}/{}/{made_from}", self.object.content_id, leaf.name());
        let etag = ETag::from_content(blake3::hash(name.as_bytes()).as_bytes());
        let mut about = Representation::new(size_bytes, etag, self.object.modified_ms, kind);
        about
            .headers
            .insert(header::CACHE_CONTROL, self.lasting.clone());
        about
    }

    async fn whole(&self, about: &Representation, bytes: Bytes) -> Result<Response, Problem> {
        let (method, headers) = (&self.visit.parts.method, &self.visit.parts.headers);
        serve_bytes(method, headers, about, bytes).await
    }
}

async fn text_answer(
    visit: &Visit,
    object: &Object,
    text: String,
    kind: &'static str,
    lasting: HeaderValue,
) -> Result<Response, Problem> {
    let etag = ETag::from_content(blake3::hash(text.as_bytes()).as_bytes());
    // A playlist changes without its object, when a rung appears: the tag tells, the object's date does not.
    let mut about = Representation::new(text.len() as u64, etag, object.modified_ms, kind);
    about.headers.insert(header::CACHE_CONTROL, lasting);
    let mut response = serve_bytes(
        &visit.parts.method,
        &visit.parts.headers,
        &about,
        text.into(),
    )
    .await?;
    response.headers_mut().remove(header::LAST_MODIFIED);
    Ok(response)
}

pub(super) async fn serve_bytes(
    method: &axum::http::Method,
    headers: &axum::http::HeaderMap,
    about: &Representation,
    bytes: Bytes,
) -> Result<Response, Problem> {
    serve_object(method, headers, about, |range| {
        let part = bytes.slice(range.start as usize..range.end as usize);
        async move { Ok(Full::new(part)) }
    })
    .await
}
