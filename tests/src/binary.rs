//! Finds the programs of this build.

use std::path::PathBuf;

/// Where the programs lie when they were not built beside the tests.
const OVERRIDE: &str = "NEBULA_BIN_DIR";

/// The path of a program that was built beside the running test, or in the directory that `NEBULA_BIN_DIR` names.
///
/// # Panics
/// When it was not built; a test of the whole must not pass without the whole.
pub fn binary(name: &str) -> PathBuf {
    let directory = std::env::var_os(OVERRIDE).map_or_else(profile, PathBuf::from);
    let path = directory.join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace --bins` first, or `make test`",
        path.display()
    );
    path
}

/// `target/PROFILE`, where this test was built.
fn profile() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    test.parent()
        .and_then(std::path::Path::parent)
        .expect("tests lie in target/PROFILE/deps")
        .to_owned()
}

/// A directory for what may be kept from one run of the tests to the next.
pub(crate) fn cache(name: &str) -> PathBuf {
    let path = profile().join(name);
    std::fs::create_dir_all(&path).expect("the build's directory takes files");
    path
}
