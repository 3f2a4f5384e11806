//! Work that is done to its end though its caller goes away, and that a stop waits for.
//!
//! A file is made before its row is committed, and a client may break its connection between the two.
//! Were the one who makes both not waited for, a stop could close the catalog between them, and the file would lie without a row until the next start.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Store, StoreError};

/// How long a stop waits for what is being ended; what it leaves, the next start finds.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// What is being ended.
#[derive(Default)]
pub(super) struct Endings {
    pub(super) tasks: TaskTracker,
    /// Nothing more is begun: the catalog is about to close.
    stopped: CancellationToken,
}

impl Endings {
    /// Waits until nothing is being ended.
    pub(super) async fn idle(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }

    /// Waits until nothing is being ended, and lets nothing more begin.
    pub(super) async fn close(&self) {
        let until = Instant::now() + STOP_WAIT;
        self.tasks.close();
        // Those under way may begin more of it, so they are not refused at once.
        let _in_time = timeout_at(until, self.tasks.wait()).await;
        self.stopped.cancel();
        // Whoever began in between.
        let _in_time = timeout_at(until, self.tasks.wait()).await;
    }
}

impl Store {
    /// Runs work to its end even when the caller goes away; a stop waits for it.
    ///
    /// # Errors
    /// Those of the work; [`StoreError::Unavailable`] behind a stop, and then nothing was begun.
    pub fn to_its_end<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        // The task and its callers would each have room for all of it.
        let work = Box::pin(work);
        async move {
            let endings = &self.0.endings;
            // Taken before the look: either the stop sees us and waits, or we see the stop.
            let seen = endings.tasks.token();
            if endings.stopped.is_cancelled() {
                return Err(StoreError::Unavailable("the daemon is stopping".into()));
            }
            let task = tokio::spawn(async move {
                let _seen = seen;
                work.await
            });
            task.await
                .map_err(|error| StoreError::Failed(format!("an end was cut off: {error}")))?
        }
    }
}
