//! The configuration: one TOML file, one struct per section, no section without a default.
//!
//! Promises: [`load`] gives a whole and checked [`Config`], or one [`ConfigError`] that a person can act on at once
//! (file, line, reason, cure). Nothing is guessed: an unknown key, an unknown `NEBULA_*` variable or a value out of
//! its bounds stops the start. A flag wins over the environment, the environment over the file, the file over the
//! default; `packaging/nebula.toml` describes every key and is the default.
//!
//! Data passes once: [`Flags`] and an [`Environment`] go in, plain structs come out and are handed to the rooms by
//! the wiring. No room reads the environment or the file by itself.
//!
//! Secrets never stand in the file: they are referred to as `file:`, `env:` or `credential:` (see [`secret`]) and
//! come out as a [`Secret`], whose `Debug` shows nothing.
//!
//! Refuses to know: what any key does.

mod backup;
mod data;
mod database;
mod environment;
mod error;
mod file;
mod identity;
mod limits;
mod log;
mod media;
mod queue;
mod scrub;
pub mod secret;
mod server;
mod suggest;
mod webhook;
mod worker;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use backup::{BackupConfig, BackupSecrets};
pub use data::{DataConfig, DiskConfig};
pub use database::DatabaseConfig;
pub use environment::{Environment, OVERRIDES};
pub use error::{ConfigError, Origin};
pub use identity::{IdentityConfig, Tailscale};
pub use limits::LimitsConfig;
pub use log::{LogConfig, LogFormat};
pub use media::{MediaConfig, Rung};
pub use queue::QueueConfig;
pub use scrub::ScrubConfig;
pub use secret::Secret;
pub use server::ServerConfig;
pub use webhook::{Webhook, WebhookConfig};
pub use worker::{Acceleration, WorkerConfig};

use error::Fault;

/// The documented default configuration, as shipped in `packaging/nebula.toml`.
pub const DOCUMENTED: &str = include_str!("../../../packaging/nebula.toml");

/// Everything the daemon can be told, whole and checked.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[server]`: where to listen and how to be called.
    pub server: ServerConfig,
    /// `[data]`: the data directory and its space.
    pub data: DataConfig,
    /// `[database]`: where the catalog is.
    pub database: DatabaseConfig,
    /// `[scrub]`: how often every stored byte is read.
    pub scrub: ScrubConfig,
    /// `[queue]`: how jobs reach workers.
    pub queue: QueueConfig,
    /// `[worker]`: how many jobs run here, and with what.
    pub worker: WorkerConfig,
    /// `[media]`: inbox, ladder and the room that renditions may take.
    pub media: MediaConfig,
    /// `[identity]`: who is believed.
    pub identity: IdentityConfig,
    /// `[log]`: what is written, and how.
    pub log: LogConfig,
    /// `[limits]`: bounds on strangers.
    pub limits: LimitsConfig,
    /// `[[webhook]]`: who is told what happens to objects.
    pub webhook: Vec<WebhookConfig>,
    /// `[backup]`: where backups go.
    pub backup: BackupConfig,
    /// Resolved at load; never read from or written to a file.
    #[serde(skip)]
    pub secrets: Secrets,
    /// The file that was read, if one was.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// Who chose the data directory, for the message when it turns out to be unusable.
    #[serde(skip)]
    pub dir_origin: Option<Origin>,
}

/// What the references in the file and the environment resolved to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Secrets {
    /// `sqlite:///…/nebula.db` or `postgres://…`; always set after [`load`].
    pub database_url: Secret,
    /// `redis://…` when jobs are carried by Redis.
    pub redis_url: Option<Secret>,
    /// The preset root key pair; none lets the first start create one.
    pub root: Option<RootKeys>,
    /// The webhooks with their secrets.
    pub webhooks: Vec<Webhook>,
}

/// A root key pair chosen by the operator.
#[derive(Debug, Clone, PartialEq)]
pub struct RootKeys {
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret_key: Secret,
}

/// What the command line said; each wins over environment and file.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
}

/// Reads, overlays, resolves and checks the configuration.
pub fn load(flags: &Flags, environment: &Environment) -> Result<Config, ConfigError> {
    environment.refuse_unknown()?;
    let path = file_to_read(flags, environment);
    let source = path.as_deref().map(file::Source::read).transpose()?;
    let mut config = match &source {
        Some(source) => source.parse()?,
        None => Config::default(),
    };
    config.file = path;

    let origins = overlay(&mut config, flags, environment)?;
    let origin_of = |key: &str| {
        origins
            .iter()
            .find(|(overlaid, _)| *overlaid == key)
            .map(|(_, origin)| origin.clone())
            .or_else(|| source.as_ref().and_then(|source| source.locate(key)))
            .unwrap_or(Origin::Default)
    };
    config.dir_origin = Some(origin_of("data.dir"));
    config
        .check()
        .and_then(|()| resolve(&mut config, environment))
        .map_err(|fault| {
            let origin = origin_of(&fault.key);
            ConfigError::from_fault(fault, origin)
        })?;
    Ok(config)
}

