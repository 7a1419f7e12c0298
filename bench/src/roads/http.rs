//! As much of HTTP/1.1 as a load generator needs: where an answer ends, its status, and its body.
//!
//! It reads answers of programs under test, not of strangers: no trailers, no obsolete folding, no answer without a length.

use anyhow::{Context as _, Result, bail, ensure};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    ops::Range,
    time::Duration,
};

/// Largest answer that is read, in bytes.
const LIMIT: usize = 4 << 20;
/// Longest wait for an answer while a world is set up.
const PATIENCE: Duration = Duration::from_secs(20);

/// A complete answer at the beginning of what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: u16,
    /// The body as it came, chunk sizes and all.
    pub(crate) body: Range<usize>,
    pub(crate) chunked: bool,
}

/// Looks for a whole answer; `None` while more must be read.
///
/// # Errors
/// When the bytes are no answer, or one whose end cannot be known.
pub(crate) fn see(bytes: &[u8]) -> Result<Option<Seen>> {
    let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        ensure!(bytes.len() < LIMIT, "an endless head");
        return Ok(None);
    };
    let head = std::str::from_utf8(bytes.get(..at).unwrap_or_default()).context("the head is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let status: u16 = status.context("not an HTTP/1.1 answer")?;
    let start = at + 4;
    let mut end = matches!(status, 204 | 304).then_some(start);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { bail!("a header without a colon") };
        if name.eq_ignore_ascii_case("content-length") {
            end = Some(start + value.trim().parse::<usize>().context("content-length")?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") && value.trim().eq_ignore_ascii_case("chunked") {
            let whole = chunks(bytes.get(start..).unwrap_or_default(), |_| ())?;
            return Ok(whole.map(|length| Seen { status, body: start..start + length, chunked: true }));
        }
    }
    let end = end.context("an answer of unknown length")?;
    ensure!(end < LIMIT, "an endless answer");
    Ok((bytes.len() >= end).then_some(Seen { status, body: start..end, chunked: false }))
}

/// Walks over chunks and hands each out; gives back where they end, `None` while the last is missing.
fn chunks<'a>(bytes: &'a [u8], mut each: impl FnMut(&'a [u8])) -> Result<Option<usize>> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let Some(line) = rest.windows(2).position(|two| two == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(rest.get(..line).unwrap_or_default()).context("chunk size")?;
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16).context("chunk size")?;
        ensure!(size < LIMIT, "an endless chunk");
        let data = line + 2;
        let Some(chunk) = rest.get(data..data + size).filter(|_| rest.len() >= data + size + 2) else { return Ok(None) };
        each(chunk);
        at += data + size + 2;
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

/// An answer read whole.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn of(seen: &Seen, bytes: &[u8]) -> Result<Self> {
        let raw = bytes.get(seen.body.clone()).unwrap_or_default();
        let mut body = Vec::with_capacity(raw.len());
        if seen.chunked {
            chunks(raw, |chunk| body.extend_from_slice(chunk))?;
        } else {
            body.extend_from_slice(raw);
        }
        Ok(Self { status: seen.status, body })
    }

    /// The body as JSON, of an answer with this status.
    pub(crate) fn json(&self, status: u16) -> Result<serde_json::Value> {
        let text = String::from_utf8_lossy(&self.body);
        ensure!(self.status == status, "answered {} instead of {status}: {text}", self.status);
        serde_json::from_str(&text).with_context(|| format!("not JSON: {text}"))
    }
}

/// One request and its answer on a connection of their own, for setting things up.
pub(crate) fn once(address: SocketAddr, request: &[u8]) -> Result<Answer> {
    let mut socket = TcpStream::connect(address).with_context(|| format!("nothing listens on {address}"))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.write_all(request)?;
    let (mut bytes, mut piece) = (Vec::new(), [0; 16 << 10]);
    loop {
        if let Some(seen) = see(&bytes)? {
            return Answer::of(&seen, &bytes);
        }
        let count = socket.read(&mut piece).context("no answer")?;
        ensure!(count > 0, "the connection ended in the middle of an answer");
        bytes.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
}

/// A request as it goes over the wire. `headers` come without line ends.
pub(crate) fn request(method: &str, path: &str, host: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.extend(["content-length: ", &body.len().to_string(), "\r\n\r\n", body]);
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_only_with_its_last_byte() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        for end in 0..whole.len() {
            assert_eq!(see(&whole[..end]).unwrap(), None, "{end}");
        }
        let seen = see(whole).unwrap().unwrap();
        assert_eq!((seen.status, &whole[seen.body]), (200, b"hello".as_slice()));
    }

    #[test]
    fn chunks_are_joined_and_a_following_answer_is_left_alone() {
        let whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(see(&whole[..end]).unwrap(), None, "{end}");
        }
        let two = [whole.as_slice(), b"HTTP/1.1 500 Oh\r\n"].concat();
        let seen = see(&two).unwrap().unwrap();
        assert_eq!(seen.body.end, whole.len());
        assert_eq!(Answer::of(&seen, &two).unwrap().body, b"abcdefg");
    }

    #[test]
    fn what_cannot_be_read_is_an_error_and_not_a_wait() {
        for bad in [
            "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        ] {
            assert!(see(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_answer_without_a_body_needs_no_length() {
        assert_eq!(see(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().status, 204);
    }
}
