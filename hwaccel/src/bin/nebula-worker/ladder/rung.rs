//! One rung: scale, encode, cut, publish.

use std::ops::Range;
use std::sync::mpsc::Receiver;

use nebula_hwaccel::codecs;
use nebula_hwaccel::fmp4::{self, FragmentSample, PictureShape, Track, TrackShape, annexb};
use nebula_hwaccel::index::Rational;
use nebula_hwaccel::protocol::{Acceleration, Failure, Preset, RungKind};

use super::{Publisher, Shared};
use crate::av::{
    AvError, Device, Frame, Graph, Packet, PictureFormat, PictureInput, VideoEncoder,
    VideoSettings, X264,
};
use crate::failure::JobError;
use crate::filters;

/// What shapes a rung besides its name.
pub struct Recipe {
    /// As shown: upright, square pixels.
    pub size: (u32, u32),
    pub rotation_deg: u16,
    pub pixel_aspect: Rational,
    pub frame_rate: Rational,
    pub bitrate_bps_max: u64,
    pub way: Acceleration,
}

/// An encoded picture that waits for the end of its segment.
struct Coded {
    pts: i64,
    key: bool,
    data: Vec<u8>,
}

pub struct Rung<'a> {
    shared: &'a Shared<'a>,
    recipe: &'a Recipe,
    device: Option<&'a Device>,
    publisher: &'a mut Publisher,
    graph: Option<(PictureFormat, Graph)>,
    encoder: Option<VideoEncoder>,
    /// The segments of the encoder at work.
    chunk: Range<u32>,
    /// The segment that pictures go into.
    segment: u32,
    /// Whether that segment has a picture.
    begun: bool,
    /// The last picture, to stand in where a segment has none.
    held: Option<Frame>,
    /// The segment that packets come out for.
    leaving: u32,
    coded: Vec<Coded>,
}

#[expect(clippy::needless_pass_by_value, reason = "the shape map_err wants")]
fn av(error: AvError) -> JobError {
    JobError::av(Failure::Encode, &error)
}

impl<'a> Rung<'a> {
    pub fn new(
        shared: &'a Shared<'a>,
        recipe: &'a Recipe,
        device: Option<&'a Device>,
        start: u32,
        publisher: &'a mut Publisher,
    ) -> Self {
        Self {
            shared,
            recipe,
            device,
            publisher,
            graph: None,
            encoder: None,
            chunk: shared.timeline.chunk_of(start),
            segment: start,
            begun: false,
            held: None,
            leaving: start,
            coded: Vec::new(),
        }
    }

    /// Until the queue closes; then the rest of the film is what was seen last.
    pub fn run(mut self, frames: &Receiver<Frame>) -> Result<(), JobError> {
        for frame in frames {
            self.shared.check()?;
            let pts = frame.pts().unwrap_or(i64::MIN);
            self.advance(self.shared.timeline.segment_at(pts))?;
            self.held = Some(frame.share().map_err(av)?);
            self.encode(frame, pts)?;
        }
        self.shared.check()?;
        self.advance(self.shared.timeline.segments())?;
        Ok(())
    }

    /// Goes on to a segment; those in between, without a picture of their own, show the last one.
    fn advance(&mut self, to: u32) -> Result<(), JobError> {
        while self.segment < to {
            if !self.begun {
                let Some(held) = &self.held else {
                    return Err(JobError::new(
                        Failure::Decode,
                        "the film has no picture at its start",
                    ));
                };
                let frame = held.share().map_err(av)?;
                self.encode(frame, self.shared.timeline.cut(self.segment))?;
            }
            self.segment += 1;
            self.begun = false;
            if self.segment == self.chunk.end {
                self.end_chunk()?;
                self.chunk = self.shared.timeline.chunk_of(self.segment);
                self.leaving = self.segment;
            }
        }
        Ok(())
    }

    fn encode(&mut self, mut frame: Frame, pts: i64) -> Result<(), JobError> {
        let key = !std::mem::replace(&mut self.begun, true);
        // All of this chunk is published: another rung is behind.
        if self.chunk.end <= self.publisher.next {
            return Ok(());
        }
        frame.set_pts(pts);
        let looks = frame.picture();
        if self.graph.as_ref().is_none_or(|(built, _)| *built != looks) {
            let graph = self.build(&frame).map_err(av)?;
            self.graph = Some((looks, graph));
        }
        let mut small = Frame::new().map_err(av)?;
        if let Some((_, graph)) = &mut self.graph {
            graph.push(Some(&mut frame)).map_err(av)?;
            if !graph.pull(&mut small).map_err(av)? {
                return Err(JobError::new(
                    Failure::Encode,
                    "a picture was lost in scaling",
                ));
            }
        }
        small.set_pts(pts);
        small.set_key(key);
        if self.encoder.is_none() {
            self.encoder = Some(self.open(&small)?);
        }
        if let Some(encoder) = &mut self.encoder {
            encoder.send(Some(&small)).map_err(av)?;
        }
        self.drain()
    }

