//! Which hardware works here: found by really decoding, scaling and encoding with it.
//!
//! Drivers are loaded by [`open`] or [`enumerate`] before the sandbox closes; the trials run inside it, so that what
//! works in a trial works in a job.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use nebula_hwaccel::choice;
use nebula_hwaccel::index::Rational;
use nebula_hwaccel::protocol::{Acceleration, FromWorker, ProbeEntry, ProbeReport, Stage, Summary};

use crate::av::{
    AvError, Decoder, Device, Frame, Graph, Packet, Parameters, PictureInput, VideoEncoder,
    VideoSettings, X264,
};
use crate::control::Link;
use crate::failure::JobError;
use crate::filters;

/// Render nodes looked at.
const DEVICES_MAX: usize = 8;
/// Pictures of a trial: more than an encoder holds back.
const FRAMES: i64 = 12;
const SIZE: (u32, u32) = (640, 360);
const SMALL: (u32, u32) = (320, 180);
const TIME_BASE: Rational = Rational::new(1, 25);
const FRAME_RATE: Rational = Rational::new(25, 1);

/// The GPUs of this process.
pub struct Hardware {
    devices: Vec<Opened>,
    trying: bool,
}

struct Opened {
    node: String,
    vaapi: Result<Device, AvError>,
    /// Held so that the runtime stays loaded; sessions are derived anew where they are needed.
    qsv: Result<Device, AvError>,
}

impl Hardware {
    pub fn none() -> Self {
        Self {
            devices: Vec::new(),
            trying: false,
        }
    }

    /// Whether a driver is loaded.
    pub fn any(&self) -> bool {
        self.devices.iter().any(|opened| opened.vaapi.is_ok())
    }

    /// The VA-API device for a way, or why it cannot be had.
    pub fn device(&self, way: &Acceleration) -> Result<Option<&Device>, AvError> {
        let (node, qsv) = match way {
            Acceleration::Software => return Ok(None),
            Acceleration::Vaapi { device } => (device, false),
            Acceleration::Qsv { device } => (device, true),
        };
        let opened = self.devices.iter().find(|opened| opened.node == *node);
        let opened = opened.ok_or(AvError::missing("the render node was not opened"))?;
        if qsv && let Err(error) = &opened.qsv {
            return Err(error.clone());
        }
        opened.vaapi.as_ref().map(Some).map_err(Clone::clone)
    }
}

/// Opens what a ladder wants.
pub fn open(way: &Acceleration) -> Hardware {
    let devices = match way {
        Acceleration::Software => Vec::new(),
        Acceleration::Vaapi { device } => vec![load(device, false)],
        Acceleration::Qsv { device } => vec![load(device, true)],
    };
    Hardware {
        devices,
        trying: false,
    }
}

/// Opens every render node, the named ones or those there are.
pub fn enumerate(named: &[String]) -> Hardware {
    let found;
    let nodes = if named.is_empty() {
        found = nodes(Path::new("/dev/dri"));
        &found
    } else {
        named
    };
    let devices = nodes
        .iter()
        .take(DEVICES_MAX)
        .map(|node| load(node, true))
        .collect();
    Hardware {
        devices,
        trying: true,
    }
}

fn nodes(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut nodes: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("renderD"))
        .map(|entry| entry.path().to_string_lossy().into_owned())
        .collect();
    nodes.sort();
    nodes
}

fn load(node: &str, quick_sync: bool) -> Opened {
    let vaapi = Device::vaapi(node);
    let qsv = match &vaapi {
        Ok(device) if quick_sync => device.derive_qsv(),
        Ok(_) => Err(AvError::missing("Quick Sync was not asked for")),
        Err(error) => Err(error.clone()),
    };
    Opened {
        node: node.to_owned(),
        vaapi,
        qsv,
    }
}

/// Tries every way and tells.
pub fn run(link: &Arc<Link>, hardware: &Hardware) -> Result<Summary, JobError> {
    debug_assert!(hardware.trying, "the devices are opened by enumerate");
    let mut ways = Vec::new();
    for opened in &hardware.devices {
        ways.push(Acceleration::Qsv {
            device: opened.node.clone(),
        });
        ways.push(Acceleration::Vaapi {
            device: opened.node.clone(),
        });
    }
    ways.push(Acceleration::Software);
    ways.sort_by_key(|way| {
        ["qsv", "vaapi", "software"]
            .iter()
            .position(|name| *name == choice::name(way))
    });
    let mut entries = Vec::new();
    for (at, way) in ways.iter().enumerate() {
        link.check()?;
        link.progress(at as f64 / ways.len() as f64, Stage::Probing, 0.0)?;
        let started = Instant::now();
        let device = hardware.device(way);
        let driver = device
            .as_ref()
            .ok()
            .copied()
            .flatten()
            .and_then(Device::driver);
        let tried = device.and_then(|device| attempt(way, device));
        let (ok, reason) = match tried {
            Ok(frames) => (
                true,
                format!("decoded, scaled and encoded {frames} pictures"),
            ),
            Err(error) => (false, error.to_string()),
        };
        let took_ms = started.elapsed().as_millis() as u64;
        entries.push(ProbeEntry {
            acceleration: way.clone(),
            ok,
            driver,
            reason,
            took_ms,
        });
    }
    link.send(&FromWorker::Probe(ProbeReport { entries }))?;
    Ok(Summary::default())
}

