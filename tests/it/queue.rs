//! One story of jobs, told on the embedded queue (over both databases) and on Redis.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nebula_daemon::catalog::{Catalog, JobFilter, JobRow, JobState, NewJob};
use nebula_daemon::kernel::{Clock, JobId};
use nebula_daemon::queue::{
    Beat, Bell, Changed, Dispatcher, Embedded, FINISHED_KEPT_MS, Jobs, Lease, Progress, Queue,
    QueueError, RedisQueue, Sweeper, kind, ping_redis,
};
use nebula_tests::redis::Redis;
use nebula_tests::wait::until_async;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::{postgres, sqlite};

const KINDS: [&str; 5] = kind::ALL;
/// A lease that does not run out by itself while the test runs.
const LONG_MS: i64 = 600_000;
/// A lease that Redis sees run out soon.
const SHORT_MS: i64 = 30;
/// Longer than any pause between attempts.
const PAUSE_MS: i64 = 3_600_000;

/// A queue of either kind with the rows behind it.
struct Rig {
    catalog: Catalog,
    clock: Clock,
    jobs: Jobs,
    queue: Arc<dyn Queue>,
    dispatcher: Option<Dispatcher>,
}

impl Rig {
    fn new(catalog: Catalog, redis: Option<&str>) -> Self {
        let (clock, bell) = (Clock::manual(1_000_000), Bell::new());
        let jobs = Jobs::new(catalog.clone(), clock.clone(), bell.clone());
        let dispatcher = redis.map(|url| {
            Dispatcher::new(catalog.clone(), clock.clone(), bell.clone(), url, "daemon")
                .expect("a Redis URL")
        });
        let queue: Arc<dyn Queue> = match redis {
            Some(url) => Arc::new(RedisQueue::worker(url).expect("a Redis URL")),
            None => Arc::new(Embedded::new(catalog.clone(), clock.clone(), bell)),
        };
        Self {
            catalog,
            clock,
            jobs,
            queue,
            dispatcher,
        }
    }

    /// Brings Redis and the rows together; nothing to do where there are only rows.
    async fn sync(&self) {
        if let Some(dispatcher) = &self.dispatcher {
            dispatcher.round().await.expect("a round");
        }
    }

    async fn insert(&self, new: NewJob) -> JobId {
        let id = new.id;
        assert!(self.jobs.insert(new).await.expect("a job"));
        self.clock.advance_ms(1);
        id
    }

    fn job(&self) -> NewJob {
        NewJob::new(kind::INDEX, json!({"n": 1}), self.clock.now_ms())
    }

    async fn lease(&self, worker: &str) -> Option<Lease> {
        self.sync().await;
        let lease = self.queue.lease(worker, &KINDS, LONG_MS).await;
        let lease = lease.expect("a lease or none");
        self.sync().await;
        lease
    }

    async fn row(&self, id: JobId) -> JobRow {
        self.sync().await;
        let row = self.jobs.get(id).await.expect("reads");
        row.expect("the job is there")
    }

    async fn state(&self, id: JobId) -> JobState {
        self.row(id).await.state().expect("a known state")
    }

    async fn told(&self, id: JobId) -> Vec<String> {
        let events = self.catalog.events_after(0, 10_000).await.expect("reads");
        let jobs = events.iter().filter(|event| event.kind == "job.changed");
        jobs.map(|event| serde_json::from_str(&event.payload).expect("JSON"))
            .filter(|job: &serde_json::Value| job["id"] == id.to_string())
            .map(|job| job["state"].as_str().expect("a state").to_owned())
            .collect()
    }
}

async fn story(rig: Rig) {
    order(&rig).await;
    once_per_key(&rig).await;
    progress(&rig).await;
    cancel(&rig).await;
    retry(&rig).await;
    killed(&rig).await;
    released(&rig).await;
    pages(&rig).await;
    swept(&rig).await;
    crowd(rig).await;
}

