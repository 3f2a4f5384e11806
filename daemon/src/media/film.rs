//! A film ready to be served: its index read once, every copied track cut on the grid.

use std::ops::Range;
use std::panic::resume_unwind;
use std::thread;

use nebula_hwaccel::fmp4;
use nebula_hwaccel::index::{
    Copyable, Layout, MediaIndex, Rational, Sample, TrackFacts, TrackKind,
};

use super::cmaf::{self, SampleTime};
use super::packaged::Packaged;
use super::timeline::{Timeline, is_picture};

/// A picture has at least so many ticks a second on the wire: decoding times lie between those of frames.
const TIMESCALE_MIN: u32 = 12_000;
/// And at most so many: players count in microseconds.
const TIMESCALE_MAX: u32 = 1_000_000;
/// Samples of one segment that lie apart become a read each; a film with more runs than this in one segment is too
/// finely interleaved to be served in place.
const RUNS_MAX: usize = 65_536;
/// A sound with more samples is cut by a thread of its own: some twenty minutes.
const LONG_TRACK_SAMPLES: usize = 50_000;

/// An index and what was computed from it.
#[derive(Debug)]
pub struct Film {
    /// Facts and tables.
    pub index: MediaIndex,
    /// The grid; `None` when nothing in it can be timed.
    pub timeline: Option<Timeline>,
    /// The picture, when it can be served as it lies there.
    pub video: Option<CopiedTrack>,
    /// The sound tracks that can be served as they lie there, in the file's order.
    pub audio: Vec<CopiedTrack>,
    independent: bool,
}

/// A track that is served from the object's own bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct CopiedTrack {
    /// Place in the index.
    pub place: usize,
    /// Number of the track in the file.
    pub id: u32,
    /// Added to the track's own times, then multiplied by `scale`, to get those on the wire.
    shift: i64,
    scale: i64,
    timescale: u32,
    /// Decoding times of a picture's samples on the wire; sound is decoded when it is heard.
    decode: Vec<i64>,
    /// When the first pictures are shown, on the wire, where an edit list hides some of them.
    squeezed: Vec<i64>,
    /// Ticks on the wire that lie before the zero of the timeline.
    lead: u64,
    /// The segments that have samples, in order.
    pub segments: Vec<CopiedSegment>,
}

/// One segment of a copied track.
#[derive(Debug, Clone, PartialEq)]
pub struct CopiedSegment {
    /// On the grid of the film.
    pub number: u32,
    /// Which samples of the track.
    pub samples: Range<usize>,
    /// Where it starts in the playlist, in seconds.
    pub start_s: f64,
    /// How long it is in the playlist, in seconds.
    pub duration_s: f64,
    /// Length with its heads.
    pub size_bytes: u64,
    /// Of a picture: how many of the first bytes are a fragment with its first picture alone.
    pub key_bytes: Option<u64>,
}

impl Film {
    /// Cuts every track of an index that can be served in place.
    pub fn new(index: MediaIndex) -> Self {
        let timeline = Timeline::of(&index);
        let mut film = Self {
            index,
            timeline,
            video: None,
            audio: Vec::new(),
            independent: true,
        };
        let Some(timeline) = &film.timeline else {
            return film;
        };
        let (facts, tables) = (&film.index.facts.tracks, &film.index.tables);
        let copied = |place: usize| CopiedTrack::cut(&film.index, timeline, place);
        let sounds = facts.iter().enumerate();
        let sounds = sounds.filter(|(_, facts)| matches!(facts.kind, TrackKind::Audio(_)));
        let (video, independent, audio) = thread::scope(|scope| {
            // A long film's first playlist is waited for: its sound is cut beside the picture, where a thread is to be had.
            let begin = |(place, _): (usize, &TrackFacts)| {
                let is_long = tables[place].len() > LONG_TRACK_SAMPLES;
                let thread = is_long.then(thread::Builder::new);
                let begun =
                    thread.and_then(|it| it.spawn_scoped(scope, move || copied(place)).ok());
                (place, begun)
            };
            let begun: Vec<_> = sounds.map(begin).collect();
            let is_video = matches!(facts[timeline.track].kind, TrackKind::Video(_));
            let video = is_video.then(|| copied(timeline.track)).flatten();
            let alone = |track: &CopiedTrack| independent(track, &tables[track.place]);
            let independent = video.as_ref().is_none_or(alone);
            let sounds = begun.into_iter().filter_map(|(place, begun)| match begun {
                // A thread that panics is a bug, and stays one here.
                Some(thread) => thread.join().unwrap_or_else(|panic| resume_unwind(panic)),
                None => copied(place),
            });
            (video, independent, sounds.collect())
        });
        film.independent = independent;
        film.video = video;
        film.audio = audio;
        film
    }

