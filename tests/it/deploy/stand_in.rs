//! A service manager of a few lines: holds the public socket, starts instances with it (LISTEN_FDS), waits for READY
//! (NOTIFY_SOCKET), stops them with SIGTERM, and runs the activation when a request appears. What the activation
//! finds in its PATH as `systemctl` and `journalctl` speaks to it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::inotify;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// TimeoutStartSec of the stand-in: long for a daemon, short for a test of one that never gets ready.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// For anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a monitor looks whether its child is gone, when nothing is notified.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Active,
    Draining,
    Gone,
}

#[derive(Default)]
struct Board {
    states: Mutex<BTreeMap<String, (State, Option<Pid>)>>,
    changed: Condvar,
}

impl Board {
    fn set(&self, id: &str, state: State, pid: Option<Pid>) {
        self.states
            .lock()
            .unwrap()
            .insert(id.to_owned(), (state, pid));
        self.changed.notify_all();
    }

    fn get(&self, id: &str) -> State {
        self.states
            .lock()
            .unwrap()
            .get(id)
            .map_or(State::Gone, |(state, _)| *state)
    }

    /// Waits until the state of `id` satisfies `wanted`; false when patience ends first.
    fn wait(&self, id: &str, patience: Duration, wanted: impl Fn(State) -> bool) -> bool {
        let states = self.states.lock().unwrap();
        let now = |states: &BTreeMap<String, (State, Option<Pid>)>| {
            states.get(id).map_or(State::Gone, |(state, _)| *state)
        };
        let (states, _) = self
            .changed
            .wait_timeout_while(states, patience, |states| !wanted(now(states)))
            .unwrap();
        wanted(now(&states))
    }
}

pub struct StandIn {
    folder: TempDir,
    address: SocketAddr,
    board: Arc<Board>,
    threads: Vec<JoinHandle<()>>,
}

