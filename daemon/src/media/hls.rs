//! A film as HLS: which files there are beside its master playlist, and what is in each playlist.
//!
//! `v1` and `a2` are tracks 1 and 2 of the object itself; anything else is the recipe of a rendition.
//! What lies beside the master playlist, and under which names, is told by [`Leaf`].

use std::sync::Arc;

use nebula_hwaccel::index::{TrackFacts, TrackKind, VideoRange};

use super::decide::Decision;
use super::film::{CopiedTrack, Film};
use super::leaf::Leaf;
use super::library::{Media, MediaError};
use super::playlist::{self, Bandwidth, Entry, Head, KeyEntry, Keys, Picture, Sound, Text};
use super::{ladder, language, sounds};
use crate::catalog::{RenditionKind, RenditionRow, RenditionState, SegmentRow};
use crate::kernel::ContentId;

/// How much of a content id is in addresses: enough to tell one version of an object from the next.
const TAG_DIGITS: usize = 16;

/// The part of a content id that addresses carry as `?c=`, so that what is behind them never changes.
pub fn tag(content: ContentId) -> String {
    let mut text = content.to_string();
    text.truncate(TAG_DIGITS);
    text
}

/// A rendition that is whole, with its segments.
#[derive(Debug, Clone)]
pub struct Whole {
    /// Its row.
    pub row: RenditionRow,
    /// Every segment, in order.
    pub segments: Arc<Vec<SegmentRow>>,
}

/// The renditions of a film.
#[derive(Debug, Clone, Default)]
pub struct RenditionList {
    /// Those that can be played from end to end.
    pub whole: Vec<Whole>,
    /// Whether more are being made.
    pub more_coming: bool,
    /// Texts over the picture.
    pub texts: Vec<Text>,
}

/// What there is to say about a film at its master address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Master {
    /// The playlist.
    Text(String),
    /// Nothing that can be played yet, but it is being made.
    Preparing,
    /// Nothing that can be played, and nothing is being made.
    Nothing,
}

impl Media {
    /// The renditions of a content; a rung is listed when it is whole, so that its playlist never changes.
    pub async fn renditions(&self, content: ContentId) -> Result<RenditionList, MediaError> {
        let catalog = self.0.store.catalog();
        let mut list = RenditionList::default();
        let rows = catalog.renditions(content).await?;
        let plays =
            |row: &RenditionRow| matches!(row.kind(), RenditionKind::Video | RenditionKind::Audio);
        for row in rows.into_iter().filter(plays) {
            match row.state()? {
                RenditionState::Ready => {
                    list.whole.push(self.whole(content, row).await?);
                }
                RenditionState::Building | RenditionState::Evicted => list.more_coming = true,
                RenditionState::Failed => {}
            }
        }
        Ok(list)
    }

    /// One rendition that is whole.
    pub async fn rendition(
        &self,
        content: ContentId,
        recipe: &str,
    ) -> Result<Option<Whole>, MediaError> {
        let catalog = self.0.store.catalog();
        let rows = catalog.renditions(content).await?;
        let Some(row) = rows.into_iter().find(|row| row.recipe == recipe) else {
            return Ok(None);
        };
        if row.state()? != RenditionState::Ready {
            return Ok(None);
        }
        self.watch(content, recipe);
        Ok(Some(self.whole(content, row).await?))
    }

    /// A rendition with its segments, which are thousands for a long film: they are read again when its row has changed.
    async fn whole(&self, content: ContentId, row: RenditionRow) -> Result<Whole, MediaError> {
        if let Some(segments) = self.0.lists.of(content, &row) {
            return Ok(Whole { row, segments });
        }
        let catalog = self.0.store.catalog();
        let segments = catalog.rendition_segments(content, &row.recipe).await?;
        let segments = Arc::new(segments);
        self.0.lists.keep(content, &row, &segments);
        Ok(Whole { row, segments })
    }

    /// One segment of a rendition.
    pub async fn rendition_segment(
        &self,
        content: ContentId,
        recipe: &str,
        number: u32,
    ) -> Result<Option<SegmentRow>, MediaError> {
        self.watch(content, recipe);
        let catalog = self.0.store.catalog();
        Ok(catalog
            .rendition_segment(content, recipe, i64::from(number))
            .await?)
    }

    /// One init segment of a rendition.
    pub async fn rendition_init(
        &self,
        content: ContentId,
        recipe: &str,
        number: u32,
    ) -> Result<Option<Vec<u8>>, MediaError> {
        let catalog = self.0.store.catalog();
        Ok(catalog
            .rendition_init(content, recipe, i64::from(number))
            .await?)
    }

    /// Notes that somebody watches a rendition.
    pub(super) fn watch(&self, content: ContentId, recipe: &str) {
        let now_ms = self.0.store.clock().now_ms();
        self.0.watched.note(content, recipe, now_ms);
    }

