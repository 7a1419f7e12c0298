//! Long streams: `subscriptions/listen`, and the stream of a session that belongs to no request.
//!
//! SPEC: MG-12: authorised before, recorded before it begins, and open until one side ends it or the caller's standing ends. A
//! session's own stream needs no opening record, because the session has one; that it was cut is recorded.

use crate::{
    gateway::Gateway,
    mcp::{
        envelope::{Incoming, Notification},
        forward,
        mcp_call::McpCall,
        record as mcp_record, relay,
        revision::{self, META_SUBSCRIPTION},
        upstream::{
            link::{Exchange, Link},
            message::{ExchangeEvent, Listening, Outgoing},
        },
    },
    road::{act::Act, commit, identify, record::RequestRecord, rejection::Rejection, reply::ReplyStream},
};
use remit_model::{Grant, call::Call, mask::Shown, time::UnixTime};
use serde_json::{Map, Value, json};
use std::{pin::pin, sync::Arc, time::Duration};
use tokio::time::{MissedTickBehavior, interval};

/// `subscriptions/listen`: authorised before, recorded before it begins, and open until someone ends it.
pub(crate) async fn listen(
    gateway: &Gateway,
    call: &McpCall,
    act: &Act,
    record: &mut RequestRecord,
    reply: &mut ReplyStream,
) -> Result<Shown, Rejection> {
    let filter = honoured(gateway, call, act);
    let (_, link) = forward::link(gateway, call).await?;
    // A stream is a session of its own, so that its end can be missed.
    record.session(&format!("stream:{}", gateway.entropy.token(16)));
    if let Some(receipt) = commit::commit(&gateway.store, &gateway.settings.tenant, record.opening()).await? {
        record.opened(&receipt.record_id);
    }
    if link.is_modern() {
        let mut params = call.request.params.clone();
        record.meta_dropped(revision::strip_envelope(&mut params));
        params.insert("notifications".to_owned(), filter);
        let message = Outgoing { client: Some(&call.client), ..Outgoing::bare(&call.request.method, params) };
        let exchange = link.send(message).await.map_err(|broken| broken.refusal(call.mount.server.id.as_str()))?;
        return stream(gateway, call, &link, Source::Exchange(exchange), reply).await;
    }
    let (link, listening) = forward::listening(gateway, call).await?;
    for uri in filter.get("resourceSubscriptions").and_then(Value::as_array).into_iter().flatten() {
        let params = Map::from_iter([("uri".to_owned(), uri.clone())]);
        if let Ok(mut exchange) = link.send(Outgoing::bare("resources/subscribe", params)).await {
            exchange.next().await;
        }
    }
    let mut acknowledged = Notification { method: "notifications/subscriptions/acknowledged".to_owned(), params: Map::new() };
    acknowledged.params.insert("notifications".to_owned(), filter);
    reply.event(&stamp(acknowledged.to_value(), &call.request.id)).await.map_err(|_| Rejection::Gone)?;
    stream(gateway, call, &link, Source::Listening(listening), reply).await
}

/// What of the asked filter is granted: changes of lists always, a resource only when it could be read. SPEC: MG-12.
fn honoured(gateway: &Gateway, call: &McpCall, act: &Act) -> Value {
    let (server, now) = (&call.mount.server, gateway.clock.unix());
    let mut filter = act.arguments.get("notifications").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    if let Some(Value::Array(uris)) = filter.get_mut("resourceSubscriptions") {
        uris.retain(|uri| {
            let arguments = json!({"uri": uri});
            let read = Call { location: &server.location, action: "mcp:resources/read", arguments: &arguments, now };
            uri.is_string() && call.caller.authority.authority.permits(&read).is_ok()
        });
    }
    filter
}

