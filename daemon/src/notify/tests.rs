//! Deliveries over a real catalog and a real receiver on the loopback interface.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::blob::{BlobOptions, Blobs};
use crate::catalog::Catalog;
use crate::kernel::{BucketName, Clock};
use crate::queue::Bell;
use crate::store::{
    Condition, ObjectExtras, ObjectHeaders, PutObject, Store, StoreParts, Tags, WriteOptions,
};

const SECRET: &str = "sixteen characters and more";

/// What a receiver was sent and answers.
struct Desk {
    heard: Mutex<Vec<(HeaderMap, String)>>,
    count: watch::Sender<usize>,
    /// Answers by the key of the object; 200 for all others.
    answers: Mutex<BTreeMap<String, u16>>,
    tries: watch::Sender<usize>,
}

struct Receiver {
    desk: Arc<Desk>,
    url: String,
    server: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let key = key_of(&body);
    desk.tries.send_modify(|tries| *tries += 1);
    let answers = desk.answers.lock().unwrap();
    let status = answers.get(&key).or_else(|| answers.get("*")).copied();
    drop(answers);
    if let Some(status) = status {
        return StatusCode::from_u16(status).unwrap();
    }
    desk.heard.lock().unwrap().push((headers, body));
    desk.count.send_modify(|count| *count += 1);
    StatusCode::OK
}

fn key_of(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap();
    let key = body["Records"][0]["s3"]["object"]["key"].as_str();
    key.unwrap_or("test").to_owned()
}

