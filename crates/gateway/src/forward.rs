//! Forwards what was authorised, relays what comes on the way, and stops when the caller leaves or loses its standing.
//!
//! SPEC: MG-02, MG-12, MG-16. Nothing of the client's request crosses but the parsed method and parameters.

use crate::{
    call::{Ask, commit},
    error::No,
    gate::Gateway,
    identify, mask,
    mcp::{
        Incoming, Notification, Response, RpcError,
        era::{self, META_SUBSCRIPTION},
        method::{self, Act, List},
        session::Owner,
    },
    record::Entry,
    reply::Outlet,
    seal::State,
    upstream::{Arrival, Broken, Exchange, Key, Link, Listening, Outgoing},
};
use remit_model::{
    call::Call,
    mask::Shown,
    refusal::{Code, Refusal},
};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};

/// What an upstream of the stateless era answers when headers do not mirror the body.
pub(crate) const HEADER_MISMATCH: i64 = -32020;

/// The link a request goes over: its session's own, or that of its party and chain.
pub(crate) async fn link(gate: &Gateway, ask: &Ask) -> Result<(Key, Arc<Link>), Refusal> {
    let key = match &ask.session {
        _ if ask.mount.pool.is_stateless() => Key::Shared,
        Some(session) => Key::Session(session.id.clone()),
        None => Key::Owner(Owner::of(&ask.caller)),
    };
    let face = ask.session.as_ref().map(|session| &session.face);
    let link = ask.mount.pool.link(&key, face, gate.clock.now().mono_ns).await?;
    Ok((key, link))
}

/// Forwards one call and gives back the upstream's result.
pub(crate) async fn call(
    gate: &Gateway,
    ask: &Ask,
    act: &Act,
    state: State,
    entry: &mut Entry,
    outlet: &mut Outlet,
) -> Result<Value, No> {
    let running = ask.session.as_ref().map(|session| session.running(&ask.request.id));
    let cancelled = running.as_ref().map_or_else(Arc::default, |running| Arc::clone(&running.cancelled));
    let (mut retried, mut relearnt) = (false, false);
    loop {
        let (key, link) = link(gate, ask).await?;
        if link.is_modern() && method::is_legacy_only(&ask.request.method) {
            return Err(Refusal::new(
                Code::RpcMethodUnknown,
                format!("the upstream server does not know `{}`", ask.request.method),
            )
            .into());
        }
        let mut message = outgoing(ask, act, &state, &link);
        if ask.request.method == "tools/call" {
            era::name_call(&mut message.params, &entry.call(|| gate.entropy.token(16)));
        }
        entry.dispatched();
        let exchange = link.send(message).await.map_err(|broken| broken.refusal(ask.mount.server.id.as_str()))?;
        match converse(gate, ask, &link, exchange, &cancelled, outlet).await {
            // Nothing was executed: the upstream did not know our session any more.
            Err(Stop::Forgotten) if !retried => {
                retried = true;
                ask.mount.pool.forget(&key);
            }
            Err(Stop::Forgotten) => return Err(Broken::Forgotten.refusal(ask.mount.server.id.as_str()).into()),
            Err(Stop::No(no)) => return Err(no),
            // Refused before it ran, because the tool wants parameter headers we had not seen declared.
            Ok(Err(error)) if error.code == HEADER_MISMATCH && link.is_modern() && !relearnt => {
                relearnt = true;
                relearn(ask, &link).await;
            }
            Ok(answer) => {
                entry.came(&answer);
                return answer.map_err(|error| No::Upstream(mask::error(error, ask.caller.sees_only_fields())));
            }
        }
    }
}

/// Asks a stateless upstream for its tools, to see which parameters they want mirrored in headers. SPEC: MG-04.
pub(crate) async fn relearn(ask: &Ask, link: &Link) {
    let Ok(mut exchange) = link.send(Outgoing::bare("tools/list", Map::new())).await else { return };
    if let Arrival::Answer(Ok(result)) = exchange.next().await {
        ask.mount.learn(List::Tools, &result);
    }
}

/// The request as it leaves: the method, and the very arguments that were decided on.
fn outgoing<'a>(ask: &'a Ask, act: &'a Act, state: &State, link: &Link) -> Outgoing<'a> {
    let tool = ask.request.method == "tools/call";
    let crosses = |name: &str| name != "requestState" && !(tool && name == "arguments");
    let params = ask.request.params.iter().filter(|(name, _)| crosses(name));
    let mut params: Map<String, Value> = params.map(|(name, value)| (name.clone(), value.clone())).collect();
    era::strip_envelope(&mut params);
    if let State::Upstream(state) = state {
        params.insert("requestState".to_owned(), state.clone());
    }
    Outgoing {
        method: &ask.request.method,
        params,
        arguments: tool.then_some(&act.arguments),
        face: ask.revision.is_modern().then_some(&ask.face),
        mirrored: if tool && link.is_modern() { ask.mount.declared(&act.action) } else { None },
    }
}

