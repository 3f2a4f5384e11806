//! The rooms, put together once for every role.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;

use crate::blob::{BlobOptions, Blobs, DiskOptions};
use crate::catalog::{Catalog, Options};
use crate::config::{Acceleration, Config, Tailscale};
use crate::identity::{self, Identity, RootKey, RootPreset, Secret, TailnetOptions};
use crate::kernel::Clock;
use crate::lifecycle::Lifecycle;
use crate::media::{
    self, ChosenHardware, Hardware, Media, MediaParts, RungSetting, Worker, WorkerOptions,
};
use crate::notify::{Notifier, NotifierParts, Target, Targets, Terms};
use crate::queue::{Bell, Dispatcher, Embedded, Jobs, RedisQueue, SharedQueue, Sweeper};
use crate::store::{LifecycleRunner, ScrubOptions, Store, StoreParts};
use crate::telemetry::metrics::UPLOADS_EXPIRED_TOTAL;

/// How often expired uploads and read events are looked for.
const SWEEP_EVERY: Duration = Duration::from_mins(1);
/// How long an event can be replayed.
const EVENTS_KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// The open rooms of one data directory; cheap to clone.
#[derive(Clone)]
pub struct House {
    /// The source of time.
    pub clock: Clock,
    /// The database.
    pub catalog: Catalog,
    /// Objects and uploads.
    pub store: Store,
    /// Keys, links, the tailnet.
    pub identity: Identity,
    /// The front desk of the queue.
    pub jobs: Jobs,
    /// Films and their renditions.
    pub media: Media,
    /// What transcodes here, once it was tried.
    pub hardware: ChosenHardware,
}

/// Opens the catalog that the configuration names.
pub(super) async fn open_catalog(config: &Config) -> Result<Catalog> {
    let options = Options::from_url(config.secrets.database_url.expose(), &config.data.dir)?;
    Catalog::open(&options)
        .await
        .context("the catalog cannot be opened")
}

/// Opens the blob directory that the configuration names, without its disks.
pub(super) async fn blobs_of(config: &Config) -> Result<Blobs> {
    let options = BlobOptions {
        dir: config.in_data_dir("blobs"),
        reserve_bytes: config.data.reserve_bytes,
    };
    Blobs::open(options)
        .await
        .context("the blob directory cannot be opened")
}

impl House {
    /// Opens every room that needs no listener.
    ///
    /// # Errors
    /// One sentence that names what cannot be opened and why.
    pub async fn open(config: &Config) -> Result<Self> {
        let clock = Clock::system();
        let catalog = open_catalog(config).await?;
        let blobs = blobs_of(config).await?.with_disks(disks(config));
        let bell = Bell::new();
        let options = identity::Options {
            data_dir: config.data.dir.clone(),
            tailnet: tailnet(config),
        };
        let identity = Identity::open(catalog.clone(), clock.clone(), options)
            .await
            .context("the keys cannot be opened")?;
        let store = Store::new(StoreParts {
            catalog: catalog.clone(),
            blobs,
            clock: clock.clone(),
            planner: media::planner(clock.clone()),
            bell: bell.clone(),
            inline_bytes_max: config.data.inline_bytes_max as usize,
            master: identity.master_key(),
        });
        store.look_at_disks().await?;
        let jobs = Jobs::new(catalog.clone(), clock.clone(), bell);
        let media = Media::new(MediaParts {
            store: store.clone(),
            jobs: jobs.clone(),
            ladder: ladder(config),
            cache_bytes: config.media.cache_bytes,
        });
        Ok(Self {
            clock,
            catalog,
            store,
            identity,
            jobs,
            media,
            hardware: ChosenHardware::default(),
        })
    }

    /// Makes sure that there is a root key pair.
    pub async fn ensure_root(&self, config: &Config) -> Result<RootKey> {
        let preset = config.secrets.root.as_ref().map(|root| RootPreset {
            id: root.access_key.clone(),
            secret: Secret::new(root.secret_key.expose()),
        });
        Ok(self.identity.ensure_root(preset).await?)
    }

