//! Codec parameters and decoders.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_next::ffi;
use nebula_hwaccel::index::Rational;

use super::{AGAIN, AvError, Device, Frame, Packet, allowed, av_rational, check, rational, text};

/// Surfaces the decoder keeps beyond its own need: those in the queues to the rungs and inside their filters.
const EXTRA_SURFACES: c_int = 24;

/// A copy of what a container says of a codec.
pub struct Parameters(*mut ffi::AVCodecParameters);

// SAFETY: plain data, owned.
unsafe impl Send for Parameters {}

impl Parameters {
    /// # Safety
    /// `from` is valid.
    pub(super) unsafe fn copy(from: *const ffi::AVCodecParameters) -> Result<Self, AvError> {
        // SAFETY: allocates; the copy is deep.
        unsafe {
            let own = Self(ffi::avcodec_parameters_alloc());
            if own.0.is_null() {
                return Err(AvError::new(-libc::ENOMEM, "allocating parameters"));
            }
            check(
                ffi::avcodec_parameters_copy(own.0, from),
                "copying parameters",
            )?;
            Ok(own)
        }
    }

    /// # Safety
    /// `context` is valid.
    pub(super) unsafe fn of(context: *const ffi::AVCodecContext) -> Result<Self, AvError> {
        // SAFETY: allocates; the copy is deep.
        unsafe {
            let own = Self(ffi::avcodec_parameters_alloc());
            if own.0.is_null() {
                return Err(AvError::new(-libc::ENOMEM, "allocating parameters"));
            }
            check(
                ffi::avcodec_parameters_from_context(own.0, context),
                "copying parameters",
            )?;
            Ok(own)
        }
    }

    pub fn raw(&self) -> &ffi::AVCodecParameters {
        // SAFETY: valid as long as self.
        unsafe { &*self.0 }
    }

    /// Short name of the codec, such as `h264`.
    pub fn codec_name(&self) -> String {
        // SAFETY: the identifier is libav's own; the name is a static string.
        unsafe { text(ffi::avcodec_get_name(self.raw().codec_id)) }.unwrap_or_default()
    }

    pub fn extradata(&self) -> &[u8] {
        let raw = self.raw();
        let length = usize::try_from(raw.extradata_size).unwrap_or(0);
        if raw.extradata.is_null() || length == 0 {
            return &[];
        }
        // SAFETY: libav keeps so many readable bytes there.
        unsafe { std::slice::from_raw_parts(raw.extradata, length) }
    }

    pub fn pixel_aspect(&self) -> Rational {
        rational(self.raw().sample_aspect_ratio)
    }

    /// Channels and the name of their layout.
    pub fn channels(&self) -> (u16, String) {
        let layout = &raw const self.raw().ch_layout;
        let mut name = [0 as std::ffi::c_char; 64];
        // SAFETY: the layout is valid, the buffer has the given length and is ended with a zero.
        let name = unsafe {
            ffi::av_channel_layout_describe(layout, name.as_mut_ptr(), name.len());
            text(name.as_ptr())
        };
        (
            u16::try_from(self.raw().ch_layout.nb_channels).unwrap_or(0),
            name.unwrap_or_default(),
        )
    }
}

impl Drop for Parameters {
    fn drop(&mut self) {
        // SAFETY: freed once; null is allowed.
        unsafe { ffi::avcodec_parameters_free(&raw mut self.0) };
    }
}

/// An open decoder.
pub struct Decoder(*mut ffi::AVCodecContext);

// SAFETY: a codec context belongs to no thread; this one is used by its owner alone.
unsafe impl Send for Decoder {}

unsafe extern "C" fn prefer_vaapi(
    _: *mut ffi::AVCodecContext,
    formats: *const ffi::AVPixelFormat,
) -> ffi::AVPixelFormat {
    // SAFETY: libav passes a list that ends with NONE; the first entry that is no hardware format is what it would
    // take by itself.
    unsafe {
        let mut at = formats;
        let mut software = ffi::AVPixelFormat::AV_PIX_FMT_NONE;
        while *at != ffi::AVPixelFormat::AV_PIX_FMT_NONE {
            if *at == ffi::AVPixelFormat::AV_PIX_FMT_VAAPI {
                return *at;
            }
            let descriptor = ffi::av_pix_fmt_desc_get(*at);
            let hardware = !descriptor.is_null()
                && (*descriptor).flags & ffi::AV_PIX_FMT_FLAG_HWACCEL as u64 != 0;
            if software == ffi::AVPixelFormat::AV_PIX_FMT_NONE && !hardware {
                software = *at;
            }
            at = at.add(1);
        }
        software
    }
}

impl Decoder {
    /// Opens the decoder for a track; on `device` where it can.
    pub fn open(
        parameters: &Parameters,
        time_base: Rational,
        threads: u16,
        device: Option<&Device>,
    ) -> Result<Self, AvError> {
        // SAFETY: the context is put into `own` at once, whose Drop frees it; the device reference is counted.
        unsafe {
            let codec = ffi::avcodec_find_decoder(parameters.raw().codec_id);
            if codec.is_null() || !text((*codec).name).is_some_and(|name| allowed::decoder(&name)) {
                return Err(AvError::new(
                    ffi::AVERROR_DECODER_NOT_FOUND,
                    "no decoder for this codec",
                ));
            }
            let own = Self(ffi::avcodec_alloc_context3(codec));
            if own.0.is_null() {
                return Err(AvError::new(-libc::ENOMEM, "opening the decoder"));
            }
            check(
                ffi::avcodec_parameters_to_context(own.0, parameters.raw()),
                "opening the decoder",
            )?;
            let raw = &mut *own.0;
            raw.pkt_timebase = av_rational(time_base);
            raw.thread_count = c_int::from(threads);
            if let Some(device) = device {
                raw.hw_device_ctx = device.reference();
                raw.get_format = Some(prefer_vaapi);
                raw.extra_hw_frames = EXTRA_SURFACES;
            }
            check(
                ffi::avcodec_open2(own.0, codec, ptr::null_mut()),
                "opening the decoder",
            )?;
            Ok(own)
        }
    }

    /// Decodes key pictures only.
    pub fn only_keys(&mut self) {
        // SAFETY: valid and borrowed exclusively.
        unsafe { (*self.0).skip_frame = ffi::AVDiscard::AVDISCARD_NONKEY };
    }

    /// Gives a packet, or the end. A broken packet is an error after which decoding may go on.
    pub fn send(&mut self, packet: Option<&Packet>) -> Result<(), AvError> {
        let packet = packet.map_or(ptr::null(), Packet::as_ptr);
        // SAFETY: the context is ours; null means the end.
        match unsafe { ffi::avcodec_send_packet(self.0, packet) } {
            ffi::AVERROR_EOF => Ok(()),
            code => check(code, "decoding").map(|_| ()),
        }
    }

    /// Forgets all that came before, also that it ended.
    pub fn reset(&mut self) {
        // SAFETY: the context is open and borrowed exclusively.
        unsafe { ffi::avcodec_flush_buffers(self.0) };
    }

    /// Takes a frame; false when it wants more packets or has ended.
    pub fn receive(&mut self, frame: &mut Frame) -> Result<bool, AvError> {
        // SAFETY: both are valid and borrowed exclusively.
        match unsafe { ffi::avcodec_receive_frame(self.0, frame.as_mut_ptr()) } {
            AGAIN | ffi::AVERROR_EOF => Ok(false),
            code => check(code, "decoding").map(|_| true),
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: freed once; null is allowed.
        unsafe { ffi::avcodec_free_context(&raw mut self.0) };
    }
}
