//! The words of the command line: one role each, and the two roles that only look (`check`, `doctor`).
//!
//! Promises: [`Command`] is the whole grammar of `nebulad`; every role takes `--config`, `--data-dir` and `--listen`
//! the same way.
//!
//! Refuses to know: how a role is played; that is the wiring's.

mod backup;
pub mod check;
pub mod doctor;
mod export;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::builder::Styles;
use clap::builder::styling::AnsiColor;
use clap::{Args, Parser, Subcommand};

pub use backup::{BackupArgs, RestoreArgs, TargetArgs};
pub use export::ExportArgs;

use crate::config::Flags;
use crate::telemetry::build::VERSION_AND_ID;

/// Headings in yellow, words to type in green, values in cyan; clap leaves colour out when nobody sees it.
const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Yellow.on_default().bold())
    .usage(AnsiColor::Yellow.on_default().bold())
    .literal(AnsiColor::Green.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

/// The Nebula appliance: storage, uploads, streaming and jobs in one process.
#[derive(Debug, Parser)]
#[command(name = "nebulad", version = VERSION_AND_ID, styles = STYLES, max_term_width = 100)]
#[command(
    after_help = "Without a configuration `nebulad serve` listens on 127.0.0.1:8000 and keeps its data in your \
data home.\n`nebulad check --print-defaults` prints every key of the configuration with its meaning."
)]
pub struct Cli {
    /// What to be.
    #[command(subcommand)]
    pub command: Command,
    /// Where the configuration is, and what wins over it.
    #[command(flatten)]
    pub common: Common,
}

/// What every role takes.
#[derive(Debug, Clone, Default, Args)]
pub struct Common {
    /// The configuration file (also NEBULA_CONFIG).
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data directory (also NEBULA_DATA_DIR).
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The address of every door (also NEBULA_LISTEN).
    #[arg(long, global = true, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
}

impl From<&Common> for Flags {
    fn from(common: &Common) -> Self {
        Self {
            config: common.config.clone(),
            data_dir: common.data_dir.clone(),
            listen: common.listen,
        }
    }
}

/// The roles.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the appliance.
    Serve(ServeArgs),
    /// Run media jobs of an appliance elsewhere.
    Worker(WorkerArgs),
    /// Look at the configuration and what it names, without touching anything.
    Check(CheckArgs),
    /// Bring the catalog to the schema of this version.
    Migrate,
    /// Make, list and revoke access keys, and replace the keys of the appliance itself.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Describe this machine, for a person or for a report.
    Doctor(DoctorArgs),
    /// Compare rows and files, both ways.
    Fsck(FsckArgs),
    /// Read every stored byte and set aside what is damaged; beside a running daemon or without one.
    Scrub(ScrubArgs),
    /// Back everything up, to a directory or an S3 endpoint; the daemon may run meanwhile.
    Backup(BackupArgs),
    /// Make an appliance from a backup, in an empty data directory.
    Restore(RestoreArgs),
    /// Write the objects of a bucket as plain files; the daemon may run meanwhile.
    Export(ExportArgs),
    /// Move every file off a disk while the appliance serves, so that the disk can be removed.
    Drain(DrainArgs),
}

/// `nebulad serve`.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Come as a deploy candidate: live beside the running daemon and replace it when it has drained.
    #[arg(long)]
    pub candidate: bool,
    /// Answer health questions on this private unix socket as well.
    #[arg(long, value_name = "SOCKET")]
    pub health: Option<PathBuf>,
}

