//! A private Redis: its own process in its own directory, reached through a unix socket, gone with its handle.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::wait;

/// A running `redis-server` without persistence; killed on drop.
#[derive(Debug)]
pub struct Redis {
    process: Option<Child>,
    dir: TempDir,
}

impl Redis {
    /// Starts one; `None`, said loudly, when `redis-server` is not installed.
    ///
    /// # Panics
    /// When an installed `redis-server` does not start.
    pub fn start() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut redis = Self { process: None, dir };
        if !redis.spawn() {
            eprintln!("SKIPPED: redis-server is not installed (apt-get install redis-server)");
            return None;
        }
        Some(redis)
    }

    /// Ends the server as a power cut would: all it held is lost.
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // An error means that it has ended already.
            let _ = process.kill();
            process.wait().expect("the server ends");
        }
    }

    /// Starts the server again, empty, at the same address.
    ///
    /// # Panics
    /// When it does not start.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.spawn(), "redis-server started before");
    }

    /// The address, as `NEBULA_REDIS_URL` takes it.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    fn spawn(&mut self) -> bool {
        let socket = self.socket();
        // A socket left by a killed server would look like a live one.
        let _ = std::fs::remove_file(&socket);
        let process = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no"])
            .arg("--unixsocket")
            .arg(&socket)
            .arg("--dir")
            .arg(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = process else { return false };
        self.process = Some(process);
        wait::until("redis-server listens", || {
            std::os::unix::net::UnixStream::connect(&socket).is_ok()
        });
        true
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}
