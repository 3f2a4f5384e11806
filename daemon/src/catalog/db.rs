//! Opening either database, the migrations, and the transaction that both share.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{
    Connection as _, PgPool, Postgres, SqlSafeStr as _, SqliteConnection, SqlitePool, Transaction,
};

use super::bucket::BucketRow;
use super::lookup::Lookups;
use super::memory::{Memory, Touched};
use super::sqlite::Writing;
use super::write::Writer;

/// How long a statement waits for another process's lock on the SQLite file.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Prepared statements kept per connection; above the number of statements the catalog owns.
pub(super) const STATEMENTS_CACHED_MAX: usize = 512;
/// Reading connections to SQLite beside those of [`Lookups`]; each is a thread with a cache of pages.
const SQLITE_READERS_MAX: u32 = 3;
/// Pages that the writing connection keeps, as SQLite wants it said: KiB below zero.
pub(super) const SQLITE_WRITER_CACHE: &str = "-4096";
/// The same of each reading one: the kernel's page cache stands behind them all, so that a miss is a copy.
const SQLITE_READER_CACHE: &str = "-1024";
/// Pages of the log at which a commit copies them itself, should the checkpoints beside it not keep up.
pub(super) const WAL_PAGES: &str = "16000";
/// Connections to PostgreSQL.
const POSTGRES_CONNECTIONS_MAX: u32 = 32;
/// How long a caller waits for a connection before it is told that the database is gone.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a caller can act on.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The database cannot be reached or opened now; trying again later may help.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The disk that holds the database is full.
    #[error("the database has no space left: {0}")]
    Full(String),
    /// A row that must be unique is already there.
    #[error("the database refused a duplicate: {0}")]
    Conflict(String),
    /// The stored value does not mean what this version of the daemon expects.
    #[error("the database holds a value that this version cannot read: {0}")]
    Corrupt(String),
    /// Anything else the database says.
    #[error("the database failed: {0}")]
    Failed(String),
}

impl From<sqlx::Error> for CatalogError {
    fn from(error: sqlx::Error) -> Self {
        let text = error.to_string();
        match &error {
            sqlx::Error::Database(db) if db.is_unique_violation() => Self::Conflict(text),
            // 13 SQLITE_FULL; 53100 disk_full.
            sqlx::Error::Database(db) if db.code().is_some_and(|c| c == "13" || c == "53100") => {
                Self::Full(text)
            }
            // 5 SQLITE_BUSY, 6 SQLITE_LOCKED and 8 SQLITE_READONLY with their extended codes; 10 SQLITE_IOERR; 14 SQLITE_CANTOPEN; 57P0x shutting down; 40xxx serialization and deadlock.
            sqlx::Error::Database(db)
                if db.code().is_some_and(|c| {
                    let low = c.parse::<i64>().map(|n| n & 0xff);
                    matches!(low, Ok(5 | 6 | 8 | 10 | 14)) && c.len() < 5
                        || c.starts_with("57P")
                        || c.starts_with("400")
                        || c.starts_with("40P")
                }) =>
            {
                Self::Unavailable(text)
            }
            sqlx::Error::Io(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Tls(_)
            | sqlx::Error::WorkerCrashed => Self::Unavailable(text),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Corrupt(text),
            _ => Self::Failed(text),
        }
    }
}

/// Where the catalog lives.
#[derive(Clone, Debug)]
pub enum Options {
    /// A file; made when absent.
    Sqlite(PathBuf),
    /// A `postgres://` URL.
    Postgres(String),
}

impl Options {
    /// Reads `database.url`: `postgres://…`, `sqlite:PATH`, or empty for the file in the data directory.
    pub fn from_url(url: &str, data_dir: &Path) -> Result<Self, CatalogError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.into()));
        }
        match url.strip_prefix("sqlite:") {
            Some(path) => Ok(Self::Sqlite(PathBuf::from(
                path.strip_prefix("//").unwrap_or(path),
            ))),
            None if url.is_empty() => Ok(Self::Sqlite(data_dir.join("catalog.sqlite"))),
            None => Err(CatalogError::Unavailable(format!(
                "`{url}` is neither postgres://… nor sqlite:PATH"
            ))),
        }
    }
}

