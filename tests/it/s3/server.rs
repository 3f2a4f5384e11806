//! The S3 door over a real store, on a free port, in this process.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use nebula_daemon::blob::{BlobOptions, Blobs};
use nebula_daemon::catalog::{Catalog, Options as Database};
use nebula_daemon::http::Gate;
use nebula_daemon::identity::{Identity, Options, RootPreset, Secret};
use nebula_daemon::kernel::Clock;
use nebula_daemon::notify::{Target, Targets};
use nebula_daemon::s3::{DEFAULT_REGION, S3Door, S3Parts};
use nebula_daemon::store::{Planner, Store, StoreParts};
use tempfile::TempDir;

/// The root key pair of every server of these tests.
pub(crate) const ACCESS_KEY: &str = "NEBTESTROOT234567AAA";
/// Its secret half.
pub(crate) const SECRET_KEY: &str = "test-secret-of-forty-characters-00000000";

/// A running door; it ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) store: Store,
    _dir: TempDir,
}

async fn answer(State(door): State<S3Door>, request: Request) -> Response {
    door.call(request).await
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with_domain(None).await
    }

    pub(crate) async fn with_domain(domain: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&Database::Sqlite(dir.path().join("catalog.sqlite")))
            .await
            .unwrap();
        let blobs = Blobs::open(BlobOptions {
            dir: dir.path().join("blobs"),
            reserve_bytes: 0,
        })
        .await
        .unwrap();
        let planner: Planner = Arc::new(|_| Vec::new());
        let clock = Clock::system();
        let options = Options {
            data_dir: dir.path().to_owned(),
            tailnet: None,
        };
        let identity = Identity::open(catalog.clone(), clock.clone(), options)
            .await
            .unwrap();
        let store = Store::new(StoreParts {
            catalog: catalog.clone(),
            blobs,
            clock: clock.clone(),
            planner,
            bell: nebula_daemon::queue::Bell::new(),
            inline_bytes_max: 16 * 1024,
            master: identity.master_key(),
        });
        let preset = RootPreset {
            id: ACCESS_KEY.into(),
            secret: Secret::new(SECRET_KEY),
        };
        identity.ensure_root(Some(preset)).await.unwrap();
        let door = S3Door::new(S3Parts {
            store: store.clone(),
            gate: Gate::new(identity, clock, Vec::new()),
            region: DEFAULT_REGION.into(),
            domain: domain.map(str::to_owned),
            webhooks: Targets::new(vec![Target::new("hall", "http://127.0.0.1:9/", SECRET_KEY)]),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(door);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            endpoint,
            store,
            _dir: dir,
        }
    }

    /// The Rust SDK against it.
    pub(crate) fn client(&self) -> Client {
        self.client_of(ACCESS_KEY, SECRET_KEY)
    }

    pub(crate) fn client_of(&self, id: &str, secret: &str) -> Client {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(DEFAULT_REGION))
            .endpoint_url(&self.endpoint)
            .credentials_provider(Credentials::new(id, secret, None, None, "test"))
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenSupported)
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        Client::from_conf(config)
    }
}
