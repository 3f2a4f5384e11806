//! One packet: a sample as the demuxer or an encoder gives it.

use ffmpeg_next::ffi;

use super::{AvError, timestamp};

pub struct Packet(*mut ffi::AVPacket);

// SAFETY: a packet has no thread of its own; its buffers are reference-counted atomically.
unsafe impl Send for Packet {}

impl Packet {
    pub fn new() -> Result<Self, AvError> {
        // SAFETY: allocates, or gives null.
        let packet = unsafe { ffi::av_packet_alloc() };
        if packet.is_null() {
            Err(AvError::new(-libc::ENOMEM, "allocating a packet"))
        } else {
            Ok(Self(packet))
        }
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut ffi::AVPacket {
        self.0
    }

    pub(super) fn as_ptr(&self) -> *const ffi::AVPacket {
        self.0
    }

    /// Drops the contents, for the next use.
    pub fn clear(&mut self) {
        // SAFETY: the packet is ours and valid.
        unsafe { ffi::av_packet_unref(self.0) };
    }

    fn raw(&self) -> &ffi::AVPacket {
        // SAFETY: the pointer is valid as long as self, and nobody writes while it is borrowed.
        unsafe { &*self.0 }
    }

    pub fn stream(&self) -> usize {
        usize::try_from(self.raw().stream_index).unwrap_or(usize::MAX)
    }

    pub fn pts(&self) -> Option<i64> {
        timestamp(self.raw().pts)
    }

    pub fn dts(&self) -> Option<i64> {
        timestamp(self.raw().dts)
    }

    pub fn duration(&self) -> i64 {
        self.raw().duration
    }

    /// Byte in the object where the demuxer found it.
    pub fn position(&self) -> Option<u64> {
        u64::try_from(self.raw().pos).ok()
    }

    pub fn is_key(&self) -> bool {
        self.raw().flags & ffi::AV_PKT_FLAG_KEY != 0
    }

    /// Needed to decode what follows, but not shown (before an edit).
    pub fn is_discarded(&self) -> bool {
        self.raw().flags & ffi::AV_PKT_FLAG_DISCARD != 0
    }

    pub fn is_corrupt(&self) -> bool {
        self.raw().flags & ffi::AV_PKT_FLAG_CORRUPT != 0
    }

    pub fn data(&self) -> &[u8] {
        let raw = self.raw();
        let length = usize::try_from(raw.size).unwrap_or(0);
        if raw.data.is_null() || length == 0 {
            return &[];
        }
        // SAFETY: libav keeps `size` readable bytes at `data` as long as the packet holds them.
        unsafe { std::slice::from_raw_parts(raw.data, length) }
    }

    /// Whether the demuxer says that this sample is encrypted.
    pub fn is_encrypted(&self) -> bool {
        let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_ENCRYPTION_INFO;
        // SAFETY: the packet is valid; a null size pointer is allowed.
        unsafe { !ffi::av_packet_get_side_data(self.0, kind, std::ptr::null_mut()).is_null() }
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        // SAFETY: frees what new allocated, once.
        unsafe { ffi::av_packet_free(&raw mut self.0) };
    }
}
