//! Films by content: looked up, waited for, read once.

use std::sync::Arc;
use std::time::Duration;

use nebula_hwaccel::index;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::arriving::Follows;
use super::budget::Watched;
use super::cache::{FILMS_BYTES_MAX, Films, Lists, SEGMENTS_BYTES_MAX};
use super::film::Film;
use super::ladder::{self, RungSetting};
use super::plan;
use super::viewers::Viewers;
use super::worker::{Worker, WorkerOptions};
use crate::catalog::{AssetState, CatalogError, JobState};
use crate::kernel::{ContentId, JobId};
use crate::queue::{Job, Jobs, QueueError, SharedQueue};
use crate::store::{Object, Store, StoreError};

/// Indexes that are read at the same time.
const LOADS_MAX: usize = 2;
/// While waiting, how often another daemon's work is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Why a film cannot be had now.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The catalog or the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored index cannot be read.
    #[error("a stored index cannot be read: {0}")]
    Damaged(String),
}

impl From<CatalogError> for MediaError {
    fn from(error: CatalogError) -> Self {
        Self::Store(error.into())
    }
}

impl From<QueueError> for MediaError {
    fn from(error: QueueError) -> Self {
        Self::Store(StoreError::Unavailable(error.to_string()))
    }
}

/// What the room is made of.
pub struct MediaParts {
    /// The store.
    pub store: Store,
    /// The front desk of the queue.
    pub jobs: Jobs,
    /// The rungs that are made below an original.
    pub ladder: Vec<RungSetting>,
    /// Room for renditions in bytes; without a number, a fifth of the disk.
    pub cache_bytes: Option<u64>,
}

/// The media room; a cheap handle.
#[derive(Clone)]
pub struct Media(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) jobs: Jobs,
    pub(super) ladder: Vec<RungSetting>,
    pub(super) cache_bytes: Option<u64>,
    pub(super) watched: Watched,
    viewers: Viewers,
    pub(super) films: Films,
    pub(super) lists: Lists,
    pub(super) follows: Follows,
    loads: Semaphore,
}

/// How the media room stands with an object.
#[derive(Debug, Clone)]
pub enum Look {
    /// It plays.
    Ready(Arc<Film>),
    /// It is being looked at.
    Indexing,
    /// It cannot be played, and why.
    Failed(String),
    /// Nobody looked at it yet.
    Unknown,
}

impl Media {
    /// Puts the room together.
    pub fn new(parts: MediaParts) -> Self {
        Self(Arc::new(Inner {
            store: parts.store,
            jobs: parts.jobs,
            ladder: parts.ladder,
            cache_bytes: parts.cache_bytes,
            watched: Watched::default(),
            viewers: Viewers::default(),
            films: Films::new(FILMS_BYTES_MAX),
            lists: Lists::new(SEGMENTS_BYTES_MAX),
            follows: Follows::default(),
            loads: Semaphore::new(LOADS_MAX),
        }))
    }

    /// The store beneath.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Who watches at this moment.
    pub fn viewers(&self) -> &Viewers {
        &self.0.viewers
    }

    /// A job that is queued or running, as a worker elsewhere asks for it.
    pub async fn active_job(&self, id: JobId) -> Result<Option<Job>, MediaError> {
        let Some(row) = self
            .0
            .jobs
            .get(id)
            .await?
            .filter(|row| row.state().is_ok_and(JobState::is_active))
        else {
            return Ok(None);
        };
        Ok(Some(Job {
            id,
            kind: row.kind.clone(),
            payload: row.payload()?,
            attempt: u32::try_from(row.attempt).unwrap_or(0),
            attempts_max: u32::try_from(row.attempts_max).unwrap_or(1),
            priority: row.priority,
        }))
    }

    /// Starts the worker loop of this daemon; each slot ends when `cancel` is cancelled, its job handed back.
    pub fn worker(
        &self,
        queue: SharedQueue,
        options: WorkerOptions,
        tasks: &TaskTracker,
        cancel: &CancellationToken,
    ) {
        Worker::new(queue, Arc::new(self.clone()), options).spawn(tasks, cancel);
    }

    /// How the room stands with an object.
    pub async fn look(&self, content: ContentId) -> Result<Look, MediaError> {
        // The row is long where there is an index, and what is asked of it lies behind that.
        if let Some(film) = self.film(content).await? {
            return Ok(Look::Ready(film));
        }
        let Some(row) = self.0.store.catalog().asset(content).await? else {
            return Ok(Look::Unknown);
        };
        match row.state()? {
            AssetState::Indexing => Ok(Look::Indexing),
            AssetState::Failed => Ok(Look::Failed(row.reason.unwrap_or_else(|| "unknown".into()))),
            // It became so just now.
            AssetState::Ready => Ok(self
                .film(content)
                .await?
                .map_or(Look::Indexing, Look::Ready)),
        }
    }

    /// The same, but an object that nobody looked at yet is queued, and one that is being looked at is waited for.
    pub async fn await_film(
        &self,
        object: &Object,
        patience: Duration,
    ) -> Result<Look, MediaError> {
        if object.needs_key() {
            return Ok(Look::Failed(
                "it is encrypted with a key that only its owner has".into(),
            ));
        }
        let mut changes = self.0.store.changes();
        let deadline = Instant::now() + patience;
        let mut asked = false;
        loop {
            changes.mark_unchanged();
            let look = self.look(object.content_id).await?;
            let waiting = matches!(look, Look::Unknown | Look::Indexing);
            if !waiting || Instant::now() >= deadline {
                return Ok(look);
            }
            if !asked {
                // A job that was lost or never planned is queued now; one that is there stays the only one.
                asked = true;
                let job = plan::index_job(object, self.0.store.clock());
                self.0.jobs.insert(job).await?;
            }
            let until = deadline.min(Instant::now() + LOOK_EVERY);
            // Either outcome, the end of the wait included, is a reason to look again.
            let _ = tokio::time::timeout_at(until, changes.changed()).await;
        }
    }

    /// The rungs that are made of a film, or will be.
    pub fn planned(&self, film: &Film) -> Vec<ladder::Planned> {
        ladder::planned(film, &self.0.ladder)
    }

    /// A film whose index is there.
    pub async fn film(&self, content: ContentId) -> Result<Option<Arc<Film>>, MediaError> {
        if let Some(film) = self.0.films.get(&content) {
            return Ok(Some(film));
        }
        let _turn = self
            .0
            .loads
            .acquire()
            .await
            .map_err(|error| MediaError::Damaged(error.to_string()))?;
        if let Some(film) = self.0.films.get(&content) {
            return Ok(Some(film));
        }
        let Some(bytes) = self.0.store.catalog().asset_index(content).await? else {
            return Ok(None);
        };
        let bytes = self.0.store.open_derived(content, bytes).await?;
        let film = Arc::new(read(bytes).await?);
        self.0.films.put(content, Arc::clone(&film));
        Ok(Some(film))
    }
}

/// Reads and cuts an index away from the async threads.
pub(super) async fn read(bytes: Vec<u8>) -> Result<Film, MediaError> {
    let task = tokio::task::spawn_blocking(move || index::decode(&bytes).map(Film::new));
    let film = task
        .await
        .map_err(|error| MediaError::Damaged(error.to_string()))?;
    film.map_err(|error| MediaError::Damaged(error.to_string()))
}