    fn build(&self, frame: &Frame) -> Result<Graph, AvError> {
        let recipe = self.recipe;
        let on_cpu = !frame.picture().hardware;
        let chain = filters::chain(
            &recipe.way,
            recipe.size,
            recipe.rotation_deg,
            frame.is_hdr(),
            on_cpu,
        );
        let input = PictureInput {
            like: frame,
            time_base: self.shared.spec.time_base,
            frame_rate: recipe.frame_rate,
            pixel_aspect: recipe.pixel_aspect,
        };
        Graph::picture(&input, &chain, self.device)
    }

    /// A fresh encoder, and the init segment that goes with it.
    fn open(&mut self, first: &Frame) -> Result<VideoEncoder, JobError> {
        let recipe = self.recipe;
        let preset = match self.shared.spec.preset {
            Preset::Superfast => "superfast",
            Preset::Veryfast => "veryfast",
        };
        let (width, height) = recipe.size;
        let settings = VideoSettings {
            width,
            height,
            time_base: self.shared.spec.time_base,
            frame_rate: recipe.frame_rate,
            bitrate_bps_max: recipe.bitrate_bps_max,
            x264: X264 {
                preset,
                threads: self.shared.spec.encoder_threads,
            },
        };
        let Some((_, graph)) = &self.graph else {
            return Err(JobError::new(
                Failure::Internal,
                "an encoder was opened before its filters",
            ));
        };
        let encoder = VideoEncoder::open(&recipe.way, &settings, graph, first).map_err(av)?;
        let config = annexb::avcc_payload(&encoder.extradata(), annexb::USUAL).ok_or(
            JobError::new(Failure::Encode, "the encoder gives no parameter sets"),
        )?;
        let shape = PictureShape {
            width,
            height,
            pixel_aspect: (1, 1),
            color: None,
        };
        let timescale = self.shared.timeline.picture_timescale();
        let track = Track {
            timescale,
            shape: TrackShape::Picture { width, height },
            sample_entry: fmp4::picture_entry(b"avc1", &shape, &fmp4::avcc(&config)),
        };
        let kind = RungKind::Video {
            width,
            height,
            frame_rate: recipe.frame_rate,
        };
        let name = codecs::avc("avc1", &config).unwrap_or_default();
        self.publisher.init(
            self.shared,
            kind,
            name,
            timescale,
            recipe.way.clone(),
            fmp4::init(&track),
        )?;
        Ok(encoder)
    }

    /// Takes what the encoder has; a packet of the next segment ends the one before.
    fn drain(&mut self) -> Result<(), JobError> {
        let mut packet = Packet::new().map_err(av)?;
        loop {
            let Some(encoder) = &mut self.encoder else {
                return Ok(());
            };
            if !encoder.receive(&mut packet).map_err(av)? {
                return Ok(());
            }
            let pts = packet
                .pts()
                .ok_or(JobError::new(Failure::Encode, "the encoder gives no times"))?;
            let segment = self.shared.timeline.segment_at(pts);
            while self.leaving < segment {
                self.publish()?;
            }
            self.coded.push(Coded {
                pts,
                key: packet.is_key(),
                data: annexb::length_prefixed(packet.data()),
            });
        }
    }

    fn end_chunk(&mut self) -> Result<(), JobError> {
        if let Some(encoder) = &mut self.encoder {
            encoder.send(None).map_err(av)?;
            self.drain()?;
            while self.leaving < self.chunk.end {
                self.publish()?;
            }
        }
        self.encoder = None;
        Ok(())
    }

    /// Publishes the segment whose packets are complete; it needs nothing of its neighbours and no edit list.
    fn publish(&mut self) -> Result<(), JobError> {
        let number = self.leaving;
        self.leaving += 1;
        let coded = std::mem::take(&mut self.coded);
        if coded.first().is_none_or(|first| !first.key) {
            return Err(JobError::new(
                Failure::Encode,
                format!("segment {number} does not begin with a key picture"),
            ));
        }
        let timeline = &self.shared.timeline;
        let ticks = |pts: i64| timeline.picture_ticks(pts);
        let start = ticks(timeline.cut(number));
        let end = ticks(timeline.cut(number + 1));
        let presentation: Vec<i64> = coded.iter().map(|sample| ticks(sample.pts)).collect();
        let times = fmp4::decode_times(start, presentation.clone());
        let mut samples = Vec::with_capacity(coded.len());
        for (at, sample) in coded.iter().enumerate() {
            let next = times.get(at + 1).copied().unwrap_or(end);
            samples.push(FragmentSample {
                duration: u32::try_from(next - times[at]).unwrap_or(0),
                size: u32::try_from(sample.data.len()).unwrap_or(u32::MAX),
                composition: i32::try_from(presentation[at] - times[at]).unwrap_or(0),
                key: sample.key,
            });
        }
        let data: Vec<u8> = coded
            .iter()
            .flat_map(|sample| sample.data.iter().copied())
            .collect();
        let start = u64::try_from(start).unwrap_or(0);
        let bytes = fmp4::media_segment(number, start, &samples, &data);
        let duration = fmp4::duration_ticks(&samples);
        self.publisher
            .segment(self.shared, number, start, duration, bytes)?;
        self.shared.tell(number + 1)
    }
}
