//! The ladder job: decode once, encode each rung on a thread of its own, cut everywhere at the same times.
//!
//! One thread decodes and hands references to frames to the rungs over queues of [`QUEUE_FRAMES`]; a thread with its own
//! demuxer makes the sound. Encoders are new for each chunk (see `plan` in the library), so that the bytes of a segment
//! depend on the film and the recipe alone. When hardware fails in mid-film the next way starts at the first chunk that
//! is not published whole; what is published stays.

mod audio;
mod rung;
mod timeline;
mod video;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nebula_hwaccel::choice;
use nebula_hwaccel::protocol::{
    Failure, FromWorker, LadderSpec, MAX_CUTS, MAX_RUNGS, RungInit, RungKind, Segment, Stage,
    Summary,
};

use crate::control::Link;
use crate::failure::JobError;
use crate::probe::Hardware;
use crate::source::Source;
use timeline::Timeline;

/// Decoded frames that wait for a rung.
const QUEUE_FRAMES: usize = 4;
/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// What the threads of one job share.
struct Shared<'a> {
    link: &'a Arc<Link>,
    source: &'a Source,
    spec: &'a LadderSpec,
    timeline: Timeline,
    started: Instant,
    told: Mutex<Instant>,
    frames: AtomicU64,
    segments: AtomicU32,
    /// Set by the first thread that fails, so that the others stop.
    stopped: AtomicBool,
}

impl Shared<'_> {
    /// An error when the job is cancelled or another thread has failed.
    fn check(&self) -> Result<(), JobError> {
        self.link.check()?;
        if self.stopped.load(Ordering::Relaxed) {
            return Err(JobError::new(
                Failure::Internal,
                "another part of the job failed",
            ));
        }
        Ok(())
    }

    /// Tells progress now and then; `segment` of the slowest rung.
    fn tell(&self, segment: u32) -> Result<(), JobError> {
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.elapsed() < PROGRESS_EVERY {
                return Ok(());
            }
            *told = Instant::now();
        }
        let total = self.timeline.segments();
        let done_s = self.timeline.seconds(self.spec.first_segment, segment);
        let speed = done_s / self.started.elapsed().as_secs_f64().max(0.001);
        self.link.progress(
            f64::from(segment) / f64::from(total.max(1)),
            Stage::Encoding,
            speed,
        )
    }
}

/// What one rung has published; outlives a fallback.
struct Publisher {
    name: String,
    next: u32,
    init: Option<(u32, Vec<u8>)>,
}

impl Publisher {
    fn new(name: &str, first: u32) -> Self {
        Self {
            name: name.to_owned(),
            next: first,
            init: None,
        }
    }

    /// Publishes an init segment, unless it is the one that is out already.
    fn init(
        &mut self,
        shared: &Shared<'_>,
        kind: RungKind,
        codecs: String,
        timescale: u32,
        acceleration: nebula_hwaccel::protocol::Acceleration,
        bytes: Vec<u8>,
    ) -> Result<(), JobError> {
        let init_number = match &self.init {
            Some((_, have)) if *have == bytes => return Ok(()),
            Some((number, _)) => number + 1,
            None => 0,
        };
        self.init = Some((init_number, bytes.clone()));
        let rung = self.name.clone();
        shared.link.send(&FromWorker::RungInit(RungInit {
            rung,
            init_number,
            codecs,
            kind,
            timescale,
            acceleration,
            bytes,
        }))
    }