impl StandIn {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        for path in ["bin", "run", "state", "home", "deploy/requests"] {
            fs::create_dir_all(place.join(path)).unwrap();
        }
        let made = Command::new("mkfifo")
            .arg(place.join("commands"))
            .status()
            .unwrap();
        assert!(made.success());
        // Status first, then the text; each question brings its own way back.
        let systemctl = format!(
            "#!/bin/sh\nreply=$(mktemp -u '{0}/reply.XXXXXX')\nmkfifo \"$reply\"\n\
             printf '%s %s\\n' \"$reply\" \"$*\" >'{0}/commands'\n\
             {{ read -r status; cat; }} <\"$reply\"\nrm \"$reply\"\nexit \"$status\"\n",
            place.display()
        );
        let journalctl = format!("#!/bin/sh\ntail -n 20 '{}/log.'*\n", place.display());
        for (name, text) in [("systemctl", systemctl), ("journalctl", journalctl)] {
            let path = place.join("bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let board = Arc::new(Board::default());
        let services = Services {
            folder: place.to_owned(),
            listener,
            board: Arc::clone(&board),
        };
        let mut this = Self {
            address,
            board,
            threads: Vec::new(),
            folder,
        };
        // Read and write: the fifo never ends while this end is open.
        let commands = OpenOptions::new()
            .read(true)
            .write(true)
            .open(this.folder().join("commands"))
            .unwrap();
        this.threads
            .push(std::thread::spawn(move || services.obey(commands)));
        let watch = Watch::new(&this.root().join("requests"));
        let activate = this.activation();
        this.threads
            .push(std::thread::spawn(move || watch.run(activate)));
        this
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// NEBULA_DEPLOY_ROOT.
    pub fn root(&self) -> PathBuf {
        self.folder().join("deploy")
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Our stand-ins before the system's programs.
    pub fn search_path(&self) -> String {
        format!("{}:/usr/bin:/bin", self.folder().join("bin").display())
    }

    /// Releases whose process lives.
    pub fn running(&self) -> Vec<String> {
        let states = self.board.states.lock().unwrap();
        states
            .iter()
            .filter(|(_, (state, _))| *state != State::Gone)
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// What the instances that take requests say of their build, by their private sockets.
    pub fn serving(&self) -> Vec<String> {
        let mut builds = Vec::new();
        for id in self.running() {
            let socket = self.folder().join(format!("run/nebula-{id}/health.sock"));
            let answer = ask(&socket);
            if answer["status"] == "ready" {
                builds.push(answer["build"].as_str().unwrap().to_owned());
            }
        }
        builds
    }

    pub fn wait_until_draining(&self, id: &str) {
        let done = self.board.wait(id, PATIENCE, |state| {
            matches!(state, State::Draining | State::Gone)
        });
        assert!(done, "{id} does not drain");
    }

    pub fn wait_until_gone(&self, id: &str) {
        assert!(
            self.board.wait(id, PATIENCE, |state| state == State::Gone),
            "{id} does not end"
        );
    }

    /// The activation of the package, as its unit would run it.
    fn activation(&self) -> impl Fn() + Send + 'static {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/nebula-activate");
        let (root, run, path) = (self.root(), self.folder().join("run"), self.search_path());
        move || {
            let status = Command::new("bash")
                .arg(&program)
                .env("NEBULA_DEPLOY_ROOT", &root)
                .env("NEBULA_DEPLOY_RUN", &run)
                .env("NEBULA_DEPLOY_USER", "")
                .env("PATH", &path)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .status()
                .unwrap();
            assert!(status.success(), "the activation itself broke: {status}");
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        for id in self.running() {
            let pid = self
                .board
                .states
                .lock()
                .unwrap()
                .get(&id)
                .and_then(|(_, pid)| *pid);
            if let Some(pid) = pid {
                let _ = kill_process(pid, Signal::KILL);
            }
            self.board.wait(&id, PATIENCE, |state| state == State::Gone);
        }
        // Both threads end at a word of their own.
        let _ = fs::write(self.root().join("requests").join(STOP), "");
        if let Ok(mut commands) = OpenOptions::new()
            .write(true)
            .open(self.folder().join("commands"))
        {
            let _ = writeln!(commands, "- {STOP}");
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

const STOP: &str = "stop-the-stand-in";

/// `PathExistsGlob=`: runs the activation whenever a request appears.
struct Watch(OwnedFd);

impl Watch {
    fn new(folder: &Path) -> Self {
        let watch = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        inotify::add_watch(&watch, folder, inotify::WatchFlags::CREATE).unwrap();
        Self(watch)
    }

    fn run(self, activate: impl Fn()) {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.0, &mut buffer);
        while let Ok(event) = events.next() {
            if event
                .file_name()
                .is_some_and(|name| name.to_bytes() == STOP.as_bytes())
            {
                return;
            }
            activate();
        }
    }
}

/// The thread behind `systemctl`.
struct Services {
    folder: PathBuf,
    listener: TcpListener,
    board: Arc<Board>,
}

impl Services {
    fn obey(self, commands: File) {
        for line in BufReader::new(commands).lines() {
            let line = line.unwrap();
            let mut words = line.split(' ');
            let reply = words.next().unwrap_or_default().to_owned();
            let verb = words.next().unwrap_or_default();
            let unit = words.next_back().unwrap_or_default();
            let id = unit
                .trim_start_matches("nebulad@")
                .trim_end_matches(".service");
            let (good, text) = match verb {
                STOP => return,
                "list-units" => (true, self.list()),
                "start" => match self.start(id) {
                    Ok(()) => (true, String::new()),
                    Err(reason) => (false, format!("Job for {unit} failed: {reason}\n")),
                },
                "stop" => (self.stop(id, line.contains("--no-block")), String::new()),
                "reset-failed" => (true, String::new()),
                _ => (false, format!("the stand-in does not know {verb}\n")),
            };
            fs::write(reply, format!("{}\n{text}", i32::from(!good))).unwrap();
        }
    }

    fn list(&self) -> String {
        let states = self.board.states.lock().unwrap();
        states
            .iter()
            .filter(|(_, (state, _))| *state == State::Active)
            .map(|(id, _)| format!("nebulad@{id}.service loaded active running Nebula\n"))
            .collect()
    }

    /// ExecStartPre, ExecStart and the wait for READY of nebulad@.service.
    fn start(&self, id: &str) -> Result<(), String> {
        let log = File::create(self.folder.join(format!("log.{id}"))).unwrap();
        let runtime = self.folder.join(format!("run/nebula-{id}"));
        fs::create_dir_all(&runtime).unwrap();
        let program = self.folder.join(format!("deploy/releases/{id}/nebulad"));
        let daemon = |start: &mut Command| {
            start
                .env_clear()
                .env("PATH", "/usr/bin:/bin")
                .env("HOME", self.folder.join("home"))
                .env("STATE_DIRECTORY", self.folder.join("state"))
                .stderr(log.try_clone().unwrap())
                .stdout(log.try_clone().unwrap());
        };
        let mut check = Command::new(&program);
        check.arg("check").stdin(Stdio::null());
        daemon(&mut check);
        let checked = check.status().map_err(|error| error.to_string())?;
        if !checked.success() {
            return Err("ExecStartPre failed".to_owned());
        }

        let notifications = self.folder.join(format!("notify.{id}"));
        let _ = fs::remove_file(&notifications);
        let socket = UnixDatagram::bind(&notifications).unwrap();
        socket.set_read_timeout(Some(LOOK_EVERY)).unwrap();
        // The socket comes as standard input and goes where systemd would have put it.
        let mut start = Command::new("sh");
        start
            .args([
                "-c",
                "exec 3<&0 0</dev/null; export LISTEN_PID=$$; exec \"$0\" \"$@\"",
            ])
            .arg(&program)
            .args(["serve", "--candidate", "--health"])
            .arg(runtime.join("health.sock"));
        daemon(&mut start);
        let child = start
            .env("LISTEN_FDS", "1")
            .env("LISTEN_FDNAMES", "http")
            .env("NOTIFY_SOCKET", &notifications)
            .stdin(OwnedFd::from(self.listener.try_clone().unwrap()))
            .spawn()
            .map_err(|error| error.to_string())?;
        self.board
            .set(id, State::Starting, Some(Pid::from_child(&child)));
        let (board, name) = (Arc::clone(&self.board), id.to_owned());
        std::thread::spawn(move || monitor(child, &socket, &board, &name));
        if self
            .board
            .wait(id, START_TIMEOUT, |state| state != State::Starting)
            && self.board.get(id) == State::Active
        {
            return Ok(());
        }
        self.signal(id, Signal::KILL);
        self.board.wait(id, PATIENCE, |state| state == State::Gone);
        Err("it did not say READY".to_owned())
    }

    fn stop(&self, id: &str, no_block: bool) -> bool {
        self.signal(id, Signal::TERM);
        no_block || self.board.wait(id, PATIENCE, |state| state == State::Gone)
    }

    fn signal(&self, id: &str, signal: Signal) {
        let pid = match self.board.states.lock().unwrap().get(id) {
            Some((state, Some(pid))) if *state != State::Gone => *pid,
            _ => return,
        };
        let _ = kill_process(pid, signal);
    }
}

/// Follows one process from its start to its end, by what it notifies.
fn monitor(mut child: Child, socket: &UnixDatagram, board: &Board, id: &str) {
    let pid = Some(Pid::from_child(&child));
    let mut buffer = [0; 4096];
    loop {
        if let Ok(length) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            if text.lines().any(|line| line == "READY=1") {
                board.set(id, State::Active, pid);
            }
            if text.lines().any(|line| line == "STOPPING=1") {
                board.set(id, State::Draining, pid);
            }
        } else if let Ok(Some(_)) = child.try_wait() {
            board.set(id, State::Gone, None);
            return;
        }
    }
}

/// A question over a private health socket.
fn ask(socket: &Path) -> serde_json::Value {
    let begun = Instant::now();
    let mut stream = loop {
        match UnixStream::connect(socket) {
            Ok(stream) => break stream,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{}: {error}", socket.display()),
        }
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /-/healthz HTTP/1.1\r\nHost: nebula\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}
