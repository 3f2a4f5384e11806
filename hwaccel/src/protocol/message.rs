//! The messages themselves.

use serde::{Deserialize, Serialize};

use super::raw;
use crate::index::Rational;
use crate::subtitle::{Cue, PictureFormat};

/// What the daemon says to a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The one job of this process; always the first message.
    Job {
        /// [`super::VERSION`] of the sender.
        version: u32,
        /// What to do.
        spec: JobSpec,
    },
    /// The answer to the one outstanding [`FromWorker::ReadRange`].
    Read(ReadReply),
    /// Stop; the worker answers [`FromWorker::Failed`] with [`Failure::Cancelled`] within a second.
    Cancel,
}

/// The answer to [`FromWorker::ReadRange`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ReadReply {
    /// The bytes from `offset`; fewer than asked for only at the end of the object, never more.
    Bytes {
        /// The offset that was asked for.
        offset: u64,
        /// The bytes.
        #[serde(with = "raw")]
        data: Vec<u8>,
    },
    /// The object cannot be read (now); the job fails with [`Failure::Read`], retryable.
    Failed {
        /// A sentence for people.
        detail: String,
    },
}

/// One job with its input and limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// Where the bytes come from.
    pub input: Input,
    /// What to do with them.
    pub job: Job,
    /// How much it may use.
    pub limits: Limits,
}

/// Where a job reads its object. Never a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// The job reads nothing ([`Job::Probe`], [`Job::Selftest`]).
    None,
    /// The object lies in the file open as [`super::INPUT_FD`].
    Fd {
        /// First byte of the object in that file.
        offset_bytes: u64,
        /// Length of the object.
        size_bytes: u64,
    },
    /// The object is asked for by [`FromWorker::ReadRange`].
    Ranges {
        /// Length of the object.
        size_bytes: u64,
    },
    /// The same of an object that is still arriving: a reply waits until there is something, may be shorter than asked
    /// for, and is empty only at the end.
    Arriving {
        /// Length of the object, when it is known.
        size_bytes: Option<u64>,
    },
}

/// Limits of one worker process, set with `setrlimit` before anything is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Address space in bytes. A ladder from 1080p wants 2 GiB, from 4K 4 GiB.
    pub memory_bytes: u64,
    /// CPU time in seconds, all threads together.
    pub cpu_s: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 4 << 30,
            cpu_s: 6 * 3600,
        }
    }
}

/// The kinds of job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Job {
    /// Describe the object: gives [`FromWorker::Index`] and, where there is a picture, [`FromWorker::Poster`].
    Index {
        /// Whether a poster is wanted.
        poster: bool,
    },
    /// Describe an object while it arrives: gives [`FromWorker::IndexSoFar`] each time that there is a segment's worth more.
    Follow,
    /// Read subtitles: gives one [`FromWorker::Texts`] or [`FromWorker::Pictures`] for each track that holds some.
    Subtitles {
        /// The tracks (their `id` in the index) of a film; empty for a file of subtitles, whose one track is 0.
        tracks: Vec<u32>,
    },
    /// Make a storyboard: gives [`FromWorker::Sheet`].
    Storyboard(StoryboardSpec),
    /// Encode a ladder of smaller renditions: gives [`FromWorker::RungInit`] and [`FromWorker::Segment`].
    Ladder(LadderSpec),
    /// Try each way to encode on this machine: gives [`FromWorker::Probe`].
    Probe {
        /// Render nodes to try, such as `/dev/dri/renderD128`; empty means those found in `/dev/dri`.
        devices: Vec<String>,
    },
    /// Try what the sandbox must forbid: gives [`FromWorker::Selftest`].
    Selftest,
}

/// A storyboard: small pictures of a film side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoryboardSpec {
    /// Track (its `id` in the index) with the picture.
    pub track: u32,
    /// Presentation times of the keyframes to show, rising, in the track's time base; at most [`super::MAX_TILES`].
    pub times: Vec<i64>,
    /// Size of one tile in pixels, even; at most [`super::MAX_TILE_PX`].
    pub tile: (u32, u32),
    /// Tiles in a row of a sheet; at most [`super::MAX_SHEET_SIDE`].
    pub columns: u32,
    /// Rows of a sheet; at most [`super::MAX_SHEET_SIDE`].
    pub rows: u32,
}

/// A ladder to encode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LadderSpec {
    /// Track (its `id` in the index) with the picture; `None` for audio alone.
    pub video_track: Option<u32>,
    /// The wanted rungs; the decode is shared. Empty for audio alone.
    pub rungs: Vec<RungSpec>,
    /// The wanted audio rendition.
    pub audio: Option<AudioSpec>,
    /// Unit of `cuts` and `origin`: the time base of the video track.
    pub time_base: Rational,
    /// Presentation times of the segment starts and, last, of the end: segment `n` is `cuts[n]..cuts[n + 1]`.
    pub cuts: Vec<i64>,
    /// The presentation time that becomes 0 in the output; not after `cuts[0]`.
    pub origin: i64,
    /// The first segment to publish (those before are there already).
    pub first_segment: u32,
    /// How to encode; on failure the worker falls back QSV → VAAPI → software by itself.
    pub acceleration: Acceleration,
    /// Speed of the software encoder.
    pub preset: Preset,
    /// Threads of each software encoder; part of the recipe, as another number gives other bytes.
    pub encoder_threads: u8,
}

