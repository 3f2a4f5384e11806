//! The units of systemd/ are good in the eyes of systemd itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// `systemd-analyze security` exposure, times ten, that a unit must not exceed.
///
/// The daemon's service gives its child the system calls of a sandbox and the render nodes; that is what keeps it
/// from a lower figure.
const EXPOSURE_MAX_TENTHS: u32 = 20;

/// Stand-ins for programs and users that are on a machine where Nebula is installed.
const PROGRAMS: [&str; 4] = [
    "/usr/lib/nebula/nebulad",
    "/usr/lib/nebula/nebula-activate",
    "/var/lib/nebula-deploy/releases/current/nebulad",
    "/var/lib/nebula-deploy/releases/%i/nebulad",
];

fn units_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

/// systemd's tool, or a loud word about its absence.
fn analyze(arguments: &[&str], folder: &Path) -> Option<Output> {
    let output = Command::new("systemd-analyze")
        .args(arguments)
        .env("SYSTEMD_UNIT_PATH", format!("{}:", folder.display()))
        .env("SYSTEMD_LOG_LEVEL", "warning")
        .output();
    if output.is_err() {
        println!("SKIPPED: systemd-analyze is not on this machine");
    }
    output.ok()
}

/// The units with their programs replaced by one that exists here; nothing else is changed.
fn units_on_this_machine() -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    for entry in fs::read_dir(units_folder()).expect("systemd/ is there") {
        let path = entry.expect("systemd/ can be read").path();
        let name = path.file_name().expect("a unit has a name");
        let mut text = fs::read_to_string(&path).expect("units are text");
        for program in PROGRAMS {
            text = text.replace(program, "/bin/true");
        }
        fs::write(folder.path().join(name), text).expect("the copy can be written");
    }
    folder
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    let folder = units_on_this_machine();
    for unit in [
        "nebulad.service",
        "nebulad.socket",
        "nebulad@current.service",
        "nebula-worker@one.service",
        "nebula-activate.service",
        "nebula-activate.path",
        "nebula-backup.service",
        "nebula-backup.timer",
    ] {
        // An instance is verified through a copy under its own name.
        let name = unit.replace("@current", "@").replace("@one", "@");
        let instance = folder.path().join(unit);
        if name != unit {
            fs::copy(folder.path().join(name), &instance).expect("the instance can be written");
        }
        let path = instance.to_str().expect("the path is UTF-8").to_owned();
        let Some(output) = analyze(&["verify", "--man=no", &path], folder.path()) else {
            return;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        // Units of the machine have faults of their own; only ours are looked at.
        let ours: Vec<&str> = said
            .lines()
            .filter(|line| line.contains("nebula"))
            .collect();
        assert!(output.status.success() && ours.is_empty(), "{unit}: {said}");
    }
}

#[test]
fn the_units_are_hardened() {
    let folder = units_on_this_machine();
    let threshold = EXPOSURE_MAX_TENTHS.to_string();
    for unit in [
        "nebulad.service",
        "nebulad@.service",
        "nebula-worker@.service",
        "nebula-activate.service",
        "nebula-backup.service",
    ] {
        let path = folder.path().join(unit);
        let arguments = [
            "security",
            "--offline=true",
            "--no-pager",
            "--threshold",
            &threshold,
            path.to_str().expect("the path is UTF-8"),
        ];
        let Some(output) = analyze(&arguments, folder.path()) else {
            return;
        };
        let table = String::from_utf8_lossy(&output.stdout);
        let figure = table.lines().last().unwrap_or_default();
        println!("{unit}: {figure}");
        assert!(output.status.success(), "{unit}: {figure}\n{table}");
    }
}

#[test]
fn scripts_are_sound() {
    let root = units_folder().join("..");
    for script in [
        "git-hooks/pre-receive",
        "git-hooks/post-receive",
        "packaging/nebula-activate",
        ".ci/run",
    ] {
        let checked = Command::new("bash")
            .arg("-n")
            .arg(root.join(script))
            .output()
            .expect("bash is there");
        assert!(
            checked.status.success(),
            "{script}: {}",
            String::from_utf8_lossy(&checked.stderr)
        );
    }
}
