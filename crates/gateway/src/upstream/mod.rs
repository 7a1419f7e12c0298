//! Links to upstream MCP servers, of either era, over streamable HTTP or a child's standard input and output.
//!
//! A link is what the upstream knows of us: an HTTP session, a child process, or nothing at all for a stateless server.
//! No caller's credential, header or cookie ever crosses (MG-02); only the configured headers do.

mod http;
mod pool;
mod running;
mod sse;
mod stdio;

pub(crate) use http::Dialer;
pub(crate) use pool::{Key, Pool};

use crate::{
    gate::Declared,
    mcp::{Incoming, Message, Notification, Response, RpcError, era::ClientFace},
    settings::{Settings, Upstream},
};
use remit_model::{
    json::Limits,
    refusal::{Code, Refusal},
};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Messages of one exchange that may wait for us before the upstream has to.
const BACKLOG: usize = 32;

/// What went wrong on the far side. The detail is for the log; the caller learns only which kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Unavailable(String),
    Malformed(String),
    /// The upstream forgot our session; nothing was executed.
    Forgotten,
}

impl Broken {
    /// Logs the detail and gives the caller's view of it.
    pub(crate) fn refusal(&self, server: &str) -> Refusal {
        match self {
            Self::Unavailable(detail) => {
                tracing::warn!(server, detail, "upstream unavailable");
                Refusal::new(Code::UpstreamUnavailable, "the upstream server is not available")
            }
            Self::Malformed(detail) => {
                tracing::warn!(server, detail, "upstream answered outside the protocol");
                Refusal::new(Code::UpstreamMalformed, "the upstream server's answer could not be read")
            }
            Self::Forgotten => Refusal::new(Code::UpstreamUnavailable, "the upstream server ended the session"),
        }
    }
}

/// What an exchange brings, in order; the answer or a break is last.
#[derive(Debug)]
pub(crate) enum Arrival {
    Message(Incoming),
    Answer(Result<Value, RpcError>),
    Broken(Broken),
}

/// One request under way. Dropping it before the answer tells the upstream to stop.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// Moves while it is waited for.
    Http(Box<running::Running>),
    /// Fed by the one who reads the child's output.
    Stdio { arrivals: mpsc::Receiver<Arrival>, _stop: oneshot::Sender<()> },
}

impl Exchange {
    /// What comes next. May be given up and asked again without losing anything.
    pub(crate) async fn next(&mut self) -> Arrival {
        let arrival = match self {
            Self::Http(running) => running.next().await,
            Self::Stdio { arrivals, .. } => arrivals.recv().await,
        };
        arrival.unwrap_or_else(|| Arrival::Broken(Broken::Unavailable("the connection ended".to_owned())))
    }
}

/// Messages that belong to no request of ours; ends when the upstream stops sending or another listener takes over.
#[derive(Debug)]
pub(crate) struct Listening {
    messages: mpsc::Receiver<Incoming>,
    _stop: Option<oneshot::Sender<()>>,
}

impl Listening {
    pub(crate) async fn next(&mut self) -> Option<Incoming> {
        self.messages.recv().await
    }
}

/// What a request says, whatever the era.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) method: &'a str,
    pub(crate) params: Map<String, Value>,
    /// `params.arguments`, where those are not among the parameters themselves.
    pub(crate) arguments: Option<&'a Value>,
    /// The client's declarations, for an upstream of the stateless era; `None` when it declares nothing.
    pub(crate) face: Option<&'a ClientFace>,
    /// `Mcp-Param-*` headers the tool declares: name and path into the arguments.
    pub(crate) mirrored: Option<Arc<Declared>>,
}

impl<'a> Outgoing<'a> {
    /// Without arguments of a caller, on behalf of nobody who could be asked anything.
    pub(crate) fn bare(method: &'a str, params: Map<String, Value>) -> Self {
        Self { method, params, arguments: None, face: None, mirrored: None }
    }
}

/// What the upstream said about itself when the link was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct About {
    pub(crate) capabilities: Value,
    pub(crate) instructions: Option<Value>,
    pub(crate) server_info: Value,
}

