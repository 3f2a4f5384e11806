//! A real browser, and the scripts that drive it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian's.
pub const CHROMIUM: &str = "/usr/bin/chromium";

/// The folder of the scripts, when all is there that they need; `library` is what the caller's loads. Otherwise it says what is missing.
pub fn scripts(library: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("browser");
    let node = Command::new("node")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !node.is_ok_and(|status| status.success()) {
        eprintln!("SKIPPED: node is not installed (apt-get install nodejs)");
    } else if !Path::new(CHROMIUM).exists() {
        eprintln!("SKIPPED: Chromium is not installed (apt-get install chromium)");
    } else if !folder.join("node_modules").join(library).exists() {
        eprintln!(
            "SKIPPED: the browser tests' libraries are missing (npm --prefix tests/browser ci)"
        );
    } else {
        return Some(folder);
    }
    None
}
