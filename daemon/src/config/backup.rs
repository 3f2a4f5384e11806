//! `[backup]`: where backups go.

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::error::{ConfigError, Fault, Origin};
use super::secret::{self, Secret};

/// What `nebulad backup` and `nebulad restore` do without their flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupConfig {
    /// A directory, or `s3://bucket/prefix`.
    pub target: Option<String>,
    /// `http://host:port` of the endpoint that has the bucket.
    pub s3_endpoint: Option<String>,
    /// Its region.
    pub s3_region: String,
    /// The public half of a key pair there.
    pub s3_access_key: Option<String>,
    /// A reference to the secret half.
    pub s3_secret_key: Option<String>,
    /// A reference to the passphrase that encrypts.
    pub passphrase: Option<String>,
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            target: None,
            s3_endpoint: None,
            s3_region: "us-east-1".to_owned(),
            s3_access_key: None,
            s3_secret_key: None,
            passphrase: None,
        }
    }
}

impl BackupConfig {
    pub(super) fn check(&self) -> Result<(), Fault> {
        let secure = self.s3_endpoint.as_ref();
        if secure.is_some_and(|endpoint| !endpoint.starts_with("http://")) {
            return Err(Fault::new(
                "backup.s3_endpoint",
                "only plain HTTP is spoken: encryption on the way is the tailnet's or a proxy's",
                "write http://host:port",
            ));
        }
        Ok(())
    }

    /// Follows the references of this section; only the roles that back up and restore have a use for them.
    pub fn secrets(&self, environment: &Environment) -> Result<BackupSecrets, ConfigError> {
        let follow = |key: &str, reference: &Option<String>| {
            let found = reference
                .as_ref()
                .map(|text| secret::resolve(key, text, environment));
            let refused = |fault| ConfigError::from_fault(fault, Origin::Default);
            found.transpose().map_err(refused)
        };
        Ok(BackupSecrets {
            s3_secret_key: follow("backup.s3_secret_key", &self.s3_secret_key)?,
            passphrase: follow("backup.passphrase", &self.passphrase)?,
        })
    }
}

/// What the references of the section are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupSecrets {
    /// The secret half of the endpoint's key pair.
    pub s3_secret_key: Option<Secret>,
    /// What encrypts.
    pub passphrase: Option<Secret>,
}
