//! Where streams that are hashed at the same time meet, so that they are hashed abreast ([`nebula_md5`]).
//!
//! Uploads at the same time on a busy machine so share a thread instead of taking one each.
//! Nobody waits for company: who finds a place free works at once, with whatever waits there, up to four.
//! Who finds none leaves its bytes; the next to leave a place wakes it to take over, or has them hashed beside its own.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use bytes::Bytes;
use nebula_md5::{ABREAST, Md5, Next};

use super::BlobError;

/// Processors for each place: with more places than this, few would ever have company.
const PROCESSORS_PER_PLACE: usize = 4;

/// Asked once, as the answer is read from files: for each batch it took a fortieth of an upload's processor time.
static PLACES: LazyLock<usize> = LazyLock::new(|| {
    let processors = available_parallelism().map_or(1, NonZeroUsize::get);
    (processors / PROCESSORS_PER_PLACE).max(1)
});

/// Where streams meet.
#[derive(Debug, Default)]
pub(super) struct Meeting(Mutex<Waiting>);

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
    pieces: Vec<Bytes>,
    tell: SyncSender<Turn>,
}

#[derive(Debug)]
enum Turn {
    /// Somebody did it.
    Done(Md5),
    /// The place is yours.
    Yours,
}

impl Meeting {
    /// Takes the next bytes of a stream; blocks until they are hashed.
    pub(super) fn update(&self, md5: Md5, pieces: &[Bytes]) -> Result<Md5, BlobError> {
        let (tell, told) = sync_channel(1);
        let pieces = pieces.to_vec();
        let has_place = {
            let mut waiting = self.lock();
            waiting.work.push_back(Work { md5, pieces, tell });
            let free = waiting.taken < *PLACES;
            waiting.taken += usize::from(free);
            free
        };
        if has_place {
            self.work();
        }
        loop {
            match told.recv() {
                Ok(Turn::Done(md5)) => return Ok(md5),
                Ok(Turn::Yours) => self.work(),
                Err(_) => return Err(BlobError::lost("hashing")),
            }
        }
    }

    /// Does what waits first, then hands the place on.
    fn work(&self) {
        let mut group: Vec<Work> = {
            let mut waiting = self.lock();
            let few = waiting.work.len().min(ABREAST);
            waiting.work.drain(..few).collect()
        };
        let next = group.iter_mut().map(|work| (&mut work.md5, &*work.pieces));
        nebula_md5::update(&mut next.collect::<Vec<Next<'_, Bytes>>>());
        let mut waiting = self.lock();
        match waiting.work.front() {
            // Its stream waits for nothing else, so there is room for one word.
            Some(next) => {
                let _ = next.tell.try_send(Turn::Yours);
            }
            None => waiting.taken -= 1,
        }
        drop(waiting);
        for work in group {
            let _ = work.tell.try_send(Turn::Done(work.md5));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use md5::Digest as _;

    use super::*;

    #[test]
    fn many_threads_meet_and_each_gets_its_own() {
        let meeting = Meeting::default();
        std::thread::scope(|scope| {
            for thread in 0_u8..12 {
                let meeting = &meeting;
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
