//! Group commit: one thread owns the writing connection of SQLite and commits all that wait together.
//!
//! A sync costs about a millisecond and one transaction costs one sync, however many changes it holds.
//! While one batch syncs, the next gathers in the queue, so the batch grows with the load.
//! Callers that were answered together come back together, but the first of them a little earlier: a batch smaller than
//! the one before waits a moment for the others, or every second sync would be spent on one change.
//! It runs what has come meanwhile, so the work on the changes and on the requests behind them goes on side by side.
//! Each change runs in a savepoint of its own, so one that fails leaves its neighbours alone.
//! The thread runs the change itself, statement by statement ([`super::sqlite`]): none is handed to another.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use sqlx::PgPool;
use sqlx::sqlite::SqliteConnectOptions;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::checkpoint::{CHECKPOINT, Checkpoints};
use super::db::{Catalog, CatalogError, Known, Link, Pools, Tx};
use super::memory::Memory;
use super::sqlite::Writing;
use super::waiting::{Closed, Waiting, locked};
use crate::telemetry::metrics::{
    CATALOG_COMMIT_SECONDS, CATALOG_COMMIT_WAITERS, CATALOG_COMMITS_TOTAL,
};

/// Changes committed by one sync at most, so that a flood cannot delay the first answer without bound.
const BATCH_MAX: usize = 256;
/// How long a batch stays open at most to become as large as the one before.
const GATHER: Duration = Duration::from_millis(8);
/// And how long it waits for the next of them; less than one sync takes.
const GAP: Duration = Duration::from_millis(1);
/// Changes that may wait for the next batch; further callers wait to be let in.
const QUEUE_MAX: usize = 1024;

/// What a write closure returns: a future that borrows the transaction.
pub type TxFuture<'t, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 't>>;

/// Delivers the outcome once the batch is committed (`Ok`) or lost (`Err`).
type Answer = Box<dyn FnOnce(Result<(), Arc<CatalogError>>) + Send>;

/// One change: runs inside the batch and says whether its savepoint is kept.
type Change = Box<
    dyn for<'t> FnOnce(&'t mut Tx) -> Pin<Box<dyn Future<Output = (bool, Answer)> + Send + 't>>
        + Send,
>;

/// The handle to the thread, which ends with its last clone; cheap to clone.
#[derive(Clone)]
pub(super) struct Writer(Arc<Hand>);

struct Hand {
    queue: Arc<Waiting<Change>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Writer {
    pub(super) async fn start(
        path: &Path,
        options: &SqliteConnectOptions,
        memory: Arc<Memory>,
    ) -> Result<Self, CatalogError> {
        let queue = Arc::new(Waiting::with_room(QUEUE_MAX));
        let thread = Thread {
            tx: Tx::new(Link::Sqlite(Writing::open(path)?)),
            memory,
            checkpoints: Checkpoints::start(options).await?,
            queue: Arc::clone(&queue),
            here: VecDeque::with_capacity(BATCH_MAX),
            expected: 0,
            runtime: Handle::current(),
        };
        let spawned = thread::Builder::new()
            .name("catalog-writer".into())
            .spawn(move || thread.run())
            .map_err(|e| CatalogError::Unavailable(format!("starting a thread: {e}")))?;
        Ok(Self(Arc::new(Hand {
            queue,
            thread: Mutex::new(Some(spawned)),
        })))
    }

    /// Waits until every change sent before is committed and the connection is closed.
    pub(super) async fn close(&self) {
        self.0.queue.close();
        let thread = locked(&self.0.thread).take();
        if let Some(thread) = thread {
            // One that panicked has ended as well.
            let _ = tokio::task::spawn_blocking(|| thread.join()).await;
        }
    }
}

/// What the thread owns.
struct Thread {
    tx: Tx,
    memory: Arc<Memory>,
    checkpoints: Checkpoints,
    queue: Arc<Waiting<Change>>,
    /// Taken out and not looked at.
    here: VecDeque<Change>,
    /// How many the batch before had.
    expected: usize,
    /// Where the callers are.
    runtime: Handle,
}

impl Thread {
    fn run(mut self) {
        // A closure may want to know where it runs.
        let runtime = self.runtime.clone();
        let _inside = runtime.enter();
        while self.queue.take(&mut self.here, BATCH_MAX, None) {
            let mut answers = Vec::with_capacity(self.expected);
            let outcome = self.commit(&mut answers);
            let changes = answers.len();
            self.expected = changes;
            if outcome.is_err() {
                self.writing().renew();
            }
            self.answer(answers, outcome.map_err(Arc::new));
            if self.checkpoints.committed(changes)
                && let Err(error) = self.writing().run(CHECKPOINT)
            {
                // Nothing is lost by it: the log stays, and the next commit meets the same trouble or none.
                tracing::debug!(%error, "a checkpoint was put off: {error}");
            }
        }
        runtime.block_on(self.checkpoints.close());
    }