    /// What the cache counts: the samples are all that is large.
    pub fn memory_bytes(&self) -> usize {
        let samples: usize = self.index.tables.iter().map(Vec::len).sum();
        let segments =
            self.timeline.as_ref().map_or(0, Timeline::segments) * (2 + self.audio.len());
        let layouts: usize = self
            .index
            .layouts
            .iter()
            .flatten()
            .map(Layout::memory_bytes)
            .sum();
        4096 + layouts
            + samples * (size_of::<Sample>() + size_of::<i64>())
            + segments * size_of::<CopiedSegment>()
    }

    /// The picture the film is timed by.
    pub fn picture(&self) -> Option<&TrackFacts> {
        let place = self.timeline.as_ref()?.track;
        let facts = &self.index.facts.tracks[place];
        is_picture(facts, &self.index.tables[place]).then_some(facts)
    }

    /// Every sound track that has samples.
    pub fn sounds(&self) -> impl Iterator<Item = &TrackFacts> {
        let tracks = self.index.facts.tracks.iter().zip(&self.index.tables);
        tracks
            .filter(|(facts, samples)| {
                matches!(facts.kind, TrackKind::Audio(_)) && !samples.is_empty()
            })
            .map(|(facts, _)| facts)
    }

    /// A copied track by its number in the file.
    pub fn copied(&self, id: u32) -> Option<&CopiedTrack> {
        self.video
            .iter()
            .chain(&self.audio)
            .find(|track| track.id == id)
    }

    /// Facts of a copied track.
    pub fn facts_of(&self, track: &CopiedTrack) -> &TrackFacts {
        &self.index.facts.tracks[track.place]
    }

    /// The init segment of a copied track.
    pub fn init(&self, track: &CopiedTrack) -> Vec<u8> {
        cmaf::init(self.facts_of(track), track.timescale, track.lead)
    }

    /// A segment of a copied track by its number on the grid.
    ///
    /// Its first picture is a fragment of its own, which a playlist of key pictures points at.
    pub fn segment(&self, track: &CopiedTrack, number: u32) -> Option<Packaged> {
        let at = track
            .segments
            .binary_search_by_key(&number, |segment| segment.number)
            .ok()?;
        let segment = &track.segments[at];
        let table = &self.index.tables[track.place];
        let samples = table.get(segment.samples.clone())?;
        let times: Vec<SampleTime> = segment
            .samples
            .clone()
            .zip(samples)
            .map(|(at, sample)| track.time(at, sample))
            .collect();
        let end = match table.get(segment.samples.end) {
            Some(next) => track.time(segment.samples.end, next).decode,
            None => samples
                .iter()
                .map(|sample| track.wire(sample.pts().saturating_add(i64::from(sample.duration))))
                .max()?,
        };
        let mut packaged = Packaged::default();
        packaged.head(cmaf::segment_type());
        let first = if segment.key_bytes.is_some() {
            1
        } else {
            samples.len()
        };
        let parts = [0..first, first..samples.len()];
        for (sequence, part) in parts.into_iter().enumerate() {
            if part.is_empty() {
                continue;
            }
            let after = times.get(part.end).map_or(end, |next| next.decode);
            let members = &samples[part.clone()];
            let sequence = number.wrapping_mul(2).wrapping_add(sequence as u32);
            packaged.head(cmaf::fragment_head(
                sequence,
                members,
                &times[part.clone()],
                after,
            ));
            match self.index.layout(track.place) {
                None => packaged.samples(members)?,
                Some(layout) => {
                    let from = segment.samples.start;
                    packaged.gathered(layout, from + part.start..from + part.end);
                }
            }
        }
        debug_assert_eq!(packaged.size_bytes, segment.size_bytes);
        Some(packaged)
    }

