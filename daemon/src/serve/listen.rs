//! Where connections come from: sockets that systemd holds, or an address of our own.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

/// Connections the kernel keeps for us while we are busy or being replaced.
const BACKLOG: u32 = 4096;
/// `FileDescriptorName=` of the public sockets; a unit that names none counts as this.
const NAME_HTTP: &str = "http";
/// `FileDescriptorName=` of the private health socket.
const NAME_HEALTH: &str = "health";

/// Why the daemon cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else listens there.
    #[error(
        "cannot listen on {0}: the port is in use\n  \
         who    ss -ltnp 'sport = :{port}'\n  \
         cure   stop that program, or choose another port with --listen {ip}:PORT",
        port = .0.port(),
        ip = .0.ip()
    )]
    InUse(SocketAddr),
    /// Ports below 1024 are for root, or for systemd.
    #[error(
        "cannot listen on {0}: this user may not use ports below 1024\n  \
         cure   choose a higher port with --listen, or let systemd hold it (nebulad.socket)"
    )]
    Forbidden(SocketAddr),
    /// The machine has no such address.
    #[error(
        "cannot listen on {0}: this machine has no such address\n  \
         cure   choose one that `ip address` shows, or 0.0.0.0 for all, with --listen"
    )]
    NoSuchAddress(SocketAddr),
    /// Anything else about the address.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// What was asked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The service manager passed something that cannot be used.
    #[error(
        "socket {index} (`{name}`) passed by the service manager cannot be used: {reason}\n  \
         cure   name TCP sockets `http` and a unix socket `health` in the socket unit (FileDescriptorName=)"
    )]
    Passed {
        /// Counted from 0.
        index: usize,
        /// As in `LISTEN_FDNAMES`.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Open sockets, not yet accepting.
#[derive(Debug)]
pub struct Listeners {
    http: Vec<TcpListener>,
    health: Option<UnixListener>,
    health_path: Option<PathBuf>,
    /// Whether the public sockets belong to the service manager and outlive this process.
    pub passed: bool,
}

impl Listeners {
    /// Takes the sockets that the service manager passed, else binds `address`; binds `health` if it is named.
    ///
    /// Must be called inside the runtime, and once: passed sockets can be taken only once.
    pub fn open(address: SocketAddr, health: Option<&Path>) -> Result<Self, ListenError> {
        let mut listeners = Self {
            http: Vec::new(),
            health: None,
            health_path: None,
            passed: false,
        };
        listeners.take_passed()?;
        listeners.passed = !listeners.http.is_empty();
        if !listeners.passed {
            listeners.http.push(bind(address)?);
        }
        if let Some(path) = health {
            listeners.health = Some(bind_unix(path)?);
            listeners.health_path = Some(path.to_owned());
        }
        Ok(listeners)
    }

    /// Where the public sockets listen, with the port the kernel chose when 0 was asked for.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.http
            .iter()
            .filter_map(|listener| listener.local_addr().ok())
            .collect()
    }

    pub(super) fn take_http(&mut self) -> Vec<TcpListener> {
        std::mem::take(&mut self.http)
    }

    /// The private socket, for [`Lifecycle::answer_health`](crate::lifecycle::Lifecycle::answer_health).
    pub fn take_health(&mut self) -> Option<(UnixListener, Option<PathBuf>)> {
        Some((self.health.take()?, self.health_path.take()))
    }

    fn take_passed(&mut self) -> Result<(), ListenError> {
        // Names and close-on-exec come from sd_notify, the descriptors from listenfd: neither gives both safely.
        let names: Vec<String> = match sd_notify::listen_fds_with_names() {
            Ok(passed) => passed.map(|(_, name)| name).collect(),
            Err(error) => {
                return Err(ListenError::Passed {
                    index: 0,
                    name: String::new(),
                    reason: error.to_string(),
                });
            }
        };
        let mut descriptors = ListenFd::from_env();
        for (index, name) in names.into_iter().enumerate() {
            let refuse = |reason: String| ListenError::Passed {
                index,
                name: name.clone(),
                reason,
            };
            if name == NAME_HEALTH {
                let passed = descriptors
                    .take_unix_listener(index)
                    .map_err(|error| refuse(error.to_string()))?
                    .ok_or_else(|| refuse("it is taken".to_owned()))?;
                self.health = Some(
                    passed
                        .set_nonblocking(true)
                        .and_then(|()| UnixListener::from_std(passed))
                        .map_err(|error| refuse(error.to_string()))?,
                );
            } else if name == NAME_HTTP || name == "unknown" || name.ends_with(".socket") {
                let passed = descriptors
                    .take_tcp_listener(index)
                    .map_err(|error| refuse(error.to_string()))?
                    .ok_or_else(|| refuse("it is taken".to_owned()))?;
                self.http.push(
                    passed
                        .set_nonblocking(true)
                        .and_then(|()| TcpListener::from_std(passed))
                        .map_err(|error| refuse(error.to_string()))?,
                );
            } else {
                return Err(refuse("its name means nothing here".to_owned()));
            }
        }
        Ok(())
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let open = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // Lets a restart bind while old connections linger; it does not let two daemons share a port.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    open().map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => ListenError::InUse(address),
        ErrorKind::PermissionDenied => ListenError::Forbidden(address),
        ErrorKind::AddrNotAvailable => ListenError::NoSuchAddress(address),
        _ => ListenError::Other {
            address: address.to_string(),
            source,
        },
    })
}

/// Binds a unix socket, replacing one that nobody listens on any more.
fn bind_unix(path: &Path) -> Result<UnixListener, ListenError> {
    let stale = path.exists()
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    let bound = if stale {
        std::fs::remove_file(path).and_then(|()| UnixListener::bind(path))
    } else {
        UnixListener::bind(path)
    };
    bound.map_err(|source| ListenError::Other {
        address: path.display().to_string(),
        source,
    })
}