/// Streams what a session's upstream sends outside any call, until it ends. When it is cut, that is recorded.
pub(crate) async fn session(gateway: &Gateway, call: &McpCall, link: &Arc<Link>, listening: Listening, mut reply: ReplyStream) {
    let source = Source::Listening(Some(listening));
    let Err(rejection) = stream(gateway, call, link, source, &mut reply).await else { return };
    if matches!(rejection, Rejection::Gone) {
        return;
    }
    let mut record = mcp_record::open(gateway, call, &gateway.clock.now());
    if let Some(session) = &call.session {
        record.session(&session.id);
    }
    let draft = record.close(Err(&rejection), &gateway.clock.now());
    // The stream closes in any case; each call is checked by itself.
    if let Err(refusal) = commit::commit(&gateway.store, &gateway.settings.tenant, draft).await {
        tracing::error!(%refusal, "that a session's stream was cut could not be recorded");
    }
}

/// Where the messages of an open stream come from.
pub(crate) enum Source {
    Exchange(Exchange),
    Listening(Option<Listening>),
}

impl Source {
    /// `None` when the upstream has no more to say.
    async fn next(&mut self) -> Option<Incoming> {
        match self {
            Self::Exchange(exchange) => match exchange.next().await {
                ExchangeEvent::Message(message) => Some(message),
                ExchangeEvent::Answer(_) | ExchangeEvent::Failed(_) => None,
            },
            Self::Listening(Some(listening)) => listening.next().await,
            // An upstream that never says anything of its own accord: the stream stays open and silent.
            Self::Listening(None) => std::future::pending().await,
        }
    }
}

/// Streams messages until the upstream ends, the client leaves, the process stops, the token expires or its standing is lost.
pub(crate) async fn stream(
    gateway: &Gateway,
    call: &McpCall,
    link: &Arc<Link>,
    mut source: Source,
    reply: &mut ReplyStream,
) -> Result<Shown, Rejection> {
    reply.open();
    let settings = &gateway.settings;
    let mut tick = interval(settings.recheck);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.reset();
    let mut unspoken = Duration::ZERO;
    let end = last_end(call);
    let mut stopping = pin!(gateway.stopping());
    loop {
        tokio::select! {
            message = source.next() => {
                let Some(message) = message else { break };
                let restricted = restricted(call, &message);
                let Some(value) = relay::translate(call, link, message, restricted, false).await else { continue };
                let value = if call.revision.is_modern() { stamp(value, &call.request.id) } else { value };
                reply.event(&value).await.map_err(|_| Rejection::Gone)?;
            }
            () = reply.gone() => return Err(Rejection::Gone),
            () = &mut stopping => break,
            _ = tick.tick() => {
                identify::recheck(&call.caller, settings, &gateway.store.snapshot())?;
                unspoken += settings.recheck;
                forward::ended(call, end, gateway.clock.unix())?;
                if unspoken > settings.keep_alive {
                    reply.comment().await.map_err(|_| Rejection::Gone)?;
                    unspoken = Duration::ZERO;
                }
            }
        }
    }
    let meta = json!({META_SUBSCRIPTION: call.request.id});
    Ok(Shown::whole(json!({"resultType": "complete", "_meta": meta})))
}

/// Whether a message of a stream that belongs to no call may hold what is withheld from the caller.
fn restricted(call: &McpCall, message: &Incoming) -> bool {
    match &call.session {
        Some(session) => session.shows_only_fields(matches!(message, Incoming::Request(_))),
        None => call.caller.sees_only_fields(),
    }
}

/// When the last grant at the server ends; `None` when one does not.
fn last_end(call: &McpCall) -> Option<UnixTime> {
    let ends: Option<Vec<_>> = call.caller.authority.authority.grants().iter().map(Grant::not_after).collect();
    ends.and_then(|ends| ends.into_iter().max())
}

/// Puts the client's own subscription id into a message; the upstream's is its name for our request.
fn stamp(mut message: Value, id: &Value) -> Value {
    if let Some(Value::Object(params)) = message.get_mut("params")
        && let Value::Object(meta) = params.entry("_meta").or_insert_with(|| json!({}))
    {
        meta.insert(META_SUBSCRIPTION.to_owned(), id.clone());
    }
    message
}
