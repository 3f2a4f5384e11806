//! Decoding text subtitles: whatever they were written in, libav makes events of one format.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_next::ffi;
use nebula_hwaccel::index::Rational;

use super::{AvError, Packet, Parameters, allowed, av_rational, check, text};

/// Events of one packet beyond this are left out.
const EVENTS_MAX: usize = 64;

/// An open decoder of text.
pub struct TextDecoder(*mut ffi::AVCodecContext);

impl TextDecoder {
    /// Opens the decoder for a track of text.
    pub fn open(parameters: &Parameters, time_base: Rational) -> Result<Self, AvError> {
        const DOING: &str = "opening the decoder of subtitles";
        // SAFETY: the context is put into `own` at once, whose Drop frees it.
        unsafe {
            let codec = ffi::avcodec_find_decoder(parameters.raw().codec_id);
            if codec.is_null() || !text((*codec).name).is_some_and(|name| allowed::texts(&name)) {
                return Err(AvError::new(ffi::AVERROR_DECODER_NOT_FOUND, DOING));
            }
            let own = Self(ffi::avcodec_alloc_context3(codec));
            if own.0.is_null() {
                return Err(AvError::new(-libc::ENOMEM, DOING));
            }
            check(
                ffi::avcodec_parameters_to_context(own.0, parameters.raw()),
                DOING,
            )?;
            (*own.0).pkt_timebase = av_rational(time_base);
            check(ffi::avcodec_open2(own.0, codec, ptr::null_mut()), DOING)?;
            Ok(own)
        }
    }

    /// The events of one packet, as lines of Advanced SubStation Alpha without their times.
    pub fn decode(&mut self, packet: &mut Packet) -> Result<Vec<String>, AvError> {
        // SAFETY: all zeros is a valid empty subtitle; libav fills it or leaves it, and it is freed in both cases.
        // Its rectangles are valid until then, and each has a zero-terminated `ass` or none.
        unsafe {
            let mut subtitle: ffi::AVSubtitle = std::mem::zeroed();
            let mut got: c_int = 0;
            let code = ffi::avcodec_decode_subtitle2(
                self.0,
                &raw mut subtitle,
                &raw mut got,
                packet.as_mut_ptr(),
            );
            let mut events = Vec::new();
            if code >= 0 && got != 0 && !subtitle.rects.is_null() {
                for at in 0..(subtitle.num_rects as usize).min(EVENTS_MAX) {
                    let rect = *subtitle.rects.add(at);
                    if !rect.is_null() {
                        events.extend(text((*rect).ass));
                    }
                }
            }
            ffi::avsubtitle_free(&raw mut subtitle);
            check(code, "decoding subtitles")?;
            Ok(events)
        }
    }
}

impl Drop for TextDecoder {
    fn drop(&mut self) {
        // SAFETY: freed once; null is allowed.
        unsafe { ffi::avcodec_free_context(&raw mut self.0) };
    }
}
