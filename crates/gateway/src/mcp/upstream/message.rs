//! What goes to an upstream and what comes back, whatever the transport.

use crate::{
    mcp::{
        envelope::{Incoming, Message, RpcError},
        headers::Declared,
        revision::ClientProfile,
    },
    road::rejection::Rejection,
    settings::Settings,
};
use remit_model::{
    json::Limits,
    refusal::{Code, Refusal},
};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Messages of one exchange that may wait for us before the upstream has to.
pub(super) const BACKLOG: usize = 32;

/// What went wrong on the far side. The detail is for the log; the caller learns only which kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LinkFailure {
    Unavailable(String),
    Malformed(String),
    /// The upstream forgot our session; nothing was executed.
    Forgotten,
    /// The upstream answered 429; nothing was executed. With the seconds it wants us to wait.
    Busy(Option<u32>),
}

impl LinkFailure {
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
            Self::Busy(after) => Rejection::Busy(*after).refusal(),
            Self::Forgotten => Refusal::new(Code::UpstreamUnavailable, "the upstream server ended the session"),
        }
    }
}

impl LinkFailure {
    /// How a call ends that it ended.
    pub(crate) fn rejection(&self, server: &str) -> Rejection {
        match self {
            Self::Busy(after) => Rejection::Busy(*after),
            other => other.refusal(server).into(),
        }
    }
}

/// What an exchange brings, in order; the answer or a break is last.
#[derive(Debug)]
pub(crate) enum ExchangeEvent {
    Message(Incoming),
    Answer(Result<Value, RpcError>),
    Failed(LinkFailure),
}

/// Messages that belong to no request of ours; ends when the upstream stops sending or another listener takes over.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(super) messages: mpsc::Receiver<Incoming>,
    /// Dropping it ends the task that feeds the messages.
    pub(super) _stop: Option<oneshot::Sender<()>>,
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
    pub(crate) client: Option<&'a ClientProfile>,
    /// `Mcp-Param-*` headers the tool declares: name and path into the arguments.
    pub(crate) mirrored: Option<Arc<Declared>>,
}

impl<'a> Outgoing<'a> {
    /// Without arguments of a caller, on behalf of no client that could be asked anything.
    pub(crate) fn bare(method: &'a str, params: Map<String, Value>) -> Self {
        Self { method, params, arguments: None, client: None, mirrored: None }
    }
}

/// What the upstream said about itself when the link was opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct About {
    pub(crate) capabilities: Value,
    pub(crate) instructions: Option<Value>,
    pub(crate) server_info: Value,
}

/// Sorts one message of the upstream, as part of the exchange with this id; answers to anything else are dropped.
pub(super) fn arrival(message: Message, id: u64, progress: Option<&Value>) -> Option<ExchangeEvent> {
    match message {
        Message::Response(response) => (response.id.as_u64() == Some(id)).then_some(ExchangeEvent::Answer(response.outcome)),
        Message::Notification(mut note) => {
            if note.method == "notifications/progress" {
                // The upstream knows the token we gave it; the client knows its own, or asked for none.
                note.params.insert("progressToken".to_owned(), progress?.clone());
            }
            Some(ExchangeEvent::Message(Incoming::Notification(note)))
        }
        Message::Request(request) => Some(ExchangeEvent::Message(Incoming::Request(request))),
    }
}

/// Replaces the client's progress token by the id of our request, so that tokens of two clients cannot meet.
pub(super) fn own_progress(params: &mut Map<String, Value>, id: u64) -> Option<Value> {
    let meta = params.get_mut("_meta")?.as_object_mut()?;
    let token = meta.get_mut("progressToken")?;
    Some(std::mem::replace(token, Value::from(id)))
}

/// How much of an upstream's message we read.
pub(super) fn limits(settings: &Settings) -> Limits {
    Limits { bytes: settings.response_bytes, ..Limits::RESPONSE }
}

impl About {
    pub(crate) fn read(result: &Value) -> Self {
        let server_info = result.get("serverInfo").or_else(|| result.get("_meta")?.get("io.modelcontextprotocol/serverInfo"));
        Self {
            capabilities: result.get("capabilities").cloned().unwrap_or_else(|| json!({})),
            instructions: result.get("instructions").filter(|text| text.is_string()).cloned(),
            server_info: server_info.cloned().unwrap_or(Value::Null),
        }
    }
}
