//! The pieces together, behind a real socket.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::ops::Range;

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Request};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tower::ServiceExt as _;

use super::*;
use crate::catalog::Catalog;
use crate::identity::{
    Action, Caller, Grant, Identity, LinkScope, NewKey, Options, Resource, Role,
};
use crate::kernel::{Clock, ETag};

struct House {
    router: Router,
    identity: Identity,
    gate: Gate,
    _dir: tempfile::TempDir,
}

async fn who(caller: Caller) -> String {
    caller.actor().to_string()
}

async fn keys(caller: Caller) -> Result<&'static str, Problem> {
    require(&caller, Action::ManageKeys, &Resource::Node)?;
    Ok("keys")
}

async fn house() -> House {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("catalog.sqlite");
    let catalog = Catalog::open(&crate::catalog::Options::Sqlite(file))
        .await
        .unwrap();
    let clock = Clock::manual(1_700_000_000_000);
    // A tailscaled that is away: only tailnet addresses notice.
    let options = Options {
        data_dir: dir.path().into(),
        tailnet: Some(crate::identity::TailnetOptions {
            socket: dir.path().join("none.sock"),
            ..Default::default()
        }),
    };
    let identity = Identity::open(catalog, clock.clone(), options)
        .await
        .unwrap();
    let gate = Gate::new(identity.clone(), clock, vec!["https://tv.example".into()]);
    let router = Router::new()
        .route("/who", get(who).merge(post(who)))
        .route("/keys", get(keys))
        .route("/open", get(|| async { "open" }))
        .layer(Extension(PeerAddr(
            "192.0.2.7:5000".parse::<SocketAddr>().unwrap(),
        )))
        .layer(from_fn_with_state(gate.clone(), context));
    House {
        router,
        identity,
        gate,
        _dir: dir,
    }
}

impl House {
    async fn send(&self, request: axum::http::request::Builder) -> (StatusCode, HeaderMap, String) {
        let request: Request = request.body(Body::empty()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.into()).unwrap();
        (parts.status, parts.headers, text)
    }

    async fn key(&self) -> String {
        let new = NewKey {
            grants: vec![Grant::new(Role::Read, "films".parse().unwrap())],
            ..NewKey::default()
        };
        let made = self
            .identity
            .create_key(&Caller::system(), new)
            .await
            .unwrap();
        basic(made.key.id.as_str(), made.secret.reveal())
    }
}

fn basic(id: &str, secret: &str) -> String {
    use base64::Engine as _;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
    format!("Basic {pair}")
}

#[tokio::test]
async fn a_request_gets_its_caller_or_a_problem_with_its_name() {
    let house = house().await;
    let key = house.key().await;
    let (status, headers, body) = house.send(Request::get("/who")).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "anonymous"));
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let (_, _, body) = house
        .send(Request::get("/who").header("authorization", &key))
        .await;
    assert!(body.starts_with("key:NEB"), "{body}");
    let (status, headers, body) = house.send(Request::get("/keys")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(headers.contains_key(header::WWW_AUTHENTICATE));
    assert_eq!(headers["content-type"], "application/problem+json");
    let problem: nebula_api::Problem = serde_json::from_str(&body).unwrap();
    assert_eq!(
        problem.request_id.as_deref(),
        headers["x-request-id"].to_str().ok()
    );
    let request = Request::get("/keys").header("x-requested-with", "nebula-console");
    let (status, headers, _) = house.send(request).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(!headers.contains_key(header::WWW_AUTHENTICATE));
    let (status, _, body) = house
        .send(Request::get("/keys").header("authorization", &key))
        .await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(body.contains("needs the role admin on *"), "{body}");
}

#[tokio::test]
async fn a_wrong_credential_is_refused_and_guessing_is_slowed() {
    let house = house().await;
    for bad in ["Bearer x", "Basic", "Basic !!", "Basic bm9jb2xvbg=="] {
        let (status, _, _) = house
            .send(Request::get("/who").header("authorization", bad))
            .await;
        assert_eq!(status, StatusCode::UNAUTHORIZED, "{bad}");
    }
    let wrong = basic("NEBNOBODY", "guess");
    for _ in 0..FAILURES_MAX {
        let (status, _, _) = house
            .send(Request::get("/who").header("authorization", &wrong))
            .await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
    }
    let (status, headers, _) = house
        .send(Request::get("/who").header("authorization", &wrong))
        .await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(headers["retry-after"], "60");
    let (status, _, _) = house.send(Request::get("/who")).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_tailnet_address_without_tailscaled_is_nobody_but_a_key_still_works() {
    let house = house().await;
    let peer = Some(PeerAddr("100.64.0.9:1".parse().unwrap()));
    let problem = house
        .gate
        .caller(&HeaderMap::new(), peer)
        .await
        .unwrap_err();
    assert_eq!(problem.status(), StatusCode::SERVICE_UNAVAILABLE);
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, house.key().await.parse().unwrap());
    let caller = house.gate.caller(&headers, peer).await.unwrap();
    assert_eq!(caller.source(), Some("100.64.0.9".parse().unwrap()));
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let house = house().await;
    for (origin, status) in [
        ("http://node.local:8000", StatusCode::OK),
        ("https://tv.example", StatusCode::OK),
        ("https://evil.example", StatusCode::FORBIDDEN),
        ("null", StatusCode::FORBIDDEN),
    ] {
        let request = Request::post("/who").header("host", "node.local:8000");
        let (got, _, _) = house.send(request.header("origin", origin)).await;
        assert_eq!(got, status, "{origin}");
    }
    let request = Request::get("/who").header("origin", "https://evil.example");
    assert_eq!(house.send(request).await.0, StatusCode::OK);
}

