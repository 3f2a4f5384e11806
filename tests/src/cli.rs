//! The `nebula` command with a home of its own.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::binary;

/// A user of the command: own profiles, own memory of unfinished uploads.
#[derive(Debug)]
pub struct Cli {
    home: TempDir,
    url: String,
    access_key: String,
    secret_key: String,
}

/// How one call went.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it said.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Cli {
    pub(crate) fn new(url: &str, access_key: &str, secret_key: &str) -> Self {
        Self {
            home: tempfile::tempdir().expect("a temporary directory"),
            url: url.to_owned(),
            access_key: access_key.to_owned(),
            secret_key: secret_key.to_owned(),
        }
    }

    /// The user's home, where relative paths begin.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A path in the home.
    pub fn at(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// `nebula login`, with the key pair from the environment.
    pub async fn login(&self) {
        let mut command = self.command(&["login", &self.url]);
        command
            .env("NEBULA_ACCESS_KEY", &self.access_key)
            .env("NEBULA_SECRET_KEY", &self.secret_key);
        let ran = Ran::from(command.output().await.expect("nebula runs"));
        assert_eq!(ran.code, Some(0), "nebula login: {ran:?}");
    }

    /// The call, not yet made. What is left of it dies with its handle.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("nebula"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.home.path())
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Makes the call and says how it went.
    ///
    /// # Panics
    /// When the program does not run at all.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().await;
        output.expect("nebula runs").into()
    }

    /// Makes a call that must succeed, and gives what it said.
    ///
    /// # Panics
    /// When it does not succeed.
    pub async fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments).await;
        assert_eq!(ran.code, Some(0), "nebula {arguments:?}: {ran:?}");
        ran.stdout
    }

    /// The same with `--json`: one value a line.
    ///
    /// # Panics
    /// When it does not succeed, or says something that is no JSON.
    pub async fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let arguments = [arguments, &["--json"]].concat();
        let said = self.ok(&arguments).await;
        said.lines()
            .map(|line| {
                serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("nebula {arguments:?}: {error}: {line}"))
            })
            .collect()
    }

    /// Starts a call and leaves it running, its output kept for later.
    ///
    /// # Panics
    /// When the program does not run at all.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nebula runs")
    }
}
