//! From a request to its caller: one order of credentials for every door.
//!
//! HTTP Basic first (a temporary key brings its token in `x-amz-security-token`), then the tailnet, then nobody.
//! A credential that is wrong is refused, never passed over for a weaker one.

use std::net::{IpAddr, SocketAddr};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Method, StatusCode, Uri, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nebula_api::problem::code;

use super::problem::Problem;
use super::throttle::Throttle;
use crate::identity::{Action, Actor, Caller, Decision, Identity, Resource, Rule};
use crate::kernel::Clock;

/// Longest credential that is read.
const CREDENTIAL_BYTES_MAX: usize = 4096;
/// What a temporary key comes with, beside its pair.
const TOKEN: &str = "x-amz-security-token";

/// The address that a connection came from; the listener puts it into the request's extensions, and a Unix socket has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerAddr(pub SocketAddr);

impl PeerAddr {
    /// What the listener left in a request's extensions: a `PeerAddr`, or the bare address.
    pub fn of(extensions: &Extensions) -> Option<Self> {
        let bare = || extensions.get::<SocketAddr>().copied().map(Self);
        extensions.get::<Self>().copied().or_else(bare)
    }
}

/// Answers who stands behind a request; a cheap handle.
///
/// [`super::context`] puts it into every request's extensions, and so a handler may simply take a [`Caller`].
#[derive(Clone)]
pub struct Gate {
    identity: Identity,
    throttle: Throttle,
    origins: std::sync::Arc<[String]>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Gate(…)")
    }
}

impl Gate {
    /// A gate in front of `identity`; pages of `origins` (`https://tv.example.org`) may act as whoever is logged in or in the tailnet.
    pub fn new(identity: Identity, clock: Clock, origins: Vec<String>) -> Self {
        Self {
            identity,
            throttle: Throttle::new(clock),
            origins: origins.into(),
        }
    }

    /// The room behind.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether pages of this origin are trusted like our own.
    pub fn trusts(&self, origin: &str) -> bool {
        self.origins.iter().any(|known| known == origin)
    }

    /// The caller of a request.
    ///
    /// # Errors
    /// 401 for a wrong credential, 429 after too many of them, 503 when tailscaled is away and there is no other credential.
    pub async fn caller(
        &self,
        headers: &HeaderMap,
        peer: Option<PeerAddr>,
    ) -> Result<Caller, Problem> {
        let source = peer.map(|peer| peer.0.ip().to_canonical());
        if let Some(value) = headers.get(header::AUTHORIZATION) {
            let token = headers
                .get(TOKEN)
                .map(|token| token.to_str().unwrap_or("?"));
            let caller = self.by_credential(value.as_bytes(), token, source).await?;
            return Ok(caller.from_source(source));
        }
        let known = match peer {
            Some(PeerAddr(address)) => self.identity.peer(address).await?,
            None => None,
        };
        let caller = known.unwrap_or_else(Caller::anonymous);
        Ok(caller.from_source(source))
    }

    /// The caller behind the token of a signed link.
    ///
    /// # Errors
    /// One and the same 404 for every link that does not work, 429 after too many of them.
    pub async fn link(&self, token: &str, peer: Option<PeerAddr>) -> Result<Caller, Problem> {
        let source = peer.map(|peer| peer.0.ip().to_canonical());
        self.check_throttle(source)?;
        if let Some(caller) = self.identity.link(token).await? {
            return Ok(caller.from_source(source));
        }
        self.throttle.failed(source);
        Err(Problem::link_not_found())
    }

    async fn by_credential(
        &self,
        value: &[u8],
        token: Option<&str>,
        source: Option<IpAddr>,
    ) -> Result<Caller, Problem> {
        let Some(pair) = basic(value) else {
            return Err(Problem::unauthenticated(
                "The Authorization header is not HTTP Basic with an access key id and a secret.",
            ));
        };
        self.check_throttle(source)?;
        if let Some(caller) = self.holder(&pair, token).await? {
            return Ok(caller);
        }
        self.throttle.failed(source);
        tracing::info!(source = ?source, "a wrong access key pair was refused");
        Err(wrong_pair())
    }

    /// Who holds a pair and its token; `None` when it opens nothing.
    async fn holder(
        &self,
        (id, secret): &(String, String),
        token: Option<&str>,
    ) -> Result<Option<Caller>, Problem> {
        Ok(match token.filter(|token| !token.is_empty()) {
            Some(token) => self.identity.basic_session(id, secret, token).await?,
            None => self.identity.basic(id, secret).await?,
        })
    }

