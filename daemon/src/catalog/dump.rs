//! Every row of every table, in a form that does not know which database it came from: for backups.
//!
//! The tables are read from the database itself, so a table or column that a later migration adds is in the next backup without a line here.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Postgres, Row as _, Sqlite, Transaction};

use super::db::{Catalog, CatalogError, Link, Pools, Tx, on_pool, on_tx};
use super::sqlite;

/// Nobody's data: what the migrations did, and who holds what at this moment.
const PASSING: &[&str] = &["_sqlx_migrations", "lease"];
/// Made of objects, and made again from them.
const MADE: &[&str] = &[
    "asset",
    "rendition",
    "rendition_init",
    "rendition_segment",
    "subtitle",
];

/// What a column holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A whole number.
    Int,
    /// Text, JSON too.
    Text,
    /// Bytes.
    Bytes,
    /// Yes or no.
    Bool,
    /// A fraction.
    Real,
}

/// One value of a row.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    /// None.
    Null,
    /// Of [`Kind::Int`].
    Int(i64),
    /// Of [`Kind::Text`].
    Text(String),
    /// Of [`Kind::Bytes`].
    Bytes(Vec<u8>),
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Real`].
    Real(f64),
}

/// A table: its name and its columns.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Table {
    /// The name.
    pub table: String,
    /// Name and kind of each column, in the order of the values of a row.
    pub columns: Vec<(String, Kind)>,
}

impl Table {
    /// Where in a row a column stands.
    pub fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|(name, _)| name == column)
    }
}

/// One moment of the whole catalog, held still by a read transaction while writers go on.
pub struct Snapshot {
    tx: Reading,
    tables: Vec<Shape>,
    made: bool,
}

enum Reading {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// A table with what the database alone needs to know.
struct Shape {
    table: Table,
    key: Vec<String>,
}

const SQLITE_TABLES: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name";
const SQLITE_COLUMNS: &str = "SELECT name, type, pk FROM pragma_table_info($1) ORDER BY cid";
const SQLITE_PARENTS: &str = "SELECT \"table\" FROM pragma_foreign_key_list($1)";
const SQLITE_SEQUENCES: &str = "SELECT name, seq FROM sqlite_sequence";
const SQLITE_SET_SEQUENCE: &str = "UPDATE sqlite_sequence SET seq = MAX(seq, $2) WHERE name = $1";
const SQLITE_NEW_SEQUENCE: &str = "INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)";
const SQLITE_COUNTED: &str = "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%' ORDER BY name";

const POSTGRES_TABLES: &str = "SELECT table_name::text FROM information_schema.tables \
     WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY table_name";
const POSTGRES_COLUMNS: &str = "SELECT c.column_name::text, c.data_type::text, COALESCE(k.ordinal_position, 0)::bigint \
     FROM information_schema.columns c LEFT JOIN (information_schema.key_column_usage k \
     JOIN information_schema.table_constraints t ON t.constraint_name = k.constraint_name AND t.table_schema = k.table_schema AND t.constraint_type = 'PRIMARY KEY') \
     ON k.table_schema = c.table_schema AND k.table_name = c.table_name AND k.column_name = c.column_name \
     WHERE c.table_schema = current_schema() AND c.table_name = $1 ORDER BY c.ordinal_position";
const POSTGRES_PARENTS: &str = "SELECT p.relname::text FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class p ON p.oid = f.confrelid \
     WHERE f.contype = 'f' AND c.relnamespace = current_schema()::regnamespace AND c.relname = $1";
const POSTGRES_SEQUENCES: &str = "SELECT t.relname::text, pg_sequence_last_value(s.oid) FROM pg_class s \
     JOIN pg_depend d ON d.objid = s.oid AND d.deptype = 'i' JOIN pg_class t ON t.oid = d.refobjid \
     WHERE s.relkind = 'S' AND t.relnamespace = current_schema()::regnamespace";
const POSTGRES_COUNTED: &str = "SELECT table_name::text, column_name::text FROM information_schema.columns \
     WHERE table_schema = current_schema() AND is_identity = 'YES' ORDER BY table_name";
const POSTGRES_SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Blobs that nothing but renditions refers to are left out with them, and the others counted without them.
/// So are lanes: how far each of them is in their common file is known on this machine alone.
const BLOB_REFS: &str = "refs - (SELECT COUNT(*) FROM rendition_segment s WHERE s.blob_id = blob.id) \
     - (SELECT COUNT(*) FROM upload u WHERE u.lane_of IS NOT NULL AND (u.lane_blob_id = blob.id OR u.blob_id = blob.id))";
/// The same where renditions are kept.
const BLOB_REFS_WHOLE: &str = "refs - (SELECT COUNT(*) FROM upload u WHERE u.lane_of IS NOT NULL AND (u.lane_blob_id = blob.id OR u.blob_id = blob.id))";
/// Of a file that grows, what is durable counts; its upload knows.
const BLOB_SIZE: &str = "CASE WHEN state = 'open' THEN COALESCE((SELECT MAX(u.offset_bytes) FROM upload u \
     WHERE u.blob_id = blob.id), 0) ELSE size_bytes END";

impl Catalog {
    /// Holds the whole catalog still for a reader; `made` asks for what can be made again as well.
    pub async fn snapshot(&self, made: bool) -> Result<Snapshot, CatalogError> {
        let tx = match &self.pools {
            Pools::Sqlite(pool) => Reading::Sqlite(pool.begin().await?),
            Pools::Postgres(pool) => Reading::Postgres(pool.begin_with(POSTGRES_SNAPSHOT).await?),
        };
        let mut snapshot = Snapshot {
            tx,
            tables: Vec::new(),
            made,
        };
        snapshot.tables = snapshot.shapes().await?;
        Ok(snapshot)
    }

    /// Whether nobody has kept anything in it yet.
    pub async fn is_blank(&self) -> Result<bool, CatalogError> {
        const ANY: &str = "SELECT (SELECT COUNT(*) FROM bucket) + (SELECT COUNT(*) FROM blob) + (SELECT COUNT(*) FROM access_key)";
        let rows: i64 = on_pool!(self, pool => sqlx::query_scalar(ANY).fetch_one(pool).await)?;
        Ok(rows == 0)
    }
}

macro_rules! reading {
    ($reading:expr, $conn:ident => $body:expr) => {
        match $reading {
            Reading::Sqlite(tx) => {
                let $conn = &mut **tx;
                $body
            }
            Reading::Postgres(tx) => {
                let $conn = &mut **tx;
                $body
            }
        }
    };
}

impl Snapshot {
    /// The tables, each after those that it refers to.
    pub fn tables(&self) -> Vec<Table> {
        let kept = |shape: &&Shape| self.made || !MADE.contains(&shape.table.table.as_str());
        let tables = self.tables.iter().filter(kept);
        tables.map(|shape| shape.table.clone()).collect()
    }

    /// Draws every row of a table, ordered by its key, with no more than a few in memory.
    ///
    /// # Errors
    /// Those of the database, and the first of `each`.
    pub async fn rows<E: From<CatalogError>>(
        &mut self,
        table: &Table,
        mut each: impl FnMut(Vec<Value>) -> Result<(), E>,
    ) -> Result<(), E> {
        let shape = self.tables.iter().find(|shape| shape.table == *table);
        let Some(shape) = shape else {
            return Ok(());
        };
        let sql = self.select(shape);
        match &mut self.tx {
            Reading::Sqlite(tx) => {
                let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut **tx);
                while let Some(row) = rows.try_next().await.map_err(CatalogError::from)? {
                    each(sqlite_values(&row, table)?)?;
                }
            }
            Reading::Postgres(tx) => {
                let mut rows = sqlx::query(AssertSqlSafe(sql)).fetch(&mut **tx);
                while let Some(row) = rows.try_next().await.map_err(CatalogError::from)? {
                    each(postgres_values(&row, table)?)?;
                }
            }
        }
        Ok(())
    }

    /// The last number that each counting table gave out.
    pub async fn sequences(&mut self) -> Result<BTreeMap<String, i64>, CatalogError> {
        let pairs: Vec<(String, Option<i64>)> = match &mut self.tx {
            Reading::Sqlite(tx) => {
                sqlx::query_as(SQLITE_SEQUENCES)
                    .fetch_all(&mut **tx)
                    .await?
            }
            Reading::Postgres(tx) => {
                sqlx::query_as(POSTGRES_SEQUENCES)
                    .fetch_all(&mut **tx)
                    .await?
            }
        };
        // One that gave out nothing has no last number.
        let used = pairs
            .into_iter()
            .filter_map(|(table, last)| Some((table, last?)));
        Ok(used.collect())
    }

    fn select(&self, shape: &Shape) -> String {
        let Table { table, columns } = &shape.table;
        let whole = self.made || table != "blob";
        let postgres = matches!(self.tx, Reading::Postgres(_));
        let column = |(name, kind): &(String, Kind)| match (name.as_str(), kind) {
            ("refs", _) if !whole => format!("{BLOB_REFS} AS \"refs\""),
            ("refs", _) if table == "blob" => format!("{BLOB_REFS_WHOLE} AS \"refs\""),
            ("size_bytes", _) if table == "blob" => format!("{BLOB_SIZE} AS \"size_bytes\""),
            // Smaller integers are read as large ones.
            (name, Kind::Int) if postgres => format!("\"{name}\"::bigint AS \"{name}\""),
            (name, _) => format!("\"{name}\""),
        };
        let columns: Vec<String> = columns.iter().map(column).collect();
        let condition = match table.as_str() {
            "upload" => " WHERE lane_of IS NULL".to_owned(),
            "blob" if whole => format!(" WHERE state <> 'dead' AND {BLOB_REFS_WHOLE} > 0"),
            "blob" => format!(" WHERE state <> 'dead' AND {BLOB_REFS} > 0"),
            _ => String::new(),
        };
        let text = |name: &String| {
            let found = shape
                .table
                .columns
                .iter()
                .find(|(column, _)| column == name);
            postgres && found.is_some_and(|(_, kind)| *kind == Kind::Text)
        };
        let key: Vec<String> = shape
            .key
            .iter()
            .map(|name| {
                // Bytes decide, as in SQLite.
                let collation = if text(name) { " COLLATE \"C\"" } else { "" };
                format!("\"{name}\"{collation}")
            })
            .collect();
        let order = if key.is_empty() {
            String::new()
        } else {
            format!(" ORDER BY {}", key.join(", "))
        };
        format!(
            "SELECT {} FROM \"{table}\"{condition}{order}",
            columns.join(", ")
        )
    }

    /// Reads the tables from the database and puts each behind those that it refers to.
    async fn shapes(&mut self) -> Result<Vec<Shape>, CatalogError> {
        let list = match self.tx {
            Reading::Sqlite(_) => SQLITE_TABLES,
            Reading::Postgres(_) => POSTGRES_TABLES,
        };
        let names: Vec<String> =
            reading!(&mut self.tx, conn => sqlx::query_scalar(list).fetch_all(conn).await)?;
        let mut left = Vec::new();
        for name in names {
            if PASSING.contains(&name.as_str()) {
                continue;
            }
            let parents: Vec<String> = match &mut self.tx {
                Reading::Sqlite(tx) => {
                    sqlx::query_scalar(SQLITE_PARENTS)
                        .bind(&name)
                        .fetch_all(&mut **tx)
                        .await?
                }
                Reading::Postgres(tx) => {
                    sqlx::query_scalar(POSTGRES_PARENTS)
                        .bind(&name)
                        .fetch_all(&mut **tx)
                        .await?
                }
            };
            left.push((self.shape(name).await?, parents));
        }
        let mut shapes: Vec<Shape> = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let free = left.iter().position(|(shape, parents)| {
                let placed = |parent: &String| {
                    *parent == shape.table.table || shapes.iter().any(|s| s.table.table == *parent)
                };
                parents.iter().all(placed)
            });
            let Some(free) = free else {
                return Err(CatalogError::Failed(
                    "tables refer to each other in a circle".into(),
                ));
            };
            shapes.push(left.remove(free).0);
        }
        Ok(shapes)
    }

    async fn shape(&mut self, name: String) -> Result<Shape, CatalogError> {
        let rows: Vec<(String, String, i64)> = match &mut self.tx {
            Reading::Sqlite(tx) => {
                sqlx::query_as(SQLITE_COLUMNS)
                    .bind(&name)
                    .fetch_all(&mut **tx)
                    .await?
            }
            Reading::Postgres(tx) => {
                sqlx::query_as(POSTGRES_COLUMNS)
                    .bind(&name)
                    .fetch_all(&mut **tx)
                    .await?
            }
        };
        let mut columns = Vec::new();
        let mut key = Vec::new();
        for (column, kind, place) in rows {
            let Some(kind) = kind_of(&kind)? else {
                continue;
            };
            if place > 0 {
                key.push((place, column.clone()));
            }
            columns.push((column, kind));
        }
        key.sort();
        Ok(Shape {
            table: Table {
                table: name,
                columns,
            },
            key: key.into_iter().map(|(_, column)| column).collect(),
        })
    }
}

/// What a declared type holds; `None` for a transaction's number, which means something in its own database only.
fn kind_of(declared: &str) -> Result<Option<Kind>, CatalogError> {
    let kind = match declared.to_ascii_lowercase().as_str() {
        "integer" | "bigint" | "smallint" | "int" => Kind::Int,
        "text" | "character varying" => Kind::Text,
        "blob" | "bytea" => Kind::Bytes,
        "boolean" => Kind::Bool,
        "double precision" | "real" => Kind::Real,
        "xid8" => return Ok(None),
        other => {
            return Err(CatalogError::Corrupt(format!(
                "a column of the type {other} has no place in a backup"
            )));
        }
    };
    Ok(Some(kind))
}

macro_rules! values {
    ($row:expr, $table:expr) => {{
        let mut values = Vec::with_capacity($table.columns.len());
        for (at, (_, kind)) in $table.columns.iter().enumerate() {
            values.push(match kind {
                Kind::Int => $row
                    .try_get_unchecked::<Option<i64>, _>(at)?
                    .map_or(Value::Null, Value::Int),
                Kind::Text => $row
                    .try_get_unchecked::<Option<String>, _>(at)?
                    .map_or(Value::Null, Value::Text),
                Kind::Bytes => $row
                    .try_get_unchecked::<Option<Vec<u8>>, _>(at)?
                    .map_or(Value::Null, Value::Bytes),
                Kind::Bool => $row
                    .try_get_unchecked::<Option<bool>, _>(at)?
                    .map_or(Value::Null, Value::Bool),
                Kind::Real => $row
                    .try_get_unchecked::<Option<f64>, _>(at)?
                    .map_or(Value::Null, Value::Real),
            });
        }
        Ok(values)
    }};
}

fn sqlite_values(row: &SqliteRow, table: &Table) -> Result<Vec<Value>, CatalogError> {
    values!(row, table)
}

fn postgres_values(row: &PgRow, table: &Table) -> Result<Vec<Value>, CatalogError> {
    values!(row, table)
}

/// The statement that enters rows of one table, made once for all of them.
#[derive(Clone)]
pub struct Entering(Arc<str>);

impl Tx {
    /// Prepares to enter rows of a table as a backup names them.
    ///
    /// # Errors
    /// [`CatalogError::Corrupt`] when this version has no such table or column: the backup is of a newer one.
    pub async fn entering(&mut self, table: &Table) -> Result<Entering, CatalogError> {
        let known: Vec<(String, String, i64)> = match &mut self.link {
            Link::Sqlite(writing) => {
                let conn = writing.connection()?;
                sqlite::query_as(SQLITE_COLUMNS)
                    .bind(&table.table)
                    .fetch_all(conn)
                    .await?
            }
            Link::Postgres(tx) => {
                sqlx::query_as(POSTGRES_COLUMNS)
                    .bind(&table.table)
                    .fetch_all(&mut **tx)
                    .await?
            }
        };
        let mut names = Vec::new();
        let mut places = Vec::new();
        for (at, (column, kind)) in table.columns.iter().enumerate() {
            let declared = known.iter().find(|(name, ..)| name == column);
            let same = match declared {
                Some((_, declared, _)) => kind_of(declared)? == Some(*kind),
                None => false,
            };
            if !same {
                return Err(CatalogError::Corrupt(format!(
                    "{}.{column} of the backup is unknown to this version: restore it with the version that made it, or a newer one",
                    table.table
                )));
            }
            names.push(format!("\"{column}\""));
            places.push(format!("${}", at + 1));
        }
        let overriding = match self.link {
            Link::Sqlite(_) => "",
            Link::Postgres(_) => " OVERRIDING SYSTEM VALUE",
        };
        Ok(Entering(
            format!(
                "INSERT INTO \"{}\" ({}){overriding} VALUES ({})",
                table.table,
                names.join(", "),
                places.join(", ")
            )
            .into(),
        ))
    }

    /// Enters one row.
    pub async fn enter_row(
        &mut self,
        entering: &Entering,
        table: &Table,
        row: Vec<Value>,
    ) -> Result<(), CatalogError> {
        on_tx!(self, conn => {
            let mut query = sqlx::query(AssertSqlSafe(Arc::clone(&entering.0)));
            for (value, (_, kind)) in row.into_iter().zip(&table.columns) {
                query = match (value, kind) {
                    (Value::Int(n), _) => query.bind(n),
                    (Value::Text(text), _) => query.bind(text),
                    (Value::Bytes(bytes), _) => query.bind(bytes),
                    (Value::Bool(yes), _) => query.bind(yes),
                    (Value::Real(n), _) => query.bind(n),
                    (Value::Null, Kind::Int) => query.bind(None::<i64>),
                    (Value::Null, Kind::Text) => query.bind(None::<String>),
                    (Value::Null, Kind::Bytes) => query.bind(None::<Vec<u8>>),
                    (Value::Null, Kind::Bool) => query.bind(None::<bool>),
                    (Value::Null, Kind::Real) => query.bind(None::<f64>),
                };
            }
            query.execute(conn).await.map(|_| ())
        })?;
        Ok(())
    }

    /// Lets counting tables go on above what they gave out before, and above what is in them.
    pub async fn go_on_counting(
        &mut self,
        last: &BTreeMap<String, i64>,
    ) -> Result<(), CatalogError> {
        match &mut self.link {
            Link::Sqlite(writing) => {
                let conn = writing.connection()?;
                let tables: Vec<String> = sqlite::query_scalar(SQLITE_COUNTED)
                    .fetch_all(&mut *conn)
                    .await?;
                for table in tables {
                    let Some(last) = last.get(&table) else {
                        continue;
                    };
                    let set = sqlite::query(SQLITE_SET_SEQUENCE)
                        .bind(&table)
                        .bind(last)
                        .execute(&mut *conn)
                        .await?;
                    if set.rows_affected() == 0 {
                        sqlite::query(SQLITE_NEW_SEQUENCE)
                            .bind(&table)
                            .bind(last)
                            .execute(&mut *conn)
                            .await?;
                    }
                }
            }
            Link::Postgres(tx) => {
                let tables: Vec<(String, String)> = sqlx::query_as(POSTGRES_COUNTED)
                    .fetch_all(&mut **tx)
                    .await?;
                for (table, column) in tables {
                    let sql = format!(
                        "SELECT setval(pg_get_serial_sequence('\"{table}\"', '{column}'), \
                         GREATEST((SELECT COALESCE(MAX(\"{column}\"), 0) FROM \"{table}\"), $1, 1))"
                    );
                    sqlx::query(AssertSqlSafe(sql))
                        .bind(last.get(&table).copied().unwrap_or(0))
                        .execute(&mut **tx)
                        .await?;
                }
            }
        }
        Ok(())
    }
}
