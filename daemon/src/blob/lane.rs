//! A bounded queue of bytes that a blocking thread works off.
//!
//! A slow client costs no thread, a fast one gets its pieces written many at a time: to wake a thread costs more than to write a small piece, so it is asked for when a quarter of what may be under way waits, or when the sender says that nothing comes at the moment.
//! All lanes of a kind share a few threads and a bounded share of the memory: the more lanes there are, the less is under way in each, and a thread goes from one to the next without being put to sleep and woken between them.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::BlobError;

/// Bytes under way in one lane, waiting or being worked on; one piece may come on top.
pub(super) const LANE_BYTES_MAX: usize = 1024 * 1024;
/// The same where there are many lanes.
const LANE_BYTES_MIN: usize = 128 * 1024;
/// Bytes under way in all lanes, until there are so many that each has the least.
const LANES_BYTES: usize = 8 * 1024 * 1024;
/// Pieces that wait in one lane, so that a stream of tiny ones stays bounded as well.
pub(super) const LANE_PIECES_MAX: usize = 512;
/// Threads for each processor: a disk that is behind holds some of them up.
const THREADS_PER_PROCESSOR: usize = 2;

/// What works on the bytes, on a blocking thread.
pub(super) trait Sink: Send + 'static {
    /// Takes the next bytes, in order.
    fn accept(&mut self, batch: &[Bytes]) -> Result<(), BlobError>;
}

/// Lanes that share memory and threads; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Lanes(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    lanes: AtomicUsize,
    ready: Mutex<Ready>,
    threads_max: usize,
}

/// Lanes that a thread is wanted for, in turn.
#[derive(Default)]
struct Ready {
    lanes: VecDeque<Arc<dyn Work>>,
    threads: usize,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready")
            .field("lanes", &self.lanes.len())
            .field("threads", &self.threads)
            .finish()
    }
}

/// A lane, whatever its sink.
trait Work: Send + Sync {
    /// Works off what waits; `true` when more has come meanwhile.
    fn step(&self) -> bool;
    /// The work was torn off by a panic.
    fn fail(&self);
}

impl Lanes {
    /// For work that is bound by the processor and the disk.
    pub(super) fn few_threads() -> Self {
        let processors = available_parallelism().map_or(1, NonZeroUsize::get);
        Self::with_threads(processors * THREADS_PER_PROCESSOR)
    }

    /// For work whose threads wait for each other.
    pub(super) fn thread_each() -> Self {
        Self::with_threads(usize::MAX)
    }

    fn with_threads(threads_max: usize) -> Self {
        Self(Arc::new(Pool {
            lanes: AtomicUsize::new(0),
            ready: Mutex::default(),
            threads_max,
        }))
    }

    /// How many threads they share at most.
    #[cfg(test)]
    pub(super) fn threads_max(&self) -> usize {
        self.0.threads_max
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.lanes.load(Ordering::Relaxed)
    }

    /// Bytes that may be under way in each.
    fn bytes_each(&self) -> usize {
        let lanes = self.count().max(1);
        (LANES_BYTES / lanes).clamp(LANE_BYTES_MIN, LANE_BYTES_MAX)
    }

    /// Has a lane worked off by the next free thread.
    fn send(&self, lane: Arc<dyn Work>, tracker: &TaskTracker) {
        let mut ready = self.0.lock();
        ready.lanes.push_back(lane);
        if ready.threads == self.0.threads_max {
            return;
        }
        ready.threads += 1;
        drop(ready);
        let pool = Arc::clone(&self.0);
        match Handle::try_current() {
            Ok(runtime) => drop(tracker.spawn_blocking_on(move || pool.work(), &runtime)),
            // Dropped behind the end of the runtime: there is no other thread any more.
            Err(_) => pool.work(),
        }
    }
}

impl Pool {
    /// Goes from lane to lane until none waits.
    fn work(&self) {
        let mut again = None;
        loop {
            let lane = {
                let mut ready = self.lock();
                // Behind those that wait already.
                ready.lanes.extend(again.take());
                let Some(lane) = ready.lanes.pop_front() else {
                    ready.threads -= 1;
                    return;
                };
                lane
            };
            match catch_unwind(AssertUnwindSafe(|| lane.step())) {
                Ok(true) => again = Some(lane),
                Ok(false) => {}
                Err(_) => lane.fail(),
            }
        }
    }

