//! What waits for a thread that answers it: bounded, and with as few wake-ups as can be.
//!
//! To wake a thread costs more than most of what these are woken for.
//! So whoever is ready to ask does so before one is, and a thread that is awake takes all that it finds.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Semaphore;

/// The queue of one or several threads.
pub(super) struct Waiting<T> {
    state: Mutex<State<T>>,
    more: Condvar,
    room: Semaphore,
}

struct State<T> {
    items: VecDeque<T>,
    /// Threads that wait for one.
    idle: usize,
    /// One of them was woken, and has not looked yet.
    is_waking: bool,
    is_closed: bool,
}

/// Nobody answers any more.
pub(super) struct Closed;

/// Every change of what these hold is whole.
pub(super) fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Waiting<T> {
    /// With room for so many; further callers wait to be let in.
    pub(super) fn with_room(most: usize) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                idle: 0,
                is_waking: false,
                is_closed: false,
            }),
            more: Condvar::new(),
            room: Semaphore::new(most),
        }
    }

    /// Puts one behind the others and sees to it that it is taken.
    pub(super) async fn put(&self, item: T) -> Result<(), Closed> {
        let Ok(room) = self.room.acquire().await else {
            return Err(Closed);
        };
        // It is given back by whoever takes the item.
        room.forget();
        let announcement = {
            let mut state = locked(&self.state);
            if state.is_closed {
                return Err(Closed);
            }
            state.items.push_back(item);
            // Threads that are not idle look for more before they are.
            (state.idle > 0).then(|| Announcement(self))
        };
        if let Some(announcement) = announcement {
            // Each for itself: another's future may not be polled before this one is through.
            tokio::task::yield_now().await;
            drop(announcement);
        }
        Ok(())
    }

    /// Moves what waits, at most so many, behind those that are in `into`; waits for the first, if need be until a moment.
    ///
    /// `false` when time is up, or none are left and none will come.
    pub(super) fn take(&self, into: &mut VecDeque<T>, most: usize, until: Option<Instant>) -> bool {
        let mut state = locked(&self.state);
        while state.items.is_empty() {
            if state.is_closed {
                return false;
            }
            state.idle += 1;
            state = match until {
                None => self
                    .more
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        state.idle -= 1;
                        return false;
                    }
                    self.more
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
            state.idle -= 1;
            state.is_waking = false;
        }
        let count = state.items.len().min(most);
        into.extend(state.items.drain(..count));
        self.wake(state);
        self.room.add_permits(count);
        true
    }

    /// Wakes a thread for what waits, unless one is on its way.
    fn wake(&self, mut state: MutexGuard<'_, State<T>>) {
        if state.idle > 0 && !state.items.is_empty() && !state.is_waking {
            state.is_waking = true;
            drop(state);
            self.more.notify_one();
        }
    }

    /// Lets nothing more in; what waits is still taken.
    pub(super) fn close(&self) {
        locked(&self.state).is_closed = true;
        self.room.close();
        self.more.notify_all();
    }
}

/// Wakes a thread when it goes, be it with a caller who went away.
struct Announcement<'w, T>(&'w Waiting<T>);

impl<T> Drop for Announcement<'_, T> {
    fn drop(&mut self) {
        self.0.wake(locked(&self.0.state));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::{Arc, mpsc};
    use std::task::{Context, Waker};
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_a_caller_who_does_not_go_on() {
        let waiting = Arc::new(Waiting::with_room(8));
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn({
            let waiting = Arc::clone(&waiting);
            move || {
                let mut taken = VecDeque::new();
                while waiting.take(&mut taken, 8, None) {
                    taken.drain(..).for_each(|item| tell.send(item).unwrap());
                }
            }
        });
        while locked(&waiting.state).idle == 0 {
            thread::yield_now();
        }
        // It has put its item and is about to wake the thread, but is not polled again.
        let mut stalled = Box::pin(waiting.put(1));
        let polled = stalled
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
        assert!(waiting.put(2).await.is_ok());
        assert_eq!((told.recv().unwrap(), told.recv().unwrap()), (1, 2));
        drop(stalled);
        waiting.close();
        assert!(waiting.put(3).await.is_err());
        thread.join().unwrap();
    }
}
