//! The real daemon at its start and its end: what it says when it cannot start, and what the service manager hears.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// For a start or an end.
const PATIENCE: Duration = Duration::from_secs(60);

fn nebulad(place: &Path) -> Command {
    let mut command = Command::new(nebula_tests::binary("nebulad"));
    command
        .env_clear()
        .env("HOME", place)
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null());
    command
}

fn serve(place: &Path) -> Command {
    let mut command = nebulad(place);
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(place.join("data"));
    command
}

/// Runs something that must refuse, and gives its complaint.
fn complaint(command: &mut Command) -> String {
    let Output {
        status,
        stderr,
        stdout,
    } = command.output().unwrap();
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert!(
        !status.success(),
        "it started: {said}{}",
        String::from_utf8_lossy(&stdout)
    );
    said
}

/// A daemon that says READY to our socket.
struct Daemon {
    child: Child,
    manager: UnixDatagram,
    log: BufReader<ChildStderr>,
    place: TempDir,
}

impl Daemon {
    fn start(environment: &[(&str, &str)]) -> Self {
        let place = tempfile::tempdir().unwrap();
        let socket = place.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut child = serve(place.path())
            .env("NOTIFY_SOCKET", &socket)
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let this = Self {
            child,
            manager,
            log,
            place,
        };
        this.hear("READY=1");
        this
    }

    /// Reads notifications until one has the line `wanted`.
    fn hear(&self, wanted: &str) {
        let mut buffer = [0; 4096];
        loop {
            let length = self
                .manager
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("{wanted} was not said: {error}"));
            let text = String::from_utf8_lossy(&buffer[..length]);
            if text.lines().any(|line| line == wanted) {
                return;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Reads the log up to a line that contains `wanted`.
    fn read_until(&mut self, wanted: &str) {
        let mut line = String::new();
        while self.log.read_line(&mut line).unwrap() > 0 {
            if line.contains(wanted) {
                return;
            }
            line.clear();
        }
        panic!("`{wanted}` is not in the log");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn ready_watchdog_and_stopping_are_said_in_their_order() {
    let mut daemon = Daemon::start(&[("WATCHDOG_USEC", "3000000")]);
    daemon.hear("WATCHDOG=1");
    daemon.signal(Signal::TERM);
    daemon.hear("STOPPING=1");
    assert!(daemon.child.wait().unwrap().success());
}

#[test]
fn sigint_ends_it_as_well() {
    let mut daemon = Daemon::start(&[]);
    daemon.signal(Signal::INT);
    assert!(daemon.child.wait().unwrap().success());
}

#[test]
fn sighup_reads_the_log_filter_again() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("nebula.toml");
    fs::write(&file, "[log]\nfilter = \"info\"\n").unwrap();
    let mut daemon = Daemon::start(&[("NEBULA_CONFIG", file.to_str().unwrap())]);
    fs::write(&file, "[log]\nfilter = \"info,nebula_daemon=debug\"\n").unwrap();
    daemon.signal(Signal::HUP);
    daemon.hear("READY=1");
    daemon.read_until("the log filter is now info,nebula_daemon=debug");
    fs::write(&file, "[log]\nfilter = \"a=b=c\"\n").unwrap();
    daemon.signal(Signal::HUP);
    daemon.hear("READY=1");
    daemon.read_until("nothing was changed");
}

#[test]
fn a_second_daemon_in_the_same_directory_is_told_who_the_first_is() {
    let daemon = Daemon::start(&[]);
    let said = complaint(&mut serve(daemon.place.path()));
    assert!(said.contains("another daemon lives in"), "{said}");
    assert!(
        said.contains(&format!("pid {}", daemon.child.id())),
        "{said}"
    );
}

#[test]
fn a_port_in_use_is_named() {
    let place = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let mut command = nebulad(place.path());
    command
        .args(["serve", "--listen", &address.to_string(), "--data-dir"])
        .arg(place.path());
    let said = complaint(&mut command);
    assert!(
        said.contains(&format!("cannot listen on {address}: the port is in use")),
        "{said}"
    );
}

#[test]
fn an_unwritable_directory_is_named_with_its_cure() {
    let place = tempfile::tempdir().unwrap();
    // Not even root may make a directory here.
    let mut command = nebulad(place.path());
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        "/sys/kernel/nebula",
    ]);
    let said = complaint(&mut command);
    for words in [
        "/sys/kernel/nebula cannot be used",
        "flag --data-dir",
        "cure",
    ] {
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_bad_configuration_names_file_line_reason_and_cure_on_every_role() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("nebula.toml");
    fs::write(&file, "[server]\nlistne = \"127.0.0.1:0\"\n").unwrap();
    for role in ["serve", "check", "migrate", "doctor"] {
        let said = complaint(nebulad(place.path()).arg(role).arg("--config").arg(&file));
        for words in [
            "nebula.toml, line 2",
            "unknown key `listne`",
            "did you mean `listen`?",
        ] {
            assert!(said.contains(words), "{role}: {said}");
        }
    }
    assert!(
        !place.path().join(".local").exists(),
        "a start that failed left something behind"
    );
}

#[test]
fn an_unknown_variable_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let said = complaint(serve(place.path()).env("NEBULA_LISTN", "127.0.0.1:0"));
    assert!(said.contains("did you mean NEBULA_LISTEN?"), "{said}");
}

#[test]
fn the_version_names_the_build() {
    let place = tempfile::tempdir().unwrap();
    let output = nebulad(place.path()).arg("--version").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let id = said
        .trim()
        .rsplit_once('(')
        .unwrap()
        .1
        .trim_end_matches(')');
    assert_eq!(id.len(), 12, "{said}");
    assert!(id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{said}");
}

#[test]
fn check_touches_nothing() {
    let place = tempfile::tempdir().unwrap();
    let data = place.path().join("data");
    let mut command = nebulad(place.path());
    command.arg("check").arg("--data-dir").arg(&data);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("(will be made)"), "{said}");
    assert!(!data.exists());
}
