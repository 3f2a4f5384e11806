//! The S3 door: Amazon's protocol in, the store out.
//!
//! A request passes four stations.
//! [`cors`] answers a preflight, unsigned.
//! The [`guard`] refuses what `s3s` would wrongly take, and reads who claims to have signed; a form becomes a PUT in [`post`].
//! `s3s` verifies the signature and parses; [`access`] then decides, with the same `authorize()` as every other door, before a body is read.
//! One file for each operation, or each small group of them, speaks to the store; [`error`] holds the one translation of its failures.
//!
//! Promises: a digest or checksum that came with a body is verified before anything is published; a condition is decided inside the commit; what is not built answers `NotImplemented` and never a wrong success.
//! The room knows no file and no query, and only this room names `s3s`.

mod absent;
mod access;
mod acl;
mod attributes;
mod bucket;
mod copy;
mod cors;
mod decide;
mod delete;
mod document;
mod encryption;
mod error;
mod facts;
mod get;
mod grants;
mod guard;
mod headers;
mod host;
mod intake;
mod lenient;
mod lifecycle;
mod list;
mod lock;
mod multipart;
mod notification;
mod operations;
mod owners;
mod ownership;
mod part;
mod policy;
mod post;
mod public_access;
mod put;
mod request;
mod rights;
mod routes;
mod sts;
mod tagging;
#[cfg(test)]
mod tests;
mod uploads;
mod versions;
mod website;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3Error, S3ErrorCode, S3Result, StdError};

use crate::http::Gate;
use crate::notify::Targets;
use crate::store::Store;

/// Largest XML document of a request: a multi-delete of 1,000 long keys, or a completion of 10,000 parts with checksums.
const XML_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The region that clients sign for when nobody told them another.
pub const DEFAULT_REGION: &str = "us-east-1";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-request-id");

/// What the door is made of.
pub struct S3Parts {
    /// The store behind it.
    pub store: Store,
    /// Who is calling, and what they may do.
    pub gate: Gate,
    /// The region of this appliance; signatures for it and for [`DEFAULT_REGION`] are taken.
    pub region: String,
    /// The domain below which host names are buckets; path style always works.
    pub domain: Option<String>,
    /// The receivers that notification rules may name.
    pub webhooks: Targets,
}

/// The door; a cheap handle.
#[derive(Clone)]
pub struct S3Door(Arc<Inner>);

struct Inner {
    s3: S3Service,
    store: Store,
    gate: Gate,
    region: String,
    domain: Option<String>,
    /// Tells this process's request ids from another's.
    instance: u64,
    requests: AtomicU64,
}

impl S3Door {
    /// Puts the door together; it always has an authentication provider, as `s3s` is open without one.
    pub fn new(parts: S3Parts) -> Self {
        let operations = operations::Operations {
            store: parts.store.clone(),
            region: parts.region.clone(),
            webhooks: parts.webhooks,
        };
        let mut config = S3Config::default();
        config.xml_max_body_size = XML_BYTES_MAX;
        let mut builder = S3ServiceBuilder::new(operations);
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        builder.set_auth(access::Auth);
        builder.set_access(access::Access(parts.store.clone()));
        builder.set_validation(host::Names);
        builder.set_host(host::Domain(parts.domain.clone()));
        builder.set_route(routes::Routes(sts::Sts {
            domain: parts.domain.clone(),
        }));
        let mut seed = [0; 8];
        seed.copy_from_slice(&crate::kernel::Id::random().as_bytes()[..8]);
        Self(Arc::new(Inner {
            s3: builder.build(),
            store: parts.store,
            gate: parts.gate,
            region: parts.region,
            domain: parts.domain,
            instance: u64::from_be_bytes(seed),
            requests: AtomicU64::new(0),
        }))
    }

