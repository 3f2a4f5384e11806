//! Networks that misbehave on purpose, on loopback: what a wire can do to bytes, and what a proxy can do to requests.
//!
//! [`Wire`] knows nothing of HTTP: it relays bytes and breaks connections after a planned number of them.
//! [`Middle`] knows nothing else: it takes a request whole before it passes it on, as buffering proxies do, and may do so
//! late, twice, or after its client has gone. Both count what they did, so that a test can say what it may have cost.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::Seed;

/// What is relayed at once.
const PIECE_BYTES: usize = 64 << 10;
/// The largest body that a [`Middle`] takes.
const BODY_BYTES_MAX: usize = 128 << 20;
/// The longest that a [`Middle`] holds a request back.
const HELD_BACK_MS: u64 = 40;

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Both sides see a reset.
    Cut,
    /// Nothing passes for so long, then all goes on.
    Stall(Duration),
    /// Nothing passes for so long, then both sides see a reset.
    Drop(Duration),
    /// The node sees the end of the stream in the middle of it; what it answers still passes.
    Truncate,
    /// What was asked arrives, the answer to it never does.
    LoseAnswer,
    /// The connection is closed as soon as it was made; so are the next ones, as many as said.
    Refuse(u32),
}

impl Fault {
    /// One of them, none longer than some tenths of a second.
    pub fn random(seed: &mut Seed) -> Self {
        let pause = Duration::from_millis(seed.within(5, 250));
        match seed.within(0, 6) {
            0 => Self::Cut,
            1 => Self::Stall(pause),
            2 => Self::Drop(pause),
            3 => Self::Truncate,
            4 => Self::LoseAnswer,
            _ => Self::Refuse(u32::try_from(seed.within(1, 4)).expect("a small number")),
        }
    }
}

/// A relay between a client and a node.
#[derive(Debug)]
pub struct Wire {
    relay: Arc<Relay>,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Relay {
    address: SocketAddr,
    node: SocketAddr,
    /// Each after so many more bytes towards the node than the one before.
    plan: Mutex<VecDeque<(u64, Fault)>>,
    refusing: AtomicU64,
    refused: AtomicU64,
    fired: AtomicU64,
    sent_bytes: AtomicU64,
    requests: AtomicU64,
}

impl Wire {
    /// A sound wire to `HOST:PORT`, until something else is planned.
    ///
    /// # Panics
    /// When loopback has no port to give.
    pub async fn to(node: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has a free port");
        let relay = Arc::new(Relay {
            address: listener.local_addr().expect("it is bound"),
            node: node.parse().expect("an address of loopback"),
            plan: Mutex::default(),
            refusing: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            fired: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(Arc::clone(&relay), listener));
        Self {
            relay,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    /// Where clients connect to.
    pub fn url(&self) -> String {
        format!("http://{}", self.relay.address)
    }

    /// `HOST:PORT` of it.
    pub fn address(&self) -> String {
        self.relay.address.to_string()
    }

    /// Adds a fault, that many bytes towards the node after the one planned before it.
    pub fn plan(&self, after_bytes: u64, fault: Fault) {
        self.relay.plan().push_back((after_bytes, fault));
    }

    /// How many faults have happened.
    pub fn fired(&self) -> u64 {
        self.relay.fired.load(Ordering::SeqCst)
    }

    /// How many connections were closed as soon as they were made: nothing passed on them, whatever their clients had begun to send.
    pub fn refused(&self) -> u64 {
        self.relay.refused.load(Ordering::SeqCst)
    }

    /// Every byte that clients have put on it, heads of requests too.
    pub fn sent_bytes(&self) -> u64 {
        self.relay.sent_bytes.load(Ordering::SeqCst)
    }

    /// How often a client began to speak: about one per request.
    pub fn requests(&self) -> u64 {
        self.relay.requests.load(Ordering::SeqCst)
    }
}

async fn accept(relay: Arc<Relay>, listener: TcpListener) {
    while let Ok((client, _)) = listener.accept().await {
        let refused = relay
            .refusing
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        if refused.is_ok() {
            relay.refused.fetch_add(1, Ordering::SeqCst);
            reset(client);
            continue;
        }
        let relay = Arc::clone(&relay);
        tokio::spawn(async move {
            match TcpStream::connect(relay.node).await {
                Ok(node) => relay.carry(client, node).await,
                // A dead node's port: the client shall see what it would have seen.
                Err(_) => reset(client),
            }
        });
    }
}

fn reset(stream: TcpStream) {
    // Without effect on a connection that is gone already.
    let _ = stream.set_zero_linger();
}

/// How a connection goes on after a piece.
enum On {
    Relaying,
    /// The next bytes of the node are thrown away, and the connection with them.
    LosingAnswer,
    /// The client's bytes go nowhere.
    Truncated,
    Over,
}

impl Relay {
    fn plan(&self) -> std::sync::MutexGuard<'_, VecDeque<(u64, Fault)>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much of a piece passes, and the fault that comes then.
    fn next(&self, bytes: usize) -> (usize, Option<Fault>) {
        let mut plan = self.plan();
        let Some((left, fault)) = plan.front_mut() else {
            return (bytes, None);
        };
        if *left > bytes as u64 {
            *left -= bytes as u64;
            return (bytes, None);
        }
        let (passes, fault) = (*left as usize, *fault);
        plan.pop_front();
        self.fired.fetch_add(1, Ordering::SeqCst);
        (passes, Some(fault))
    }

    async fn carry(&self, mut client: TcpStream, mut node: TcpStream) {
        let _ = (client.set_nodelay(true), node.set_nodelay(true));
        let (mut up, mut down) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES]);
        let (mut on, mut node_spoke) = (On::Relaying, true);
        loop {
            let step = tokio::select! {
                read = client.read(&mut up), if !matches!(on, On::Truncated) => match read {
                    Ok(bytes) if bytes > 0 => {
                        self.sent_bytes.fetch_add(bytes as u64, Ordering::SeqCst);
                        self.requests.fetch_add(u64::from(node_spoke), Ordering::SeqCst);
                        node_spoke = false;
                        self.up(&up[..bytes], &mut node).await.unwrap_or(On::Over)
                    }
                    _ => return,
                },
                read = node.read(&mut down) => match read {
                    Ok(bytes) if bytes > 0 && !matches!(on, On::LosingAnswer) => {
                        node_spoke = true;
                        match client.write_all(&down[..bytes]).await {
                            Ok(()) => On::Relaying,
                            Err(_) => return,
                        }
                    }
                    Ok(0) if !matches!(on, On::LosingAnswer) => return,
                    _ => On::Over,
                },
            };
            on = match (step, on) {
                (On::Relaying, before @ (On::LosingAnswer | On::Truncated)) => before,
                (On::Over, _) => {
                    reset(client);
                    reset(node);
                    return;
                }
                (step, _) => step,
            };
        }
    }

    /// Passes a piece on to the node, with the faults that fall into it.
    async fn up(&self, mut piece: &[u8], node: &mut TcpStream) -> std::io::Result<On> {
        let mut on = On::Relaying;
        while !piece.is_empty() {
            let (passes, fault) = self.next(piece.len());
            node.write_all(&piece[..passes]).await?;
            piece = &piece[passes..];
            match fault {
                None => {}
                Some(Fault::Cut) => return Ok(On::Over),
                Some(Fault::Stall(pause)) => tokio::time::sleep(pause).await,
                Some(Fault::Drop(pause)) => {
                    tokio::time::sleep(pause).await;
                    return Ok(On::Over);
                }
                Some(Fault::Truncate) => {
                    node.shutdown().await?;
                    return Ok(On::Truncated);
                }
                Some(Fault::LoseAnswer) => on = On::LosingAnswer,
                Some(Fault::Refuse(more)) => {
                    self.refusing.fetch_add(more.into(), Ordering::SeqCst);
                    return Ok(On::Over);
                }
            }
        }
        Ok(on)
    }
}

/// A proxy that understands requests, and does with them what proxies may.
#[derive(Debug)]
pub struct Middle {
    address: SocketAddr,
    proxy: Proxy,
    _serving: AbortOnDropHandle<()>,
}

#[derive(Debug, Clone)]
struct Proxy {
    node: String,
    http: reqwest::Client,
    seed: Arc<Mutex<Seed>>,
    odd: Arc<AtomicU64>,
    is_odd: bool,
}

impl Middle {
    /// A proxy to `HOST:PORT` that holds every body whole before it passes it on, and is otherwise sound.
    pub async fn buffering(node: &str) -> Self {
        Self::start(node, Seed::fixed(0), false).await
    }

