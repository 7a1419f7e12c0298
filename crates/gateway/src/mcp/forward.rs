//! Forwards what was authorised, and stops when the caller leaves or loses its standing.
//!
//! SPEC: MG-02, MG-12. Nothing of the client's request crosses but the parsed method and parameters.

use crate::{
    gateway::Gateway,
    mcp::{
        act,
        envelope::{Incoming, Response, RpcError},
        list::List,
        mcp_call::McpCall,
        owner::Owner,
        passing, question, relay,
        request_state::ReturnedState,
        revision::{self, ClientProfile},
        rpc_code::HEADER_MISMATCH,
        suspended::SuspendedCall,
        upstream::{
            link::{Exchange, Link},
            message::{ExchangeEvent, LinkFailure, Listening, Outgoing},
            pool::LinkKey,
        },
    },
    road::{act::Act, authorise::Permitted, identify, record::RequestRecord, rejection::Rejection, reply::ReplyStream},
};
use remit_model::{
    Grant,
    refusal::{Code, Refusal},
    time::UnixTime,
};
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval},
};

/// How far a forwarded call came.
#[derive(Debug)]
pub(crate) enum Forwarded {
    /// The upstream's result.
    Answer(Value),
    /// The upstream of the older era waits for an answer of the client.
    Question(Box<SuspendedCall>),
}

/// Forwards one call and gives back the upstream's result or question.
pub(crate) async fn call(
    gateway: &Gateway,
    call: &McpCall,
    act: &Act,
    state: ReturnedState,
    permitted: &Permitted,
    record: &mut RequestRecord,
    reply: &mut ReplyStream,
) -> Result<Forwarded, Rejection> {
    let bounds = Bounds::of(permitted);
    let running = call.session.as_ref().map(|session| session.running(&call.request.id, bounds.restricted));
    let cancelled = running.as_ref().map_or_else(Arc::default, |running| Arc::clone(&running.cancelled));
    let (mut retried, mut relearnt) = (false, false);
    loop {
        let (key, link) = link(gateway, call).await?;
        if link.is_modern() && act::is_legacy_only(&call.request.method) {
            return Err(Refusal::new(
                Code::RpcMethodUnknown,
                format!("the upstream server does not know `{}`", call.request.method),
            )
            .into());
        }
        let (mut message, dropped) = outgoing(call, act, &state, &link);
        record.meta_dropped(dropped);
        let id = record.call(|| gateway.entropy.token(16));
        if call.request.method == "tools/call" {
            revision::name_call(&mut message.params, &id);
        }
        record.dispatched();
        let exchange = link.send(message).await.map_err(|broken| broken.refusal(call.mount.server.id.as_str()))?;
        match converse(gateway, call, &link, exchange, &cancelled, &bounds, reply).await {
            // Nothing was executed: the upstream did not know our session any more.
            Err(Stop::Forgotten) if !retried => {
                retried = true;
                call.mount.pool.forget(&key, &link);
            }
            Err(Stop::Forgotten) => return Err(LinkFailure::Forgotten.refusal(call.mount.server.id.as_str()).into()),
            Err(Stop::Rejection(rejection)) => return Err(rejection),
            // Refused before it ran, because the tool wants parameter headers we had not seen declared.
            Ok(Ended::Answer(Err(error))) if error.code == HEADER_MISMATCH && link.is_modern() && !relearnt => {
                relearnt = true;
                relearn(call, &link).await;
            }
            Ok(ended) => return finish(ended, link, id, record, bounds.restricted),
        }
    }
}