#[tokio::test]
async fn media_may_be_read_across_origins_by_bearers_alone() {
    let house = house().await;
    let scope = LinkScope::Object("films".parse().unwrap(), "a".parse().unwrap());
    let link = house
        .identity
        .create_link(&Caller::system(), scope, 60)
        .await
        .unwrap();
    let link = house.gate.link(link.token.reveal(), None).await.unwrap();
    let lost = house.gate.link("nonsense", None).await.unwrap_err();
    assert_eq!(lost.status(), StatusCode::NOT_FOUND);
    let allowed = |caller: &Caller, origin: &str| {
        let mut request = HeaderMap::new();
        request.insert(header::ORIGIN, origin.parse().unwrap());
        let mut response = HeaderMap::new();
        media_cors(&house.gate, caller, &request, &mut response);
        let value = response.remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        value.map(|v| v.to_str().unwrap().to_owned())
    };
    assert_eq!(allowed(&link, "http://x.example").as_deref(), Some("*"));
    assert_eq!(allowed(&Caller::anonymous(), "http://x.example"), None);
    let trusted = allowed(&Caller::anonymous(), "https://tv.example");
    assert_eq!(trusted.as_deref(), Some("https://tv.example"));
    assert_eq!(media_preflight().status(), StatusCode::NO_CONTENT);
}

fn content() -> Bytes {
    (0..100_000u32).map(|n| (n % 251) as u8).collect()
}

async fn serve(method: Method, pairs: &[(&str, &str)]) -> (StatusCode, HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name: axum::http::HeaderName = name.parse().unwrap();
        headers.insert(name, value.parse().unwrap());
    }
    let content = content();
    let etag = ETag::from_stored("tag".into());
    let object = Representation::new(content.len() as u64, etag, 784_111_777_000, "video/mp4");
    let open = |range: Range<u64>| {
        let part = content.slice(range.start as usize..range.end as usize);
        std::future::ready(Ok::<_, Infallible>(Full::new(part)))
    };
    let response: Response = serve_object(&method, &headers, &object, open)
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts.status, parts.headers, body)
}

#[tokio::test]
async fn an_object_is_served_whole_in_parts_or_not_at_all() {
    let content = content();
    let (status, headers, body) = serve(Method::GET, &[]).await;
    assert_eq!((status, &body), (StatusCode::OK, &content));
    assert_eq!(headers["content-length"], "100000");
    assert_eq!(headers["accept-ranges"], "bytes");
    assert_eq!(headers["etag"], "\"tag\"");
    assert_eq!(headers["last-modified"], "Sun, 06 Nov 1994 08:49:37 GMT");
    let (status, headers, body) = serve(Method::HEAD, &[("range", "bytes=0-9")]).await;
    assert_eq!((status, body.len()), (StatusCode::OK, 0));
    assert_eq!(headers["content-length"], "100000");
    let dlna = ("transferMode.dlna.org", "Streaming");
    let (status, headers, body) = serve(Method::GET, &[("range", "bytes=-500"), dlna]).await;
    assert_eq!(
        (status, &body[..]),
        (StatusCode::PARTIAL_CONTENT, &content[99_500..])
    );
    assert_eq!(headers["content-range"], "bytes 99500-99999/100000");
    assert_eq!(headers["content-length"], "500");
    assert_eq!(headers["transfermode.dlna.org"], "Streaming");
    let (status, headers, _) = serve(Method::GET, &[("range", "bytes=100000-")]).await;
    assert_eq!(status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(headers["content-range"], "bytes */100000");
    let both = [("if-none-match", "\"tag\""), ("range", "bytes=0-4")];
    let (status, headers, body) = serve(Method::GET, &both).await;
    assert_eq!((status, body.len()), (StatusCode::NOT_MODIFIED, 0));
    assert_eq!(headers["etag"], "\"tag\"");
    let (status, _, _) = serve(Method::GET, &[("if-match", "\"nope\"")]).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED);
    let stale = [("if-range", "\"nope\""), ("range", "bytes=5-9")];
    assert_eq!(serve(Method::GET, &stale).await.0, StatusCode::OK);
    let fresh = [("if-range", "\"tag\""), ("range", "bytes=5-9")];
    assert_eq!(serve(Method::GET, &fresh).await.2, content.slice(5..10));
}

#[tokio::test]
async fn several_ranges_come_as_one_multipart_body_of_the_announced_length() {
    let content = content();
    let asked = [("range", "bytes=0-99,1000-1099,-50")];
    let (status, headers, body) = serve(Method::GET, &asked).await;
    assert_eq!(status, StatusCode::PARTIAL_CONTENT);
    assert!(!headers.contains_key("content-range"));
    assert_eq!(headers["content-length"], body.len().to_string().as_str());
    let kind = headers["content-type"].to_str().unwrap();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let mut expected = Vec::new();
    for range in [0..100, 1000..1100, 99_950..100_000] {
        let head = format!(
            "--{boundary}\r\nContent-Type: video/mp4\r\nContent-Range: bytes {}-{}/100000\r\n\r\n",
            range.start,
            range.end - 1
        );
        expected.extend_from_slice(head.as_bytes());
        expected.extend_from_slice(&content[range]);
        expected.extend_from_slice(b"\r\n");
    }
    expected.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    assert_eq!(body, expected);
}
