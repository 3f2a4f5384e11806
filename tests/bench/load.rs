//! The load generator: plain HTTP/1.1 over kept connections, each asking again as soon as it was answered.
//!
//! It is ours because it must cost less than the servers that it drives and the same for each of them: it writes what
//! is signed already and throws away what it reads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(120);
const READ_BYTES: usize = 256 * 1024;
/// Longest line of a head or of a chunk.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// One request, ready for the wire.
pub struct Request {
    /// With its blank line.
    pub head: String,
    /// Sent this often after the head.
    pub body: (Bytes, usize),
    /// Whether the answer has no body whatever it says (HEAD).
    pub bare: bool,
}

impl Request {
    /// One without a body.
    pub fn of(head: String) -> Self {
        Self {
            bare: head.starts_with("HEAD "),
            head: head + "\r\n",
            body: (Bytes::new(), 0),
        }
    }

    /// One with a body: `piece`, `times` over.
    pub fn with_body(head: &str, piece: Bytes, times: usize) -> Self {
        let length = piece.len() * times;
        Self {
            bare: false,
            head: format!("{head}content-length: {length}\r\n\r\n"),
            body: (piece, times),
        }
    }
}

/// When a run ends.
#[derive(Clone, Copy)]
pub enum Until {
    /// Every connection finishes what it asked before this is over.
    Time(Duration),
    /// Every connection asks this often.
    Requests(u64),
}

/// What a run did.
pub struct Done {
    pub requests: u64,
    /// Bodies, both ways.
    pub bytes: u64,
    pub wall_s: f64,
}

/// Gives the `n`th request of a connection.
pub type Script = Arc<dyn Fn(usize, u64) -> Request + Send + Sync>;

/// Runs a script over so many connections at once.
pub async fn run(
    address: SocketAddr,
    connections: usize,
    until: Until,
    script: Script,
) -> Result<Done> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(address).await?);
    }
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for (number, mut connection) in open.into_iter().enumerate() {
        let script = Arc::clone(&script);
        tasks.spawn(async move {
            let (mut requests, mut bytes) = (0, 0);
            while match until {
                Until::Time(limit) => start.elapsed() < limit,
                Until::Requests(limit) => requests < limit,
            } {
                bytes += connection.ask(&script(number, requests)).await?;
                requests += 1;
            }
            anyhow::Ok((requests, bytes))
        });
    }
    let mut done = Done {
        requests: 0,
        bytes: 0,
        wall_s: 0.0,
    };
    while let Some(ended) = tasks.join_next().await {
        let (requests, bytes) = ended.context("a connection of the load generator broke")??;
        done.requests += requests;
        done.bytes += bytes;
    }
    done.wall_s = start.elapsed().as_secs_f64();
    Ok(done)
}

/// Connections that asked once, were answered, and now do nothing until they are dropped.
pub struct Idle {
    _connections: Vec<Connection>,
}

/// Opens so many.
pub async fn open(address: SocketAddr, count: usize, script: Script) -> Result<Idle> {
    let mut connections = Vec::with_capacity(count);
    for number in 0..count {
        let mut connection = Connection::open(address).await?;
        connection.ask(&script(number, 0)).await?;
        connections.push(connection);
    }
    Ok(Idle {
        _connections: connections,
    })
}

/// Asks once and gives the status, for what must only be known to work.
pub async fn status(address: SocketAddr, request: &Request) -> Result<u16> {
    let mut connection = Connection::open(address).await?;
    Ok(connection.exchange(request).await?.0)
}

/// Asks once and gives the entity tag, with its quotes.
pub async fn tag(address: SocketAddr, request: &Request) -> Result<String> {
    let mut connection = Connection::open(address).await?;
    connection.send(request).await?;
    let head = connection.head().await?;
    ensure!(head.status < 300, "answered {}", head.status);
    head.tag.context("an answer without an entity tag")
}

/// Asks once and gives where the answer says that the thing is.
pub async fn location(address: SocketAddr, request: &Request) -> Result<String> {
    let mut connection = Connection::open(address).await?;
    connection.send(request).await?;
    let head = connection.head().await?;
    ensure!(head.status < 300, "answered {}", head.status);
    head.location.context("an answer without a location")
}

