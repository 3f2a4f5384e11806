//! `[log]`: what is written, and how.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

use super::error::Fault;

/// The shape of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people: colour on a terminal, priorities for the journal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The log of the daemon, on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// A level, or directives as in `info,nebula_daemon::store=debug`.
    pub filter: String,
    /// The shape of a line.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            filter: "info".to_owned(),
            format: LogFormat::Text,
        }
    }
}

impl LogConfig {
    pub(super) fn check(&self) -> Result<(), Fault> {
        match EnvFilter::builder().parse(&self.filter) {
            Ok(_) => Ok(()),
            Err(error) => Err(Fault::new(
                "log.filter",
                format!("`{}` is not a filter: {error}", self.filter),
                "write a level (error, warn, info, debug, trace) or directives such as info,sqlx=warn",
            )),
        }
    }
}
