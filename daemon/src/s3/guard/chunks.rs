//! Bodies in aws-chunked framing, so that no chunk is held whole.
//!
//! `s3s` collects each chunk before it passes it on, and SDKs send a whole part as one chunk.
//! An unsigned chunk can be cut at will; a signed one cannot, so that its size is bounded instead.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame};
use s3s::StdError;

/// Largest unsigned chunk that is passed on.
const PIECE_BYTES: usize = 64 * 1024;
/// Largest signed chunk that is accepted: what one request can make the daemon hold.
const CHUNK_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longest line before a chunk; a signature takes 85 bytes.
const LINE_BYTES_MAX: usize = 1024;

/// Whether chunks carry signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::s3) enum Framing {
    /// `STREAMING-UNSIGNED-PAYLOAD-TRAILER`.
    Unsigned,
    /// `STREAMING-AWS4-HMAC-SHA256-PAYLOAD` with or without `-TRAILER`.
    Signed,
}

/// Why a framed body is refused.
#[derive(Debug, thiserror::Error)]
pub(in crate::s3) enum ChunkError {
    /// A signed chunk above [`CHUNK_BYTES_MAX`].
    #[error("{}", Self::TOO_LARGE)]
    TooLarge,
    /// No chunk begins where one should.
    #[error("{}", Self::MALFORMED)]
    Malformed,
    /// The connection broke.
    #[error("reading the body failed")]
    Body(#[source] StdError),
}

impl ChunkError {
    /// What a client reads.
    pub(in crate::s3) const TOO_LARGE: &'static str = "a signed chunk is larger than 16 MiB";
    /// What a client reads.
    pub(in crate::s3) const MALFORMED: &'static str = "the body is not in aws-chunked framing";
}

enum State {
    /// In the line that says how long the next chunk is.
    Line(Vec<u8>),
    /// In a chunk, with bytes left.
    Data(u64),
    /// Behind a chunk: bytes of the line end left.
    LineEnd(u8),
    /// Behind the last chunk: trailers.
    Rest,
}

/// Passes a framed body on, re-framed or bounded.
pub(in crate::s3) struct Chunked<B> {
    body: B,
    framing: Framing,
    state: State,
    out: VecDeque<Bytes>,
}

impl<B> Chunked<B> {
    /// Wraps a body that comes in this framing.
    pub(in crate::s3) fn new(body: B, framing: Framing) -> Self {
        Self {
            body,
            framing,
            state: State::Line(Vec::new()),
            out: VecDeque::new(),
        }
    }

    fn take(&mut self, mut bytes: Bytes) -> Result<(), ChunkError> {
        let whole = bytes.clone();
        while !bytes.is_empty() {
            match &mut self.state {
                State::Line(line) => {
                    let end = bytes
                        .iter()
                        .position(|b| *b == b'\n')
                        .map_or(bytes.len(), |at| at + 1);
                    line.extend_from_slice(&bytes[..end]);
                    bytes.advance(end);
                    if line.len() > LINE_BYTES_MAX {
                        return Err(ChunkError::Malformed);
                    }
                    if line.ends_with(b"\n") {
                        let size = size(line)?;
                        if self.framing == Framing::Signed && size > CHUNK_BYTES_MAX {
                            return Err(ChunkError::TooLarge);
                        }
                        if size == 0 {
                            self.emit(Bytes::from_static(b"0\r\n"));
                        }
                        self.state = if size == 0 {
                            State::Rest
                        } else {
                            State::Data(size)
                        };
                    }
                }
                State::Data(left) => {
                    let mut now = bytes
                        .len()
                        .min(usize::try_from(*left).unwrap_or(usize::MAX));
                    if self.framing == Framing::Unsigned {
                        now = now.min(PIECE_BYTES);
                    }
                    *left -= now as u64;
                    let done = *left == 0;
                    let piece = bytes.split_to(now);
                    self.emit(Bytes::from(format!("{now:x}\r\n")));
                    self.emit(piece);
                    self.emit(Bytes::from_static(b"\r\n"));
                    if done {
                        self.state = State::LineEnd(2);
                    }
                }
                State::LineEnd(left) => {
                    let expected = if *left == 2 { b'\r' } else { b'\n' };
                    if bytes[0] != expected {
                        return Err(ChunkError::Malformed);
                    }
                    bytes.advance(1);
                    *left -= 1;
                    if *left == 0 {
                        self.state = State::Line(Vec::new());
                    }
                }
                State::Rest => self.emit(std::mem::take(&mut bytes)),
            }
        }
        if self.framing == Framing::Signed {
            // Signatures are over the bytes as they came.
            self.out.push_back(whole);
        }
        Ok(())
    }

