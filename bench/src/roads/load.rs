//! The load generator: requests that are ready as bytes, connections that stay open, and how long each answer took.
//!
//! *Closed* loop: so many connections, each sends its next request when it has its answer; that measures capacity. *Open*
//! loop: requests come at fixed times whether the server keeps up or not, and latency counts from the time a request
//! should have been sent, so that a server that stalls cannot hide it.

use super::{
    http::{self, Answer},
    machine,
};
use crate::rounds;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Mutex, mpsc},
    task::LocalSet,
};

/// How much of an answer's beginning and end is searched for what must be in it, in bytes.
const HEAD: usize = 256;
const TAIL: usize = 1024;
/// A single answer may take this long before the run fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// What an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    /// 200 with this text near its beginning or end.
    Good(&'static str),
    /// A refusal of the request itself: 400 or 401.
    Refused,
}

/// A request that only has to be written.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    pub(crate) bytes: Vec<u8>,
    pub(crate) expect: Expect,
}

/// When requests are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    Closed { connections: usize },
    Open { connections: usize, per_second: f64 },
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) good: u64,
    pub(crate) refused: u64,
    /// Microseconds, of the good ones.
    pub(crate) waits: Vec<f64>,
    pub(crate) seconds: f64,
    /// Bodies of good answers, when they were asked for.
    pub(crate) answers: Vec<Vec<u8>>,
    /// Answers that were not what they must be; the first of them.
    pub(crate) wrong: Option<String>,
}

impl Outcome {
    pub(crate) fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let count = (self.good + self.refused) as f64;
        count / self.seconds
    }
}

/// Sends the requests in order until they or the time are used up.
///
/// # Errors
/// When a connection fails, or any answer is not what it must be.
pub(crate) fn run(address: SocketAddr, requests: &Arc<Vec<Prepared>>, pace: Pace, span: Duration) -> Result<Outcome> {
    drive(address, requests, pace, span, false)
}

/// The same, keeping the bodies of good answers.
pub(crate) fn collect(address: SocketAddr, requests: &Arc<Vec<Prepared>>, connections: usize) -> Result<Outcome> {
    drive(address, requests, Pace::Closed { connections }, Duration::from_hours(1), true)
}

fn drive(address: SocketAddr, requests: &Arc<Vec<Prepared>>, pace: Pace, span: Duration, keep: bool) -> Result<Outcome> {
    let requests = Arc::clone(requests);
    // A thread of its own, so that pinning it pins nothing else.
    let thread = thread::spawn(move || {
        machine::pin(machine::LOAD);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, all(address, requests, pace, span, keep))
    });
    let outcome = thread.join().map_err(|_| anyhow!("the load generator failed"))??;
    if let Some(wrong) = &outcome.wrong {
        bail!("a wrong answer: {wrong}");
    }
    Ok(outcome)
}

async fn all(address: SocketAddr, requests: Arc<Vec<Prepared>>, pace: Pace, span: Duration, keep: bool) -> Result<Outcome> {
    let connections = match pace {
        Pace::Closed { connections } | Pace::Open { connections, .. } => connections,
    };
    let mut sockets = Vec::new();
    for _ in 0..connections {
        let socket = TcpStream::connect(address).await.with_context(|| format!("nothing listens on {address}"))?;
        socket.set_nodelay(true)?;
        sockets.push(socket);
    }
    let start = rounds::now();
    let next = Rc::new(match pace {
        Pace::Closed { .. } => Turns::Closed { next: Cell::new(0), until: start + span },
        Pace::Open { per_second, .. } => Turns::Open(Mutex::new(pacer(start, span, per_second, requests.len()))),
    });
    let outcome = Rc::new(RefCell::new(Outcome::default()));
    let tasks: Vec<_> = sockets
        .into_iter()
        .map(|socket| {
            let line = Line { socket, read: Vec::with_capacity(64 << 10), keep };
            tokio::task::spawn_local(line.work(Arc::clone(&requests), Rc::clone(&next), Rc::clone(&outcome)))
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let mut outcome = outcome.take();
    outcome.seconds = start.elapsed().as_secs_f64();
    Ok(outcome)
}

/// Whose turn it is: the number of the next request, and when it should be sent.
enum Turns {
    Closed { next: Cell<usize>, until: Instant },
    Open(Mutex<mpsc::UnboundedReceiver<(usize, Instant)>>),
}

impl Turns {
    async fn take(&self) -> Option<(usize, Option<Instant>)> {
        match self {
            Self::Closed { next, until } => {
                let at = next.get();
                next.set(at + 1);
                (rounds::now() < *until).then_some((at, None))
            }
            Self::Open(due) => due.lock().await.recv().await.map(|(at, due)| (at, Some(due))),
        }
    }
}

/// When the request of this number is due, so many seconds after the start.
pub(crate) fn due(number: usize, per_second: f64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "a time")]
    Duration::from_secs_f64(number as f64 / per_second)
}

