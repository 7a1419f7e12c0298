//! The way back to the client: one JSON body, or a stream of events once there is something to stream.
//!
//! The head of the response is decided as late as possible: a call that only has an answer replies with plain JSON; the
//! first notification turns the reply into `text/event-stream`, written through as it comes.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde_json::Value;
use std::{convert::Infallible, time::Duration};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

/// Events that may wait for a slow client before the upstream has to wait.
const BACKLOG: usize = 16;

/// A client that reads nothing for this long counts as gone: its call must not outlive its standing.
const STALLED: Duration = Duration::from_secs(30);

/// What the request handler waits for.
#[derive(Debug)]
pub(crate) enum Head {
    /// The JSON text of the body.
    Whole(StatusCode, HeaderMap, Bytes),
    Stream(HeaderMap, mpsc::Receiver<Bytes>),
}

/// The writing end, owned by the task that does the work. Dropping it ends the reply.
#[derive(Debug)]
pub(crate) struct ReplyStream {
    head: Option<oneshot::Sender<Head>>,
    frames: Option<mpsc::Sender<Bytes>>,
    /// Whether the client reads `text/event-stream`.
    streams: bool,
    headers: HeaderMap,
}

/// The client has disconnected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientGone;

impl ReplyStream {
    pub(crate) fn new(streams: bool, headers: HeaderMap) -> (Self, oneshot::Receiver<Head>) {
        let (head, receiver) = oneshot::channel();
        (Self { head: Some(head), frames: None, streams, headers }, receiver)
    }

    /// Sends a message before the answer. A client that cannot read events does not get it.
    pub(crate) async fn event(&mut self, message: &Value) -> Result<(), ClientGone> {
        if self.streams { self.frame(event_frame(message.to_string().as_bytes())).await } else { Ok(()) }
    }

    /// Keeps an open stream from looking dead to whatever is in between.
    pub(crate) async fn comment(&mut self) -> Result<(), ClientGone> {
        if self.streams { self.frame(Bytes::from_static(b": waiting\n\n")).await } else { Ok(()) }
    }

    /// Turns the reply into a stream now, before there is anything to say.
    pub(crate) fn open(&mut self) {
        if let Some(head) = self.head.take() {
            let (frames, receiver) = mpsc::channel(BACKLOG);
            let _ = head.send(Head::Stream(std::mem::take(&mut self.headers), receiver));
            self.frames = Some(frames);
        }
    }

    async fn frame(&mut self, frame: Bytes) -> Result<(), ClientGone> {
        self.open();
        match &self.frames {
            Some(frames) => frames.send_timeout(frame, STALLED).await.map_err(|_| ClientGone),
            None => Err(ClientGone),
        }
    }

    /// The answer as JSON text: the whole body with its status and headers, or the last event of an open stream.
    pub(crate) async fn finish(mut self, status: StatusCode, more: HeaderMap, message: Bytes) {
        match self.head.take() {
            Some(head) => {
                let mut headers = std::mem::take(&mut self.headers);
                headers.extend(more);
                let _ = head.send(Head::Whole(status, headers, message));
            }
            None => {
                let _ = self.frame(event_frame(&message)).await;
            }
        }
    }

    /// Resolves when the client has gone.
    pub(crate) async fn gone(&mut self) {
        match (&mut self.head, &self.frames) {
            (Some(head), _) => head.closed().await,
            (None, Some(frames)) => frames.closed().await,
            (None, None) => {}
        }
    }

    pub(crate) fn header(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
    }
}

/// One server-sent event. JSON text has no raw line break, so one `data` line holds it.
fn event_frame(message: &[u8]) -> Bytes {
    Bytes::from([b"event: message\ndata: ", message, b"\n\n"].concat())
}

impl IntoResponse for Head {
    fn into_response(self) -> Response {
        match self {
            Self::Whole(status, headers, body) => {
                let json = HeaderValue::from_static("application/json");
                (status, headers, [(header::CONTENT_TYPE, json)], body).into_response()
            }
            Self::Stream(headers, frames) => {
                let body = Body::from_stream(ReceiverStream::new(frames).map(Ok::<_, Infallible>));
                let fixed = [
                    (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
                    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
                    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
                ];
                (StatusCode::OK, headers, fixed, body).into_response()
            }
        }
    }
}
