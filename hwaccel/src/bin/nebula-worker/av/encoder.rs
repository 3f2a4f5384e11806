//! Encoders, opened anew for each chunk with everything that shapes their output pinned.

use std::ffi::{CString, c_int};
use std::ptr;

use ffmpeg_next::ffi;
use nebula_hwaccel::index::Rational;
use nebula_hwaccel::protocol::Acceleration;

use super::{AGAIN, AvError, Frame, Graph, Options, Packet, Parameters, av_rational, check};

/// Longest distance of key pictures, in frames; segments force more.
const GOP_FRAMES: c_int = 250;
const SOUND_RATE: u32 = 48_000;

/// Settings of libx264.
#[derive(Debug, Clone, Copy)]
pub struct X264 {
    pub preset: &'static str,
    pub threads: u8,
}

/// What shapes an encoded picture.
#[derive(Debug, Clone)]
pub struct VideoSettings {
    pub width: u32,
    pub height: u32,
    pub time_base: Rational,
    pub frame_rate: Rational,
    pub bitrate_bps_max: u64,
    pub x264: X264,
}

struct Context(*mut ffi::AVCodecContext);

// SAFETY: a codec context belongs to no thread; each is used by its owner alone.
unsafe impl Send for Context {}

impl Context {
    fn new(name: &str) -> Result<(Self, *const ffi::AVCodec), AvError> {
        let name = CString::new(name).map_err(|_| AvError::missing("finding the encoder"))?;
        // SAFETY: the name is valid; the context is owned by the result.
        unsafe {
            let codec = ffi::avcodec_find_encoder_by_name(name.as_ptr());
            if codec.is_null() {
                return Err(AvError::new(
                    ffi::AVERROR_ENCODER_NOT_FOUND,
                    "finding the encoder",
                ));
            }
            let own = Self(ffi::avcodec_alloc_context3(codec));
            if own.0.is_null() {
                Err(AvError::new(-libc::ENOMEM, "opening the encoder"))
            } else {
                Ok((own, codec))
            }
        }
    }

    fn open(
        &mut self,
        codec: *const ffi::AVCodec,
        options: &[(&str, &str)],
    ) -> Result<(), AvError> {
        let mut options = Options::new(options);
        // SAFETY: context and codec belong together.
        check(
            unsafe { ffi::avcodec_open2(self.0, codec, options.as_mut_ptr()) },
            "opening the encoder",
        )
        .map(|_| ())
    }

    fn send(&mut self, frame: Option<&Frame>) -> Result<(), AvError> {
        let frame = frame.map_or(ptr::null(), Frame::as_ptr);
        // SAFETY: the context is ours; null means the end.
        check(
            unsafe { ffi::avcodec_send_frame(self.0, frame) },
            "encoding",
        )
        .map(|_| ())
    }

    fn receive(&mut self, packet: &mut Packet) -> Result<bool, AvError> {
        packet.clear();
        // SAFETY: both are valid and borrowed exclusively.
        match unsafe { ffi::avcodec_receive_packet(self.0, packet.as_mut_ptr()) } {
            AGAIN | ffi::AVERROR_EOF => Ok(false),
            code => check(code, "encoding").map(|_| true),
        }
    }

    fn extradata(&self) -> Vec<u8> {
        // SAFETY: libav keeps extradata_size readable bytes there, if the pointer is not null.
        unsafe {
            let raw = &*self.0;
            let length = usize::try_from(raw.extradata_size).unwrap_or(0);
            if raw.extradata.is_null() {
                return Vec::new();
            }
            std::slice::from_raw_parts(raw.extradata, length).to_vec()
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: freed once; null is allowed.
        unsafe { ffi::avcodec_free_context(&raw mut self.0) };
    }
}

/// An H.264 encoder.
pub struct VideoEncoder(Context);

impl VideoEncoder {
    /// Opens the encoder for what comes out of `graph`; `first` is its first frame.
    pub fn open(
        way: &Acceleration,
        settings: &VideoSettings,
        graph: &Graph,
        first: &Frame,
    ) -> Result<Self, AvError> {
        let name = match way {
            Acceleration::Software => "libx264",
            Acceleration::Vaapi { .. } => "h264_vaapi",
            Acceleration::Qsv { .. } => "h264_qsv",
        };
        let (mut own, codec) = Context::new(name)?;
        // SAFETY: the context is valid and not open yet; the surfaces are borrowed from the graph and referenced.
        unsafe {
            let raw = &mut *own.0;
            raw.width = settings.width.min(i32::MAX as u32) as i32;
            raw.height = settings.height.min(i32::MAX as u32) as i32;
            raw.time_base = av_rational(settings.time_base);
            raw.framerate = av_rational(settings.frame_rate);
            raw.sample_aspect_ratio = ffi::AVRational { num: 1, den: 1 };
            raw.gop_size = GOP_FRAMES;
            raw.flags |= (ffi::AV_CODEC_FLAG_GLOBAL_HEADER | ffi::AV_CODEC_FLAG_CLOSED_GOP) as i32;
            raw.rc_max_rate = settings.bitrate_bps_max as i64;
            raw.rc_buffer_size = i32::try_from(settings.bitrate_bps_max * 2).unwrap_or(i32::MAX);
            let frame = first.raw();
            raw.color_range = frame.color_range;
            raw.color_primaries = frame.color_primaries;
            raw.color_trc = frame.color_trc;
            raw.colorspace = frame.colorspace;
            raw.chroma_sample_location = frame.chroma_location;
            match way {
                Acceleration::Software => {
                    raw.pix_fmt = ffi::AVPixelFormat::AV_PIX_FMT_YUV420P;
                    raw.thread_count = c_int::from(settings.x264.threads.max(1));
                }
                Acceleration::Vaapi { .. } | Acceleration::Qsv { .. } => {
                    raw.pix_fmt = if matches!(way, Acceleration::Vaapi { .. }) {
                        ffi::AVPixelFormat::AV_PIX_FMT_VAAPI
                    } else {
                        ffi::AVPixelFormat::AV_PIX_FMT_QSV
                    };
                    let surfaces = graph.surfaces();
                    if surfaces.is_null() {
                        return Err(AvError::missing("the filters give no surfaces"));
                    }
                    raw.hw_frames_ctx = ffi::av_buffer_ref(surfaces);
                    raw.bit_rate = (settings.bitrate_bps_max * 7 / 10) as i64;
                    // Composition offsets are ours to compute; the reordering of hardware encoders varies by driver.
                    raw.max_b_frames = 0;
                }
            }
        }
        let options: &[(&str, &str)] = match way {
            Acceleration::Software => &[
                ("preset", settings.x264.preset),
                ("crf", "23"),
                ("profile", "high"),
                ("forced-idr", "1"),
                ("x264-params", "stitchable=1:open-gop=0"),
            ],
            Acceleration::Vaapi { .. } => &[
                ("profile", "high"),
                ("rc_mode", "VBR"),
                ("idr_interval", "0"),
            ],
            Acceleration::Qsv { .. } => &[
                ("profile", "high"),
                ("preset", "veryfast"),
                ("forced_idr", "1"),
                ("async_depth", "4"),
            ],
        };
        own.open(codec, options)?;
        Ok(Self(own))
    }

