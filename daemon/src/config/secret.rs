//! Secrets by reference.
//!
//! `file:/etc/nebula/secret` is a file's content, `env:NAME` a variable's, `credential:name` the content of a
//! credential that systemd passed with `LoadCredential=`. A trailing newline is not part of the secret.

use std::fmt;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::error::Fault;

/// A secret longer than this is not one.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A value that must not be shown; only [`Secret::expose`] gives it out.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Whether a text refers to a secret instead of being one.
pub(super) fn is_reference(text: &str) -> bool {
    ["file:", "env:", "credential:"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
}

/// Follows the reference `text` that stands at `key`.
pub(super) fn resolve(key: &str, text: &str, environment: &Environment) -> Result<Secret, Fault> {
    if let Some(name) = text.strip_prefix("env:") {
        return environment.get(name).map(Secret::new).ok_or_else(|| {
            Fault::new(
                key,
                format!("the variable {name} is not set"),
                format!("set {name} before the start"),
            )
        });
    }
    if let Some(name) = text.strip_prefix("credential:") {
        let Some(directory) = environment.get("CREDENTIALS_DIRECTORY") else {
            return Err(Fault::new(
                key,
                "systemd passed no credentials",
                format!("add `LoadCredential={name}:/path` to the unit, or refer to file: or env:"),
            ));
        };
        if name.is_empty() || name.contains('/') {
            return Err(Fault::new(
                key,
                format!("`{name}` is not the name of a credential"),
                "write credential:NAME, with the NAME of LoadCredential=",
            ));
        }
        return read(key, &Path::new(directory).join(name));
    }
    if let Some(path) = text.strip_prefix("file:") {
        return read(key, &PathBuf::from(path));
    }
    Err(Fault::new(
        key,
        "a secret does not belong in this file",
        "refer to it: file:/path, env:NAME or credential:NAME",
    ))
}

fn read(key: &str, path: &Path) -> Result<Secret, Fault> {
    let refuse = |reason: String| {
        Fault::new(
            key,
            format!("{} {reason}", path.display()),
            "name a readable text file that holds the secret alone",
        )
    };
    let size_bytes = std::fs::metadata(path)
        .map_err(|error| refuse(format!("cannot be read: {error}")))?
        .len();
    if size_bytes > SECRET_BYTES_MAX {
        return Err(refuse(format!(
            "has {size_bytes} bytes, too many for a secret"
        )));
    }
    let text = std::fs::read_to_string(path)
        .map_err(|error| refuse(format!("cannot be read: {error}")))?;
    let secret = text.trim_end_matches(['\n', '\r']);
    if secret.is_empty() {
        return Err(refuse("is empty".to_owned()));
    }
    Ok(Secret::new(secret))
}
