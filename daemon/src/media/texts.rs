//! Subtitles of a film: kept as a worker gathered them, listed, and cut on the grid.

use nebula_hwaccel::index::{TrackFacts, TrackKind};
use nebula_hwaccel::protocol::{self, TextTrack};
pub use nebula_hwaccel::subtitle::Cue;
use nebula_hwaccel::subtitle::MAX_CUES;
pub use nebula_hwaccel::subtitle::PictureFormat;

use super::bench::reading_s;
use super::beside::{self, Named};
use super::extra::TextName;
use super::film::Film;
use super::hls::tag;
use super::library::{Media, MediaError};
use super::order::{About, Order};
use super::payload::{about, catalog_error, content, text_tracks};
use super::playlist::{self, Entry, Text};
use super::timeline::Timeline;
use super::worker::BenchError;
use super::{follow, language, pictures, webvtt};
use crate::catalog::SubtitleRow;
use crate::kernel::{ContentId, ObjectKey};
use crate::queue::Job;
use crate::store::{ListRequest, Object, StoreError};

/// Files beside a film that are looked at.
const BESIDE_MAX: usize = 64;

/// A stream of texts that a player can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextStream {
    /// Its name in addresses.
    pub name: TextName,
    /// For people.
    pub label: String,
    /// As the file or its name has it.
    pub language: Option<String>,
    /// Chosen when the viewer does not choose.
    pub default: bool,
    /// Only what must be read to follow the film.
    pub forced: bool,
    /// Noises and speakers too.
    pub hearing: bool,
}

impl TextStream {
    /// A file beside the film.
    pub fn beside(content: ContentId, named: Named) -> Self {
        let label = label(
            named.title.as_deref(),
            named.language.as_deref(),
            "Subtitles",
        );
        Self {
            name: TextName::Beside(tag(content)),
            label: flagged(label, named.forced, named.hearing),
            language: named.language,
            default: named.default,
            forced: named.forced,
            hearing: named.hearing,
        }
    }

    fn of_track(facts: &TrackFacts) -> Self {
        let title = facts.title.as_deref();
        let hearing = title.is_some_and(|title| {
            let words = || title.split(|c: char| !c.is_alphanumeric());
            words().any(|word| word.eq_ignore_ascii_case("sdh") || word.eq_ignore_ascii_case("cc"))
        });
        let plain = format!("Track {}", facts.id);
        Self {
            name: TextName::Track(facts.id),
            label: flagged(
                label(title, facts.language.as_deref(), &plain),
                facts.forced,
                false,
            ),
            language: facts.language.clone(),
            default: facts.default,
            forced: facts.forced,
            hearing,
        }
    }
}

/// The tracks of pictures over a film, as they are offered beside its texts.
pub fn pictures_of(film: &Film) -> Vec<(TextStream, PictureFormat)> {
    let tracks = film.index.facts.tracks.iter();
    tracks
        .filter_map(|facts| Some((TextStream::of_track(facts), pictures::format(facts)?)))
        .collect()
}

/// A title, else a language, else what is left.
pub(super) fn label(title: Option<&str>, language: Option<&str>, plain: &str) -> String {
    let title = title.map(str::trim).filter(|title| !title.is_empty());
    match (title, language) {
        (Some(title), _) => title.to_owned(),
        (None, Some(language)) => language::name(language),
        (None, None) => plain.to_owned(),
    }
}

fn flagged(mut label: String, forced: bool, hearing: bool) -> String {
    if forced && !label.to_lowercase().contains("forced") {
        label.push_str(" (forced)");
    }
    if hearing {
        label.push_str(" (SDH)");
    }
    label
}

/// The renditions of a master playlist: no name twice, at most one default (RFC 8216bis §4.4.6.1.1).
pub fn entries(streams: &[TextStream], content: ContentId) -> Vec<Text> {
    let mut texts: Vec<Text> = Vec::with_capacity(streams.len());
    for stream in streams {
        let mut name = stream.label.clone();
        let mut count = 1;
        while texts.iter().any(|other| other.name == name) {
            count += 1;
            name = format!("{} {count}", stream.label);
        }
        texts.push(Text {
            default: stream.default && !texts.iter().any(|other| other.default),
            name,
            language: stream.language.as_deref().map(language::tag),
            forced: stream.forced,
            hearing: stream.hearing,
            uri: format!("{}.m3u8?c={}", stream.name.name(), tag(content)),
            whole_uri: format!("{}.vtt?c={}", stream.name.name(), tag(content)),
        });
    }
    texts
}