enum Stop {
    Forgotten,
    No(No),
}

impl From<No> for Stop {
    fn from(no: No) -> Self {
        Self::No(no)
    }
}

/// Waits for the answer and relays what comes before it. Dropping the exchange on the way out cancels the upstream.
async fn converse(
    gate: &Gateway,
    ask: &Ask,
    link: &Arc<Link>,
    mut exchange: Exchange,
    cancelled: &Notify,
    outlet: &mut Outlet,
) -> Result<Result<Value, RpcError>, Stop> {
    let settings = &gate.settings;
    let mut tick = interval(settings.recheck);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Waiting for the tick that is due at once would cost what the timer's wheel rounds up: a millisecond of every call.
    tick.reset();
    let (mut unheard, mut unspoken) = (Duration::ZERO, Duration::ZERO);
    loop {
        tokio::select! {
            arrival = exchange.next() => {
                unheard = Duration::ZERO;
                match arrival {
                    Arrival::Answer(answer) => return Ok(answer),
                    Arrival::Broken(Broken::Forgotten) => return Err(Stop::Forgotten),
                    Arrival::Broken(broken) => return Err(No::from(broken.refusal(ask.mount.server.id.as_str())).into()),
                    Arrival::Message(message) => {
                        relay(ask, link, message, outlet).await?;
                        unspoken = Duration::ZERO;
                    }
                }
            }
            () = outlet.gone() => return Err(No::Gone.into()),
            () = cancelled.notified() => return Err(No::Gone.into()),
            _ = tick.tick() => {
                identify::recheck(&ask.caller, settings, &gate.store.snapshot()).map_err(No::from)?;
                unheard += settings.recheck;
                unspoken += settings.recheck;
                if unheard > settings.call_timeout {
                    return Err(No::Timeout.into());
                }
                if unspoken > settings.keep_alive {
                    outlet.comment().await.map_err(|_| No::Gone)?;
                    unspoken = Duration::ZERO;
                }
            }
        }
    }
}

/// Passes one message on to the client, as far as it may see it.
async fn relay(ask: &Ask, link: &Arc<Link>, message: Incoming, outlet: &mut Outlet) -> Result<(), No> {
    if let Some(value) = translate(ask, link, message, true).await {
        outlet.event(&value).await.map_err(|_| No::Gone)?;
    }
    Ok(())
}

/// What the client gets to read of an upstream's message; questions it cannot be asked are answered here.
async fn translate(ask: &Ask, link: &Arc<Link>, message: Incoming, in_call: bool) -> Option<Value> {
    let restricted = ask.caller.sees_only_fields();
    match message {
        Incoming::Request(request) => question(ask, link, request, restricted).await,
        Incoming::Notification(note) if note.method == "notifications/cancelled" => None,
        Incoming::Notification(note) if note.method == "notifications/message" && !wants_log(ask) => None,
        Incoming::Notification(note) if note.method == "notifications/progress" && !in_call => None,
        note @ Incoming::Notification(_) => match mask::passing(note, restricted) {
            Some(Incoming::Notification(note)) => Some(note.to_value()),
            _ => None,
        },
    }
}

/// SPEC: in the stateless era log messages come only to a request that asked for a level.
fn wants_log(ask: &Ask) -> bool {
    !ask.revision.is_modern() || ask.face.log_level.is_some()
}

/// A request of the upstream to the client: passed on under an id of ours when the client said it can answer it.
async fn question(ask: &Ask, link: &Arc<Link>, request: crate::mcp::Request, restricted: bool) -> Option<Value> {
    let capability = match request.method.as_str() {
        "sampling/createMessage" => Some("sampling"),
        "elicitation/create" => Some("elicitation"),
        "roots/list" => Some("roots"),
        _ => None,
    };
    let session =
        ask.session.as_ref().filter(|session| capability.is_some_and(|name| session.face.declares(name)) && !restricted);
    if let Some(id) = session.and_then(|session| session.ask(&request.id, link)) {
        return Some(crate::mcp::Request { id: json!(id), ..request }.to_value());
    }
    decline(link, Incoming::Request(request)).await;
    None
}

/// Answers what an upstream asks when there is nobody to ask.
pub(crate) async fn decline(link: &Arc<Link>, message: Incoming) {
    let Incoming::Request(request) = message else { return };
    let outcome = match request.method.as_str() {
        "ping" => Ok(json!({})),
        _ => Err(RpcError::new(-32601, "the caller cannot be asked this")),
    };
    let _ = link.respond(&Response { id: request.id, outcome }).await;
}

