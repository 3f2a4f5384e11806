//! The workbench of a worker on another machine: the daemon's own, over HTTP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{Client, RequestBuilder, Response, StatusCode};

use super::order::{Opening, Report};
use super::process::{RangeRead, Source};
use super::worker::{BenchError, Workbench};
use crate::queue::Job;

/// A daemon that says nothing for so long is away.
const ANSWER_MAX: Duration = Duration::from_mins(2);
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Tries of one call, with a growing pause between: a restart of the daemon takes a few seconds.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// Speaks with the daemon; cheap to clone.
#[derive(Clone)]
pub struct Remote {
    client: Client,
    base: String,
    key: Arc<(String, String)>,
}

impl Remote {
    /// A workbench at `url` (`http://host:8000`), with an access key whose grant says `worker`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str, key_id: String, secret: String) -> Result<Self, BenchError> {
        let client = Client::builder()
            .connect_timeout(CONNECT_MAX)
            .timeout(ANSWER_MAX)
            .build();
        Ok(Self {
            client: client.map_err(|error| BenchError::Unavailable(error.to_string()))?,
            base: format!("{}/-/api/v1/worker/jobs", url.trim_end_matches('/')),
            key: Arc::new((key_id, secret)),
        })
    }

    /// Sends until an answer comes that another try would not change.
    async fn send(&self, make: impl Fn() -> RequestBuilder) -> Result<Response, BenchError> {
        let mut pause = PAUSE;
        let mut last = String::new();
        for attempt in 0..TRIES {
            if attempt > 0 {
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            let request = make().basic_auth(&self.key.0, Some(&self.key.1));
            match request.send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) if response.status().is_server_error() => {
                    last = format!("the daemon answered {}", response.status());
                }
                Ok(response) => return Err(refused(response).await),
                Err(error) => last = format!("the daemon does not answer: {error}"),
            }
        }
        Err(BenchError::Unavailable(last))
    }
}

async fn refused(response: Response) -> BenchError {
    let status = response.status();
    let problem: Option<nebula_api::Problem> = response.json().await.ok();
    let text = problem.map_or_else(
        || status.to_string(),
        |problem| problem.detail.unwrap_or(problem.title),
    );
    match status {
        StatusCode::UNPROCESSABLE_ENTITY => BenchError::Refused(text),
        _ => BenchError::Unavailable(format!("the daemon refused ({status}): {text}")),
    }
}

#[async_trait]
impl Workbench for Remote {
    async fn open(&self, job: &Job) -> Result<(Opening, Source), BenchError> {
        let url = format!("{}/{}/open", self.base, job.id);
        let response = self.send(|| self.client.post(&url)).await?;
        let opening: Opening = response
            .json()
            .await
            .map_err(|error| BenchError::Unavailable(format!("an order was cut off: {error}")))?;
        let source = match &opening {
            Opening::Nothing { .. } => Source::None,
            Opening::Work(order) => Source::Ranges {
                size_bytes: order.size_bytes,
                bytes: Arc::new(Input {
                    remote: self.clone(),
                    url: format!("{}/{}/input", self.base, job.id),
                }),
            },
        };
        Ok((opening, source))
    }

    async fn report(&self, job: &Job, report: Report) -> Result<(), BenchError> {
        let url = format!("{}/{}/report", self.base, job.id);
        let body = postcard::to_stdvec(&report)
            .map(Bytes::from)
            .map_err(|error| BenchError::Refused(format!("a report cannot be written: {error}")))?;
        self.send(|| self.client.post(&url).body(body.clone()))
            .await
            .map(|_| ())
    }
}

/// The object of one job, range by range.
struct Input {
    remote: Remote,
    url: String,
}

#[async_trait]
impl RangeRead for Input {
    async fn read(&self, offset: u64, len: u32) -> Result<Bytes, String> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        let range = format!(
            "bytes={offset}-{}",
            offset.saturating_add(u64::from(len) - 1)
        );
        let response = self
            .remote
            .send(|| self.remote.client.get(&self.url).header("range", &range))
            .await
            .map_err(|error| error.to_string())?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Err(format!(
                "the daemon answered {} to a range",
                response.status()
            ));
        }
        let bytes = response
            .bytes()
            .await
            .map_err(|error| format!("a range was cut off: {error}"))?;
        if bytes.len() > len as usize {
            return Err("the daemon sent more than was asked for".into());
        }
        Ok(bytes)
    }
}
