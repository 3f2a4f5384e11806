//! What every read of an object or a listing asks of SQLite: closures over a connection, run by threads that have one each.
//!
//! The pool's driver hands each statement to a thread, each row back by itself, and copies each column on the way; that
//! costs several times what it takes to find a row. Here a request makes one trip, and its rows are read where they lie.
//! A thread answers those it found waiting together: on a busy node many share the switches between threads, on an idle
//! one nobody waits.
//! It is the same library on the same file, so what was committed before a request is seen by it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::ffi::{SQLITE_CONSTRAINT_PRIMARYKEY, SQLITE_CONSTRAINT_UNIQUE};
use rusqlite::types::FromSql;
use rusqlite::{Connection, OpenFlags, Row};
use tokio::sync::oneshot;

use super::db::{BUSY_TIMEOUT, CatalogError};
use super::waiting::{Closed, Waiting, locked};

/// Threads of each kind: a request that waits for a cold disk holds up half of the others at most.
const THREADS: usize = 2;
/// Requests that may wait; further callers wait to be let in.
const QUEUE_MAX: usize = 1024;
/// Prepared statements kept per connection; more than are asked here.
const STATEMENTS_MAX: usize = 32;

/// Requests that one thread takes at a time; the other finds the rest.
const TOGETHER_MAX: usize = 32;
/// An answer waits for those beside it until so much has passed, and for the read that was under way then.
const TOGETHER: Duration = Duration::from_millis(1);

/// Around requests that are answered together: the locks of a read are taken once for all.
const BEGIN: &str = "BEGIN";
/// Nothing was changed, and this is never refused.
const END: &str = "ROLLBACK";

/// A request, and then its answer.
trait Ask: Send {
    /// Whether the connection can be used further.
    fn read(&mut self, connection: &Connection) -> bool;
    fn answer(self: Box<Self>);
}

struct Asked<T, F> {
    /// Until it was called.
    read: Option<F>,
    /// From then on.
    found: Option<rusqlite::Result<T>>,
    answer: oneshot::Sender<rusqlite::Result<T>>,
}

impl<T: Send, F: FnOnce(&Connection) -> rusqlite::Result<T> + Send> Ask for Asked<T, F> {
    fn read(&mut self, connection: &Connection) -> bool {
        let found = self.read.take().map(|read| read(connection));
        let is_well = !matches!(found, Some(Err(_)));
        self.found = found;
        is_well
    }

    fn answer(self: Box<Self>) {
        if let Some(found) = self.found {
            // Who went away does not need it.
            let _ = self.answer.send(found);
        }
    }
}

/// The handle; the threads end with its last clone.
#[derive(Clone)]
pub(super) struct Lookups(Arc<Hands>);

struct Hands {
    queue: Arc<Waiting<Box<dyn Ask>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// A row of SQLite as what it stands for, its columns in the order of their statement.
pub(super) trait FromSqlite: Sized {
    fn from_sqlite(row: &Row<'_>) -> rusqlite::Result<Self>;
}

/// Reads the fields of a row by their names, as `sqlx` does.
macro_rules! from_sqlite {
    ($row:ident: $($field:ident)*) => {
        impl $crate::catalog::lookup::FromSqlite for $row {
            fn from_sqlite(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
                Ok(Self { $($field: row.get(stringify!($field))?),* })
            }
        }
    };
}
pub(super) use from_sqlite;

macro_rules! tuples {
    ($(($($column:ident $at:tt),*))*) => {$(
        impl<$($column: FromSql),*> FromSqlite for ($($column,)*) {
            fn from_sqlite(row: &Row<'_>) -> rusqlite::Result<Self> {
                Ok(($(row.get::<_, $column>($at)?,)*))
            }
        }
    )*};
}
tuples! { (A 0) (A 0, B 1) (A 0, B 1, C 2) (A 0, B 1, C 2, D 3) }

impl From<rusqlite::Error> for CatalogError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let text = error.to_string();
        let unique = [SQLITE_CONSTRAINT_UNIQUE, SQLITE_CONSTRAINT_PRIMARYKEY];
        if error
            .sqlite_error()
            .is_some_and(|error| unique.contains(&error.extended_code))
        {
            return Self::Conflict(text);
        }
        match error.sqlite_error_code() {
            Some(Code::DiskFull) => Self::Full(text),
            Some(
                Code::DatabaseBusy
                | Code::DatabaseLocked
                | Code::ReadOnly
                | Code::SystemIoFailure
                | Code::CannotOpen,
            ) => Self::Unavailable(text),
            Some(_) => Self::Failed(text),
            None => Self::Corrupt(text),
        }
    }
}

fn connect(path: &Path, cache_size: &str) -> rusqlite::Result<Connection> {
    // A log can only be read together with an index that every reader may write.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "cache_size", cache_size)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "query_only", true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    Ok(connection)
}

impl Lookups {
    /// Opens the connections; `cache_size` as the pragma has it.
    pub(super) fn start(
        name: &str,
        path: &Path,
        cache_size: &'static str,
    ) -> Result<Self, CatalogError> {
        let hands = Hands {
            queue: Arc::new(Waiting::with_room(QUEUE_MAX)),
            threads: Mutex::default(),
        };
        for _ in 0..THREADS {
            let reader = Reader {
                connection: connect(path, cache_size)?,
                path: path.to_owned(),
                cache_size,
                queue: Arc::clone(&hands.queue),
            };
            let thread = thread::Builder::new().name(name.into());
            let thread = thread
                .spawn(move || reader.run())
                .map_err(|e| CatalogError::Unavailable(format!("starting a thread: {e}")))?;
            locked(&hands.threads).push(thread);
        }
        Ok(Self(Arc::new(hands)))
    }

