//! The sound: one AAC rendition, encoded in one go, silent where the film is, cut where the picture is.

use nebula_hwaccel::codecs;
use nebula_hwaccel::fmp4::{self, AudioShape, FragmentSample, Track, TrackShape};
use nebula_hwaccel::index::Rational;
use nebula_hwaccel::protocol::{Acceleration, AudioSpec, Failure, RungKind};

use super::timeline::SOUND_TIMESCALE;
use super::{Publisher, Shared};
use crate::av::{AudioEncoder, AvError, Decoder, Frame, Graph, Packet, SoundInput};
use crate::failure::JobError;
use crate::index::open;

/// Samples of an AAC frame.
const FRAME_SAMPLES: u32 = 1024;
const CHANNELS: u16 = 2;
/// Broken packets in a row after which the sound counts as over.
const ERRORS_MAX: u32 = 500;

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn av(error: AvError) -> JobError {
    JobError::av(Failure::Decode, &error)
}

/// Encodes the whole track. A resumed job begins at the start as well, as an encoder's state comes from all that went
/// before; it publishes only what is missing.
pub fn run(shared: &Shared<'_>, spec: &AudioSpec) -> Result<(), JobError> {
    let stream = spec.track as usize;
    let mut input = open(shared.source)?;
    let info = input.stream(stream).ok_or(JobError::new(
        Failure::BadRequest,
        "there is no such sound track",
    ))?;
    input.only(&[stream]);
    let mut decoder = Decoder::open(&info.parameters, info.time_base, 1, None).map_err(av)?;
    let mut sound = Sound::new(shared, spec, info.time_base)?;
    let mut packet = Packet::new().map_err(av)?;
    let mut frame = Frame::new().map_err(av)?;
    let mut errors = 0;
    let mut ended = false;
    while !ended && !sound.complete() {
        shared.check()?;
        let read = match input.read(&mut packet) {
            Ok(read) => read,
            Err(error) => {
                errors += 1;
                if errors > ERRORS_MAX {
                    return Err(av(error));
                }
                continue;
            }
        };
        ended = !read;
        if read && packet.stream() != stream {
            continue;
        }
        match decoder.send(read.then_some(&packet)) {
            Ok(()) => errors = 0,
            Err(error) => {
                errors += 1;
                if errors > ERRORS_MAX {
                    return Err(av(error));
                }
            }
        }
        while decoder.receive(&mut frame).unwrap_or(false) {
            sound.push(&mut frame)?;
        }
    }
    sound.finish()
}

struct Sound<'a> {
    shared: &'a Shared<'a>,
    time_base: Rational,
    publisher: Publisher,
    encoder: AudioEncoder,
    graph: Option<((i32, i32, i32), Graph)>,
    /// Samples given to the encoder.
    given: i64,
    /// End of the last decoded frame, for frames without a time.
    heard: i64,
    segment: u32,
    start: i64,
    samples: Vec<FragmentSample>,
    data: Vec<u8>,
}

impl<'a> Sound<'a> {
    fn new(
        shared: &'a Shared<'a>,
        spec: &AudioSpec,
        time_base: Rational,
    ) -> Result<Self, JobError> {
        let encode = |error| JobError::av(Failure::Encode, &error);
        let encoder = AudioEncoder::open(spec.bitrate_bps).map_err(encode)?;
        let config = encoder.extradata();
        let name = codecs::aac(&config).ok_or(JobError::new(
            Failure::Encode,
            "the AAC encoder says nothing of itself",
        ))?;
        let shape = AudioShape {
            channels: CHANNELS,
            sample_rate: SOUND_TIMESCALE,
        };
        let esds = fmp4::esds_aac(&config, u32::try_from(spec.bitrate_bps).unwrap_or(u32::MAX));
        let track = Track {
            timescale: SOUND_TIMESCALE,
            shape: TrackShape::Sound,
            sample_entry: fmp4::audio_entry(b"mp4a", shape, &esds),
        };
        let mut publisher = Publisher::new(&spec.name, shared.spec.first_segment);
        let kind = RungKind::Audio {
            sample_rate: SOUND_TIMESCALE,
            channels: CHANNELS,
        };
        publisher.init(
            shared,
            kind,
            name,
            SOUND_TIMESCALE,
            Acceleration::Software,
            fmp4::init(&track),
        )?;
        Ok(Self {
            shared,
            time_base,
            publisher,
            encoder,
            graph: None,
            given: 0,
            heard: 0,
            segment: 0,
            start: 0,
            samples: Vec::new(),
            data: Vec::new(),
        })
    }

