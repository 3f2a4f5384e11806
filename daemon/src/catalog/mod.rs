//! The database: one file per noun, migrations for SQLite and PostgreSQL.
