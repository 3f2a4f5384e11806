//! A film that is played while it arrives: its playlists as far as they are known, its segments when their bytes are there.
//!
//! Addresses beside its master carry a stand-in for the content id.
//! They go on when the upload has become an object: the grid is the same, so a player in mid-play hears of the end and of nothing else.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::Full;
use tokio::time::Instant;

use super::Door;
use super::access::{Found, Visit, media_problem, no_such_part, not_playable};
use super::arriving::{NOT_KEPT, gone, known, no_tag};
use super::body::SegmentBody;
use super::hls::{PICTURE, PLAYLIST, SOUND};
use crate::http::{Problem, Representation};
use crate::kernel::ContentId;
use crate::media::{Film, FollowError, Following, Leaf, MediaError, View, content_tag};
use crate::store::{Arriving, Object};

/// How long a master playlist waits for something to play; players give up after 20 s.
const MASTER_PATIENCE: Duration = Duration::from_secs(15);
/// How long a playlist or a segment waits for the segment that a player asks for; players give up after 10 s.
const BLOCK_MAX: Duration = Duration::from_secs(6);

/// What answers for a film.
pub(super) enum Sorted {
    /// The object; with the stand-in of its upload where the player began before the end of that.
    Film(Arc<Object>, Option<ContentId>),
    /// An upload.
    Arriving(Arriving),
}

/// Who answers for a file of the film: what was found at its name, or the upload that a player's addresses name.
pub(super) async fn sort(
    door: &Door,
    visit: &Visit,
    raw: &str,
    found: Found,
    leaf: &Leaf,
) -> Result<Sorted, Problem> {
    let asked = visit
        .query("c")
        .filter(|_| !matches!(leaf, Leaf::Master | Leaf::Manifest));
    match (found, asked) {
        (Found::Arriving(arriving), Some(asked)) if asked != content_tag(arriving.stand_in()) => {
            let began_as = Box::pin(began_as(door, visit, raw, asked));
            began_as.await.map(Sorted::Arriving)
        }
        (Found::Arriving(arriving), _) => Ok(Sorted::Arriving(arriving)),
        (Found::Object(object), Some(asked)) if asked != content_tag(object.content_id) => {
            let arriving = Box::pin(began_as(door, visit, raw, asked)).await?;
            if !Box::pin(arriving.became(&object)).await? {
                return Ok(Sorted::Arriving(arriving));
            }
            let film = door.media.film(object.content_id).await;
            let followed = door.media.followed(&arriving);
            let goes_on =
                |film: &Arc<Film>| followed.is_none_or(|shorter| film.continues(&shorter));
            Ok(match film.map_err(media_problem)? {
                Some(film) if goes_on(&film) => Sorted::Film(object, Some(arriving.stand_in())),
                // Its index is still being made, or differs.
                _ => Sorted::Arriving(arriving),
            })
        }
        (Found::Object(object), _) => Ok(Sorted::Film(object, None)),
    }
}

/// The upload that a player's addresses name.
async fn began_as(door: &Door, visit: &Visit, raw: &str, asked: &str) -> Result<Arriving, Problem> {
    if asked.len() != content_tag(ContentId([0; 32])).len() {
        return Err(no_such_part());
    }
    let (bucket, key) = visit.readable(raw).await?;
    let store = door.media.store();
    let found = store.arriving_tagged(&bucket, &key, asked).await?;
    found.ok_or_else(no_such_part)
}

/// Answers for one file of a film that arrives.
pub(super) async fn serve(
    door: &Door,
    visit: &Visit,
    arriving: &Arriving,
    leaf: &Leaf,
) -> Result<Response, Problem> {
    if !crate::media::may_be_played(arriving.headers(), arriving.key()) {
        return Err(not_playable(
            "Neither its name nor its type is that of a film.",
        ));
    }
    let failed = |error| problem(arriving, error);
    let following = door.media.follow(arriving).map_err(failed)?;
    let mut part = Part {
        visit,
        arriving,
        following,
    };
    let answer = match leaf {
        Leaf::Master => part.master().await,
        Leaf::Playlist(stream) => part.playlist(stream).await,
        Leaf::Init(stream, 0) => part.init(stream).await,
        Leaf::Segment(stream, number) => part.segment(stream, *number).await,
        Leaf::Init(..) => Err(FollowError::NoSuchPart),
        _ => Err(FollowError::Failed(
            "until then there is master.m3u8 alone, without key pictures and renditions".into(),
        )),
    };
    answer.map_err(failed)?
}

fn problem(arriving: &Arriving, error: FollowError) -> Problem {
    let later = |title, detail: String, after_s| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_arrived", title)
            .detail(detail)
            .retry_after_s(after_s)
    };
    let title = "The film is being uploaded.";
    match error {
        FollowError::Store(error) => media_problem(MediaError::Store(error)),
        FollowError::Gone => gone(arriving),
        FollowError::NoSuchPart => no_such_part(),
        FollowError::TooLittle => {
            later(title, "Too little of it has arrived to play it.".into(), 1)
        }
        FollowError::NotListed => later(
            "This part of the film has not arrived yet.",
            format!("It did not come within {} s.", BLOCK_MAX.as_secs()),
            2,
        ),
        FollowError::Beyond(at) => {
            let detail = format!(
                "What describes it lies at byte {at}, which has not arrived: it plays as soon as that is there."
            );
            later(title, detail, 2).hint(
                "An mp4 made for streaming (ffmpeg -movflags +faststart) plays while it arrives.",
            )
        }
        other => {
            let detail = format!("It can be played when its upload has ended: {other}.");
            later(title, detail, 10)
        }
    }
}

