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
    /// Somebody is about to wake one.
    is_announced: bool,
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
                is_announced: false,
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
            let is_first = state.idle > 0 && !state.is_announced;
            state.is_announced |= is_first;
            is_first.then(|| Announcement(self))
        };
        if let Some(announcement) = announcement {
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
        }
        let count = state.items.len().min(most);
        into.extend(state.items.drain(..count));
        let is_more = state.idle > 0 && !state.items.is_empty();
        drop(state);
        self.room.add_permits(count);
        if is_more {
            self.more.notify_one();
        }
        true
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
        locked(&self.0.state).is_announced = false;
        self.0.more.notify_one();
    }
}