    /// Answers one request; a [`crate::http::PeerAddr`] among its extensions names a tailnet peer that signs nothing.
    pub async fn call<B>(&self, request: Request<B>) -> Response<axum::body::Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let is_sts = sts::is_asked(&request, self.0.domain.as_deref());
        let question = cors::Question::of(request.method(), request.headers());
        let bucket = question
            .as_ref()
            .and_then(|_| host::bucket_of(&request, self.0.domain.as_deref()));
        let mut response = match &question {
            Some(question) if question.is_preflight() => {
                self.preflight(question, bucket.as_ref()).await
            }
            // In a box, as the future of `s3s` is large and would be moved at every station.
            _ => Box::pin(self.answer(request)).await.unwrap_or_else(refusal),
        };
        if let (Some(question), Some(bucket)) = (&question, &bucket)
            && !question.is_preflight()
        {
            cors::decorate(&self.0.store, bucket, question, response.headers_mut()).await;
        }
        self.finish(&method, &path, &mut response);
        if is_sts {
            sts::wrap(&mut response);
        }
        response.map(axum::body::Body::new)
    }

    async fn preflight(
        &self,
        question: &cors::Question,
        bucket: Option<&crate::kernel::BucketName>,
    ) -> Response<s3s::Body> {
        match cors::preflight(&self.0.store, bucket, question).await {
            Ok(headers) => {
                let mut response = Response::new(s3s::Body::empty());
                *response.headers_mut() = headers;
                response
            }
            Err(error) => refusal(error),
        }
    }

    async fn answer<B>(&self, request: Request<B>) -> S3Result<Response<s3s::Body>>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::error::Error + Send + Sync + 'static,
    {
        let (mut parts, body) = request.into_parts();
        if post::is_form(&parts) {
            return Box::pin(self.form(parts, body)).await;
        }
        guard::date(&mut parts);
        let claim = guard::check(&parts, &[&self.0.region, DEFAULT_REGION])?;
        let mut context = access::context(&self.0.gate, &claim, &parts).await?;
        host::lower(&mut parts);
        let again = lenient::again(&parts);
        if again.is_some() {
            context = context.twice();
        }
        let body = match guard::framing(&parts) {
            Some(framing) => s3s::Body::http_body_unsync(guard::Chunked::new(body, framing)),
            None if document::is_one(&parts) => {
                s3s::Body::http_body_unsync(document::Document::new(body, &parts)?)
            }
            None => s3s::Body::http_body_unsync(body),
        };
        let work = async {
            let first = Box::pin(self.0.s3.call(Request::from_parts(parts, body))).await;
            let answer = match again {
                Some(again) if access::is_vouched_for() => Box::pin(self.0.s3.call(again)).await,
                _ => first,
            };
            match access::refusal() {
                Some(error) => Ok(refusal(error)),
                None if access::stopped_at_body() => answer.map(blamed),
                None => answer,
            }
        };
        access::scoped(context, work).await.map_err(failed)
    }

    /// What every answer gets, and its line in the log.
    fn finish(&self, method: &Method, path: &str, response: &mut Response<s3s::Body>) {
        let number = self.0.requests.fetch_add(1, Ordering::Relaxed);
        let id = format!(
            "{:016X}",
            self.0
                .instance
                .wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        );
        let is_partial = response.extensions_mut().remove::<Partial>().is_some()
            || method == Method::HEAD && response.headers().contains_key(header::CONTENT_RANGE);
        if is_partial && response.status() == StatusCode::OK {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        rewrite(response, &id, &self.0.region);
        if response.status() == StatusCode::NOT_MODIFIED {
            *response.body_mut() = s3s::Body::empty();
        }
        tracing::debug!(http.status = response.status().as_u16(), request.id = %id, "{method} {path} {}", response.status().as_u16());
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
    }
}

impl access::Answered for Result<Response<s3s::Body>, s3s::HttpError> {
    fn is_success(&self) -> bool {
        self.as_ref()
            .is_ok_and(|response| response.status().as_u16() < 400)
    }
}

/// What `s3s` could not even answer.
fn failed(error: s3s::HttpError) -> S3Error {
    let error = StdError::from(error);
    tracing::error!(%error, "an S3 request failed: {error}");
    S3ErrorCode::InternalError.into()
}

/// Marks an answer whose entity tags stand without quotes, as only GetObjectAttributes has them.
#[derive(Clone)]
struct PlainTags;

/// Marks an answer that is several parts of an object, which `s3s` takes for the whole.
#[derive(Clone)]
struct Partial;

/// Puts right in a finished document what `s3s` has no field for: the words and the request id of an error, the region that a client should sign for, and tags without quotes.
fn rewrite(response: &mut Response<s3s::Body>, id: &str, region: &str) {
    let is_error = response.status().as_u16() >= 400;
    let plain = response.extensions_mut().remove::<PlainTags>().is_some();
    if !is_error && !plain {
        return;
    }
    let Some(document) = response.body().bytes() else {
        return;
    };
    let Ok(text) = std::str::from_utf8(&document) else {
        return;
    };
    let mut text = text.to_owned();
    if plain {
        text = text
            .replace("<ETag>&quot;", "<ETag>")
            .replace("&quot;</ETag>", "</ETag>");
        text = text
            .replace("<ETag>\"", "<ETag>")
            .replace("\"</ETag>", "</ETag>");
    }
    if text.contains("<Code>AuthorizationHeaderMalformed</Code>") && text.ends_with("</Error>") {
        // s3cmd signs for a region of the first years of S3 until it reads this.
        text.truncate(text.len() - "</Error>".len());
        for piece in ["<Region>", region, "</Region></Error>"] {
            text.push_str(piece);
        }
    }
    if is_error && !text.contains("<Message>") && text.ends_with("</Error>") {
        let code = text
            .split_once("<Code>")
            .and_then(|(_, rest)| rest.split_once("</Code>"))
            .map_or("", |(code, _)| code);
        let words = error::words(code);
        text.truncate(text.len() - "</Error>".len());
        for piece in ["<Message>", words, "</Message></Error>"] {
            text.push_str(piece);
        }
    }
    if is_error && !text.contains("<RequestId>") && text.ends_with("</Error>") {
        text.truncate(text.len() - "</Error>".len());
        for piece in ["<RequestId>", id, "</RequestId></Error>"] {
            text.push_str(piece);
        }
    }
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = s3s::Body::from(text);
}

/// `s3s` takes the fault of a document that cannot be read for ours.
fn blamed(answer: Response<s3s::Body>) -> Response<s3s::Body> {
    if answer.status() != StatusCode::INTERNAL_SERVER_ERROR {
        return answer;
    }
    refusal(error::say(
        S3ErrorCode::IncompleteBody,
        "the body broke off, or does not fit its signature",
    ))
}

/// The document that tells a client no.
fn refusal(error: S3Error) -> Response<s3s::Body> {
    error.to_http_response().unwrap_or_else(|_| {
        let mut response = Response::new(s3s::Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}