async fn order(rig: &Rig) {
    let mut ids = Vec::new();
    for priority in [-1, 0, 5, 0] {
        ids.push(rig.insert(rig.job().priority(priority)).await);
    }
    for n in [2, 1, 3, 0] {
        let lease = rig.lease("w").await.expect("a job");
        assert_eq!(lease.job.id, ids[n], "priority first, then age");
        assert_eq!(
            (lease.job.attempt, &lease.job.payload),
            (1, &json!({"n": 1}))
        );
        assert_eq!(rig.state(ids[n]).await, JobState::Running);
        for _ in 0..2 {
            let done = rig.queue.complete(&lease, json!({"ok": n})).await;
            done.expect("settled twice is harmless");
        }
        let row = rig.row(ids[n]).await;
        assert_eq!(row.state().expect("known"), JobState::Done);
        assert_eq!(row.result(), Some(json!({"ok": n})));
        let beat = rig.queue.heartbeat(&lease, &Progress::default()).await;
        assert_eq!(beat.expect("answers"), Beat::Lost, "it has ended");
        assert_eq!(rig.told(ids[n]).await, ["queued", "running", "done"]);
    }
    assert!(rig.lease("w").await.is_none());
}

async fn once_per_key(rig: &Rig) {
    rig.insert(rig.job().once("index:7")).await;
    let again = rig.jobs.insert(rig.job().once("index:7")).await;
    assert!(!again.expect("answers"), "one active job per key");
    let lease = rig.lease("w").await.expect("the one");
    assert!(rig.lease("w").await.is_none());
    rig.queue.complete(&lease, json!({})).await.expect("done");
    rig.sync().await;
    rig.insert(rig.job().once("index:7")).await;
    let lease = rig.lease("w").await.expect("a new one");
    rig.queue.complete(&lease, json!({})).await.expect("done");
    rig.sync().await;
}

async fn progress(rig: &Rig) {
    let id = rig.insert(rig.job()).await;
    let lease = rig.lease("worker-7").await.expect("a job");
    rig.clock.advance_ms(5_000);
    for n in 1..=50 {
        let progress = Progress {
            fraction: f64::from(n) / 100.0,
            stage: "probe".into(),
        };
        let beat = rig.queue.heartbeat(&lease, &progress).await;
        assert_eq!(beat.expect("answers"), Beat::Continue);
    }
    let row = rig.row(id).await;
    assert!((row.progress - 0.5).abs() < 1e-9, "{}", row.progress);
    assert_eq!(row.stage, "probe");
    assert_eq!(row.lease_holder.as_deref(), Some("worker-7"));
    let told = rig.told(id).await;
    assert_eq!(told, ["queued", "running", "running"], "thinned out");
    rig.queue.complete(&lease, json!({})).await.expect("done");
    assert_eq!(rig.state(id).await, JobState::Done);
}

async fn cancel(rig: &Rig) {
    let waiting = rig.insert(rig.job()).await;
    rig.sync().await;
    let changed = rig.jobs.cancel(waiting, "by ann").await.expect("answers");
    assert!(matches!(changed, Changed::Yes(_)));
    assert!(rig.lease("w").await.is_none(), "it is not started any more");
    let row = rig.row(waiting).await;
    assert_eq!(row.state().expect("known"), JobState::Cancelled);
    assert_eq!(row.reason.as_deref(), Some("by ann"));

    let running = rig.insert(rig.job()).await;
    let lease = rig.lease("w").await.expect("a job");
    rig.jobs.cancel(running, "by ann").await.expect("answers");
    let again = rig.jobs.cancel(running, "by bob").await.expect("answers");
    assert!(matches!(again, Changed::No(_)));
    rig.sync().await;
    let beat = rig.queue.heartbeat(&lease, &Progress::default()).await;
    assert_eq!(beat.expect("answers"), Beat::Cancelled);
    rig.queue.fail(&lease, "stopped", true).await.expect("ends");
    let row = rig.row(running).await;
    assert_eq!(row.state().expect("known"), JobState::Cancelled);
    assert_eq!(row.reason.as_deref(), Some("by ann"));
    let absent = rig.jobs.cancel(JobId::random(), "x").await;
    assert_eq!(absent.expect("answers"), Changed::Absent);
}

