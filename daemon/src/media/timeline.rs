//! Where a film is cut: the grid that every playlist, every rung and every sound track of it follows.
//!
//! Cuts are keyframes of the source, so that the original can be cut without touching a picture.
//! They are computed from the sample index alone and are the same for ever after.

use nebula_hwaccel::index::{MediaIndex, Rational, Sample, TrackFacts, TrackKind};

/// Segments are at least this long, in seconds, bar those at the beginning and the last.
const SEGMENT_S: f64 = 4.0;
/// The first segments are shorter, so that a player starts sooner.
const FIRST_SEGMENT_S: f64 = 2.0;
/// How many of them.
const FIRST_SEGMENTS: usize = 2;
/// Keyframes come a little early when times are rounded to milliseconds.
const TOLERANCE_S: f64 = 0.002;
/// Sound may begin this much before the picture without moving the zero of the timeline, in seconds.
/// It is the order of an encoder's priming and of one frame; a player loses it and nobody hears it.
const SOUND_LEAD_S: f64 = 0.1;

/// The grid.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// Place of the track that the cuts follow, in the index.
    pub track: usize,
    /// Unit of all times here.
    pub time_base: Rational,
    /// The presentation time that is 0 in playlists.
    pub origin: i64,
    /// Presentation times of the segment starts and, last, of the end.
    pub cuts: Vec<i64>,
    /// Sample of the followed track at which each segment starts and, last, their number.
    pub samples: Vec<u32>,
}

impl Timeline {
    /// The grid of a film; `None` when no track of it can be timed.
    pub fn of(index: &MediaIndex) -> Option<Self> {
        let track = reference(index)?;
        let facts = &index.facts.tracks[track];
        let samples = &index.tables[track];
        let (cuts, starts) = cut(samples, facts)?;
        let origin = origin(index, track, cuts[0]);
        Some(Self {
            track,
            time_base: facts.time_base,
            origin,
            cuts,
            samples: starts,
        })
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.cuts.len() - 1
    }

    /// Start of a segment, or the end of the last, in seconds of the playlist.
    pub fn start_s(&self, segment: usize) -> f64 {
        let from = if segment == 0 {
            self.origin
        } else {
            self.cuts[segment]
        };
        from.saturating_sub(self.origin) as f64 * self.time_base.as_f64()
    }

    /// Length of a segment in seconds; the first begins with the playlist, whatever its first picture does.
    pub fn duration_s(&self, segment: usize) -> f64 {
        self.start_s(segment + 1) - self.start_s(segment)
    }

    /// Length of the whole in seconds.
    pub fn total_s(&self) -> f64 {
        self.start_s(self.segments())
    }
}

/// Whether a track is a moving picture: cover art is a video track in many containers.
pub fn is_picture(track: &TrackFacts, samples: &[Sample]) -> bool {
    let still = matches!(
        track.codec.as_str(),
        "mjpeg" | "png" | "bmp" | "gif" | "webp" | "tiff"
    );
    matches!(track.kind, TrackKind::Video(_))
        && !samples.is_empty()
        && !(still && samples.len() < 3)
}

/// The first picture, the one marked as default before others, else the first sound.
fn reference(index: &MediaIndex) -> Option<usize> {
    let tracks = || index.facts.tracks.iter().zip(&index.tables).enumerate();
    let pictures = || tracks().filter(|(_, (facts, samples))| is_picture(facts, samples));
    let sounds = || {
        tracks().filter(|(_, (facts, samples))| {
            matches!(facts.kind, TrackKind::Audio(_)) && !samples.is_empty()
        })
    };
    pictures()
        .find(|(_, (facts, _))| facts.default)
        .or_else(|| pictures().next())
        .or_else(|| sounds().find(|(_, (facts, _))| facts.default))
        .or_else(|| sounds().next())
        .map(|(at, _)| at)
}

/// Cut times with the end behind them, and the sample of each.
fn cut(samples: &[Sample], facts: &TrackFacts) -> Option<(Vec<i64>, Vec<u32>)> {
    let tick_s = facts.time_base.as_f64();
    let first_key = samples
        .iter()
        .skip(1)
        .position(|sample| sample.key)
        .map_or(samples.len(), |at| at + 1);
    let start = samples[..first_key].iter().map(Sample::pts).min()?;
    // An edit list, or the priming of sound, hides what comes before.
    let last = samples.iter().map(Sample::pts).max()?;
    let start = facts.start_ticks.clamp(start, last);
    let mut cuts = vec![start];
    let mut places = vec![0];
    let mut last = start;
    let mut end = start;
    for (at, sample) in samples.iter().enumerate() {
        let time = sample.pts();
        end = end.max(time.saturating_add(i64::from(sample.duration)));
        let least_s = if cuts.len() <= FIRST_SEGMENTS {
            FIRST_SEGMENT_S
        } else {
            SEGMENT_S
        };
        let length_s = time.saturating_sub(last) as f64 * tick_s;
        if at > 0 && sample.key && length_s >= least_s - TOLERANCE_S {
            cuts.push(time);
            places.push(at as u32);
            last = time;
        }
    }
    if end <= last {
        // A film without any duration (one picture of unknown length) still needs a grid that grows.
        end = last.saturating_add(1);
    }
    cuts.push(end);
    places.push(samples.len() as u32);
    Some((cuts, places))
}

