//! What lies beside a film's playlists: subtitles, chapters, the storyboard.

use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;

use super::Door;
use super::access::{Visit, media_problem, no_such_part};
use super::hls::{ASK_AGAIN, FOR_EVER, PLAYLIST, serve_bytes};
use crate::catalog::SegmentRow;
use crate::http::{Problem, Representation, serve_object};
use crate::identity::{Action, Actor, Resource};
use crate::kernel::{ContentId, ETag, ObjectKey};
use crate::media::pictures::Pictures;
use crate::media::storyboard::Board;
use crate::media::texts::{Cue, TextStream};
use crate::media::{Extra, Film, TextName, chapters, content_tag, webvtt};
use crate::store::{Object, StoreError};

const VTT: &str = "text/vtt; charset=utf-8";
const JSON: &str = "application/json";
const JPEG: &str = "image/jpeg";
const PLAIN: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// What is made when it is asked for takes a moment for a short film and a minute for a long one.
const RETRY_S: u64 = 2;

/// Texts of a film: its own, and those of files beside it that the caller may read.
pub(super) async fn texts(
    door: &Door,
    visit: &Visit,
    object: &Object,
    film: &Film,
) -> Result<Vec<TextStream>, Problem> {
    let own = door.media.texts(film, object).await;
    let mut streams = own.map_err(media_problem)?;
    let found = door.media.beside(object).await.map_err(media_problem)?;
    for (key, named) in found {
        let Some(file) = beside(door, visit, object, &key).await? else {
            continue;
        };
        if door.media.is_read(file).await.map_err(media_problem)? {
            streams.push(TextStream::beside(file, named));
        }
    }
    Ok(streams)
}

/// The content of a file beside a film, where the caller may read it.
///
/// A link shows the film as it plays, with the texts that lie beside it: see ARCHITECTURE.md, "A side-car is part of
/// its film".
async fn beside(
    door: &Door,
    visit: &Visit,
    film: &Object,
    key: &ObjectKey,
) -> Result<Option<ContentId>, Problem> {
    let by_link = matches!(visit.caller.actor(), Actor::Link { .. });
    let resource = Resource::Object(&film.bucket, key);
    if !by_link && !visit.may(Action::ReadObject, &resource).await? {
        return Ok(None);
    }
    let content = door.media.beside_content(film, key).await;
    content.map_err(media_problem)
}

pub(super) async fn serve(
    door: &Door,
    visit: &Visit,
    object: &Object,
    extra: &Extra,
) -> Result<Response, Problem> {
    let content = object.content_id;
    let lasting = match visit.query("c") {
        Some(asked) if asked == content_tag(content) => FOR_EVER,
        Some(_) => return Err(no_such_part()),
        None => ASK_AGAIN,
    };
    let film = door.media.film(content).await.map_err(media_problem)?;
    let part = Part {
        door,
        visit,
        object,
        film: &*film.ok_or_else(no_such_part)?,
        lasting,
    };
    match extra {
        Extra::TextPlaylist(name) => {
            part.text_of(name).await?;
            let text = part.film.text_playlist(name, content);
            part.bytes(text.into(), PLAYLIST).await
        }
        Extra::TextSegment(name, number) => {
            let (cues, origin_us) = part.text_of(name).await?;
            let text = part.film.text_segment(&cues, origin_us, *number);
            part.bytes(text.ok_or_else(no_such_part)?.into(), VTT).await
        }
        Extra::TextWhole(name) => {
            let (cues, origin_us) = part.text_of(name).await?;
            part.bytes(webvtt::whole(&cues, origin_us).into(), VTT)
                .await
        }
        Extra::Pictures(track) => part.pictures(*track).await,
        Extra::PicturesIndex(track) => {
            let index = door.media.pictures_index(content, *track).await;
            let index = index.map_err(media_problem)?.ok_or_else(no_such_part)?;
            part.bytes(index.into(), PLAIN).await
        }
        Extra::ChapterList => {
            let list = chapters::list(part.film).ok_or_else(no_such_part)?;
            part.bytes(list.into(), JSON).await
        }
        Extra::Chapters => {
            let list = chapters::of(part.film);
            if list.is_empty() {
                return Err(no_such_part());
            }
            part.bytes(webvtt::stretches(&list).into(), VTT).await
        }
        Extra::Storyboard => part.storyboard().await,
        Extra::Sheet(number) => part.sheet(*number).await,
    }
}

