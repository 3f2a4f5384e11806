//! The arguments of `push`, `pull` and `sync`.

use crate::term::human;
use clap::Args;
use nebula_client::Remote;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct Push {
    /// Files and folders; - is standard input
    #[arg(value_name = "PATH", required = true)]
    pub paths: Vec<PathBuf>,
    /// bucket:, bucket:folder/ or bucket:key
    #[arg(value_name = "BUCKET:KEY", required = true)]
    pub to: Remote,
    /// How many files at once
    #[arg(long, short = 'n', value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub parallel: u8,
    /// At most so many connections for long files; as many are used as make it faster
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub lanes: u8,
    /// How long to go on trying when nothing gets on
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = human::parse_span)]
    pub patience: u64,
    /// Leave files and folders out whose names begin with a dot
    #[arg(long)]
    pub no_hidden: bool,
    /// The media type, instead of what the name suggests
    #[arg(long, value_name = "TYPE")]
    pub content_type: Option<String>,
    /// Send even what the node already has
    #[arg(long)]
    pub again: bool,
    /// Keep watching the folder: each file is sent once it has settled
    #[arg(long, conflicts_with = "again")]
    pub watch: bool,
    /// How long a file must be left alone before it is sent, while watching
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = human::parse_span, requires = "watch")]
    pub settle: u64,
    /// Watch from now on and after each login, as a user unit of systemd
    #[arg(long, requires = "watch", conflicts_with = "uninstall")]
    pub install: bool,
    /// Stop doing so
    #[arg(long, requires = "watch")]
    pub uninstall: bool,
}

#[derive(Debug, Args)]
pub struct Pull {
    /// An object, a folder/ or a whole bucket:
    #[arg(value_name = "BUCKET:KEY")]
    pub from: Remote,
    /// Where to; this folder if not given; - is standard output
    #[arg(value_name = "PATH", default_value = ".")]
    pub to: PathBuf,
    /// How many objects at once
    #[arg(long, short = 'n', value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub parallel: u8,
    /// At most so many connections for long objects; as many are used as make it faster
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub lanes: u8,
    /// How long to go on trying when nothing gets on
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = human::parse_span)]
    pub patience: u64,
    /// A version of the object
    #[arg(long, value_name = "ID")]
    pub version: Option<String>,
}

#[derive(Debug, Args)]
pub struct Sync {
    /// The source: a folder, or bucket:prefix
    #[arg(value_name = "FROM")]
    pub from: String,
    /// What becomes like it: bucket:prefix, or a folder
    #[arg(value_name = "TO")]
    pub to: String,
    /// Delete what the source does not have
    #[arg(long)]
    pub delete: bool,
    /// Even when the source is empty or most would be deleted
    #[arg(long, requires = "delete")]
    pub force: bool,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Compare by BLAKE3 instead of by modification time
    #[arg(long, short)]
    pub checksum: bool,
    /// Only files that fit, such as '*.mkv' or 'raw/**'; can be repeated
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,
    /// No files that fit; can be repeated
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// How many files at once
    #[arg(long, short = 'n', value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub parallel: u8,
}