async fn retry(rig: &Rig) {
    let mut new = rig.job();
    new.attempts_max = 2;
    let id = rig.insert(new).await;
    for attempt in 1..=2 {
        let lease = rig.lease("w").await.expect("its turn");
        assert_eq!(lease.job.attempt, attempt);
        rig.queue
            .fail(&lease, "no luck", true)
            .await
            .expect("fails");
        rig.sync().await;
        assert!(
            rig.lease("w").await.is_none(),
            "it rests before another attempt"
        );
        rig.clock.advance_ms(PAUSE_MS);
    }
    let row = rig.row(id).await;
    assert_eq!(row.state().expect("known"), JobState::Dead);
    assert_eq!(row.reason.as_deref(), Some("no luck"));
    assert_eq!(
        rig.told(id).await,
        ["queued", "running", "queued", "running", "dead"]
    );

    let again = rig.jobs.retry(id).await.expect("answers");
    assert!(matches!(again, Changed::Yes(_)));
    let lease = rig.lease("w").await.expect("once more");
    assert_eq!(lease.job.attempt, 1, "with all its attempts");
    let busy = rig.jobs.retry(id).await.expect("answers");
    assert!(matches!(busy, Changed::No(_)));
    rig.queue
        .fail(&lease, "no film", false)
        .await
        .expect("fails");
    let row = rig.row(id).await;
    assert_eq!(row.state().expect("known"), JobState::Failed, "at once");
    assert_eq!(row.reason.as_deref(), Some("no film"));
}

/// A worker takes a job and is never heard of again.
async fn vanish(rig: &Rig, worker: &str) -> Lease {
    rig.sync().await;
    let lease = rig.queue.lease(worker, &KINDS, SHORT_MS).await;
    let lease = lease.expect("answers").expect("a job");
    rig.sync().await;
    rig.clock.advance_ms(SHORT_MS + 1);
    lease
}

async fn killed(rig: &Rig) {
    let id = rig.insert(rig.job()).await;
    let lost = vanish(rig, "first").await;
    let mut second = None;
    until_async("another worker takes over", async || {
        let lease = rig.queue.lease("second", &KINDS, SHORT_MS).await;
        second = lease.expect("answers");
        second.is_some()
    })
    .await;
    let second = second.expect("just seen");
    assert_eq!((second.job.id, second.job.attempt), (id, 2));
    let beat = rig.queue.heartbeat(&lost, &Progress::default()).await;
    assert_eq!(beat.expect("answers"), Beat::Lost);
    let late = rig.queue.complete(&lost, json!({"late": true})).await;
    late.expect("too late is harmless");
    assert_eq!(rig.state(id).await, JobState::Running);
    rig.queue.complete(&second, json!({})).await.expect("done");
    let row = rig.row(id).await;
    assert_eq!(
        (row.state().expect("known"), row.attempt),
        (JobState::Done, 2)
    );
    assert_eq!(row.result(), Some(json!({})));

    let mut new = rig.job();
    new.attempts_max = 1;
    let id = rig.insert(new).await;
    vanish(rig, "only").await;
    until_async("a job whose last worker vanished is dead", async || {
        let lease = rig.queue.lease("next", &KINDS, SHORT_MS).await;
        assert!(lease.expect("answers").is_none());
        rig.state(id).await == JobState::Dead
    })
    .await;
    assert!(
        rig.row(id)
            .await
            .reason
            .expect("a reason")
            .contains("vanished")
    );
}

async fn released(rig: &Rig) {
    let id = rig.insert(rig.job()).await;
    for _ in 0..3 {
        let lease = rig.lease("w").await.expect("a job");
        assert_eq!((lease.job.id, lease.job.attempt), (id, 1), "not counted");
        rig.queue.release(&lease).await.expect("handed back");
        assert_eq!(rig.state(id).await, JobState::Queued);
    }
    rig.jobs.cancel(id, "enough").await.expect("answers");
    rig.sync().await;
}

async fn pages(rig: &Rig) {
    let all = rig.jobs.list(&JobFilter::default(), None, 1000).await;
    let all = all.expect("lists");
    let mut paged: Vec<JobRow> = Vec::new();
    loop {
        let after = paged.last().map(JobRow::cursor);
        let filter = JobFilter::default();
        let page = rig.jobs.list(&filter, after.as_ref(), 3).await;
        let page = page.expect("lists");
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, all, "pages miss and repeat nothing");
    assert!(
        all.is_sorted_by(|a, b| a.created_ms >= b.created_ms),
        "newest first"
    );
    let cancelled = JobFilter {
        state: Some(JobState::Cancelled),
        kind: Some(kind::INDEX.into()),
    };
    let cancelled = rig.jobs.list(&cancelled, None, 1000).await.expect("lists");
    let counts = rig.jobs.counts().await.expect("counts");
    let counted = counts.iter().find(|(_, s, _)| *s == JobState::Cancelled);
    assert_eq!(counted.map(|c| c.2), Some(cancelled.len() as u64));
}

