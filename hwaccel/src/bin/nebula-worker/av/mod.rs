//! FFmpeg behind owned, safe types: everything that points into libav stays in this folder.
//!
//! Promises: input comes only through callbacks (never a path or URL), only the demuxers and decoders of `allowed.rs`
//! run, every object frees what it owns exactly once, and a reference to a frame is a reference, never a deep copy.
//! It knows nothing of jobs and messages.

pub mod allowed;
mod decoder;
mod device;
mod encoder;
mod frame;
mod graph;
mod input;
mod packet;
mod subtitle;

use std::ffi::{CStr, CString, c_char};
use std::fmt;

use ffmpeg_next::ffi;
use nebula_hwaccel::index::Rational;

pub use decoder::{Decoder, Parameters};
pub use device::Device;
pub use encoder::{AudioEncoder, VideoEncoder, VideoSettings, X264, jpeg};
pub use frame::{Frame, PictureFormat, pixel_format};
pub use graph::{Graph, PictureInput, SoundInput};
pub use input::{Access, Input, StreamInfo};
pub use packet::Packet;
pub use subtitle::TextDecoder;

/// A code of libav's and what was being done.
#[derive(Debug, Clone)]
pub struct AvError {
    pub code: i32,
    pub doing: &'static str,
}

impl AvError {
    pub fn new(code: i32, doing: &'static str) -> Self {
        Self { code, doing }
    }

    /// For what libav has no code for.
    pub fn missing(doing: &'static str) -> Self {
        Self {
            code: ffi::AVERROR_UNKNOWN,
            doing,
        }
    }
}

impl fmt::Display for AvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.code == ffi::AVERROR_UNKNOWN {
            return f.write_str(self.doing);
        }
        let mut text = [0 as c_char; ffi::AV_ERROR_MAX_STRING_SIZE];
        // SAFETY: the buffer has the length that is given, and av_strerror always ends it with a zero.
        let text = unsafe {
            ffi::av_strerror(self.code, text.as_mut_ptr(), text.len());
            CStr::from_ptr(text.as_ptr())
        };
        write!(f, "{}: {}", self.doing, text.to_string_lossy())
    }
}

impl std::error::Error for AvError {}

/// An error when `code` is negative.
fn check(code: i32, doing: &'static str) -> Result<i32, AvError> {
    if code < 0 {
        Err(AvError::new(code, doing))
    } else {
        Ok(code)
    }
}

/// `EAGAIN` as libav has it.
const AGAIN: i32 = -libc::EAGAIN;

/// Silences libav: its log lines come from strangers' bytes and have no bound.
pub fn init() {
    // SAFETY: sets one integer; called before any other libav function.
    unsafe { ffi::av_log_set_level(ffi::AV_LOG_QUIET) };
}

/// A string of libav's, which may be null or not UTF-8.
///
/// # Safety
/// `text` is null or points to a zero-terminated string that stays valid during the call.
unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: as promised by the caller.
    let text = unsafe { CStr::from_ptr(text) };
    Some(text.to_string_lossy().into_owned())
}

/// Options for an open call; freed with what was not understood.
struct Options(*mut ffi::AVDictionary);

impl Options {
    fn new(pairs: &[(&str, &str)]) -> Self {
        let mut dictionary = std::ptr::null_mut();
        for (key, value) in pairs {
            let (Ok(key), Ok(value)) = (CString::new(*key), CString::new(*value)) else {
                continue;
            };
            // SAFETY: both strings are valid and are copied by av_dict_set.
            unsafe { ffi::av_dict_set(&raw mut dictionary, key.as_ptr(), value.as_ptr(), 0) };
        }
        Self(dictionary)
    }

    fn as_mut_ptr(&mut self) -> *mut *mut ffi::AVDictionary {
        &raw mut self.0
    }
}

impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: the dictionary is ours (or null, which is allowed).
        unsafe { ffi::av_dict_free(&raw mut self.0) };
    }
}

fn rational(value: ffi::AVRational) -> Rational {
    match (u32::try_from(value.num), u32::try_from(value.den)) {
        (Ok(num), Ok(den)) if den > 0 => Rational::new(num, den),
        _ => Rational::default(),
    }
}

fn av_rational(value: Rational) -> ffi::AVRational {
    ffi::AVRational {
        num: value.num.min(i32::MAX as u32) as i32,
        den: value.den.min(i32::MAX as u32) as i32,
    }
}

/// A timestamp of libav's, where there is one.
fn timestamp(value: i64) -> Option<i64> {
    (value != ffi::AV_NOPTS_VALUE).then_some(value)
}