/// Calls out requests at their times. A thread of its own: the timers of an asynchronous runtime are a millisecond coarse.
fn pacer(start: Instant, span: Duration, per_second: f64, count: usize) -> mpsc::UnboundedReceiver<(usize, Instant)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for number in 0..count {
            let after = due(number, per_second);
            if after >= span {
                break;
            }
            let at = start + after;
            thread::sleep(at.saturating_duration_since(rounds::now()));
            if sender.send((number, at)).is_err() {
                break;
            }
        }
    });
    receiver
}

/// One open connection.
struct Line {
    socket: TcpStream,
    read: Vec<u8>,
    keep: bool,
}

impl Line {
    async fn work(mut self, requests: Arc<Vec<Prepared>>, turns: Rc<Turns>, outcome: Rc<RefCell<Outcome>>) -> Result<()> {
        while let Some((at, due)) = turns.take().await {
            let Some(request) = requests.get(at) else { break };
            let asked = due.unwrap_or_else(rounds::now);
            let seen = tokio::time::timeout(PATIENCE, self.exchange(&request.bytes)).await;
            let seen = seen.with_context(|| format!("no answer to request {at}"))??;
            let waited = asked.elapsed().as_secs_f64() * 1e6;
            let raw = self.read.get(seen.body.clone()).unwrap_or_default();
            let mut outcome = outcome.borrow_mut();
            match request.expect {
                Expect::Good(text) if seen.status == 200 && holds(raw, text.as_bytes()) => {
                    outcome.good += 1;
                    outcome.waits.push(waited);
                    if self.keep {
                        outcome.answers.push(Answer::of(&seen, &self.read)?.body);
                    }
                }
                Expect::Refused if matches!(seen.status, 400 | 401) => outcome.refused += 1,
                expected => {
                    let shown = String::from_utf8_lossy(raw).chars().take(600).collect::<String>();
                    outcome.wrong = Some(format!("request {at}, expected {expected:?}, got {}: {shown}", seen.status));
                    return Ok(());
                }
            }
            self.read.clear();
        }
        Ok(())
    }

    async fn exchange(&mut self, request: &[u8]) -> Result<http::Seen> {
        self.socket.write_all(request).await?;
        loop {
            let count = self.socket.read_buf(&mut self.read).await?;
            ensure!(count > 0, "the server closed the connection");
            if let Some(seen) = http::see(&self.read)? {
                ensure!(seen.body.end == self.read.len(), "more than one answer came");
                return Ok(seen);
            }
        }
    }
}

fn holds(body: &[u8], text: &[u8]) -> bool {
    let near = |part: &[u8]| part.windows(text.len()).any(|window| window == text);
    text.is_empty()
        || near(body.get(..HEAD.min(body.len())).unwrap_or_default())
        || near(body.get(body.len().saturating_sub(TAIL)..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_at_equal_distances_from_the_start_and_never_drift() {
        assert_eq!(due(0, 250.0), Duration::ZERO);
        assert_eq!(due(1, 250.0), Duration::from_millis(4));
        assert_eq!(due(250_000, 250.0), Duration::from_secs(1_000));
    }

    #[test]
    fn what_must_be_in_an_answer_is_found_at_either_end_only() {
        let mut body = vec![b'.'; 10_000];
        assert!(!holds(&body, b"result"));
        body[..6].copy_from_slice(b"result");
        assert!(holds(&body, b"result"));
        body[..6].copy_from_slice(b"......");
        body[9_000..9_006].copy_from_slice(b"result");
        assert!(holds(&body, b"result"));
        assert!(holds(b"", b""));
        assert!(!holds(b"resul", b"result"));
    }
}
