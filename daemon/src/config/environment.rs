//! The environment, read once at the start, and the closed list of its overrides.

use std::collections::BTreeMap;

use super::error::{ConfigError, Origin};
use super::suggest::closest;

/// Every variable of ours that the daemon obeys.
pub const OVERRIDES: [&str; 8] = [
    "NEBULA_CONFIG",
    "NEBULA_DATA_DIR",
    "NEBULA_LISTEN",
    "NEBULA_DATABASE_URL",
    "NEBULA_REDIS_URL",
    "NEBULA_ROOT_ACCESS_KEY",
    "NEBULA_ROOT_SECRET_KEY",
    "NEBULA_LOG",
];

/// Ours as well, but spoken to the client, the tests or the deploy hooks: no fault here.
const OTHERS: [&str; 4] = [
    "NEBULA_ACCESS_KEY",
    "NEBULA_SECRET_KEY",
    "NEBULA_PROFILE",
    "NEBULA_SAMPLES",
];

/// Variables that begin so belong to the deploy hooks and the build.
const OTHERS_PREFIXES: [&str; 3] = ["NEBULA_DEPLOY_", "NEBULA_BUILD_", "NEBULA_TEST_"];

/// A snapshot of the environment; an empty variable counts as absent.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// What this process was started with; names or values that are not UTF-8 are left out.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// One variable, if it is set to something.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// A misspelt override would be obeyed by nobody, which is worse than not starting.
    pub(super) fn refuse_unknown(&self) -> Result<(), ConfigError> {
        let unknown = self.0.keys().find(|name| {
            name.starts_with("NEBULA_")
                && !OVERRIDES.contains(&name.as_str())
                && !OTHERS.contains(&name.as_str())
                && !OTHERS_PREFIXES
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
        });
        let Some(name) = unknown else {
            return Ok(());
        };
        let cure = match closest(name, OVERRIDES) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("unset it; the daemon knows {}", OVERRIDES.join(", ")),
        };
        Err(ConfigError {
            origin: Origin::Variable("NEBULA_*"),
            key: String::new(),
            reason: format!("the variable {name} means nothing to the daemon"),
            cure,
        })
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}
