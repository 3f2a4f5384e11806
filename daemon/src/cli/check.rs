//! `nebulad check`: looks at what a start would need, touching nothing, and says what it found line by line.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::config::Config;
use crate::serve;

/// For one neighbour to answer.
const NEIGHBOUR_TIMEOUT: Duration = Duration::from_secs(5);

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at, one or two words.
    pub what: &'static str,
    /// What is the case, or what is wrong and what to do.
    pub outcome: Result<String, String>,
}

impl Finding {
    /// A finding from anything that fails with words.
    pub fn new(what: &'static str, outcome: Result<String, String>) -> Self {
        Self { what, outcome }
    }
}

/// Looks at everything that needs no room: file, directory, worker process, Redis.
///
/// The wiring adds what it alone can ask: whether the catalog answers.
pub async fn look(config: &Config) -> Vec<Finding> {
    vec![
        Finding::new(
            "configuration",
            Ok(match &config.file {
                Some(path) => path.display().to_string(),
                None => "embedded defaults".to_owned(),
            }),
        ),
        Finding::new("data directory", directory(&config.data.dir)),
        Finding::new("worker", worker(config)),
        Finding::new("redis", redis(config).await),
    ]
}

/// The findings as lines, and whether all is well.
pub fn render(findings: &[Finding]) -> (String, bool) {
    let mut text = String::new();
    let mut well = true;
    for finding in findings {
        let (mark, words) = match &finding.outcome {
            Ok(words) => ("ok  ", words),
            Err(words) => ("FAIL", words),
        };
        well &= finding.outcome.is_ok();
        writeln!(text, "{mark}  {:<15} {words}", finding.what).expect("a String takes every text");
    }
    (text, well)
}

/// A directory that is there must be writable; one that is not must be creatable.
fn directory(dir: &Path) -> Result<String, String> {
    let cure = "make it writable for this user, or choose another with --data-dir";
    let mut existing = dir;
    while !existing.exists() {
        existing = existing.parent().unwrap_or(Path::new("/"));
    }
    if !existing.is_dir() {
        return Err(format!("{} is a file; {cure}", existing.display()));
    }
    let writable = rustix::fs::access(existing, rustix::fs::Access::WRITE_OK);
    match writable {
        Ok(()) if existing == dir => Ok(dir.display().to_string()),
        Ok(()) => Ok(format!("{} (will be made)", dir.display())),
        Err(error) => Err(format!("{}: {error}; {cure}", existing.display())),
    }
}

fn worker(config: &Config) -> Result<String, String> {
    if config.worker.slots == 0 {
        return Ok("no jobs on this machine".to_owned());
    }
    let path = config.worker.binary_path();
    match rustix::fs::access(&path, rustix::fs::Access::EXEC_OK) {
        Ok(()) => Ok(path.display().to_string()),
        Err(error) => Err(format!(
            "{}: {error}; install nebula-worker beside nebulad, set worker.binary, or set worker.slots = 0",
            path.display()
        )),
    }
}

/// Only whether somebody listens there: the client of Redis lives in the queue.
async fn redis(config: &Config) -> Result<String, String> {
    let Some(url) = &config.secrets.redis_url else {
        return Ok("not used, jobs stay in the catalog".to_owned());
    };
    let uri: http::Uri = match url.expose().parse() {
        Ok(uri) => uri,
        // unix sockets are no URIs of ours; the queue will tell.
        Err(_) => return Ok("a unix socket".to_owned()),
    };
    let Some(host) = uri.host() else {
        return Ok("a unix socket".to_owned());
    };
    let port = uri.port_u16().unwrap_or(6379);
    let connect = tokio::net::TcpStream::connect((host, port));
    match tokio::time::timeout(NEIGHBOUR_TIMEOUT, connect).await {
        Ok(Ok(_)) => Ok(format!("{host}:{port} answers")),
        Ok(Err(error)) => Err(format!(
            "{host}:{port}: {error}; start it, or remove queue.redis_url"
        )),
        Err(_) => Err(format!(
            "{host}:{port} does not answer; start it, or remove queue.redis_url"
        )),
    }
}

/// Asks a running instance through its private socket: the line to print when it is ready and of the right build.
pub async fn instance(socket: &Path, build: Option<&str>) -> Result<String, String> {
    let instance = serve::ask(socket)
        .await
        .map_err(|error| format!("no instance answers at {}: {error}", socket.display()))?;
    if let Some(wanted) = build
        && instance.build != wanted
    {
        return Err(format!(
            "the instance at {} is build {}, not {wanted}",
            socket.display(),
            instance.build
        ));
    }
    if instance.status != "ready" {
        return Err(format!(
            "build {} is {}: {}",
            instance.build, instance.status, instance.reason
        ));
    }
    Ok(format!(
        "build {} is ready, pid {}",
        instance.build, instance.pid
    ))
}
