//! Asking tailscaled who an address is, over its LocalAPI.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::actor::Caller;
use super::cache::{Cache, Found};
use super::error::IdentityError;
use super::whois;
use crate::kernel::Clock;

/// Where Debian's tailscaled listens.
pub const TAILSCALED_SOCKET: &str = "/var/run/tailscale/tailscaled.sock";
/// The capability whose grants become rights, as written under `grants` → `app` of a tailnet policy.
pub const TAILNET_CAPABILITY: &str = "nebula.dev/cap/access";
/// How long tailscaled may take.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Largest answer that is read; a real one has a few KiB.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Questions at once; further ones wait, and mostly find the answer remembered.
const QUESTIONS_MAX: usize = 8;

/// How to ask tailscaled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TailnetOptions {
    /// The LocalAPI's Unix socket, [`TAILSCALED_SOCKET`] by default.
    pub socket: PathBuf,
    /// Whose grants count, [`TAILNET_CAPABILITY`] by default.
    pub capability: String,
}

impl Default for TailnetOptions {
    fn default() -> Self {
        Self {
            socket: TAILSCALED_SOCKET.into(),
            capability: TAILNET_CAPABILITY.into(),
        }
    }
}

pub(super) struct Tailnet {
    client: reqwest::Client,
    capability: String,
    clock: Clock,
    /// `None`: tailscaled said that it is not a peer.
    known: Cache<IpAddr, Option<Caller>>,
    questions: Semaphore,
}

impl Tailnet {
    pub(super) fn new(options: TailnetOptions, clock: Clock) -> Result<Self, IdentityError> {
        let client = reqwest::Client::builder()
            .unix_socket(options.socket)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| IdentityError::Tailnet(error.to_string()))?;
        Ok(Self {
            client,
            capability: options.capability,
            clock,
            known: Cache::new(),
            questions: Semaphore::new(QUESTIONS_MAX),
        })
    }

    /// Who an address is; tailscaled is asked for addresses of the tailnet alone.
    pub(super) async fn peer(&self, address: SocketAddr) -> Result<Option<Caller>, IdentityError> {
        let ip = address.ip().to_canonical();
        if !of_tailnet(ip) {
            return Ok(None);
        }
        if let Found::Value(known) = self.known.get(&ip, self.clock.now_ms()) {
            return Ok(known);
        }
        let turn = self.questions.acquire().await;
        let _turn = turn.expect("the semaphore is never closed");
        let now_ms = self.clock.now_ms();
        // Whoever had the turn before may have asked the same.
        let generation = match self.known.get(&ip, now_ms) {
            Found::Value(known) => return Ok(known),
            Found::Missing(generation) => generation,
        };
        let caller = self.ask(SocketAddr::new(ip, address.port())).await;
        let caller = caller.map_err(IdentityError::Tailnet)?;
        let caller = caller.map(|caller| caller.from_source(Some(ip)));
        self.known.put(ip, caller.clone(), now_ms, generation);
        Ok(caller)
    }

    async fn ask(&self, address: SocketAddr) -> Result<Option<Caller>, String> {
        // The LocalAPI insists on this host name, and on no Origin or Referer.
        let request = self
            .client
            .get("http://local-tailscaled.sock/localapi/v0/whois")
            .query(&[("addr", address.to_string())]);
        let mut response = request.send().await.map_err(|e| in_full(&e))?;
        match response.status().as_u16() {
            200 => {}
            404 => return Ok(None),
            status => return Err(format!("it answered {status} to whois")),
        }
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| in_full(&e))? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err("its answer to whois is too long".into());
            }
            answer.extend_from_slice(&chunk);
        }
        whois::read(&answer, &self.capability).map(Some)
    }
}

