//! What a caller of this room can act on.

use super::files::FileError;
use crate::catalog::CatalogError;

/// Why an identity cannot be told, or a change to keys and links is refused.
///
/// A wrong credential is not an error but `Ok(None)`: whoever guesses learns nothing from it.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The catalog cannot say.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A secret file of the data directory cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The catalog was sealed by another master key.
    #[error(
        "master.key in the data directory is not the one that sealed the catalog's access keys; restore the old file from a backup, or start with an empty catalog"
    )]
    MasterKey,
    /// tailscaled did not answer about an address of the tailnet; nobody is believed meanwhile.
    #[error("tailscaled does not answer: {0}; look at: systemctl status tailscaled")]
    Tailnet(String),
    /// The request makes no sense; the text says what to change.
    #[error("{0}")]
    Invalid(String),
    /// The caller would gain more than it has.
    #[error("{0}")]
    Forbidden(String),
}