impl Config {
    /// Checks each section's bounds; the first fault is the answer.
    fn check(&self) -> Result<(), Fault> {
        self.server.check()?;
        self.data.check()?;
        self.scrub.check()?;
        self.database.check()?;
        self.queue.check()?;
        self.worker.check()?;
        self.media.check()?;
        self.identity.check()?;
        self.log.check()?;
        self.limits.check()?;
        webhook::check(&self.webhook)?;
        self.backup.check()
    }

    /// Creates the data directory if it is missing and proves that it can be written.
    ///
    /// Separate from [`load`], because a dry run must be able to look without touching.
    pub fn prepare_data_dir(&self) -> Result<(), ConfigError> {
        self.data.prepare().map_err(|fault| {
            let origin = self.dir_origin.clone().unwrap_or(Origin::Default);
            ConfigError::from_fault(fault, origin)
        })
    }

    /// Where a relative name inside the data directory lies.
    pub fn in_data_dir(&self, name: impl AsRef<Path>) -> PathBuf {
        self.data.dir.join(name)
    }
}

/// `--config`, `NEBULA_CONFIG`, else `nebula.toml` in systemd's configuration directory when it exists.
fn file_to_read(flags: &Flags, environment: &Environment) -> Option<PathBuf> {
    flags
        .config
        .clone()
        .or_else(|| environment.get("NEBULA_CONFIG").map(PathBuf::from))
        .or_else(|| {
            let path = Path::new(environment.get("CONFIGURATION_DIRECTORY")?).join("nebula.toml");
            path.exists().then_some(path)
        })
}

/// Lays environment and flags over the file; returns where each overlaid key came from.
fn overlay(
    config: &mut Config,
    flags: &Flags,
    environment: &Environment,
) -> Result<Vec<(&'static str, Origin)>, ConfigError> {
    let mut origins = Vec::new();
    if let Some(text) = environment.get("NEBULA_LISTEN") {
        origins.push(("server.listen", Origin::Variable("NEBULA_LISTEN")));
        config.server.listen = text.parse().map_err(|_| {
            ConfigError::from_fault(server::bad_listen(text), Origin::Variable("NEBULA_LISTEN"))
        })?;
    }
    if let Some(dir) = environment.get("NEBULA_DATA_DIR") {
        origins.push(("data.dir", Origin::Variable("NEBULA_DATA_DIR")));
        config.data.dir = PathBuf::from(dir);
    }
    if let Some(filter) = environment.get("NEBULA_LOG") {
        origins.push(("log.filter", Origin::Variable("NEBULA_LOG")));
        filter.clone_into(&mut config.log.filter);
    }
    for (key, name) in [
        ("database.url", "NEBULA_DATABASE_URL"),
        ("queue.redis_url", "NEBULA_REDIS_URL"),
        ("identity.root_access_key", "NEBULA_ROOT_ACCESS_KEY"),
        ("identity.root_secret_key", "NEBULA_ROOT_SECRET_KEY"),
    ] {
        if environment.get(name).is_some() {
            origins.push((key, Origin::Variable(name)));
        }
    }
    if let Some(listen) = flags.listen {
        origins.insert(0, ("server.listen", Origin::Flag("--listen")));
        config.server.listen = listen;
    }
    if let Some(dir) = &flags.data_dir {
        origins.insert(0, ("data.dir", Origin::Flag("--data-dir")));
        config.data.dir.clone_from(dir);
    }
    if config.data.dir.as_os_str().is_empty() {
        config.data.dir = data::default_dir(environment)
            .map_err(|fault| ConfigError::from_fault(fault, Origin::Default))?;
    }
    Ok(origins)
}

/// Follows every reference to a secret, the environment's own values first.
fn resolve(config: &mut Config, environment: &Environment) -> Result<(), Fault> {
    config.secrets.database_url = match environment.get("NEBULA_DATABASE_URL") {
        Some(url) => Secret::new(url),
        None => config.database.resolve(&config.data.dir, environment)?,
    };
    database::check_scheme(config.secrets.database_url.expose())?;
    config.secrets.redis_url = match environment.get("NEBULA_REDIS_URL") {
        Some(url) => Some(Secret::new(url)),
        None => config.queue.resolve(environment)?,
    };
    if let Some(url) = &config.secrets.redis_url {
        queue::check_scheme(url.expose())?;
    }
    config.secrets.root = config.identity.resolve_root(environment)?;
    config.secrets.webhooks = webhook::resolve(&config.webhook, environment)?;
    Ok(())
}

#[cfg(test)]
mod tests;
