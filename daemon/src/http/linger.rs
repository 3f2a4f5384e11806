//! A refusal that arrives: what a client still sends after an early answer is read and thrown away for a while.
//!
//! A connection that is closed while bytes are under way is reset, and a reset can overtake the answer: the client then sees a broken pipe instead of "the disk is full".
//! So a body that its handler dropped unread is drained beside the answer, within bounds (as nginx's `lingering_close` does).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

/// Bytes thrown away at the most; a client that sends more meets the closed connection.
const DRAINED_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Time a drain may take.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// A request body that is drained when it is dropped before its end.
pub struct Lingering<B: Body<Data = Bytes> + Send + Unpin + 'static>(Option<B>);

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Lingering<B> {
    /// Wraps a body; one whose client waits for `100 Continue` must not be, as reading would ask for it.
    pub fn new(body: B) -> Self {
        Self(Some(body))
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Body for Lingering<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let polled = std::task::ready!(Pin::new(body).poll_frame(cx));
        if !matches!(polled, Some(Ok(_))) {
            // Ended or broken: there is nothing to drain.
            self.0 = None;
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Drop for Lingering<B> {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(tokio::time::timeout(DRAIN_MAX, async move {
            let mut drained = 0;
            while drained < DRAINED_BYTES_MAX
                && let Some(Ok(frame)) = body.frame().await
            {
                drained += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
        }));
    }
}