    /// Whether every segment of the picture can be decoded by itself: no picture is shown before the keyframe that its
    /// segment starts with.
    pub fn independent(&self) -> bool {
        self.independent
    }

    /// Whether a track of this film is its picture.
    pub fn is_picture(&self, track: &CopiedTrack) -> bool {
        let video = self.video.as_ref();
        video.is_some_and(|video| video.place == track.place)
    }
}

fn independent(track: &CopiedTrack, table: &[Sample]) -> bool {
    track.segments.iter().all(|segment| {
        let samples = &table[segment.samples.clone()];
        let start = samples[0].pts();
        samples[0].key && samples.iter().all(|sample| sample.pts() >= start)
    })
}

impl CopiedTrack {
    fn cut(index: &MediaIndex, timeline: &Timeline, place: usize) -> Option<Self> {
        let facts = &index.facts.tracks[place];
        let samples = &index.tables[place];
        let layout = index.layout(place);
        let laid_out = match facts.copyable {
            Copyable::Contiguous => layout.is_none(),
            Copyable::Gathered => layout.is_some(),
            Copyable::NeedsRemux { .. } => false,
        };
        if !laid_out || facts.sample_entry.is_empty() || samples.is_empty() {
            return None;
        }
        let size = index.facts.size_bytes;
        if layout.is_some_and(|layout| size != 0 && layout.object_end() > size) {
            return None;
        }
        let inside = |sample: &Sample| {
            sample
                .offset
                .checked_add(u64::from(sample.size))
                .is_some_and(|end| size == 0 || end <= size)
        };
        if !samples.iter().all(inside) {
            return None;
        }
        let starts: Vec<usize> = if place == timeline.track {
            timeline.samples.iter().map(|at| *at as usize).collect()
        } else {
            let mut starts: Vec<usize> = timeline.cuts[..timeline.segments()]
                .iter()
                .map(|cut| first_at(samples, facts.time_base, *cut, timeline.time_base))
                .collect();
            // What comes before the first cut is in the first segment.
            starts[0] = 0;
            starts.push(samples.len());
            starts
        };
        let origin = in_ticks(timeline.origin, timeline.time_base, facts.time_base);
        let earliest = samples[0].dts.saturating_sub(origin);
        let before = i64::try_from(earliest.min(0).unsigned_abs()).ok()?;
        // No time on the wire may be negative. No picture is shown before the zero of the timeline, so decoding times are
        // made anew between zero and each picture's own time; a sound track is moved as a whole and cut off by an edit list.
        let picture = place == timeline.track && matches!(facts.kind, TrackKind::Video(_));
        let hidden = if picture {
            samples
                .iter()
                .filter(|sample| sample.pts() < timeline.cuts[0])
                .count()
        } else {
            0
        };
        let fine = if picture {
            fineness(facts.time_base.den, hidden)
        } else {
            1
        };
        let shift = if picture { 0 } else { before }.saturating_sub(origin);
        let mut track = Self {
            place,
            id: facts.id,
            shift,
            scale: i64::from(facts.time_base.num) * i64::from(fine),
            timescale: facts.time_base.den.checked_mul(fine)?,
            decode: Vec::new(),
            squeezed: Vec::new(),
            lead: if picture {
                0
            } else {
                before
                    .unsigned_abs()
                    .saturating_mul(u64::from(facts.time_base.num))
            },
            segments: Vec::new(),
        };
        if picture {
            let mut present: Vec<i64> = samples
                .iter()
                .map(|sample| track.wire(sample.pts()))
                .collect();
            track.squeezed = squeeze(&mut present, track.wire(timeline.cuts[0]), hidden);
            let start = present.iter().copied().min().unwrap_or(0).max(0);
            track.decode = fmp4::decode_times(start, present);
        }
        let tick_s = facts.time_base.as_f64();
        let at_s = |ticks: i64| ticks.saturating_sub(origin) as f64 * tick_s;
        for number in 0..starts.len() - 1 {
            let range = starts[number]..starts[number + 1];
            if range.is_empty() {
                continue;
            }
            let members = &samples[range.clone()];
            if layout.is_none() && runs(members) > RUNS_MAX {
                return None;
            }
            let media = |samples: &[Sample]| samples.iter().map(|s| u64::from(s.size)).sum::<u64>();
            let fragment =
                |samples: &[Sample]| cmaf::fragment_bytes(samples.len() as u64, media(samples));
            let (first, others) = members.split_at(1);
            let split = picture && first[0].key && !others.is_empty();
            let key_bytes = split.then(|| cmaf::SEGMENT_TYPE_BYTES + fragment(first));
            let start_s = if track.segments.is_empty() {
                0.0
            } else {
                at_s(members[0].pts())
            };
            track.segments.push(CopiedSegment {
                number: number as u32,
                size_bytes: match key_bytes {
                    Some(bytes) => bytes + fragment(others),
                    None => cmaf::SEGMENT_TYPE_BYTES + fragment(members),
                },
                key_bytes,
                samples: range,
                start_s,
                duration_s: 0.0,
            });
        }
        let end = samples
            .iter()
            .map(|s| s.pts().saturating_add(i64::from(s.duration)))
            .max()?;
        let mut end_s = at_s(end);
        for segment in track.segments.iter_mut().rev() {
            segment.duration_s = (end_s - segment.start_s).max(0.0);
            end_s = segment.start_s;
        }
        Some(track)
    }
}

