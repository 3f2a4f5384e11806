//! Counts requests, how long they wait for an answer, and the bytes of bodies, by door.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use metrics::{Counter, counter, histogram};

use crate::telemetry::metrics::{
    HTTP_RECEIVED_BYTES_TOTAL, HTTP_REQUEST_SECONDS, HTTP_REQUESTS_TOTAL, HTTP_SENT_BYTES_TOTAL,
};

/// Bytes that are gathered before they are counted, so that a body of small pieces costs no more than one of large ones.
const GATHERED_BYTES: u64 = 256 * 1024;

/// The door below `/-/` that a path leads to, as metrics name it.
pub(super) fn door_of(path: &str) -> &'static str {
    const DOORS: [(&str, &[&str]); 2] = [
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
    let found = DOORS.iter().find(|(_, places)| leads(places));
    found.map_or("admin", |(door, _)| door)
}

/// A request on its way.
pub(super) struct Meter {
    door: &'static str,
    since: Instant,
}

impl Meter {
    pub(super) fn begin(door: &'static str) -> Self {
        Self {
            door,
            since: Instant::now(),
        }
    }

    /// Counts what a request brings.
    pub(super) fn request<B>(&self, body: B) -> Metered<B> {
        Metered::new(
            body,
            counter!(HTTP_RECEIVED_BYTES_TOTAL, "door" => self.door),
        )
    }

    /// Counts an answer, and what it sends.
    pub(super) fn response(self, response: Response<Body>) -> Response<Body> {
        let status = match response.status().as_u16() {
            0..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        counter!(HTTP_REQUESTS_TOTAL, "door" => self.door, "status" => status).increment(1);
        histogram!(HTTP_REQUEST_SECONDS, "door" => self.door).record(self.since.elapsed());
        let sent = counter!(HTTP_SENT_BYTES_TOTAL, "door" => self.door);
        match response.body().size_hint().exact() {
            // A short body is one piece: it leaves whole.
            Some(bytes) if bytes <= GATHERED_BYTES => {
                sent.increment(bytes);
                response
            }
            _ => response.map(|body| Body::new(Metered::new(body, sent))),
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
        }
    }
}