/// Asks once and gives the body, which must come with its length.
pub async fn body(address: SocketAddr, request: &Request) -> Result<Vec<u8>> {
    let mut connection = Connection::open(address).await?;
    connection.send(request).await?;
    let head = connection.head().await?;
    ensure!(head.status < 300, "answered {}", head.status);
    let length = usize::try_from(head.length.context("no length")?)?;
    while connection.left() < length {
        connection.more().await?;
    }
    Ok(connection.buffer[connection.start..connection.start + length].to_vec())
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// What was read and not looked at: `start..end`.
    start: usize,
    end: usize,
}

struct Head {
    status: u16,
    length: Option<u64>,
    chunked: bool,
    tag: Option<String>,
    location: Option<String>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("nobody listens at {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; READ_BYTES],
            start: 0,
            end: 0,
        })
    }

    /// Asks, and gives the bytes of both bodies; anything but a success is an error.
    async fn ask(&mut self, request: &Request) -> Result<u64> {
        let answered = timeout(PATIENCE, self.exchange(request));
        let (status, bytes) = answered.await.context("no answer in time")??;
        let line = request.head.lines().next().unwrap_or_default();
        ensure!((200..300).contains(&status), "{line}: answered {status}");
        Ok(bytes + (request.body.0.len() * request.body.1) as u64)
    }

    async fn exchange(&mut self, request: &Request) -> Result<(u16, u64)> {
        self.send(request).await?;
        let head = self.head().await?;
        if request.bare || head.status == 204 {
            return Ok((head.status, 0));
        }
        let bytes = if head.chunked {
            self.skip_chunks().await?
        } else {
            let length = head.length.context("an answer without a length")?;
            self.skip(length).await?;
            length
        };
        Ok((head.status, bytes))
    }

    async fn send(&mut self, request: &Request) -> Result<()> {
        let (piece, times) = &request.body;
        if *times == 1 {
            // One write for what fits in one packet, as clients do.
            let whole = [request.head.as_bytes(), piece].concat();
            return Ok(self.stream.write_all(&whole).await?);
        }
        self.stream.write_all(request.head.as_bytes()).await?;
        for _ in 0..*times {
            self.stream.write_all(piece).await?;
        }
        Ok(())
    }

    async fn head(&mut self) -> Result<Head> {
        loop {
            let seen = &self.buffer[self.start..self.end];
            if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = parse(std::str::from_utf8(&seen[..end])?)?;
                self.start += end + 4;
                if head.status >= 200 {
                    return Ok(head);
                }
                continue;
            }
            ensure!(seen.len() < HEAD_BYTES_MAX, "a head without an end");
            self.more().await?;
        }
    }

    /// Reads past a body of known length, without keeping it.
    async fn skip(&mut self, length: u64) -> Result<()> {
        let mut left = length;
        loop {
            let here = left.min(self.left() as u64);
            self.start += here as usize;
            left -= here;
            if left == 0 {
                return Ok(());
            }
            self.more().await?;
        }
    }

    async fn skip_chunks(&mut self) -> Result<u64> {
        let mut bytes = 0;
        loop {
            let size = self.line().await?;
            let size = u64::from_str_radix(size.split(';').next().unwrap_or("").trim(), 16)?;
            self.skip(size).await?;
            self.line().await?;
            if size == 0 {
                return Ok(bytes);
            }
            bytes += size;
        }
    }

    async fn line(&mut self) -> Result<String> {
        loop {
            let seen = &self.buffer[self.start..self.end];
            if let Some(end) = seen.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&seen[..end]).into_owned();
                self.start += end + 2;
                return Ok(line);
            }
            ensure!(seen.len() < HEAD_BYTES_MAX, "a line without an end");
            self.more().await?;
        }
    }

    fn left(&self) -> usize {
        self.end - self.start
    }

    async fn more(&mut self) -> Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.buffer.len() {
                self.buffer.resize(self.end * 2, 0);
            }
        }
        let read = self.stream.read(&mut self.buffer[self.end..]).await?;
        if read == 0 {
            bail!("the server closed the connection");
        }
        self.end += read;
        Ok(())
    }
}

fn parse(text: &str) -> Result<Head> {
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let mut head = Head {
        status: status.with_context(|| format!("no answer of HTTP: {first}"))?,
        length: None,
        chunked: false,
        tag: None,
        location: None,
    };
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            head.length = Some(value.trim().parse()?);
        } else if name.eq_ignore_ascii_case("etag") {
            head.tag = Some(value.trim().to_owned());
        } else if name.eq_ignore_ascii_case("location") {
            head.location = Some(value.trim().to_owned());
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            head.chunked = value.trim().eq_ignore_ascii_case("chunked");
        }
    }
    Ok(head)
}