    /// The same, and some requests come late (so that they change places with those after them, and arrive after their
    /// client has gone) or twice.
    pub async fn odd(node: &str, seed: Seed) -> Self {
        Self::start(node, seed, true).await
    }

    async fn start(node: &str, seed: Seed, is_odd: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("loopback has a free port");
        let address = listener.local_addr().expect("it is bound");
        let proxy = Proxy {
            node: format!("http://{node}"),
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client without wishes"),
            seed: Arc::new(Mutex::new(seed)),
            odd: Arc::default(),
            is_odd,
        };
        let app = Router::new().fallback(pass).with_state(proxy.clone());
        let serving = tokio::spawn(async move {
            // It ends with the handle.
            let _ = axum::serve(listener, app).await;
        });
        Self {
            address,
            proxy,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// `HOST:PORT` of it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// How many requests came late or twice.
    pub fn odd_requests(&self) -> u64 {
        self.proxy.odd.load(Ordering::SeqCst)
    }
}

async fn pass(State(proxy): State<Proxy>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // A body that breaks off is never passed on: that is what buffering means.
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::REQUEST_TIMEOUT.into_response();
    };
    // Once it is whole it arrives, whatever becomes of the client.
    let passing = tokio::spawn(async move {
        let (late_ms, times) = proxy.oddity();
        tokio::time::sleep(Duration::from_millis(late_ms)).await;
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let address = format!("{}{path}", proxy.node);
        let mut answer = Err(None);
        for _ in 0..times {
            let request = proxy
                .http
                .request(parts.method.clone(), &address)
                .headers(end_to_end(&parts.headers))
                .body(body.clone());
            answer = request.send().await.map_err(Some);
        }
        answer
    });
    match passing.await {
        Ok(Ok(answer)) => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = answer.status();
            *response.headers_mut() = end_to_end(answer.headers());
            *response.body_mut() = Body::from_stream(answer.bytes_stream());
            response
        }
        _ => StatusCode::BAD_GATEWAY.into_response(),
    }
}

impl Proxy {
    /// How late a request shall be, and how often it shall arrive.
    fn oddity(&self) -> (u64, u32) {
        if !self.is_odd {
            return (0, 1);
        }
        let mut seed = self.seed.lock().unwrap_or_else(PoisonError::into_inner);
        let oddity = match seed.within(0, 10) {
            0 => (0, 2),
            1..=3 => (seed.within(1, HELD_BACK_MS), 1),
            _ => return (0, 1),
        };
        self.odd.fetch_add(1, Ordering::SeqCst);
        oddity
    }
}

/// What a proxy may pass on (RFC 9110 §7.6.1); the length is written anew.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in [
        header::CONNECTION,
        header::TRANSFER_ENCODING,
        header::HOST,
        header::CONTENT_LENGTH,
    ] {
        headers.remove(name);
    }
    headers
}
