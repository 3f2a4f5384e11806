//! A prefix in a bucket: four operations of S3, signed, tried again when the endpoint stumbles.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Method, Response, StatusCode, Url};
use time::OffsetDateTime;

use super::Page;
use super::sign::Signer;
use crate::backup::BackupError;

/// An endpoint that says nothing for so long is tried again.
const SILENCE: Duration = Duration::from_secs(60);
/// Tries of one request, and the rest after the first; it doubles.
const TRIES: u32 = 5;
const REST: Duration = Duration::from_millis(250);
/// What an endpoint says against a request is shown so far.
const WORDS_MAX: usize = 400;
/// An answer that is longer is none to a question of ours.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Where a bucket is, and who we are there.
#[derive(Clone)]
pub struct S3Options {
    /// `http://host:port`.
    pub endpoint: String,
    /// As the credential scope names it.
    pub region: String,
    /// The bucket.
    pub bucket: String,
    /// What every name begins with; empty, or with a slash at its end.
    pub prefix: String,
    /// The public half of a key pair.
    pub access_key: String,
    /// Its secret half.
    pub secret_key: String,
}

pub(super) struct S3 {
    options: S3Options,
    base: String,
    signer: Signer,
    client: Client,
}

impl fmt::Display for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let S3Options { bucket, prefix, .. } = &self.options;
        write!(f, "s3://{bucket}/{prefix} at {}", self.base)
    }
}

impl S3 {
    pub(super) fn new(options: S3Options) -> Result<Self, BackupError> {
        let refuse = |why: &str| BackupError::Target(format!("{} {why}", options.endpoint));
        let url: Url = options
            .endpoint
            .parse()
            .map_err(|_| refuse("is no endpoint: write http://host:port"))?;
        if url.scheme() == "https" {
            return Err(refuse(
                "asks for TLS, which is not inside: name an http:// address in the tailnet or behind a local proxy",
            ));
        }
        let Some(host) = url.host_str().filter(|_| url.scheme() == "http") else {
            return Err(refuse("is no endpoint: write http://host:port"));
        };
        let host = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let client = Client::builder().read_timeout(SILENCE).build();
        let client = client.map_err(|error| BackupError::Target(error.to_string()))?;
        Ok(Self {
            base: format!("http://{host}"),
            signer: Signer {
                host,
                region: options.region.clone(),
                access_key: options.access_key.clone(),
                secret_key: options.secret_key.clone(),
            },
            options,
            client,
        })
    }

    pub(super) async fn put(&self, name: &str, bytes: Bytes) -> Result<(), BackupError> {
        let answer = self.ask(Method::PUT, name, &[], bytes).await?;
        expect(answer, "writing", name).await.map(|_| ())
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, BackupError> {
        // The body counts as well: one that breaks off is asked for again.
        let mut rest = REST;
        for left in (0..TRIES).rev() {
            let answer = self.ask(Method::GET, name, &[], Bytes::new()).await?;
            if answer.status() == StatusCode::NOT_FOUND {
                return missing(answer, name).await.map(|()| None);
            }
            let mut answer = expect(answer, "reading", name).await?;
            match read(&mut answer).await {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(error) if left == 0 => return Err(failed("reading", name, &error)),
                Err(_) => tokio::time::sleep(rest).await,
            }
            rest *= 2;
        }
        unreachable!("the last try returns")
    }

    pub(super) async fn size(&self, name: &str) -> Result<Option<u64>, BackupError> {
        let answer = self.ask(Method::HEAD, name, &[], Bytes::new()).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let answer = expect(answer, "looking at", name).await?;
        let length = answer.headers().get(reqwest::header::CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Some(length.unwrap_or(0)))
    }

    pub(super) async fn delete(&self, name: &str) -> Result<(), BackupError> {
        let answer = self.ask(Method::DELETE, name, &[], Bytes::new()).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return missing(answer, name).await;
        }
        expect(answer, "removing", name).await.map(|_| ())
    }