/// Gives the upstream the answer that a suspended call waits for, and goes on with that call.
pub(crate) async fn resume(
    gateway: &Gateway,
    call: &McpCall,
    (waiting, answer): (SuspendedCall, Value),
    permitted: &Permitted,
    record: &mut RequestRecord,
    reply: &mut ReplyStream,
) -> Result<Forwarded, Rejection> {
    let server = call.mount.server.id.as_str();
    record.dispatched();
    let SuspendedCall { link, mut exchange, call: id, question_id, .. } = waiting;
    let response = Response { id: question_id, outcome: Ok(answer) };
    link.respond(&response).await.map_err(|broken| broken.rejection(server))?;
    let token = call.request.params.get("_meta").and_then(|meta| meta.get("progressToken"));
    exchange.renew_progress(token.cloned());
    let bounds = Bounds::of(permitted);
    match converse(gateway, call, &link, exchange, &Notify::new(), &bounds, reply).await {
        Err(Stop::Forgotten) => Err(LinkFailure::Forgotten.rejection(server)),
        Err(Stop::Rejection(rejection)) => Err(rejection),
        Ok(ended) => finish(ended, link, id, record, bounds.restricted),
    }
}

fn finish(
    ended: Ended,
    link: Arc<Link>,
    call: String,
    record: &mut RequestRecord,
    restricted: bool,
) -> Result<Forwarded, Rejection> {
    match ended {
        Ended::Answer(Ok(result)) => {
            record.answered(&result);
            Ok(Forwarded::Answer(result))
        }
        Ended::Answer(Err(error)) => {
            record.answered(&json!({"error": error.to_value()}));
            Err(Rejection::Upstream(passing::error(error, restricted).into()))
        }
        Ended::Question { id, question, exchange } => {
            let suspended = SuspendedCall { link, exchange, call, question_id: id, question };
            Ok(Forwarded::Question(Box::new(suspended)))
        }
    }
}

/// How a conversation with the upstream ended.
enum Ended {
    Answer(Result<Value, RpcError>),
    Question { id: Value, question: Value, exchange: Exchange },
}

/// What holds for everything that comes before the answer.
#[derive(Debug)]
struct Bounds {
    /// The grants that allowed the call show only part of its answer.
    restricted: bool,
    /// When the first of those grants ends.
    end: Option<UnixTime>,
}

impl Bounds {
    fn of(permitted: &Permitted) -> Self {
        Self { restricted: permitted.shows_only_fields(), end: end(permitted) }
    }
}

fn end(permitted: &Permitted) -> Option<UnixTime> {
    let used = |grant: &&Grant| permitted.permit.grants.contains(&grant.digest());
    permitted.effective.authority.grants().iter().filter(used).filter_map(Grant::not_after).min()
}

/// The request as it leaves: the method, and the very arguments that were decided on. Also how many members of `_meta` it
/// leaves behind.
fn outgoing<'a>(call: &'a McpCall, act: &'a Act, state: &ReturnedState, link: &Link) -> (Outgoing<'a>, usize) {
    let tool = call.request.method == "tools/call";
    let crosses = |name: &str| name != "requestState" && !(tool && name == "arguments");
    let params = call.request.params.iter().filter(|(name, _)| crosses(name));
    let mut params: Map<String, Value> = params.map(|(name, value)| (name.clone(), value.clone())).collect();
    let dropped = revision::strip_envelope(&mut params);
    if tool {
        // The client may know the tool by an alias.
        params.insert("name".to_owned(), json!(act.action));
    }
    if let ReturnedState::Upstream(state) = state {
        params.insert("requestState".to_owned(), state.clone());
    }
    let message = Outgoing {
        method: &call.request.method,
        params,
        arguments: tool.then_some(&act.arguments),
        client: call.revision.is_modern().then_some(&call.client),
        mirrored: if tool && link.is_modern() { call.mount.declared(&act.action) } else { None },
    };
    (message, dropped)
}

enum Stop {
    Forgotten,
    Rejection(Rejection),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Rejection(rejection)
    }
}