    /// Runs a closure on a connection, and gives what it gives.
    ///
    /// # Errors
    /// Those of SQLite; [`CatalogError::Unavailable`] behind [`Lookups::close`]; [`CatalogError::Failed`] when the closure panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, CatalogError> {
        let (answer, answered) = oneshot::channel();
        let ask = Box::new(Asked {
            read: Some(read),
            found: None,
            answer,
        });
        self.0.queue.put(ask).await.map_err(|Closed| gone())?;
        let cut_off = |_| CatalogError::Failed("a look-up was cut off by a panic".into());
        Ok(answered.await.map_err(cut_off)??)
    }

    /// The rows of a statement whose parameters are `$1` and so on.
    pub(super) async fn all<T: FromSqlite + Send + 'static>(
        &self,
        sql: &'static str,
        arguments: impl rusqlite::Params + Send + 'static,
    ) -> Result<Vec<T>, CatalogError> {
        let rows = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map(arguments, T::from_sqlite)?;
            rows.collect()
        };
        self.run(rows).await
    }

    /// Waits until every connection is closed.
    pub(super) async fn close(&self) {
        self.0.queue.close();
        let threads = std::mem::take(&mut *locked(&self.0.threads));
        let joined = tokio::task::spawn_blocking(|| {
            for thread in threads {
                // One that panicked has ended as well.
                let _ = thread.join();
            }
        });
        let _ = joined.await;
    }
}

fn gone() -> CatalogError {
    CatalogError::Unavailable("the catalog is closed".into())
}

impl Drop for Hands {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// One thread.
struct Reader {
    connection: Connection,
    path: PathBuf,
    cache_size: &'static str,
    queue: Arc<Waiting<Box<dyn Ask>>>,
}

impl Reader {
    fn run_cached(&self, sql: &str) -> bool {
        let statement = self.connection.prepare_cached(sql);
        statement.and_then(|mut it| it.execute([])).is_ok()
    }

    fn run(mut self) {
        let (mut asks, mut answers) = (VecDeque::new(), Vec::new());
        while self.queue.take(&mut asks, TOGETHER_MAX, None) {
            let mut began = Instant::now();
            // All were asked before it begins, so what it sees is new enough for each; one that cannot begin is done without.
            let mut is_begun = asks.len() > 1 && self.run_cached(BEGIN);
            while let Some(mut ask) = asks.pop_front() {
                let read = catch_unwind(AssertUnwindSafe(|| ask.read(&self.connection)));
                let is_well = read.unwrap_or(false);
                answers.push(ask);
                // After a failure the connection may be beyond use (file gone and back).
                if !is_well && let Ok(fresh) = connect(&self.path, self.cache_size) {
                    self.connection = fresh;
                    is_begun = false;
                }
                if asks.is_empty() || began.elapsed() > TOGETHER {
                    // A log that somebody reads cannot begin anew, so nobody reads for long.
                    if is_begun {
                        self.run_cached(END);
                        is_begun = asks.len() > 1 && self.run_cached(BEGIN);
                    }
                    answers.drain(..).for_each(Ask::answer);
                    began = Instant::now();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use futures::future::join_all;

    use super::*;

    /// A database with one number in it, and a connection that changes it.
    fn number(dir: &Path) -> (PathBuf, Connection) {
        let path = dir.join("number.db");
        let writer = Connection::open(&path).unwrap();
        let schema = "PRAGMA journal_mode = wal; CREATE TABLE number (n INTEGER); INSERT INTO number VALUES (0)";
        writer.execute_batch(schema).unwrap();
        (path, writer)
    }

    fn read(connection: &Connection) -> rusqlite::Result<i64> {
        let mut statement = connection.prepare_cached("SELECT n FROM number")?;
        statement.query_one([], |row| row.get(0))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_committed_before_is_seen_however_many_ask_together() {
        let dir = tempfile::tempdir().unwrap();
        let (path, writer) = number(dir.path());
        let lookups = Lookups::start("test", &path, "-64").unwrap();
        for n in 1..=100 {
            writer.execute("UPDATE number SET n = $1", [n]).unwrap();
            let asked = (0..40).map(|_| {
                tokio::spawn({
                    let lookups = lookups.clone();
                    async move { lookups.run(read).await.unwrap() }
                })
            });
            for seen in join_all(asked).await {
                assert_eq!(seen.unwrap(), n);
            }
        }
        // Nobody reads on: a log that is read cannot begin anew.
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy: i64 = writer.query_one(checkpoint, [], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0);
        lookups.close().await;
    }

    #[tokio::test]
    async fn a_look_up_that_panics_costs_no_thread() {
        let dir = tempfile::tempdir().unwrap();
        let (path, _writer) = number(dir.path());
        let lookups = Lookups::start("test", &path, "-64").unwrap();
        for _ in 0..=THREADS {
            let panicked = lookups.run(|_| -> rusqlite::Result<()> { panic!("on purpose") });
            let error = panicked.await.unwrap_err();
            assert!(matches!(error, CatalogError::Failed(_)), "{error}");
        }
        assert_eq!(lookups.run(read).await.unwrap(), 0);
        lookups.close().await;
        let error = lookups.run(read).await.unwrap_err();
        assert!(matches!(error, CatalogError::Unavailable(_)), "{error}");
    }
}
