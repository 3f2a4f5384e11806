//! The door over a real store, asked without a socket: requests signed here, so that each header and byte is ours to choose.
#![expect(clippy::unwrap_used, reason = "tests")]

mod access;
mod host;
mod kept;
mod lists;
mod noise;
mod post;
mod sessions;
mod website;

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

use super::{DEFAULT_REGION, S3Door, S3Parts};
use crate::blob::{BlobOptions, Blobs};
use crate::catalog::Catalog;
use crate::http::Gate;
use crate::identity::{Caller, Grant, Identity, NewKey, Options, Role, RootPreset, Secret};
use crate::kernel::Clock;
use crate::notify::Targets;
use crate::store::{Store, StoreParts};

/// Who asks.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) secret: String,
}

/// A door with its store and its keys.
pub(super) struct House {
    pub(super) door: S3Door,
    pub(super) store: Store,
    pub(super) identity: Identity,
    pub(super) root: Key,
    _dir: tempfile::TempDir,
}

/// An answer, whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: http::HeaderMap,
    pub(super) text: String,
}

impl Answer {
    /// The code of an error document.
    pub(super) fn code(&self) -> &str {
        let rest = self.text.split("<Code>").nth(1).unwrap_or_default();
        rest.split("</Code>").next().unwrap_or_default()
    }
}

pub(super) fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// The key that signs for one day, region and service.
pub(super) fn signing_key(secret: &str, day: &str) -> Vec<u8> {
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [day, DEFAULT_REGION, "s3", "aws4_request"] {
        key = hmac(&key, part.as_bytes());
    }
    key
}

/// `20260101T000000Z`, now: `s3s` compares it with the system's clock.
pub(super) fn amz_now() -> String {
    let shape = format_description!("[year][month][day]T[hour][minute][second]Z");
    OffsetDateTime::now_utc().format(&shape).unwrap()
}

impl House {
    pub(super) async fn open() -> Self {
        Self::with_domain(None).await
    }

    /// One whose host names below a domain are buckets.
    pub(super) async fn with_domain(domain: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("catalog.sqlite");
        let catalog = Catalog::open(&crate::catalog::Options::Sqlite(file))
            .await
            .unwrap();
        let blobs = Blobs::open(BlobOptions {
            dir: dir.path().join("blobs"),
            reserve_bytes: 0,
        })
        .await
        .unwrap();
        let clock = Clock::system();
        let store = Store::new(StoreParts {
            catalog: catalog.clone(),
            blobs,
            clock: clock.clone(),
            planner: Arc::new(|_| Vec::new()),
            bell: crate::queue::Bell::new(),
            inline_bytes_max: 16 * 1024,
            master: crate::kernel::MasterKey::from_bytes([7; 32]),
        });
        let options = Options {
            data_dir: dir.path().to_owned(),
            tailnet: None,
        };
        let identity = Identity::open(catalog, clock.clone(), options)
            .await
            .unwrap();
        let root = Key {
            id: "NEBTESTROOT234567AAA".into(),
            secret: "test-secret-of-forty-characters-00000000".into(),
        };
        let preset = RootPreset {
            id: root.id.clone(),
            secret: Secret::new(&root.secret),
        };
        identity.ensure_root(Some(preset)).await.unwrap();
        let door = S3Door::new(S3Parts {
            store: store.clone(),
            gate: Gate::new(identity.clone(), clock, Vec::new()),
            region: DEFAULT_REGION.into(),
            domain: domain.map(str::to_owned),
            webhooks: Targets::new(Vec::new()),
        });
        Self {
            door,
            store,
            identity,
            root,
            _dir: dir,
        }
    }

    /// A key with one role on every bucket.
    pub(super) async fn key(&self, name: &str, role: Role) -> Key {
        let new = NewKey {
            name: name.to_owned(),
            grants: vec![Grant::new(role, "*".parse().unwrap())],
            expires_in_s: None,
        };
        let created = self
            .identity
            .create_key(&Caller::system(), new)
            .await
            .unwrap();
        Key {
            id: created.key.id.to_string(),
            secret: created.secret.reveal().to_owned(),
        }
    }

    /// Sends a request, signed by a key or by nobody.
    pub(super) async fn ask(
        &self,
        key: Option<&Key>,
        method: Method,
        uri: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let body: Bytes = body.into();
        let mut request = Request::builder().method(&method).uri(uri);
        let mut all: Vec<(String, String)> = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        if !headers.iter().any(|(name, _)| *name == "host") {
            all.push(("host".into(), "127.0.0.1:9000".into()));
        }
        all.push(("content-length".into(), body.len().to_string()));
        if let Some(key) = key {
            all.push(("x-amz-date".into(), amz_now()));
            all.push((
                "x-amz-content-sha256".into(),
                hex::encode(Sha256::digest(&body)),
            ));
            let authorization = sign(key, &method, uri, &mut all);
            all.push(("authorization".into(), authorization));
        }
        for (name, value) in all {
            request = request.header(name, value);
        }
        let request = request.body(http_body_util::Full::new(body)).unwrap();
        whole(self.door.call(request).await).await
    }

    /// The same without headers and body.
    pub(super) async fn get(&self, key: Option<&Key>, uri: &str) -> Answer {
        self.ask(key, Method::GET, uri, &[], "").await
    }

    /// Puts five bytes under a key, and nothing where only headers count.
    pub(super) async fn put(
        &self,
        key: Option<&Key>,
        uri: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let is_object = uri.matches('/').count() > 1 && !uri.contains('?');
        let body = if is_object { "hello" } else { "" };
        self.ask(key, Method::PUT, uri, headers, body).await
    }
}

pub(super) async fn whole(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    }
}

/// An `Authorization` header over every header given (AWS Signature Version 4).
fn sign(key: &Key, method: &Method, uri: &str, headers: &mut [(String, String)]) -> String {
    headers.sort();
    let value = |name: &str| &headers.iter().find(|(n, _)| n == name).unwrap().1;
    let (date, payload) = (
        value("x-amz-date").clone(),
        value("x-amz-content-sha256").clone(),
    );
    let signed: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let signed = signed.join(";");
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            if pair.contains('=') {
                pair.to_owned()
            } else {
                format!("{pair}=")
            }
        })
        .collect();
    pairs.sort();
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{}\n", value.trim()))
        .collect();
    let canonical = format!(
        "{method}\n{path}\n{}\n{lines}\n{signed}\n{payload}",
        pairs.join("&")
    );
    let day = &date[..8];
    let scope = format!("{day}/{DEFAULT_REGION}/s3/aws4_request");
    let hashed = hex::encode(Sha256::digest(canonical.as_bytes()));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashed}");
    let signature = hex::encode(hmac(&signing_key(&key.secret, day), text.as_bytes()));
    format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}",
        key.id
    )
}
