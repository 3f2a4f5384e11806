//! The body of `multipart/byteranges` (RFC 9110 §14.6): part headers and bodies in turn.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::http::HeaderValue;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::kernel::Id;

enum Piece<B> {
    Text(Bytes),
    Part(Pin<Box<B>>),
}

/// One part after the other; its length is known before the first byte.
pub struct Multipart<B> {
    pieces: VecDeque<Piece<B>>,
    left_bytes: u64,
    boundary: String,
}

impl<B> Multipart<B> {
    /// Puts a body together from the bodies of its ranges.
    pub fn new(
        parts: impl IntoIterator<Item = (Range<u64>, B)>,
        size_bytes: u64,
        content_type: &HeaderValue,
    ) -> Self {
        // Nobody can store an object that holds a boundary of 128 random bits.
        let boundary = Id::random().to_string();
        let mut pieces = VecDeque::new();
        let mut left_bytes = 0;
        let mut before = "";
        for (range, body) in parts {
            let mut head = format!("{before}--{boundary}\r\nContent-Type: ").into_bytes();
            head.extend_from_slice(content_type.as_bytes());
            let place = format!(
                "\r\nContent-Range: bytes {}-{}/{size_bytes}\r\n\r\n",
                range.start,
                range.end - 1
            );
            head.extend_from_slice(place.as_bytes());
            left_bytes += head.len() as u64 + (range.end - range.start);
            pieces.push_back(Piece::Text(head.into()));
            pieces.push_back(Piece::Part(Box::pin(body)));
            before = "\r\n";
        }
        let end = format!("\r\n--{boundary}--\r\n");
        left_bytes += end.len() as u64;
        pieces.push_back(Piece::Text(end.into()));
        Self {
            pieces,
            left_bytes,
            boundary,
        }
    }

    /// The value of the answer's own `Content-Type`.
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// The value of `Content-Length`.
    pub fn length_bytes(&self) -> u64 {
        self.left_bytes
    }
}

impl<B: Body<Data = Bytes>> Body for Multipart<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        loop {
            let data = match self.pieces.front_mut() {
                None => return Poll::Ready(None),
                Some(Piece::Text(text)) => {
                    let text = std::mem::take(text);
                    self.pieces.pop_front();
                    text
                }
                Some(Piece::Part(body)) => {
                    let Some(frame) = ready!(body.as_mut().poll_frame(context)) else {
                        self.pieces.pop_front();
                        continue;
                    };
                    // Trailers of a part have no place in a multipart body.
                    let Ok(data) = frame?.into_data() else {
                        continue;
                    };
                    data
                }
            };
            self.left_bytes = self.left_bytes.saturating_sub(data.len() as u64);
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}
