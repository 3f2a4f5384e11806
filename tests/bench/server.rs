//! The servers under test: each its own process, on a port of its own, with a private configuration, gone with its handle.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, getuid, kill_process};

use crate::load::{self, Request};
use crate::sign::{ACCESS_KEY, REGION, SECRET_KEY};

/// A server that takes longer to start does not.
const START: Duration = Duration::from_secs(30);
/// And to stop.
const STOP: Duration = Duration::from_secs(15);
const STEP: Duration = Duration::from_millis(10);
/// A port may be taken between our looking for it and the server's taking it.
const PORT_TRIES: usize = 5;
/// As many as `nebulad` has threads for connections on the machine at hand.
const NGINX_WORKERS: &str = "auto";

/// The data directory of ours, below the place that it is given.
const DATA: &str = "nebula";

/// A running server.
pub struct Server {
    process: Child,
    pub address: SocketAddr,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// `HOST:PORT`, as in the header.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// The real daemon with its defaults: embedded catalog and queue, every acknowledgement durable.
    pub async fn ours(place: &Path) -> Result<Self> {
        Self::ours_with(place, "").await
    }

    /// The same with something in its configuration; what is in the directory already is served on.
    pub async fn ours_with(place: &Path, config: &str) -> Result<Self> {
        fs::create_dir_all(place)?;
        fs::write(place.join("nebula.toml"), config)?;
        let log = place.join("nebulad.out");
        let mut process = Command::new(nebula_tests::binary("nebulad"))
            .env_clear()
            .env("HOME", place)
            .env("PATH", "/usr/bin:/bin")
            .env("NEBULA_ROOT_ACCESS_KEY", ACCESS_KEY)
            .env("NEBULA_ROOT_SECRET_KEY", SECRET_KEY)
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(place.join("nebula.toml"))
            .arg("--data-dir")
            .arg(place.join(DATA))
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::create(place.join("nebulad.err"))?)
            .spawn()
            .context("nebulad does not start")?;
        let address = address_in(&log, &mut process).await;
        let server = Self {
            address: address.with_context(|| tail(&place.join("nebulad.err")))?,
            process,
        };
        let ready = format!("GET /-/readyz HTTP/1.1\r\nhost: {}\r\n", server.address);
        server.answers(&Request::of(ready)).await?;
        Ok(server)
    }

    /// Where ours has the bytes of objects.
    pub fn blobs_of_ours(place: &Path) -> PathBuf {
        place.join(DATA).join("blobs")
    }

    /// nginx with sendfile, serving a directory; `None` when it is not installed.
    pub async fn nginx(place: &Path, root: &Path) -> Result<Option<Self>> {
        let Some(program) = find("nginx", &["/usr/sbin/nginx"]) else {
            return Ok(None);
        };
        let dir = place.join("nginx");
        fs::create_dir_all(&dir)?;
        for _ in 0..PORT_TRIES {
            let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            let config = dir.join("nginx.conf");
            fs::write(&config, nginx_config(&dir, root, address))?;
            let process = Command::new(&program)
                .arg("-p")
                .arg(&dir)
                .arg("-e")
                .arg(dir.join("error.log"))
                .arg("-c")
                .arg(&config)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(dir.join("stderr.log"))?)
                .spawn()?;
            let server = Self { process, address };
            let any = format!("GET / HTTP/1.1\r\nhost: {address}\r\n");
            if server.answers(&Request::of(any)).await.is_ok() {
                return Ok(Some(server));
            }
        }
        bail!("nginx does not start: {}", tail(&dir.join("stderr.log")))
    }

    /// `rclone serve s3` over a plain directory; `None` when it is not installed.
    pub async fn rclone(place: &Path) -> Result<Option<Self>> {
        let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/venv/bin/rclone");
        let Some(program) = find("rclone", &[&venv.display().to_string()]) else {
            return Ok(None);
        };
        let root = place.join("rclone");
        fs::create_dir_all(&root)?;
        let log = place.join("rclone.log");
        let mut process = Command::new(program)
            .env_clear()
            .env("HOME", place)
            .env("PATH", "/usr/bin:/bin")
            .args(["serve", "s3", "--addr", "127.0.0.1:0", "--auth-key"])
            .arg(format!("{ACCESS_KEY},{SECRET_KEY}"))
            .arg(&root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("rclone does not start")?;
        let address = address_in(&log, &mut process).await;
        let address = address.with_context(|| tail(&log))?;
        Ok(Some(Self { process, address }))
    }

    /// `@tus/server` with its file store; `None` when it or node is not installed.
    pub async fn tus(place: &Path) -> Result<Option<Self>> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let Some(node) = find("node", &[]) else {
            return Ok(None);
        };
        if !scripts.join("node_modules/@tus/server").exists() {
            return Ok(None);
        }
        let root = place.join("tus-server");
        fs::create_dir_all(&root)?;
        let log = place.join("tus-server.out");
        let mut process = Command::new(node)
            .env_clear()
            .env("HOME", place)
            .env("PATH", "/usr/bin:/bin")
            .arg(scripts.join("server.mjs"))
            .arg(&root)
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::create(place.join("tus-server.err"))?)
            .spawn()
            .context("node does not start")?;
        let address = address_in(&log, &mut process).await;
        let address = address.with_context(|| tail(&place.join("tus-server.err")))?;
        Ok(Some(Self { process, address }))
    }

    /// `s3s-fs` over a plain directory; `None` when it is not installed.
    pub async fn s3s_fs(place: &Path) -> Result<Option<Self>> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/bin/s3s-fs");
        let Some(program) = find("s3s-fs", &[&own.display().to_string()]) else {
            return Ok(None);
        };
        let root = place.join("s3s-fs");
        fs::create_dir_all(&root)?;
        let log = place.join("s3s-fs.log");
        for _ in 0..PORT_TRIES {
            let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
            let process = Command::new(&program)
                .env_clear()
                .env("HOME", place)
                .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
                .args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY])
                .arg(&root)
                .stdin(Stdio::null())
                .stdout(File::create(&log)?)
                .stderr(Stdio::null())
                .spawn()?;
            let server = Self { process, address };
            let any = format!("GET / HTTP/1.1\r\nhost: {address}\r\n");
            if server.answers(&Request::of(any)).await.is_ok() {
                return Ok(Some(server));
            }
        }
        bail!("s3s-fs does not start: {}", tail(&log))
    }

    /// Garage as a cluster of itself alone, with its defaults or with both of its `fsync` settings; `None` when it is not
    /// installed.
    pub async fn garage(place: &Path, fsync: bool) -> Result<Option<Self>> {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers/bin/garage");
        let Some(program) = find("garage", &[&own.display().to_string()]) else {
            return Ok(None);
        };
        let dir = place.join(if fsync { "garage-fsync" } else { "garage" });
        let log = dir.join("garage.log");
        for _ in 0..PORT_TRIES {
            // What a failed try left has an address that is no longer ours.
            let _ = fs::remove_dir_all(&dir);
            fs::create_dir_all(&dir)?;
            let [rpc, address] = [
                TcpListener::bind("127.0.0.1:0")?,
                TcpListener::bind("127.0.0.1:0")?,
            ]
            .map(|listener| listener.local_addr());
            let (rpc, address) = (rpc?, address?);
            let config = dir.join("garage.toml");
            fs::write(&config, garage_config(&dir, rpc, address, fsync))?;
            let process = Command::new(&program)
                .env_clear()
                .env("HOME", place)
                .env("RUST_LOG", "warn")
                .env("GARAGE_DEFAULT_ACCESS_KEY", ACCESS_KEY)
                .env("GARAGE_DEFAULT_SECRET_KEY", SECRET_KEY)
                .arg("-c")
                .arg(&config)
                .args(["server", "--single-node", "--default-access-key"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(&log)?)
                .spawn()?;
            let server = Self { process, address };
            let any = format!("GET / HTTP/1.1\r\nhost: {address}\r\n");
            if server.answers(&Request::of(any)).await.is_ok() {
                return Ok(Some(server));
            }
        }
        bail!("garage does not start: {}", tail(&log))
    }

    /// Waits until it answers at all, whatever it says.
    async fn answers(&self, request: &Request) -> Result<()> {
        let start = Instant::now();
        loop {
            match load::status(self.address, request).await {
                Ok(status) if status != 503 => return Ok(()),
                _ if start.elapsed() > START => bail!("no answer from {}", self.address),
                _ => tokio::time::sleep(STEP).await,
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked before it is killed: nginx takes its workers along, nebulad its own.
        if let Ok(pid) = i32::try_from(self.process.id())
            && let Some(pid) = Pid::from_raw(pid)
        {
            let _ = kill_process(pid, Signal::TERM);
        }
        let start = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) {
            if start.elapsed() > STOP {
                let _ = self.process.kill();
                let _ = self.process.wait();
                return;
            }
            std::thread::sleep(STEP);
        }
    }
}

fn nginx_config(dir: &Path, root: &Path, address: SocketAddr) -> String {
    // Workers would be `nobody` and could not read our directory.
    let user = if getuid().is_root() {
        "user root;\n"
    } else {
        ""
    };
    let dir = dir.display();
    format!(
        "{user}daemon off;\nworker_processes {NGINX_WORKERS};\npid {dir}/pid;\nerror_log {dir}/error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n access_log off;\n sendfile on;\n tcp_nopush on;\n keepalive_requests 1000000000;\n\
         default_type application/octet-stream;\n client_body_temp_path {dir}/body;\n proxy_temp_path {dir}/proxy;\n\
         fastcgi_temp_path {dir}/fastcgi;\n uwsgi_temp_path {dir}/uwsgi;\n scgi_temp_path {dir}/scgi;\n\
         server {{ listen {address}; root {}; }}\n}}\n",
        root.display()
    )
}

/// The secret is of a node that nobody else talks to.
fn garage_config(dir: &Path, rpc: SocketAddr, address: SocketAddr, fsync: bool) -> String {
    let dir = dir.display();
    let secret = "0".repeat(64);
    format!(
        "metadata_dir = \"{dir}/meta\"\ndata_dir = \"{dir}/data\"\nmetadata_fsync = {fsync}\ndata_fsync = {fsync}\n\
         replication_factor = 1\nrpc_bind_addr = \"{rpc}\"\nrpc_public_addr = \"{rpc}\"\nrpc_secret = \"{secret}\"\n\
         [s3_api]\ns3_region = \"{REGION}\"\napi_bind_addr = \"{address}\"\nroot_domain = \".s3.localhost\"\n"
    )
}

/// A program at one of its usual places, or wherever PATH has it.
pub fn find(name: &str, places: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    places
        .iter()
        .map(PathBuf::from)
        .chain(std::env::split_paths(&path).map(|dir| dir.join(name)))
        .find(|path| path.is_file())
}

/// The address that a server says it listens at.
async fn address_in(log: &Path, process: &mut Child) -> Result<SocketAddr> {
    const BEFORE: &str = "http://";
    let start = Instant::now();
    loop {
        let said = fs::read_to_string(log).unwrap_or_default();
        let address = said.split_once(BEFORE).and_then(|(_, rest)| {
            // Unless more follows, the line may be half written.
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')?;
            rest[..end].parse().ok()
        });
        if let Some(address) = address {
            return Ok(address);
        }
        if let Some(status) = process.try_wait()? {
            bail!("it ended at once: {status}");
        }
        if start.elapsed() > START {
            let _ = process.kill();
            let _ = process.wait();
            bail!("it does not say where it listens");
        }
        tokio::time::sleep(STEP).await;
    }
}

/// What a server complained about last.
fn tail(log: &Path) -> String {
    let said = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}