impl CopiedTrack {
    /// One of the track's own times on the wire.
    fn wire(&self, ticks: i64) -> i64 {
        ticks.saturating_add(self.shift).saturating_mul(self.scale)
    }

    /// Ticks per second on the wire.
    pub fn timescale(&self) -> u32 {
        self.timescale
    }

    fn time(&self, at: usize, sample: &Sample) -> SampleTime {
        let squeezed = self.squeezed.get(at).copied();
        let present = squeezed.unwrap_or_else(|| self.wire(sample.pts()));
        SampleTime {
            decode: self.decode.get(at).copied().unwrap_or(present),
            present,
        }
    }
}

/// By how much the ticks of a picture are divided on the wire: decoding times lie between those of frames, and the
/// hidden pictures have room within a millisecond.
fn fineness(den: u32, hidden: usize) -> u32 {
    let room = u32::try_from(hidden * 1200).unwrap_or(u32::MAX);
    let wanted = TIMESCALE_MIN.max(room.min(TIMESCALE_MAX));
    let most = (u32::MAX / den.max(1)).max(1);
    wanted.div_ceil(den.max(1)).min(most)
}

/// Gives `hidden` pictures, those before `zero`, a tick each behind it, in their own order, and moves what would be
/// shown meanwhile behind them: they are needed to decode what follows, and no player can be told to hide them.
/// Gives the times up to the last that changed.
fn squeeze(present: &mut [i64], zero: i64, hidden: usize) -> Vec<i64> {
    if hidden == 0 {
        return Vec::new();
    }
    let behind = zero.saturating_add(hidden as i64);
    let mut order: Vec<usize> = (0..present.len())
        .filter(|at| present[*at] < behind)
        .collect();
    order.sort_by_key(|at| present[*at]);
    for (rank, at) in order.iter().enumerate() {
        present[*at] = zero.saturating_add(rank as i64);
    }
    let last = order.iter().max().map_or(0, |at| at + 1);
    present[..last].to_vec()
}

fn runs(samples: &[Sample]) -> usize {
    let joined = |pair: &[Sample]| pair[0].offset + u64::from(pair[0].size) == pair[1].offset;
    1 + samples.windows(2).filter(|pair| !joined(pair)).count()
}