    /// Whether more renditions are on their way: those of a film that has none yet are, when some are wanted of it.
    pub fn more_coming(&self, film: &Film, renditions: &RenditionList) -> bool {
        let wanted =
            || !ladder::wanted(film, &self.0.ladder).is_empty() || !sounds::wanted(film).is_empty();
        renditions.more_coming || (renditions.whole.is_empty() && wanted())
    }
}

impl Film {
    /// The master playlist with what the player is given of the film's own streams and of the renditions that are there.
    pub fn master(
        &self,
        renditions: &RenditionList,
        content: ContentId,
        coming: bool,
        decision: &Decision,
    ) -> Master {
        let tag = tag(content);
        let uri = |stream: &str| format!("{}?c={tag}", Leaf::Playlist(stream.into()).name());
        let mut pictures = Vec::new();
        let copied = |track: &&CopiedTrack| decision.gives(&stream_of(self, track));
        let original = self.video.as_ref().filter(copied);
        if let Some(track) = original {
            pictures.push(self.original_picture(track, uri(&stream_of(self, track))));
        }
        let made = |kind: RenditionKind| {
            let given =
                move |whole: &&Whole| whole.row.kind() == kind && decision.gives(&whole.row.recipe);
            renditions.whole.iter().filter(given)
        };
        let rungs = made(RenditionKind::Video);
        for whole in rungs {
            pictures.push(self.rung(whole, uri(&whole.row.recipe)));
        }
        let chapters = !self.index.facts.chapters.is_empty();
        let head = |independent| Head {
            independent,
            chapters_uri: chapters.then(|| format!("chapters.json?c={tag}")),
        };
        let gives = |stream: &str| decision.gives(stream);
        let sounds = sounds::of(self, &renditions.whole, gives, uri);
        if self.picture().is_some() {
            // A film that would be silent now and not later is not ready.
            let silent = sounds.is_empty() && self.sounds().next().is_some();
            if pictures.is_empty() || (silent && coming) {
                return if coming {
                    Master::Preparing
                } else {
                    Master::Nothing
                };
            }
            let keys = original.and_then(|_| self.keys(content));
            let keys: Vec<Keys> = keys.into_iter().collect();
            return Master::Text(playlist::master(
                &pictures,
                &sounds,
                &renditions.texts,
                &keys,
                &head(self.independent()),
            ));
        }
        if sounds.is_empty() {
            return if coming {
                Master::Preparing
            } else {
                Master::Nothing
            };
        }
        // A sound that is in two groups is one variant.
        let mut seen = Vec::new();
        let alone: Vec<Picture> = sounds
            .into_iter()
            .filter(|sound| {
                let new = !seen.contains(&sound.uri);
                seen.push(sound.uri.clone());
                new
            })
            .map(|sound| Picture {
                uri: sound.uri,
                codecs: sound.codecs,
                size: None,
                frame_rate: None,
                range: VideoRange::Sdr,
                bandwidth: sound.bandwidth,
            })
            .collect();
        Master::Text(playlist::master(
            &alone,
            &[],
            &renditions.texts,
            &[],
            &head(true),
        ))
    }

    /// The media playlist of a track that is served from the object.
    pub fn copied_playlist(&self, track: &CopiedTrack, content: ContentId) -> String {
        let tag = tag(content);
        let stream = stream_of(self, track);
        let init_uri = format!("{}?c={tag}", Leaf::Init(stream.clone(), 0).name());
        let entries: Vec<Entry> = track
            .segments
            .iter()
            .map(|segment| Entry {
                uri: format!(
                    "{}?c={tag}",
                    Leaf::Segment(stream.clone(), segment.number).name()
                ),
                duration_s: segment.duration_s,
                init_uri: init_uri.clone(),
            })
            .collect();
        let is_picture = self.is_picture(track);
        playlist::media(&entries, !is_picture || self.independent())
    }

    /// The key pictures of the original, one for each segment: what a player shows while it is wound. Number of the
    /// segment, bytes, and seconds until the next.
    fn key_pictures(&self, track: &CopiedTrack) -> Vec<(u32, u64, f64)> {
        let table = &self.index.tables[track.place];
        let keys = track.segments.iter().map(|segment| {
            let alone = segment.samples.len() == 1 && table[segment.samples.start].key;
            let bytes = segment.key_bytes.or(alone.then_some(segment.size_bytes));
            (segment, bytes)
        });
        let mut pictures: Vec<(u32, u64, f64)> = Vec::new();
        for (segment, bytes) in keys {
            match (bytes, pictures.last_mut()) {
                (Some(bytes), _) => pictures.push((segment.number, bytes, segment.duration_s)),
                // A segment without one is shown as the picture before it.
                (None, Some(last)) => last.2 += segment.duration_s,
                (None, None) => {}
            }
        }
        pictures
    }

