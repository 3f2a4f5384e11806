//! Group commit: one task owns the writing connection of SQLite and commits all that wait together.
//!
//! A sync costs about a millisecond and one transaction costs one sync, however many changes it holds.
//! While one batch syncs, the next gathers in the channel, so the batch grows with the load.
//! Callers that were answered together come back together, but the first of them a little earlier: a batch smaller than
//! the one before waits a moment for the others, or every second sync would be spent on one change.
//! It runs what has come meanwhile, so the work on the changes and on the requests behind them goes on side by side.
//! Each change runs in a savepoint of its own, so one that fails leaves its neighbours alone.
//! Its statements are sent a few at a time ([`super::script`]).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, PgPool, SqliteConnection};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::checkpoint::{CHECKPOINT, Checkpoints};
use super::db::{Catalog, CatalogError, Known, Link, Pools, Tx};
use super::memory::Memory;
use super::script::Script;
use crate::telemetry::metrics::{
    CATALOG_COMMIT_SECONDS, CATALOG_COMMIT_WAITERS, CATALOG_COMMITS_TOTAL,
};

/// Changes committed by one sync at most, so that a flood cannot delay the first answer without bound.
const BATCH_MAX: usize = 256;
/// How long a batch stays open at most to become as large as the one before.
const GATHER: Duration = Duration::from_millis(8);
/// And how long it waits for the next of them; less than one sync takes.
const GAP: Duration = Duration::from_millis(1);
/// Begins a change.
const SAVEPOINT: &str = "SAVEPOINT change";
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

enum Message {
    Change(Change),
    Close(oneshot::Sender<()>),
}

/// The handle to the task; cheap to clone.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Message>);

impl Writer {
    pub(super) async fn start(
        options: SqliteConnectOptions,
        memory: Arc<Memory>,
    ) -> Result<Self, CatalogError> {
        let connection = SqliteConnection::connect_with(&options).await?;
        let checkpoints = Checkpoints::start(&options).await?;
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(connection, options, memory, checkpoints, receiver));
        Ok(Self(sender))
    }

    /// Waits until every change sent before is committed and the connection is closed.
    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.0.send(Message::Close(done)).await.is_ok() {
            // An error means that the task has ended already.
            let _ = closed.await;
        }
    }
}

async fn run(
    connection: SqliteConnection,
    options: SqliteConnectOptions,
    memory: Arc<Memory>,
    mut checkpoints: Checkpoints,
    receiver: mpsc::Receiver<Message>,
) {
    let mut tx = Tx::new(Link::Sqlite(Script::new(connection)));
    let mut arrivals = Arrivals {
        receiver,
        here: Vec::with_capacity(BATCH_MAX),
        expected: 0,
    };
    while arrivals.first().await {
        let mut close = None;
        let mut answers = Vec::with_capacity(arrivals.expected);
        let outcome = commit(&mut tx, &memory, &mut arrivals, &mut answers, &mut close).await;
        arrivals.expected = answers.len();
        if outcome.is_err() {
            reset(&mut tx, &options).await;
        }
        let outcome = outcome.map_err(|error| Arc::new(CatalogError::from(error)));
        let changes = answers.len();
        for answer in answers {
            answer(outcome.clone());
        }
        if checkpoints.committed(changes)
            && let Err(error) = tx.execute(CHECKPOINT).await
        {
            // Nothing is lost by it: the log stays, and the next commit meets the same trouble or none.
            tracing::debug!(%error, "a checkpoint was put off: {error}");
        }
        if let Some(done) = close {
            checkpoints.close().await;
            if let Link::Sqlite(script) = tx.link {
                let _ = script.into_connection().close().await;
            }
            let _ = done.send(());
            return;
        }
    }
}

/// The changes that wait, and those that are about to.
struct Arrivals {
    receiver: mpsc::Receiver<Message>,
    /// Taken out and not looked at.
    here: Vec<Message>,
    /// How many the batch before had.
    expected: usize,
}

impl Arrivals {
    /// Waits for the first of a batch; `false` when none can come any more.
    async fn first(&mut self) -> bool {
        self.receiver.recv_many(&mut self.here, BATCH_MAX).await > 0
    }