/// `subscriptions/listen`: authorised before, recorded before it begins, and open until someone ends it.
pub(crate) async fn listen(gate: &Gateway, ask: &Ask, act: &Act, entry: &mut Entry, outlet: &mut Outlet) -> Result<Shown, No> {
    let filter = honoured(gate, ask, act);
    let (_, link) = link(gate, ask).await?;
    // A stream is a session of its own, so that its end can be missed.
    entry.session(&format!("stream:{}", gate.entropy.token(16)));
    if let Some(receipt) = commit(gate, entry.opening()).await? {
        entry.opened(&receipt.record_id);
    }
    if link.is_modern() {
        let mut params = ask.request.params.clone();
        era::strip_envelope(&mut params);
        params.insert("notifications".to_owned(), filter);
        let message = Outgoing { face: Some(&ask.face), ..Outgoing::bare(&ask.request.method, params) };
        let exchange = link.send(message).await.map_err(|broken| broken.refusal(ask.mount.server.id.as_str()))?;
        return stream(gate, ask, &link, Source::Exchange(exchange), outlet).await;
    }
    let listening = link.listen().await.map_err(|broken| broken.refusal(ask.mount.server.id.as_str()))?;
    for uri in filter.get("resourceSubscriptions").and_then(Value::as_array).into_iter().flatten() {
        let params = Map::from_iter([("uri".to_owned(), uri.clone())]);
        if let Ok(mut exchange) = link.send(Outgoing::bare("resources/subscribe", params)).await {
            exchange.next().await;
        }
    }
    let mut acknowledged = Notification { method: "notifications/subscriptions/acknowledged".to_owned(), params: Map::new() };
    acknowledged.params.insert("notifications".to_owned(), filter);
    outlet.event(&stamp(acknowledged.to_value(), &ask.request.id)).await.map_err(|_| No::Gone)?;
    stream(gate, ask, &link, Source::Listening(listening), outlet).await
}

/// What of the asked filter is granted: changes of lists always, a resource only when it could be read. SPEC: MG-12.
fn honoured(gate: &Gateway, ask: &Ask, act: &Act) -> Value {
    let (server, now) = (&ask.mount.server, gate.clock.unix());
    let mut filter = act.arguments.get("notifications").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    if let Some(Value::Array(uris)) = filter.get_mut("resourceSubscriptions") {
        uris.retain(|uri| {
            let arguments = json!({"uri": uri});
            let call = Call { location: &server.location, action: "mcp:resources/read", arguments: &arguments, now };
            uri.is_string() && ask.caller.authority.authority.permits(&call).is_ok()
        });
    }
    filter
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
                Arrival::Message(message) => Some(message),
                Arrival::Answer(_) | Arrival::Broken(_) => None,
            },
            Self::Listening(Some(listening)) => listening.next().await,
            // An upstream that never says anything of its own accord: the stream stays open and silent.
            Self::Listening(None) => std::future::pending().await,
        }
    }
}

/// Streams messages until the upstream ends, the client leaves, the token expires or its standing is lost.
pub(crate) async fn stream(
    gate: &Gateway,
    ask: &Ask,
    link: &Arc<Link>,
    mut source: Source,
    outlet: &mut Outlet,
) -> Result<Shown, No> {
    outlet.open();
    let settings = &gate.settings;
    let mut tick = interval(settings.recheck);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.reset();
    let mut unspoken = Duration::ZERO;
    loop {
        tokio::select! {
            message = source.next() => {
                let Some(message) = message else { break };
                let Some(value) = translate(ask, link, message, false).await else { continue };
                let value = if ask.revision.is_modern() { stamp(value, &ask.request.id) } else { value };
                outlet.event(&value).await.map_err(|_| No::Gone)?;
            }
            () = outlet.gone() => return Err(No::Gone),
            _ = tick.tick() => {
                identify::recheck(&ask.caller, settings, &gate.store.snapshot())?;
                unspoken += settings.recheck;
                if gate.clock.unix() >= ask.caller.token.exp {
                    return Err(Refusal::new(Code::TokenExpired, "the token expired while the stream was open").into());
                }
                if unspoken > settings.keep_alive {
                    outlet.comment().await.map_err(|_| No::Gone)?;
                    unspoken = Duration::ZERO;
                }
            }
        }
    }
    let meta = json!({META_SUBSCRIPTION: ask.request.id});
    Ok(Shown::whole(json!({"resultType": "complete", "_meta": meta})))
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
