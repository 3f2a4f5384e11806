//! Clients that never stop asking, and count what went wrong.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// Clients at once.
const CLIENTS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(30);

/// What all clients saw.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub answered: usize,
    pub failed: Vec<String>,
}

#[derive(Default)]
struct Shared {
    tally: Mutex<Tally>,
    more: Condvar,
    over: AtomicBool,
}

pub struct Traffic {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// A new connection for every request: each has to be accepted by somebody.
    pub fn begin(address: SocketAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let clients = (0..CLIENTS)
            .map(|_| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    while !shared.over.load(Ordering::Relaxed) {
                        let answer = ask(address);
                        let mut tally = shared.tally.lock().unwrap();
                        match answer {
                            Ok(200) => tally.answered += 1,
                            Ok(status) => tally.failed.push(format!("status {status}")),
                            Err(error) => tally.failed.push(error.to_string()),
                        }
                        shared.more.notify_all();
                    }
                })
            })
            .collect();
        Self { shared, clients }
    }

    /// Waits until `count` more requests were answered.
    pub fn wait_for_answers(&self, count: usize) {
        let tally = self.shared.tally.lock().unwrap();
        let wanted = tally.answered + count;
        let (tally, _) = self
            .shared
            .more
            .wait_timeout_while(tally, PATIENCE, |tally| tally.answered < wanted)
            .unwrap();
        assert!(tally.answered >= wanted, "nobody answers: {tally:?}");
    }

    pub fn end(self) -> Tally {
        self.shared.over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        self.shared.tally.lock().unwrap().clone()
    }
}

/// A request whose head is still on its way.
pub struct SlowRequest(TcpStream);

impl SlowRequest {
    pub fn begin(address: SocketAddr) -> Self {
        let mut stream = connect(address).unwrap();
        stream
            .write_all(b"GET /-/healthz HTTP/1.1\r\nHost: nebula\r\n")
            .unwrap();
        Self(stream)
    }

    /// Sends the rest; the status of the answer.
    pub fn finish(mut self) -> u16 {
        self.0.write_all(b"Connection: close\r\n\r\n").unwrap();
        status(&mut self.0).unwrap()
    }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn ask(address: SocketAddr) -> io::Result<u16> {
    let mut stream = connect(address)?;
    stream.write_all(b"GET /-/healthz HTTP/1.1\r\nHost: nebula\r\nConnection: close\r\n\r\n")?;
    status(&mut stream)
}

/// The status of an answer that is whole to its end.
fn status(stream: &mut TcpStream) -> io::Result<u16> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let text = String::from_utf8_lossy(&answer);
    text.strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("the answer was {text:?}")))
}