    fn emit(&mut self, bytes: Bytes) {
        if self.framing == Framing::Unsigned {
            self.out.push_back(bytes);
        }
    }
}

/// The size in `hex[;extension]\r\n`.
fn size(line: &[u8]) -> Result<u64, ChunkError> {
    let digits = line
        .split(|b| matches!(b, b';' | b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    let text = std::str::from_utf8(digits).map_err(|_| ChunkError::Malformed)?;
    if text.is_empty() || text.len() > 12 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ChunkError::Malformed);
    }
    u64::from_str_radix(text, 16).map_err(|_| ChunkError::Malformed)
}

impl<B> Body for Chunked<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = ChunkError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ChunkError>>> {
        let this = self.get_mut();
        loop {
            if let Some(bytes) = this.out.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(ChunkError::Body(error.into())))),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data()
                        && let Err(error) = this.take(bytes)
                    {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use http_body_util::{BodyExt as _, Full};
    use proptest::prelude::*;

    use super::*;

    fn run(framing: Framing, pieces: &[&[u8]]) -> Result<Vec<u8>, ChunkError> {
        let mut chunked = Chunked::new(Full::new(Bytes::new()), framing);
        let mut out = Vec::new();
        for piece in pieces {
            chunked.take(Bytes::copy_from_slice(piece))?;
            for bytes in chunked.out.drain(..) {
                out.extend_from_slice(&bytes);
            }
        }
        Ok(out)
    }

    /// The payload of a framed body, and its largest chunk.
    fn decode(mut framed: &[u8]) -> (Vec<u8>, usize, Vec<u8>) {
        let (mut payload, mut largest) = (Vec::new(), 0);
        loop {
            let end = framed.windows(2).position(|w| w == b"\r\n").unwrap();
            let size =
                usize::from_str_radix(std::str::from_utf8(&framed[..end]).unwrap(), 16).unwrap();
            framed = &framed[end + 2..];
            if size == 0 {
                return (payload, largest, framed.to_vec());
            }
            payload.extend_from_slice(&framed[..size]);
            assert_eq!(&framed[size..size + 2], b"\r\n");
            framed = &framed[size + 2..];
            largest = largest.max(size);
        }
    }

    #[test]
    fn one_huge_chunk_becomes_many_small_ones() {
        let payload = vec![7_u8; 1_000_000];
        let mut framed = format!("{:x}\r\n", payload.len()).into_bytes();
        framed.extend_from_slice(&payload);
        framed.extend_from_slice(b"\r\n0\r\nx-amz-checksum-crc32:AAAAAA==\r\n\r\n");
        let (out, largest, rest) = decode(&run(Framing::Unsigned, &[&framed]).unwrap());
        assert_eq!(out, payload);
        assert!(largest <= PIECE_BYTES);
        assert_eq!(rest, b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n");
    }

    #[test]
    fn a_signed_chunk_is_untouched_but_bounded() {
        let framed = b"3;chunk-signature=00\r\nabc\r\n0;chunk-signature=00\r\n\r\n";
        assert_eq!(run(Framing::Signed, &[framed]).unwrap(), framed);
        let huge = format!("{:x};chunk-signature=00\r\n", CHUNK_BYTES_MAX + 1);
        assert!(matches!(
            run(Framing::Signed, &[huge.as_bytes()]),
            Err(ChunkError::TooLarge)
        ));
        assert!(
            run(
                Framing::Signed,
                &[format!("{CHUNK_BYTES_MAX:x};s\r\n").as_bytes()]
            )
            .is_ok()
        );
    }

    #[test]
    fn noise_is_refused() {
        for noise in [
            &b"zz\r\n"[..],
            b"\r\n",
            b"-1\r\n",
            b"fffffffffffff\r\n",
            &[b'1'; 2000],
            b"3\r\nabcX\n",
        ] {
            assert!(
                matches!(run(Framing::Unsigned, &[noise]), Err(ChunkError::Malformed)),
                "{noise:?}"
            );
        }
    }

    #[tokio::test]
    async fn it_is_a_body() {
        let body = Full::new(Bytes::from_static(b"4\r\nabcd\r\n0\r\n\r\n"));
        let out = Chunked::new(body, Framing::Unsigned)
            .collect()
            .await
            .unwrap()
            .to_bytes();
        assert_eq!(decode(&out).0, b"abcd");
    }

    /// The payload of a framed body as far as it goes, and what stands behind its last chunk; `None` where it is no framing.
    fn read(mut framed: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let mut payload = Vec::new();
        loop {
            let Some(end) = framed.iter().position(|b| *b == b'\n') else {
                return (framed.len() <= LINE_BYTES_MAX).then_some((payload, None));
            };
            let line = std::str::from_utf8(&framed[..end]).ok()?;
            let digits = line.split([';', '\r']).next()?;
            if digits.is_empty() || digits.len() > 12 || digits.contains('+') {
                return None;
            }
            let size = usize::from_str_radix(digits, 16).ok()?;
            framed = &framed[end + 1..];
            if size == 0 {
                return Some((payload, Some(framed.to_vec())));
            }
            payload.extend_from_slice(&framed[..size.min(framed.len())]);
            framed = framed.get(size..).unwrap_or_default();
            if !b"\r\n".starts_with(&framed[..framed.len().min(2)]) {
                return None;
            }
            framed = framed.get(2..).unwrap_or_default();
        }
    }

    /// Pieces of framing, mostly in an order that makes none.
    fn token() -> impl Strategy<Value = Vec<u8>> {
        let chunk = proptest::collection::vec(any::<u8>(), 1..40).prop_map(|bytes| {
            let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
            framed.extend_from_slice(&bytes);
            framed.extend_from_slice(b"\r\n");
            framed
        });
        prop_oneof![
            6 => chunk,
            1 => "[0-9a-fA-F]{1,3}(;x=[a-z]{0,4})?\r?\n".prop_map(String::into_bytes),
            1 => "(0\r\n)?(a:b\r\n)?\r\n".prop_map(String::into_bytes),
            1 => proptest::collection::vec(any::<u8>(), 0..5),
        ]
    }

    proptest! {
        #[test]
        fn cuts_of_the_connection_do_not_matter(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..8),
            cuts in proptest::collection::vec(1_usize..50, 1..100),
        ) {
            let mut framed = Vec::new();
            for chunk in &chunks {
                framed.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                framed.extend_from_slice(chunk);
                framed.extend_from_slice(b"\r\n");
            }
            framed.extend_from_slice(b"0\r\n\r\n");
            let mut pieces = Vec::new();
            let mut rest = framed.as_slice();
            for cut in cuts {
                let (piece, left) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = left;
            }
            pieces.push(rest);
            let (out, _, end) = decode(&run(Framing::Unsigned, &pieces).unwrap());
            prop_assert_eq!(out, chunks.concat());
            prop_assert_eq!(end, b"\r\n");
        }

        #[test]
        fn what_goes_out_says_the_same_as_what_came(
            tokens in proptest::collection::vec(token(), 0..12),
            cut in 0_usize..60,
        ) {
            let bytes = tokens.concat();
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            let plain = run(Framing::Unsigned, &[head, tail]).ok();
            prop_assert_eq!(plain.as_deref().and_then(read), read(&bytes));
            if let Ok(signed) = run(Framing::Signed, &[head, tail]) {
                prop_assert_eq!(signed, bytes);
            }
        }

        #[test]
        fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = run(Framing::Unsigned, &[&bytes]);
            let _ = run(Framing::Signed, &[&bytes]);
        }
    }
}
