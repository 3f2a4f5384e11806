//! The words of `nebulad backup` and `nebulad restore`.

use std::path::PathBuf;

use clap::Args;

/// Where a backup lies, and what opens it.
#[derive(Debug, Clone, Default, Args)]
pub struct TargetArgs {
    /// A directory, or s3://BUCKET/PREFIX; without it, backup.target of the configuration.
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// The endpoint of an s3:// target (also AWS_ENDPOINT_URL); the key pair comes from AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY, or from the configuration.
    #[arg(long, value_name = "URL")]
    pub s3_endpoint: Option<String>,
    /// The endpoint's region (also AWS_REGION).
    #[arg(long, value_name = "NAME")]
    pub s3_region: Option<String>,
    /// A file whose content encrypts the backup; without it, backup.passphrase of the configuration.
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `nebulad backup`.
#[derive(Debug, Clone, Default, Args)]
#[command(
    after_help = "The daemon may run meanwhile. Only what the target lacks is sent; a backup that was interrupted goes on where it was."
)]
pub struct BackupArgs {
    /// Where it lies.
    #[command(flatten)]
    pub at: TargetArgs,
    /// Show what the target holds, and stop.
    #[arg(long, conflicts_with_all = ["verify", "prune"])]
    pub list: bool,
    /// Read a snapshot through, the newest or the one of --snapshot, and compare every byte with its hash.
    #[arg(long, conflicts_with = "prune")]
    pub verify: bool,
    /// Keep the newest KEEP snapshots, and remove the others with what only they need.
    #[arg(long, value_name = "KEEP", value_parser = clap::value_parser!(u32).range(1..))]
    pub prune: Option<u32>,
    /// With --verify: which snapshot.
    #[arg(long, value_name = "ID", requires = "verify")]
    pub snapshot: Option<String>,
    /// Take master key and root credentials along although the target is not encrypted.
    #[arg(long)]
    pub include_secrets: bool,
    /// Take indexes, posters and renditions along as well; without them, a restore makes them again.
    #[arg(long)]
    pub include_renditions: bool,
}

/// `nebulad restore`.
#[derive(Debug, Clone, Default, Args)]
#[command(
    after_help = "The data directory (--data-dir) and the database must hold nothing. A restore that was interrupted goes on where it was."
)]
pub struct RestoreArgs {
    /// Where it lies.
    #[command(flatten)]
    pub at: TargetArgs,
    /// Which snapshot; without it, the newest.
    #[arg(long, value_name = "ID")]
    pub snapshot: Option<String>,
}
