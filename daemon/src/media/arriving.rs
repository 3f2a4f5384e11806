//! Films that are played while they arrive: a worker process follows the upload and tells again and again what is in it.
//!
//! The index so far is read into a [`Film`] as any other; of its segments those are listed that no later byte can change and whose bytes are there.
//! A film whose container has a table of all samples is known whole at once, and only its bytes are waited for.
//! A follower lives as long as somebody asks; nothing of it is kept.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::film::{CopiedTrack, Film};
use super::follower;
use super::library::Media;
use crate::kernel::UploadId;
use crate::store::{Arriving, ArrivingReader, Reach, StoreError};

/// Uploads that are followed at the same time, a process each.
const FOLLOWED_MAX: usize = 8;
/// One that nobody asked for so long gives way to another.
const LEFT: Duration = Duration::from_secs(20);
/// A film that nobody asked for so long is followed no more.
const IDLE: Duration = Duration::from_mins(2);
/// A film that cannot be followed is not tried again for so long.
const FAILED_KEPT: Duration = Duration::from_secs(10);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is known of a film that arrives.
#[derive(Debug, Clone)]
pub enum Progress {
    /// Nothing yet.
    Looking,
    /// Its description lies at a byte that has not arrived.
    Beyond(u64),
    /// What can be played so far.
    Known {
        /// The samples that were read.
        film: Arc<Film>,
        /// Whether these are all, be their bytes there or not.
        is_whole: bool,
    },
    /// It cannot be played before its end, and why.
    Failed(String),
    /// The upload was ended.
    Gone,
}

/// Why a film that arrives cannot be played now.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// No process may be started here.
    #[error("this node runs no workers of its own")]
    NoWorker,
    /// Enough are followed.
    #[error("{FOLLOWED_MAX} other films are played while they arrive")]
    Busy,
    /// Too little of it is there.
    #[error("too little of it has arrived")]
    TooLittle,
    /// What describes it lies at this byte, which has not arrived.
    #[error("what describes it lies at byte {0}")]
    Beyond(u64),
    /// Not before its end.
    #[error("{0}")]
    Failed(String),
    /// Nobody will ever have this part.
    #[error("the film has no such part")]
    NoSuchPart,
    /// This part did not come in time.
    #[error("this part of it has not arrived")]
    NotListed,
    /// The upload was ended.
    #[error("its upload was ended")]
    Gone,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Those that are followed.
#[derive(Default)]
pub(super) struct Follows {
    hands: OnceLock<Hands>,
    films: Mutex<HashMap<UploadId, Followed>>,
}

/// What a follower needs.
struct Hands {
    binary: PathBuf,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

struct Followed {
    progress: watch::Receiver<Progress>,
    used: Arc<Mutex<Instant>>,
    listed: Listed,
    stop: CancellationToken,
}

/// How many segments of each track, by its place, were found to be there.
type Listed = Arc<Mutex<HashMap<usize, usize>>>;

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Media {
    /// Lets films be followed by processes of this binary until `cancel` is cancelled.
    pub fn follow_with(&self, binary: PathBuf, tasks: &TaskTracker, cancel: &CancellationToken) {
        // A second call would say the same.
        let _ = self.0.follows.hands.set(Hands {
            binary,
            tasks: tasks.clone(),
            cancel: cancel.clone(),
        });
    }

    /// A film that arrives; from now on, and as long as it is asked for, it is followed.
    ///
    /// # Errors
    /// [`FollowError::NoWorker`], [`FollowError::Busy`], and those of the store.
    pub fn follow(&self, arriving: &Arriving) -> Result<Following, FollowError> {
        let reader = arriving.reader()?;
        let follows = &self.0.follows;
        let mut films = locked(&follows.films);
        let id = arriving.id();
        if !films.contains_key(&id) {
            let hands = follows.hands.get().ok_or(FollowError::NoWorker)?;
            if hands.cancel.is_cancelled() {
                return Err(FollowError::NoWorker);
            }
            if films.len() >= FOLLOWED_MAX {
                let (used, oldest) = films
                    .iter()
                    .map(|(id, film)| (*locked(&film.used), *id))
                    .min()
                    .ok_or(FollowError::Busy)?;
                if used.elapsed() < LEFT {
                    return Err(FollowError::Busy);
                }
                if let Some(left) = films.remove(&oldest) {
                    left.stop.cancel();
                }
            }
            films.insert(id, self.start(hands, arriving));
        }
        let followed = films.get(&id).ok_or(FollowError::Busy)?;
        *locked(&followed.used) = Instant::now();
        Ok(Following {
            progress: followed.progress.clone(),
            listed: Arc::clone(&followed.listed),
            reader,
        })
    }

    fn start(&self, hands: &Hands, arriving: &Arriving) -> Followed {
        let (tell, progress) = watch::channel(Progress::Looking);
        let used = Arc::new(Mutex::new(Instant::now()));
        let stop = hands.cancel.child_token();
        let followed = Followed {
            progress,
            used: Arc::clone(&used),
            listed: Listed::default(),
            stop: stop.clone(),
        };
        let (media, binary, arriving) = (self.clone(), hands.binary.clone(), arriving.clone());
        hands.tasks.spawn(async move {
            let work = follower::work(&binary, &arriving, &tell, &stop);
            tokio::pin!(work);
            let mut done_at = None;
            loop {
                tokio::select! {
                    () = &mut work, if done_at.is_none() => done_at = Some(Instant::now()),
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = stop.cancelled() => break,
                }
                let is_over = match &*tell.borrow() {
                    Progress::Gone => true,
                    Progress::Failed(_) => done_at.is_some_and(|at| at.elapsed() >= FAILED_KEPT),
                    _ => false,
                };
                let used = *locked(&used);
                if is_over || used.elapsed() >= IDLE {
                    break;
                }
            }
            {
                let mut films = locked(&media.0.follows.films);
                let is_this = |film: &Followed| Arc::ptr_eq(&film.used, &used);
                if films.get(&arriving.id()).is_some_and(is_this) {
                    films.remove(&arriving.id());
                }
            }
            stop.cancel();
            if done_at.is_none() {
                work.await;
            }
        });
        followed
    }

    /// What is known of a film that was followed a moment ago.
    pub fn followed(&self, arriving: &Arriving) -> Option<Arc<Film>> {
        let films = locked(&self.0.follows.films);
        match &*films.get(&arriving.id())?.progress.borrow() {
            Progress::Known { film, .. } => Some(Arc::clone(film)),
            _ => None,
        }
    }
}

/// A film that arrives, as its viewer sees it.
pub struct Following {
    progress: watch::Receiver<Progress>,
    listed: Listed,
    reader: ArrivingReader,
}

/// What there is of it at some moment.
#[derive(Clone)]
pub struct View {
    /// The samples that are known.
    pub film: Arc<Film>,
    /// Whether these are all, be their bytes there or not.
    pub is_whole: bool,
    listed: HashMap<usize, usize>,
}

impl View {
    /// How many segments of a track can be played: nothing changes them any more, and their bytes are there.
    pub fn listed(&self, track: &CopiedTrack) -> usize {
        self.listed.get(&track.place).copied().unwrap_or(0)
    }

