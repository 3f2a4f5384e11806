//! `[identity]`: who is believed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::RootKeys;
use super::environment::Environment;
use super::error::Fault;
use super::secret::{self, Secret};
use crate::kernel::AccessKeyId;

/// Whether tailnet peers are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tailscale {
    /// When tailscaled's socket exists.
    #[default]
    Auto,
    /// Always; a missing socket stops the start.
    On,
    /// Never.
    Off,
}

/// Tailnet peers and the root key pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    /// Whether tailnet peers are known by name.
    pub tailscale: Tailscale,
    /// The LocalAPI socket of tailscaled.
    pub tailscale_socket: PathBuf,
    /// The root access key; goes with `root_secret_key`. None lets the first start make a pair.
    pub root_access_key: Option<String>,
    /// A reference to the root secret key.
    pub root_secret_key: Option<String>,
}

impl Default for IdentityConfig {
    fn default() -> Self {
        Self {
            tailscale: Tailscale::Auto,
            tailscale_socket: PathBuf::from("/var/run/tailscale/tailscaled.sock"),
            root_access_key: None,
            root_secret_key: None,
        }
    }
}

impl IdentityConfig {
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.tailscale == Tailscale::On && !self.tailscale_socket.exists() {
            return Err(Fault::new(
                "identity.tailscale_socket",
                format!("{} is not there", self.tailscale_socket.display()),
                "start tailscaled, or set tailscale to \"auto\" or \"off\"",
            ));
        }
        Ok(())
    }

    /// The preset root key pair: both halves or neither.
    pub(super) fn resolve_root(
        &self,
        environment: &Environment,
    ) -> Result<Option<RootKeys>, Fault> {
        let access_key = environment
            .get("NEBULA_ROOT_ACCESS_KEY")
            .or(self.root_access_key.as_deref())
            .map(str::to_owned);
        let secret_key = match (
            environment.get("NEBULA_ROOT_SECRET_KEY"),
            &self.root_secret_key,
        ) {
            (Some(secret), _) => Some(Secret::new(secret)),
            (None, Some(reference)) => Some(secret::resolve(
                "identity.root_secret_key",
                reference,
                environment,
            )?),
            (None, None) => None,
        };
        match (access_key, secret_key) {
            (None, None) => Ok(None),
            (Some(access_key), Some(secret_key)) => {
                check_pair(&access_key, &secret_key)?;
                Ok(Some(RootKeys {
                    access_key,
                    secret_key,
                }))
            }
            (Some(_), None) => Err(half("identity.root_secret_key", "the secret key")),
            (None, Some(_)) => Err(half("identity.root_access_key", "the access key")),
        }
    }
}

fn half(key: &str, missing: &str) -> Fault {
    Fault::new(
        key,
        format!("half of the root key pair is given, {missing} is missing"),
        "give both (NEBULA_ROOT_ACCESS_KEY and NEBULA_ROOT_SECRET_KEY), or neither",
    )
}

fn check_pair(access_key: &str, secret_key: &Secret) -> Result<(), Fault> {
    if access_key.parse::<AccessKeyId>().is_err() {
        return Err(Fault::new(
            "identity.root_access_key",
            "an access key has 4 to 128 letters, digits, hyphens, underscores and dots",
            "choose another",
        ));
    }
    if !(8..=256).contains(&secret_key.expose().len()) {
        return Err(Fault::new(
            "identity.root_secret_key",
            "a secret key has 8 to 256 characters",
            "choose another, 40 random characters for example",
        ));
    }
    Ok(())
}