struct Part<'a> {
    door: &'a Door,
    visit: &'a Visit,
    object: &'a Object,
    film: &'a Film,
    lasting: HeaderValue,
}

impl Part<'_> {
    /// Cues, and where the film's zero is on their clock in microseconds.
    async fn text_of(&self, name: &TextName) -> Result<(Vec<Cue>, i64), Problem> {
        let (content, track, origin_us) = match name {
            TextName::Track(track) => (self.object.content_id, *track, self.film.origin_us()),
            // A file beside the film counts from the film's beginning.
            TextName::Beside(tag) => (self.file(tag).await?, 0, 0),
        };
        let cues = self.door.media.cues(content, track).await;
        let cues = cues.map_err(media_problem)?.ok_or_else(no_such_part)?;
        Ok((cues, origin_us))
    }

    async fn file(&self, tag: &str) -> Result<ContentId, Problem> {
        let found = self.door.media.beside(self.object).await;
        for (key, _) in found.map_err(media_problem)? {
            let file = beside(self.door, self.visit, self.object, &key).await?;
            if let Some(content) = file.filter(|content| content_tag(*content) == tag) {
                return Ok(content);
            }
        }
        Err(no_such_part())
    }

    async fn pictures(&self, track: u32) -> Result<Response, Problem> {
        let media = &self.door.media;
        let found = media.pictures(self.film, self.object, track).await;
        match found.map_err(media_problem)? {
            Pictures::Ready(row) => self.blob(&row, BYTES).await,
            Pictures::Coming => {
                Err(Problem::unavailable("The subtitles are being read.").retry_after_s(RETRY_S))
            }
            Pictures::Nothing => Err(no_such_part()),
        }
    }

    async fn storyboard(&self) -> Result<Response, Problem> {
        let board = self.door.media.storyboard(self.film, self.object).await;
        match board.map_err(media_problem)? {
            Board::Ready(text) => self.bytes(text.into(), VTT).await,
            Board::Coming => {
                Err(Problem::unavailable("The storyboard is being made.").retry_after_s(RETRY_S))
            }
            Board::Nothing => Err(no_such_part()),
        }
    }

    async fn sheet(&self, number: u32) -> Result<Response, Problem> {
        let content = self.object.content_id;
        let media = &self.door.media;
        let sheet = media.sheet(content, number).await;
        if let Some(row) = sheet.map_err(media_problem)? {
            return self.blob(&row, JPEG).await;
        }
        // A storyboard that gave way to others is made again under the same addresses.
        let board = media.storyboard(self.film, self.object).await;
        match board.map_err(media_problem)? {
            Board::Coming => {
                Err(Problem::unavailable("The storyboard is being made again.")
                    .retry_after_s(RETRY_S))
            }
            Board::Ready(_) | Board::Nothing => Err(no_such_part()),
        }
    }

    async fn blob(&self, row: &SegmentRow, kind: &'static str) -> Result<Response, Problem> {
        let (store, content) = (self.door.media.store(), self.object.content_id);
        let blob = row
            .blob()
            .map_err(|error| Problem::from(StoreError::from(error)))?;
        let etag = ETag::from_content(blake3::hash(blob.to_string().as_bytes()).as_bytes());
        let size_bytes = row.size_bytes.max(0) as u64;
        let mut about = Representation::new(size_bytes, etag, self.object.modified_ms, kind);
        about
            .headers
            .insert(header::CACHE_CONTROL, self.lasting.clone());
        let (method, headers) = (&self.visit.parts.method, &self.visit.parts.headers);
        serve_object(method, headers, &about, |range| async move {
            let reader = store.segment_reader(content, row).await;
            let reader = reader.map_err(Problem::from)?;
            reader.check(range.clone()).map_err(Problem::from)?;
            Ok(reader.body(range))
        })
        .await
    }

    async fn bytes(&self, bytes: Bytes, kind: &'static str) -> Result<Response, Problem> {
        let etag = ETag::from_content(blake3::hash(&bytes).as_bytes());
        let modified_ms = self.object.modified_ms;
        let mut about = Representation::new(bytes.len() as u64, etag, modified_ms, kind);
        about
            .headers
            .insert(header::CACHE_CONTROL, self.lasting.clone());
        let (method, headers) = (&self.visit.parts.method, &self.visit.parts.headers);
        let mut response = serve_bytes(method, headers, &about, bytes).await?;
        // The tag tells; the object's date says nothing of what was made of it.
        response.headers_mut().remove(header::LAST_MODIFIED);
        Ok(response)
    }
}