/// One rung of a ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RungSpec {
    /// Name under which its messages come back.
    pub name: String,
    /// The short side of the picture as shown, in pixels (720 for `720p`, also of an upright film).
    pub height: u32,
    /// Ceiling of the video bit rate.
    pub bitrate_bps_max: u64,
}

/// The audio rendition: AAC-LC, stereo, 48 kHz.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioSpec {
    /// Name under which its messages come back.
    pub name: String,
    /// Track (its `id` in the index) to encode.
    pub track: u32,
    /// Bit rate.
    pub bitrate_bps: u64,
}

/// Speed of the software encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Preset {
    /// For a viewer who waits.
    Superfast,
    /// For the background.
    #[default]
    Veryfast,
}

/// A way to decode, scale and encode.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Acceleration {
    /// libx264 on the CPU.
    Software,
    /// VA-API on a render node.
    Vaapi {
        /// Such as `/dev/dri/renderD128`.
        device: String,
    },
    /// Quick Sync, derived from a VA-API device.
    Qsv {
        /// Such as `/dev/dri/renderD128`.
        device: String,
    },
}

/// What a worker says to the daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromWorker {
    /// The sandbox is closed; always the first message, sent before any byte of the object is parsed.
    Hello {
        /// [`super::VERSION`] of the worker.
        version: u32,
        /// What encloses it.
        sandbox: SandboxReport,
    },
    /// Wants bytes; answered by [`ToWorker::Read`]. One at a time.
    ReadRange {
        /// First byte.
        offset: u64,
        /// At most [`super::MAX_READ_BYTES`].
        len: u32,
    },
    /// How far it is.
    Progress {
        /// Of the whole job, 0 to 1.
        fraction: f32,
        /// What it is doing.
        stage: Stage,
        /// Media seconds per second; 0 when unknown.
        speed: f32,
    },
    /// The index in its compact form: keep the bytes, read them with [`crate::index::decode`].
    Index {
        /// See [`crate::index`].
        #[serde(with = "raw")]
        bytes: Vec<u8>,
    },
    /// The index of what has arrived, in place of the one before.
    IndexSoFar {
        /// As in [`FromWorker::Index`].
        #[serde(with = "raw")]
        bytes: Vec<u8>,
        /// Whether every sample of the object is in it.
        is_whole: bool,
    },
    /// A poster.
    Poster {
        /// JPEG, at most 640 pixels wide and 200 kB.
        #[serde(with = "raw")]
        jpeg: Vec<u8>,
        /// In pixels.
        width: u32,
        /// In pixels.
        height: u32,
        /// Where in the film it was taken, in microseconds.
        time_us: i64,
    },
    /// A track of text.
    Texts(TextTrack),
    /// A track of pictures that are subtitles.
    Pictures(PictureTrack),
    /// One sheet of a storyboard.
    Sheet(Sheet),
    /// The init segment of a rung, before its first segment.
    /// Sent again with the next `init_number` when a fallback changed the encoder's parameters.
    RungInit(RungInit),
    /// One finished segment.
    Segment(Segment),
    /// The answer to [`Job::Probe`].
    Probe(ProbeReport),
    /// The answer to [`Job::Selftest`].
    Selftest(SelftestReport),
    /// The job is done; the last message.
    Done(Summary),
    /// The job failed; the last message.
    Failed {
        /// For programs.
        reason: Failure,
        /// A sentence for people.
        detail: String,
        /// Whether another try may succeed.
        retryable: bool,
    },
}

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Opening and probing.
    Opening,
    /// Reading the samples.
    Indexing,
    /// Making the poster.
    Poster,
    /// Reading texts.
    Subtitles,
    /// Making a storyboard.
    Storyboard,
    /// Encoding.
    Encoding,
    /// Trying hardware.
    Probing,
}

/// Why a job failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Failure {
    /// No demuxer accepts the object, or its header is broken.
    NotMedia,
    /// A container without a track that can be played.
    NoPlayableTrack,
    /// The tracks are encrypted.
    Encrypted,
    /// The object has no bytes.
    Empty,
    /// The job names a track, rung or cut that makes no sense for this object.
    BadRequest,
    /// No frame could be decoded, or decoding broke.
    Decode,
    /// No encoder worked, software included.
    Encode,
    /// Something exceeds a limit of the protocol.
    TooLarge,
    /// The object could not be read.
    Read,
    /// [`ToWorker::Cancel`].
    Cancelled,
    /// Anything else: sandbox, memory, a mistake of ours.
    Internal,
}

