//! Start, drain and stop of the daemon, and its talk with the service manager.
//!
//! Promises: READY is said when requests are accepted and not before; the first SIGTERM or SIGINT begins a drain, a
//! second one ends everything at once; whatever a drain does not finish is in the state that a crash would leave, and
//! the next start continues it. SIGHUP reads the log filter again.
//!
//! A drain in order: nothing new is accepted and STOPPING is said; [`Lifecycle::drain`] is cancelled, so that
//! singletons hand over and long polls end; running requests get the grace; then [`Lifecycle::cut`] is cancelled, so
//! that uploads end their bodies and keep what they received; [`FLUSH`] later connections are dropped;
//! [`Lifecycle::over`] is last, for what must live to the end.
//!
//! Data passes as tokens and one tracker, cheap to clone, handed to every room that runs tasks.
//!
//! Refuses to know: what the tasks do.

mod lock;
mod notify;
mod pulse;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::serve::{Doors, Listeners, Server};
use crate::telemetry::Health;
use crate::telemetry::metrics::LIFECYCLE_DRAIN_SECONDS;

pub use lock::{DataDirLock, Holder, LockError, Tenure};

/// What a handler has, after the cut, to flush and to answer.
pub const FLUSH: Duration = Duration::from_secs(5);
/// What tasks have, after the last request, to end by themselves.
const TASKS_END: Duration = Duration::from_secs(5);
/// How often the service manager hears how the drain goes, and how much more time it is asked for each time.
const DRAIN_REPORT: Duration = Duration::from_secs(1);
const DRAIN_EXTENSION: Duration = Duration::from_secs(15);

/// How the daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every request was finished or had its grace.
    Drained,
    /// A second signal ended it at once.
    Forced,
}

/// The life of one daemon: three tokens in the order of their end, its tasks, its health.
#[derive(Clone)]
pub struct Lifecycle {
    health: Health,
    drain: CancellationToken,
    cut: CancellationToken,
    over: CancellationToken,
    forced: CancellationToken,
    tracker: TaskTracker,
    connections: TaskTracker,
}

impl Lifecycle {
    /// A life that begins.
    pub fn new(health: Health) -> Self {
        Self {
            health,
            drain: CancellationToken::new(),
            cut: CancellationToken::new(),
            over: CancellationToken::new(),
            forced: CancellationToken::new(),
            tracker: TaskTracker::new(),
            connections: TaskTracker::new(),
        }
    }

