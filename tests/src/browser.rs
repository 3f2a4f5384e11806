//! A real browser, and the scripts that drive it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Appliance;

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

/// A script of this folder, to be given its arguments; it goes when nobody waits for it any more.
pub fn script(folder: &Path, name: &str) -> tokio::process::Command {
    let mut node = tokio::process::Command::new("node");
    node.arg(name)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    node
}

/// The script of somebody who signs in at the console with the first key: it is given the appliance's address and the browser,
/// then whatever the caller adds; `None` when this build has no console, which is said.
///
/// # Panics
/// When the appliance does not answer.
pub async fn person(
    appliance: &Appliance,
    folder: &Path,
    name: &str,
) -> Option<tokio::process::Command> {
    let page = reqwest::get(appliance.at("/-/")).await.expect("an answer");
    let page = page.text().await.expect("a page");
    if !page.contains("<script type=\"module\"") {
        eprintln!("SKIPPED: this build has no console in it (make console, then build again)");
        return None;
    }
    let mut script = script(folder, name);
    script
        .arg(appliance.url())
        .arg(CHROMIUM)
        .env("NEBULA_ACCESS_KEY", &appliance.key().access_key)
        .env("NEBULA_SECRET_KEY", &appliance.key().secret_key);
    Some(script)
}

/// Runs a script to its end, and gives the line of JSON that it tells.
///
/// # Panics
/// When it fails, with what it complained of.
pub async fn told(script: &mut tokio::process::Command) -> Value {
    let output = script.output().await.expect("node starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let told = serde_json::from_slice(&output.stdout);
    told.unwrap_or_else(|error| panic!("no JSON was told: {error}: {said}"))
}