    pub(super) async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<Page, BackupError> {
        let whole = |name: &str| format!("{}{name}", self.options.prefix);
        let prefix = whole(prefix);
        let after = after.map(whole);
        let mut query = vec![("list-type", "2"), ("prefix", prefix.as_str())];
        if let Some(after) = &after {
            query.push(("start-after", after.as_str()));
        }
        let answer = self.ask(Method::GET, "", &query, Bytes::new()).await?;
        let mut answer = expect(answer, "listing", &prefix).await?;
        let bytes = read(&mut answer).await;
        let bytes = bytes.map_err(|error| failed("listing", &prefix, &error))?;
        let text = String::from_utf8_lossy(&bytes);
        let broken = || failed("listing", &prefix, &"the answer is no list of objects");
        if !text.contains("<ListBucketResult") {
            return Err(broken());
        }
        let mut names = Vec::new();
        for entry in elements(&text, "Contents") {
            let key = elements(entry, "Key").next().ok_or_else(broken)?;
            let size = elements(entry, "Size").next();
            let size = size.and_then(|size| size.parse().ok()).ok_or_else(broken)?;
            let key = unescape(key);
            let name = key.strip_prefix(&self.options.prefix).ok_or_else(broken)?;
            names.push((name.to_owned(), size));
        }
        let more = elements(&text, "IsTruncated").next() == Some("true");
        Ok(Page { names, more })
    }

    /// Asks until the endpoint gives an answer that asking again would not change.
    async fn ask(
        &self,
        method: Method,
        name: &str,
        query: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response, BackupError> {
        let S3Options { bucket, prefix, .. } = &self.options;
        let path = match query {
            [] => format!("/{bucket}/{prefix}{name}"),
            _ => format!("/{bucket}"),
        };
        let mut rest = REST;
        for left in (0..TRIES).rev() {
            let now = OffsetDateTime::now_utc();
            let signed = self.signer.sign(method.as_str(), &path, query, &body, now);
            let url = format!("{}{}", self.base, signed.path_and_query);
            let mut request = self.client.request(method.clone(), url);
            for (name, value) in signed.headers {
                request = request.header(name, value);
            }
            if method == Method::PUT {
                request = request.body(body.clone());
            }
            match request.send().await {
                Ok(answer) if !passing(answer.status()) || left == 0 => return Ok(answer),
                Err(error) if left == 0 => return Err(failed("reaching", &self.base, &error)),
                Ok(_) | Err(_) => tokio::time::sleep(rest).await,
            }
            rest *= 2;
        }
        unreachable!("the last try returns")
    }
}

/// A refusal that another moment may lift.
fn passing(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || status == StatusCode::TOO_MANY_REQUESTS
}

async fn expect(mut answer: Response, what: &str, name: &str) -> Result<Response, BackupError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let words = read(&mut answer).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&words);
    let said = match (
        elements(&text, "Code").next(),
        elements(&text, "Message").next(),
    ) {
        (Some(code), Some(message)) => format!("{code}: {}", unescape(message)),
        (Some(code), None) => code.to_owned(),
        _ => text.chars().take(WORDS_MAX).collect(),
    };
    Err(failed(what, name, &format!("{status} {said}")))
}

/// An object that is not there is an answer; a bucket that is not there is an error.
async fn missing(answer: Response, name: &str) -> Result<(), BackupError> {
    match expect(answer, "reading", name).await {
        Err(BackupError::Target(words)) if words.contains("NoSuchBucket") => {
            Err(BackupError::Target(words))
        }
        _ => Ok(()),
    }
}

fn failed(what: &str, name: &str, error: &dyn fmt::Display) -> BackupError {
    BackupError::Target(format!("failed at {what} {name}: {error}"))
}

async fn read(answer: &mut Response) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(answer.content_length().unwrap_or(0).min(1 << 23) as usize);
    while let Some(more) = answer.chunk().await.map_err(|error| error.to_string())? {
        bytes.extend_from_slice(&more);
        if bytes.len() > ANSWER_BYTES_MAX {
            return Err("the answer is too long".to_owned());
        }
    }
    Ok(bytes)
}

/// The texts of all elements of a name, as S3 writes them: without attributes.
fn elements<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = text;
    std::iter::from_fn(move || {
        let from = rest.find(&open)? + open.len();
        let to = from + rest[from..].find(&close)?;
        let found = &rest[from..to];
        rest = &rest[to + close.len()..];
        Some(found)
    })
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_in_order() {
        let text = "<a><Key>x&amp;y</Key><Size>1</Size></a><a><Key>z</Key></a>";
        let keys: Vec<String> = elements(text, "Key").map(unescape).collect();
        assert_eq!(keys, ["x&y", "z"]);
        assert_eq!(elements(text, "Code").next(), None);
    }

    #[test]
    fn an_address_that_cannot_work_is_refused_with_a_cure() {
        for endpoint in ["https://s3.example.org", "s3.example.org", "ftp://x"] {
            let options = S3Options {
                endpoint: endpoint.into(),
                region: "us-east-1".into(),
                bucket: "b".into(),
                prefix: String::new(),
                access_key: "a".into(),
                secret_key: "s".into(),
            };
            let error = S3::new(options).err().expect("refused").to_string();
            assert!(error.contains("http://"), "{error}");
        }
    }
}