    /// The list stays meaningful between any two of its changes.
    fn lock(&self) -> MutexGuard<'_, Ready> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
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
    /// Rung when a batch is done.
    moved: Notify,
}

#[derive(Debug)]
struct State<S> {
    queue: Vec<Bytes>,
    queued_bytes: usize,
    /// Of the batch that is worked on.
    working_bytes: usize,
    /// Emptied by the batch before, to be filled again.
    spare: Vec<Bytes>,
    /// Absent while a batch is worked on.
    sink: Option<S>,
    /// A thread is working, or was asked for.
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
            working_bytes: 0,
            spare: Vec::new(),
            sink: Some(sink),
            running: false,
            error: None,
            failed: false,
        };
        lanes.0.lanes.fetch_add(1, Ordering::Relaxed);
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
        if !bytes.is_empty() {
            self.room().await?;
            self.queue(bytes);
        }
        Ok(())
    }

    /// Waits until there is room for one more piece; fails with the first failure of the sink.
    pub(super) async fn room(&self) -> Result<(), BlobError> {
        loop {
            let moved = self.shared.moved.notified();
            {
                let mut state = self.shared.lock();
                state.check()?;
                let under_way = state.queued_bytes + state.working_bytes;
                if under_way < self.lanes.bytes_each() && state.queue.len() < LANE_PIECES_MAX {
                    return Ok(());
                }
                // Whoever waits for room must be sure that somebody makes it.
                self.start(state);
            }
            moved.await;
        }
    }

    /// Waits until some of what is under way is worked off; `false` when nothing is.
    pub(super) async fn less(&self) -> Result<bool, BlobError> {
        let moved = self.shared.moved.notified();
        {
            let mut state = self.shared.lock();
            state.check()?;
            if !state.running && state.queue.is_empty() {
                return Ok(false);
            }
            self.start(state);
        }
        moved.await;
        Ok(true)
    }

    /// Queues bytes, be there room or not, and sends a thread to them once there are enough.
    pub(super) fn queue(&self, bytes: Bytes) {
        let mut state = self.shared.lock();
        if state.failed {
            // Whoever asks for room next, or for the sink, hears of it.
            return;
        }
        state.queued_bytes += bytes.len();
        state.queue.push(bytes);
        let enough = self.lanes.bytes_each() / 4;
        if state.queued_bytes >= enough || state.queue.len() >= LANE_PIECES_MAX / 2 {
            self.start(state);
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
        self.lanes
            .send(Arc::clone(&self.shared) as _, &self.tracker);
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
        self.lanes.0.lanes.fetch_sub(1, Ordering::Relaxed);
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

impl<S> Shared<S> {
    /// The state stays meaningful between any two of its fields' changes, so a panic elsewhere does not make it unusable.
    fn lock(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Sink> Work for Shared<S> {
    fn step(&self) -> bool {
        let (mut sink, mut batch) = {
            let mut state = self.lock();
            if state.queue.is_empty() {
                // Forgotten meanwhile.
                state.running = false;
                return false;
            }
            let Some(sink) = state.sink.take() else {
                drop(state);
                self.fail();
                return false;
            };
            state.working_bytes = std::mem::take(&mut state.queued_bytes);
            let spare = std::mem::take(&mut state.spare);
            (sink, std::mem::replace(&mut state.queue, spare))
        };
        let result = sink.accept(&batch);
        batch.clear();
        let mut state = self.lock();
        state.sink = Some(sink);
        state.spare = batch;
        state.working_bytes = 0;
        if let Err(error) = result {
            state.error = Some(error);
            state.failed = true;
            state.queue.clear();
            state.queued_bytes = 0;
        }
        state.running = !state.queue.is_empty();
        let more = state.running;
        drop(state);
        self.moved.notify_waiters();
        more
    }

    fn fail(&self) {
        let mut state = self.lock();
        state.running = false;
        state.failed = true;
        drop(state);
        self.moved.notify_waiters();
    }
}