/// The first sample at or after a time in another unit, compared exactly.
fn first_at(samples: &[Sample], unit: Rational, time: i64, time_unit: Rational) -> usize {
    let whole = |ticks: i64, unit: Rational, other: Rational| {
        i128::from(ticks) * i128::from(unit.num) * i128::from(other.den)
    };
    let time = whole(time, time_unit, unit);
    samples.partition_point(|sample| whole(sample.pts(), unit, time_unit) < time)
}

/// A time in another unit, rounded to the nearest.
fn in_ticks(time: i64, from: Rational, to: Rational) -> i64 {
    let num = i128::from(time) * i128::from(from.num) * i128::from(to.den);
    let den = i128::from(from.den) * i128::from(to.num);
    if den == 0 {
        return 0;
    }
    i64::try_from((num + den / 2).div_euclid(den)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::packaged::Part;
    use crate::media::timeline::tests::film;

    #[test]
    fn what_an_edit_hides_takes_a_tick_each() {
        let mut index = film(8, 50);
        // The first 1.2 s are hidden: 30 pictures of 512 ticks.
        index.facts.tracks[0].start_ticks = 30 * 512;
        index.facts.tracks[1].start_ticks = 57_600;
        let film = Film::new(index);
        let picture = film.video.as_ref().expect("picture");
        let table = &film.index.tables[0];
        let shown: Vec<i64> = (0..40)
            .map(|at| picture.time(at, &table[at]).present)
            .collect();
        assert_eq!(shown[..31], (0..=30).collect::<Vec<i64>>());
        assert_eq!(
            shown[31],
            512 * 3,
            "what follows is where it was, in finer ticks"
        );
        assert_eq!(picture.timescale(), 12_800 * 3);
        let total: f64 = picture
            .segments
            .iter()
            .map(|segment| segment.duration_s)
            .sum();
        assert!((total - 6.8).abs() < 1e-9, "{total}");
    }

    #[test]
    fn every_sample_is_in_exactly_one_segment() {
        let film = Film::new(film(21, 50));
        for track in film.video.iter().chain(&film.audio) {
            let mut at = 0;
            for segment in &track.segments {
                assert_eq!(segment.samples.start, at);
                at = segment.samples.end;
            }
            assert_eq!(at, film.index.tables[track.place].len());
        }
    }

    #[test]
    fn durations_add_up_to_the_film() {
        let film = Film::new(film(21, 50));
        let total = |track: &CopiedTrack| track.segments.iter().map(|s| s.duration_s).sum::<f64>();
        assert!((total(film.video.as_ref().expect("picture")) - 21.0).abs() < 1e-9);
        assert!((total(&film.audio[0]) - 21.0).abs() < 0.022);
    }

    #[test]
    fn a_segment_is_as_long_as_announced() {
        let film = Film::new(film(9, 25));
        for track in film.video.iter().chain(&film.audio) {
            for segment in &track.segments {
                let packaged = film.segment(track, segment.number).expect("listed");
                let sizes = packaged.parts.iter().map(Part::size_bytes);
                assert_eq!(sizes.sum::<u64>(), segment.size_bytes);
                let first: u64 = packaged.parts.iter().take(3).map(Part::size_bytes).sum();
                assert!(segment.key_bytes.is_none_or(|bytes| bytes == first));
            }
        }
        assert!(film.segment(&film.audio[0], 99).is_none());
    }

    #[test]
    fn priming_is_cut_off_by_an_edit_list_not_dropped() {
        let film = Film::new(film(4, 25));
        let sound = &film.audio[0];
        assert_eq!((sound.shift, sound.lead), (1024, 1024));
        assert!(sound.segments[0].start_s.abs() < 1e-9);
        let picture = film.video.as_ref().expect("picture");
        assert_eq!(picture.lead, 0);
    }

    #[test]
    fn an_open_group_of_pictures_is_not_independent() {
        let mut index = film(8, 50);
        assert!(Film::new(index.clone()).independent());
        index.tables[0][51].composition = 512 - 2 * 512;
        assert!(!Film::new(index).independent());
    }

    #[test]
    fn offsets_beyond_the_object_are_refused() {
        let mut index = film(4, 25);
        index.facts.size_bytes = 1000;
        let film = Film::new(index);
        assert!(film.video.is_none() && film.audio.is_empty());
    }
}
