//! The door of static websites: a bucket's objects as pages, for everybody.
//!
//! | address | what |
//! |---|---|
//! | `http://BUCKET.WEBSITE_DOMAIN/…` | the site, on a host of its own |
//! | `/-/web/{bucket}/…` | the same without any domain; its pages run in a sandbox, as they share our origin |
//!
//! Who asks is nobody: only what the bucket's policy or the object's list opens to everybody is served, whoever sends the request.
//! The configuration ([`Settings`]) says which object stands for a folder, which for an error, and what leads elsewhere; errors are pages, bytes come with conditions and ranges as everywhere.
//!
//! The door writes nothing, and knows no credential.

mod find;
mod page;
mod settings;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use percent_encoding::percent_decode_str;

use crate::http::{PeerAddr, Representation, content_type, host, serve_object};
use crate::identity::Identity;
use crate::kernel::BucketName;
use crate::store::{Object, Store, StoreError};
use find::Found;
use page::Failure;
pub use settings::{Elsewhere, RULES_MAX, Redirect, Rule, SETTING, Settings};
use settings::{Site, encoded};

/// Where sites lie without a domain of theirs.
const PATH: &str = "/-/web/";
/// For pages in our own origin: scripts run, but as a stranger's.
const SANDBOX: HeaderValue =
    HeaderValue::from_static("sandbox allow-scripts allow-forms allow-popups allow-downloads");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// What the door is made of.
pub struct WebsiteParts {
    /// The store behind it.
    pub store: Store,
    /// What buckets open to everybody.
    pub identity: Identity,
    /// The domain below which host names are sites.
    pub domain: Option<String>,
}

/// The door; a cheap handle.
#[derive(Clone)]
pub struct Website(Arc<WebsiteParts>);

/// A request for a page.
struct Visit {
    site: Site,
    row: Arc<crate::catalog::BucketRow>,
    bucket: BucketName,
    source: Option<IpAddr>,
}

impl Website {
    /// Puts the door together.
    pub fn new(parts: WebsiteParts) -> Self {
        Self(Arc::new(parts))
    }

    /// Whether the host name of a request is a site's.
    pub fn is_named(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        host::label_of(headers, uri, self.0.domain.as_deref()).is_some()
    }

    /// Answers a request for the site that its host name says.
    pub async fn by_host<B>(&self, request: http::Request<B>) -> Response {
        let (parts, _) = request.into_parts();
        let domain = self.0.domain.as_deref();
        let label = host::label_of(&parts.headers, &parts.uri, domain).unwrap_or_default();
        let bucket = label.to_ascii_lowercase();
        let key = parts.uri.path().strip_prefix('/').unwrap_or_default();
        self.answer(&parts, &bucket, key, String::new()).await
    }

    /// The routes without a domain; to be put behind [`crate::http::context`].
    pub fn router(&self) -> Router {
        Router::new()
            .route("/-/web/{*rest}", get(by_path))
            .with_state(self.clone())
    }

    async fn answer(&self, parts: &Parts, bucket: &str, key: &str, base: String) -> Response {
        let is_shared = !base.is_empty();
        let outcome = if parts.method == Method::GET || parts.method == Method::HEAD {
            self.serve(parts, bucket, key, base).await
        } else {
            Err(Failure::method())
        };
        let mut response = outcome.unwrap_or_else(Failure::page);
        let headers = response.headers_mut();
        // Public pages may use each other's parts, whatever origin they have.
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        if is_shared {
            headers.insert(header::CONTENT_SECURITY_POLICY, SANDBOX);
        } else {
            headers.remove(header::CONTENT_SECURITY_POLICY);
        }
        if parts.method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }

