//! One picture of the film, small.

use nebula_hwaccel::geometry;
use nebula_hwaccel::index::{MediaIndex, TrackFacts, TrackKind, VideoFacts};
use nebula_hwaccel::protocol::FromWorker;

use super::PosterError;
use crate::av::{AvError, Decoder, Frame, Graph, Input, Packet, PictureInput, jpeg};
use crate::filters;
use crate::source::Source;

const WIDTH_PX_MAX: u32 = 640;
const BYTES_MAX: usize = 200_000;
/// How far into the film the picture is taken: past black and logos.
const PLACE: f64 = 0.1;
/// Packets looked at before giving up.
const PACKETS_MAX: u32 = 5_000;
/// JPEG qualities tried in turn until the picture is small enough.
const QUALITIES: [u8; 4] = [4, 8, 16, 31];

/// The poster, or nothing where there is no picture.
pub fn take(source: &Source, media: &MediaIndex) -> Result<Option<FromWorker>, PosterError> {
    let mut tracks = media.facts.tracks.iter();
    let Some((track, facts)) = tracks.find_map(|track| match &track.kind {
        TrackKind::Video(facts) => Some((track, facts)),
        _ => None,
    }) else {
        return Ok(None);
    };
    let place = track
        .start_ticks
        .saturating_add((track.duration_ticks as f64 * PLACE) as i64);
    let frame = match picture(source, track, Some(place)) {
        Ok(Some(frame)) => frame,
        // Some files cannot be entered in the middle.
        _ => match picture(source, track, None)? {
            Some(frame) => frame,
            None => return Err(AvError::missing("no picture could be decoded").into()),
        },
    };
    let time_us = track.time_base.micros(frame.best_pts().unwrap_or(place));
    let (bytes, (width, height)) = shrink(&frame, track, facts)?;
    Ok(Some(FromWorker::Poster {
        jpeg: bytes,
        width,
        height,
        time_us,
    }))
}

/// The first picture that can be decoded at or before `place`, or at the start.
fn picture(
    source: &Source,
    track: &TrackFacts,
    place: Option<i64>,
) -> Result<Option<Frame>, AvError> {
    let mut input = Input::open(source)?;
    let stream = track.id as usize;
    input.only(&[stream]);
    let info = input
        .stream(stream)
        .ok_or(AvError::missing("the track is gone"))?;
    let mut decoder = Decoder::open(&info.parameters, info.time_base, 1, None)?;
    if let Some(place) = place {
        input.seek(stream, place)?;
        decoder.only_keys();
    }
    let mut packet = Packet::new()?;
    let mut frame = Frame::new()?;
    for _ in 0..PACKETS_MAX {
        if !input.read(&mut packet)? {
            decoder.send(None)?;
            return Ok(decoder.receive(&mut frame)?.then_some(frame));
        }
        if packet.stream() == stream {
            // A broken packet is no reason to give up.
            let _ = decoder.send(Some(&packet));
            if decoder.receive(&mut frame)? {
                return Ok(Some(frame));
            }
        }
    }
    Ok(None)
}

fn shrink(
    frame: &Frame,
    track: &TrackFacts,
    facts: &VideoFacts,
) -> Result<(Vec<u8>, (u32, u32)), PosterError> {
    let size = geometry::fit_width((facts.display_width, facts.display_height), WIDTH_PX_MAX);
    let input = PictureInput {
        like: frame,
        time_base: track.time_base,
        frame_rate: facts.frame_rate,
        pixel_aspect: facts.pixel_aspect,
    };
    let chain = filters::software(size, facts.rotation_deg, frame.is_hdr(), "yuvj420p");
    let mut graph = Graph::picture(&input, &chain, None)?;
    graph.push(Some(&mut frame.share()?))?;
    graph.push(None)?;
    let mut small = Frame::new()?;
    if !graph.pull(&mut small)? {
        return Err(AvError::missing("the picture could not be scaled").into());
    }
    for quality in QUALITIES {
        let bytes = jpeg(&small, quality)?;
        if bytes.len() <= BYTES_MAX {
            return Ok((bytes, size));
        }
    }
    Err(PosterError::TooLarge)
}
