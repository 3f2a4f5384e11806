//! A tus client that sends at a given pace, so that readers can be met in the middle of an upload.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use nebula_tests::Appliance;
use reqwest::{Method, StatusCode};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Bytes of one step of the pace.
const STEP_BYTES: usize = 16 << 10;

/// The bucket of all uploads here.
pub const BUCKET: &str = "films";

pub async fn bucket(appliance: &Appliance) {
    let films = nebula_client::api::CreateBucket {
        name: BUCKET.into(),
        ..Default::default()
    };
    appliance.client().create_bucket(&films).await.unwrap();
}

fn metadata(key: &str) -> String {
    let encoded = |text: &str| BASE64_STANDARD.encode(text);
    format!("bucket {},filename {}", encoded(BUCKET), encoded(key))
}

/// An upload that was begun.
#[derive(Clone)]
pub struct Upload {
    pub path: String,
    http: reqwest::Client,
    url: String,
    key: (String, String),
}

/// An upload request on its way.
pub struct Sending {
    /// Bytes given to the connection so far.
    pub sent: Arc<AtomicU64>,
    /// When each step was given, with the bytes so far.
    pub task: JoinHandle<Vec<(u64, Instant)>>,
}

impl Upload {
    /// Begins one; without a length it is deferred.
    pub async fn begin(appliance: &Appliance, key: &str, length: Option<usize>) -> Self {
        Self::begin_with(appliance, key, length, &[]).await
    }

    /// The same with more headers.
    pub async fn begin_with(
        appliance: &Appliance,
        key: &str,
        length: Option<usize>,
        headers: &[(&str, String)],
    ) -> Self {
        let mut request = appliance
            .request(Method::POST, "/-/tus/")
            .header("Tus-Resumable", "1.0.0")
            .header("Upload-Metadata", metadata(key));
        let is_final = headers.iter().any(|(_, value)| value.starts_with("final"));
        request = match length {
            Some(length) => request.header("Upload-Length", length),
            None if is_final => request,
            None => request.header("Upload-Defer-Length", "1"),
        };
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 201, "{:?}", answer.text().await);
        let location = answer.headers()["location"].to_str().unwrap();
        let path = location[location.find("/-/tus/").unwrap()..].to_owned();
        let pair = appliance.key();
        Self {
            path,
            http: reqwest::Client::new(),
            url: appliance.url(),
            key: (pair.access_key.clone(), pair.secret_key.clone()),
        }
    }

    fn request(&self, method: Method) -> reqwest::RequestBuilder {
        self.http
            .request(method, format!("{}{}", self.url, self.path))
            .basic_auth(&self.key.0, Some(&self.key.1))
            .header("Tus-Resumable", "1.0.0")
    }

    pub fn patch(&self, offset: usize) -> reqwest::RequestBuilder {
        self.request(Method::PATCH)
            .header("Upload-Offset", offset)
            .header("Content-Type", "application/offset+octet-stream")
    }

    /// Sends bytes at once.
    pub async fn send(&self, offset: usize, bytes: &[u8]) {
        let answer = self.patch(offset).body(bytes.to_vec()).send().await;
        assert_eq!(answer.unwrap().status(), StatusCode::NO_CONTENT);
    }

    /// Sends bytes from `offset` on at a pace, in one request, in the background.
    pub fn pace(&self, offset: usize, bytes: Bytes, bits_per_s: u64) -> Sending {
        let sent = Arc::new(AtomicU64::new(offset as u64));
        let (count, upload) = (Arc::clone(&sent), self.clone());
        let task = tokio::spawn(async move {
            let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
            let began = Instant::now();
            let pieces = futures::stream::unfold(0, move |at: usize| {
                let (bytes, tell, count) = (bytes.clone(), tell.clone(), Arc::clone(&count));
                async move {
                    if at >= bytes.len() {
                        return None;
                    }
                    // A token bucket without depth: each step leaves when the pace has earned it.
                    let end = (at + STEP_BYTES).min(bytes.len());
                    let due = Duration::from_secs_f64(end as f64 * 8.0 / bits_per_s as f64);
                    tokio::time::sleep_until(began + due).await;
                    let so_far = (offset + end) as u64;
                    count.store(so_far, Ordering::SeqCst);
                    // Nobody listens any more when the request was given up.
                    let _ = tell.send((so_far, Instant::now()));
                    Some((Ok::<_, std::io::Error>(bytes.slice(at..end)), end))
                }
            });
            let body = reqwest::Body::wrap_stream(pieces);
            let answer = upload.patch(offset).body(body).send().await;
            assert_eq!(answer.unwrap().status(), StatusCode::NO_CONTENT);
            let mut log = Vec::new();
            while let Ok(step) = told.try_recv() {
                log.push(step);
            }
            log
        });
        Sending { sent, task }
    }

    /// Where the node says that it stands.
    pub async fn offset(&self) -> usize {
        let answer = self.request(Method::HEAD).send().await.unwrap();
        let offset = answer.headers()["upload-offset"].to_str().unwrap();
        offset.parse().unwrap()
    }

    pub async fn end(&self) {
        let answer = self.request(Method::DELETE).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }
}
