//! Buffers that bodies are read into and uploads gathered in, used again and again, and zeroed once in their lives.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

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
    most: usize,
}

#[derive(Debug, Default)]
struct Stock {
    free: Vec<Box<[u8]>>,
    /// Free ones and those in use.
    made: usize,
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
        Self {
            stock: Mutex::default(),
            bytes_each,
            most,
        }
    }

    /// A buffer for up to `wanted` bytes, maybe less: its length says.
    pub(super) fn take(self: &Arc<Self>, wanted: usize) -> Buffer {
        let wanted = wanted.min(self.bytes_each);
        if wanted > SMALL_BYTES {
            let mut stock = self.lock();
            if let Some(bytes) = stock.free.pop() {
                return self.lend(bytes, wanted);
            }
            if stock.made < self.most {
                stock.made += 1;
                drop(stock);
                return self.lend(vec![0; self.bytes_each].into(), wanted);
            }
        }
        let len = wanted.min(SMALL_BYTES);
        Buffer {
            bytes: vec![0; len].into(),
            len,
            home: None,
        }
    }

    fn lend(self: &Arc<Self>, bytes: Box<[u8]>, len: usize) -> Buffer {
        Buffer {
            bytes,
            len,
            home: Some(Arc::clone(self)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that goes home when the last of its bytes is dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    bytes: Box<[u8]>,
    len: usize,
    home: Option<Arc<Buffers>>,
}

impl Buffer {
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