/// The tracks of subtitles of a film that can be delivered: of text, or of pictures.
pub(super) fn tracks(film: &Film) -> Vec<u32> {
    let tracks = film.index.facts.tracks.iter();
    tracks
        .filter(|facts| is_text(facts) || pictures::format(facts).is_some())
        .map(|facts| facts.id)
        .collect()
}

fn is_text(facts: &TrackFacts) -> bool {
    matches!(facts.kind, TrackKind::Subtitle { image: false })
}

impl Film {
    /// The zero of the playlists on the clock of the file, in microseconds.
    pub fn origin_us(&self) -> i64 {
        self.timeline
            .as_ref()
            .map_or(0, |grid| grid.time_base.micros(grid.origin))
    }

    /// The playlist of a stream of texts: a segment for each of the picture's, also where nobody speaks.
    pub fn text_playlist(&self, name: &TextName, content: ContentId) -> String {
        let segments = self.timeline.as_ref().map_or(0, Timeline::segments);
        let entries: Vec<Entry> = (0..segments)
            .map(|segment| Entry {
                uri: format!("{}-{segment}.vtt?c={}", name.name(), tag(content)),
                duration_s: self
                    .timeline
                    .as_ref()
                    .map_or(0.0, |grid| grid.duration_s(segment)),
                init_uri: String::new(),
            })
            .collect();
        playlist::media(&entries, true)
    }

    /// One segment of a stream of texts; `None` beyond the end.
    pub fn text_segment(&self, cues: &[Cue], origin_us: i64, number: u32) -> Option<String> {
        let grid = self.timeline.as_ref()?;
        let number = number as usize;
        if number >= grid.segments() {
            return None;
        }
        let us = |segment: usize| (grid.start_s(segment) * 1e6).round() as i64;
        // What is said behind the last picture is said with it.
        let end_us = if number + 1 == grid.segments() {
            i64::MAX
        } else {
            us(number + 1)
        };
        Some(webvtt::segment(cues, origin_us, us(number), end_us))
    }
}

impl Media {
    /// The texts of a film's own tracks that are there; those that nobody read yet are read now.
    pub async fn texts(&self, film: &Film, object: &Object) -> Result<Vec<TextStream>, MediaError> {
        let wanted = tracks(film);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.0.store.catalog().subtitles(object.content_id).await?;
        if unread(&wanted, &rows).next().is_some() {
            let now_ms = self.0.store.clock().now_ms();
            let tracks = unread(&wanted, &rows).collect();
            let job = follow::subtitles_job(&About::of(object), tracks, now_ms);
            self.0.jobs.insert(job).await?;
        }
        let there = |facts: &&TrackFacts| {
            let is = |row: &SubtitleRow| row.track == i64::from(facts.id) && row.cues > 0;
            is_text(facts) && rows.iter().any(is)
        };
        let tracks = film.index.facts.tracks.iter().filter(there);
        Ok(tracks.map(TextStream::of_track).collect())
    }

    /// The tracks of text of a film that were not read yet.
    pub(super) async fn unread_texts(
        &self,
        film: &Film,
        content: ContentId,
    ) -> Result<Vec<u32>, MediaError> {
        let wanted = tracks(film);
        if wanted.is_empty() {
            return Ok(wanted);
        }
        let rows = self.0.store.catalog().subtitles(content).await?;
        Ok(unread(&wanted, &rows).collect())
    }

    /// Files of subtitles beside a film, by their names; whether the caller may read them is the door's question.
    pub async fn beside(&self, film: &Object) -> Result<Vec<(ObjectKey, Named)>, MediaError> {
        let request = ListRequest {
            prefix: beside::prefix(&film.key),
            limit: BESIDE_MAX,
            ..ListRequest::default()
        };
        let page = self.0.store.list(&film.bucket, &request).await?;
        let named = |key: ObjectKey| Some((beside::parse(&film.key, &key)?, key));
        let found = page.items.into_iter().filter_map(|item| named(item.key));
        Ok(found.map(|(named, key)| (key, named)).collect())
    }

