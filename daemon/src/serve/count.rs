//! Counts requests from their first byte to the last byte of their answer.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::{Body, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::telemetry::metrics::HTTP_REQUESTS_IN_FLIGHT;

/// The running requests of the whole daemon.
#[derive(Clone)]
pub(super) struct InFlight(Arc<All>);

struct All {
    count: AtomicU64,
    /// The same as a figure, found once.
    gauge: metrics::Gauge,
}

impl InFlight {
    /// None yet; to be made when the recorder is there.
    pub(super) fn new() -> Self {
        Self(Arc::new(All {
            count: AtomicU64::new(0),
            gauge: metrics::gauge!(HTTP_REQUESTS_IN_FLIGHT),
        }))
    }

    pub(super) fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        self.0.gauge.increment(1.0);
    }

    fn end(&self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.decrement(1.0);
    }
}

/// The running requests of one connection, and when the last one ended.
pub(super) struct Activity {
    begun: AtomicU64,
    first: Notify,
    running: AtomicU64,
    quiet_since: Mutex<Instant>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            begun: AtomicU64::new(0),
            first: Notify::new(),
            running: AtomicU64::new(0),
            quiet_since: Mutex::new(Instant::now()),
        }
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>, all: &InFlight) -> Running {
        if self.begun.fetch_add(1, Ordering::Relaxed) == 0 {
            self.first.notify_one();
        }
        self.running.fetch_add(1, Ordering::Relaxed);
        all.begin();
        Running {
            activity: Arc::clone(self),
            all: all.clone(),
        }
    }

    /// Ends when the first request has begun, at once if it has.
    pub(super) async fn first(&self) {
        if self.begun.load(Ordering::Relaxed) == 0 {
            self.first.notified().await;
        }
    }

    fn is_quiet(&self) -> bool {
        self.running.load(Ordering::Relaxed) == 0
    }

    /// How long nothing has run; zero while something runs.
    pub(super) fn quiet_for(&self) -> Duration {
        if !self.is_quiet() {
            return Duration::ZERO;
        }
        self.quiet_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }
}

/// One running request.
pub(super) struct Running {
    activity: Arc<Activity>,
    all: InFlight,
}

impl Drop for Running {
    fn drop(&mut self) {
        *self
            .activity
            .quiet_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.activity.running.fetch_sub(1, Ordering::Relaxed);
        self.all.end();
    }
}

/// A body that keeps its request counted until it is sent or given up.
pub(super) struct Counted<B> {
    pub(super) body: B,
    pub(super) _running: Running,
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
