//! Decodes the picture once and hands it to every rung.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};

use nebula_hwaccel::geometry;
use nebula_hwaccel::index::Rational;
use nebula_hwaccel::protocol::{Acceleration, Failure};

use super::rung::{Recipe, Rung};
use super::{Publisher, QUEUE_FRAMES, Shared};
use crate::av::{AvError, Decoder, Device, Frame, Input, Packet, StreamInfo};
use crate::failure::JobError;
use crate::index::open;

/// Broken packets in a row after which the film counts as over.
const ERRORS_MAX: u32 = 500;
/// The same on a GPU, where the next way may do better.
const ERRORS_MAX_GPU: u32 = 25;

/// Encodes from the first segment that is missing anywhere to the end.
pub fn run(
    shared: &Shared<'_>,
    way: &Acceleration,
    device: Option<&Device>,
    publishers: &[Mutex<Publisher>],
) -> Result<(), JobError> {
    let next = |publisher: &Mutex<Publisher>| {
        publisher
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next
    };
    let first = publishers.iter().map(next).min().unwrap_or(0);
    if first >= shared.timeline.segments() {
        return Ok(());
    }
    let start = shared.timeline.chunk_of(first).start;
    let stream = shared.spec.video_track.unwrap_or(0) as usize;
    let input = open(shared.source)?;
    let info = input.stream(stream).ok_or(JobError::new(
        Failure::BadRequest,
        "there is no such video track",
    ))?;
    if info.time_base != shared.spec.time_base {
        return Err(JobError::new(
            Failure::BadRequest,
            "the cuts are in another time base than the track",
        ));
    }
    let recipes = recipes(shared, way, &info)?;
    let decoder = Decoder::open(&info.parameters, info.time_base, 0, device)
        .map_err(|error| JobError::av(Failure::Decode, &error))?;
    let errors_max = if device.is_some() {
        ERRORS_MAX_GPU
    } else {
        ERRORS_MAX
    };
    std::thread::scope(|scope| {
        let mut queues = Vec::new();
        let mut threads = Vec::new();
        for (recipe, publisher) in recipes.iter().zip(publishers) {
            let (queue, frames) = sync_channel::<Frame>(QUEUE_FRAMES);
            queues.push(queue);
            threads.push(scope.spawn(move || {
                let mut publisher = publisher.lock().unwrap_or_else(PoisonError::into_inner);
                Rung::new(shared, recipe, device, start, &mut publisher).run(&frames)
            }));
        }
        let mut feed = Feed {
            shared,
            input,
            decoder,
            stream,
            queues,
            last: None,
            errors: 0,
            errors_max,
        };
        let fed = feed.run(start);
        drop(feed);
        let mut outcome = fed;
        for thread in threads {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(JobError::new(Failure::Internal, "a rung panicked")));
            // A feed that failed is the cause; one that merely stopped was stopped by a rung.
            if outcome.is_ok() {
                outcome = ended;
            }
        }
        outcome
    })
}

fn recipes(
    shared: &Shared<'_>,
    way: &Acceleration,
    info: &StreamInfo,
) -> Result<Vec<Recipe>, JobError> {
    let raw = info.parameters.raw();
    let aspect = info.parameters.pixel_aspect();
    let pixel_aspect = if aspect.num == 0 {
        Rational::new(1, 1)
    } else {
        aspect
    };
    let (width, height) = (
        u32::try_from(raw.width).unwrap_or(0),
        u32::try_from(raw.height).unwrap_or(0),
    );
    let shown = geometry::displayed(width, height, pixel_aspect, info.rotation_deg);
    let rate = |rate: &Rational| rate.num > 0 && (0.5..=300.0).contains(&rate.as_f64());
    let frame_rate = [info.frame_rate, info.real_frame_rate]
        .into_iter()
        .find(rate)
        .unwrap_or(Rational::new(25, 1));
    let recipe = |rung: &nebula_hwaccel::protocol::RungSpec| {
        let size = geometry::rung(shown, rung.height).ok_or_else(|| {
            let detail = format!(
                "{} would enlarge a picture of {} by {}",
                rung.name, shown.0, shown.1
            );
            JobError::new(Failure::BadRequest, detail)
        })?;
        Ok(Recipe {
            size,
            rotation_deg: info.rotation_deg,
            pixel_aspect,
            frame_rate,
            bitrate_bps_max: rung.bitrate_bps_max.clamp(64_000, 200_000_000),
            way: way.clone(),
        })
    };
    shared.spec.rungs.iter().map(recipe).collect()
}

/// The decoding side.
struct Feed<'a> {
    shared: &'a Shared<'a>,
    input: Input,
    decoder: Decoder,
    stream: usize,
    queues: Vec<SyncSender<Frame>>,
    last: Option<i64>,
    /// Broken packets and pictures since the last whole one.
    errors: u32,
    errors_max: u32,
}

impl Feed<'_> {
    fn run(&mut self, start: u32) -> Result<(), JobError> {
        let from = self.shared.timeline.cut(start);
        self.input.only(&[self.stream]);
        // Should the container not lead to a packet at or before the cut, the film is read from its beginning.
        let mut landed = start == 0 || self.input.seek(self.stream, from).is_err();
        let av = |error| JobError::av(Failure::Decode, &error);
        let mut packet = Packet::new().map_err(av)?;
        loop {
            self.shared.check()?;
            match self.input.read(&mut packet) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.broken(&error)?;
                    continue;
                }
            }
            if packet.stream() != self.stream {
                continue;
            }
            if !landed {
                landed = true;
                if packet.pts().or(packet.dts()).is_none_or(|pts| pts > from) {
                    self.input = open(self.shared.source)?;
                    self.input.only(&[self.stream]);
                    continue;
                }
            }
            if let Err(error) = self.decoder.send(Some(&packet)) {
                self.broken(&error)?;
            }
            if !self.hand_out(from)? {
                return Ok(());
            }
        }
        self.decoder.send(None).map_err(av)?;
        self.hand_out(from)?;
        if self.last.is_none() {
            return Err(JobError::new(
                Failure::Decode,
                "no picture could be decoded",
            ));
        }
        Ok(())
    }

    /// Counts something broken; an error when there is too much of it.
    fn broken(&mut self, error: &AvError) -> Result<(), JobError> {
        self.errors += 1;
        if self.errors > self.errors_max {
            Err(JobError::av(Failure::Decode, error))
        } else {
            Ok(())
        }
    }

    /// Gives every decoded frame to every rung; false after the end.
    fn hand_out(&mut self, from: i64) -> Result<bool, JobError> {
        let av = |error| JobError::av(Failure::Decode, &error);
        let mut frame = Frame::new().map_err(av)?;
        loop {
            match self.decoder.receive(&mut frame) {
                Ok(true) => {}
                Ok(false) => return Ok(true),
                // The next may be whole.
                Err(error) => {
                    self.broken(&error)?;
                    return Ok(true);
                }
            }
            self.errors = 0;
            let Some(pts) = frame.best_pts() else {
                continue;
            };
            if pts >= self.shared.timeline.end() {
                return Ok(false);
            }
            // Pictures before the start belong to another chunk; times that do not rise cannot be shown.
            if pts < from || self.last.is_some_and(|last| pts <= last) {
                continue;
            }
            self.last = Some(pts);
            frame.set_pts(pts);
            self.shared.frames.fetch_add(1, Ordering::Relaxed);
            for queue in &self.queues {
                // A rung that is gone has failed, and says why when it is joined.
                if queue.send(frame.share().map_err(av)?).is_err() {
                    return Ok(false);
                }
            }
        }
    }
}
