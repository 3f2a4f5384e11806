//! Other processes on the same database, and how each learns that another has committed.
//!
//! Beside the database lies a file of a few numbers, one for each process.
//! Which one is its own a process settles by a lock that it holds for as long as it lives; those that find none free share the last.
//! After a commit, and before anybody is told of it, a process writes a number in its place that was never there before.
//! Whoever remembers rows looks at the numbers of the others: one that changed means that what is remembered may be old.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::kernel::Id;

/// A daemon, its successor during a deploy, a tool of the command line, and one for all further ones.
const PLACES: usize = 4;
/// The one that nobody holds alone.
const SHARED: usize = PLACES - 1;
/// Bytes of the number in each.
const NUMBER_BYTES: usize = 8;

/// What the others' numbers were at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Seen([u8; PLACES * NUMBER_BYTES]);

/// The open file, and the place of this process in it.
pub(super) struct Neighbours {
    numbers: File,
    /// The place that is ours alone, and the lock on it; a process without may tell, but must not remember.
    own: Option<(usize, File)>,
    next: AtomicU64,
}

impl Neighbours {
    /// Opens or makes the file beside a database and takes a place in it.
    pub(super) fn open(database: &Path) -> io::Result<Self> {
        let open = |suffix: &str| {
            let mut path = OsString::from(database);
            path.push(suffix);
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            options.open(path)
        };
        let numbers = open("-told")?;
        // Of a file that has its length already, this changes nothing.
        numbers.set_len((PLACES * NUMBER_BYTES) as u64)?;
        let mut own = None;
        for place in 0..SHARED {
            let lock = open(&format!("-told{place}"))?;
            if lock.try_lock().is_ok() {
                own = Some((place, lock));
                break;
            }
        }
        let mut start = [0; NUMBER_BYTES];
        start.copy_from_slice(&Id::random().as_bytes()[..NUMBER_BYTES]);
        let next = AtomicU64::new(u64::from_le_bytes(start));
        Ok(Self { numbers, own, next })
    }

    /// What the others have said; `None` when this process may not remember anything.
    ///
    /// A few bytes that are always in the page cache: this waits for no disk.
    pub(super) fn look(&self) -> Option<Seen> {
        let at = self.own.as_ref()?.0 * NUMBER_BYTES;
        let mut seen = Seen::default();
        self.numbers.read_exact_at(&mut seen.0, 0).ok()?;
        seen.0[at..at + NUMBER_BYTES].fill(0);
        Some(seen)
    }

    /// Tells the others that something was committed.
    pub(super) fn tell(&self) -> io::Result<()> {
        let place = self.own.as_ref().map_or(SHARED, |own| own.0);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.numbers
            .write_all_at(&number.to_le_bytes(), (place * NUMBER_BYTES) as u64)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn each_sees_what_another_tells_and_not_what_it_tells_itself() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let (one, two) = (
            Neighbours::open(&path).unwrap(),
            Neighbours::open(&path).unwrap(),
        );
        let before = (one.look().unwrap(), two.look().unwrap());
        one.tell().unwrap();
        assert_eq!(one.look().unwrap(), before.0);
        assert_ne!(two.look().unwrap(), before.1);
    }

    #[test]
    fn a_process_without_a_file_of_its_own_is_heard_but_remembers_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let held: Vec<_> = (0..SHARED)
            .map(|_| Neighbours::open(&path).unwrap())
            .collect();
        let guests = [
            Neighbours::open(&path).unwrap(),
            Neighbours::open(&path).unwrap(),
        ];
        for guest in &guests {
            assert!(guest.look().is_none());
            let before: Vec<_> = held.iter().map(Neighbours::look).collect();
            guest.tell().unwrap();
            for (process, before) in held.iter().zip(before) {
                assert_ne!(process.look(), before);
            }
        }
        drop(held);
        assert!(Neighbours::open(&path).unwrap().look().is_some());
    }
}