/// The files beside a master playlist.
struct Part<'a> {
    visit: &'a Visit,
    arriving: &'a Arriving,
    following: Following,
}

/// An answer, or why there is none; problems of the request itself are answers too.
type Answer = Result<Result<Response, Problem>, FollowError>;

impl Part<'_> {
    async fn master(&mut self) -> Answer {
        let deadline = Instant::now() + MASTER_PATIENCE;
        let must_be_made = |view: &View| {
            let film = &view.film;
            film.growing_master(ContentId([0; 32])).is_none()
        };
        let enough = |view: &View| view.has_begun() || must_be_made(view);
        let view = self.following.until(deadline, enough).await?;
        if !view.has_begun() && !must_be_made(&view) {
            return Err(FollowError::TooLittle);
        }
        let master = view.film.growing_master(self.arriving.stand_in());
        let text = master.ok_or_else(|| {
            FollowError::Failed("its picture or its sound must be converted first".into())
        })?;
        Ok(self.bytes(text.into(), PLAYLIST).await)
    }

    async fn playlist(&mut self, stream: &str) -> Answer {
        // Blocking reload (RFC 8216bis §6.2.5.2): the entry of this number is wanted.
        let number = self.visit.query("_HLS_msn").and_then(|n| n.parse().ok());
        let number: usize = number.unwrap_or(0);
        let enough = |view: &View| {
            let track = view.film.stream(stream);
            track.is_some_and(|track| view.listed(track) > number || view.is_ended(track))
        };
        let view = self
            .following
            .until(Instant::now() + BLOCK_MAX, enough)
            .await?;
        let track = view.film.stream(stream).ok_or(FollowError::NoSuchPart)?;
        let (listed, has_ended) = (view.listed(track), view.is_ended(track));
        if listed == 0 {
            return Err(FollowError::TooLittle);
        }
        let names = self.arriving.stand_in();
        let text = view.film.growing_playlist(track, names, listed, has_ended);
        Ok(self.bytes(text.into(), PLAYLIST).await)
    }

    async fn init(&mut self, stream: &str) -> Answer {
        let enough = |view: &View| view.has_begun();
        let view = self
            .following
            .until(Instant::now() + BLOCK_MAX, enough)
            .await?;
        if !view.has_begun() {
            return Err(FollowError::TooLittle);
        }
        let track = view.film.stream(stream).ok_or(FollowError::NoSuchPart)?;
        let kind = kind(&view.film, stream);
        Ok(self.bytes(view.film.init(track).into(), kind).await)
    }

    async fn segment(&mut self, stream: &str, number: u32) -> Answer {
        let is_listed = |view: &View| {
            let track = view.film.stream(stream)?;
            let place = track.segments.iter().position(|one| one.number == number);
            match place {
                Some(place) => Some(view.listed(track) > place),
                // Among those that are known, it is not.
                None if view.is_whole => None,
                None => Some(false),
            }
        };
        let enough = |view: &View| is_listed(view) != Some(false);
        let view = self
            .following
            .until(Instant::now() + BLOCK_MAX, enough)
            .await?;
        match is_listed(&view) {
            None => return Err(FollowError::NoSuchPart),
            Some(false) => return Err(FollowError::NotListed),
            Some(true) => {}
        }
        let film = &view.film;
        let packaged = film
            .stream(stream)
            .and_then(|track| film.segment(track, number))
            .ok_or(FollowError::NoSuchPart)?;
        let about = about(packaged.size_bytes, kind(film, stream));
        let (parts, packaged) = (&self.visit.parts, &packaged);
        let reader = self.following.reader();
        let answer = known(&parts.method, &parts.headers, &about, |range| {
            let body = SegmentBody::new(packaged, reader.clone(), range, None);
            async move { Ok(body) }
        })
        .await;
        if let Ok(answer) = &answer {
            self.visit.count_segment("original", answer);
        }
        Ok(answer)
    }

    async fn bytes(&self, bytes: Bytes, kind: &str) -> Result<Response, Problem> {
        let about = about(bytes.len() as u64, kind);
        let parts = &self.visit.parts;
        known(&parts.method, &parts.headers, &about, |range| {
            let part = bytes.slice(range.start as usize..range.end as usize);
            async move { Ok(Full::new(part)) }
        })
        .await
    }
}

fn kind(film: &Film, stream: &str) -> &'static str {
    if film.is_sound(stream) {
        SOUND
    } else {
        PICTURE
    }
}

fn about(size_bytes: u64, kind: &str) -> Representation {
    let mut about = Representation::new(size_bytes, no_tag(), 0, kind);
    about.headers.insert(header::CACHE_CONTROL, NOT_KEPT);
    about
}