    fn writing(&mut self) -> &mut Writing {
        match &mut self.tx.link {
            Link::Sqlite(writing) => writing,
            Link::Postgres(_) => unreachable!("the transaction keeps its kind"),
        }
    }

    /// Tells the callers, many of them from where they wait: each would be woken by itself from here.
    fn answer(&self, answers: Vec<Answer>, outcome: Result<(), Arc<CatalogError>>) {
        let tell = move || {
            for answer in answers {
                answer(outcome.clone());
            }
        };
        if self.expected > 1 {
            self.runtime.spawn(async { tell() });
        } else {
            tell();
        }
    }

    /// More for a batch of so many: what is here, else what comes within a moment while fewer came than the last time.
    ///
    /// A lone caller is never kept waiting.
    fn more(&mut self, so_far: usize, until: Instant) -> bool {
        let room = BATCH_MAX.saturating_sub(so_far);
        let now = Instant::now();
        let until = if so_far < self.expected {
            until.min(now + GAP)
        } else {
            now
        };
        room > 0 && self.queue.take(&mut self.here, room, Some(until))
    }

    /// Runs the batch in one transaction; the answers gathered so far are told of an error.
    fn commit(&mut self, answers: &mut Vec<Answer>) -> Result<(), CatalogError> {
        self.tx.known = Known::default();
        let mut begun = self.writing().run("BEGIN IMMEDIATE");
        let until = Instant::now() + GATHER;
        loop {
            while let Some(change) = self.here.pop_front() {
                // After a failure the change still runs, against a connection that refuses it, so that its caller gets an answer.
                if let Err(error) = &begun {
                    let why = error.to_string();
                    self.writing().refuse(why);
                }
                let tx = &mut self.tx;
                let ran = catch_unwind(AssertUnwindSafe(|| change(tx).now_or_never()));
                let keep = match ran {
                    Ok(Some((keep, answer))) => {
                        answers.push(answer);
                        keep
                    }
                    // Their callers are told by the channel that went with them.
                    Ok(None) => {
                        tracing::error!(
                            "a change waited for something else than its transaction, and was undone"
                        );
                        false
                    }
                    // What panics says so itself.
                    Err(_) => false,
                };
                if !keep && begun.is_ok() {
                    self.tx.known = Known::default();
                    begun = self.writing().undo_change();
                }
            }
            if !self.more(answers.len(), until) {
                break;
            }
        }
        // What is changed is forgotten before anybody can read it anew, and the others are told before anybody is answered.
        let touched = std::mem::take(&mut self.tx.touched);
        begun?;
        self.memory.before(&touched);
        let syncing = Instant::now();
        let committed = self.writing().run("COMMIT");
        self.memory.after(&touched);
        if committed.is_ok() {
            note_commit(answers.len(), syncing);
        }
        Ok(committed?)
    }
}

/// Counts a commit of so many changes whose sync began at that moment.
fn note_commit(changes: usize, syncing: Instant) {
    metrics::counter!(CATALOG_COMMITS_TOTAL).increment(1);
    metrics::histogram!(CATALOG_COMMIT_WAITERS).record(changes as f64);
    metrics::histogram!(CATALOG_COMMIT_SECONDS).record(syncing.elapsed());
}

impl Tx {
    /// Keeps a change, so that it either stands or fails here.
    fn end_change(&mut self) -> Result<(), CatalogError> {
        if let Link::Sqlite(writing) = &mut self.link {
            writing.end_change()?;
        }
        Ok(())
    }
}

impl Catalog {
    /// Runs `work` in one transaction and returns when its change is durable.
    ///
    /// An `Err` from `work` undoes all it did.
    /// The closure must not wait for anything but the transaction: on SQLite every other writer waits behind it.
    ///
    /// # Errors
    /// Those of `work`, and [`CatalogError`] when the commit itself fails: then nothing was changed.
    pub fn write<T, E, F>(&self, work: F) -> impl Future<Output = Result<T, E>> + Send
    where
        T: Send + 'static,
        E: From<CatalogError> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> TxFuture<'t, T, E> + Send + 'static,
    {
        // Every request that may write has this in its future, whether it comes to it or not: what is large lies elsewhere.
        let work = Box::new(work);
        async move {
            match (&self.pools, self.writer()) {
                (Pools::Postgres(pool), _) => Box::pin(on_postgres(pool, work)).await,
                (Pools::Sqlite(_), Some(writer)) => writer.write(work).await,
                (Pools::Sqlite(_), None) => {
                    unreachable!("a SQLite catalog has a writer from its first moment")
                }
            }
        }
    }
}

/// A change as a transaction of its own.
async fn on_postgres<T, E, F>(pool: &PgPool, work: F) -> Result<T, E>
where
    E: From<CatalogError>,
    F: for<'t> FnOnce(&'t mut Tx) -> TxFuture<'t, T, E>,
{
    let begun = pool.begin().await.map_err(CatalogError::from)?;
    let mut tx = Tx::new(Link::Postgres(begun));
    let value = work(&mut tx).await?;
    let Link::Postgres(tx) = tx.link else {
        unreachable!("the transaction keeps its kind")
    };
    let syncing = Instant::now();
    tx.commit().await.map_err(CatalogError::from)?;
    note_commit(1, syncing);
    Ok(value)
}

