//! The file: read within a bound, parsed strictly, and searched for the line of a key.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::Config;
use super::error::{ConfigError, Origin};
use super::suggest::closest;

/// A configuration longer than this is some other file.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Printed wherever a key or a value is not understood.
const SEE_KEYS: &str = "`nebulad check --print-defaults` prints every key with its meaning";

/// A configuration file and its text.
pub(super) struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        let refuse = |reason: String, cure: String| ConfigError {
            origin: Origin::File {
                path: path.to_owned(),
                line: 0,
            },
            key: String::new(),
            reason,
            cure,
        };
        let size_bytes = std::fs::metadata(path)
            .map_err(|error| {
                refuse(
                    format!("it cannot be read: {error}"),
                    "name a file that exists and that this user may read, or none for the defaults"
                        .to_owned(),
                )
            })?
            .len();
        if size_bytes > FILE_BYTES_MAX {
            return Err(refuse(
                format!(
                    "it has {size_bytes} bytes, more than the {FILE_BYTES_MAX} a configuration may have"
                ),
                "name the configuration file with --config".to_owned(),
            ));
        }
        let text = std::fs::read_to_string(path).map_err(|error| {
            refuse(
                format!("it cannot be read: {error}"),
                "make it a UTF-8 text file that this user may read".to_owned(),
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            text,
        })
    }

    pub(super) fn parse(&self) -> Result<Config, ConfigError> {
        toml::from_str(&self.text).map_err(|error| self.explain(&error))
    }

    /// The line on which a dotted key stands; none when it does not stand in this file.
    pub(super) fn locate(&self, key: &str) -> Option<Origin> {
        let document = DeTable::parse(&self.text).ok()?;
        let at = |offset: usize| {
            Some(Origin::File {
                path: self.path.clone(),
                line: self.line_at(offset),
            })
        };
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        let value = document.get_ref().get(section)?;
        // `webhook.2.url` is a key of the second `[[webhook]]`.
        let (value, name) = match (value.get_ref(), name.split_once('.')) {
            (DeValue::Array(entries), Some((number, name))) => {
                let number: usize = number.parse().ok()?;
                (entries.get(number.checked_sub(1)?)?, name)
            }
            _ => (value, name),
        };
        let DeValue::Table(table) = value.get_ref() else {
            return at(value.span().start);
        };
        match table.iter().find(|(found, _)| found.get_ref() == name) {
            Some((name, _)) => at(name.span().start),
            // Of one entry among many, the entry is told; of a section, that the key is not in it.
            None if key.matches('.').count() == 2 => at(value.span().start),
            None => None,
        }
    }

    /// Turns the parser's error into file, line, reason and cure.
    fn explain(&self, error: &toml::de::Error) -> ConfigError {
        let line = error.span().map_or(0, |span| self.line_at(span.start));
        let message = error.message().trim();
        let (reason, cure) = match quoted(message, "unknown field ") {
            Some(unknown) => {
                let known: Vec<&str> = message.split('`').skip(3).step_by(2).collect();
                let cure = match closest(unknown, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if known.is_empty() => SEE_KEYS.to_owned(),
                    None => format!("known here: {}; {SEE_KEYS}", known.join(", ")),
                };
                (format!("unknown key `{unknown}`"), cure)
            }
            None => (message.replace('\n', " "), SEE_KEYS.to_owned()),
        };
        ConfigError {
            origin: Origin::File {
                path: self.path.clone(),
                line,
            },
            key: error
                .span()
                .and_then(|span| self.key_at(span.start))
                .unwrap_or_default(),
            reason,
            cure,
        }
    }

    fn line_at(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or_default();
        1 + before.matches('\n').count()
    }

    /// The dotted key whose value spans `offset`, for messages about a value.
    fn key_at(&self, offset: usize) -> Option<String> {
        let document = DeTable::parse(&self.text).ok()?;
        for (section, value) in document.get_ref() {
            if section.span().contains(&offset) {
                return Some(section.get_ref().to_string());
            }
            let DeValue::Table(table) = value.get_ref() else {
                continue;
            };
            for (name, value) in table {
                if name.span().contains(&offset) || value.span().contains(&offset) {
                    return Some(format!("{}.{}", section.get_ref(), name.get_ref()));
                }
            }
        }
        None
    }
}

/// The word between backticks after `before`.
fn quoted<'a>(message: &'a str, before: &str) -> Option<&'a str> {
    message.strip_prefix(before)?.split('`').nth(1)
}
