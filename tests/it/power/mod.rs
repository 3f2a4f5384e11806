//! Power loss: a real run is written down call by call, and the disk is rebuilt as the power could have left it.
//!
//! kill -9 shows what a process forgets; the kernel still writes everything it was given.
//! Here nothing that was not synced is owed to anybody: it is dropped, torn or reordered, and a start must find every acknowledged write whole and nothing torn.
//! `NEBULA_TEST_POWER_STATES` looks at more states than the usual number.

#![expect(clippy::unwrap_used, reason = "tests")]

mod book;
mod check;
mod disk;
mod trace;
mod traffic;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nebula_tests::{Seed, Setup, wait, within};
use tempfile::TempDir;

use book::{Book, Times};
use disk::{Counts, Disk, Mood};

/// States that are looked at when nobody says more.
const STATES: usize = 120;
/// States in which a missing sync must show.
const STATES_TO_FAIL: usize = 60;
const WRITERS: u64 = 4;
const LIMIT: Duration = Duration::from_mins(10);

/// A run that was written down.
struct Run {
    disk: Disk,
    book: Book,
    times: Times,
    /// What a relaxed bucket was given.
    relaxed: Vec<(String, blake3::Hash)>,
    _place: TempDir,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_loses_nothing_acknowledged_and_shows_nothing_torn() {
    within(LIMIT, async {
        let mut seed = Seed::new("power");
        let Some(run) = run(&mut seed).await else {
            return;
        };
        let states = std::env::var("NEBULA_TEST_POWER_STATES");
        let states = states.map_or(STATES, |text| text.parse().unwrap());
        let cuts = run.cuts();
        let moods = [Mood::Drop, Mood::Tear, Mood::Chance, Mood::Keep];
        for number in 0..states {
            let cut = cuts[seed.within(0, cuts.len() as u64) as usize];
            let mood = moods[number % moods.len()];
            let faults = run.faults(cut, mood, |_| true, &mut seed).await;
            assert!(
                faults.is_empty(),
                "state {number}, the power goes at line {cut}, {mood:?}:\n{}",
                faults.join("\n")
            );
        }
        println!(
            "{states} states after {} acknowledged requests: nothing lost, nothing torn",
            run.times.answered.len()
        );

        // A relaxed bucket owes nothing to a power cut, and everything to a daemon that is merely killed.
        let end = run.times.answered.values().max().copied().unwrap();
        let puts = run.relaxed.len();
        assert_eq!(run.relaxed_left(end, Mood::Keep, &mut seed).await, puts);
        assert!(run.relaxed_left(end, Mood::Drop, &mut seed).await < puts);

        // The proof that it can fail: with any one kind of sync taken away, something acknowledged is lost.
        let without: [(&str, Counts); 3] = [
            ("the bytes of blobs", |path| !is_blob(path)),
            ("the names of blobs", |path| !is_blob_folder(path)),
            ("the log of the database", |path| !path.ends_with("-wal")),
        ];
        for (what, counts) in without {
            assert!(
                run.fails_without(counts, &mut seed).await,
                "{what} were never synced, and nobody noticed"
            );
        }
    })
    .await;
}

fn is_blob(path: &str) -> bool {
    path.starts_with("blobs/") && path.matches('/').count() == 2
}

fn is_blob_folder(path: &str) -> bool {
    path.starts_with("blobs/") && path.matches('/').count() == 1
}

impl Run {
    /// Moments worth a look: a sync has just ended, an answer is about to leave, and right before each.
    fn cuts(&self) -> Vec<usize> {
        let answers = self.times.answered.values();
        let moments = answers.chain(&self.disk.synced);
        let around = moments.flat_map(|at| [at.saturating_sub(1), *at]);
        let mut cuts: Vec<usize> = around.collect();
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    }

    async fn faults(&self, cut: usize, mood: Mood, counts: Counts, seed: &mut Seed) -> Vec<String> {
        let place = place();
        let data = place.path().join("data");
        self.disk.leave(cut, mood, counts, seed, &data);
        check::faults(&data, &self.book, &self.times, cut).await
    }

    async fn relaxed_left(&self, cut: usize, mood: Mood, seed: &mut Seed) -> usize {
        let place = place();
        let data = place.path().join("data");
        self.disk.leave(cut, mood, |_| true, seed, &data);
        check::whole(&data, &self.relaxed).await
    }

    async fn fails_without(&self, counts: Counts, seed: &mut Seed) -> bool {
        let mut answers: Vec<usize> = self.times.answered.values().copied().collect();
        answers.sort_unstable();
        for number in 0..STATES_TO_FAIL {
            let cut = answers[seed.within(0, answers.len() as u64) as usize];
            let mood = [Mood::Drop, Mood::Tear][number % 2];
            if !self.faults(cut, mood, counts, seed).await.is_empty() {
                return true;
            }
        }
        false
    }
}

/// In memory where that is possible: a state is looked at once.
fn place() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir());
    made.expect("a temporary directory")
}

/// Lets an appliance work under strace; nothing, said loudly, where that is not allowed.
async fn run(seed: &mut Seed) -> Option<Run> {
    let allowed = Command::new("strace")
        .args(["-f", "--seccomp-bpf", "-q", "-e", "trace=write"])
        .args(["-o", "/dev/null", "true"])
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("SKIPPED: strace is not installed or not permitted (apt-get install strace)");
        return None;
    }
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("calls");
    let data = place.path().join("data");
    let mut appliance = Setup::default()
        .config("[worker]\nslots = 0\n")
        .data_dir(&data)
        .under(&strace(&log))
        .start()
        .await;
    let book = Book::default();
    let s3 = appliance.s3();
    s3.create_bucket()
        .bucket(traffic::BUCKET)
        .send()
        .await
        .unwrap();
    let scratch = serde_json::json!({ "name": traffic::RELAXED, "durability": "relaxed" });
    let made = appliance.request(reqwest::Method::POST, "/-/api/v1/buckets");
    let made = made.json(&scratch).send().await.unwrap();
    assert!(made.status().is_success(), "{}", made.status());
    let relaxed = traffic::relaxed(s3.clone(), seed).await;
    let writers =
        (0..WRITERS).map(|writer| traffic::write(s3.clone(), &book, writer, seed.split()));
    let writers = futures::future::join_all(writers.collect::<Vec<_>>());
    tokio::join!(
        writers,
        traffic::multipart(s3.clone(), &book, seed.split()),
        traffic::tus(&appliance, &book, seed.split()),
    );
    let ended = appliance.stop().await;
    assert!(ended.success(), "{ended}");
    wait::until("strace has written everything", || trace::is_complete(&log));
    let calls = trace::read(&log);
    let times = Times::read(&calls);
    assert!(
        times.answered.len() as u64 > WRITERS * 20,
        "only {} answers were found in the log",
        times.answered.len()
    );
    Some(Run {
        disk: Disk::replay(&calls, &data.display().to_string()),
        book,
        times,
        relaxed,
        _place: place,
    })
}

/// As a grandchild, so that the appliance stays our child.
fn strace(log: &Path) -> Vec<PathBuf> {
    let words = ["strace", "-D", "-f", "--seccomp-bpf", "-q", "-xx"];
    let words = words
        .into_iter()
        .chain(["-s", "67108864", "-e", "signal=none"]);
    let words = words.chain(["-e", trace::CALLS, "-o"]).map(PathBuf::from);
    words.chain([log.to_owned(), PathBuf::from("--")]).collect()
}
