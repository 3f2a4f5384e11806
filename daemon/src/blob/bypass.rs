//! Bytes of files that go to a socket without passing through the process (sendfile(2)).
//!
//! A body that may do so gives stand-ins instead of bytes, slices of a buffer that nobody ever writes, and notes here
//! which runs of which file each stands for; the socket knows a stand-in by where it lies and sends the runs in its place.
//! Whatever lies between them passes bytes on without looking at them, and counts them right.
//! Each stand-in has a place of its own, so one that was lost or cut on its way shows, and the connection is cut.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

/// Bytes that one stand-in stands for at most.
pub(super) const STAND_IN_BYTES_MAX: usize = 1024 * 1024;
/// Runs of fewer bytes are read and written sooner than sent.
pub(super) const RUN_BYTES_MIN: usize = 32 * 1024;
/// Where a stand-in may begin, and how far apart; more than one connection has under way.
const PLACES: usize = 64;
const APART: usize = 4096;
/// Never written or read, so it takes no memory.
static STAND_INS: [u8; STAND_IN_BYTES_MAX + PLACES * APART] =
    [0; STAND_IN_BYTES_MAX + PLACES * APART];

/// The way of one connection, whose answers follow one another; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Bypass(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    stand_ins: VecDeque<StandIn>,
    /// Counts them.
    next: usize,
}

#[derive(Debug)]
struct StandIn {
    file: Arc<File>,
    /// What is left to send.
    runs: VecDeque<Range<u64>>,
    /// Where the rest of it begins.
    place: usize,
    left: usize,
}

impl Bypass {
    /// Gives the stand-in of runs of a file, none of them empty, of at most [`STAND_IN_BYTES_MAX`] bytes together.
    pub(super) fn put(&self, file: &Arc<File>, runs: VecDeque<Range<u64>>) -> Bytes {
        let left = runs.iter().map(|run| (run.end - run.start) as usize).sum();
        let mut waiting = self.lock();
        let place = waiting.next % PLACES * APART;
        waiting.next += 1;
        waiting.stand_ins.push_back(StandIn {
            file: Arc::clone(file),
            runs,
            place,
            left,
        });
        Bytes::from_static(&STAND_INS[place..place + left])
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
        let mut waiting = self.lock();
        let at = stand_in.as_ptr().addr() - STAND_INS.as_ptr().addr();
        let next = waiting.stand_ins.front_mut();
        let next = next.filter(|next| next.place == at && next.left == stand_in.len());
        let next = next.ok_or(io::ErrorKind::InvalidData)?;
        let sent = next.send(socket);
        if next.left == 0 {
            waiting.stand_ins.pop_front();
        }
        sent
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
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StandIn {
    /// Sends run after run until the socket takes no more; what then fails is met again by the next call.
    fn send(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let mut all = 0;
        while let Some(run) = self.runs.front_mut() {
            let wanted = (run.end - run.start) as usize;
            let sent = match rustix::fs::sendfile(&socket, &self.file, Some(&mut run.start), wanted)
            {
                Ok(0) if all == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if all == 0 => return Err(error.into()),
                Ok(0) | Err(_) => break,
                Ok(sent) => sent,
            };
            all += sent;
            self.place += sent;
            self.left -= sent;
            if sent < wanted {
                break;
            }
            self.runs.pop_front();
        }
        Ok(all)
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
        let first = bypass.put(&file, std::iter::once(2..5).collect());
        let second = bypass.put(&file, [7..9, 0..1, 4..6].into());
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
        assert_eq!(got, b"23478045");
        assert!(bypass.send(&to, &first).is_err(), "sent twice");
    }

    #[test]
    fn a_file_that_was_cut_ends_in_an_error() {
        let (file, bypass) = (Arc::new(tempfile::tempfile().unwrap()), Bypass::default());
        let stand_in = bypass.put(&file, std::iter::once(0..1).collect());
        let (from, _to) = UnixStream::pair().unwrap();
        let cut = bypass.send(&from, &stand_in).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_a_full_socket_did_not_take_follows_when_it_is_emptied() {
        let bytes: Vec<u8> = (0..600_000_u32).map(|at| (at / 256) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let (file, bypass) = (Arc::new(file), Bypass::default());
        let runs = [0..200_000, 300_000..300_001, 310_000..600_000];
        let stand_in = bypass.put(&file, runs.clone().into());
        let (from, mut to) = UnixStream::pair().unwrap();
        from.set_nonblocking(true).unwrap();
        let (mut sent, mut got, mut refusals) = (0, Vec::new(), 0);
        while sent < stand_in.len() {
            match bypass.send(&from, &stand_in[sent..]) {
                Ok(more) => sent += more,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    refusals += 1;
                    let mut some = vec![0; 70_000];
                    let read = to.read(&mut some).unwrap();
                    got.extend_from_slice(&some[..read]);
                }
            }
        }
        drop(from);
        to.read_to_end(&mut got).unwrap();
        let wanted = runs.map(|run| &bytes[run.start as usize..run.end as usize]);
        assert!(got == wanted.concat(), "other bytes");
        assert!(refusals > 1);
    }
}
