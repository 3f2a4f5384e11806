//! Counts requests, how long they wait for an answer, and the bytes of bodies, by door.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use metrics::{Counter, Histogram, counter, histogram};

use crate::telemetry::metrics::{
    HTTP_RECEIVED_BYTES_TOTAL, HTTP_REQUEST_SECONDS, HTTP_REQUESTS_TOTAL, HTTP_SENT_BYTES_TOTAL,
};

/// Bytes that are gathered before they are counted, so that a body of small pieces costs no more than one of large ones.
const GATHERED_BYTES: u64 = 256 * 1024;

/// Every door, as metrics name it.
const DOORS: [&str; 5] = ["admin", "s3", "stream", "tus", "website"];

/// The door below `/-/` that a path leads to.
pub(super) fn door_of(path: &str) -> &'static str {
    const PLACES: [(&str, &[&str]); 2] = [
        ("tus", &["/-/tus", "/-/upload/"]),
        (
            "stream",
            &[
                "/-/file/",
                "/-/hls/",
                "/-/link/",
                "/-/api/v1/posters/",
                "/-/api/v1/worker/",
            ],
        ),
    ];
    let leads = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    let found = PLACES.iter().find(|(_, places)| leads(places));
    found.map_or("admin", |(door, _)| door)
}

/// The figures of one door, found once: to find one in the registry costs more than to count.
struct Figures {
    door: &'static str,
    received: Counter,
    sent: Counter,
    seconds: Histogram,
    /// By the hundreds of the status: below 300, 3xx, 4xx, 5xx.
    requests: [Counter; 4],
}

/// The figures of all doors.
pub(super) struct Meters(Vec<Figures>);

impl Meters {
    /// To be made when the recorder is there.
    pub(super) fn new() -> Self {
        let figures = |door| Figures {
            door,
            received: counter!(HTTP_RECEIVED_BYTES_TOTAL, "door" => door),
            sent: counter!(HTTP_SENT_BYTES_TOTAL, "door" => door),
            seconds: histogram!(HTTP_REQUEST_SECONDS, "door" => door),
            requests: ["2xx", "3xx", "4xx", "5xx"]
                .map(|status| counter!(HTTP_REQUESTS_TOTAL, "door" => door, "status" => status)),
        };
        Self(DOORS.into_iter().map(figures).collect())
    }

    /// Begins to measure a request at a door.
    pub(super) fn begin(&self, door: &str) -> Meter<'_> {
        let known = self.0.iter().find(|figures| figures.door == door);
        Meter {
            figures: known.unwrap_or(&self.0[0]),
            since: Instant::now(),
        }
    }
}

/// A request on its way.
pub(super) struct Meter<'m> {
    figures: &'m Figures,
    since: Instant,
}

impl Meter<'_> {
    /// Counts what a request brings.
    pub(super) fn request<B>(&self, body: B) -> Metered<B> {
        Metered::new(body, self.figures.received.clone())
    }

    /// Counts an answer, and what it sends.
    pub(super) fn response(self, response: Response<Body>) -> Response<Body> {
        let class = match response.status().as_u16() {
            0..300 => 0,
            300..400 => 1,
            400..500 => 2,
            _ => 3,
        };
        self.figures.requests[class].increment(1);
        self.figures.seconds.record(self.since.elapsed());
        let sent = &self.figures.sent;
        match response.body().size_hint().exact() {
            // A short body is one piece: it leaves whole.
            Some(bytes) if bytes <= GATHERED_BYTES => {
                sent.increment(bytes);
                response
            }
            _ => response.map(|body| Body::new(Metered::new(body, sent.clone()))),
        }
    }
}

/// A body whose bytes are counted as they pass.
pub(super) struct Metered<B> {
    body: B,
    counter: Counter,
    /// Passed and not counted yet.
    gathered: u64,
}

impl<B> Metered<B> {
    fn new(body: B, counter: Counter) -> Self {
        Self {
            body,
            counter,
            gathered: 0,
        }
    }
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Metered<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &polled {
            self.gathered += frame.data_ref().map_or(0, |data| data.len() as u64);
            if self.gathered >= GATHERED_BYTES {
                let passed = std::mem::take(&mut self.gathered);
                self.counter.increment(passed);
            }
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Metered<B> {
    fn drop(&mut self) {
        self.counter.increment(self.gathered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_leads_to_one_door() {
        for (path, door) in [
            ("/-/tus", "tus"),
            ("/-/tus/0123", "tus"),
            ("/-/upload/films/a.mp4", "tus"),
            ("/-/file/films/a.mp4", "stream"),
            ("/-/link/x/hls/films/a.mp4/master.m3u8", "stream"),
            ("/-/api/v1/uploads/0123", "admin"),
            ("/-/", "admin"),
        ] {
            assert_eq!(door_of(path), door, "{path}");
            assert!(DOORS.contains(&door));
        }
    }
}