    fn keys(&self, content: ContentId) -> Option<Keys> {
        let track = self.video.as_ref()?;
        let pictures = self.key_pictures(track);
        if pictures.is_empty() {
            return None;
        }
        let leaf = Leaf::Keys(stream_of(self, track));
        let uri = format!("{}?c={}", leaf.name(), tag(content));
        let mut picture = self.original_picture(track, uri);
        let sizes = pictures
            .iter()
            .map(|&(_, bytes, duration_s)| (bytes, duration_s));
        picture.bandwidth = Bandwidth::measured(sizes);
        // It says nothing of how often key pictures come (RFC 8216bis §4.4.6.3).
        picture.frame_rate = None;
        Some(Keys(picture))
    }

    /// The playlist of the key pictures of the track that [`Self::stream`] gives.
    pub fn key_playlist(&self, track: &CopiedTrack, content: ContentId) -> Option<String> {
        if !self.is_picture(track) {
            return None;
        }
        let (tag, stream) = (tag(content), stream_of(self, track));
        let init_uri = format!("{}?c={tag}", Leaf::Init(stream.clone(), 0).name());
        let entry = |(number, bytes, duration_s)| KeyEntry {
            uri: format!("{}?c={tag}", Leaf::Segment(stream.clone(), number).name()),
            bytes,
            duration_s,
        };
        let pictures = self.key_pictures(track).into_iter();
        let entries: Vec<KeyEntry> = pictures.map(entry).collect();
        (!entries.is_empty()).then(|| playlist::keys(&entries, &init_uri))
    }

    /// The media playlist of a rendition.
    pub fn rendition_playlist(&self, whole: &Whole, content: ContentId) -> String {
        let tag = tag(content);
        let recipe = &whole.row.recipe;
        let entries: Vec<Entry> = whole
            .segments
            .iter()
            .zip(self.durations_s(whole))
            .map(|(segment, duration_s)| Entry {
                uri: format!(
                    "{}?c={tag}",
                    Leaf::Segment(recipe.clone(), segment.number as u32).name()
                ),
                duration_s,
                init_uri: format!(
                    "{}?c={tag}",
                    Leaf::Init(recipe.clone(), segment.init_number as u32).name()
                ),
            })
            .collect();
        playlist::media(&entries, true)
    }

    /// A copied track by its name in addresses.
    pub fn stream(&self, name: &str) -> Option<&CopiedTrack> {
        let copied = || self.video.iter().chain(&self.audio);
        copied().find(|track| stream_of(self, track) == name)
    }

    /// Whether a stream of the object itself is sound.
    pub fn is_sound(&self, name: &str) -> bool {
        self.audio
            .iter()
            .any(|track| stream_of(self, track) == name)
    }

    /// Lengths in the playlist: from each segment's start to the next; the picture's are those of the grid.
    pub(super) fn durations_s(&self, whole: &Whole) -> Vec<f64> {
        let grid = self
            .timeline
            .as_ref()
            .filter(|_| whole.row.kind() == RenditionKind::Video);
        if let Some(grid) = grid.filter(|grid| grid.segments() == whole.segments.len()) {
            return (0..grid.segments())
                .map(|segment| grid.duration_s(segment))
                .collect();
        }
        let tick_s = 1.0 / whole.row.timescale.max(1) as f64;
        let mut durations = Vec::with_capacity(whole.segments.len());
        let mut end = whole
            .segments
            .last()
            .map_or(0, |last| last.start_ticks + last.duration_ticks);
        for (at, segment) in whole.segments.iter().enumerate().rev() {
            let start = if at == 0 { 0 } else { segment.start_ticks };
            durations.push((end - start).max(0) as f64 * tick_s);
            end = start;
        }
        durations.reverse();
        durations
    }

    pub(super) fn original_picture(&self, track: &CopiedTrack, uri: String) -> Picture {
        let facts = self.facts_of(track);
        let TrackKind::Video(video) = &facts.kind else {
            unreachable!("the picture of a film is a video track")
        };
        Picture {
            uri,
            codecs: codecs(facts),
            size: Some((video.display_width, video.display_height)),
            frame_rate: Some(video.frame_rate.as_f64()),
            range: video.range,
            bandwidth: measured(track),
        }
    }

    fn rung(&self, whole: &Whole, uri: String) -> Picture {
        let side = |side: Option<i64>| u32::try_from(side.unwrap_or(0)).unwrap_or(0);
        Picture {
            uri,
            codecs: whole
                .row
                .codecs
                .clone()
                .unwrap_or_else(|| "avc1.64001f".into()),
            size: Some((side(whole.row.width), side(whole.row.height))),
            frame_rate: whole.row.frame_rate,
            range: VideoRange::Sdr,
            bandwidth: self.measured_rendition(whole),
        }
    }

