//! A bounded queue of bytes with a blocking thread that exists only while there is something in it.
//!
//! A slow client therefore costs no thread, a fast one gets its pieces written many at a time: to wake a thread costs more than to write a small piece, so it is woken for half a queue, or when the sender says that nothing comes at the moment.
//! All lanes together have a bounded share of the memory: the more there are, the less waits in each.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::BlobError;

/// Bytes that wait in one lane; the batch being worked on comes on top, so a lane holds at most twice this and one piece.
pub(super) const LANE_BYTES_MAX: usize = 512 * 1024;
/// The same where there are many lanes.
const LANE_BYTES_MIN: usize = 64 * 1024;
/// Bytes that wait in all lanes, until there are so many that each has the least.
const LANES_BYTES: usize = 8 * 1024 * 1024;
/// Pieces that wait in one lane, so that a stream of tiny ones stays bounded as well.
pub(super) const LANE_PIECES_MAX: usize = 512;

/// What works on the bytes, on a blocking thread.
pub(super) trait Sink: Send + 'static {
    /// Takes the next bytes, in order.
    fn accept(&mut self, batch: &[Bytes]) -> Result<(), BlobError>;
}

/// Counts the lanes that share the memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes(Arc<AtomicUsize>);

impl Lanes {
    /// Bytes that may wait in each.
    fn bytes_each(&self) -> usize {
        let lanes = self.0.load(Ordering::Relaxed).max(1);
        (LANES_BYTES / lanes).clamp(LANE_BYTES_MIN, LANE_BYTES_MAX)
    }
}

/// The sending side.
#[derive(Debug)]
pub(super) struct Lane<S: Sink> {
    shared: Arc<Shared<S>>,
    lanes: Lanes,
    tracker: TaskTracker,
    /// What becomes of waiting bytes when the lane is dropped.
    on_drop: OnDrop,
}

/// What becomes of waiting bytes when a lane is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum OnDrop {
    /// They are still worked off, then the sink is dropped.
    Finish,
    /// They are forgotten.
    Forget,
}

#[derive(Debug)]
struct Shared<S> {
    state: Mutex<State<S>>,
    /// Rung when the queue has been taken and when the lane falls idle.
    moved: Notify,
}

#[derive(Debug)]
struct State<S> {
    queue: Vec<Bytes>,
    queued_bytes: usize,
    /// Absent while a batch is worked on.
    sink: Option<S>,
    /// A thread is working.
    running: bool,
    /// The first failure, until somebody takes it.
    error: Option<BlobError>,
    failed: bool,
}

impl<S: Sink> Lane<S> {
    pub(super) fn new(lanes: &Lanes, sink: S, tracker: TaskTracker, on_drop: OnDrop) -> Self {
        let state = State {
            queue: Vec::new(),
            queued_bytes: 0,
            sink: Some(sink),
            running: false,
            error: None,
            failed: false,
        };
        lanes.0.fetch_add(1, Ordering::Relaxed);
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                moved: Notify::new(),
            }),
            lanes: lanes.clone(),
            tracker,
            on_drop,
        }
    }

    /// Queues bytes, waiting while the lane is full; fails with the first failure of the sink.
    pub(super) async fn push(&self, bytes: Bytes) -> Result<(), BlobError> {
        if bytes.is_empty() {
            return Ok(());
        }
        loop {
            let moved = self.shared.moved.notified();
            {
                let mut state = self.shared.lock();
                state.check()?;
                let most = self.lanes.bytes_each();
                if state.queued_bytes < most && state.queue.len() < LANE_PIECES_MAX {
                    state.queued_bytes += bytes.len();
                    state.queue.push(bytes);
                    if state.queued_bytes >= most / 2 || state.queue.len() >= LANE_PIECES_MAX / 2 {
                        self.start(state);
                    }
                    return Ok(());
                }
                // Whoever waits for room must be sure that somebody makes it.
                self.start(state);
            }
            moved.await;
        }
    }

    /// Has what waits worked off, be it little: nothing more comes at the moment.
    pub(super) fn nudge(&self) {
        self.start(self.shared.lock());
    }

    /// Sends a thread to what waits, unless one is at it.
    fn start(&self, mut state: MutexGuard<'_, State<S>>) {
        if state.running || state.queue.is_empty() || state.failed {
            return;
        }
        state.running = true;
        drop(state);
        let shared = Arc::clone(&self.shared);
        match Handle::try_current() {
            Ok(runtime) => {
                let work = move || shared.work();
                drop(self.tracker.spawn_blocking_on(work, &runtime));
            }
            // Dropped behind the end of the runtime: there is no other thread any more.
            Err(_) => shared.work(),
        }
    }

    /// Waits until all is worked off, then lends the sink to `look`.
    pub(super) async fn idle<T>(
        &self,
        look: impl FnOnce(&mut Option<S>) -> T,
    ) -> Result<T, BlobError> {
        loop {
            let moved = self.shared.moved.notified();
            {
                let mut state = self.shared.lock();
                if !state.running && (state.queue.is_empty() || state.failed) {
                    state.check()?;
                    return Ok(look(&mut state.sink));
                }
                self.start(state);
            }
            moved.await;
        }
    }

    /// Waits until all is worked off and takes the sink back.
    pub(super) async fn close(self) -> Result<S, BlobError> {
        self.idle(Option::take)
            .await?
            .ok_or_else(|| BlobError::lost("writing"))
    }
}

