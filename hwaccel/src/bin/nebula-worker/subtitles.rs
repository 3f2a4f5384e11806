//! Subtitles of a film's tracks, or of a file of them: texts are decoded by libav and told as cues, pictures are put into
//! files of their own kind as they are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ffmpeg_next::ffi::AVCodecID;
use nebula_hwaccel::index::Rational;
use nebula_hwaccel::protocol::{Failure, FromWorker, PictureTrack, Stage, Summary, TextTrack};
use nebula_hwaccel::subtitle::{
    self, Cue, MAX_CUE_BYTES, MAX_CUES, MAX_FILE_BYTES, MAX_PICTURES_BYTES, MAX_TEXT_BYTES,
    PictureFormat, ass, pgs, vobsub,
};

use crate::av::{Input, Packet, StreamInfo, TextDecoder};
use crate::control::Link;
use crate::failure::JobError;
use crate::index::open;
use crate::source::Source;

/// How often progress is told.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// So many packets in a row may be unreadable.
const ERRORS_MAX: u32 = 100;
/// All tracks of pictures of one film together, in bytes.
const PICTURES_BYTES_MAX: usize = 256 << 20;
const NOTHING: &str = "there are no subtitles in it";

/// Reads the tracks of a film, or a file of subtitles where none is named.
pub fn run(link: &Arc<Link>, source: &Source, tracks: &[u32]) -> Result<Summary, JobError> {
    link.progress(0.0, Stage::Opening, 0.0)?;
    if tracks.is_empty() {
        return file(link, source);
    }
    let mut input = open(source)?;
    let mut tracks: Vec<Track> = tracks
        .iter()
        .filter_map(|id| Track::open(&input, *id))
        .collect();
    let ids: Vec<usize> = tracks.iter().map(|track| track.id as usize).collect();
    input.only(&ids);
    gather(link, source, &mut input, &mut tracks)?;
    let mut summary = Summary::default();
    for track in tracks {
        track.tell(link, &mut summary)?;
    }
    Ok(summary)
}

/// What was gathered of one track so far.
struct Track {
    id: u32,
    time_base: Rational,
    what: What,
    /// Whether something had to be left out.
    cut: bool,
}

enum What {
    Texts(Texts),
    Pgs(Vec<u8>),
    Vobsub {
        pair: vobsub::Pair,
        config: Vec<u8>,
        language: Option<String>,
    },
}

impl What {
    /// Nothing for a track of a kind that is not known.
    fn of(info: &StreamInfo) -> Option<Self> {
        Some(match info.parameters.raw().codec_id {
            AVCodecID::AV_CODEC_ID_HDMV_PGS_SUBTITLE => Self::Pgs(Vec::new()),
            AVCodecID::AV_CODEC_ID_DVD_SUBTITLE => Self::Vobsub {
                pair: vobsub::Pair::default(),
                config: info.parameters.extradata().to_vec(),
                language: info
                    .tags
                    .iter()
                    .find(|(key, _)| key == "language")
                    .map(|(_, value)| value.clone()),
            },
            _ => Self::Texts(Texts {
                decoder: TextDecoder::open(&info.parameters, info.time_base).ok()?,
                cues: Vec::new(),
                bytes: 0,
            }),
        })
    }

    fn picture_bytes(&self) -> usize {
        match self {
            Self::Texts(_) => 0,
            Self::Pgs(out) => out.len(),
            Self::Vobsub { pair, .. } => pair.sub.len(),
        }
    }
}

/// The cues of a track of text.
struct Texts {
    decoder: TextDecoder,
    cues: Vec<Cue>,
    bytes: usize,
}

impl Texts {
    /// Takes the events of a packet, one that cannot be decoded is left out; false where there is no more room.
    fn add(&mut self, packet: &mut Packet, (start_us, end_us): (i64, i64)) -> bool {
        let mut fits = true;
        for event in self.decoder.decode(packet).unwrap_or_default() {
            let (place, text) = ass::cue(&event);
            let room = text.len() <= MAX_CUE_BYTES
                && self.cues.len() < MAX_CUES
                && self.bytes + text.len() <= MAX_TEXT_BYTES;
            if text.is_empty() || !room {
                fits &= room;
                continue;
            }
            self.bytes += text.len();
            self.cues.push(Cue {
                start_us,
                end_us,
                place,
                text,
            });
        }
        fits
    }
}

impl Track {
    fn open(input: &Input, id: u32) -> Option<Self> {
        let info = input.stream(id as usize)?;
        Some(Self {
            id,
            time_base: info.time_base,
            what: What::of(&info)?,
            cut: false,
        })
    }

