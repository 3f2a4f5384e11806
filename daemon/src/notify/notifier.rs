//! The singleton that delivers: a lease, and a courier for each target.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::courier::{CONSUMER_HEAD, Courier, consumer};
use super::target::Targets;
use crate::catalog::{Catalog, CatalogError};
use crate::kernel::Millis;
use crate::store::Store;

/// The lease that only one of two overlapping daemons holds.
const LEASE: &str = "notify.webhooks";
/// How long that lease lives without a renewal.
const LEASE_MS: Millis = 15_000;
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(5);
/// How often another daemon's lease is looked at.
const WAIT: Duration = Duration::from_secs(1);
/// How often targets that are configured no more are looked for.
const TIDY_EVERY: Duration = Duration::from_hours(1);
/// How long a receiver may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How patient deliveries are.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How long one POST may take.
    pub timeout: Duration,
    /// The rest after the first failure; it doubles with each further one.
    pub rest_first: Duration,
    /// No rest is longer, but for its jitter.
    pub rest_longest: Duration,
    /// From what age on an event is given up; less than the outbox is kept.
    pub age_max_ms: Millis,
    /// How many refusals by the receiver itself (4xx) give an event up.
    pub refusals_max: u32,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            rest_first: Duration::from_secs(1),
            rest_longest: Duration::from_mins(5),
            age_max_ms: 24 * 60 * 60 * 1000,
            refusals_max: 8,
        }
    }
}

/// What the notifier is made of.
pub struct NotifierParts {
    /// The store whose events are told.
    pub store: Store,
    /// The receivers.
    pub targets: Targets,
    /// The region that records name.
    pub region: String,
    /// How patient it is.
    pub terms: Terms,
}

/// What every courier needs; cheap to clone.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) client: reqwest::Client,
    pub(super) region: Arc<str>,
    pub(super) terms: Terms,
}

impl Shared {
    pub(super) fn catalog(&self) -> &Catalog {
        self.store.catalog()
    }

    pub(super) fn now_ms(&self) -> Millis {
        self.store.clock().now_ms()
    }
}

/// Delivers notifications while it holds the lease.
pub struct Notifier {
    shared: Shared,
    targets: Targets,
}

impl Notifier {
    /// A notifier; nothing is sent before [`Notifier::run`].
    ///
    /// # Errors
    /// The client's words, should it not start.
    pub fn new(parts: NotifierParts) -> Result<Self, String> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("nebula/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(parts.terms.timeout)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            shared: Shared {
                store: parts.store,
                client,
                region: parts.region.into(),
                terms: parts.terms,
            },
            targets: parts.targets,
        })
    }

    /// Works until cancelled.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(self.tidy(&stop), self.turns(&stop));
    }

    /// Waits for its turn, works, and waits again.
    async fn turns(&self, stop: &CancellationToken) {
        if self.targets.is_empty() {
            return;
        }
        // What happens before this daemon has its turn must not pass a new target by.
        if let Err(error) = self.begin().await {
            tracing::warn!(%error, "webhooks begin later: {error}");
        }
        while !stop.is_cancelled() {
            match self.take().await {
                Ok(true) => self.work(stop).await,
                Ok(false) => {}
                Err(error) => {
                    tracing::debug!(%error, "the lease of the webhooks cannot be had now");
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(WAIT) => {}
            }
        }
        let holder = self.shared.store.instance().to_owned();
        let catalog = self.shared.catalog();
        let released = catalog
            .write(move |tx| Box::pin(async move { tx.release_lease(LEASE, &holder).await }));
        if let Err(error) = released.await {
            // It runs out by itself.
            tracing::debug!(%error, "the lease of the webhooks was not given back");
        }
    }

    pub(super) async fn begin(&self) -> Result<(), CatalogError> {
        let names: Vec<_> = self.targets.iter().map(|t| consumer(t.name())).collect();
        let catalog = self.shared.catalog();
        catalog
            .write(move |tx| {
                Box::pin(async move {
                    for name in names {
                        tx.begin_consumer(&name).await?;
                    }
                    Ok::<_, CatalogError>(())
                })
            })
            .await
    }

    async fn take(&self) -> Result<bool, CatalogError> {
        let (holder, now_ms) = (
            self.shared.store.instance().to_owned(),
            self.shared.now_ms(),
        );
        let catalog = self.shared.catalog();
        catalog
            .write(move |tx| {
                Box::pin(async move {
                    tx.take_lease(LEASE, &holder, now_ms, now_ms + LEASE_MS)
                        .await
                })
            })
            .await
    }

    /// Delivers until stopped, or until the lease is lost.
    async fn work(&self, stop: &CancellationToken) {
        let turn = stop.child_token();
        let couriers = self
            .targets
            .iter()
            .map(|target| Courier::new(self.shared.clone(), target.clone()).run(turn.clone()));
        let hold = async {
            while !stop.is_cancelled() {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(RENEW) => {}
                }
                if !matches!(self.take().await, Ok(true)) {
                    tracing::info!(
                        "another daemon delivers the webhooks now, or the catalog is away"
                    );
                    break;
                }
            }
            turn.cancel();
        };
        tokio::join!(futures::future::join_all(couriers), hold);
    }

    async fn tidy(&self, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.forget().await {
                tracing::debug!(%error, "old webhooks are forgotten later");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(TIDY_EVERY) => {}
            }
        }
    }

    /// Forgets targets that are configured no more, so that their places do not hold the outbox; a day of grace lets an overlapping daemon have its own.
    pub(super) async fn forget(&self) -> Result<(), CatalogError> {
        let before_ms = self.shared.now_ms() - self.shared.terms.age_max_ms;
        let consumers = self.shared.catalog().consumers().await?;
        let unknown = consumers.into_iter().filter(|name| {
            name.strip_prefix(CONSUMER_HEAD)
                .is_some_and(|name| !self.targets.has(name))
        });
        let unknown: Vec<_> = unknown.collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let catalog = self.shared.catalog();
        catalog
            .write(move |tx| {
                Box::pin(async move {
                    for name in unknown {
                        tx.forget_consumer(&name, before_ms).await?;
                    }
                    Ok::<_, CatalogError>(())
                })
            })
            .await
    }
}