/// Zero of the playlists: where the picture starts, or the sound when it starts well before.
fn origin(index: &MediaIndex, track: usize, start: i64) -> i64 {
    let tick_s = index.facts.tracks[track].time_base.as_f64();
    let start_s = start as f64 * tick_s;
    let sounds = index.facts.tracks.iter().zip(&index.tables);
    let earliest_s = sounds
        .filter(|(facts, samples)| matches!(facts.kind, TrackKind::Audio(_)) && !samples.is_empty())
        .map(|(facts, _)| facts.start_ticks as f64 * facts.time_base.as_f64())
        .fold(f64::INFINITY, f64::min);
    if earliest_s.is_finite() && start_s - earliest_s > SOUND_LEAD_S {
        (earliest_s / tick_s).floor() as i64
    } else {
        start
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use nebula_hwaccel::index::{AudioFacts, Copyable, MediaFacts, VideoFacts};

    pub fn facts(id: u32, kind: TrackKind, den: u32) -> TrackFacts {
        let video = matches!(kind, TrackKind::Video(_));
        TrackFacts {
            id,
            kind,
            codec: if video { "h264" } else { "aac" }.into(),
            codecs: Some(if video { "avc1.64001f" } else { "mp4a.40.2" }.into()),
            time_base: Rational::new(1, den),
            start_ticks: 0,
            duration_ticks: 0,
            bitrate_bps: 0,
            language: None,
            title: None,
            default: false,
            forced: false,
            config: Vec::new(),
            sample_entry: vec![0, 0, 0, 8, b'x', b'x', b'x', b'x'],
            copyable: Copyable::Contiguous,
        }
    }

    /// Pictures at 25 a second with a key every `gop`, and sound of 1,024 samples at 48 kHz, one after the other.
    pub fn film(seconds: usize, gop: usize) -> MediaIndex {
        let mut offset = 100;
        let video: Vec<Sample> = (0..seconds * 25)
            .map(|at| {
                let size = if at % gop == 0 { 5000 } else { 500 };
                offset += size;
                Sample {
                    offset: offset - size,
                    dts: at as i64 * 512 - 512,
                    size: size as u32,
                    duration: 512,
                    composition: 512,
                    key: at % gop == 0,
                }
            })
            .collect();
        let audio: Vec<Sample> = (0..=seconds * 48_000 / 1024)
            .map(|at| {
                offset += 300;
                Sample {
                    offset: offset - 300,
                    dts: at as i64 * 1024 - 1024,
                    size: 300,
                    duration: 1024,
                    composition: 0,
                    key: true,
                }
            })
            .collect();
        let picture = VideoFacts {
            width: 1280,
            height: 720,
            display_width: 1280,
            display_height: 720,
            frame_rate: Rational::new(25, 1),
            ..VideoFacts::default()
        };
        let sound = AudioFacts {
            sample_rate: 48_000,
            channels: 2,
            layout: "stereo".into(),
        };
        MediaIndex {
            facts: MediaFacts {
                container: "mp4".into(),
                duration_us: seconds as u64 * 1_000_000,
                tracks: vec![
                    facts(1, TrackKind::Video(picture), 12_800),
                    facts(2, TrackKind::Audio(sound), 48_000),
                ],
                ..MediaFacts::default()
            },
            tables: vec![video, audio],
            layouts: Vec::new(),
        }
    }

    fn starts(index: &MediaIndex) -> Vec<f64> {
        let timeline = Timeline::of(index).expect("a picture");
        (0..=timeline.segments())
            .map(|n| timeline.start_s(n))
            .collect()
    }

    #[test]
    fn the_first_segments_are_short() {
        assert_eq!(
            starts(&film(20, 25)),
            [0.0, 2.0, 4.0, 8.0, 12.0, 16.0, 20.0]
        );
    }

    #[test]
    fn only_keyframes_are_cuts() {
        assert_eq!(starts(&film(20, 75)), [0.0, 3.0, 6.0, 12.0, 18.0, 20.0]);
        assert_eq!(starts(&film(20, 100_000)), [0.0, 20.0]);
    }

    #[test]
    fn a_short_film_is_one_segment() {
        assert_eq!(starts(&film(1, 25)), [0.0, 1.0]);
    }

    #[test]
    fn sound_that_starts_well_before_the_picture_moves_the_zero() {
        let mut index = film(4, 25);
        index.facts.tracks[1].start_ticks = -48_000;
        assert_eq!(starts(&index), [0.0, 3.0, 5.0]);
        index.facts.tracks[1].start_ticks = -1024;
        assert_eq!(starts(&index), [0.0, 2.0, 4.0]);
    }

    #[test]
    fn sound_alone_is_cut_too() {
        let mut index = film(9, 25);
        index.facts.tracks.remove(0);
        index.tables.remove(0);
        let starts = starts(&index);
        assert_eq!(starts.len(), 5);
        assert!((starts[1] - 2.0).abs() < 0.022, "{starts:?}");
    }

    #[test]
    fn cover_art_is_no_picture() {
        let mut index = film(9, 25);
        index.facts.tracks[0].codec = "mjpeg".into();
        index.tables[0].truncate(1);
        assert_eq!(Timeline::of(&index).map(|t| t.track), Some(1));
    }

    #[test]
    fn nothing_to_time_is_no_timeline() {
        let mut index = film(1, 25);
        index.tables = vec![Vec::new(), Vec::new()];
        assert_eq!(Timeline::of(&index), None);
    }
}
