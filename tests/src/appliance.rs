//! A whole appliance: the real `nebulad` with its own data directory on a free port, gone with its handle.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use nebula_client::{Client, Credentials};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{Cli, binary, wait};

/// What an appliance is started with unless a test says otherwise: no tailnet, and a small reserve for small disks.
const CONFIG: &str = "[identity]\ntailscale = \"off\"\n[data]\nreserve_bytes = 16777216\n";
/// Lines of the log that a failure shows.
const LOG_LINES: usize = 80;

/// How an appliance is to be started.
#[derive(Debug)]
pub struct Setup {
    config: String,
    environment: Vec<(String, String)>,
    data_dir: Option<PathBuf>,
    under: Vec<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            config: CONFIG.to_owned(),
            environment: Vec::new(),
            data_dir: None,
            under: Vec::new(),
        }
    }
}

impl Setup {
    /// More of the configuration file; `[data]` and `[identity]` stand in it already.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// PostgreSQL instead of SQLite.
    #[must_use]
    pub fn database(self, url: &str) -> Self {
        self.env("NEBULA_DATABASE_URL", url)
    }

    /// Redis beside the embedded queue.
    #[must_use]
    pub fn redis(self, url: &str) -> Self {
        self.env("NEBULA_REDIS_URL", url)
    }

    /// A data directory that someone else removes.
    #[must_use]
    pub fn data_dir(mut self, dir: &Path) -> Self {
        self.data_dir = Some(dir.to_owned());
        self
    }

    /// The words of a program that runs the daemon and becomes it, as `strace -D` does.
    #[must_use]
    pub fn under(mut self, words: &[PathBuf]) -> Self {
        self.under = words.to_vec();
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start(self) -> Appliance {
        let place = tempfile::tempdir().expect("a temporary directory");
        let config = place.path().join("nebula.toml");
        std::fs::write(&config, &self.config).expect("the directory takes a file");
        let data_dir = self.data_dir.unwrap_or_else(|| place.path().join("data"));
        let mut appliance = Appliance {
            place,
            data_dir,
            environment: self.environment,
            under: self.under,
            child: None,
            address: "127.0.0.1:0".to_owned(),
            key: Credentials {
                access_key: String::new(),
                secret_key: String::new(),
            },
            http: reqwest::Client::new(),
        };
        appliance.launch().await;
        appliance
    }
}

/// A running `nebulad`; killed on drop, and its log shown when the test failed.
#[derive(Debug)]
pub struct Appliance {
    place: TempDir,
    data_dir: PathBuf,
    environment: Vec<(String, String)>,
    under: Vec<PathBuf>,
    child: Option<Child>,
    address: String,
    key: Credentials,
    http: reqwest::Client,
}

impl Appliance {
    /// Starts one on defaults.
    pub async fn start() -> Self {
        Setup::default().start().await
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address of a path.
    pub fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// `127.0.0.1:PORT`; it stays the same over restarts.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The key pair that the first start printed.
    pub fn key(&self) -> &Credentials {
        &self.key
    }

    /// Where objects and catalog are.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The daemon's process.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("the daemon runs"))
    }

    /// The typed client, with the root key.
    ///
    /// # Panics
    /// Never: the address was printed by the daemon.
    pub fn client(&self) -> Client {
        Client::new(&self.url(), Some(self.key.clone())).expect("the daemon's own address")
    }

    /// The command, with a home of its own, not logged in.
    pub fn cli(&self) -> Cli {
        self.cli_at(&self.url())
    }

    /// The same by another address, as of a wire that lies between.
    pub fn cli_at(&self, url: &str) -> Cli {
        Cli::new(url, &self.key.access_key, &self.key.secret_key)
    }

    /// An S3 client of the Rust SDK with the root key; it never tries again by itself.
    pub fn s3(&self) -> aws_sdk_s3::Client {
        self.s3_as(&self.key.access_key, &self.key.secret_key)
    }

    /// The same with another key pair.
    pub fn s3_as(&self, access_key: &str, secret_key: &str) -> aws_sdk_s3::Client {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let key =
            aws_credential_types::Credentials::new(access_key, secret_key, None, None, "test");
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(self.url())
            .region(Region::new("us-east-1"))
            .credentials_provider(key)
            .force_path_style(true)
            .retry_config(RetryConfig::disabled())
            .http_client(http)
            .build();
        aws_sdk_s3::Client::from_conf(config)
    }

    /// A plain request as root.
    pub fn request(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http
            .request(method, self.at(path))
            .basic_auth(&self.key.access_key, Some(&self.key.secret_key))
    }