/// The open database; a cheap handle.
#[derive(Clone)]
pub struct Catalog {
    pub(super) pools: Pools,
    writer: Option<Writer>,
    /// On SQLite, for what every read of an object asks.
    pub(super) lookups: Option<Lookups>,
    /// The same for listings, which take longer: nothing that reads an object waits behind them.
    pub(super) listings: Option<Lookups>,
    /// Rows read lately; none on PostgreSQL, whose other clients tell us nothing.
    pub(super) memory: Option<Arc<Memory>>,
    /// The SQLite file, for figures of its size.
    file: Option<Arc<Path>>,
}

/// The pools that reads go to.
#[derive(Clone)]
pub(super) enum Pools {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A transaction of either database, open for the length of one write closure.
pub struct Tx {
    pub(super) link: Link,
    /// What it changes of what the memory may hold.
    pub(super) touched: Touched,
    pub(super) known: Known,
}

/// What the only writer of SQLite knows without asking again, while its transaction lasts and nothing is undone.
#[derive(Default)]
pub(super) struct Known {
    /// Buckets, with the usage of this moment.
    pub(super) buckets: Vec<BucketRow>,
    /// Row id of the newest object version.
    pub(super) object_id: Option<i64>,
}

/// What a transaction talks to.
pub(super) enum Link {
    /// The writing connection, inside the batch's transaction.
    Sqlite(Writing),
    /// A transaction of its own.
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            touched: Touched::default(),
            known: Known::default(),
        }
    }
}

/// Runs one body against whichever pool is open; rustc checks it for both drivers.
macro_rules! on_pool {
    ($catalog:expr, $pool:ident => $body:expr) => {
        match &$catalog.pools {
            $crate::catalog::db::Pools::Sqlite($pool) => $body,
            $crate::catalog::db::Pools::Postgres($pool) => $body,
        }
    };
}

/// Runs one body against the connection of a transaction: queries of `sqlx`, or of the same names for SQLite.
macro_rules! on_tx {
    ($tx:expr, $conn:ident => $body:expr) => {
        match &mut $tx.link {
            $crate::catalog::db::Link::Sqlite(writing) => match writing.connection() {
                Ok($conn) => {
                    use $crate::catalog::sqlite as sqlx;
                    $body.map_err($crate::catalog::CatalogError::from)
                }
                Err(error) => Err(error),
            },
            $crate::catalog::db::Link::Postgres(tx) => {
                let $conn = &mut **tx;
                $body.map_err($crate::catalog::CatalogError::from)
            }
        }
    };
}

/// Runs a statement whose result nobody needs.
macro_rules! run {
    ($tx:expr, $sql:expr $(, $argument:expr)* $(,)?) => {
        $crate::catalog::db::on_tx!($tx, conn => sqlx::query($sql)$(.bind($argument))*.execute(conn).await.map(|_| ()))
    };
}

/// Asks for one row or none.
macro_rules! ask {
    ($tx:expr, $sql:expr $(, $argument:expr)* $(,)?) => {
        $crate::catalog::db::on_tx!($tx, conn => sqlx::query_as($sql)$(.bind($argument))*.fetch_optional(conn).await)
    };
}
pub(super) use {ask, on_pool, on_tx, run};

impl Catalog {
    /// Opens the database and brings its schema up to date.
    ///
    /// # Errors
    /// [`CatalogError::Unavailable`] when it cannot be reached, is locked for longer than ten seconds, or a newer daemon has migrated it incompatibly.
    pub async fn open(options: &Options) -> Result<Self, CatalogError> {
        match options {
            Options::Sqlite(path) => Self::open_sqlite(path).await,
            Options::Postgres(url) => Self::open_postgres(url).await,
        }
    }