    /// Starts what runs beside the doors: last use of keys, sweeps, the way of jobs to Redis.
    pub fn run_background(&self, life: &Lifecycle, config: &Config) -> Result<()> {
        let tracker = life.tracker();
        tracker.spawn(self.identity.clone().run(life.over()));
        tracker.spawn(
            Sweeper::new(
                self.catalog.clone(),
                self.clock.clone(),
                self.store.instance(),
            )
            .run(life.drain()),
        );
        tracker.spawn(sweep(self.store.clone(), life.drain()));
        let notifier = Notifier::new(NotifierParts {
            store: self.store.clone(),
            targets: webhooks(config),
            region: super::doors::REGION.to_owned(),
            terms: Terms::default(),
        });
        tracker.spawn(notifier.map_err(anyhow::Error::msg)?.run(life.drain()));
        let every = Duration::from_secs(config.data.lifecycle_interval_s);
        tracker.spawn(LifecycleRunner::new(self.store.clone(), every).run(life.drain()));
        let scrub = scrub_options(config);
        tracker.spawn(self.store.clone().run_scrub(scrub, life.drain()));
        tracker.spawn(self.store.clone().run_disks(life.drain()));
        tracker.spawn(self.media.clone().run_cache(life.drain()));
        if let Some(url) = &config.secrets.redis_url {
            let dispatcher = Dispatcher::new(
                self.catalog.clone(),
                self.clock.clone(),
                self.jobs.bell().clone(),
                url.expose(),
                self.store.instance(),
            )?;
            tracker.spawn(dispatcher.run(life.drain()));
        }
        let queue: SharedQueue = match &config.secrets.redis_url {
            Some(url) => Arc::new(RedisQueue::worker(url.expose())?),
            None => Arc::new(Embedded::new(
                self.catalog.clone(),
                self.clock.clone(),
                self.jobs.bell().clone(),
            )),
        };
        let options = worker_options(config, super::doors::node_name(config));
        if options.slots > 0 {
            self.media
                .follow_with(options.binary.clone(), tracker, &life.drain());
        }
        Worker::new(queue, Arc::new(self.media.clone()), options)
            .telling(&self.hardware)
            .spawn(tracker, &life.drain());
        Ok(())
    }

    /// Finishes what the rooms still write.
    pub async fn close(&self) {
        self.store.close().await;
        self.catalog.close().await;
    }
}

/// Removes what has expired; beside another daemon both may try, and one finds nothing.
async fn sweep(store: Store, stop: CancellationToken) {
    loop {
        if let Err(error) = store.blobs().take_ballast().await {
            tracing::warn!(%error, "no space is kept in hand for deletions: {error}");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(SWEEP_EVERY) => {}
        }
        match store.sweep_uploads().await {
            Ok(0) => {}
            Ok(swept) => {
                metrics::counter!(UPLOADS_EXPIRED_TOTAL).increment(swept as u64);
                tracing::info!(uploads = swept, "removed {swept} expired uploads");
            }
            Err(error) => tracing::warn!(%error, "expired uploads stay for now: {error}"),
        }
        if let Err(error) = store.sweep_dead().await {
            tracing::warn!(%error, "files of dead blobs stay for now: {error}");
        }
        if let Err(error) = store.trim_events(EVENTS_KEPT_MS).await {
            tracing::warn!(%error, "old events stay for now: {error}");
        }
    }
}

/// The receivers of notifications, as configured.
pub(super) fn webhooks(config: &Config) -> Targets {
    let target =
        |hook: &crate::config::Webhook| Target::new(&hook.name, &hook.url, hook.secret.expose());
    Targets::new(config.secrets.webhooks.iter().map(target).collect())
}

/// The disks beside the data directory, as configured.
fn disks(config: &Config) -> Vec<DiskOptions> {
    let disk = |disk: &crate::config::DiskConfig| DiskOptions {
        name: disk.name.clone(),
        path: disk.path.clone(),
        reserve_bytes: config.data.reserve_bytes,
    };
    config.data.disks.iter().map(disk).collect()
}

/// How the store looks for damage.
pub(super) fn scrub_options(config: &Config) -> ScrubOptions {
    ScrubOptions {
        every_ms: config.scrub.every_h as i64 * 60 * 60 * 1000,
        bytes_per_s: config.scrub.bytes_per_s,
    }
}

/// The rungs below an original, as configured.
fn ladder(config: &Config) -> Vec<RungSetting> {
    let rung = |rung: &crate::config::Rung| RungSetting {
        name: rung.name.clone(),
        height: rung.height,
        video_bps: rung.video_bps,
    };
    config.media.ladder.iter().map(rung).collect()
}

/// How worker loops of this process work.
pub(super) fn worker_options(config: &Config, name: String) -> WorkerOptions {
    WorkerOptions {
        name,
        binary: config.worker.binary_path(),
        slots: config.worker.slots,
        memory_bytes: config.worker.memory_mib << 20,
        hardware: match config.worker.acceleration {
            Acceleration::Auto => Hardware::Auto,
            Acceleration::Qsv => Hardware::Qsv,
            Acceleration::Vaapi => Hardware::Vaapi,
            Acceleration::Software => Hardware::Software,
        },
        lease_ms: config.queue.lease_s as i64 * 1000,
    }
}

fn tailnet(config: &Config) -> Option<TailnetOptions> {
    let socket = config.identity.tailscale_socket.clone();
    let wanted = match config.identity.tailscale {
        Tailscale::On => true,
        Tailscale::Off => false,
        Tailscale::Auto => socket.exists(),
    };
    wanted.then(|| TailnetOptions {
        socket,
        ..TailnetOptions::default()
    })
}
