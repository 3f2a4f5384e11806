//! A connection's socket, which sends runs of files in place of their stand-ins.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::blob::Bypass;

/// See [`Bypass`].
pub(super) struct Socket {
    stream: TcpStream,
    bypass: Bypass,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, bypass: Bypass) -> Self {
        Self { stream, bypass }
    }

    /// Does what a socket that is not ready refuses, as soon as it is.
    fn poll_io(
        &self,
        cx: &mut Context<'_>,
        mut io: impl FnMut(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            let done = self.stream.try_io(Interest::WRITABLE, || io(&self.stream));
            match done {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(first) = slices.iter().position(|bytes| Bypass::is_stand_in(bytes)) else {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        };
        if slices[..first].iter().all(|bytes| bytes.is_empty()) {
            return self.poll_io(cx, |stream| self.bypass.send(stream, &slices[first]));
        }
        self.poll_io(cx, |stream| Bypass::lead(stream, &slices[..first]))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
