//! GPUs.

use std::ffi::CString;
use std::ptr;

use ffmpeg_next::ffi;

use super::{AvError, check, text};

/// A reference to an open device.
pub struct Device(*mut ffi::AVBufferRef);

// SAFETY: references are counted atomically, and libav's device contexts may be used from any thread.
unsafe impl Send for Device {}
// SAFETY: only references are taken from a shared device.
unsafe impl Sync for Device {}

impl Device {
    /// Opens a render node and loads its VA-API driver.
    pub fn vaapi(node: &str) -> Result<Self, AvError> {
        let node = CString::new(node)
            .map_err(|_| AvError::new(-libc::EINVAL, "opening the render node"))?;
        let mut device = ptr::null_mut();
        let kind = ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_VAAPI;
        // SAFETY: the node is a valid string; on success the new reference is ours.
        let code = unsafe {
            ffi::av_hwdevice_ctx_create(&raw mut device, kind, node.as_ptr(), ptr::null_mut(), 0)
        };
        check(code, "opening the VA-API device").map(|_| Self(device))
    }

    /// A Quick Sync session on the same GPU.
    pub fn derive_qsv(&self) -> Result<Self, AvError> {
        let mut device = ptr::null_mut();
        let kind = ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_QSV;
        // SAFETY: the parent is valid; the derived device holds its own reference to it.
        let code = unsafe { ffi::av_hwdevice_ctx_create_derived(&raw mut device, kind, self.0, 0) };
        check(code, "opening a Quick Sync session").map(|_| Self(device))
    }

    /// What the driver calls itself.
    pub fn driver(&self) -> Option<String> {
        type Query = unsafe extern "C" fn(*mut std::ffi::c_void) -> *const std::ffi::c_char;
        // SAFETY: libavutil has loaded libva already, so that asking for its function by name spares its headers at
        // build time; the signature is that of va.h. A VA-API device context starts with its display; libva owns the
        // string.
        unsafe {
            let device = (*self.0)
                .data
                .cast::<std::ffi::c_void>()
                .cast::<ffi::AVHWDeviceContext>();
            if (*device).type_ != ffi::AVHWDeviceType::AV_HWDEVICE_TYPE_VAAPI {
                return None;
            }
            let query = libc::dlsym(libc::RTLD_DEFAULT, c"vaQueryVendorString".as_ptr());
            if query.is_null() {
                return None;
            }
            let query: Query = std::mem::transmute(query);
            let display = *(*device).hwctx.cast::<*mut std::ffi::c_void>();
            text(query(display))
        }
    }

    /// Another reference, for libav to own.
    pub(super) fn reference(&self) -> *mut ffi::AVBufferRef {
        // SAFETY: valid as long as self.
        unsafe { ffi::av_buffer_ref(self.0) }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: gives back our one reference.
        unsafe { ffi::av_buffer_unref(&raw mut self.0) };
    }
}