/// An open link.
#[derive(Debug)]
pub(crate) enum Link {
    Http(http::HttpLink),
    Stdio(Box<stdio::StdioLink>),
}

impl Link {
    /// Opens a link and finds out which era the upstream speaks.
    pub(crate) async fn open(
        upstream: &Upstream,
        dialer: &Dialer,
        settings: &Arc<Settings>,
        face: &ClientFace,
        known: Option<bool>,
    ) -> Result<Self, Broken> {
        match upstream {
            Upstream::Http { url, headers } => {
                let target = http::Target::new(url, headers, settings)?;
                http::HttpLink::open(target, dialer, face, known).await.map(Self::Http)
            }
            Upstream::Stdio { command, args, env, cwd } => {
                let child = stdio::Spawn { command, args, env, cwd: cwd.as_deref() };
                stdio::StdioLink::open(&child, settings, face, known).await.map(|link| Self::Stdio(Box::new(link)))
            }
        }
    }

    /// Whether the upstream is of the stateless era.
    pub(crate) fn is_modern(&self) -> bool {
        match self {
            Self::Http(link) => link.is_modern(),
            Self::Stdio(link) => link.is_modern(),
        }
    }

    /// Whether one link serves every caller: a stateless server keeps nothing of us.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Http(link) if link.is_modern())
    }

    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Http(link) => link.is_open(),
            Self::Stdio(link) => link.is_open(),
        }
    }

    pub(crate) fn about(&self) -> &About {
        match self {
            Self::Http(link) => link.about(),
            Self::Stdio(link) => link.about(),
        }
    }

    /// Sends a request; what it brings comes through the exchange.
    pub(crate) async fn send(&self, message: Outgoing<'_>) -> Result<Exchange, Broken> {
        match self {
            Self::Http(link) => Ok(link.send(message)),
            Self::Stdio(link) => link.send(message).await,
        }
    }

    pub(crate) async fn notify(&self, notification: &Notification) -> Result<(), Broken> {
        match self {
            Self::Http(link) => link.post(&notification.to_value()).await,
            Self::Stdio(link) => link.write(&notification.to_value()).await,
        }
    }

    /// Answers a request the upstream made.
    pub(crate) async fn respond(&self, response: &Response) -> Result<(), Broken> {
        match self {
            Self::Http(link) => link.post(&response.to_value()).await,
            Self::Stdio(link) => link.write(&response.to_value()).await,
        }
    }

    /// Listens for messages outside any exchange; `None` when the upstream does not offer that.
    pub(crate) async fn listen(&self) -> Result<Option<Listening>, Broken> {
        match self {
            Self::Http(link) => link.listen().await,
            Self::Stdio(link) => Ok(Some(link.listen())),
        }
    }

    /// Ends the upstream's session politely; a child process ends when the last user of the link drops it.
    pub(crate) async fn close(&self) {
        if let Self::Http(link) = self {
            link.close().await;
        }
    }
}

/// Sorts one message of the upstream, as part of the exchange with this id; answers to anything else are dropped.
fn arrival(message: Message, id: u64, progress: Option<&Value>) -> Option<Arrival> {
    match message {
        Message::Response(response) => (response.id.as_u64() == Some(id)).then_some(Arrival::Answer(response.outcome)),
        Message::Notification(mut note) => {
            if note.method == "notifications/progress" {
                // The upstream knows the token we gave it; the client knows its own, or asked for none.
                note.params.insert("progressToken".to_owned(), progress?.clone());
            }
            Some(Arrival::Message(Incoming::Notification(note)))
        }
        Message::Request(request) => Some(Arrival::Message(Incoming::Request(request))),
    }
}

/// Replaces the client's progress token by the id of our request, so that tokens of two clients cannot meet.
fn own_progress(params: &mut Map<String, Value>, id: u64) -> Option<Value> {
    let meta = params.get_mut("_meta")?.as_object_mut()?;
    let token = meta.get_mut("progressToken")?;
    Some(std::mem::replace(token, Value::from(id)))
}

/// How much of an upstream's message we read.
fn limits(settings: &Settings) -> Limits {
    Limits { bytes: settings.response_bytes, ..Limits::RESPONSE }
}
