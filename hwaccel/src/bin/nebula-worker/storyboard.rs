//! A storyboard: keyframes alone are decoded, each found by a seek, made small and put side by side.

use std::sync::Arc;

use nebula_hwaccel::protocol::{
    Failure, FromWorker, MAX_SHEET_SIDE, MAX_TILE_PX, MAX_TILES, Sheet, Stage, StoryboardSpec,
    Summary,
};

use crate::av::{
    AvError, Decoder, Frame, Graph, Input, Packet, PictureFormat, PictureInput, StreamInfo, jpeg,
};
use crate::control::Link;
use crate::failure::JobError;
use crate::filters;
use crate::index::open;
use crate::source::Source;

/// Packets looked at for one tile: more than lie between two keyframes of any film that plays.
const PACKETS_MAX: u32 = 5_000;
/// JPEG quality: text stays legible, a sheet stays near 100 kB.
const QUALITY: u8 = 5;

/// Makes every sheet.
pub fn run(link: &Arc<Link>, source: &Source, spec: &StoryboardSpec) -> Result<Summary, JobError> {
    let side = |side: u32, most: u32| (1..=most).contains(&side);
    if spec.times.len() > MAX_TILES
        || !side(spec.tile.0, MAX_TILE_PX)
        || !side(spec.tile.1, MAX_TILE_PX)
        || !side(spec.columns, MAX_SHEET_SIDE)
        || !side(spec.rows, MAX_SHEET_SIDE)
    {
        return Err(JobError::new(
            Failure::BadRequest,
            "the storyboard exceeds the limits of the protocol",
        ));
    }
    link.progress(0.0, Stage::Opening, 0.0)?;
    let decode = |error: AvError| JobError::av(Failure::Decode, &error);
    let mut input = open(source)?;
    let stream = spec.track as usize;
    let info = input
        .stream(stream)
        .ok_or(JobError::new(Failure::BadRequest, "there is no such track"))?;
    input.only(&[stream]);
    let mut decoder = Decoder::open(&info.parameters, info.time_base, 1, None).map_err(decode)?;
    decoder.only_keys();
    let mut keys = Keys {
        input,
        stream,
        decoder,
        packet: Packet::new().map_err(decode)?,
    };
    let mut summary = Summary::default();
    let tiles = (spec.columns * spec.rows) as usize;
    let mut done = 0;
    for wanted in spec.times.chunks(tiles) {
        let mut sheet = Tiles::new(spec, &info);
        for time in wanted {
            link.check()?;
            // A place that cannot be decoded has no tile; the one before it stands for it.
            if let Ok(Some((time, frame))) = keys.at(*time) {
                sheet.add(time, &frame).map_err(decode)?;
                summary.frames += 1;
            }
            if let Some(failure) = source.failure() {
                return Err(failure);
            }
            done += 1;
            let fraction = f64::from(done) / spec.times.len() as f64;
            link.progress(fraction, Stage::Storyboard, 0.0)?;
        }
        let Some(sheet) = sheet.finish(summary.segments).map_err(decode)? else {
            continue;
        };
        link.send(&FromWorker::Sheet(sheet))?;
        summary.segments += 1;
    }
    if summary.segments == 0 {
        return Err(JobError::new(
            Failure::Decode,
            "no keyframe could be decoded",
        ));
    }
    Ok(summary)
}

/// Finds and decodes keyframes.
struct Keys {
    input: Input,
    stream: usize,
    decoder: Decoder,
    packet: Packet,
}

impl Keys {
    /// The keyframe at a time, or the last one before it, with its own time.
    fn at(&mut self, time: i64) -> Result<Option<(i64, Frame)>, AvError> {
        self.input.seek(self.stream, time)?;
        let mut best = None;
        for _ in 0..PACKETS_MAX {
            if !self.input.read(&mut self.packet)? {
                break;
            }
            if self.packet.stream() != self.stream || !self.packet.is_key() {
                continue;
            }
            let shown = self.packet.pts().or(self.packet.dts()).unwrap_or(time);
            if shown > time && best.is_some() {
                break;
            }
            if let Some(frame) = self.decode()? {
                best = Some((shown, frame));
            }
            if shown >= time {
                break;
            }
        }
        Ok(best)
    }

    /// One packet as a picture; nothing after it is looked at.
    fn decode(&mut self) -> Result<Option<Frame>, AvError> {
        self.decoder.reset();
        self.decoder.send(Some(&self.packet))?;
        self.decoder.send(None)?;
        let mut frame = Frame::new()?;
        Ok(self.decoder.receive(&mut frame)?.then_some(frame))
    }
}

/// One sheet while it is filled.
struct Tiles<'a> {
    spec: &'a StoryboardSpec,
    info: &'a StreamInfo,
    scale: Option<(PictureFormat, Graph)>,
    tile: Option<Graph>,
    times: Vec<i64>,
}

impl<'a> Tiles<'a> {
    fn new(spec: &'a StoryboardSpec, info: &'a StreamInfo) -> Self {
        Self {
            spec,
            info,
            scale: None,
            tile: None,
            times: Vec::new(),
        }
    }

    fn input<'f>(&self, like: &'f Frame) -> PictureInput<'f> {
        PictureInput {
            like,
            time_base: self.info.time_base,
            frame_rate: self.info.frame_rate,
            pixel_aspect: self.info.parameters.pixel_aspect(),
        }
    }

    fn add(&mut self, time: i64, frame: &Frame) -> Result<(), AvError> {
        let looks = frame.picture();
        if self.scale.as_ref().is_none_or(|(built, _)| *built != looks) {
            let rotation = self.info.rotation_deg;
            let chain = filters::software(self.spec.tile, rotation, frame.is_hdr(), "yuvj420p");
            let graph = Graph::picture(&self.input(frame), &chain, None)?;
            self.scale = Some((looks, graph));
        }
        let Some((_, scale)) = &mut self.scale else {
            return Ok(());
        };
        let mut own = frame.share()?;
        own.set_pts(self.times.len() as i64);
        scale.push(Some(&mut own))?;
        let mut small = Frame::new()?;
        if !scale.pull(&mut small)? {
            return Ok(());
        }
        if self.tile.is_none() {
            let chain = format!("tile={}x{}", self.spec.columns, self.spec.rows);
            self.tile = Some(Graph::picture(&self.input(&small), &chain, None)?);
        }
        if let Some(tile) = &mut self.tile {
            tile.push(Some(&mut small))?;
            self.times.push(time);
        }
        Ok(())
    }

    /// The sheet; nothing when no tile came.
    fn finish(mut self, number: u32) -> Result<Option<Sheet>, AvError> {
        let Some(mut tile) = self.tile.take() else {
            return Ok(None);
        };
        tile.push(None)?;
        let mut sheet = Frame::new()?;
        if !tile.pull(&mut sheet)? {
            return Err(AvError::missing("the tiles could not be put together"));
        }
        Ok(Some(Sheet {
            number,
            times: self.times,
            jpeg: jpeg(&sheet, QUALITY)?,
        }))
    }
}
