//! A private PostgreSQL: its own cluster in its own directory, reached through a unix socket, gone with its handle.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::wait;

/// Where Debian keeps the server's programs, which are not on the path.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A running server with one empty database; killed on drop.
#[derive(Debug)]
pub struct Postgres {
    process: Child,
    dir: TempDir,
}

/// The account a server runs as when we are root: PostgreSQL refuses to be root.
#[derive(Clone, Copy)]
struct Account {
    uid: u32,
    gid: u32,
}

impl Postgres {
    /// Makes a cluster and starts it; `None`, said loudly, when PostgreSQL is not installed.
    ///
    /// # Panics
    /// When an installed PostgreSQL does not start.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!("SKIPPED: PostgreSQL is not installed (apt-get install postgresql)");
            return None;
        };
        let dir = tempfile::tempdir().expect("a temporary directory");
        let account = account();
        if let Some(Account { uid, gid }) = account {
            chown(dir.path(), Some(uid), Some(gid)).expect("root may give a directory away");
        }
        let open = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(dir.path(), open).expect("the directory is ours");
        let data = dir.path().join("data");
        let made = as_account(account, &programs.join("initdb"), dir.path())
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=nebula",
                "--encoding=UTF8",
            ])
            .args(["--locale=C", "-D"])
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(
            made.status.success(),
            "initdb: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let process = serve(&programs, dir.path());
        Some(Self { process, dir })
    }

    /// Ends the server as a restart of it does: connections are cut, what was committed stays.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) {
        let id = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it runs");
        self.process.wait().expect("it is our child");
    }

    /// Starts it again with what it held.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        let programs = programs().expect("they were there before");
        self.process = serve(&programs, self.dir.path());
    }

    /// The address, as `NEBULA_DATABASE_URL` takes it.
    pub fn url(&self) -> String {
        let dir = self.dir.path().display().to_string().replace('/', "%2F");
        format!("postgres://nebula@{dir}/postgres")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Killing the first process alone would leave its children writing for a moment; asked at once (SIGQUIT), it ends them.
        let id = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::QUIT);
        let _ = self.process.wait();
    }
}

/// Starts a server on the cluster in `dir` and waits until it answers.
fn serve(programs: &Path, dir: &Path) -> Child {
    let account = account();
    // `fsync=off`: what is tested is our SQL, not the server's durability.
    let process = as_account(account, &programs.join("postgres"), dir)
        .arg("-D")
        .arg(dir.join("data"))
        .arg("-k")
        .arg(dir)
        .args(["-c", "listen_addresses=", "-c", "fsync=off"])
        .args(["-c", "shared_buffers=16MB", "-c", "max_connections=120"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("postgres runs");
    wait::until("PostgreSQL accepts connections", || {
        as_account(account, &programs.join("pg_isready"), dir)
            .args(["-q", "-U", "nebula", "-d", "postgres", "-h"])
            .arg(dir)
            .status()
            .is_ok_and(|status| status.success())
    });
    process
}

fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let newest = versions.map(|version| version.path().join("bin")).max();
    let path = std::env::var_os("PATH")?;
    let mut places: Vec<PathBuf> = newest.into_iter().collect();
    places.extend(std::env::split_paths(&path));
    places.into_iter().find(|dir| {
        ["initdb", "postgres", "pg_isready"]
            .iter()
            .all(|program| dir.join(program).exists())
    })
}

/// `postgres`, else `nobody`; `None` when we are not root and need no other account.
fn account() -> Option<Account> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        let line = users
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(str::parse::<u32>);
        Some(Account {
            uid: fields.next()?.ok()?,
            gid: fields.next()?.ok()?,
        })
    };
    find("postgres").or_else(|| find("nobody"))
}

fn as_account(account: Option<Account>, program: &Path, dir: &Path) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new(program);
    command.current_dir(dir).env_clear().stdin(Stdio::null());
    if let Some(Account { uid, gid }) = account {
        command.uid(uid).gid(gid);
    }
    command
}