    /// The state that is shown to everyone who asks.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Cancelled first: take nothing new, hand over what another can continue.
    pub fn drain(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Cancelled when the grace is over: end what runs, keep what is safe.
    pub fn cut(&self) -> CancellationToken {
        self.cut.clone()
    }

    /// Cancelled last: there is nothing left to serve.
    pub fn over(&self) -> CancellationToken {
        self.over.clone()
    }

    /// Every task of the daemon belongs to it and listens to one of the tokens.
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// The connections, which a drain waits for apart from the other tasks.
    pub(crate) fn connections(&self) -> &TaskTracker {
        &self.connections
    }

    /// Says what the start waits for, and asks the service manager for the time it takes.
    pub fn starting(&self, reason: &str) {
        info!("starting: {reason}");
        self.health.starting(reason);
        notify::starting(reason);
    }

    /// Begins the drain; only the first call does anything.
    pub fn begin_drain(&self, reason: &str) {
        if self.drain.is_cancelled() {
            return;
        }
        info!("draining: {reason}");
        self.health.draining(reason);
        notify::stopping(reason);
        self.drain.cancel();
    }

    /// Ends everything at once.
    pub fn force(&self) {
        self.begin_drain("stopping at once");
        self.cut.cancel();
        self.forced.cancel();
    }

    /// Listens to SIGTERM, SIGINT and SIGHUP; `reload` runs at each SIGHUP and says what it did.
    pub fn watch_signals<F>(&self, reload: F) -> io::Result<()>
    where
        F: Fn() -> Result<String, String> + Send + 'static,
    {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let life = self.clone();
        self.tracker.spawn(async move {
            loop {
                let name = tokio::select! {
                    Some(()) = terminate.recv() => "SIGTERM",
                    Some(()) = interrupt.recv() => "SIGINT",
                    Some(()) = hang_up.recv() => {
                        notify::reloading();
                        match reload() {
                            Ok(done) => info!("SIGHUP: {done}"),
                            Err(error) => warn!("SIGHUP: nothing was changed: {error}"),
                        }
                        notify::ready("reloaded");
                        continue;
                    }
                    () = life.over.cancelled() => return,
                };
                if life.drain.is_cancelled() {
                    warn!("{name} again: stopping at once");
                    life.force();
                    return;
                }
                life.begin_drain(name);
            }
        });
        Ok(())
    }

    /// Answers on the private health socket from now to the very end, if there is one.
    pub fn answer_health(&self, listeners: &mut Listeners) {
        let Some((listener, path)) = listeners.take_health() else {
            return;
        };
        let life = self.clone();
        self.tracker.spawn(async move {
            crate::serve::answer_health(listener, life).await;
            if let Some(path) = path {
                // Left behind it would only be found refusing connections; nobody waits for its removal.
                let _ = std::fs::remove_file(path);
            }
        });
    }

    /// Serves until a signal, then drains; returns when nothing of the daemon runs any more.
    pub async fn run<D: Doors>(&self, mut server: Server<D>, grace: Duration, ready: &str) -> Exit {
        if !self.drain.is_cancelled() {
            server.accept(self);
            self.health.ready();
            notify::ready(ready);
            let pulse = pulse::beat(
                Arc::clone(server.doors()),
                self.health.clone(),
                self.drain.clone(),
                self.over.clone(),
            );
            self.tracker.spawn(pulse);
            self.drain.cancelled().await;
        }
        let exit = tokio::select! {
            () = self.forced.cancelled() => Exit::Forced,
            () = self.finish(&server, grace) => Exit::Drained,
        };
        self.cut.cancel();
        self.over.cancel();
        self.tracker.close();
        if exit == Exit::Drained
            && tokio::time::timeout(TASKS_END, self.tracker.wait())
                .await
                .is_err()
        {
            warn!(
                tasks = self.tracker.len(),
                "some tasks did not end by themselves"
            );
        }
        info!("stopped");
        exit
    }

    /// For a role without doors: ready at once, until a signal; returns when the tasks have handed back what they do.
    pub async fn run_tasks(&self, ready: &str) -> Exit {
        self.health.ready();
        notify::ready(ready);
        self.drain.cancelled().await;
        self.tracker.close();
        let ended = tokio::time::timeout(TASKS_END, self.tracker.wait());
        let exit = tokio::select! {
            () = self.forced.cancelled() => Exit::Forced,
            _ = ended => Exit::Drained,
        };
        self.cut.cancel();
        self.over.cancel();
        info!("stopped");
        exit
    }

    /// Waits for requests and hand-over together, within the grace, then cuts and waits for the flush.
    async fn finish<D: Doors>(&self, server: &Server<D>, grace: Duration) {
        self.connections.close();
        let begun = tokio::time::Instant::now();
        let work = async {
            tokio::join!(server.doors().drain(), self.connections.wait());
        };
        let report = async {
            let mut tick = tokio::time::interval(DRAIN_REPORT);
            loop {
                tick.tick().await;
                metrics::gauge!(LIFECYCLE_DRAIN_SECONDS).set(begun.elapsed().as_secs_f64());
                notify::draining(server.in_flight(), DRAIN_EXTENSION);
            }
        };
        tokio::select! {
            ended = within(work, grace, &self.cut) => {
                if !ended {
                    warn!(requests = server.in_flight(), "the grace is over: running requests are cut");
                }
            }
            () = report => {}
        }
    }
}

/// Waits for `work` for the length of the grace; then cancels `cut` and gives it [`FLUSH`] more.
async fn within(work: impl Future<Output = ()>, grace: Duration, cut: &CancellationToken) -> bool {
    let mut work = std::pin::pin!(work);
    if tokio::time::timeout(grace, work.as_mut()).await.is_ok() {
        return true;
    }
    cut.cancel();
    tokio::time::timeout(FLUSH, work).await.is_ok()
}