impl Receiver {
    async fn start() -> Self {
        let desk = Arc::new(Desk {
            heard: Mutex::default(),
            count: watch::Sender::new(0),
            answers: Mutex::default(),
            tries: watch::Sender::new(0),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/hook", axum::routing::post(take))
            .with_state(desk.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { desk, url, server }
    }

    fn answer(&self, key: &str, status: Option<u16>) {
        let mut answers = self.desk.answers.lock().unwrap();
        match status {
            Some(status) => answers.insert(key.into(), status),
            None => answers.remove(key),
        };
    }

    /// Waits until it has taken `count` notifications.
    async fn heard(&self, count: usize) -> Vec<(HeaderMap, String)> {
        let mut counted = self.desk.count.subscribe();
        let enough = counted.wait_for(|heard| *heard >= count);
        tokio::time::timeout(Duration::from_secs(30), enough)
            .await
            .expect("the notifications arrive")
            .unwrap();
        self.desk.heard.lock().unwrap().clone()
    }

    async fn tried(&self, count: usize) {
        let mut counted = self.desk.tries.subscribe();
        let enough = counted.wait_for(|tries| *tries >= count);
        tokio::time::timeout(Duration::from_secs(30), enough)
            .await
            .expect("deliveries are tried")
            .unwrap();
    }

    fn names(heard: &[(HeaderMap, String)]) -> Vec<String> {
        let name = |(headers, body): &(HeaderMap, String)| {
            format!(
                "{} {}",
                headers["x-nebula-event"].to_str().unwrap(),
                key_of(body)
            )
        };
        heard.iter().map(name).collect()
    }
}

struct Room {
    store: Store,
    clock: Clock,
    films: BucketName,
    dir: tempfile::TempDir,
}

async fn store_on(dir: &std::path::Path, clock: &Clock) -> Store {
    let file = crate::catalog::Options::Sqlite(dir.join("catalog.sqlite"));
    let blobs = BlobOptions {
        dir: dir.join("blobs"),
        reserve_bytes: 0,
    };
    Store::new(StoreParts {
        catalog: Catalog::open(&file).await.unwrap(),
        blobs: Blobs::open(blobs).await.unwrap(),
        clock: clock.clone(),
        planner: Arc::new(|_| Vec::new()),
        bell: Bell::new(),
        inline_bytes_max: 16 * 1024,
        master: crate::kernel::MasterKey::from_bytes([7; 32]),
    })
}

async fn room() -> Room {
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::manual(1_700_000_000_000);
    let store = store_on(dir.path(), &clock).await;
    let films: BucketName = "films".parse().unwrap();
    store.create_bucket(&films, "maker").await.unwrap();
    Room {
        store,
        clock,
        films,
        dir,
    }
}

impl Room {
    async fn put(&self, key: &str) {
        let mut writer = self.store.writer(WriteOptions::default()).await.unwrap();
        writer.write(Bytes::from_static(b"x")).await.unwrap();
        let put = PutObject {
            bucket: self.films.clone(),
            key: key.parse().unwrap(),
            headers: ObjectHeaders::default(),
            tags: Tags::default(),
            extras: ObjectExtras::default(),
            owner: "writer".into(),
            condition: Condition::default(),
            etag: None,
        };
        let sealed = writer.seal().await.unwrap();
        self.store.publish(put, sealed).await.unwrap();
    }

    async fn delete(&self, key: &str) {
        let (key, none) = (key.parse().unwrap(), Condition::default());
        self.store
            .delete(&self.films, &key, None, none, "writer")
            .await
            .unwrap();
    }

    async fn rules(&self, targets: &[&str], prefix: &str) {
        let rule = |name: &&str| Rule {
            id: format!("for {name}"),
            form: Form::Queue,
            arn: arn_of(name),
            events: vec!["s3:ObjectCreated:*".into(), "s3:ObjectRemoved:*".into()],
            prefix: Some(prefix.into()),
            suffix: None,
        };
        let rules: Vec<_> = targets.iter().map(rule).collect();
        let names = targets.iter().map(|&name| name.into()).collect();
        self.store
            .set_notification(&self.films, serde_json::json!(rules), names)
            .await
            .unwrap();
    }
}

fn terms() -> Terms {
    Terms {
        rest_first: Duration::from_millis(5),
        rest_longest: Duration::from_millis(50),
        refusals_max: 3,
        ..Terms::default()
    }
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

fn notifier(store: &Store, targets: &[(&str, &str)]) -> Notifier {
    let targets = targets
        .iter()
        .map(|(name, url)| Target::new(name, url, SECRET));
    Notifier::new(NotifierParts {
        store: store.clone(),
        targets: Targets::new(targets.collect()),
        region: "us-east-1".into(),
        terms: terms(),
    })
    .unwrap()
}

async fn run(store: &Store, targets: &[(&str, &str)]) -> Running {
    let notifier = notifier(store, targets);
    notifier.begin().await.unwrap();
    let stop = CancellationToken::new();
    let task = tokio::spawn(notifier.run(stop.clone()));
    Running { stop, task }
}

#[tokio::test]
async fn changes_arrive_signed_filtered_and_in_order() {
    let room = room().await;
    let hall = Receiver::start().await;
    room.put("in/before").await;
    let running = run(&room.store, &[("hall", &hall.url)]).await;
    room.rules(&["hall"], "in/").await;
    room.put("out/a").await;
    room.put("in/a").await;
    room.put("in/a").await;
    room.delete("in/a").await;
    let heard = hall.heard(4).await;
    let names = Receiver::names(&heard);
    assert_eq!(
        names[1..],
        [
            "s3:ObjectCreated:Put in/a",
            "s3:ObjectCreated:Put in/a",
            "s3:ObjectRemoved:Delete in/a"
        ],
        "{names:?}"
    );
    assert_eq!(names[0], "s3:TestEvent test");
    let target = Target::new("hall", &hall.url, SECRET);
    for (headers, body) in &heard {
        let expected = target.signature(room.clock.now_ms(), body.as_bytes());
        assert_eq!(headers["x-nebula-signature"], expected.as_str());
    }
    running.end().await;
    // A later start goes on behind what was taken.
    room.put("in/b").await;
    let running = run(&room.store, &[("hall", &hall.url)]).await;
    let heard = hall.heard(5).await;
    assert_eq!(Receiver::names(&heard)[4], "s3:ObjectCreated:Put in/b");
    assert_eq!(heard.len(), 5);
    running.end().await;
}

#[tokio::test]
async fn a_target_that_is_down_loses_nothing_and_blocks_nobody() {
    let room = room().await;
    let (hall, attic) = (Receiver::start().await, Receiver::start().await);
    hall.answer("*", Some(503));
    let targets = [("hall", hall.url.as_str()), ("attic", attic.url.as_str())];
    let running = run(&room.store, &targets).await;
    room.rules(&["hall", "attic"], "").await;
    for number in 0..20 {
        room.put(&format!("k{number}")).await;
    }
    assert_eq!(attic.heard(21).await.len(), 21);
    hall.tried(3).await;
    assert!(hall.desk.heard.lock().unwrap().is_empty());
    hall.answer("*", None);
    let heard = hall.heard(21).await;
    let mut names = Receiver::names(&heard);
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 21);
    running.end().await;
}

#[tokio::test]
async fn what_the_receiver_refuses_is_given_up_and_the_rest_goes_on() {
    let room = room().await;
    let hall = Receiver::start().await;
    hall.answer("poison", Some(400));
    let running = run(&room.store, &[("hall", &hall.url)]).await;
    room.rules(&["hall"], "").await;
    room.put("poison").await;
    room.put("good").await;
    hall.heard(2).await;
    // Test event, the good one, and three tries of the other.
    hall.tried(5).await;
    room.put("next").await;
    let heard = hall.heard(3).await;
    assert_eq!(Receiver::names(&heard)[2], "s3:ObjectCreated:Put next");
    assert_eq!(*hall.desk.tries.borrow(), 6);
    running.end().await;
}

#[tokio::test]
async fn what_is_a_day_old_is_given_up() {
    let room = room().await;
    let hall = Receiver::start().await;
    hall.answer("*", Some(500));
    let running = run(&room.store, &[("hall", &hall.url)]).await;
    room.rules(&["hall"], "").await;
    room.put("old").await;
    hall.tried(1).await;
    room.clock.advance_ms(terms().age_max_ms + 1);
    room.put("young").await;
    hall.answer("*", None);
    let heard = hall.heard(1).await;
    let names = Receiver::names(&heard);
    // The test event and the old one may have slipped through before the clock moved, never after.
    assert_eq!(names.last().unwrap(), "s3:ObjectCreated:Put young");
    running.end().await;
}

#[tokio::test]
async fn of_two_daemons_one_delivers_and_the_other_takes_over() {
    let first = room().await;
    let hall = Receiver::start().await;
    let second = store_on(first.dir.path(), &first.clock).await;
    let targets = [("hall", hall.url.as_str())];
    let one = run(&first.store, &targets).await;
    first.rules(&["hall"], "").await;
    hall.heard(1).await;
    let other = run(&second, &targets).await;
    for number in 0..10 {
        first.put(&format!("a{number}")).await;
    }
    hall.heard(11).await;
    one.end().await;
    for number in 0..10 {
        first.put(&format!("b{number}")).await;
    }
    assert_eq!(hall.heard(21).await.len(), 21, "nothing is told twice");
    other.end().await;
}

#[tokio::test]
async fn a_target_that_is_configured_no_more_holds_the_outbox_for_a_day() {
    let room = room().await;
    let hall = Receiver::start().await;
    let gone = notifier(&room.store, &[("gone", &hall.url)]);
    gone.begin().await.unwrap();
    room.put("a").await;
    let now = notifier(&room.store, &[]);
    now.forget().await.unwrap();
    let consumers = || async { room.store.catalog().consumers().await.unwrap() };
    assert_eq!(consumers().await, ["webhook:gone"]);
    room.clock.advance_ms(terms().age_max_ms + 1);
    now.forget().await.unwrap();
    assert!(consumers().await.is_empty());
    assert!(room.store.trim_events(1).await.unwrap() > 0);
}
