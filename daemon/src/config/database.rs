//! `[database]`: where the catalog is.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::error::Fault;
use super::secret::{self, Secret};

/// The name of the embedded catalog in the data directory.
const SQLITE_NAME: &str = "nebula.db";

/// SQLite in the data directory, or PostgreSQL.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `postgres://…` without a password, or a reference to a secret that holds the whole URL; none is SQLite.
    pub url: Option<String>,
}

impl DatabaseConfig {
    pub(super) fn check(&self) -> Result<(), Fault> {
        match &self.url {
            Some(url) if !secret::is_reference(url) && has_password(url) => Err(Fault::new(
                "database.url",
                "a password does not belong in this file",
                "put the whole URL elsewhere and refer to it: file:/path, env:NAME or credential:NAME",
            )),
            _ => Ok(()),
        }
    }

    /// The URL to open, given the data directory.
    pub(super) fn resolve(&self, dir: &Path, environment: &Environment) -> Result<Secret, Fault> {
        match &self.url {
            None => Ok(Secret::new(format!(
                "sqlite://{}",
                dir.join(SQLITE_NAME).display()
            ))),
            Some(url) if secret::is_reference(url) => {
                secret::resolve("database.url", url, environment)
            }
            Some(url) => Ok(Secret::new(url.as_str())),
        }
    }
}

/// Two databases are known; anything else is refused before it is tried.
pub(super) fn check_scheme(url: &str) -> Result<(), Fault> {
    let known = ["sqlite:", "postgres://", "postgresql://"];
    if known.iter().any(|scheme| url.starts_with(scheme)) {
        return Ok(());
    }
    Err(Fault::new(
        "database.url",
        "the URL names no database that Nebula knows",
        "write postgres://user@host/name or sqlite:///path/nebula.db, or remove the key for the embedded one",
    ))
}

/// Whether `scheme://user:password@host` has its third word.
pub(super) fn has_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    authority
        .rsplit_once('@')
        .is_some_and(|(user, _)| user.contains(':'))
        || rest.contains("password=")
}
