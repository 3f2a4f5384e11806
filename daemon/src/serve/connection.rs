//! One connection: bounded in time, told when the drain begins, cut when the grace is over.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Doors;
use super::count::{Activity, Counted, InFlight};
use super::socket::Socket;
use crate::blob::Bypass;
use crate::lifecycle::Lifecycle;
use crate::telemetry::metrics::{HTTP_CONNECTIONS, HTTP_CONNECTIONS_TOTAL};

/// How long a connection that was accepted just before the drain may take to say what it wants; closing it at once
/// would be a failed request that the next instance could have answered.
const FIRST_REQUEST: Duration = Duration::from_secs(2);
/// How long a peer that was told to go may keep an idle connection open.
const FAREWELL: Duration = Duration::from_secs(5);
/// What an HTTP/1 connection reads at once, which is also the longest head; every upload under way holds some of these.
const HTTP1_BUFFER_BYTES: usize = 64 * 1024;
/// HTTP/2 streams of one connection at once.
const STREAMS_MAX: u32 = 256;
/// HTTP/2 flow-control windows: a stream alone may fill a fast link, a connection stays bounded.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// How often a silent HTTP/2 peer is asked whether it still lives.
const PING_EVERY: Duration = Duration::from_secs(30);

/// What one visitor, or all of them, may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Connections at once.
    pub connections_max: usize,
    /// For the head of a request.
    pub head_timeout: Duration,
    /// Without a request.
    pub idle_timeout: Duration,
}

/// What all connections share.
pub(super) struct Shared<D> {
    pub(super) doors: Arc<D>,
    pub(super) in_flight: InFlight,
    protocol: Builder<TokioExecutor>,
    idle_timeout: Duration,
    drain: CancellationToken,
    cut: CancellationToken,
}

impl<D> Shared<D> {
    pub(super) fn new(doors: Arc<D>, bounds: Bounds, life: &Lifecycle) -> Self {
        let mut protocol = Builder::new(TokioExecutor::new());
        protocol
            .http1()
            .timer(TokioTimer::new())
            .max_buf_size(HTTP1_BUFFER_BYTES)
            .header_read_timeout(bounds.head_timeout);
        protocol
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .keep_alive_interval(PING_EVERY);
        Self {
            doors,
            in_flight: InFlight::new(),
            protocol,
            idle_timeout: bounds.idle_timeout,
            drain: life.drain(),
            cut: life.cut(),
        }
    }
}

/// Serves one connection to its end.
pub(super) async fn serve<D: Doors>(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared<D>>) {
    let _open = Open::begin();
    let activity = Arc::new(Activity::new());
    let bypass = Bypass::default();
    let service = service_fn(|mut request: Request<Incoming>| {
        let running = activity.begin(&shared.in_flight);
        let doors = Arc::clone(&shared.doors);
        request.extensions_mut().insert(peer);
        // Frames of HTTP/2 are copied, and a stand-in must not be.
        if request.version() < Version::HTTP_2 {
            request.extensions_mut().insert(bypass.clone());
        }
        async move {
            let response = doors.answer(request).await;
            Ok::<_, Infallible>(response.map(|body| Counted {
                body,
                _running: running,
            }))
        }
    });
    let io = TokioIo::new(Socket::new(stream, bypass.clone()));
    let mut connection = pin!(shared.protocol.serve_connection(io, service));

    let mut leaving = false;
    loop {
        // Looked at again whenever the time is up, because a request may have come and gone meanwhile.
        let patience = if leaving {
            FAREWELL
        } else {
            shared.idle_timeout.saturating_sub(activity.quiet_for())
        };
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    // Aborts are what players do at every seek; they are no news.
                    debug!(%peer, "the connection ended early: {error}");
                }
                return;
            }
            () = shared.cut.cancelled() => return,
            () = farewell(&shared.drain, &activity), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            () = tokio::time::sleep(patience) => {
                if leaving && activity.quiet_for() >= FAREWELL {
                    return;
                }
                if !leaving && activity.quiet_for() >= shared.idle_timeout {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Ends when the drain has begun and no first request is to be waited for any more.
async fn farewell(drain: &CancellationToken, activity: &Activity) {
    drain.cancelled().await;
    // Either outcome is a reason to say farewell.
    let _ = tokio::time::timeout(FIRST_REQUEST, activity.first()).await;
}

/// One open connection, in the metrics.
struct Open;

impl Open {
    fn begin() -> Self {
        metrics::counter!(HTTP_CONNECTIONS_TOTAL).increment(1);
        metrics::gauge!(HTTP_CONNECTIONS).increment(1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!(HTTP_CONNECTIONS).decrement(1.0);
    }
}