/// Waits for the answer and relays what comes before it. Dropping the exchange on the way out cancels the upstream.
async fn converse(
    gateway: &Gateway,
    call: &McpCall,
    link: &Arc<Link>,
    mut exchange: Exchange,
    cancelled: &Notify,
    bounds: &Bounds,
    reply: &mut ReplyStream,
) -> Result<Ended, Stop> {
    let settings = &gateway.settings;
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
                    ExchangeEvent::Answer(answer) => return Ok(Ended::Answer(answer)),
                    ExchangeEvent::Failed(LinkFailure::Forgotten) => return Err(Stop::Forgotten),
                    ExchangeEvent::Failed(broken) => return Err(broken.rejection(call.mount.server.id.as_str()).into()),
                    ExchangeEvent::Message(message) => {
                        if let Some((id, question)) = asked(gateway, call, &message, bounds) {
                            return Ok(Ended::Question { id, question, exchange });
                        }
                        relay::relay(call, link, message, bounds.restricted, reply).await?;
                        unspoken = Duration::ZERO;
                    }
                }
            }
            () = reply.gone() => return Err(Rejection::Gone.into()),
            () = cancelled.notified() => return Err(Rejection::Gone.into()),
            _ = tick.tick() => {
                identify::recheck(&call.caller, settings, &gateway.store.snapshot()).map_err(Rejection::from)?;
                ended(call, bounds.end, gateway.clock.unix()).map_err(Rejection::from)?;
                unheard += settings.recheck;
                unspoken += settings.recheck;
                if unheard > settings.call_timeout {
                    return Err(Rejection::Timeout.into());
                }
                if unspoken > settings.keep_alive {
                    reply.comment().await.map_err(|_| Rejection::Gone)?;
                    unspoken = Duration::ZERO;
                }
            }
        }
    }
}

/// The upstream's id of a question and the question, if a stateless client is going to be asked it.
fn asked(gateway: &Gateway, call: &McpCall, message: &Incoming, bounds: &Bounds) -> Option<(Value, Value)> {
    let Incoming::Request(request) = message else { return None };
    let question = relay::input_request(call, request, bounds.restricted)?;
    gateway.suspended.has_room(&call.caller, gateway.settings.links).then(|| (request.id.clone(), question))
}

/// SPEC: MG-12: nothing is passed on after the token or the grant has ended.
///
/// # Errors
/// `token_expired`, `grant_expired`.
pub(crate) fn ended(call: &McpCall, grants: Option<UnixTime>, now: UnixTime) -> Result<(), Refusal> {
    if now >= call.caller.token.exp {
        return Err(Refusal::new(Code::TokenExpired, "the token expired while the stream was open"));
    }
    if grants.is_some_and(|end| now >= end) {
        return Err(Refusal::new(Code::GrantExpired, "the grant ended while the stream was open"));
    }
    Ok(())
}

/// The link a request goes over: its session's own, or that of its party and chain.
pub(crate) async fn link(gateway: &Gateway, call: &McpCall) -> Result<(LinkKey, Arc<Link>), Refusal> {
    let now_ns = gateway.clock.now().mono_ns;
    if let Some(session) = &call.session {
        return call.mount.pool.link(LinkKey::Session(session.id.clone()), &session.client, now_ns).await;
    }
    let capabilities = question::session_capabilities(&call.client);
    let key = LinkKey::Owner(Owner::of(&call.caller), capabilities.to_string());
    call.mount.pool.link(key, &ClientProfile { capabilities, log_level: None }, now_ns).await
}

/// The link of a request and the upstream's own stream on it; a session that the upstream forgot is opened once more.
pub(crate) async fn listening(gateway: &Gateway, call: &McpCall) -> Result<(Arc<Link>, Option<Listening>), Refusal> {
    let mut reopened = false;
    loop {
        let (key, link) = link(gateway, call).await?;
        match link.listen().await {
            Ok(listening) => return Ok((link, listening)),
            Err(LinkFailure::Forgotten) if !reopened => {
                reopened = true;
                call.mount.pool.forget(&key, &link);
            }
            Err(failure) => return Err(failure.refusal(call.mount.server.id.as_str())),
        }
    }
}

/// Asks a stateless upstream for its tools, to see which parameters they want mirrored in headers. SPEC: MG-04.
pub(crate) async fn relearn(call: &McpCall, link: &Link) {
    let Ok(mut exchange) = link.send(Outgoing::bare("tools/list", Map::new())).await else { return };
    if let ExchangeEvent::Answer(Ok(result)) = exchange.next().await {
        call.mount.learn(List::Tools, &result);
    }
}