impl Writer {
    async fn write<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<CatalogError> + Send + 'static,
        F: for<'t> FnOnce(&'t mut Tx) -> TxFuture<'t, T, E> + Send + 'static,
    {
        let (sender, receiver) = oneshot::channel::<Result<T, E>>();
        let change: Change = Box::new(move |tx| {
            Box::pin(async move {
                let mut outcome = work(tx).await;
                if outcome.is_ok()
                    && let Err(error) = tx.end_change()
                {
                    outcome = Err(error.into());
                }
                let keep = outcome.is_ok();
                let answer: Answer = Box::new(move |committed| {
                    let outcome = match committed {
                        Err(why) if keep => Err(match &*why {
                            CatalogError::Full(why) => CatalogError::Full(why.clone()),
                            why => CatalogError::Unavailable(format!(
                                "the change was not committed: {why}"
                            )),
                        }
                        .into()),
                        Ok(()) | Err(_) => outcome,
                    };
                    // A caller that went away does not need the answer; the change stands.
                    let _ = sender.send(outcome);
                });
                (keep, answer)
            })
        });
        let gone = || E::from(CatalogError::Unavailable("the catalog is closed".into()));
        self.0.queue.put(change).await.map_err(|Closed| gone())?;
        // It went with the change, which the thread has undone.
        let broke_off =
            || CatalogError::Failed("a change broke off, and nothing of it stands".into());
        receiver.await.map_err(|_| E::from(broke_off()))?
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use futures::future::join_all;

    use crate::catalog::{Catalog, CatalogError, Options};

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_change_that_breaks_off_is_undone_and_leaves_its_neighbours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("catalog.sqlite");
        let catalog = Catalog::open(&Options::Sqlite(file)).await.unwrap();
        let changes = (0..30).map(|n| {
            catalog.write(move |tx| {
                Box::pin(async move {
                    tx.put_setting(&n.to_string(), b"here").await?;
                    match n % 3 {
                        0 => Ok(()),
                        1 => panic!("on purpose"),
                        _ => std::future::pending::<Result<(), CatalogError>>().await,
                    }
                })
            })
        });
        let done = join_all(changes).await;
        for (n, done) in done.into_iter().enumerate() {
            let there = catalog.setting(&n.to_string()).await.unwrap().is_some();
            assert_eq!((done.is_ok(), there), (n % 3 == 0, n % 3 == 0), "{n}");
            if let Err(error) = done {
                assert!(matches!(error, CatalogError::Failed(_)), "{error}");
            }
        }
        catalog.close().await;
        let late = catalog.write(|tx| Box::pin(async move { tx.put_setting("late", b"").await }));
        let error = late.await.unwrap_err();
        assert!(matches!(error, CatalogError::Unavailable(_)), "{error}");
    }
}