    /// Refuses a source that guessed too often; for doors that check credentials themselves.
    pub fn check_throttle(&self, source: Option<IpAddr>) -> Result<(), Problem> {
        match self.throttle.wait_s(source) {
            None => Ok(()),
            Some(seconds) => Err(Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                code::TOO_MANY_REQUESTS,
                "Too many wrong credentials came from this address.",
            )
            .detail(format!("Try again in {seconds} s."))
            .retry_after_s(seconds)),
        }
    }

    /// Counts a wrong credential; for doors that check credentials themselves.
    pub fn note_failure(&self, source: Option<IpAddr>) {
        self.throttle.failed(source);
    }

    /// Refuses what a page of another site makes a browser do in its user's name.
    ///
    /// A browser sends remembered Basic credentials and has a tailnet address whatever page it shows; it says which page in `Origin`, which nothing but a browser sends unasked.
    ///
    /// # Errors
    /// 403 when a method that changes something comes from a foreign page.
    pub fn check_origin(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<(), Problem> {
        if method.is_safe() {
            return Ok(());
        }
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let origin = origin.to_str().unwrap_or("null");
        // HTTP/2 names the host in the URI.
        let host = uri.authority().map(axum::http::uri::Authority::as_str);
        let host = host.or_else(|| headers.get(header::HOST)?.to_str().ok());
        let own = origin.split_once("://").map(|(_, authority)| authority);
        if (own.is_some() && own == host) || self.trusts(origin) {
            return Ok(());
        }
        Err(
            Problem::forbidden(format!("A page of {origin} may not change anything here.")).hint(
                "If it is yours, name it in server.trusted_origins of the node's configuration.",
            ),
        )
    }
}

fn wrong_pair() -> Problem {
    Problem::unauthenticated("The access key id or its secret is wrong, expired or disabled.")
}

/// What a request showed of its sender, to be asked about once more when a body has come that may have taken hours.
#[derive(Clone, Debug)]
pub struct Credential {
    gate: Gate,
    pair: Option<(String, String)>,
    token: Option<String>,
    peer: Option<PeerAddr>,
}

impl Credential {
    /// That of a request that came through [`super::context`].
    ///
    /// # Errors
    /// 500 when the router was built without that layer.
    pub fn of(parts: &Parts) -> Result<Self, Problem> {
        let gate = parts.extensions.get::<Gate>().cloned();
        let text = |name| {
            let value = parts.headers.get(name)?;
            Some(value.to_str().unwrap_or("?").to_owned())
        };
        let authorization = parts.headers.get(header::AUTHORIZATION);
        Ok(Self {
            gate: gate.ok_or_else(|| Problem::internal("the router has no gate"))?,
            pair: authorization.and_then(|value| basic(value.as_bytes())),
            token: text(TOKEN),
            peer: PeerAddr::of(&parts.extensions),
        })
    }

    /// The room that decides.
    pub fn identity(&self) -> &Identity {
        self.gate.identity()
    }

    /// Who holds it now, with the rights of now. It held when the request came, so nobody is guessing and nothing is throttled.
    ///
    /// # Errors
    /// 401 for what was revoked, switched off, expired or given another secret; 503 when tailscaled is away and there is no other credential.
    pub async fn caller(&self) -> Result<Caller, Problem> {
        let Some(pair) = &self.pair else {
            return self.gate.caller(&HeaderMap::new(), self.peer).await;
        };
        let holder = self.gate.holder(pair, self.token.as_deref()).await?;
        let source = self.peer.map(|peer| peer.0.ip().to_canonical());
        Ok(holder.ok_or_else(wrong_pair)?.from_source(source))
    }
}

/// The pair of an `Authorization: Basic` header (RFC 7617).
fn basic(value: &[u8]) -> Option<(String, String)> {
    if value.len() > CREDENTIAL_BYTES_MAX {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// Asks for a right and turns a refusal into its answer: 401 to nobody, 403 to a known caller.
///
/// # Errors
/// The refusal.
pub fn require(caller: &Caller, action: Action, resource: &Resource<'_>) -> Result<Rule, Problem> {
    verdict(caller, caller.may(action, resource))
}

/// The same where a bucket has a say: its policy may deny what a grant allows, and allow what none does.
///
/// # Errors
/// The refusal; 503 when the bucket cannot be looked up.
pub async fn require_here(
    identity: &Identity,
    caller: &Caller,
    action: Action,
    resource: &Resource<'_>,
) -> Result<Rule, Problem> {
    verdict(caller, identity.decide(caller, action, resource).await?)
}

fn verdict(caller: &Caller, decision: Decision) -> Result<Rule, Problem> {
    if decision.allow {
        return Ok(decision.rule);
    }
    Err(match caller.actor() {
        // What a link does not open is as if it were not there.
        Actor::Link { .. } => Problem::link_not_found(),
        _ => Problem::denied(caller, &decision),
    })
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let Some(gate) = parts.extensions.get::<Gate>().cloned() else {
            return Err(Problem::internal("the router has no gate"));
        };
        gate.check_origin(&parts.method, &parts.uri, &parts.headers)?;
        let peer = PeerAddr::of(&parts.extensions);
        let caller = gate.caller(&parts.headers, peer).await?;
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}