    /// More for a batch of so many: what is here, else what comes within a moment while fewer came than the last time.
    ///
    /// A lone caller is never kept waiting.
    async fn more(&mut self, so_far: usize, until: Instant) -> bool {
        let room = BATCH_MAX.saturating_sub(so_far);
        if room == 0 {
            return false;
        }
        if let Ok(message) = self.receiver.try_recv() {
            self.here.push(message);
            return true;
        }
        if so_far >= self.expected {
            return false;
        }
        let until = until.min(Instant::now() + GAP);
        let more = timeout_at(until, self.receiver.recv_many(&mut self.here, room)).await;
        // Time is up, or nobody can send any more.
        more.is_ok_and(|more| more > 0)
    }
}

/// Runs the batch in one transaction; the answers gathered so far are told of an error.
async fn commit(
    tx: &mut Tx,
    memory: &Memory,
    arrivals: &mut Arrivals,
    answers: &mut Vec<Answer>,
    close: &mut Option<oneshot::Sender<()>>,
) -> Result<(), sqlx::Error> {
    tx.known = Known::default();
    let mut begun = tx.execute("BEGIN IMMEDIATE").await;
    let until = Instant::now() + GATHER;
    while close.is_none() {
        for message in arrivals.here.drain(..) {
            let change = match message {
                Message::Change(change) => change,
                Message::Close(done) => {
                    *close = Some(done);
                    continue;
                }
            };
            // After a failure the change still runs, against a connection that refuses it, so that its caller gets an answer.
            if let Err(error) = &begun {
                tx.refuse(Some(error.to_string()));
            }
            tx.begin_change();
            let (keep, answer) = change(tx).await;
            answers.push(answer);
            if !keep && begun.is_ok() {
                begun = tx.undo_change().await;
            }
        }
        if !arrivals.more(answers.len(), until).await {
            break;
        }
    }
    // What is changed is forgotten before anybody can read it anew, and the others are told before anybody is answered.
    let touched = std::mem::take(&mut tx.touched);
    begun?;
    memory.before(&touched);
    let syncing = Instant::now();
    let committed = tx.execute("COMMIT").await;
    memory.after(&touched);
    if committed.is_ok() {
        note_commit(answers.len(), syncing);
    }
    committed
}

/// Counts a commit of so many changes whose sync began at that moment.
fn note_commit(changes: usize, syncing: Instant) {
    metrics::counter!(CATALOG_COMMITS_TOTAL).increment(1);
    metrics::histogram!(CATALOG_COMMIT_WAITERS).record(changes as f64);
    metrics::histogram!(CATALOG_COMMIT_SECONDS).record(syncing.elapsed());
}

/// After a failed batch the connection may still be inside a transaction or beyond use (disk full, file gone and back).
async fn reset(tx: &mut Tx, options: &SqliteConnectOptions) {
    tx.refuse(None);
    if let Link::Sqlite(script) = &mut tx.link {
        script.forget();
    }
    let _ = tx.execute("ROLLBACK").await;
    if let Ok(fresh) = SqliteConnection::connect_with(options).await {
        let old = std::mem::replace(tx, Tx::new(Link::Sqlite(Script::new(fresh))));
        if let Link::Sqlite(script) = old.link {
            let _ = script.into_connection().close().await;
        }
    }
}

/// One change within the batch of SQLite; on PostgreSQL it is the transaction, and nothing of this does anything.
impl Tx {
    async fn execute(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        if let Link::Sqlite(script) = &mut self.link {
            let connection = script.connection().await?;
            sqlx::query(sql).execute(connection).await?;
        }
        Ok(())
    }

    fn refuse(&mut self, why: Option<String>) {
        if let Link::Sqlite(script) = &mut self.link {
            script.refuse(why);
        }
    }

    fn begin_change(&mut self) {
        if let Link::Sqlite(script) = &mut self.link {
            script.note(SAVEPOINT);
        }
    }

    /// Sends the rest of a change, so that it either stands or fails here.
    async fn end_change(&mut self) -> Result<(), CatalogError> {
        if let Link::Sqlite(script) = &mut self.link {
            // One that did nothing leaves nothing.
            if script.noted_since(SAVEPOINT) == Some(1) {
                script.forget();
            } else {
                script.note("RELEASE change");
                script.send().await?;
            }
        }
        Ok(())
    }

    async fn undo_change(&mut self) -> Result<(), sqlx::Error> {
        self.known = Known::default();
        if let Link::Sqlite(script) = &mut self.link {
            let sent = script.noted_since(SAVEPOINT).is_none();
            script.forget();
            if sent {
                script.note("ROLLBACK TO change").note("RELEASE change");
                script.send().await?;
            }
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
                    && let Err(error) = tx.end_change().await
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
        self.0
            .send(Message::Change(change))
            .await
            .map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())?
    }
}
