//! Where streams that are hashed at the same time meet, so that they are hashed abreast ([`nebula_md5`]).
//!
//! Uploads at the same time on a busy machine so share a thread instead of taking one each.
//! Nobody waits for company: who finds a place free works at once, and in short steps.
//! Who finds none leaves its bytes, and whoever works takes them in at the next step, up to four; who is done makes room.
//! When its own are done it leaves, and hands the place on with all that is in it.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use bytes::Bytes;
use nebula_md5::{ABREAST, Md5, Next};

use super::BlobError;

/// Processors for each place: with more places than this, few would ever have company.
const PROCESSORS_PER_PLACE: usize = 4;
/// Bytes of each stream between two looks at who came and who is done.
const STEP_BYTES: usize = 32 * 1024;

/// Where streams meet.
#[derive(Debug)]
pub(super) struct Meeting {
    waiting: Mutex<Waiting>,
    places: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    /// At most one entry of each stream, as its lane waits for it.
    work: VecDeque<Work>,
    /// Places that are taken.
    taken: usize,
}

#[derive(Debug)]
struct Work {
    md5: Md5,
    pieces: VecDeque<Bytes>,
    left: usize,
    tell: SyncSender<Turn>,
}

#[derive(Debug)]
enum Turn {
    /// Somebody did it.
    Done(Md5),
    /// The place is yours, with your own work first.
    Yours(Vec<Work>),
}

impl Default for Meeting {
    fn default() -> Self {
        // Asked once: the answer is read from files.
        let processors = available_parallelism().map_or(1, NonZeroUsize::get);
        Self::with_places((processors / PROCESSORS_PER_PLACE).max(1))
    }
}

impl Meeting {
    fn with_places(places: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            places,
        }
    }

    /// Takes the next bytes of a stream; blocks until they are hashed.
    pub(super) fn update(&self, md5: Md5, pieces: &[Bytes]) -> Result<Md5, BlobError> {
        let left = pieces.iter().map(Bytes::len).sum();
        if left == 0 {
            return Ok(md5);
        }
        // It gets one message: either that it is done, or the place.
        let (tell, told) = sync_channel(1);
        let work = Work {
            md5,
            pieces: pieces.iter().cloned().collect(),
            left,
            tell,
        };
        {
            let mut waiting = self.lock();
            if waiting.taken < self.places {
                waiting.taken += 1;
                drop(waiting);
                return self.work(vec![work]);
            }
            waiting.work.push_back(work);
        }
        match told.recv() {
            Ok(Turn::Done(md5)) => Ok(md5),
            Ok(Turn::Yours(group)) => self.work(group),
            Err(_) => Err(BlobError::lost("hashing")),
        }
    }

    /// Works until the first of the group is done.
    fn work(&self, mut group: Vec<Work>) -> Result<Md5, BlobError> {
        loop {
            {
                let mut waiting = self.lock();
                let room = ABREAST.saturating_sub(group.len());
                let few = room.min(waiting.work.len());
                group.extend(waiting.work.drain(..few));
            }
            step(&mut group);
            for n in (1..group.len()).rev() {
                if group[n].left == 0 {
                    let done = group.swap_remove(n);
                    // Its thread waits for nothing else.
                    let _ = done.tell.try_send(Turn::Done(done.md5));
                }
            }
            if group.first().is_none_or(|own| own.left == 0) {
                let mut group = group.into_iter();
                let own = group.next();
                self.hand_on(group.collect());
                return own
                    .map(|own| own.md5)
                    .ok_or_else(|| BlobError::lost("hashing"));
            }
        }
    }

    /// Gives the place to somebody whose work is in it or waits, or gives it up.
    fn hand_on(&self, mut group: Vec<Work>) {
        loop {
            if group.is_empty() {
                let mut waiting = self.lock();
                let Some(next) = waiting.work.pop_front() else {
                    waiting.taken -= 1;
                    return;
                };
                group.push(next);
            }
            let next = group[0].tell.clone();
            match next.try_send(Turn::Yours(group)) {
                Ok(()) => return,
                // Its thread is gone, so nobody needs its sum.
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => {
                    group = match back {
                        Turn::Yours(mut group) => {
                            group.remove(0);
                            group
                        }
                        Turn::Done(_) => Vec::new(),
                    };
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hashes as many bytes of each as the one with the fewest has, and not too many.
fn step(group: &mut [Work]) {
    let fewest = group.iter().map(|work| work.left).min();
    let bytes = fewest.unwrap_or(0).min(STEP_BYTES);
    let parts: Vec<Vec<Bytes>> = group.iter_mut().map(|work| work.take(bytes)).collect();
    let works = group.iter_mut().zip(&parts);
    let mut next: Vec<Next<'_, Bytes>> = works
        .map(|(work, part)| (&mut work.md5, part.as_slice()))
        .collect();
    nebula_md5::update(&mut next);
}

impl Work {
    /// The next bytes, of which there are so many.
    fn take(&mut self, mut bytes: usize) -> Vec<Bytes> {
        self.left -= bytes;
        let mut taken = Vec::new();
        while bytes > 0
            && let Some(piece) = self.pieces.front_mut()
        {
            let part = piece.split_to(bytes.min(piece.len()));
            bytes -= part.len();
            taken.push(part);
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use md5::Digest as _;

    use super::*;

    #[test]
    fn many_threads_meet_and_each_gets_its_own() {
        for places in 1..4 {
            meet(&Meeting::with_places(places));
        }
    }

    fn meet(meeting: &Meeting) {
        std::thread::scope(|scope| {
            for thread in 0_u8..12 {
                scope.spawn(move || {
                    let pieces: Vec<_> = (0..50)
                        .map(|n| vec![thread; 997 * (n % 7) + thread as usize])
                        .collect();
                    let mut md5 = Md5::default();
                    for piece in &pieces {
                        md5 = meeting.update(md5, &[Bytes::from(piece.clone())]).unwrap();
                    }
                    assert_eq!(
                        md5.finish(),
                        <[u8; 16]>::from(md5::Md5::digest(pieces.concat()))
                    );
                });
            }
        });
        let waiting = meeting.lock();
        assert!(
            waiting.work.is_empty() && waiting.taken == 0,
            "a place is still taken"
        );
    }
}
