//! Whether bytes of a file lie in the page cache, asked without waiting for the disk.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::{Errno, ReadWriteFlags};

use super::buffer::BUFFER_BYTES;
use super::bypass::STAND_IN_BYTES_MAX;

/// Looks at one file in a row that found what they looked for, after which the last byte of a run speaks for all of it.
const STREAK: u32 = 4096;

/// How the runs of one file were found lately.
///
/// Bytes leave the page cache in the order in which they were used, so a run of which the end is there and the beginning is
/// not lies where the cache begins to have the file, and a reader comes to it from bytes that were missing.
/// Where nothing was missing for long, there is no such place near, and the end of a run speaks for the whole.
#[derive(Debug, Default)]
pub(super) struct Residency(AtomicU32);

impl Residency {
    /// How many bytes of a run one look speaks for.
    pub(super) fn reach(&self) -> u64 {
        if self.0.load(Ordering::Relaxed) >= STREAK {
            STAND_IN_BYTES_MAX as u64
        } else {
            BUFFER_BYTES as u64
        }
    }

    /// Whether sending these bytes will most likely wait for no disk: their first and last are in the page cache, and what lies
    /// between came and goes with them. Of bytes that follow others which are there, the first is as well, and of a file of
    /// which nothing was missing for long.
    pub(super) fn is_cached(&self, file: &File, bytes: Range<u64>, follows: bool) -> bool {
        let is = |at| matches!(read_cached(file, &mut [0], at), Ok(Some(1)));
        let streak = self.0.load(Ordering::Relaxed);
        let cached = is(bytes.end - 1) && (follows || streak >= STREAK || is(bytes.start));
        if !cached {
            self.0.store(0, Ordering::Relaxed);
        } else if streak < STREAK {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        cached
    }
}

/// Reads what is in the page cache; `None` when nothing is, or when the file system cannot tell (preadv2(2), `RWF_NOWAIT`).
pub(super) fn read_cached(file: &File, space: &mut [u8], at: u64) -> io::Result<Option<usize>> {
    let mut slices = [IoSliceMut::new(space)];
    match rustix::io::preadv2(file, &mut slices, at, ReadWriteFlags::NOWAIT) {
        // The end of the file is for the blocking read to find: some file systems answer 0 where they mean "not now".
        Ok(0) | Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(None),
        Ok(len) => Ok(Some(len)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::io::{Read as _, Seek as _, Write as _};

    use rustix::fs::{Advice, fadvise};

    use super::*;

    const HALF: u64 = 4 << 20;

    #[test]
    fn the_beginning_is_looked_at_until_nothing_was_missing_for_long() {
        let mut file = tempfile::tempfile().unwrap();
        let mut all = vec![1; 2 * HALF as usize];
        file.write_all(&all).unwrap();
        file.sync_all().unwrap();
        let mut warm = |mut file: &File| {
            file.rewind().unwrap();
            file.read_exact(&mut all).unwrap();
        };
        let let_go = |from, len: u64| fadvise(&file, from, len.try_into().ok(), Advice::DontNeed);
        let (residency, whole) = (Residency::default(), 0..2 * HALF);
        warm(&file);
        assert!(residency.is_cached(&file, whole.clone(), false));
        let_go(0, HALF).unwrap();
        if residency.is_cached(&file, whole.clone(), false) {
            let kept = read_cached(&file, &mut [0], HALF / 2).unwrap().is_some();
            assert!(kept, "the beginning");
            eprintln!(
                "SKIPPED: the file system of temporary files keeps what it is told to let go"
            );
            return;
        }
        warm(&file);
        for _ in 0..STREAK {
            assert!(residency.is_cached(&file, whole.clone(), false));
        }
        let_go(0, HALF).unwrap();
        assert!(
            residency.is_cached(&file, whole.clone(), false),
            "the streak"
        );
        let_go(HALF, HALF).unwrap();
        assert!(!residency.is_cached(&file, whole.clone(), false), "the end");
        warm(&file);
        let_go(0, HALF).unwrap();
        assert!(
            !residency.is_cached(&file, whole, false),
            "a streak after a miss"
        );
    }
}
