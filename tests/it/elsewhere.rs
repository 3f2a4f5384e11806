//! Jobs on another machine: a daemon that runs none itself, Redis in between, and workers that die in mid-job.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nebula_api::{CreateKey, CreatedKey};
use nebula_tests::redis::Redis;
use nebula_tests::{Appliance, Setup, binary, films, wait, within};

/// For the whole story.
const LIMIT: Duration = Duration::from_secs(240);
/// A rung of a film of some seconds, on a machine that does much else.
const RUNG: Duration = Duration::from_secs(120);

/// `nebulad worker`, killed on drop; it gets Redis and HTTP, never the database or the data directory.
struct Worker {
    child: Child,
    _place: tempfile::TempDir,
}

impl Worker {
    fn start(house: &Appliance, redis: &Redis, name: &str, key: &CreatedKey) -> Self {
        let place = tempfile::tempdir().expect("a temporary directory");
        let config = place.path().join("worker.toml");
        let text = "[worker]\nslots = 1\nacceleration = \"software\"\n[queue]\nlease_s = 5\n[identity]\ntailscale = \"off\"\n";
        std::fs::write(&config, text).expect("the directory takes a file");
        let child = Command::new(binary("nebulad"))
            .args([
                "worker",
                "--appliance",
                &house.url(),
                "--name",
                name,
                "--config",
            ])
            .arg(&config)
            .arg("--data-dir")
            .arg(place.path().join("none"))
            .env_clear()
            .env("HOME", place.path())
            .env("PATH", "/usr/bin:/bin")
            .env("NEBULA_REDIS_URL", redis.url())
            .env("NEBULA_ACCESS_KEY", &key.key.id)
            .env("NEBULA_SECRET_KEY", &key.secret)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("nebulad runs");
        Self {
            child,
            _place: place,
        }
    }

    fn kill(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn push(house: &Appliance, film: &Path) {
    let cli = house.cli();
    cli.login().await;
    cli.ok(&["mb", "films"]).await;
    cli.ok(&[
        "push",
        film.to_str().expect("a UTF-8 path"),
        "films:film.mp4",
    ])
    .await;
}

/// The first job of a kind: its state and its worker.
async fn job(house: &Appliance, kind: &str) -> Option<(nebula_api::JobState, Option<String>)> {
    let query = nebula_api::JobsQuery {
        kind: Some(kind.to_owned()),
        ..nebula_api::JobsQuery::default()
    };
    let page = house
        .client()
        .jobs(&query)
        .await
        .expect("the jobs are listed");
    page.items
        .into_iter()
        .next()
        .map(|job| (job.state, job.worker))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_elsewhere_is_killed_in_mid_job_and_another_ends_it() {
    within(LIMIT, async {
        let (Some(redis), Some(film)) = (Redis::start(), films::mp4()) else {
            return println!("SKIPPED: a worker elsewhere needs redis-server and ffmpeg");
        };
        let setup = Setup::default()
            .redis(&redis.url())
            .config("[worker]\nslots = 0\n[queue]\nlease_s = 5\n");
        let house = setup.start().await;
        push(&house, &film).await;
        // A key that may work and nothing else.
        let key = CreateKey {
            name: "workers".into(),
            worker: true,
            ..CreateKey::default()
        };
        let key = house.client().create_key(&key).await.expect("a key");
        let mut first = Worker::start(&house, &redis, "first", &key);
        wait::patiently(RUNG, "the ladder runs elsewhere", async || {
            let running = job(&house, "ladder").await;
            running.is_some_and(|(state, _)| state == nebula_api::JobState::Running)
        })
        .await;
        first.kill();
        let _second = Worker::start(&house, &redis, "second", &key);
        wait::patiently(RUNG, "the second worker ends the ladder", async || {
            job(&house, "ladder")
                .await
                .is_some_and(|(state, _)| state == nebula_api::JobState::Done)
        })
        .await;
        let master = house
            .get("/-/hls/films/film.mp4/master.m3u8")
            .send()
            .await
            .expect("the daemon answers");
        let master = master.text().await.expect("a playlist");
        assert!(
            master.contains("480p"),
            "the rung made elsewhere is listed:\n{master}"
        );
    })
    .await;
}