    /// Takes a packet; `room` is what the pictures of all tracks may still take.
    fn add(&mut self, packet: &mut Packet, room: usize) {
        let Some(pts) = packet.pts() else { return };
        let end = pts.saturating_add(packet.duration().max(0));
        let times = (self.time_base.micros(pts), self.time_base.micros(end));
        match &mut self.what {
            What::Texts(texts) => self.cut |= !texts.add(packet, times),
            // A stream of pictures with a hole is of no use.
            _ if self.cut || packet.data().len() > room => self.cut = true,
            What::Pgs(out) => {
                pgs::append(out, times.0, packet.data());
                self.cut = out.len() > MAX_PICTURES_BYTES;
            }
            What::Vobsub { pair, .. } => {
                pair.append(times.0, packet.data());
                self.cut = pair.sub.len() > MAX_PICTURES_BYTES;
            }
        }
    }

    fn tell(self, link: &Arc<Link>, summary: &mut Summary) -> Result<(), JobError> {
        let track = self.id;
        if self.cut {
            summary.notes.push(format!(
                "track {track} has more subtitles than can be shown"
            ));
        }
        let pictures = |format, index, bytes| {
            FromWorker::Pictures(PictureTrack {
                track,
                format,
                index,
                bytes,
            })
        };
        link.send(&match self.what {
            What::Texts(Texts { mut cues, .. }) => {
                subtitle::settle(&mut cues);
                FromWorker::Texts(TextTrack { track, cues })
            }
            _ if self.cut => return Ok(()),
            What::Pgs(bytes) => pictures(PictureFormat::Pgs, String::new(), bytes),
            What::Vobsub {
                pair,
                config,
                language,
            } => {
                let index = pair.index(&config, language.as_deref());
                pictures(PictureFormat::Vobsub, index, pair.sub)
            }
        })
    }
}

fn gather(
    link: &Arc<Link>,
    source: &Source,
    input: &mut Input,
    tracks: &mut [Track],
) -> Result<(), JobError> {
    let mut packet = Packet::new().map_err(|error| JobError::av(Failure::Internal, &error))?;
    let (mut errors, mut told) = (0, Instant::now());
    loop {
        link.check()?;
        match input.read(&mut packet) {
            Ok(true) => errors = 0,
            Ok(false) => return Ok(()),
            Err(_) => {
                if let Some(failure) = source.failure() {
                    return Err(failure);
                }
                errors += 1;
                if errors > ERRORS_MAX {
                    return Ok(());
                }
                continue;
            }
        }
        let stream = packet.stream();
        let used: usize = tracks.iter().map(|track| track.what.picture_bytes()).sum();
        if let Some(track) = tracks.iter_mut().find(|track| track.id as usize == stream) {
            track.add(&mut packet, PICTURES_BYTES_MAX.saturating_sub(used));
        }
        if told.elapsed() > PROGRESS_EVERY {
            told = Instant::now();
            let at = packet.position().unwrap_or(0) as f64 / source.size().max(1) as f64;
            link.progress(at, Stage::Subtitles, 0.0)?;
        }
    }
}

fn file(link: &Arc<Link>, source: &Source) -> Result<Summary, JobError> {
    if source.size() > MAX_FILE_BYTES {
        return Err(JobError::new(
            Failure::TooLarge,
            format!("a file of subtitles has at most {MAX_FILE_BYTES} bytes"),
        ));
    }
    let mut bytes = vec![0; usize::try_from(source.size()).unwrap_or(0)];
    if !source.read_exact_at(0, &mut bytes)? {
        return Err(source
            .failure()
            .unwrap_or_else(|| JobError::new(Failure::Read, "the object ends before its length")));
    }
    let source = source.of_memory(unicode(bytes));
    let mut input =
        Input::open_texts(&source).map_err(|error| JobError::av(Failure::NotMedia, &error))?;
    let nothing = || JobError::new(Failure::NotMedia, NOTHING);
    let mut tracks = [Track::open(&input, 0).ok_or_else(nothing)?];
    gather(link, &source, &mut input, &mut tracks)?;
    let [track] = tracks;
    if !matches!(&track.what, What::Texts(texts) if !texts.cues.is_empty()) {
        return Err(nothing());
    }
    let mut summary = Summary::default();
    track.tell(link, &mut summary)?;
    Ok(summary)
}

/// Text that is neither UTF-8 nor marked as UTF-16 is most likely of Windows' western code page.
fn unicode(bytes: Vec<u8>) -> Vec<u8> {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž',
        '\u{8f}', '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}',
        'ž', 'Ÿ',
    ];
    let marked = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    if marked || std::str::from_utf8(&bytes).is_ok() {
        return bytes;
    }
    let letter = |byte: &u8| match byte {
        0x80..=0x9f => HIGH[usize::from(byte - 0x80)],
        byte => char::from(*byte),
    };
    bytes.iter().map(letter).collect::<String>().into_bytes()
}
