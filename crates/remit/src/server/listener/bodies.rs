//! The bodies of a request: what comes in is bounded in time and in bytes, what goes out in the client's patience with us.

use super::ticket::Ticket;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use remit_model::bounds::{self, Bound, Exceeded};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    sync::oneshot,
    time::{Instant, Sleep, sleep_until, timeout},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body as it is read.
pub(crate) struct Incoming {
    /// `None` once it broke a bound.
    body: Option<hyper::body::Incoming>,
    /// Takes what was left unread.
    unread: Option<oneshot::Sender<Unread>>,
    ticket: Arc<Ticket>,
    began: Instant,
    /// When the present window of progress began, and what came in it.
    window: (Instant, u64),
    /// Made when the body first has to be waited for.
    wake: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    /// The body, and what is left of it when it is dropped.
    pub(crate) fn new(body: hyper::body::Incoming, ticket: Arc<Ticket>) -> (Self, oneshot::Receiver<Unread>) {
        let (now, (unread, left)) = (Instant::now(), oneshot::channel());
        (Self { body: Some(body), unread: Some(unread), ticket, began: now, window: (now, 0), wake: None }, left)
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
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(&mut *body).poll_frame(context);
        let ended = body.is_end_stream();
        let broken: BoxError = match polled {
            Poll::Ready(Some(Ok(frame))) => match self.came(frame.data_ref().map_or(0, Bytes::len)) {
                Ok(()) => {
                    if ended {
                        self.ticket.body_came();
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                Err(exceeded) => exceeded.into(),
            },
            Poll::Ready(Some(Err(error))) => error.into(),
            Poll::Ready(None) => {
                self.ticket.body_came();
                return Poll::Ready(None);
            }
            Poll::Pending => match self.late(context) {
                Ok(()) => return Poll::Pending,
                Err(exceeded) => exceeded.into(),
            },
        };
        self.body = None;
        Poll::Ready(Some(Err(broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, HttpBody::size_hint)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.ticket.body_came();
        let unread = match self.body.take() {
            Some(body) if body.is_end_stream() => Unread::Nothing,
            Some(body) => Unread::Rest(body),
            None => Unread::Broken,
        };
        if let Some(left) = self.unread.take() {
            let _ = left.send(unread);
        }
    }
}

/// What is left of a request's body when the answer is ready.
pub(crate) enum Unread {
    Nothing,
    Rest(hyper::body::Incoming),
    /// It broke a bound.
    Broken,
}

impl Unread {
    /// Reads what comes soon and throws it away; whether that was all. A connection with an unread body cannot be used again, and a
    /// client that does not hear so loses its next request.
    pub(crate) async fn read_away(self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Broken => false,
            Self::Rest(rest) => {
                let reading = Limited::new(rest, bounds::UNREAD_BYTES.size()).collect();
                matches!(timeout(bounds::UNREAD_TIME.time(), reading).await, Ok(Ok(_)))
            }
        }
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
