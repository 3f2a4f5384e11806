//! Where segments begin and end, in the units of the film, of the picture's output and of the sound's.

use std::ops::Range;

use nebula_hwaccel::index::Rational;
use nebula_hwaccel::plan;
use nebula_hwaccel::protocol::{Failure, LadderSpec};

use crate::failure::JobError;

/// Rate and timescale of the sound.
pub const SOUND_TIMESCALE: u32 = 48_000;

/// The picture's output has at least so many ticks a second: decoding times lie between those of frames.
const TIMESCALE_MIN: u32 = 12_000;

pub struct Timeline {
    /// Ticks of the picture's output in a `1 / den` of the film's time base.
    fine: u32,
    cuts: Vec<i64>,
    origin: i64,
    time_base: Rational,
    chunks: Vec<Range<usize>>,
}

impl Timeline {
    pub fn new(spec: &LadderSpec) -> Result<Self, JobError> {
        let length = |cut: i64| {
            cut.checked_sub(spec.origin).and_then(|ticks| {
                ticks.checked_mul(i64::from(spec.time_base.num) * i64::from(TIMESCALE_MIN))
            })
        };
        if spec.cuts.iter().any(|cut| length(*cut).is_none()) {
            return Err(JobError::new(Failure::BadRequest, "a cut is out of range"));
        }
        let fine = TIMESCALE_MIN.div_ceil(spec.time_base.den);
        Ok(Self {
            fine,
            cuts: spec.cuts.clone(),
            origin: spec.origin,
            time_base: spec.time_base,
            chunks: plan::chunks(&spec.cuts, spec.time_base),
        })
    }

    pub fn segments(&self) -> u32 {
        (self.cuts.len() - 1) as u32
    }

    /// Start of a segment in the film's time; for the number after the last, the end.
    pub fn cut(&self, segment: u32) -> i64 {
        self.cuts[(segment as usize).min(self.cuts.len() - 1)]
    }

    pub fn end(&self) -> i64 {
        self.cut(self.segments())
    }

    /// The segment that a time of the film belongs to.
    pub fn segment_at(&self, pts: i64) -> u32 {
        let after = self.cuts.partition_point(|cut| *cut <= pts);
        (after.saturating_sub(1) as u32).min(self.segments().saturating_sub(1))
    }

    /// The segments that share an encoder with this one.
    pub fn chunk_of(&self, segment: u32) -> Range<u32> {
        let found = self
            .chunks
            .iter()
            .find(|chunk| chunk.contains(&(segment as usize)));
        found.map_or(segment..segment + 1, |chunk| {
            chunk.start as u32..chunk.end as u32
        })
    }

    /// Ticks per second of the picture's output.
    pub fn picture_timescale(&self) -> u32 {
        self.time_base.den * self.fine
    }

    /// A time of the film on the picture's output.
    pub fn picture_ticks(&self, pts: i64) -> i64 {
        (pts - self.origin)
            .saturating_mul(i64::from(self.time_base.num))
            .saturating_mul(i64::from(self.fine))
    }

    /// Start of a segment on the sound's output.
    pub fn sound_cut(&self, segment: u32) -> i64 {
        self.time_base
            .rescale(self.cut(segment) - self.origin, SOUND_TIMESCALE)
    }

    /// A time of a sound track on the sound's output.
    pub fn sound_ticks(&self, pts: i64, time_base: Rational) -> i64 {
        let origin = self.time_base.rescale(self.origin, SOUND_TIMESCALE);
        time_base
            .rescale(pts, SOUND_TIMESCALE)
            .saturating_sub(origin)
    }

    /// Seconds from one segment's start to another's.
    pub fn seconds(&self, from: u32, to: u32) -> f64 {
        (self.cut(to) - self.cut(from)) as f64 * self.time_base.as_f64()
    }
}