    /// Whether these are all segments that the track will have.
    pub fn is_ended(&self, track: &CopiedTrack) -> bool {
        self.is_whole && self.listed(track) == track.segments.len()
    }

    /// Whether there is something to play of every track that there will be.
    pub fn has_begun(&self) -> bool {
        let mut tracks = self.film.tracks().peekable();
        tracks.peek().is_some() && tracks.all(|track| self.listed(track) > 0)
    }

    fn settled(&self, track: &CopiedTrack) -> usize {
        if self.is_whole {
            track.segments.len()
        } else {
            self.film.settled(track)
        }
    }
}

impl Following {
    /// The bytes behind it.
    pub fn reader(&self) -> ArrivingReader {
        self.reader.clone()
    }

    /// What there is of it when there is `enough`, or at the deadline.
    ///
    /// # Errors
    /// [`FollowError`]; [`FollowError::TooLittle`] when nothing is known at the deadline.
    pub async fn until(
        &mut self,
        deadline: Instant,
        enough: impl Fn(&View) -> bool,
    ) -> Result<View, FollowError> {
        loop {
            let mut missing = None;
            let progress = self.progress.borrow_and_update().clone();
            match progress {
                Progress::Looking => {}
                Progress::Beyond(at) => return Err(FollowError::Beyond(at)),
                Progress::Failed(reason) => return Err(FollowError::Failed(reason)),
                Progress::Gone => return Err(FollowError::Gone),
                Progress::Known { film, is_whole } => {
                    let view = View {
                        film,
                        is_whole,
                        listed: HashMap::new(),
                    };
                    let (view, next) = self.listing(view).await?;
                    missing = next;
                    if enough(&view) || Instant::now() >= deadline {
                        return Ok(view);
                    }
                }
            }
            if Instant::now() >= deadline {
                return Err(FollowError::TooLittle);
            }
            let (progress, reader) = (&mut self.progress, &mut self.reader);
            let more = async {
                match missing {
                    Some(at) => reader.reach(at, deadline).await.map(|_| ()),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = progress.changed() => {
                    // Left alone, or the daemon goes: the next request begins anew.
                    changed.map_err(|_| FollowError::TooLittle)?;
                }
                more = more => more?,
                () = tokio::time::sleep_until(deadline) => {}
            }
        }
    }

    /// Counts the segments that are there, and tells the first byte that one waits for.
    async fn listing(&mut self, mut view: View) -> Result<(View, Option<u64>), FollowError> {
        let film = Arc::clone(&view.film);
        let mut missing: Option<u64> = None;
        for track in film.tracks() {
            let mut count = locked(&self.listed).get(&track.place).copied().unwrap_or(0);
            while count < view.settled(track) {
                let Some(span) = span_of(&film, track, count) else {
                    break;
                };
                if let Some(at) = self.first_missing(span).await? {
                    missing = Some(missing.map_or(at, |other| other.min(at)));
                    break;
                }
                count += 1;
            }
            let mut listed = locked(&self.listed);
            let known = listed.entry(track.place).or_default();
            *known = count.max(*known);
            view.listed.insert(track.place, *known);
        }
        Ok((view, missing))
    }

    /// The first byte of a span that is not there yet.
    async fn first_missing(&mut self, span: Range<u64>) -> Result<Option<u64>, FollowError> {
        let mut at = span.start;
        while at < span.end {
            match self.reader.reach(at, Instant::now()).await? {
                Reach::Until(end) if end > at => at = end,
                Reach::Until(_) => return Ok(Some(at)),
                Reach::Finished(_) => return Ok(None),
                Reach::Gone => return Err(FollowError::Gone),
            }
        }
        Ok(None)
    }
}

/// What of the object the segment at this place of a track's list needs.
fn span_of(film: &Film, track: &CopiedTrack, at: usize) -> Option<Range<u64>> {
    let number = track.segments.get(at)?.number;
    let packaged = film.segment(track, number)?;
    let spans = || packaged.spans();
    let start = spans().map(|span| span.start).min().unwrap_or(0);
    Some(start..spans().map(|span| span.end).max().unwrap_or(0))
}