    /// The content of a file beside a film; `None` for one that is gone, or that only a key of its owner's opens.
    pub async fn beside_content(
        &self,
        film: &Object,
        key: &ObjectKey,
    ) -> Result<Option<ContentId>, MediaError> {
        match self.0.store.head(&film.bucket, key, None).await {
            Ok(file) if !file.needs_key() => Ok(Some(file.content_id)),
            Ok(_) | Err(StoreError::NoSuchKey(_) | StoreError::DeleteMarker { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a file of subtitles was read and has texts.
    pub async fn is_read(&self, content: ContentId) -> Result<bool, MediaError> {
        let rows = self.0.store.catalog().subtitles(content).await?;
        Ok(rows.iter().any(|row| row.track == 0 && row.cues > 0))
    }

    /// The texts of one track.
    pub async fn cues(
        &self,
        content: ContentId,
        track: u32,
    ) -> Result<Option<Vec<Cue>>, MediaError> {
        let store = &self.0.store;
        let bytes = store.catalog().subtitle_cues(content, track).await?;
        let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
            return Ok(None);
        };
        let bytes = store.open_derived(content, bytes).await?;
        let cues: Vec<Cue> = postcard::from_bytes(&bytes)
            .map_err(|error| MediaError::Damaged(format!("texts: {error}")))?;
        Ok(Some(cues))
    }

    /// What a worker is told to read, or why there is nothing to be done.
    pub(super) async fn open_texts(
        &self,
        job: &Job,
        object: &Object,
    ) -> Result<Result<Order, &'static str>, BenchError> {
        let tracks = text_tracks(job)?;
        let rows = self.0.store.catalog().subtitles(object.content_id).await;
        let rows = rows.map_err(|error| catalog_error(&error))?;
        let made = self.0.store.catalog().renditions(object.content_id).await;
        let made = made.map_err(|error| catalog_error(&error))?;
        let there = |track: u32| {
            rows.iter().any(|row| row.track == i64::from(track))
                && !pictures::gave_way(&made, track)
        };
        if tracks.iter().all(|track| there(*track)) && (!tracks.is_empty() || there(0)) {
            return Ok(Err("the texts are there"));
        }
        Ok(Ok(Order {
            job: protocol::Job::Subtitles { tracks },
            size_bytes: 0,
            deadline_s: reading_s(object),
        }))
    }

    /// Keeps the texts that a worker gathered.
    pub(super) async fn keep_texts(&self, job: &Job, track: TextTrack) -> Result<(), BenchError> {
        let about = about(job)?;
        let content = content(&about)?;
        let asked = text_tracks(job)?;
        let known = asked.contains(&track.track) || (asked.is_empty() && track.track == 0);
        let sorted = track.cues.is_sorted_by_key(|cue| cue.start_us);
        if track.cues.len() > MAX_CUES || !sorted || !known {
            return Err(BenchError::Refused(
                "the worker sent texts that make no sense".into(),
            ));
        }
        let (number, count) = (track.track, track.cues.len());
        let bytes = if count == 0 {
            Vec::new()
        } else {
            let bytes = postcard::to_stdvec(&track.cues)
                .map_err(|error| BenchError::Refused(format!("texts cannot be kept: {error}")))?;
            self.sealed(&about, content, bytes, None).await?.0
        };
        let now_ms = self.0.store.clock().now_ms();
        self.write(move |tx| {
            Box::pin(async move {
                tx.put_subtitle(content, number, count, &bytes, now_ms)
                    .await
            })
        })
        .await
    }

    /// What was asked for and did not come holds no text, so that nobody looks again.
    pub(super) async fn end_texts(&self, job: &Job) -> Result<(), BenchError> {
        let content = content(&about(job)?)?;
        let mut tracks = text_tracks(job)?;
        if tracks.is_empty() {
            tracks.push(0);
        }
        let now_ms = self.0.store.clock().now_ms();
        self.write(move |tx| {
            Box::pin(async move {
                for track in tracks {
                    tx.put_no_subtitle(content, track, now_ms).await?;
                }
                Ok(())
            })
        })
        .await
    }
}

/// Which of these tracks have no row.
fn unread<'a>(tracks: &'a [u32], rows: &'a [SubtitleRow]) -> impl Iterator<Item = u32> + 'a {
    let there = |track: &u32| rows.iter().any(|row| row.track == i64::from(*track));
    tracks.iter().copied().filter(move |track| !there(track))
}
