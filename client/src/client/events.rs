//! The event stream: server-sent events, reconnecting by itself.

use super::Client;
use crate::{Error, backoff::Backoff};
use nebula_api::{Event, routes};
use reqwest::{Method, Response};
use std::time::Duration;

/// The longest line of the stream that is kept.
const MAX_LINE_BYTES: usize = 1 << 20;

/// What happens on the node, from a point in its log on.
#[derive(Debug)]
pub struct Events {
    client: Client,
    after: Option<u64>,
    response: Option<Response>,
    parser: Parser,
    backoff: Backoff,
}

impl Client {
    /// Listens to events after this sequence number, or from now on.
    pub fn events(&self, after: Option<u64>, patience: Duration) -> Events {
        Events {
            client: self.clone(),
            after,
            response: None,
            parser: Parser::default(),
            backoff: Backoff::new(&patience.into()),
        }
    }
}

impl Events {
    /// The next event. A broken connection is made again after the last event seen;
    /// an error comes only when that has failed for as long as the patience lasts.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.parser.next_event() {
                self.after = Some(event.seq);
                self.backoff.progress();
                return Ok(event);
            }
            match self.fill().await {
                Ok(()) => {}
                Err(e) if e.is_passing() => {
                    self.response = None;
                    self.parser = Parser::default();
                    let wait = self.backoff.next_wait(e.retry_after()).ok_or(e)?;
                    self.backoff.rest(wait).await;
                }
                Err(e) => return Err(e),
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Error> {
        let response = match &mut self.response {
            Some(response) => response,
            empty => {
                let mut request = self.client.request(Method::GET, routes::EVENTS)?;
                if let Some(after) = self.after {
                    request = request.header("last-event-id", after);
                }
                empty.insert(self.client.send(request).await?)
            }
        };
        match response.chunk().await {
            Ok(Some(chunk)) => {
                self.parser.feed(&chunk);
                Ok(())
            }
            Ok(None) => Err(Error::Unreachable {
                url: self.client.origin(),
                reason: "the event stream ended".into(),
            }),
            Err(e) => Err(self.client.network(&e)),
        }
    }
}

/// Takes lines apart (WHATWG HTML, "Server-sent events"). Our data is one line of JSON that
/// carries its own sequence number and type, so only `data:` matters.
#[derive(Debug, Default)]
struct Parser {
    buffer: Vec<u8>,
}

impl Parser {
    fn feed(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
        if self.buffer.len() > MAX_LINE_BYTES && !self.buffer.contains(&b'\n') {
            self.buffer.clear();
        }
    }

    fn next_event(&mut self) -> Option<Event> {
        while let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            if let Some(data) = line.strip_prefix(b"data:")
                && let Ok(event) = serde_json::from_slice(data)
            {
                return Some(event);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nebula_api::EventBody;

    #[test]
    fn events_come_whole_out_of_broken_chunks() {
        let mut parser = Parser::default();
        let wire = b": alive\n\nid: 4\nevent: bucket.created\ndata: {\"seq\":4,\"at_ms\":1,\
            \"type\":\"bucket.created\",\"bucket\":\"films\"}\r\n\ndata: no json\n\n";
        for half in wire.chunks(7) {
            assert!(parser.buffer.len() < 200);
            parser.feed(half);
        }
        let event = parser.next_event().expect("one event");
        assert_eq!(event.seq, 4);
        assert!(matches!(event.body, EventBody::BucketCreated { .. }));
        assert!(parser.next_event().is_none());
    }
}
