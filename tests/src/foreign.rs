//! Clients of others that speak tus, run as their users run them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder of their scripts, when node and they are there. Otherwise it says what is missing.
pub fn tus_js_client() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    let node = Command::new("node")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !node.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: node is not installed (apt-get install nodejs)");
    } else if !folder.join("node_modules/tus-js-client").exists() {
        eprintln!("SKIPPED: the clients of others are missing (npm --prefix tests/peers ci)");
    } else {
        return Some(folder);
    }
    None
}

/// The program around `tus_async_client`, when it was built. Otherwise it says what is missing.
pub fn tus_async_client() -> Option<PathBuf> {
    let below = "../target/tus-async-client/debug/nebula-tus-async-client";
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join(below);
    if !program.exists() {
        eprintln!("SKIPPED: tus_async_client is not built (packaging/prepare test)");
        return None;
    }
    Some(program)
}
