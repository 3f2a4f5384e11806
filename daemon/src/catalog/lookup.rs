//! Look-ups that every read of an object makes, on SQLite: several as one message to the thread that it runs on.
//!
//! Out of a pool each would be three messages, as the pool asks before and after whether the connection lives; a
//! message costs two hand-overs between threads, several times what it takes to find a row.
//! What is asked while one message is on its way goes with the next.
//! And whoever is ready to ask does so before a message leaves: on a busy node many are, on an idle one nobody waits.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{Connection as _, FromRow, SqliteConnection};
use tokio::sync::{Mutex, mpsc, oneshot};

use super::db::CatalogError;
use super::script::Script;

/// Connections: a look-up that waits for a cold disk holds up half of the others at most.
const READERS: usize = 2;
/// Look-ups of one message at most, a power of two: each number of them is a text of its own, prepared once and kept.
const TOGETHER_MAX: usize = 32;
/// Look-ups that may wait; further callers wait to be let in.
const QUEUE_MAX: usize = 1024;

/// The handle; cheap to clone.
#[derive(Clone)]
pub(super) struct Lookups(mpsc::Sender<Message>);

/// A value for a place in a statement.
pub(super) enum Argument {
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
}

struct Ask {
    sql: &'static str,
    arguments: Vec<Argument>,
    answer: oneshot::Sender<Result<Vec<SqliteRow>, sqlx::Error>>,
}

enum Message {
    Ask(Ask),
    Close(oneshot::Sender<()>),
}

impl Lookups {
    pub(super) async fn start(options: &SqliteConnectOptions) -> Result<Self, CatalogError> {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..READERS {
            let reader = Reader {
                script: Script::new(SqliteConnection::connect_with(options).await?),
                options: options.clone(),
            };
            tokio::spawn(reader.run(Arc::clone(&receiver)));
        }
        Ok(Self(sender))
    }

    /// The rows of a statement.
    pub(super) async fn all<T>(
        &self,
        sql: &'static str,
        arguments: Vec<Argument>,
    ) -> Result<Vec<T>, CatalogError>
    where
        T: for<'r> FromRow<'r, SqliteRow>,
    {
        let gone = || CatalogError::Unavailable("the catalog is closed".into());
        let (answer, answered) = oneshot::channel();
        let ask = Ask {
            sql,
            arguments,
            answer,
        };
        let sent = self.0.send(Message::Ask(ask)).await;
        sent.map_err(|_| gone())?;
        let rows = answered.await.map_err(|_| gone())??;
        Ok(rows.iter().map(T::from_row).collect::<Result<_, _>>()?)
    }

    /// Waits until every connection is closed.
    pub(super) async fn close(&self) {
        for _ in 0..READERS {
            let (done, closed) = oneshot::channel();
            if self.0.send(Message::Close(done)).await.is_ok() {
                // An error means that the reader has ended already.
                let _ = closed.await;
            }
        }
    }
}

/// One connection.
struct Reader {
    script: Script,
    options: SqliteConnectOptions,
}

impl Reader {
    async fn run(mut self, receiver: Arc<Mutex<mpsc::Receiver<Message>>>) {
        let mut messages = Vec::with_capacity(TOGETHER_MAX);
        loop {
            {
                let mut receiver = receiver.lock().await;
                let Some(first) = receiver.recv().await else {
                    return;
                };
                messages.push(first);
                tokio::task::yield_now().await;
                while messages.len() < TOGETHER_MAX
                    && let Ok(message) = receiver.try_recv()
                {
                    messages.push(message);
                }
            }
            let mut asks = Vec::with_capacity(messages.len());
            let mut close = None;
            for message in messages.drain(..) {
                match message {
                    Message::Ask(ask) => asks.push(ask),
                    Message::Close(done) if close.is_none() => close = Some(done),
                    // Both at once: the other reader finds nobody who could ask it any more.
                    Message::Close(done) => drop(done),
                }
            }
            asks.sort_unstable_by_key(|ask| ask.sql);
            while let Some(last) = asks.last() {
                let same = asks.iter().rev().take_while(|ask| ask.sql == last.sql);
                let few = same.count();
                let few = if few.is_power_of_two() {
                    few
                } else {
                    few.next_power_of_two() / 2
                };
                self.answer(asks.split_off(asks.len() - few)).await;
            }
            if let Some(done) = close {
                let _ = self.script.into_connection().close().await;
                let _ = done.send(());
                return;
            }
        }
    }

    /// Answers askers of one statement.
    async fn answer(&mut self, asks: Vec<Ask>) {
        match self.rows(&asks).await {
            Ok(rows) => {
                for (ask, rows) in asks.into_iter().zip(rows) {
                    // Who went away does not need it.
                    let _ = ask.answer.send(Ok(rows));
                }
            }
            Err(error) => {
                self.renew().await;
                match <[Ask; 1]>::try_from(asks) {
                    Ok([ask]) => drop(ask.answer.send(Err(error))),
                    // One page that cannot be read is the trouble of who asked for it.
                    Err(asks) => {
                        for ask in asks {
                            Box::pin(self.answer(vec![ask])).await;
                        }
                    }
                }
            }
        }
    }

    /// The rows of each.
    async fn rows(&mut self, asks: &[Ask]) -> Result<Vec<Vec<SqliteRow>>, sqlx::Error> {
        for ask in asks {
            self.script.note(ask.sql);
            for argument in &ask.arguments {
                match argument {
                    Argument::Number(number) => self.script.bind(*number),
                    Argument::Text(text) => self.script.bind(text.as_str()),
                    Argument::Bytes(bytes) => self.script.bind(bytes.as_slice()),
                };
            }
        }
        self.script.ask_each().await
    }

    /// After a failure the connection may be beyond use (file gone and back).
    async fn renew(&mut self) {
        self.script.forget();
        if let Ok(fresh) = SqliteConnection::connect_with(&self.options).await {
            let old = std::mem::replace(&mut self.script, Script::new(fresh));
            let _ = old.into_connection().close().await;
        }
    }
}
