//! One node, asked over its JSON API.
//!
//! This file holds the plumbing (addresses, credentials, errors, bounded bodies);
//! the calls are beside it, by noun: [`store`] buckets and objects, [`media`] assets and jobs,
//! [`access`] keys, links and identity, [`events`] what happens.

mod access;
pub mod events;
mod media;
mod pages;
mod store;

pub use pages::MAX_LISTED;

use crate::Error;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use nebula_api::Problem;
use reqwest::{
    Method, RequestBuilder, Response, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER},
};
use serde::{Serialize, de::DeserializeOwned};
use std::{net::IpAddr, sync::Arc, time::Duration};

/// How long to wait for a connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may stand still.
pub const READ_TIMEOUT: Duration = Duration::from_mins(1);
/// A node that asks to be left alone for longer is asked again after this.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(2);
/// The longest JSON answer that is read.
pub const MAX_JSON_BYTES: usize = 32 << 20;
/// The port of a node that is named without one.
pub const DEFAULT_PORT: u16 = 8000;

/// An access key pair.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The access key id.
    pub access_key: String,
    /// The secret access key.
    pub secret_key: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key", &self.access_key)
            .finish_non_exhaustive()
    }
}

/// A client of one node; cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Without a limit on the wait for an answer: reqwest counts the time that a body takes
    /// to be sent towards it. Transfers watch over their own progress.
    patient: reqwest::Client,
    origin: Arc<Url>,
    authorization: Option<HeaderValue>,
}

impl Client {
    /// A client of the node at `url`, asking as `credentials` (or as whoever the tailnet says we are).
    ///
    /// Makes no connection. `url` may lack its scheme (http) and its port ([`DEFAULT_PORT`]).
    pub fn new(url: &str, credentials: Option<Credentials>) -> Result<Self, Error> {
        let origin = parse_origin(url)?;
        let bad = |reason: &str| Error::BadAddress {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let authorization = credentials
            .map(|c| {
                let pair = STANDARD.encode(format!("{}:{}", c.access_key, c.secret_key));
                let mut value = HeaderValue::from_str(&format!("Basic {pair}"))
                    .map_err(|_| bad("its key pair cannot be sent"))?;
                value.set_sensitive(true);
                Ok::<_, Error>(value)
            })
            .transpose()?;
        let build = |read_timeout: Option<Duration>| {
            let mut builder = reqwest::Client::builder()
                .user_agent(concat!("nebula/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .redirect(reqwest::redirect::Policy::none());
            if let Some(timeout) = read_timeout {
                builder = builder.read_timeout(timeout);
            }
            if is_loopback(&origin) {
                builder = builder.no_proxy();
            }
            builder
                .build()
                .map_err(|e| bad(&format!("no HTTP client: {}", innermost(&e))))
        };
        Ok(Self {
            http: build(Some(READ_TIMEOUT))?,
            patient: build(None)?,
            origin: Arc::new(origin),
            authorization,
        })
    }

    /// The node's origin, without a final slash.
    pub fn origin(&self) -> String {
        self.origin.origin().ascii_serialization()
    }

    /// Whether a key pair goes with every request.
    pub fn has_credentials(&self) -> bool {
        self.authorization.is_some()
    }

    /// A path of the node (as in [`nebula_api::Urls`]) as a whole address.
    pub fn absolute(&self, path: &str) -> String {
        format!("{}{path}", self.origin())
    }

    /// Starts a request to a path of the node, or to an address the node itself gave.
    ///
    /// An address of another origin is refused: the key pair must not go there.
    pub(crate) fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        self.request_on(&self.http, method, path)
    }

    /// Like [`Self::request`], without a limit on the wait for the answer.
    pub(crate) fn patient_request(
        &self,
        method: Method,
        path: &str,
    ) -> Result<RequestBuilder, Error> {
        self.request_on(&self.patient, method, path)
    }

    fn request_on(
        &self,
        http: &reqwest::Client,
        method: Method,
        path: &str,
    ) -> Result<RequestBuilder, Error> {
        let url = self.origin.join(path).map_err(|e| Error::BadAddress {
            url: path.to_owned(),
            reason: e.to_string(),
        })?;
        if url.origin() != self.origin.origin() {
            return Err(Error::NotNebula {
                url: self.origin(),
                reason: format!("it points to another server, {url}"),
            });
        }
        let request = http.request(method, url);
        Ok(match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        })
    }

    /// Sends a request; an answer of 400 and above is an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|e| self.network(&e))?;
        if response.status().is_client_error() || response.status().is_server_error() {
            return Err(self.refusal(response).await);
        }
        Ok(response)
    }

