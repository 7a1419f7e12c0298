//! One open link to an upstream, over either transport.

use super::{
    http::HttpLink,
    http_client::{Dialer, Target},
    http_exchange::HttpExchange,
    message::{About, ExchangeEvent, LinkFailure, Listening, Outgoing},
    process_group::ProcessGroups,
    stdio::{Spawn, StdioExchange, StdioLink},
};
use crate::{
    mcp::{
        envelope::{Notification, Response},
        revision::{ClientProfile, Era},
    },
    settings::{Settings, Upstream},
};
use serde_json::Value;
use std::sync::Arc;

/// One request under way. Dropping it before the answer tells the upstream to stop.
#[derive(Debug)]
pub(crate) enum Exchange {
    /// Moves while it is waited for.
    Http(Box<HttpExchange>),
    /// Fed by the one who reads the child's output.
    Stdio(StdioExchange),
}

impl Exchange {
    /// What comes next. May be given up and asked again without losing anything.
    pub(crate) async fn next(&mut self) -> ExchangeEvent {
        match self {
            Self::Http(exchange) => exchange.next().await,
            Self::Stdio(exchange) => exchange.next().await,
        }
    }

    /// Progress goes to another token of the client from now on, or to none.
    pub(crate) fn renew_progress(&mut self, token: Option<Value>) {
        match self {
            Self::Http(exchange) => exchange.renew_progress(token),
            Self::Stdio(exchange) => exchange.renew_progress(token),
        }
    }
}

/// An open link.
#[derive(Debug)]
pub(crate) enum Link {
    Http(HttpLink),
    Stdio(Box<StdioLink>),
}

impl Link {
    /// Opens a link in the first of these eras that the upstream speaks.
    pub(crate) async fn open(
        name: &str,
        upstream: &Upstream,
        (dialer, groups): (&Dialer, &ProcessGroups),
        settings: &Arc<Settings>,
        client: &ClientProfile,
        eras: &[Era],
    ) -> Result<Self, LinkFailure> {
        match upstream {
            Upstream::Http { url, headers } => {
                let target = Target::new(url, headers, settings)?;
                HttpLink::open(target, dialer, client, eras).await.map(Self::Http)
            }
            Upstream::Stdio { command, args, env, cwd } => {
                let child = Spawn { name, groups, command, args, env, cwd: cwd.as_deref() };
                StdioLink::open(&child, settings, client, eras).await.map(|link| Self::Stdio(Box::new(link)))
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
    pub(crate) async fn send(&self, message: Outgoing<'_>) -> Result<Exchange, LinkFailure> {
        match self {
            Self::Http(link) => Ok(Exchange::Http(Box::new(link.send(message)))),
            Self::Stdio(link) => link.send(message).await.map(Exchange::Stdio),
        }
    }

    pub(crate) async fn notify(&self, notification: &Notification) -> Result<(), LinkFailure> {
        match self {
            Self::Http(link) => link.post(&notification.to_value()).await,
            Self::Stdio(link) => link.write(&notification.to_value()).await,
        }
    }

    /// Answers a request the upstream made.
    pub(crate) async fn respond(&self, response: &Response) -> Result<(), LinkFailure> {
        match self {
            Self::Http(link) => link.post(&response.to_value()).await,
            Self::Stdio(link) => link.write(&response.to_value()).await,
        }
    }

    /// Listens for messages outside any exchange; `None` when the upstream does not offer that.
    pub(crate) async fn listen(&self) -> Result<Option<Listening>, LinkFailure> {
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
