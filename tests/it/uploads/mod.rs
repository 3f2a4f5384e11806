//! The upload engine over real sockets: lanes of one file, the IETF's protocol, and what both protocols promise.

#![expect(clippy::unwrap_used, reason = "tests")]

mod lanes;
mod promises;
mod rights;
mod rufh;
mod tus;

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use nebula_client::api::{CreateBucket, CreatedKey};
use nebula_tests::{Appliance, Setup};
use reqwest::{Method, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// For one test.
const LIMIT: Duration = Duration::from_mins(2);
const MIB: usize = 1 << 20;
const TUS: &str = "application/offset+octet-stream";
const RUFH: &str = "application/partial-upload";

/// An appliance with the bucket `films`.
async fn house(config: &str) -> Appliance {
    let appliance = Setup::default().config(config).start().await;
    let films = CreateBucket {
        name: "films".into(),
        ..CreateBucket::default()
    };
    appliance.client().create_bucket(&films).await.unwrap();
    appliance
}

/// A request with headers and a body; those of tus name their version by themselves.
async fn send(
    appliance: &Appliance,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Response {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = appliance.request(method, path).body(body);
    if path.starts_with("/-/tus") {
        request = request.header("Tus-Resumable", "1.0.0");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// One header as text; empty when it is not there.
fn of<'a>(answer: &'a Response, name: &str) -> &'a str {
    let value = answer.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

/// The path of the upload that an answer names.
fn location(answer: &Response) -> String {
    assert_eq!(answer.status(), 201, "{answer:?}");
    let location = of(answer, "location");
    location[location.find("/-/").unwrap()..].to_owned()
}

fn metadata(pairs: &[(&str, &str)]) -> String {
    let pair = |(key, value): &(&str, &str)| format!("{key} {}", BASE64_STANDARD.encode(value));
    pairs.iter().map(pair).collect::<Vec<_>>().join(",")
}

/// Begins an upload of either protocol to `films/{key}`.
async fn begin(appliance: &Appliance, protocol: &str, key: &str, length: usize) -> String {
    let length = length.to_string();
    let answer = if protocol == "tus" {
        let names = metadata(&[("bucket", "films"), ("filename", key)]);
        let headers = [("Upload-Length", &*length), ("Upload-Metadata", &*names)];
        send(appliance, "POST", "/-/tus/", &headers, "").await
    } else {
        let path = format!("/-/upload/films/{key}");
        let headers = [("Upload-Length", &*length), ("Upload-Complete", "?0")];
        send(appliance, "POST", &path, &headers, "").await
    };
    location(&answer)
}

/// The same by another key than root's.
async fn begin_as(
    appliance: &Appliance,
    by: &CreatedKey,
    protocol: &str,
    key: &str,
    length: usize,
) -> String {
    let (is_tus, http) = (protocol == "tus", reqwest::Client::new());
    let request = if is_tus {
        let names = metadata(&[("bucket", "films"), ("filename", key)]);
        let request = http.post(appliance.at("/-/tus/"));
        let request = request.header("Upload-Metadata", names);
        request.header("Tus-Resumable", "1.0.0")
    } else {
        let path = format!("/-/upload/films/{key}");
        http.post(appliance.at(&path))
            .header("Upload-Complete", "?0")
    };
    let request = request.header("Upload-Length", length);
    let answer = request.basic_auth(&by.key.id, Some(&by.secret)).send();
    location(&answer.await.unwrap())
}

/// Continues an upload of either protocol; `ends` counts for the IETF's alone.
async fn append(
    appliance: &Appliance,
    path: &str,
    offset: usize,
    ends: bool,
    body: impl Into<reqwest::Body>,
) -> Response {
    let offset = offset.to_string();
    let is_tus = path.starts_with("/-/tus");
    let headers = [
        ("Upload-Offset", &*offset),
        ("Content-Type", if is_tus { TUS } else { RUFH }),
        ("Upload-Complete", if ends { "?1" } else { "?0" }),
    ];
    send(appliance, "PATCH", path, &headers, body).await
}

/// Where an upload stands.
async fn offset(appliance: &Appliance, path: &str) -> usize {
    let answer = send(appliance, "HEAD", path, &[], "").await;
    assert!(answer.status().is_success(), "{answer:?}");
    of(&answer, "upload-offset").parse().unwrap()
}

async fn content(appliance: &Appliance, key: &str) -> Option<Vec<u8>> {
    let path = format!("/-/file/films/{key}");
    let answer = appliance.get(&path).send().await.unwrap();
    match answer.status().as_u16() {
        // It is read while it arrives; there it is when it is whole.
        200 if answer.headers().contains_key("upload-complete") => None,
        200 => Some(answer.bytes().await.unwrap().to_vec()),
        404 => None,
        other => panic!("{other}"),
    }
}

/// A body that is let through piece by piece, and the request that carries it.
struct Slow {
    body: futures::channel::mpsc::Sender<Result<Bytes, std::io::Error>>,
    answer: tokio::task::JoinHandle<reqwest::Result<Response>>,
}

impl Slow {
    fn append(appliance: &Appliance, path: &str, offset: usize) -> Self {
        let (body, pieces) = futures::channel::mpsc::channel(1);
        let mut request = appliance
            .request(Method::PATCH, path)
            .header("Upload-Offset", offset)
            .body(reqwest::Body::wrap_stream(pieces));
        request = if path.starts_with("/-/tus") {
            let request = request.header("Tus-Resumable", "1.0.0");
            request.header("Content-Type", TUS)
        } else {
            let request = request.header("Upload-Complete", "?0");
            request.header("Content-Type", RUFH)
        };
        Self {
            body,
            answer: tokio::spawn(request.send()),
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        let piece = Bytes::copy_from_slice(bytes);
        futures::SinkExt::send(&mut self.body, Ok(piece))
            .await
            .unwrap();
    }
}

/// Bytes of an upload that the node has, asked without disturbing it.
async fn received(appliance: &Appliance, path: &str) -> usize {
    let id = path.rsplit('/').next().unwrap();
    let path = format!("/-/api/v1/uploads/{id}");
    let answer = appliance.get(&path).send().await.unwrap();
    let upload: nebula_client::api::Upload = answer.json().await.unwrap();
    upload.offset_bytes as usize
}

/// The head of the answer to a request whose announced body never comes.
async fn early(
    appliance: &Appliance,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> String {
    let key = appliance.key();
    let pair = BASE64_STANDARD.encode(format!("{}:{}", key.access_key, key.secret_key));
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nHost: nas\r\nAuthorization: Basic {pair}\r\n");
    if path.starts_with("/-/tus") && !headers.iter().any(|(name, _)| *name == "Tus-Resumable") {
        head.push_str("Tus-Resumable: 1.0.0\r\n");
    }
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("\r\n");
    let mut socket = tokio::net::TcpStream::connect(appliance.address())
        .await
        .unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = tokio::time::timeout(Duration::from_secs(10), socket.read(&mut buffer));
        let read = read.await.expect("an answer before the body").unwrap();
        assert!(read > 0, "no answer: {}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&answer).to_lowercase()
}

/// The status of such an answer.
fn status(head: &str) -> u16 {
    head.split(' ').nth(1).unwrap().parse().unwrap()
}
