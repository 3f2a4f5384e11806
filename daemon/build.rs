//! Tells the daemon which commit it was built from, and notices when the web console was built.

use std::path::Path;
use std::process::Command;

/// As long as the abbreviation that a deploy uses for a release.
const ID_LEN: usize = 12;

fn main() {
    println!("cargo::rerun-if-env-changed=NEBULA_BUILD_ID");
    println!("cargo::rerun-if-changed=build.rs");
    // A console that was built, built anew or removed is embedded anew. A path that is not there would mean "always".
    let console = ["console/dist", "console"]
        .into_iter()
        .find(|path| Path::new(path).exists());
    println!("cargo::rerun-if-changed={}", console.unwrap_or("build.rs"));
    // A debug build keeps the commit of its first build rather than compiling the crate again at each commit.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release")
        && let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"])
    {
        println!("cargo::rerun-if-changed={head}");
    }
    let id = std::env::var("NEBULA_BUILD_ID")
        .ok()
        .filter(|id| !id.is_empty())
        .or_else(|| git(&["rev-parse", "HEAD"]))
        .unwrap_or_else(|| "0".repeat(ID_LEN));
    let id: String = id
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(ID_LEN)
        .collect();
    println!("cargo::rustc-env=NEBULA_BUILD_ID={id}");
}

/// The one line that git answers, if there is a git and a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}