impl<S: Sink> Drop for Lane<S> {
    fn drop(&mut self) {
        self.lanes.0.fetch_sub(1, Ordering::Relaxed);
        let mut state = self.shared.lock();
        match self.on_drop {
            OnDrop::Finish => self.start(state),
            OnDrop::Forget => {
                state.queue.clear();
                state.queued_bytes = 0;
            }
        }
    }
}

impl<S> State<S> {
    fn check(&mut self) -> Result<(), BlobError> {
        match self.error.take() {
            Some(error) => Err(error),
            None if self.failed => Err(BlobError::Io {
                what: "writing after a failure",
                source: std::io::ErrorKind::BrokenPipe.into(),
            }),
            None => Ok(()),
        }
    }
}

impl<S: Sink> Shared<S> {
    /// The state stays meaningful between any two of its fields' changes, so a panic elsewhere does not make it unusable.
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works batch after batch until nothing waits.
    fn work(&self) {
        let mut ended = Ended {
            shared: self,
            early: true,
        };
        let mut spare = Vec::new();
        while let Some((mut sink, batch)) = self.next_batch(&mut spare) {
            self.moved.notify_waiters();
            let result = sink.accept(&batch);
            spare = batch;
            spare.clear();
            let mut state = self.lock();
            state.sink = Some(sink);
            if let Err(error) = result {
                state.error = Some(error);
                state.failed = true;
                state.queue.clear();
            }
        }
        ended.early = false;
    }

    /// Takes all that waits, leaving `spare` to be filled; `None` when nothing does, and from then on nobody works.
    fn next_batch(&self, spare: &mut Vec<Bytes>) -> Option<(S, Vec<Bytes>)> {
        let mut state = self.lock();
        state.queued_bytes = 0;
        if state.queue.is_empty() {
            state.running = false;
            return None;
        }
        let Some(sink) = state.sink.take() else {
            state.running = false;
            state.failed = true;
            return None;
        };
        let batch = std::mem::replace(&mut state.queue, std::mem::take(spare));
        Some((sink, batch))
    }
}

/// The end of the work, be it a panic of the sink: whoever waits must learn of it.
struct Ended<'a, S> {
    shared: &'a Shared<S>,
    /// The work was torn off. One that ended by itself says nothing of the state: the next may be at it already.
    early: bool,
}

impl<S> Drop for Ended<'_, S> {
    fn drop(&mut self) {
        if self.early {
            let mut state = self
                .shared
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            state.running = false;
            state.failed = true;
        }
        self.shared.moved.notify_waiters();
    }
}
