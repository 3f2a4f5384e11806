//! Finds the programs of this build.

use std::path::PathBuf;

/// The path of a program that was built beside the running test.
///
/// # Panics
/// When it was not built; a test of the whole must not pass without the whole.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test
        .parent()
        .and_then(std::path::Path::parent)
        .expect("tests lie in target/PROFILE/deps");
    let path = profile.join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace --bins` first, or `make test`",
        path.display()
    );
    path
}
