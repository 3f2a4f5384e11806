//! `[queue]`: how jobs reach workers.

use serde::{Deserialize, Serialize};

use super::database::has_password;
use super::environment::Environment;
use super::error::Fault;
use super::secret::{self, Secret};

/// Jobs are rows of the catalog; Redis carries them to workers on other machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueConfig {
    /// `redis://host:6379/0` without a password, or a reference to a secret that holds the whole URL.
    pub redis_url: Option<String>,
    /// Seconds after which a silent worker loses its job.
    pub lease_s: u64,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            redis_url: None,
            lease_s: 30,
        }
    }
}

impl QueueConfig {
    pub(super) fn check(&self) -> Result<(), Fault> {
        Fault::bounds("queue.lease_s", self.lease_s, 1, 3600)?;
        match &self.redis_url {
            Some(url) if !secret::is_reference(url) && has_password(url) => Err(Fault::new(
                "queue.redis_url",
                "a password does not belong in this file",
                "put the whole URL elsewhere and refer to it: file:/path, env:NAME or credential:NAME",
            )),
            _ => Ok(()),
        }
    }

    pub(super) fn resolve(&self, environment: &Environment) -> Result<Option<Secret>, Fault> {
        match &self.redis_url {
            None => Ok(None),
            Some(url) if secret::is_reference(url) => {
                secret::resolve("queue.redis_url", url, environment).map(Some)
            }
            Some(url) => Ok(Some(Secret::new(url.as_str()))),
        }
    }
}

/// Only Redis's own schemes are let through to its client.
pub(super) fn check_scheme(url: &str) -> Result<(), Fault> {
    let known = ["redis://", "redis+unix://", "unix://"];
    if known.iter().any(|scheme| url.starts_with(scheme)) {
        return Ok(());
    }
    Err(Fault::new(
        "queue.redis_url",
        "the URL names no Redis",
        "write redis://host:6379/0 or unix:///path/redis.sock, or remove the key for the embedded queue",
    ))
}
