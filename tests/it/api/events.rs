//! Events: replayed from where a reader stopped, and only what it may hear.

use std::time::Duration;

use nebula_api::{Event, EventBody, Role, routes};
use nebula_tests::Appliance;
use reqwest::Response;

use super::{bucket, key, put, request_as};

/// One open stream.
struct Stream {
    response: Response,
    text: String,
}

impl Stream {
    async fn open(request: reqwest::RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let kind = response.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event, its three lines agreeing with one another.
    async fn next(&mut self) -> Event {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let start = format!("{name}: ");
                    block
                        .lines()
                        .find_map(|line| line.strip_prefix(&start).map(str::to_owned))
                };
                let (id, kind, data) = (field("id"), field("event"), field("data"));
                self.text = rest.to_owned();
                let Some(data) = data else { continue };
                let event: Event = serde_json::from_str(&data).unwrap();
                assert_eq!(id, Some(event.seq.to_string()));
                assert_eq!(kind.as_deref(), Some(event.body.name()));
                return event;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(20), self.response.chunk());
            let chunk = chunk.await.expect("an event in time").unwrap();
            let chunk = chunk.expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next object that was made.
    async fn object(&mut self) -> (u64, String) {
        loop {
            let event = self.next().await;
            if let EventBody::ObjectCreated { object, .. } = event.body {
                return (event.seq, format!("{}/{}", object.bucket, object.key));
            }
        }
    }
}

#[tokio::test]
async fn a_reader_goes_on_where_it_stopped() {
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    for name in ["a", "b", "c"] {
        put(&house, "films", name, b"x").await;
    }
    let all = format!("{}?after=0", routes::EVENTS);
    let mut stream = Stream::open(house.get(&all)).await;
    let first = stream.next().await;
    assert!(matches!(first.body, EventBody::BucketCreated { bucket } if bucket == "films"));
    let (a, name) = stream.object().await;
    assert_eq!(name, "films/a");
    let (b, _) = stream.object().await;
    assert!(a < b);
    drop(stream);

    let after = format!("{}?after={a}", routes::EVENTS);
    assert_eq!(
        Stream::open(house.get(&after)).await.object().await.1,
        "films/b"
    );
    // What a browser sends by itself wins over the address that it began with.
    let again = house.get(&all).header("last-event-id", b.to_string());
    assert_eq!(Stream::open(again).await.object().await.1, "films/c");

    // Without either a stream begins now.
    let mut live = Stream::open(house.get(routes::EVENTS)).await;
    put(&house, "films", "d", b"x").await;
    assert_eq!(live.object().await.1, "films/d");
}

#[tokio::test]
async fn nobody_hears_of_a_bucket_that_is_closed_to_them() {
    let house = Appliance::start().await;
    bucket(&house, "films").await;
    bucket(&house, "secret").await;
    let reader = key(&house, "films", Role::Read).await;
    put(&house, "secret", "a", b"x").await;
    put(&house, "films", "b", b"x").await;
    let path = format!("{}?after=0", routes::EVENTS);
    let request = request_as(&house, &reader, reqwest::Method::GET, &path);
    let mut stream = Stream::open(request).await;
    loop {
        let event = stream.next().await;
        assert_eq!(event.body.bucket(), Some("films"), "{event:?}");
        if matches!(event.body, EventBody::ObjectCreated { .. }) {
            break;
        }
    }
}