    async fn open_sqlite(path: &Path) -> Result<Self, CatalogError> {
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
            .statement_cache_capacity(STATEMENTS_CACHED_MAX)
            .pragma("temp_store", "memory")
            .pragma("cache_size", SQLITE_READER_CACHE)
            .pragma("wal_autocheckpoint", WAL_PAGES);
        let pool = SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS_MAX)
            // Nothing lies between us and a file; a connection that broke shows on its return.
            .test_before_acquire(false)
            .acquire_timeout(ACQUIRE_TIMEOUT);
        let pool = pool.connect_with(connect.clone()).await?;
        migrate(&connect)
            .await
            .map_err(|e| CatalogError::Unavailable(format!("migrating {}: {e}", path.display())))?;
        let memory = Arc::new(Memory::open(path)?);
        let lookups = Lookups::start("catalog-lookup", path, SQLITE_READER_CACHE)?;
        let listings = Lookups::start("catalog-listing", path, SQLITE_READER_CACHE)?;
        let writer = Writer::start(path, &connect, Arc::clone(&memory)).await?;
        Ok(Self {
            pools: Pools::Sqlite(pool),
            writer: Some(writer),
            lookups: Some(lookups),
            listings: Some(listings),
            memory: Some(memory),
            file: Some(path.into()),
        })
    }

    async fn open_postgres(url: &str) -> Result<Self, CatalogError> {
        let connect = PgConnectOptions::from_str(url)
            .map_err(|e| CatalogError::Unavailable(format!("database.url: {e}")))?
            .application_name("nebulad")
            .statement_cache_capacity(STATEMENTS_CACHED_MAX);
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_TIMEOUT);
        let pool = pool.connect_with(connect).await?;
        migrator(POSTGRES)
            .run(&pool)
            .await
            .map_err(|e| CatalogError::Unavailable(format!("migrating: {e}")))?;
        Ok(Self {
            pools: Pools::Postgres(pool),
            writer: None,
            lookups: None,
            listings: None,
            memory: None,
            file: None,
        })
    }

    /// The writer of the SQLite file; `None` on PostgreSQL, where each write has its own transaction.
    pub(super) fn writer(&self) -> Option<&Writer> {
        self.writer.as_ref()
    }

    /// `sqlite` or `postgres`.
    pub fn kind(&self) -> &'static str {
        match self.pools {
            Pools::Sqlite(_) => "sqlite",
            Pools::Postgres(_) => "postgres",
        }
    }

    /// The SQLite file, when there is one.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), CatalogError> {
        let one: i32 =
            on_pool!(self, pool => sqlx::query_scalar("SELECT 1").fetch_one(pool).await)?;
        debug_assert_eq!(one, 1);
        Ok(())
    }

    /// Finishes the running batch and closes every connection.
    pub async fn close(&self) {
        if let Some(writer) = &self.writer {
            writer.close().await;
        }
        for lookups in self.lookups.iter().chain(&self.listings) {
            lookups.close().await;
        }
        on_pool!(self, pool => pool.close().await);
    }

    /// Prepares a statement without running it, so that a test finds a mistake in any of them on both databases.
    pub async fn prepare(&self, sql: &'static str) -> Result<(), CatalogError> {
        use sqlx::Executor as _;
        on_pool!(self, pool => pool.prepare(sql.into_sql_str()).await.map(|_| ()))?;
        Ok(())
    }
}

/// Number, file and text of each migration; a number stands for the same in both folders, where both have it.
macro_rules! steps {
    ($folder:literal: $($number:literal $name:literal,)*) => {
        &[$((
            $number,
            $name,
            include_str!(concat!("../../migrations/", $folder, "/", $name, ".sql")),
        ),)*]
    };
}

const SQLITE: &[(i64, &str, &str)] = steps! { "sqlite":
    1 "0001_house",
    2 "0002_extras",
    5 "0005_usage",
    7 "0007_damage",
    11 "0011_uploads",
    15 "0015_keys",
    16 "0016_lanes",
    18 "0018_subtitles",
    19 "0019_library",
    20 "0020_taken",
    21 "0021_listing",
};
const POSTGRES: &[(i64, &str, &str)] = steps! { "postgres":
    1 "0001_house",
    2 "0002_extras",
    5 "0005_usage",
    7 "0007_damage",
    11 "0011_uploads",
    15 "0015_keys",
    16 "0016_lanes",
    18 "0018_subtitles",
    19 "0019_library",
    20 "0020_taken",
};

/// Brings the schema of a SQLite file up to date.
async fn migrate(options: &SqliteConnectOptions) -> Result<(), MigrateError> {
    // The sorted rows of a new index may be more than belongs into memory.
    let options = options.clone().pragma("temp_store", "file");
    let mut connection = SqliteConnection::connect_with(&options).await?;
    migrator(SQLITE).run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

fn migrator(steps: &'static [(i64, &'static str, &'static str)]) -> Migrator {
    let step = |(number, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(
            *number,
            (*name).into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    };
    let mut migrator = Migrator::with_migrations(steps.iter().map(step).collect());
    // During a deploy the newer daemon has expanded the schema while the older one may restart.
    migrator.set_ignore_missing(true);
    migrator
}