/// What encloses a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxReport {
    /// File system and network rules.
    pub landlock: Landlock,
    /// Number of system calls on the seccomp allow-list.
    pub system_calls: u32,
    /// Anything a person should know, such as a kernel without landlock.
    pub note: Option<String>,
}

/// How far landlock holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Landlock {
    /// Every access known to this build is denied.
    Full,
    /// The kernel knows only a part of them; the rest is left to seccomp.
    Partial,
    /// The kernel has none; seccomp alone holds.
    Unsupported,
}

/// What a rung is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum RungKind {
    /// A picture.
    Video {
        /// In pixels, as shown (square pixels, upright).
        width: u32,
        /// In pixels.
        height: u32,
        /// Frames per second.
        frame_rate: Rational,
    },
    /// Sound.
    Audio {
        /// In hertz.
        sample_rate: u32,
        /// Channels.
        channels: u16,
    },
}

/// The init segment of a rung and what a master playlist says about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RungInit {
    /// Name of the rung.
    pub rung: String,
    /// Counts the init segments of this rung in this job, from 0.
    pub init_number: u32,
    /// Such as `avc1.64001f`, of the actual output.
    pub codecs: String,
    /// What it is.
    pub kind: RungKind,
    /// Ticks per second of `start_ticks` and `duration_ticks`.
    pub timescale: u32,
    /// What really encodes it.
    pub acceleration: Acceleration,
    /// `ftyp` and `moov`.
    #[serde(with = "raw")]
    pub bytes: Vec<u8>,
}

/// One media segment of a rung: `styp`, `moof`, `mdat`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Name of the rung.
    pub rung: String,
    /// Its number: it spans `cuts[number]..cuts[number + 1]`. Each rung publishes in order.
    pub number: u32,
    /// The [`RungInit`] it needs.
    pub init_number: u32,
    /// Start on the output's timeline (`cuts[number] - origin`), in ticks of the rung's timescale.
    /// For audio the start of the first whole AAC frame at or after the cut.
    pub start_ticks: u64,
    /// Sum of the sample durations, in the same ticks.
    pub duration_ticks: u64,
    /// The segment.
    #[serde(with = "raw")]
    pub bytes: Vec<u8>,
}

/// The texts of one track.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextTrack {
    /// Its `id` in the index; 0 for a file of subtitles.
    pub track: u32,
    /// In the order of their starts, within the limits of [`crate::subtitle`].
    pub cues: Vec<Cue>,
}

/// The pictures of one track of subtitles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureTrack {
    /// Its `id` in the index.
    pub track: u32,
    /// Which kind of file `bytes` is.
    pub format: PictureFormat,
    /// The `.idx` file of VobSub, empty for others.
    pub index: String,
    /// The `.sup` or `.sub` file.
    #[serde(with = "raw")]
    pub bytes: Vec<u8>,
}

/// One sheet of a storyboard: tiles from left to right, then down; what is left of the last row is black.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sheet {
    /// From 0.
    pub number: u32,
    /// When each tile was on the screen, in ticks of the track's time base.
    pub times: Vec<i64>,
    /// The picture.
    #[serde(with = "raw")]
    pub jpeg: Vec<u8>,
}

/// The answer to [`Job::Probe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeReport {
    /// One entry per way that was tried, best first; the last is software.
    pub entries: Vec<ProbeEntry>,
}

/// How one way to encode did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeEntry {
    /// The way.
    pub acceleration: Acceleration,
    /// Whether frames were really decoded, scaled and encoded with it.
    pub ok: bool,
    /// The driver's name for itself, where it could be asked.
    pub driver: Option<String>,
    /// Why it does not work, or what was done when it does.
    pub reason: String,
    /// How long the trial took, in milliseconds.
    pub took_ms: u64,
}

/// The answer to [`Job::Selftest`]: the `errno` of each forbidden act, 0 where it succeeded (which is a defect).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelftestReport {
    /// Opening `/etc/passwd` for reading.
    pub open: i32,
    /// Creating a file in the working directory.
    pub create: i32,
    /// A TCP socket to the loopback.
    pub connect: i32,
    /// A Unix datagram socket.
    pub unix_socket: i32,
    /// `execve("/bin/true")`.
    pub exec: i32,
    /// `fork`.
    pub fork: i32,
    /// `ptrace`.
    pub ptrace: i32,
    /// A signal to the parent process.
    pub kill_parent: i32,
    /// Making a file grow on the input descriptor (`ftruncate`).
    pub grow: i32,
    /// Allocating more than the memory limit: 0 when it was allowed.
    pub allocate: i32,
}

/// What a finished job used.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Wall time in milliseconds.
    pub wall_ms: u64,
    /// CPU time of all threads in milliseconds.
    pub cpu_ms: u64,
    /// Peak resident memory in bytes.
    pub memory_bytes_peak: u64,
    /// Bytes read of the object.
    pub read_bytes: u64,
    /// Frames decoded.
    pub frames: u64,
    /// Segments published.
    pub segments: u32,
    /// What a person should know: skipped broken packets, a fallback and why. At most 20 sentences.
    pub notes: Vec<String>,
}
