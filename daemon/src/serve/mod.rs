//! Listeners and connections: from a socket to a request, and from a response back to the socket.
//!
//! Promises: one port speaks HTTP/1.1 and HTTP/2 (prior knowledge); sockets held by systemd win over an address;
//! nothing is accepted before [`Server::accept`]; a stranger holds a connection only as long as he uses it; on a
//! drain every running request may finish until the grace is over, and whoever is cut then had his notice.
//!
//! Data passes as `Request<Incoming>` with the peer's `std::net::SocketAddr` among its extensions to [`Doors`], and
//! as a `Response` back.
//!
//! Refuses to know: paths, doors, rights. The one exception is the private health socket, which answers from
//! [`Health`](crate::telemetry::Health) alone, so that it speaks before the rooms are built and after they are gone.

mod connection;
mod count;
mod health;
mod listen;
mod socket;

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tracing::{debug, warn};

use crate::lifecycle::Lifecycle;

pub use connection::Bounds;
pub(crate) use health::answer as answer_health;
pub use health::{Instance, ask};
pub use listen::{ListenError, Listeners};

/// How long to leave the kernel alone after it refused a connection (no descriptors, no memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// All doors together, as the wiring builds them: the only thing a connection sees of the house.
pub trait Doors: Send + Sync + 'static {
    /// The body of an answer.
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    /// Answers one request; its extensions hold the peer's `SocketAddr`.
    fn answer(
        &self,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>> + Send;

    /// Whether what the doors stand on (the catalog above all) answers; the text says what does not.
    fn probe(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// Hands running jobs back and flushes what uploads received. Called once, when the drain begins, beside the
    /// requests that still run; whatever it has not done when the grace is over is left to the next start.
    fn drain(&self) -> impl Future<Output = ()> + Send;
}

/// The accepting side of the daemon.
pub struct Server<D> {
    shared: Arc<connection::Shared<D>>,
    listeners: Listeners,
    bounds: Bounds,
}

impl<D: Doors> Server<D> {
    /// Puts listeners before doors; nothing is accepted yet.
    pub fn new(listeners: Listeners, doors: Arc<D>, bounds: Bounds, life: &Lifecycle) -> Self {
        Self {
            shared: Arc::new(connection::Shared::new(doors, bounds, life)),
            listeners,
            bounds,
        }
    }

    /// The doors behind this server.
    pub fn doors(&self) -> &Arc<D> {
        &self.shared.doors
    }

    /// Requests whose answer is not finished.
    pub fn in_flight(&self) -> u64 {
        self.shared.in_flight.count()
    }

    /// Starts to accept; the tasks end with the drain.
    pub fn accept(&mut self, life: &Lifecycle) {
        let places = Arc::new(Semaphore::new(self.bounds.connections_max));
        for listener in self.listeners.take_http() {
            let shared = Arc::clone(&self.shared);
            let places = Arc::clone(&places);
            let life_of_loop = life.clone();
            life.tracker().spawn(async move {
                accept_loop(listener, shared, places, life_of_loop).await;
            });
        }
    }
}

/// Accepts until the drain: a place first, a connection then, so that the excess waits in the kernel's queue.
async fn accept_loop<D: Doors>(
    listener: tokio::net::TcpListener,
    shared: Arc<connection::Shared<D>>,
    places: Arc<Semaphore>,
    life: Lifecycle,
) {
    let drain = life.drain();
    loop {
        let next = async {
            let place = Arc::clone(&places)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let Some((place, accepted)) = drain.run_until_cancelled(next).await else {
            return;
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Err(error) = stream.set_nodelay(true) {
                    debug!(%peer, "the connection ended before it began: {error}");
                    continue;
                }
                let shared = Arc::clone(&shared);
                life.connections().spawn(async move {
                    connection::serve(stream, peer, shared).await;
                    drop(place);
                });
            }
            Err(error) => {
                warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