    /// Whether the encoder has all it needs.
    fn complete(&self) -> bool {
        self.given
            >= self
                .shared
                .timeline
                .sound_cut(self.shared.timeline.segments())
                + i64::from(FRAME_SAMPLES)
    }

    fn push(&mut self, frame: &mut Frame) -> Result<(), JobError> {
        let looks = frame.sound();
        if self.graph.as_ref().is_none_or(|(built, _)| *built != looks) {
            self.flush()?;
            // Silence up to the first sound and in every gap; what lies before the origin is cut off.
            let chain = format!(
                "aresample={SOUND_TIMESCALE}:async=1:first_pts={},aformat=sample_fmts=fltp:channel_layouts=stereo,asetnsamples=n={FRAME_SAMPLES}:p=1",
                self.given
            );
            let input = SoundInput {
                like: frame,
                time_base: Rational::new(1, SOUND_TIMESCALE),
            };
            self.graph = Some((looks, Graph::sound(&input, &chain).map_err(av)?));
        }
        let pts = match frame.best_pts() {
            Some(pts) => self.shared.timeline.sound_ticks(pts, self.time_base),
            None => self.heard,
        };
        let rate = i64::from(frame.sample_rate().max(1));
        self.heard = pts + i64::from(frame.samples()) * i64::from(SOUND_TIMESCALE) / rate;
        // What ends before the origin is not heard.
        if self.heard <= 0 {
            return Ok(());
        }
        frame.set_pts(pts);
        if let Some((_, graph)) = &mut self.graph {
            graph.push(Some(frame)).map_err(av)?;
        }
        self.pull()
    }

    fn flush(&mut self) -> Result<(), JobError> {
        if let Some((_, graph)) = &mut self.graph {
            graph.push(None).map_err(av)?;
        }
        self.pull()?;
        self.graph = None;
        Ok(())
    }

    fn pull(&mut self) -> Result<(), JobError> {
        let mut frame = Frame::new().map_err(av)?;
        while let Some((_, graph)) = &mut self.graph {
            if !graph.pull(&mut frame).map_err(av)? {
                break;
            }
            self.give(&mut frame)?;
        }
        Ok(())
    }

    fn give(&mut self, frame: &mut Frame) -> Result<(), JobError> {
        if self.complete() {
            return Ok(());
        }
        frame.set_pts(self.given);
        self.given += i64::from(frame.samples());
        self.encoder.send(Some(frame)).map_err(av)?;
        self.drain()
    }

    /// Silence to the end of the picture, then the encoder's rest.
    fn finish(mut self) -> Result<(), JobError> {
        self.flush()?;
        while !self.complete() {
            self.shared.check()?;
            let mut silence =
                Frame::silence(FRAME_SAMPLES as i32, SOUND_TIMESCALE as i32).map_err(av)?;
            self.give(&mut silence)?;
        }
        self.encoder.send(None).map_err(av)?;
        self.drain()?;
        while self.segment < self.shared.timeline.segments() {
            self.publish()?;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), JobError> {
        let mut packet = Packet::new().map_err(av)?;
        while self.encoder.receive(&mut packet).map_err(av)? {
            let Some(pts) = packet.pts() else { continue };
            // The encoder's delay comes first, and its rest beyond the end of the picture.
            if pts < 0
                || pts
                    >= self
                        .shared
                        .timeline
                        .sound_cut(self.shared.timeline.segments())
            {
                continue;
            }
            while pts >= self.shared.timeline.sound_cut(self.segment + 1) {
                self.publish()?;
            }
            // Before the first cut there is no segment.
            if pts < self.shared.timeline.sound_cut(self.segment) {
                continue;
            }
            if self.samples.is_empty() {
                self.start = pts;
            }
            let size = u32::try_from(packet.data().len()).unwrap_or(u32::MAX);
            self.samples.push(FragmentSample {
                duration: FRAME_SAMPLES,
                size,
                composition: 0,
                key: true,
            });
            self.data.extend_from_slice(packet.data());
        }
        Ok(())
    }

    fn publish(&mut self) -> Result<(), JobError> {
        if self.samples.is_empty() {
            self.start = self.shared.timeline.sound_cut(self.segment);
        }
        let start = u64::try_from(self.start).unwrap_or(0);
        let bytes = fmp4::media_segment(self.segment, start, &self.samples, &self.data);
        let duration = fmp4::duration_ticks(&self.samples);
        self.publisher
            .segment(self.shared, self.segment, start, duration, bytes)?;
        self.segment += 1;
        self.samples.clear();
        self.data.clear();
        if self.shared.spec.rungs.is_empty() {
            self.shared.tell(self.segment)
        } else {
            Ok(())
        }
    }
}