/// `nebulad worker`.
#[derive(Debug, Clone, Default, Args)]
pub struct WorkerArgs {
    /// The appliance whose jobs to run; access key and secret come from NEBULA_ACCESS_KEY and NEBULA_SECRET_KEY.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8000")]
    pub appliance: String,
    /// The name of this worker in lists; without it, the host name.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// `nebulad check`.
#[derive(Debug, Clone, Default, Args)]
pub struct CheckArgs {
    /// Print every key with its meaning and default, and stop.
    #[arg(long)]
    pub print_defaults: bool,
    /// Ask the instance behind this private socket whether it is ready, instead of looking at the configuration.
    #[arg(long, value_name = "SOCKET")]
    pub instance: Option<PathBuf>,
    /// With --instance: the build it must be.
    #[arg(long, value_name = "ID", requires = "instance")]
    pub build: Option<String>,
}

/// `nebulad keys`.
#[derive(Debug, Clone, Subcommand)]
pub enum KeysCommand {
    /// Make a key pair and print it once.
    Create {
        /// What it is for.
        #[arg(long)]
        name: String,
        /// own, read, write or admin; own makes buckets and rules those it made.
        #[arg(long, default_value = "write")]
        role: String,
        /// Buckets it is good for, as in `media` or `inbox-*`; without it, all.
        #[arg(long = "bucket", value_name = "PATTERN")]
        buckets: Vec<String>,
        /// For a worker on another machine: it takes jobs and reaches what they need, and no bucket.
        #[arg(long, conflicts_with_all = ["role", "buckets"])]
        worker: bool,
        /// Days that it works; without it, for ever.
        #[arg(long, value_name = "DAYS")]
        expires_days: Option<u32>,
    },
    /// List the keys, without their secrets.
    List {
        /// One JSON array.
        #[arg(long)]
        json: bool,
    },
    /// Switch a key off; `enable` switches it on again.
    Disable {
        /// The access key.
        access_key: String,
    },
    /// Switch a key on again.
    Enable {
        /// The access key.
        access_key: String,
    },
    /// Bound what may be stored with a key; what is not given has no bound.
    Quota {
        /// The access key.
        access_key: String,
        /// Bytes, old versions counted.
        #[arg(long, value_name = "N")]
        bytes: Option<u64>,
        /// Objects, old versions counted.
        #[arg(long, value_name = "N")]
        objects: Option<u64>,
    },
    /// End a key at once.
    Revoke {
        /// The access key.
        access_key: String,
    },
    /// Replace the key that wraps the keys of encrypted objects; safe while the appliance serves, and to be repeated if it is cut off.
    RotateEncryption,
    /// Replace master.key and seal everything anew that it seals; safe while the appliance serves, and to be repeated if it is cut off.
    RotateMaster,
}

/// `nebulad doctor`.
#[derive(Debug, Clone, Default, Args)]
pub struct DoctorArgs {
    /// Try each way of transcoding on this machine's hardware.
    #[arg(long)]
    pub hw: bool,
}

/// `nebulad fsck`.
#[derive(Debug, Clone, Default, Args)]
pub struct FsckArgs {
    /// Read every stored byte and compare it with its checksum.
    #[arg(long)]
    pub deep: bool,
    /// Set right what was found; without it, say what would be done. Not while a daemon serves.
    #[arg(long)]
    pub repair: bool,
    /// With --repair: delete the object versions that have lost bytes, which nothing can bring back.
    #[arg(long, requires = "repair")]
    pub delete_damaged: bool,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `nebulad drain`.
#[derive(Debug, Clone, Default, Args)]
pub struct DrainArgs {
    /// The name of the disk in the configuration; `main` is the data directory's own.
    pub disk: String,
    /// Bytes per second at most; without it, as fast as the disks allow.
    #[arg(long, value_name = "BYTES")]
    pub bytes_per_s: Option<u64>,
    /// Let new files go there again instead.
    #[arg(long)]
    pub undo: bool,
}

/// `nebulad scrub`.
#[derive(Debug, Clone, Default, Args)]
pub struct ScrubArgs {
    /// Begin anew, even when a walk was interrupted and could go on.
    #[arg(long)]
    pub afresh: bool,
    /// Bytes per second at most; without it, as fast as the disk allows.
    #[arg(long, value_name = "BYTES")]
    pub bytes_per_s: Option<u64>,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stand_before_or_after_the_role() {
        for line in [
            ["nebulad", "--listen", "127.0.0.1:1", "serve"],
            ["nebulad", "serve", "--listen", "127.0.0.1:1"],
        ] {
            let cli = Cli::try_parse_from(line).expect("both are good");
            assert_eq!(Flags::from(&cli.common).listen.map(|at| at.port()), Some(1));
        }
        assert!(Cli::try_parse_from(["nebulad"]).is_err());
    }
}