    /// Publishes a segment, unless it is out already.
    fn segment(
        &mut self,
        shared: &Shared<'_>,
        number: u32,
        start_ticks: u64,
        duration_ticks: u64,
        bytes: Vec<u8>,
    ) -> Result<(), JobError> {
        if number < self.next {
            return Ok(());
        }
        let init_number = self.init.as_ref().map_or(0, |(number, _)| *number);
        let rung = self.name.clone();
        shared.link.send(&FromWorker::Segment(Segment {
            rung,
            number,
            init_number,
            start_ticks,
            duration_ticks,
            bytes,
        }))?;
        self.next = number + 1;
        shared.segments.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Encodes the ladder.
pub fn run(
    link: &Arc<Link>,
    source: &Source,
    spec: &LadderSpec,
    hardware: &Hardware,
) -> Result<Summary, JobError> {
    verify(spec)?;
    let now = Instant::now();
    let shared = Shared {
        link,
        source,
        spec,
        timeline: Timeline::new(spec)?,
        started: now,
        told: Mutex::new(now),
        frames: AtomicU64::new(0),
        segments: AtomicU32::new(0),
        stopped: AtomicBool::new(false),
    };
    let mut summary = Summary::default();
    let (picture, sound) = std::thread::scope(|scope| {
        let sound = spec
            .audio
            .as_ref()
            .map(|audio| scope.spawn(|| stopping(&shared, || audio::run(&shared, audio))));
        let picture = stopping(&shared, || pictures(&shared, hardware));
        let sound = sound.map_or(Ok(()), |thread| {
            thread.join().unwrap_or_else(|_| {
                Err(JobError::new(
                    Failure::Internal,
                    "the sound thread panicked",
                ))
            })
        });
        (picture, sound)
    });
    let error = match (picture, sound) {
        (Ok(notes), Ok(())) => {
            summary.notes = notes;
            summary.frames = shared.frames.load(Ordering::Relaxed);
            summary.segments = shared.segments.load(Ordering::Relaxed);
            return Ok(summary);
        }
        // One of the two stopped only because the other had failed.
        (Err(picture), Err(sound)) => {
            if sound.reason == Failure::Internal {
                picture
            } else {
                sound
            }
        }
        (Err(error), Ok(())) | (Ok(_), Err(error)) => error,
    };
    Err(source.failure().unwrap_or(error))
}

/// Makes the other threads stop when this one fails.
fn stopping<T>(
    shared: &Shared<'_>,
    work: impl FnOnce() -> Result<T, JobError>,
) -> Result<T, JobError> {
    let result = work();
    if result.is_err() {
        shared.stopped.store(true, Ordering::Relaxed);
    }
    result
}

/// Encodes the rungs, by one way after the other.
fn pictures(shared: &Shared<'_>, hardware: &Hardware) -> Result<Vec<String>, JobError> {
    let mut notes = Vec::new();
    if shared.spec.rungs.is_empty() {
        return Ok(notes);
    }
    let first = shared.spec.first_segment;
    let publishers: Vec<Mutex<Publisher>> = shared
        .spec
        .rungs
        .iter()
        .map(|rung| Mutex::new(Publisher::new(&rung.name, first)))
        .collect();
    let ways = choice::fallbacks(&shared.spec.acceleration);
    for (at, way) in ways.iter().enumerate() {
        let tried = match hardware.device(way) {
            Ok(device) => video::run(shared, way, device, &publishers),
            Err(error) => Err(JobError::av(Failure::Encode, &error)),
        };
        match tried {
            Ok(()) => return Ok(notes),
            Err(error) => {
                shared.check()?;
                let last = at + 1 == ways.len();
                if last || !matches!(error.reason, Failure::Encode | Failure::Decode) {
                    return Err(error);
                }
                notes.push(format!(
                    "{} failed ({}); going on with {}",
                    choice::name(way),
                    error.detail,
                    choice::name(&ways[at + 1])
                ));
            }
        }
    }
    Ok(notes)
}

/// What makes no sense whatever the object is.
fn verify(spec: &LadderSpec) -> Result<(), JobError> {
    let bad = |detail: &str| Err(JobError::new(Failure::BadRequest, detail));
    if spec.cuts.len() < 2 || spec.cuts.len() > MAX_CUTS || !spec.cuts.is_sorted_by(|a, b| a < b) {
        return bad("the cuts must be at least two rising times");
    }
    if spec.origin > spec.cuts[0] {
        return bad("the origin must not lie after the first cut");
    }
    if spec.rungs.len() > MAX_RUNGS || spec.rungs.is_empty() && spec.audio.is_none() {
        return bad("there must be something to encode, and not too much");
    }
    if spec.rungs.is_empty() != spec.video_track.is_none() {
        return bad("rungs need a video track, and the other way round");
    }
    if spec.time_base.num == 0
        || spec.time_base.den == 0
        || spec.first_segment as usize >= spec.cuts.len()
    {
        return bad("the time base or the first segment makes no sense");
    }
    Ok(())
}
