//! All doors as one: the router below `/-/`, and S3 for everything else.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Redirect};
use http::{Method, Request, Response, header};
use hyper::body::{Body as _, Incoming};
use tower::ServiceExt as _;

use super::house;
use super::metered::{Meters, door_of};
use crate::admin::{self, AdminParts, NodeFacts};
use crate::config::Config;
use crate::http::{Gate, Lingering, PeerAddr, context, host};
use crate::lifecycle::Lifecycle;
use crate::s3::{S3Door, S3Parts};
use crate::serve::Doors;
use crate::store::Store;
use crate::stream::{self, Shortcut, StreamParts};
use crate::telemetry::Exporter;
use crate::tus::{self, TusOptions};
use crate::website::{Website, WebsiteParts};

/// The region that credential scopes name.
pub(super) const REGION: &str = "us-east-1";
/// A bucket's name starts with a letter or a digit, so this is nobody's.
const OWN: &str = "/-/";
const WELL_KNOWN: &str = "/.well-known/";
/// What a connection sees of the house.
pub(super) struct House {
    router: Router,
    shortcut: Shortcut,
    s3: S3Door,
    website: Website,
    /// Below it host names are buckets.
    domain: Option<String>,
    store: Store,
    meters: Meters,
}

impl House {
    pub(super) fn new(
        house: &house::House,
        config: &Config,
        life: &Lifecycle,
        exporter: Exporter,
        listen: Vec<String>,
    ) -> Self {
        let gate = Gate::new(
            house.identity.clone(),
            house.clock.clone(),
            config
                .server
                .public_url
                .iter()
                .chain(&config.server.trusted_origins)
                .cloned()
                .collect(),
        );
        let tus = TusOptions {
            inbox: config
                .media
                .inbox
                .parse()
                .expect("the configuration was checked"),
            size_max: config.limits.object_bytes_max,
            idle_ms: config.limits.upload_expiry_s as i64 * 1000,
            chunk_bytes: Some(config.limits.upload_chunk_bytes).filter(|bytes| *bytes > 0),
            cut: life.cut(),
        };
        let node = NodeFacts {
            name: node_name(config),
            listen,
            queue: if config.secrets.redis_url.is_some() {
                "redis"
            } else {
                "embedded"
            },
            started_ms: house.clock.now_ms(),
            region: REGION.to_owned(),
            upload_chunk_bytes: tus.chunk_bytes,
        };
        let parts = AdminParts {
            store: house.store.clone(),
            jobs: house.jobs.clone(),
            media: house.media.clone(),
            hardware: house.hardware.clone(),
            identity: house.identity.clone(),
            health: life.health().clone(),
            exporter,
            node: Arc::new(node),
            drain: life.drain(),
        };
        let website = Website::new(WebsiteParts {
            store: house.store.clone(),
            identity: house.identity.clone(),
            domain: config.server.website_domain.clone(),
        });
        let stream = StreamParts {
            media: house.media.clone(),
        };
        let router = admin::router(parts)
            .merge(tus::router(house.store.clone(), tus))
            .merge(stream::router(stream.clone()))
            .merge(website.router())
            .fallback(admin::no_route)
            .layer(from_fn_with_state(gate.clone(), context));
        let shortcut = Shortcut::new(stream, gate.clone());
        let s3 = S3Door::new(S3Parts {
            store: house.store.clone(),
            gate,
            region: REGION.to_owned(),
            domain: config.server.domain.clone(),
            webhooks: house::webhooks(config),
        });
        Self {
            router,
            shortcut,
            s3,
            website,
            domain: config.server.domain.clone(),
            store: house.store.clone(),
            meters: Meters::new(),
        }
    }
}

impl Doors for House {
    type Body = Body;

    async fn answer(&self, mut request: Request<Incoming>) -> Response<Body> {
        if let Some(peer) = request.extensions().get::<SocketAddr>().copied() {
            request.extensions_mut().insert(PeerAddr(peer));
        }
        if self.website.is_named(request.headers(), request.uri()) {
            let meter = self.meters.begin("website");
            return meter.response(Box::pin(self.website.by_host(request)).await);
        }
        let path = request.uri().path();
        // On a bucket's own host every path is a key.
        let label = host::label_of(request.headers(), request.uri(), self.domain.as_deref());
        let is_bucket = label.is_some();
        if path == "/" && !is_bucket && wants_page(&request) {
            return Redirect::to("/-/").into_response();
        }
        let is_s3 =
            is_bucket || path != "/-" && !path.starts_with(OWN) && !path.starts_with(WELL_KNOWN);
        let door = if is_s3 {
            "s3"
        } else {
            door_of(request.uri().path())
        };
        let meter = self.meters.begin(door);
        // Who waits for `100 Continue` sends nothing before it, so an early answer arrives as it is.
        let request = if request.body().is_end_stream() {
            request.map(|_| Body::empty())
        } else if request.headers().contains_key(header::EXPECT) {
            request.map(|body| Body::new(meter.request(body)))
        } else {
            request.map(|body| Body::new(meter.request(Lingering::new(body))))
        };
        let answer = if is_s3 {
            self.s3.call(request).await
        } else {
            match self.shortcut.answer(request).await {
                Ok(response) => response,
                Err(request) => match self.router.clone().oneshot(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                },
            }
        };
        meter.response(answer)
    }

    async fn probe(&self) -> Result<(), String> {
        self.store.probe().await.map_err(|error| error.to_string())
    }

    async fn drain(&self) {}
}

/// A person at a browser asks for the front page; every S3 client signs or says nothing of HTML.
fn wants_page(request: &Request<Incoming>) -> bool {
    let headers = request.headers();
    let html = headers.get(header::ACCEPT).is_some_and(|accept| {
        accept
            .to_str()
            .is_ok_and(|accept| accept.contains("text/html"))
    });
    html && request.method() == Method::GET
        && request.uri().query().is_none()
        && !headers.contains_key(header::AUTHORIZATION)
}

/// What people call this node: as configured, else the host's name.
pub(super) fn node_name(config: &Config) -> String {
    config.server.node.clone().unwrap_or_else(|| {
        let host = rustix::system::uname();
        host.nodename().to_string_lossy().into_owned()
    })
}
