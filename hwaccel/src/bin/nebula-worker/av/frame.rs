//! One decoded picture or run of sound.

use ffmpeg_next::ffi;

use super::{AvError, check, text, timestamp};

pub struct Frame(*mut ffi::AVFrame);

// SAFETY: a frame has no thread of its own; its buffers are reference-counted atomically and never written to while
// shared (filters and encoders copy what they must change).
unsafe impl Send for Frame {}

/// Size, format and place of a picture; what a filter graph is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureFormat {
    pub width: i32,
    pub height: i32,
    pub format: i32,
    pub hardware: bool,
}

impl Frame {
    pub fn new() -> Result<Self, AvError> {
        // SAFETY: allocates, or gives null.
        let frame = unsafe { ffi::av_frame_alloc() };
        if frame.is_null() {
            Err(AvError::new(-libc::ENOMEM, "allocating a frame"))
        } else {
            Ok(Self(frame))
        }
    }

    /// A grey picture to try an encoder with.
    pub fn grey(width: i32, height: i32, pts: i64) -> Result<Self, AvError> {
        let frame = Self::new()?;
        // SAFETY: the frame is ours; av_frame_get_buffer gives planes of the size just set, and each of the three
        // planes of yuv420p is filled over exactly its height times its line size.
        unsafe {
            let raw = &mut *frame.0;
            raw.width = width;
            raw.height = height;
            raw.format = ffi::AVPixelFormat::AV_PIX_FMT_YUV420P as i32;
            raw.pts = pts;
            check(ffi::av_frame_get_buffer(frame.0, 0), "allocating a picture")?;
            for (plane, rows) in [(0, height), (1, (height + 1) / 2), (2, (height + 1) / 2)] {
                let length = raw.linesize[plane].max(0) as usize * rows.max(0) as usize;
                std::ptr::write_bytes(raw.data[plane], 128, length);
            }
        }
        Ok(frame)
    }

    /// Stereo silence in planar floats.
    pub fn silence(samples: i32, sample_rate: i32) -> Result<Self, AvError> {
        let frame = Self::new()?;
        // SAFETY: the frame is ours; av_frame_get_buffer gives two planes of at least `samples` floats each.
        unsafe {
            let raw = &mut *frame.0;
            raw.nb_samples = samples;
            raw.sample_rate = sample_rate;
            raw.format = ffi::AVSampleFormat::AV_SAMPLE_FMT_FLTP as i32;
            ffi::av_channel_layout_default(&raw mut raw.ch_layout, 2);
            check(ffi::av_frame_get_buffer(frame.0, 0), "allocating silence")?;
            for plane in 0..2 {
                std::ptr::write_bytes(
                    raw.data[plane],
                    0,
                    samples.max(0) as usize * size_of::<f32>(),
                );
            }
        }
        Ok(frame)
    }

    /// Another reference to the same picture. `frame::Video::clone` of ffmpeg-next would copy every byte.
    pub fn share(&self) -> Result<Self, AvError> {
        let other = Self::new()?;
        // SAFETY: both frames are valid and `other` is empty.
        let code = unsafe { ffi::av_frame_ref(other.0, self.0) };
        check(code, "sharing a frame")?;
        Ok(other)
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut ffi::AVFrame {
        self.0
    }

    pub(super) fn as_ptr(&self) -> *const ffi::AVFrame {
        self.0
    }

    pub fn clear(&mut self) {
        // SAFETY: the frame is ours and valid.
        unsafe { ffi::av_frame_unref(self.0) };
    }

    pub(super) fn raw(&self) -> &ffi::AVFrame {
        // SAFETY: the pointer is valid as long as self, and nobody writes while it is borrowed.
        unsafe { &*self.0 }
    }

    fn raw_mut(&mut self) -> &mut ffi::AVFrame {
        // SAFETY: the pointer is valid as long as self, which is borrowed exclusively.
        unsafe { &mut *self.0 }
    }

    /// The decoder's best guess of the presentation time.
    pub fn best_pts(&self) -> Option<i64> {
        timestamp(self.raw().best_effort_timestamp).or(timestamp(self.raw().pts))
    }

    pub fn pts(&self) -> Option<i64> {
        timestamp(self.raw().pts)
    }

    pub fn set_pts(&mut self, pts: i64) {
        self.raw_mut().pts = pts;
    }

    /// Whether an encoder must begin anew with this picture.
    pub fn set_key(&mut self, key: bool) {
        self.raw_mut().pict_type = if key {
            ffi::AVPictureType::AV_PICTURE_TYPE_I
        } else {
            ffi::AVPictureType::AV_PICTURE_TYPE_NONE
        };
    }

    pub fn picture(&self) -> PictureFormat {
        let raw = self.raw();
        PictureFormat {
            width: raw.width,
            height: raw.height,
            format: raw.format,
            hardware: !raw.hw_frames_ctx.is_null(),
        }
    }

    /// Whether the transfer function is PQ or HLG.
    pub fn is_hdr(&self) -> bool {
        use ffi::AVColorTransferCharacteristic::{AVCOL_TRC_ARIB_STD_B67, AVCOL_TRC_SMPTE2084};
        matches!(
            self.raw().color_trc,
            AVCOL_TRC_SMPTE2084 | AVCOL_TRC_ARIB_STD_B67
        )
    }

    /// Samples per channel of sound.
    pub fn samples(&self) -> i32 {
        self.raw().nb_samples
    }

    pub fn sample_rate(&self) -> i32 {
        self.raw().sample_rate
    }

    /// What sound looks like: a change needs another filter graph.
    pub fn sound(&self) -> (i32, i32, i32) {
        let raw = self.raw();
        (raw.format, raw.sample_rate, raw.ch_layout.nb_channels)
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: frees what new allocated, once.
        unsafe { ffi::av_frame_free(&raw mut self.0) };
    }
}

/// libav's name of a pixel format, and its bits per colour sample.
pub fn pixel_format(format: i32) -> Option<(String, u8)> {
    // SAFETY: the formats are consecutive from -1 (none) and both functions answer null for what they do not know; the
    // number comes from libav itself and is therefore a value of the enumeration.
    unsafe {
        if format < 0 || format >= ffi::AVPixelFormat::AV_PIX_FMT_NB as i32 {
            return None;
        }
        let format: ffi::AVPixelFormat = std::mem::transmute(format);
        let descriptor = ffi::av_pix_fmt_desc_get(format);
        if descriptor.is_null() {
            return None;
        }
        let name = text((*descriptor).name)?;
        Some((name, u8::try_from((*descriptor).comp[0].depth).unwrap_or(8)))
    }
}
