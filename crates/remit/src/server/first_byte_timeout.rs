//! A connection whose first bytes must come in time.
//!
//! Until they tell HTTP/1 from HTTP/2, neither protocol's own limits hold: whoever connects and says nothing, or only half
//! of the HTTP/2 preface, would keep a file descriptor for ever.

use std::{
    io::{Error, ErrorKind, Result},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// What an HTTP/2 client says first. SPEC: RFC 9113 §3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A socket, and until the protocol is known the time that is left for it.
pub(crate) struct FirstByteTimeout<S> {
    socket: S,
    wait: Option<Pin<Box<Sleep>>>,
    /// Bytes of the preface so far.
    matched: usize,
}

impl<S> FirstByteTimeout<S> {
    pub(crate) fn new(socket: S, wait: Duration) -> Self {
        Self { socket, wait: Some(Box::pin(sleep(wait))), matched: 0 }
    }

    fn heard(&mut self, bytes: &[u8]) {
        let due = PREFACE.get(self.matched..).unwrap_or_default();
        self.matched += bytes.len();
        if self.matched >= PREFACE.len() || !due.starts_with(bytes) {
            self.wait = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstByteTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        if self.wait.as_mut().is_some_and(|wait| wait.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the connection says nothing")));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if self.wait.is_some() {
            self.heard(buf.filled().get(before..).unwrap_or_default());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstByteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[std::io::IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    /// What becomes of reading on after these first bytes, from a client that then says no more.
    async fn after(first: &[u8], wait: Duration) -> (usize, Option<ErrorKind>, bool) {
        let (mut client, server) = duplex(64);
        client.write_all(first).await.unwrap();
        let (mut socket, mut read) = (FirstByteTimeout::new(server, wait), Vec::new());
        let mut buffer = [0; 7];
        while read.len() < first.len() {
            let count = socket.read(&mut buffer).await.unwrap();
            read.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(read, first);
        let waits = socket.wait.is_some();
        let error = if waits { socket.read(&mut buffer).await.err().map(|error| error.kind()) } else { None };
        (read.len(), error, waits)
    }

    #[tokio::test]
    async fn who_says_nothing_or_half_a_preface_is_cut_off() {
        let wait = Duration::from_millis(50);
        for first in [&b""[..], b"P", b"PRI * HT", &PREFACE[..23]] {
            assert_eq!(after(first, wait).await, (first.len(), Some(ErrorKind::TimedOut), true), "{first:?}");
        }
        for first in [&b"G"[..], b"POST", b"PRI * HTTP/1", PREFACE] {
            assert_eq!(after(first, Duration::from_mins(1)).await, (first.len(), None, false), "{first:?}");
        }
    }
}
