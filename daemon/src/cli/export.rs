//! The words of `nebulad export`.

use std::path::PathBuf;

use clap::Args;

/// `nebulad export`.
#[derive(Debug, Clone, Default, Args)]
#[command(
    after_help = "The daemon may run meanwhile. What files cannot say is in DIR/.nebula/objects.jsonl, a line of JSON for each object.\n\
A key that is no path is written with %: the field `path` of its line says how, and README.md has the table."
)]
pub struct ExportArgs {
    /// The bucket.
    #[arg(value_name = "BUCKET")]
    pub bucket: String,
    /// Where its objects go; what is there already is not written again.
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// Older versions too, below DIR/.nebula/versions.
    #[arg(long)]
    pub versions: bool,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}