/// Decodes, scales and encodes a few pictures; gives how many came out.
fn attempt(way: &Acceleration, device: Option<&Device>) -> Result<usize, AvError> {
    let (parameters, packets) = clip()?;
    let mut decoder = Decoder::open(&parameters, TIME_BASE, 1, device)?;
    let mut path: Option<(Graph, VideoEncoder)> = None;
    let mut count = 0;
    let mut frame = Frame::new()?;
    let mut small = Frame::new()?;
    let mut coded = Packet::new()?;
    for packet in packets.iter().map(Some).chain([None]) {
        decoder.send(packet)?;
        while decoder.receive(&mut frame)? {
            if path.is_none() {
                path = Some(build(way, device, &frame)?);
            }
            let Some((graph, encoder)) = &mut path else {
                continue;
            };
            if let Some(pts) = frame.best_pts() {
                frame.set_pts(pts);
            }
            graph.push(Some(&mut frame))?;
            while graph.pull(&mut small)? {
                encoder.send(Some(&small))?;
                while encoder.receive(&mut coded)? {
                    count += 1;
                }
            }
        }
    }
    let Some((_, mut encoder)) = path else {
        return Err(AvError::missing("no picture was decoded"));
    };
    encoder.send(None)?;
    while encoder.receive(&mut coded)? {
        count += 1;
    }
    if count == 0 {
        Err(AvError::missing("no picture was encoded"))
    } else {
        Ok(count)
    }
}

fn build(
    way: &Acceleration,
    device: Option<&Device>,
    like: &Frame,
) -> Result<(Graph, VideoEncoder), AvError> {
    let chain = filters::chain(way, SMALL, 0, false, !like.picture().hardware);
    let input = PictureInput {
        like,
        time_base: TIME_BASE,
        frame_rate: FRAME_RATE,
        pixel_aspect: Rational::new(1, 1),
    };
    // A hardware encoder is opened for the surfaces of its filters, known only from a frame that came through.
    let mut graph = Graph::picture(&input, &chain, device)?;
    graph.push(Some(&mut like.share()?))?;
    let mut first = Frame::new()?;
    if !graph.pull(&mut first)? {
        return Err(AvError::missing("no picture was scaled"));
    }
    let encoder = VideoEncoder::open(way, &settings(SMALL), &graph, &first)?;
    Ok((graph, encoder))
}

fn settings((width, height): (u32, u32)) -> VideoSettings {
    VideoSettings {
        width,
        height,
        time_base: TIME_BASE,
        frame_rate: FRAME_RATE,
        bitrate_bps_max: 1_000_000,
        x264: X264 {
            preset: "superfast",
            threads: 1,
        },
    }
}

/// A few grey pictures as H.264, to be decoded.
fn clip() -> Result<(Parameters, Vec<Packet>), AvError> {
    let first = Frame::grey(SIZE.0 as i32, SIZE.1 as i32, 0)?;
    let input = PictureInput {
        like: &first,
        time_base: TIME_BASE,
        frame_rate: FRAME_RATE,
        pixel_aspect: Rational::new(1, 1),
    };
    let graph = Graph::picture(&input, "format=yuv420p", None)?;
    let mut encoder = VideoEncoder::open(&Acceleration::Software, &settings(SIZE), &graph, &first)?;
    let mut packets = Vec::new();
    for pts in 0..=FRAMES {
        let frame = if pts < FRAMES {
            Some(Frame::grey(SIZE.0 as i32, SIZE.1 as i32, pts)?)
        } else {
            None
        };
        encoder.send(frame.as_ref())?;
        let mut packet = Packet::new()?;
        while encoder.receive(&mut packet)? {
            packets.push(std::mem::replace(&mut packet, Packet::new()?));
        }
    }
    Ok((encoder.parameters()?, packets))
}
