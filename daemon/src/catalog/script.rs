//! Several statements as one message to the thread that SQLite runs on.
//!
//! Each message costs two hand-overs between threads, more than most statements take.
//! So a statement whose result nobody needs is only noted ([`later`]), and sent together with those that follow.
//! What asks is sent at once, behind what was noted, and so sees it ([`ask`]).
//! A change is sent whole before it counts as done, so that a statement that fails is its own and not its neighbour's.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt as _;
use sqlx::error::BoxDynError;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{
    Arguments as _, AssertSqlSafe, Either, Encode, Executor as _, FromRow, Sqlite,
    SqliteConnection, Type,
};

/// Statements of one message at most: each sequence is prepared once and kept.
const STATEMENTS_MAX: usize = 8;
/// Sequences whose text is kept.
const TEXTS_MAX: usize = 128;

/// The writing connection of SQLite with what was noted for it.
pub(super) struct Script {
    connection: SqliteConnection,
    noted: Vec<Noted>,
    arguments: SqliteArguments,
    broken: Option<BoxDynError>,
    /// Why nothing may be sent any more: the transaction is lost, and a statement would be one of its own.
    refused: Option<String>,
    /// The joined text of each sequence that was sent.
    texts: HashMap<Vec<Noted>, Arc<str>>,
}

/// A statement, and how many arguments stand before its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Noted(&'static str, usize);

impl Script {
    pub(super) fn new(connection: SqliteConnection) -> Self {
        Self {
            connection,
            noted: Vec::with_capacity(STATEMENTS_MAX),
            arguments: SqliteArguments::default(),
            broken: None,
            refused: None,
            texts: HashMap::new(),
        }
    }

    /// Notes a statement; its arguments follow with [`Script::bind`].
    pub(super) fn note(&mut self, sql: &'static str) -> &mut Self {
        self.noted.push(Noted(sql, self.arguments.len()));
        self
    }

    pub(super) fn bind<'q, T>(&mut self, value: T) -> &mut Self
    where
        T: Encode<'q, Sqlite> + Type<Sqlite>,
    {
        if let Err(error) = self.arguments.add(value) {
            self.broken.get_or_insert(error);
        }
        self
    }

    /// Sends what was noted, if it is much.
    pub(super) async fn send_if_full(&mut self) -> Result<(), sqlx::Error> {
        // One place is kept for the end of the change.
        if self.noted.len() + 1 < STATEMENTS_MAX {
            return Ok(());
        }
        self.send().await
    }

    /// Sends what was noted.
    pub(super) async fn send(&mut self) -> Result<(), sqlx::Error> {
        if self.noted.is_empty() {
            return Ok(());
        }
        self.ask_rows().await.map(|_| ())
    }

    /// Sends what was noted; the rows are those of the last statement.
    pub(super) async fn ask_rows(&mut self) -> Result<Vec<SqliteRow>, sqlx::Error> {
        self.check()?;
        let last = self.noted.len() - 1;
        let text = self.text();
        self.noted.clear();
        let arguments = std::mem::take(&mut self.arguments);
        if let Some(error) = self.broken.take() {
            return Err(sqlx::Error::Encode(error));
        }
        let query = sqlx::query_with(AssertSqlSafe(text), arguments);
        let mut done = 0_usize;
        let mut rows = Vec::new();
        let mut answers = self.connection.fetch_many(query);
        while let Some(answer) = answers.try_next().await? {
            match answer {
                Either::Left(_) => done += 1,
                Either::Right(row) if done == last => rows.push(row),
                Either::Right(_) => {}
            }
        }
        Ok(rows)
    }

    /// The same, of a statement that gives one row or none.
    pub(super) async fn ask_one<T>(&mut self) -> Result<Option<T>, sqlx::Error>
    where
        T: for<'r> FromRow<'r, SqliteRow>,
    {
        let rows = self.ask_rows().await?;
        rows.first().map(T::from_row).transpose()
    }

    /// Forgets what was noted.
    pub(super) fn forget(&mut self) {
        self.noted.clear();
        self.arguments = SqliteArguments::default();
        self.broken = None;
    }

    /// Where `sql` is the first that was noted, how many there are, with itself.
    pub(super) fn noted_since(&self, sql: &'static str) -> Option<usize> {
        let first = self.noted.first()?;
        (first.0 == sql).then_some(self.noted.len())
    }

    /// Sends nothing more; `None` allows it again.
    pub(super) fn refuse(&mut self, why: Option<String>) {
        self.refused = why;
    }

    fn check(&self) -> Result<(), sqlx::Error> {
        let why = self.refused.as_ref();
        why.map_or(Ok(()), |why| {
            Err(sqlx::Error::Io(std::io::Error::other(why.clone())))
        })
    }

    /// The connection for a statement of its own, behind what was noted.
    pub(super) async fn connection(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        self.check()?;
        self.send().await?;
        Ok(&mut self.connection)
    }

    pub(super) fn into_connection(self) -> SqliteConnection {
        self.connection
    }

    fn text(&mut self) -> Arc<str> {
        if let Some(text) = self.texts.get(&self.noted) {
            return Arc::clone(text);
        }
        if self.texts.len() >= TEXTS_MAX {
            self.texts.clear();
        }
        let text: Arc<str> = join(&self.noted).into();
        self.texts.insert(self.noted.clone(), Arc::clone(&text));
        text
    }
}

/// Joins statements; the driver counts the arguments of all of them through.
fn join(noted: &[Noted]) -> String {
    let mut text = String::new();
    for Noted(sql, before) in noted {
        for (n, piece) in sql.split('$').enumerate() {
            let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
            match piece[..digits].parse::<usize>() {
                Ok(number) if n > 0 => {
                    text.push('$');
                    text.push_str(&(number + before).to_string());
                    text.push_str(&piece[digits..]);
                }
                _ => {
                    text.push_str(if n > 0 { "$" } else { "" });
                    text.push_str(piece);
                }
            }
        }
        text.push(';');
    }
    text
}

/// Runs a statement whose result nobody needs, together with those that follow it.
macro_rules! later {
    ($tx:expr, $sql:expr $(, $argument:expr)* $(,)?) => {
        match &mut $tx.link {
            $crate::catalog::db::Link::Sqlite(script) => {
                script.note($sql)$(.bind($argument))*;
                script.send_if_full().await
            }
            $crate::catalog::db::Link::Postgres(tx) => {
                sqlx::query($sql)$(.bind($argument))*.execute(&mut **tx).await.map(|_| ())
            }
        }
    };
}

/// Asks for one row or none, behind what was noted.
macro_rules! ask {
    ($tx:expr, $sql:expr $(, $argument:expr)* $(,)?) => {
        match &mut $tx.link {
            $crate::catalog::db::Link::Sqlite(script) => {
                script.note($sql)$(.bind($argument))*;
                script.ask_one().await
            }
            $crate::catalog::db::Link::Postgres(tx) => {
                sqlx::query_as($sql)$(.bind($argument))*.fetch_optional(&mut **tx).await
            }
        }
    };
}
pub(super) use {ask, later};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_counted_through() {
        let joined = join(&[
            Noted("UPDATE a SET b = $2 WHERE c = $1", 0),
            Noted("SELECT '$.x'", 2),
            Noted("INSERT INTO d VALUES ($1, $10)", 2),
        ]);
        assert_eq!(
            joined,
            "UPDATE a SET b = $2 WHERE c = $1;SELECT '$.x';INSERT INTO d VALUES ($3, $12);"
        );
    }
}
