#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

use super::{Bounds, Doors, ListenError, Listeners, Server, ask};
use crate::lifecycle::{Exit, Lifecycle};
use crate::telemetry::{Health, State};

const BOUNDS: Bounds = Bounds {
    connections_max: 64,
    head_timeout: Duration::from_secs(30),
    idle_timeout: Duration::from_mins(1),
};
const LONG: Duration = Duration::from_mins(1);

/// Doors with one room: `/slow` answers when it is let go, everything else at once with the peer's address.
struct House {
    entered: Notify,
    let_go: Semaphore,
    drained: AtomicBool,
}

impl Doors for House {
    type Body = Full<Bytes>;

    async fn answer(&self, request: Request<Incoming>) -> Response<Self::Body> {
        if request.uri().path() == "/slow" {
            self.entered.notify_one();
            self.let_go.acquire().await.unwrap().forget();
        }
        let peer = request.extensions().get::<SocketAddr>().unwrap();
        Response::new(Full::new(Bytes::from(peer.ip().to_string())))
    }

    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }

    async fn drain(&self) {
        self.drained.store(true, Ordering::Relaxed);
    }
}

struct Running {
    life: Lifecycle,
    house: Arc<House>,
    address: SocketAddr,
    end: JoinHandle<Exit>,
}

async fn run(bounds: Bounds, grace: Duration) -> Running {
    let life = Lifecycle::new(Health::default());
    let house = Arc::new(House {
        entered: Notify::new(),
        let_go: Semaphore::new(0),
        drained: AtomicBool::new(false),
    });
    let listeners = Listeners::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).unwrap();
    let address = listeners.addresses()[0];
    let server = Server::new(listeners, Arc::clone(&house), bounds, &life);
    let own = life.clone();
    let end = tokio::spawn(async move { own.run(server, grace, "ready").await });
    life.health().until(State::is_ready).await;
    Running {
        life,
        house,
        address,
        end,
    }
}

async fn send(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection that is cut may end with a reset; what came before it counts.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_running_request_is_finished_and_a_new_one_refused_during_a_drain() {
    let running = run(BOUNDS, LONG).await;
    let slow = send(running.address, "GET /slow HTTP/1.1\r\nHost: n\r\n\r\n").await;
    running.house.entered.notified().await;
    running.life.begin_drain("test");
    assert_eq!(running.life.health().state().word(), "draining");
    running.house.let_go.add_permits(1);
    let answer = rest(slow).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("127.0.0.1"),
        "{answer}"
    );
    assert_eq!(running.end.await.unwrap(), Exit::Drained);
    assert!(running.house.drained.load(Ordering::Relaxed));
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn whoever_was_accepted_before_the_drain_gets_his_first_answer() {
    let running = run(BOUNDS, LONG).await;
    let mut early = send(running.address, "GET / HT").await;
    // The connection is with the daemon as soon as a later one has been answered.
    let other = send(
        running.address,
        "GET / HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n",
    )
    .await;
    rest(other).await;
    running.life.begin_drain("test");
    early.write_all(b"TP/1.1\r\nHost: n\r\n\r\n").await.unwrap();
    let answer = rest(early).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(running.end.await.unwrap(), Exit::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_outlives_the_grace_is_cut() {
    let running = run(BOUNDS, Duration::from_secs(3)).await;
    let slow = send(running.address, "GET /slow HTTP/1.1\r\nHost: n\r\n\r\n").await;
    running.house.entered.notified().await;
    running.life.begin_drain("test");
    running.life.cut().cancelled().await;
    assert_eq!(rest(slow).await, "");
    assert_eq!(running.end.await.unwrap(), Exit::Drained);
}

#[tokio::test]
async fn a_second_signal_ends_everything_at_once() {
    let running = run(BOUNDS, LONG).await;
    let slow = send(running.address, "GET /slow HTTP/1.1\r\nHost: n\r\n\r\n").await;
    running.house.entered.notified().await;
    running.life.begin_drain("test");
    running.life.force();
    assert_eq!(running.end.await.unwrap(), Exit::Forced);
    assert_eq!(rest(slow).await, "");
}

#[tokio::test(start_paused = true)]
async fn silent_connections_are_closed() {
    let running = run(BOUNDS, LONG).await;
    for words in ["", "GET / HTTP/1.1\r\nHost: n\r\n\r\n"] {
        let begun = tokio::time::Instant::now();
        let stream = send(running.address, words).await;
        rest(stream).await;
        let open = begun.elapsed();
        assert!(
            open <= BOUNDS.idle_timeout * 2,
            "{words:?} stayed open for {open:?}"
        );
    }
    running.life.force();
    running.end.await.unwrap();
}

#[tokio::test]
async fn one_port_speaks_http_2_as_well() {
    let running = run(BOUNDS, LONG).await;
    let stream = TcpStream::connect(running.address).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Full<Bytes>>(executor, io)
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .uri("http://n/")
        .body(Full::default())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    assert_eq!(response.status(), 200);
    drop((sender, response));
    let _ = connection.await.unwrap();
    running.life.begin_drain("test");
    assert_eq!(running.end.await.unwrap(), Exit::Drained);
}

#[tokio::test]
async fn more_connections_than_places_wait_for_their_turn() {
    let bounds = Bounds {
        connections_max: 1,
        ..BOUNDS
    };
    let running = run(bounds, LONG).await;
    let first = send(
        running.address,
        "GET /slow HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n",
    )
    .await;
    running.house.entered.notified().await;
    let second = send(
        running.address,
        "GET / HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n",
    )
    .await;
    running.house.let_go.add_permits(1);
    assert!(rest(first).await.starts_with("HTTP/1.1 200"));
    assert!(rest(second).await.starts_with("HTTP/1.1 200"));
    running.life.force();
    running.end.await.unwrap();
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_way_to_its_holder() {
    let first = Listeners::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), None).unwrap();
    let address = first.addresses()[0];
    let error = Listeners::open(address, None).unwrap_err();
    assert!(matches!(error, ListenError::InUse(_)));
    let shown = error.to_string();
    assert!(
        shown.contains(&format!("ss -ltnp 'sport = :{}'", address.port())),
        "{shown}"
    );
    let nowhere = Listeners::open("192.0.2.1:0".parse().unwrap(), None).unwrap_err();
    assert!(
        matches!(nowhere, ListenError::NoSuchAddress(_)),
        "{nowhere}"
    );
}

#[tokio::test]
async fn the_private_socket_answers_from_the_start_to_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("health.sock");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut listeners = Listeners::open(address, Some(&socket)).unwrap();
    let life = Lifecycle::new(Health::default());
    life.answer_health(&mut listeners);
    assert_eq!(ask(&socket).await.unwrap().status, "starting");
    life.health().ready();
    let instance = ask(&socket).await.unwrap();
    assert_eq!(
        (instance.status.as_str(), instance.pid),
        ("ready", std::process::id())
    );
    assert_eq!(instance.build, crate::telemetry::build::ID);
    life.begin_drain("test");
    assert_eq!(ask(&socket).await.unwrap().status, "draining");
    life.over().cancel();
    life.tracker().close();
    life.tracker().wait().await;
    assert!(!socket.exists());
    assert!(ask(&socket).await.is_err());
}

#[tokio::test]
async fn a_socket_left_by_a_dead_daemon_is_replaced_and_one_in_use_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("health.sock");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // A std listener leaves its file behind when it is dropped, as a killed daemon does.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let alive = Listeners::open(address, Some(&socket)).unwrap();
    assert!(Listeners::open(address, Some(&socket)).is_err());
    drop(alive);
}
