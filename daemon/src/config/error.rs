//! The one message a person reads when the configuration cannot be used.

use std::fmt;
use std::path::PathBuf;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file, counted from 1; line 0 when the key does not stand in it.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// Counted from 1; 0 is "not in the file".
        line: usize,
    },
    /// An environment variable.
    Variable(&'static str),
    /// A command-line flag.
    Flag(&'static str),
    /// Nobody chose it.
    Default,
}

/// A fault inside one section, before anybody knows where its value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Dotted, as in `server.listen`.
    pub key: String,
    pub reason: String,
    pub cure: String,
}

impl Fault {
    pub(super) fn new(key: &str, reason: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            key: key.to_owned(),
            reason: reason.into(),
            cure: cure.into(),
        }
    }

    /// A number outside its bounds.
    pub(super) fn bounds(key: &str, value: u64, low: u64, high: u64) -> Result<(), Self> {
        if (low..=high).contains(&value) {
            return Ok(());
        }
        Err(Self::new(
            key,
            format!("{value} is out of bounds"),
            format!("choose a number from {low} to {high}"),
        ))
    }
}

/// Why the daemon does not start: origin, key, reason and cure, in that order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// Where the value came from.
    pub origin: Origin,
    /// The dotted key, or empty when the file as a whole is at fault.
    pub key: String,
    /// What is wrong.
    pub reason: String,
    /// What to do about it.
    pub cure: String,
}

impl ConfigError {
    pub(super) fn from_fault(fault: Fault, origin: Origin) -> Self {
        Self {
            origin,
            key: fault.key,
            reason: fault.reason,
            cure: fault.cure,
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the configuration cannot be used")?;
        match &self.origin {
            Origin::File { path, line: 0 } => writeln!(f, "  file  {}", path.display())?,
            Origin::File { path, line } => {
                writeln!(f, "  file  {}, line {line}", path.display())?;
            }
            Origin::Variable(name) => writeln!(f, "  from  the environment variable {name}")?,
            Origin::Flag(name) => writeln!(f, "  from  the flag {name}")?,
            Origin::Default => writeln!(f, "  from  the default")?,
        }
        if !self.key.is_empty() {
            writeln!(f, "  key   {}", self.key)?;
        }
        writeln!(f, "  why   {}", self.reason)?;
        write!(f, "  cure  {}", self.cure)
    }
}
