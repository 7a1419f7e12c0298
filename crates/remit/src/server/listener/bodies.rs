//! The bodies of a request: what comes in is bounded in time and in bytes, what goes out in the client's patience with us.

use super::ticket::Ticket;
use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use remit_model::bounds::{self, Bound, Exceeded};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::time::{Instant, Sleep, sleep_until};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body as it is read.
pub(crate) struct Incoming {
    body: hyper::body::Incoming,
    ticket: Arc<Ticket>,
    began: Instant,
    /// When the present window of progress began, and what came in it.
    window: (Instant, u64),
    /// Made when the body first has to be waited for.
    wake: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    pub(crate) fn new(body: hyper::body::Incoming, ticket: Arc<Ticket>) -> Self {
        let now = Instant::now();
        Self { body, ticket, began: now, window: (now, 0), wake: None }
    }

    /// When the next bound is reached, and which one that is.
    fn due(&self) -> (Instant, &'static Bound) {
        let whole = (self.began + bounds::BODY_TIME.time(), &bounds::BODY_TIME);
        let window = (self.window.0 + bounds::BODY_WINDOW.time(), &bounds::BODY_PROGRESS);
        if window.0 < whole.0 { window } else { whole }
    }

    fn came(&mut self, bytes: usize) -> Result<(), Exceeded> {
        self.window.1 = self.window.1.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.ticket.hold(bytes) { Ok(()) } else { Err(Exceeded(&bounds::BODIES_BYTES)) }
    }

    /// Whether a bound is broken while nothing comes; has the reader woken when the next one is.
    fn late(&mut self, context: &mut Context<'_>) -> Result<(), Exceeded> {
        loop {
            let (until, bound) = self.due();
            let wake = self.wake.get_or_insert_with(|| Box::pin(sleep_until(until)));
            wake.as_mut().reset(until);
            if wake.as_mut().poll(context).is_pending() {
                return Ok(());
            }
            if *bound != bounds::BODY_PROGRESS || self.window.1 < bounds::BODY_PROGRESS.value() {
                return Err(Exceeded(bound));
            }
            self.window = (until, 0);
        }
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Err(exceeded) = self.came(frame.data_ref().map_or(0, Bytes::len)) {
                    return Poll::Ready(Some(Err(exceeded.into())));
                }
                if self.body.is_end_stream() {
                    self.ticket.body_came();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => {
                self.ticket.body_came();
                Poll::Ready(None)
            }
            Poll::Pending => match self.late(context) {
                Ok(()) => Poll::Pending,
                Err(exceeded) => Poll::Ready(Some(Err(exceeded.into()))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.ticket.body_came();
    }
}

/// An answer's body as it is sent, in parts that a client has to take in time.
pub(crate) struct Outgoing {
    body: Body,
    ticket: Arc<Ticket>,
    rest: Bytes,
}

impl Outgoing {
    pub(crate) fn new(body: Body, ticket: Arc<Ticket>) -> Self {
        // The head waits for the client, too.
        ticket.body_came();
        ticket.release();
        Self { body, ticket, rest: Bytes::new() }
    }

    fn part(&mut self) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let most = bounds::SEND_BYTES.size().min(self.rest.len());
        self.ticket.sent(Some(Instant::now()));
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(most)))))
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            return self.part();
        }
        match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    self.rest = data;
                    self.part()
                }
                Err(frame) => Poll::Ready(Some(Ok(frame))),
            },
            polled => {
                self.ticket.sent(None);
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = u64::try_from(self.rest.len()).unwrap_or(u64::MAX);
        let (inner, mut hint) = (self.body.size_hint(), SizeHint::new());
        hint.set_lower(inner.lower().saturating_add(rest));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint
    }
}