    async fn serve(
        &self,
        parts: &Parts,
        bucket: &str,
        raw: &str,
        base: String,
    ) -> Result<Response, Failure> {
        let name: BucketName = bucket.parse().map_err(|_| Failure::no_bucket(bucket))?;
        let row = match self.0.store.bucket(&name).await {
            Ok(row) => row,
            Err(StoreError::NoSuchBucket(_)) => return Err(Failure::no_bucket(bucket)),
            Err(error) => return Err(Failure::of_store(&error)),
        };
        let settings = Settings::of(&row.settings).ok_or_else(|| Failure::no_website(bucket))?;
        let visit = Visit {
            site: Site {
                base,
                host: host::host_of(&parts.headers, &parts.uri).map(str::to_owned),
            },
            row,
            bucket: name,
            source: PeerAddr::of(&parts.extensions).map(|peer| peer.0.ip().to_canonical()),
        };
        if let Some(to) = &settings.redirect_all {
            let query = parts.uri.query().map(|query| format!("?{query}"));
            let place = format!("{}{raw}{}", to.root(), query.unwrap_or_default());
            return Ok(redirect(StatusCode::MOVED_PERMANENTLY, &place));
        }
        let asked = percent_decode_str(raw).decode_utf8();
        let asked = asked.map_err(|_| Failure::address())?.into_owned();
        if let Some(rule) = settings.rule(&asked, None) {
            return Ok(rule_redirect(rule, &asked, &visit.site));
        }
        let index = settings.index.as_deref().unwrap_or_default();
        let is_folder = asked.is_empty() || asked.ends_with('/');
        let key = if is_folder {
            format!("{asked}{index}")
        } else {
            asked.clone()
        };
        let failure = match self.find(&visit, &key).await? {
            Found::Object(object) => return self.send(parts, &visit.site, &object).await,
            Found::Nothing => Failure::no_key(&key),
            Found::Closed => Failure::closed(),
        };
        if !is_folder {
            let below = format!("{asked}/{index}");
            if let Found::Object(_) = self.find(&visit, &below).await? {
                let place = format!("{}/{}/", visit.site.base, encoded(&asked));
                return Ok(redirect(StatusCode::FOUND, &place));
            }
        }
        if let Some(rule) = settings.rule(&asked, Some(failure.status.as_u16())) {
            return Ok(rule_redirect(rule, &asked, &visit.site));
        }
        if let Some(key) = &settings.error
            && let Found::Object(object) = self.find(&visit, key).await?
        {
            // The page of an error is sent whole, whatever part of what was asked for.
            let mut response = self
                .bytes(&parts.method, &HeaderMap::new(), &object)
                .await?;
            *response.status_mut() = failure.status;
            return Ok(response);
        }
        Err(failure)
    }

    /// Sends an object, or leads where it says.
    async fn send(&self, parts: &Parts, site: &Site, object: &Object) -> Result<Response, Failure> {
        if let Some(place) = object.headers.website_redirect.as_deref() {
            let place = match place.strip_prefix('/') {
                Some(path) => format!("{}/{path}", site.base),
                None => place.to_owned(),
            };
            return Ok(redirect(StatusCode::MOVED_PERMANENTLY, &place));
        }
        let response = self.bytes(&parts.method, &parts.headers, object).await?;
        Ok(match response.status() {
            status @ (StatusCode::PRECONDITION_FAILED | StatusCode::RANGE_NOT_SATISFIABLE) => {
                let mut page = Failure::condition(status).page();
                if let Some(range) = response.headers().get(header::CONTENT_RANGE) {
                    page.headers_mut()
                        .insert(header::CONTENT_RANGE, range.clone());
                }
                page
            }
            _ => response,
        })
    }

    async fn bytes(
        &self,
        method: &Method,
        headers: &HeaderMap,
        object: &Object,
    ) -> Result<Response, Failure> {
        let about = representation(object);
        serve_object(method, headers, &about, |range| {
            let (store, object) = (self.0.store.clone(), object.clone());
            async move {
                let reader = store.reader(&object).await;
                let reader = reader.map_err(|error| Failure::of_store(&error))?;
                let checked = reader.check(range.clone());
                checked.map_err(|error| Failure::of_store(&error))?;
                Ok(reader.body(range))
            }
        })
        .await
    }
}

async fn by_path(State(door): State<Website>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let rest = parts.uri.path().strip_prefix(PATH).unwrap_or_default();
    let Some((bucket, key)) = rest.split_once('/') else {
        // Relative addresses need the slash.
        return redirect(StatusCode::FOUND, &format!("{PATH}{rest}/"));
    };
    let base = format!("{PATH}{bucket}");
    let (bucket, key) = (bucket.to_owned(), key.to_owned());
    door.answer(&parts, &bucket, &key, base).await
}

fn rule_redirect(rule: &Rule, asked: &str, site: &Site) -> Response {
    let code = rule
        .redirect
        .code
        .and_then(|code| StatusCode::from_u16(code).ok());
    let place = rule.location(asked, site);
    redirect(code.unwrap_or(StatusCode::MOVED_PERMANENTLY), &place)
}

fn redirect(status: StatusCode, place: &str) -> Response {
    let Ok(place) = HeaderValue::from_str(place) else {
        return Failure::address().page();
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::LOCATION, place);
    response
}

fn representation(object: &Object) -> Representation {
    let stored = &object.headers;
    let kind = content_type::served(stored.content_type.as_deref(), &object.key);
    let mut about = Representation::new(object.size, object.etag.clone(), object.modified_ms, kind);
    for (name, value) in [
        (header::CACHE_CONTROL, &stored.cache_control),
        (header::CONTENT_DISPOSITION, &stored.content_disposition),
        (header::CONTENT_ENCODING, &stored.content_encoding),
        (header::CONTENT_LANGUAGE, &stored.content_language),
        (header::EXPIRES, &stored.expires),
    ] {
        // What no header can carry is left out.
        let value = value.as_deref().and_then(|v| HeaderValue::from_str(v).ok());
        if let Some(value) = value {
            about.headers.insert(name, value);
        }
    }
    about
}