    pub fn send(&mut self, frame: Option<&Frame>) -> Result<(), AvError> {
        self.0.send(frame)
    }

    pub fn receive(&mut self, packet: &mut Packet) -> Result<bool, AvError> {
        self.0.receive(packet)
    }

    /// What a decoder needs to know.
    pub fn parameters(&self) -> Result<Parameters, AvError> {
        // SAFETY: the context is open.
        unsafe { Parameters::of(self.0.0) }
    }

    /// Parameter sets in Annex B form.
    pub fn extradata(&self) -> Vec<u8> {
        self.0.extradata()
    }
}

/// An AAC-LC encoder: stereo, 48 kHz.
pub struct AudioEncoder(Context);

impl AudioEncoder {
    pub fn open(bitrate_bps: u64) -> Result<Self, AvError> {
        let (mut own, codec) = Context::new("aac")?;
        // SAFETY: the context is valid and not open yet.
        unsafe {
            let raw = &mut *own.0;
            raw.sample_rate = SOUND_RATE as i32;
            raw.sample_fmt = ffi::AVSampleFormat::AV_SAMPLE_FMT_FLTP;
            ffi::av_channel_layout_default(&raw mut raw.ch_layout, 2);
            raw.bit_rate = bitrate_bps.min(512_000) as i64;
            raw.time_base = av_rational(Rational::new(1, SOUND_RATE));
            raw.flags |= (ffi::AV_CODEC_FLAG_GLOBAL_HEADER | ffi::AV_CODEC_FLAG_BITEXACT) as i32;
        }
        own.open(codec, &[])?;
        Ok(Self(own))
    }

    pub fn send(&mut self, frame: Option<&Frame>) -> Result<(), AvError> {
        self.0.send(frame)
    }

    pub fn receive(&mut self, packet: &mut Packet) -> Result<bool, AvError> {
        self.0.receive(packet)
    }

    /// The AudioSpecificConfig.
    pub fn extradata(&self) -> Vec<u8> {
        self.0.extradata()
    }
}

/// One picture as JPEG; `quality` from 2 (best) to 31.
pub fn jpeg(frame: &Frame, quality: u8) -> Result<Vec<u8>, AvError> {
    let (mut own, codec) = Context::new("mjpeg")?;
    // SAFETY: the context is valid and not open yet.
    unsafe {
        let raw = &mut *own.0;
        let picture = frame.picture();
        raw.width = picture.width;
        raw.height = picture.height;
        raw.time_base = ffi::AVRational { num: 1, den: 25 };
        raw.pix_fmt = ffi::AVPixelFormat::AV_PIX_FMT_YUVJ420P;
        raw.flags |= (ffi::AV_CODEC_FLAG_QSCALE | ffi::AV_CODEC_FLAG_BITEXACT) as i32;
        raw.global_quality = c_int::from(quality) * ffi::FF_QP2LAMBDA;
        raw.thread_count = 1;
    }
    own.open(codec, &[])?;
    own.send(Some(frame))?;
    own.send(None)?;
    let mut packet = Packet::new()?;
    if own.receive(&mut packet)? {
        Ok(packet.data().to_vec())
    } else {
        Err(AvError::missing("encoding the poster"))
    }
}
