//! Bytes of files that go to a socket without passing through the process (sendfile(2)).
//!
//! A body that may do so gives stand-ins instead of bytes, slices of a buffer that nobody ever writes, and notes here
//! which run of which file each stands for; the socket knows a stand-in by where it lies and sends the run in its place.
//! Whatever lies between them passes bytes on without looking at them, and counts them right.
//! Each stand-in has a place of its own, so one that was lost or cut on its way shows, and the connection is cut.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

/// Bytes of a run at most.
pub(super) const RUN_BYTES_MAX: usize = 256 * 1024;
/// Fewer are read and written sooner than sent.
pub(super) const RUN_BYTES_MIN: usize = 32 * 1024;
/// Where a stand-in may begin, and how far apart; more than the runs that one connection has under way.
const PLACES: usize = 64;
const APART: usize = 4096;
/// Never written or read, so it takes no memory.
static STAND_INS: [u8; RUN_BYTES_MAX + PLACES * APART] = [0; RUN_BYTES_MAX + PLACES * APART];

/// The way of one connection, whose answers follow one another; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Bypass(Arc<Mutex<Runs>>);

#[derive(Debug, Default)]
struct Runs {
    waiting: VecDeque<Run>,
    /// Counts the runs.
    next: usize,
}

#[derive(Debug)]
struct Run {
    file: Arc<File>,
    /// The next byte of the file.
    at: u64,
    /// The place of its stand-in.
    place: usize,
    left: usize,
}

impl Bypass {
    /// Gives the stand-in of at most [`RUN_BYTES_MAX`] bytes of a file.
    pub(super) fn put(&self, file: &Arc<File>, at: u64, len: usize) -> Bytes {
        let len = len.min(RUN_BYTES_MAX);
        let mut runs = self.lock();
        let place = runs.next % PLACES * APART;
        runs.next += 1;
        runs.waiting.push_back(Run {
            file: Arc::clone(file),
            at,
            place,
            left: len,
        });
        Bytes::from_static(&STAND_INS[place..place + len])
    }

    /// Whether these bytes only stand for others.
    pub fn is_stand_in(bytes: &[u8]) -> bool {
        STAND_INS.as_ptr_range().contains(&bytes.as_ptr()) && !bytes.is_empty()
    }

    /// Sends what the rest of a stand-in stands for, as much as the socket takes at once.
    ///
    /// # Errors
    /// Those of the socket; `InvalidData` for a stand-in that is not the next, `UnexpectedEof` for a file that was cut.
    pub fn send(&self, socket: impl AsFd, stand_in: &[u8]) -> io::Result<usize> {
        let mut runs = self.lock();
        let at = stand_in.as_ptr().addr() - STAND_INS.as_ptr().addr();
        let next = runs.waiting.front_mut();
        let next = next.filter(|run| run.place == at && run.left == stand_in.len());
        let run = next.ok_or(io::ErrorKind::InvalidData)?;
        let sent = rustix::fs::sendfile(socket, &run.file, Some(&mut run.at), run.left)?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        run.place += sent;
        run.left -= sent;
        if run.left == 0 {
            runs.waiting.pop_front();
        }
        Ok(sent)
    }

    /// Sends bytes that a run follows at once, which fills the packet that they begin.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn lead(socket: impl AsFd, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        Ok(sendmsg(
            socket,
            bytes,
            &mut SendAncillaryBuffer::default(),
            flags,
        )?)
    }

    /// The queue is whole between any two of its changes.
    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_stand_in_is_sent_as_the_bytes_it_stands_for() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let (file, bypass) = (Arc::new(file), Bypass::default());
        let first = bypass.put(&file, 2, 3);
        let second = bypass.put(&file, 7, 2);
        assert!(Bypass::is_stand_in(&first) && Bypass::is_stand_in(&second[1..]));
        assert!(!Bypass::is_stand_in(b"000") && !Bypass::is_stand_in(&[]));
        let (from, mut to) = UnixStream::pair().unwrap();
        // Out of turn: a stand-in before it was lost.
        let lost = bypass.send(&from, &second).unwrap_err();
        assert_eq!(lost.kind(), io::ErrorKind::InvalidData);
        for stand_in in [&first, &second] {
            let mut sent = 0;
            while sent < stand_in.len() {
                sent += bypass.send(&from, &stand_in[sent..]).unwrap();
            }
        }
        drop(from);
        let mut got = Vec::new();
        to.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"23478");
        assert!(bypass.send(&to, &first).is_err(), "sent twice");
    }

    #[test]
    fn a_file_that_was_cut_ends_in_an_error() {
        let (file, bypass) = (Arc::new(tempfile::tempfile().unwrap()), Bypass::default());
        let stand_in = bypass.put(&file, 0, 1);
        let (from, _to) = UnixStream::pair().unwrap();
        let cut = bypass.send(&from, &stand_in).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }
}