    /// A plain read as root.
    pub fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.request(reqwest::Method::GET, path)
    }

    /// Ends it as a power cut of the process would: SIGKILL, at any moment.
    ///
    /// # Panics
    /// When it was not running any more.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("the daemon runs");
        assert!(
            child.try_wait().expect("it is our child").is_none(),
            "the daemon had ended by itself: {}",
            self.log()
        );
        child.kill().expect("our child can be killed");
        child.wait().expect("a killed child ends");
    }

    /// Asks it to end (SIGTERM).
    ///
    /// # Panics
    /// When it does not run.
    pub fn ask_to_stop(&self) {
        kill_process(self.pid(), Signal::TERM).expect("our child takes a signal");
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// When it does not end in good time.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the daemon runs");
        let mut status = None;
        wait::until_async("the daemon ends", async || {
            status = child.try_wait().expect("it is our child");
            status.is_some()
        })
        .await;
        status.expect("it has ended")
    }

    /// SIGTERM, and waits for the end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.ask_to_stop();
        self.ended().await
    }

    /// Starts it again on the same data directory and the same port.
    pub async fn restart(&mut self) {
        assert!(self.child.is_none(), "stop or kill it first");
        self.launch().await;
    }

    /// Runs another role of `nebulad` on the same configuration and data directory.
    pub fn role(&self, arguments: &[&str]) -> Command {
        self.role_under(&[], arguments)
    }

    fn role_under(&self, under: &[PathBuf], arguments: &[&str]) -> Command {
        let mut command = self.nebulad(under);
        let (role, rest) = arguments.split_first().expect("a role");
        command
            .arg(role)
            .arg("--config")
            .arg(self.place.path().join("nebula.toml"))
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(rest);
        command
    }

    /// Compares rows and files; reads every byte when `deep`.
    ///
    /// # Panics
    /// When they disagree.
    pub async fn fsck(&self, deep: bool) {
        let arguments: &[&str] = if deep { &["fsck", "--deep"] } else { &["fsck"] };
        let output = tokio::process::Command::from(self.role(arguments))
            .output()
            .await
            .expect("nebulad runs");
        assert!(
            output.status.success(),
            "fsck: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The last lines of the log.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(self.place.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }

    fn nebulad(&self, under: &[PathBuf]) -> Command {
        let mut words = under.iter().cloned().chain([binary("nebulad")]);
        let mut command = Command::new(words.next().expect("the last word at least"));
        command
            .args(words)
            .env_clear()
            .env("HOME", self.place.path())
            .env("PATH", "/usr/bin:/bin")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    async fn launch(&mut self) {
        // The port may be taken for a moment, by a connection of another test that the system gave it to.
        wait::until_async("the daemon has its port", async || {
            let is_begun = self.spawn();
            assert!(
                is_begun || self.log().contains("the port is in use"),
                "the daemon does not start:\n{}",
                self.log()
            );
            is_begun
        })
        .await;
        let ready = self.at("/-/readyz");
        wait::until_async("the daemon is ready", async || {
            let child = self.child.as_mut().expect("just started");
            let ended = child.try_wait().expect("it is our child");
            assert!(ended.is_none(), "the daemon ended: {ended:?}");
            let answer = self.http.get(&ready).send().await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    /// Starts the process and reads its first words; false when it ended before it had said them.
    fn spawn(&mut self) -> bool {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.place.path().join("log"))
            .expect("the directory takes a file");
        let mut child = self
            .role_under(&self.under, &["serve", "--listen", &self.address])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("nebulad runs");
        let mut words = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        let mut address = None;
        for line in words.by_ref() {
            let line = line.expect("the welcome is text");
            let mut parts = line.split_whitespace();
            match (parts.next(), parts.next(), parts.next()) {
                (Some("S3"), Some(url), _) => {
                    address = url.strip_prefix("http://").map(str::to_owned);
                }
                (Some("Access"), Some("key"), Some(id)) => id.clone_into(&mut self.key.access_key),
                (Some("Secret"), Some("key"), Some(key)) => {
                    key.clone_into(&mut self.key.secret_key);
                }
                (Some("Next,"), ..) => break,
                _ => {}
            }
        }
        let Some(address) = address else {
            child.wait().expect("it has ended");
            return false;
        };
        self.address = address;
        // It must never wait for us to read on.
        std::thread::spawn(move || words.for_each(drop));
        self.child = Some(child);
        true
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // An error means that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- the log of {}\n{}\n---", self.url(), self.log());
        }
    }
}
