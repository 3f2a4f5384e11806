//! Which program this is.

/// The version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The first twelve digits of the commit it was built from, or what `NEBULA_BUILD_ID` said at compile time.
///
/// A deploy asks a candidate for it, so that the release that answers is the release that was pushed.
pub const ID: &str = env!("NEBULA_BUILD_ID");

/// `0.1.0 (0123456789ab)`.
pub const VERSION_AND_ID: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("NEBULA_BUILD_ID"),
    ")"
);
