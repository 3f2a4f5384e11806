//! A segment on its way out: a head from memory, then runs of the object's bytes.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::media::Packaged;
use crate::store::{ObjectBody, ObjectReader, StoreError};

/// Any range of a packaged segment.
pub(super) struct SegmentBody {
    reader: ObjectReader,
    head: Option<Bytes>,
    runs: VecDeque<Range<u64>>,
    current: Option<ObjectBody>,
    left: u64,
}

impl SegmentBody {
    /// The bytes in `range` of the segment, which lies within its size.
    pub(super) fn new(segment: &Packaged, reader: ObjectReader, range: Range<u64>) -> Self {
        let head_bytes = segment.head.len() as u64;
        let within =
            |start: u64, end: u64| range.start.clamp(start, end)..range.end.clamp(start, end);
        let head = within(0, head_bytes);
        let head = Bytes::copy_from_slice(&segment.head[head.start as usize..head.end as usize]);
        let mut at = head_bytes;
        let mut runs = VecDeque::new();
        for run in &segment.runs {
            let length = run.end - run.start;
            let part = within(at, at + length);
            if !part.is_empty() {
                runs.push_back(run.start + (part.start - at)..run.start + (part.end - at));
            }
            at += length;
        }
        Self {
            reader,
            head: Some(head).filter(|head| !head.is_empty()),
            runs,
            current: None,
            left: range.end.saturating_sub(range.start),
        }
    }
}

impl Body for SegmentBody {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        if let Some(head) = self.head.take() {
            self.left = self.left.saturating_sub(head.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(head))));
        }
        loop {
            if let Some(body) = &mut self.current {
                match Pin::new(body).poll_frame(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(frame)) => {
                        if let Ok(data) = frame.as_ref().map(|frame| frame.data_ref()) {
                            let length = data.map_or(0, Bytes::len) as u64;
                            self.left = self.left.saturating_sub(length);
                        }
                        return Poll::Ready(Some(frame));
                    }
                    Poll::Ready(None) => self.current = None,
                }
            }
            let Some(run) = self.runs.pop_front() else {
                return Poll::Ready(None);
            };
            self.current = Some(self.reader.body(run));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