    /// What the network did, as an error.
    pub(crate) fn network(&self, error: &reqwest::Error) -> Error {
        let reason = if error.is_timeout() {
            "no answer in time".to_owned()
        } else {
            innermost(error)
        };
        Error::Unreachable {
            url: self.origin(),
            reason,
        }
    }

    /// What the node said no with, as an error.
    pub(crate) async fn refusal(&self, response: Response) -> Error {
        let status = response.status();
        let asked = retry_after(response.headers());
        let body = self.bounded(response).await.unwrap_or_default();
        let problem = serde_json::from_slice::<Problem>(&body).unwrap_or_else(|_| {
            let title = status.canonical_reason().unwrap_or("Unknown error");
            let problem = Problem::new(status.as_u16(), "", title);
            match std::str::from_utf8(&body).map(str::trim) {
                Ok(text) if !text.is_empty() && text.len() <= 200 && !text.starts_with('<') => {
                    problem.detail(text)
                }
                _ => problem,
            }
        });
        Error::from_problem(
            &self.origin(),
            Problem {
                status: status.as_u16(),
                ..problem
            },
        )
        .after(asked)
    }

    async fn bounded(&self, mut response: Response) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.network(&e))? {
            if body.len() + chunk.len() > MAX_JSON_BYTES {
                return Err(Error::NotNebula {
                    url: self.origin(),
                    reason: format!("its answer is longer than {MAX_JSON_BYTES} bytes"),
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let response = self.send(request).await?;
        let status = response.status();
        let body = self.bounded(response).await?;
        serde_json::from_slice(&body).map_err(|e| Error::NotNebula {
            url: self.origin(),
            reason: if status.is_redirection() || body.first() == Some(&b'<') {
                "it sent a web page".to_owned()
            } else {
                format!("its answer cannot be understood ({e})")
            },
        })
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<T, Error> {
        self.json(self.request(Method::GET, path)?.query(query))
            .await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        self.json(self.request(Method::POST, path)?.json(body))
            .await
    }

    async fn delete(&self, path: &str, query: &impl Serialize) -> Result<(), Error> {
        let request = self.request(Method::DELETE, path)?.query(query);
        self.send(request).await.map(drop)
    }
}

/// An origin out of what a person typed.
fn parse_origin(text: &str) -> Result<Url, Error> {
    let bad = |reason: &str| Error::BadAddress {
        url: text.to_owned(),
        reason: reason.to_owned(),
    };
    let bare = !text.contains("://");
    let whole = if bare {
        format!("http://{text}")
    } else {
        text.to_owned()
    };
    let mut url = Url::parse(&whole).map_err(|e| bad(&e.to_string()))?;
    match url.scheme() {
        "http" => {}
        "https" => {
            return Err(bad(
                "this build speaks plain http only, for loopback and tailnets, which encrypt by themselves",
            ));
        }
        _ => return Err(bad("it is neither http:// nor https://")),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("it names no host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("keys do not belong into an address"));
    }
    if bare && url.port().is_none() {
        url.set_port(Some(DEFAULT_PORT))
            .map_err(|()| bad("it takes no port"))?;
    }
    url.set_path("/");
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3), bounded; its form as a date is left to the own backoff.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_RETRY_AFTER))
}

fn is_loopback(url: &Url) -> bool {
    url.host_str().is_some_and(|host| {
        host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    })
}

/// The innermost cause: the one that says something (`Connection refused`), without the error number.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.trim_end_matches('.').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_people_type_them() {
        let table = [
            ("http://127.0.0.1:8000", Some("http://127.0.0.1:8000")),
            ("127.0.0.1:9000", Some("http://127.0.0.1:9000")),
            ("nas", Some("http://nas:8000")),
            (
                "nas.tail1234.ts.net",
                Some("http://nas.tail1234.ts.net:8000"),
            ),
            ("http://nas/-/", Some("http://nas")),
            ("http://[::1]:8000/", Some("http://[::1]:8000")),
            ("ftp://nas", None),
            ("http://user:pw@nas", None),
            ("http://", None),
            ("", None),
        ];
        for (text, want) in table {
            let got = Client::new(text, None).ok().map(|c| c.origin());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn the_key_pair_stays_with_its_node() {
        let client = Client::new("http://nas:8000", None).expect("a good address");
        assert!(client.request(Method::GET, "/-/tus/1").is_ok());
        assert!(
            client
                .request(Method::GET, "http://nas:8000/-/tus/1")
                .is_ok()
        );
        assert!(
            client
                .request(Method::GET, "http://evil:8000/-/tus/1")
                .is_err()
        );
        assert!(client.request(Method::GET, "//evil/-/tus/1").is_err());
    }
}
