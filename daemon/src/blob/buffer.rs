//! Buffers that bodies are read into and uploads gathered in, used again and again.
//!
//! All of a kind are cut from one piece of memory, of which the system gives what is touched.
//! Each from the allocator by itself, they would lie for ever between what connections come and go with, and keep that from being given back: with 64 uploads at once half of the allocator's memory was such holes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

/// Bytes of one read of a body.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;
/// Bytes of one read when all buffers are out, for instance with hundreds of slow clients.
const SMALL_BYTES: usize = 32 * 1024;
/// Buffers in use or waiting: 10 MiB in all, so that 64 streams add no more than 16.
const BUFFERS_MAX: usize = 40;
/// Bytes of an upload that are written and summed in one go; a power of two, and a part of a block that is summed.
pub(super) const BLOCK_BYTES: usize = 128 * 1024;
/// The same for uploads: 6 MiB in all, so that 64 uploads and all else stay below 64.
const BLOCKS_MAX: usize = 48;

/// Buffers of one kind.
#[derive(Debug)]
pub(super) struct Buffers {
    stock: Mutex<Stock>,
    bytes_each: usize,
}

#[derive(Debug)]
struct Stock {
    /// Those that came home, the last of them still in the processor's cache.
    free: Vec<BytesMut>,
    /// Those that were never lent.
    fresh: BytesMut,
}

impl Buffers {
    /// Those of all bodies that are read.
    pub(super) fn of_bodies() -> Self {
        Self::of(BUFFER_BYTES, BUFFERS_MAX)
    }

    /// Those of all uploads that are written.
    pub(super) fn of_uploads() -> Self {
        Self::of(BLOCK_BYTES, BLOCKS_MAX)
    }

    fn of(bytes_each: usize, most: usize) -> Self {
        let stock = Stock {
            free: Vec::with_capacity(most),
            fresh: BytesMut::zeroed(bytes_each * most),
        };
        Self {
            stock: Mutex::new(stock),
            bytes_each,
        }
    }

    /// A buffer for up to `wanted` bytes, maybe less: its length says.
    pub(super) fn take(self: &Arc<Self>, wanted: usize) -> Buffer {
        let lent = self.try_take(wanted);
        lent.unwrap_or_else(|| Buffer::small(wanted))
    }

    /// The same for who can wait: `None` when all are lent.
    pub(super) fn try_take(self: &Arc<Self>, wanted: usize) -> Option<Buffer> {
        let len = wanted.min(self.bytes_each);
        if len <= SMALL_BYTES {
            return Some(Buffer::small(wanted));
        }
        let mut stock = self.lock();
        let bytes = match stock.free.pop() {
            Some(bytes) => bytes,
            None if stock.fresh.is_empty() => return None,
            None => stock.fresh.split_to(self.bytes_each),
        };
        Some(Buffer {
            bytes,
            len,
            home: Some(Arc::clone(self)),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that goes home when the last of its bytes is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: BytesMut,
    len: usize,
    home: Option<Arc<Buffers>>,
}

impl Buffer {
    /// One that nobody has used, and nobody will again.
    fn small(wanted: usize) -> Self {
        let len = wanted.min(SMALL_BYTES);
        Self {
            bytes: BytesMut::zeroed(len),
            len,
            home: None,
        }
    }

    /// The part to read into.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }

    /// The first `len` bytes, without a copy.
    pub(super) fn into_bytes(mut self, len: usize) -> Bytes {
        self.len = len.min(self.len);
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.lock().free.push(std::mem::take(&mut self.bytes));
        }
    }
}