async fn swept(rig: &Rig) {
    let sweeper = Sweeper::new(rig.catalog.clone(), rig.clock.clone(), "daemon");
    assert_eq!(sweeper.sweep().await.expect("sweeps"), 0, "all are young");
    rig.clock.advance_ms(FINISHED_KEPT_MS + PAUSE_MS);
    assert!(sweeper.sweep().await.expect("sweeps") > 0);
    assert!(rig.jobs.counts().await.expect("counts").is_empty());
}

/// A hundred jobs, four workers: each is done, and none twice.
async fn crowd(rig: Rig) {
    let cancel = CancellationToken::new();
    let tasks = TaskTracker::new();
    let done: Arc<Mutex<BTreeMap<JobId, u32>>> = Arc::default();
    if let Some(dispatcher) = rig.dispatcher.clone() {
        tasks.spawn(dispatcher.run(cancel.clone()));
    }
    for n in 0..4 {
        let (queue, cancel, done) = (rig.queue.clone(), cancel.clone(), done.clone());
        tasks.spawn(async move {
            let worker = format!("worker-{n}");
            while !cancel.is_cancelled() {
                let lease = queue.lease(&worker, &KINDS, LONG_MS).await;
                let Some(lease) = lease.expect("answers") else {
                    queue.wait(&cancel).await;
                    continue;
                };
                *done
                    .lock()
                    .expect("no panic")
                    .entry(lease.job.id)
                    .or_default() += 1;
                queue.complete(&lease, json!({})).await.expect("done");
            }
        });
    }
    for _ in 0..100 {
        rig.insert(rig.job()).await;
    }
    until_async("a hundred jobs are done", async || {
        let counts = rig.jobs.counts().await.expect("counts");
        counts == [(kind::INDEX.to_owned(), JobState::Done, 100)]
    })
    .await;
    cancel.cancel();
    tasks.close();
    tasks.wait().await;
    let done = done.lock().expect("no panic");
    assert_eq!(done.len(), 100);
    assert!(done.values().all(|times| *times == 1), "exactly once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_on_sqlite() {
    let (catalog, _dir) = sqlite().await;
    story(Rig::new(catalog.clone(), None)).await;
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_on_postgres() {
    let Some((catalog, _server)) = postgres().await else {
        return;
    };
    story(Rig::new(catalog.clone(), None)).await;
    catalog.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_over_sqlite() {
    let Some(redis) = Redis::start() else { return };
    let (catalog, _dir) = sqlite().await;
    story(Rig::new(catalog.clone(), Some(&redis.url()))).await;
    catalog.close().await;
}

/// Redis dies with everything it held and comes back empty: nothing is forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_forgets_everything() {
    let Some(mut redis) = Redis::start() else {
        return;
    };
    let (catalog, _dir) = sqlite().await;
    let rig = Rig::new(catalog.clone(), Some(&redis.url()));
    let running = rig.insert(rig.job()).await;
    let before = rig.lease("w").await.expect("a job");
    let waiting = rig.insert(rig.job()).await;
    rig.sync().await;

    redis.kill();
    let dispatcher = rig.dispatcher.as_ref().expect("a dispatcher");
    let down = dispatcher.round().await;
    assert!(matches!(down, Err(QueueError::Redis(_))), "{down:?}");
    assert!(ping_redis(&redis.url()).await.is_err());
    let queued = rig.insert(rig.job()).await;

    redis.restart();
    until_async("the dispatcher reconnects", async || {
        dispatcher.round().await.is_ok()
    })
    .await;
    ping_redis(&redis.url()).await.expect("it is back");
    let mut seen = Vec::new();
    until_async("every job is done", async || {
        let lease = rig.queue.lease("w", &KINDS, LONG_MS).await;
        if let Ok(Some(lease)) = lease {
            assert_eq!(lease.job.attempt, 1, "an outage of Redis costs no attempt");
            seen.push(lease.job.id);
            rig.queue.complete(&lease, json!({})).await.expect("done");
        }
        // A round may meet the old connection once more.
        let _ = dispatcher.round().await;
        seen.len() == 3
    })
    .await;
    let late = rig.queue.complete(&before, json!({"late": true})).await;
    late.expect("too late is harmless");
    for id in [running, waiting, queued] {
        let row = rig.row(id).await;
        assert_eq!(row.state().expect("known"), JobState::Done);
        assert_eq!(row.result(), Some(json!({})));
    }
    catalog.close().await;
}
