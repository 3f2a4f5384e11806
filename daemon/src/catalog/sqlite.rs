//! Changes of SQLite: the queries of `sqlx`, run on the spot by the thread that writes.
//!
//! A statement of `sqlx` on SQLite is a message to a thread and one back, which cost more than most statements take, and
//! whoever changes an object makes several. Here the thread that has the connection runs the closure of the change itself.
//! The names are those of `sqlx`, so that one text of a query serves both databases ([`super::db`], `on_tx!`); the futures
//! are there from the start.

use std::future::{Ready, ready};
use std::path::{Path, PathBuf};

use rusqlite::types::{FromSql, ToSql, ToSqlOutput, Value};
use rusqlite::{Connection, OpenFlags, Row, Statement};
use sqlx::{SqlSafeStr, SqlStr};

use super::db::{
    BUSY_TIMEOUT, CatalogError, SQLITE_WRITER_CACHE, STATEMENTS_CACHED_MAX, WAL_PAGES,
};
use super::lookup::FromSqlite;

/// The writing connection, inside the transaction of a batch.
pub(super) struct Writing {
    path: PathBuf,
    connection: Connection,
    /// Whether the change under way has asked for anything; one that does nothing leaves nothing.
    is_begun: bool,
    /// Why nothing may run any more: the transaction is lost, and a statement would be one of its own.
    refused: Option<String>,
}

impl Writing {
    pub(super) fn open(path: &Path) -> Result<Self, CatalogError> {
        Ok(Self {
            connection: connect(path)?,
            path: path.to_owned(),
            is_begun: false,
            refused: None,
        })
    }

    /// The connection, for a statement of the change under way.
    pub(super) fn connection(&mut self) -> Result<&mut Connection, CatalogError> {
        if let Some(why) = &self.refused {
            return Err(CatalogError::Unavailable(why.clone()));
        }
        if !self.is_begun {
            self.run("SAVEPOINT change")?;
            self.is_begun = true;
        }
        Ok(&mut self.connection)
    }

    /// Runs a statement that belongs to no change.
    pub(super) fn run(&mut self, sql: &str) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached(sql)?;
        drain(&mut statement)
    }

    /// Keeps what the change did.
    pub(super) fn end_change(&mut self) -> rusqlite::Result<()> {
        if std::mem::take(&mut self.is_begun) {
            self.run("RELEASE change")?;
        }
        Ok(())
    }

    /// Undoes what the change did.
    pub(super) fn undo_change(&mut self) -> rusqlite::Result<()> {
        if std::mem::take(&mut self.is_begun) {
            self.run("ROLLBACK TO change")?;
            self.run("RELEASE change")?;
        }
        Ok(())
    }

    /// Lets nothing run any more, until [`Writing::renew`].
    pub(super) fn refuse(&mut self, why: String) {
        self.refused = Some(why);
    }

    /// Begins anew behind a failure: the connection may still be inside a transaction or beyond use (disk full, file gone
    /// and back).
    pub(super) fn renew(&mut self) {
        self.refused = None;
        self.is_begun = false;
        let _ = self.run("ROLLBACK");
        if let Ok(fresh) = connect(&self.path) {
            self.connection = fresh;
        }
    }
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    for (pragma, value) in [
        ("synchronous", "full"),
        ("foreign_keys", "on"),
        ("temp_store", "memory"),
        ("cache_size", SQLITE_WRITER_CACHE),
    ] {
        connection.pragma_update(None, pragma, value)?;
    }
    // It answers with what it was set to.
    connection.pragma_update_and_check(None, "wal_autocheckpoint", WAL_PAGES, |_| Ok(()))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED_MAX);
    Ok(connection)
}

/// Runs a statement to its end, rows or no rows.
fn drain(statement: &mut Statement<'_>) -> rusqlite::Result<()> {
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    Ok(())
}

/// A query and what it gives for each row.
pub(super) struct Query<T> {
    sql: SqlStr,
    /// Of `$1` and so on.
    arguments: Vec<Value>,
    broken: Option<rusqlite::Error>,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
}

/// What became of a statement.
pub(super) struct Done(u64);

impl Done {
    pub(super) fn rows_affected(&self) -> u64 {
        self.0
    }
}

pub(super) fn query(sql: impl SqlSafeStr) -> Query<()> {
    Query::new(sql, |_| Ok(()))
}

pub(super) fn query_as<T: FromSqlite>(sql: impl SqlSafeStr) -> Query<T> {
    Query::new(sql, T::from_sqlite)
}

pub(super) fn query_scalar<T: FromSql>(sql: impl SqlSafeStr) -> Query<T> {
    Query::new(sql, |row| row.get(0))
}

impl<T> Query<T> {
    fn new(sql: impl SqlSafeStr, read: fn(&Row<'_>) -> rusqlite::Result<T>) -> Self {
        Self {
            sql: sql.into_sql_str(),
            arguments: Vec::new(),
            broken: None,
            read,
        }
    }

    pub(super) fn bind(mut self, value: impl ToSql) -> Self {
        let value = value.to_sql().and_then(|value| match value {
            ToSqlOutput::Borrowed(value) => Value::try_from(value)
                .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into())),
            ToSqlOutput::Owned(value) => Ok(value),
            _ => Err(rusqlite::Error::InvalidQuery),
        });
        match value {
            Ok(value) => self.arguments.push(value),
            Err(error) => self.broken = Some(error),
        }
        self
    }

    pub(super) fn execute(self, connection: &mut Connection) -> Ready<rusqlite::Result<Done>> {
        ready(
            self.with(connection, |statement, _| drain(statement))
                .map(|()| Done(connection.changes())),
        )
    }

    pub(super) fn fetch_all(self, connection: &mut Connection) -> Ready<rusqlite::Result<Vec<T>>> {
        ready(self.with(connection, |statement, read| {
            statement.raw_query().mapped(read).collect()
        }))
    }

    pub(super) fn fetch_optional(
        self,
        connection: &mut Connection,
    ) -> Ready<rusqlite::Result<Option<T>>> {
        ready(self.with(connection, |statement, read| {
            let mut rows = statement.raw_query();
            let first = rows.next()?.map(read).transpose()?;
            // One that changes rows and names them is done with the last.
            while rows.next()?.is_some() {}
            Ok(first)
        }))
    }

    pub(super) fn fetch_one(self, connection: &mut Connection) -> Ready<rusqlite::Result<T>> {
        let found = self.fetch_optional(connection).into_inner();
        ready(found.and_then(|row| row.ok_or(rusqlite::Error::QueryReturnedNoRows)))
    }

    fn with<O>(
        mut self,
        connection: &Connection,
        run: impl FnOnce(&mut Statement<'_>, fn(&Row<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<O>,
    ) -> rusqlite::Result<O> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        let mut statement = connection.prepare_cached(self.sql.as_str())?;
        for at in 1..=statement.parameter_count() {
            // SQLite numbers them as they come; their names say which they are.
            let number = statement
                .parameter_name(at)
                .and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok());
            let value = number.and_then(|n| self.arguments.get_mut(n.checked_sub(1)?));
            let Some(value) = value else {
                return Err(rusqlite::Error::InvalidParameterCount(
                    self.arguments.len(),
                    statement.parameter_count(),
                ));
            };
            statement.raw_bind_parameter(at, &*value)?;
        }
        run(&mut statement, self.read)
    }
}
