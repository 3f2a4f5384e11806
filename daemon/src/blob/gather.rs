//! Short runs of a file that lie close together, read into one piece by one call.
//!
//! Where picture and sound take turns in a film, every frame is a run of its own. Each read or sent by itself would cost
//! more than its bytes; read as one stretch, what lies between them would go through the process as well, and each run
//! would be a piece of its own for everybody on the way to the socket.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags};

use super::buffer::{BUFFER_BYTES, Buffer, Buffers};

/// A run of so many bytes is worth a call of its own.
const SHORT_BYTES: u64 = 32 * 1024;
/// Over more than this nothing is read.
pub(super) const GAP_BYTES_MAX: u64 = 8 * 1024;
/// Runs of one call; each takes a slice, and so does what lies before it (IOV_MAX is 1024).
pub(super) const RUNS_MAX: usize = 400;

/// Runs to be read together, and where to.
#[derive(Debug)]
pub(super) struct Batch {
    /// In the file, each behind the one before it.
    runs: Vec<Range<u64>>,
    space: Buffer,
    /// For what lies between them.
    between: Buffer,
}

impl Batch {
    /// The first of the runs and those behind it that are read together with it, within `end`; `None` where that is one alone.
    pub(super) fn of(
        buffers: &Arc<Buffers>,
        first: Range<u64>,
        further: &VecDeque<Range<u64>>,
        end: u64,
    ) -> Option<Self> {
        let is_short = |run: &Range<u64>| run.end - run.start < SHORT_BYTES;
        let close = |last: u64, run: &Range<u64>| {
            let gap = run.start.checked_sub(last);
            gap.is_some_and(|gap| gap <= GAP_BYTES_MAX) && run.end <= end && is_short(run)
        };
        if !is_short(&first) || !close(first.end, further.front()?) {
            return None;
        }
        let space = buffers.take(BUFFER_BYTES);
        let between = buffers.take(BUFFER_BYTES);
        let mut batch = Self {
            space,
            between,
            runs: vec![first],
        };
        let (mut bytes, mut gaps) = (batch.runs[0].end - batch.runs[0].start, 0);
        for run in further {
            let last = batch.runs[batch.runs.len() - 1].end;
            bytes += run.end - run.start;
            gaps += run.start.saturating_sub(last);
            let fits = bytes <= batch.space.space().len() as u64
                && gaps <= batch.between.space().len() as u64;
            if !fits || !close(last, run) || batch.runs.len() == RUNS_MAX {
                break;
            }
            batch.runs.push(run.clone());
        }
        Some(batch)
    }

    /// Reads what is in the page cache of the runs, in order; gives the batch back when nothing is.
    pub(super) fn cached(mut self, file: &File) -> io::Result<Result<Bytes, Self>> {
        match self.read(file, ReadWriteFlags::NOWAIT) {
            Ok(0) | Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => {
                Ok(Err(self))
            }
            Ok(len) => Ok(Ok(self.space.into_bytes(len))),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads some of them, whatever it takes.
    pub(super) fn cold(mut self, file: &File) -> io::Result<Bytes> {
        loop {
            match self.read(file, ReadWriteFlags::empty()) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(Errno::INTR) => {}
                Ok(len) => return Ok(self.space.into_bytes(len)),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// How many bytes of the runs were read.
    fn read(&mut self, file: &File, flags: ReadWriteFlags) -> Result<usize, Errno> {
        let start = self.runs[0].start;
        let mut slices = Vec::with_capacity(2 * self.runs.len());
        let (mut space, mut between) = (self.space.space(), self.between.space());
        let mut last = start;
        for run in &self.runs {
            for (bytes, of) in [
                (run.start - last, &mut between),
                (run.end - run.start, &mut space),
            ] {
                if bytes > 0 {
                    let (slice, rest) = std::mem::take(of).split_at_mut(bytes as usize);
                    *of = rest;
                    slices.push(IoSliceMut::new(slice));
                }
            }
            last = run.end;
        }
        let read = rustix::io::preadv2(file, &mut slices, start, flags)? as u64;
        let end = start + read;
        let within = |run: &Range<u64>| run.end.min(end).saturating_sub(run.start);
        Ok(self.runs.iter().map(within).sum::<u64>() as usize)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::io::Write as _;

    use super::*;

    #[test]
    fn runs_are_read_without_what_lies_between_them() {
        let object: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&object).unwrap();
        let buffers = Arc::new(Buffers::of_bodies());
        let mut runs: VecDeque<Range<u64>> = (0..60).map(|n| n * 9000..n * 9000 + 5000).collect();
        runs.push_back(550_000..600_000);
        let mut calls = 0;
        let mut got = Vec::new();
        let mut wanted = Vec::new();
        for run in &runs {
            wanted.extend_from_slice(&object[run.start as usize..run.end as usize]);
        }
        while let Some(first) = runs.pop_front() {
            let Some(batch) = Batch::of(&buffers, first.clone(), &runs, object.len() as u64) else {
                got.extend_from_slice(&object[first.start as usize..first.end as usize]);
                continue;
            };
            let count = batch.runs.len();
            got.extend_from_slice(&batch.cold(&file).unwrap());
            runs.drain(..count - 1);
            calls += 1;
        }
        assert_eq!(got, wanted);
        assert!((1..5).contains(&calls), "{calls}");
    }

    #[test]
    fn a_file_that_ends_within_a_batch_gives_what_it_has() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 25]).unwrap();
        let buffers = Arc::new(Buffers::of_bodies());
        let further = VecDeque::from([20..30, 40..50]);
        let batch = || Batch::of(&buffers, 0..10, &further, 100).unwrap();
        assert_eq!(batch().cold(&file).unwrap().len(), 15);
        file.set_len(0).unwrap();
        let error = batch().cold(&file).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let apart = std::iter::once(10_000..10_010).collect();
        assert!(Batch::of(&buffers, 0..10, &apart, 20_000).is_none());
        assert!(Batch::of(&buffers, 0..10, &further, 25).is_none());
    }
}