/// With the causes: reqwest's own text says only that sending failed.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// 100.64.0.0/10 and fd7a:115c:a1e0::/48.
fn of_tailnet(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => matches!(ip.octets(), [100, 64..=127, ..]),
        IpAddr::V6(ip) => ip.segments().starts_with(&[0xfd7a, 0x115c, 0xa1e0]),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::extract::{Query, State};
    use axum::http::{HeaderMap, StatusCode};
    use std::collections::HashMap;

    #[test]
    fn the_tailnet_has_two_address_ranges() {
        for (ip, expected) in [
            ("100.64.0.1", true),
            ("100.127.255.255", true),
            ("100.63.255.255", false),
            ("100.128.0.0", false),
            ("127.0.0.1", false),
            ("fd7a:115c:a1e0::1", true),
            ("fd7a:115c:a1e1::1", false),
            ("::1", false),
        ] {
            assert_eq!(of_tailnet(ip.parse().unwrap()), expected, "{ip}");
        }
    }

    /// Answers as tailscaled's LocalAPI does: for one address a user, for the others 404.
    async fn local_api(
        State(asked): State<Arc<AtomicUsize>>,
        headers: HeaderMap,
        Query(query): Query<HashMap<String, String>>,
    ) -> (StatusCode, &'static str) {
        asked.fetch_add(1, Ordering::SeqCst);
        if headers["host"] != "local-tailscaled.sock" || headers.contains_key("origin") {
            return (StatusCode::FORBIDDEN, "");
        }
        match query["addr"].as_str() {
            "100.100.1.2:4000" | "[fd7a:115c:a1e0::9]:1" => (
                StatusCode::OK,
                r#"{"Node":{"Name":"laptop.x.ts.net."},"UserProfile":{"LoginName":"alice@x","DisplayName":"A"},
                   "CapMap":{"nebula.dev/cap/access":[{"role":"read","buckets":["media"]}]}}"#,
            ),
            "100.100.1.3:1" => (StatusCode::INTERNAL_SERVER_ERROR, ""),
            _ => (StatusCode::NOT_FOUND, ""),
        }
    }

    struct Fake {
        tailnet: Tailnet,
        clock: Clock,
        asked: Arc<AtomicUsize>,
        server: tokio::task::JoinHandle<()>,
        _dir: tempfile::TempDir,
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            self.server.abort();
        }
    }

    fn fake() -> Fake {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("tailscaled.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let app = axum::Router::new()
            .route("/localapi/v0/whois", axum::routing::get(local_api))
            .with_state(asked.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let clock = Clock::manual(1_000);
        let options = TailnetOptions {
            socket,
            ..TailnetOptions::default()
        };
        Fake {
            tailnet: Tailnet::new(options, clock.clone()).unwrap(),
            clock,
            asked,
            server,
            _dir: dir,
        }
    }

    #[tokio::test]
    async fn a_peer_is_known_and_remembered_for_ten_seconds() {
        let fake = fake();
        let address: SocketAddr = "100.100.1.2:4000".parse().unwrap();
        for _ in 0..3 {
            let caller = fake.tailnet.peer(address).await.unwrap().unwrap();
            assert_eq!(caller.actor().to_string(), "tailnet:alice@x");
            assert_eq!(caller.source(), Some(address.ip()));
        }
        assert_eq!(fake.asked.load(Ordering::SeqCst), 1);
        fake.clock.advance_ms(10_000);
        assert!(fake.tailnet.peer(address).await.unwrap().is_some());
        assert_eq!(fake.asked.load(Ordering::SeqCst), 2);
        let six = "[fd7a:115c:a1e0::9]:1".parse().unwrap();
        assert!(fake.tailnet.peer(six).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn strangers_are_nobody_and_outsiders_are_not_asked_about() {
        let fake = fake();
        let stranger = fake.tailnet.peer("100.64.0.1:1".parse().unwrap()).await;
        assert_eq!(stranger.unwrap(), None);
        assert_eq!(fake.asked.load(Ordering::SeqCst), 1);
        for outside in ["127.0.0.1:1", "192.168.1.5:1", "[::ffff:10.0.0.1]:1"] {
            let nobody = fake.tailnet.peer(outside.parse().unwrap()).await;
            assert_eq!(nobody.unwrap(), None);
        }
        assert_eq!(fake.asked.load(Ordering::SeqCst), 1);
        // A dual-stack listener reports IPv4 peers as mapped addresses.
        let mapped = fake
            .tailnet
            .peer("[::ffff:100.100.1.2]:4000".parse().unwrap());
        assert!(mapped.await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_tailscaled_that_fails_or_is_gone_lets_nobody_in() {
        let fake = fake();
        let failing = fake.tailnet.peer("100.100.1.3:1".parse().unwrap()).await;
        assert!(matches!(failing, Err(IdentityError::Tailnet(_))));
        let options = TailnetOptions {
            socket: "/nonexistent/tailscaled.sock".into(),
            ..TailnetOptions::default()
        };
        let gone = Tailnet::new(options, Clock::manual(0)).unwrap();
        let error = gone.peer("100.64.0.1:1".parse().unwrap()).await;
        assert!(matches!(error, Err(IdentityError::Tailnet(_))));
    }
}