    pub(super) fn measured_rendition(&self, whole: &Whole) -> Bandwidth {
        let sizes = whole
            .segments
            .iter()
            .map(|segment| segment.size_bytes.max(0) as u64);
        Bandwidth::measured(sizes.zip(self.durations_s(whole)))
    }

    pub(super) fn original_sound(&self, track: &CopiedTrack, uri: String) -> Sound {
        let facts = self.facts_of(track);
        let channels = match &facts.kind {
            TrackKind::Audio(audio) => audio.channels,
            _ => 2,
        };
        let codecs = codecs(facts);
        Sound {
            group: codecs.split('.').next().unwrap_or("sound").to_owned(),
            name: sounds::label(facts),
            language: facts.language.as_deref().map(language::tag),
            default: facts.default,
            channels,
            uri,
            codecs,
            bandwidth: measured(track),
        }
    }
}

/// Exactly one default in each group, and no name twice (RFC 8216bis §4.4.6.1.1).
pub(super) fn settle(sounds: &mut [Sound]) {
    for at in 0..sounds.len() {
        let (before, rest) = sounds.split_at_mut(at);
        let this = &mut rest[0];
        let group: Vec<&Sound> = before
            .iter()
            .filter(|other| other.group == this.group)
            .collect();
        if group.iter().any(|other| other.default) {
            this.default = false;
        }
        let plain = this.name.clone();
        let mut count = 1;
        while group.iter().any(|other| other.name == this.name) {
            count += 1;
            this.name = format!("{plain} {count}");
        }
    }
    for at in 0..sounds.len() {
        let first = sounds[..at]
            .iter()
            .all(|other| other.group != sounds[at].group);
        let group = sounds[at].group.clone();
        if first
            && !sounds
                .iter()
                .any(|other| other.group == group && other.default)
        {
            sounds[at].default = true;
        }
    }
}

pub(super) fn stream_of(film: &Film, track: &CopiedTrack) -> String {
    let letter = if film.is_picture(track) { 'v' } else { 'a' };
    format!("{letter}{}", track.id)
}

pub(super) fn measured(track: &CopiedTrack) -> Bandwidth {
    Bandwidth::measured(
        track
            .segments
            .iter()
            .map(|segment| (segment.size_bytes, segment.duration_s)),
    )
}

/// As the index has it; a guess that players accept rather than none, as one variant without pins them to the lowest.
pub(super) fn codecs(facts: &TrackFacts) -> String {
    if let Some(codecs) = &facts.codecs {
        return codecs.clone();
    }
    match facts.codec.as_str() {
        "h264" => "avc1.640028",
        "hevc" => "hvc1.1.6.L120.90",
        "av1" => "av01.0.08M.08",
        "vp9" => "vp09.00.40.08",
        "aac" => "mp4a.40.2",
        "mp3" => "mp4a.40.34",
        "opus" => "Opus",
        "flac" => "fLaC",
        "ac3" => "ac-3",
        "eac3" => "ec-3",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::decide::{Capabilities, decide};
    use crate::media::timeline::tests::film;

    /// For a stranger, without renditions.
    fn master(film: &Film, coming: bool) -> Master {
        let none = RenditionList::default();
        let decision = decide(&Capabilities::default(), film, &none, coming);
        film.master(&none, ContentId([0xab; 32]), coming, &decision)
    }

    #[test]
    fn a_film_with_sound_has_one_variant_and_one_group() {
        let film = Film::new(film(10, 50));
        let master = master(&film, false);
        let Master::Text(text) = master else {
            panic!("{master:?}")
        };
        assert!(
            text.contains("#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"mp4a\",NAME=\"Track 2\",DEFAULT=YES"),
            "{text}"
        );
        assert!(
            text.contains("CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=25.000"),
            "{text}"
        );
        assert!(
            text.contains("AUDIO=\"mp4a\"\nv1.m3u8?c=abababababababab\n"),
            "{text}"
        );
        let track = film.stream("v1").expect("listed");
        let media = film.copied_playlist(track, ContentId([0xab; 32]));
        assert_eq!(media.matches("#EXTINF").count(), track.segments.len());
        assert!(film.stream("v2").is_none() && film.stream("a1").is_none());
    }

    #[test]
    fn what_cannot_be_played_yet_is_being_prepared() {
        let mut index = film(4, 25);
        for track in &mut index.facts.tracks {
            track.copyable = nebula_hwaccel::index::Copyable::NeedsRemux {
                reason: "Annex B".into(),
            };
        }
        let film = Film::new(index);
        assert_eq!(master(&film, true), Master::Preparing);
        assert_eq!(master(&film, false), Master::Nothing);
    }
}
