//! What MCP supplies to the road of every request that reaches an upstream (`road/call.rs`): reading, forwarding, answering.
//!
//! A refusal leaves the road early and ends in the same record.

use crate::{
    gateway::Gateway,
    mcp::{
        act, arguments, before_after,
        denial::Denial,
        envelope, error,
        forward::{self, Forwarded},
        headers,
        mcp_call::McpCall,
        record as mcp_record,
        request_state::ReturnedState,
        session::Session,
        show, stream,
        suspended::{self, SuspendedCall},
    },
    road::{
        act::{Act, Kind},
        answer::{Answer, End},
        authorise::Permitted,
        call::{self as road, Settled, Step},
        challenge::Challenge,
        commit::commit,
        context::Context,
        record::RequestRecord,
        rejection::Rejection,
        reply::ReplyStream,
    },
    settings::Denials,
};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, RecordType};
use remit_model::{
    mask::Shown,
    refusal::{Code, Refusal},
    time::Moment,
};
use remit_store::Receipt;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

/// Serves one request. Outlives a client that goes away, to record what became of it.
pub(crate) async fn run(gateway: Arc<Gateway>, call: McpCall, mut reply: ReplyStream) {
    let now = gateway.clock.now();
    let mut record = mcp_record::open(&gateway, &call, &now);
    if let Some(session) = &call.session {
        record.session(&session.id);
    }
    let asked_again = OnceLock::new();
    let (record, outcome) = serve(&gateway, &call, Box::new(record), &asked_again, &mut reply, &now).await;
    let outcome = outcome.map(|shown| answer(&call.request.id, shown));
    let means = (&gateway.store, &gateway.settings.tenant, &gateway.clock);
    let Settled { outcome, receipt, dispatched } = road::settle(means, record, outcome).await;
    match (outcome, asked_again.into_inner().filter(|_| receipt.is_some())) {
        (Ok(body), _) => reply.finish(StatusCode::OK, HeaderMap::new(), Bytes::from(body)).await,
        // SPEC: MCP 2026-07-28 "Multi round-trip requests": what is missing is asked for again.
        (Err(_), Some(question)) => {
            let message = json!({"jsonrpc": "2.0", "id": call.request.id, "result": question});
            reply.finish(StatusCode::OK, HeaderMap::new(), Bytes::from(message.to_string())).await;
        }
        (Err(rejection), None) => refuse(&gateway, &call, &rejection, receipt.as_ref(), dispatched, reply).await,
    }
    if call.request.method == "tools/list" {
        record_findings(&gateway, &call, receipt.as_ref()).await;
    }
}

/// Records what a list showed of the upstream, with the record of that list as the cause.
async fn record_findings(gateway: &Gateway, call: &McpCall, receipt: Option<&Receipt>) {
    for mut draft in call.mount.unrecorded() {
        draft.caused_by.extend(receipt.map(|receipt| receipt.record_id.clone()));
        if let Err(refusal) = commit(&gateway.store, &gateway.settings.tenant, draft).await {
            tracing::error!(%refusal, "a finding could not be recorded");
        }
    }
}

async fn serve(
    gateway: &Arc<Gateway>,
    call: &McpCall,
    mut record: Box<RequestRecord>,
    asked_again: &OnceLock<Value>,
    reply: &mut ReplyStream,
    now: &Moment,
) -> Step<Shown> {
    let act = match read(call, &mut record) {
        Ok(act) => act,
        Err(refusal) => return (record, Err(refusal.into())),
    };
    let act = &act;
    let context = Context {
        store: &gateway.store,
        policy: &gateway.policy,
        clock: &gateway.clock,
        settings: &gateway.settings,
        server: &call.mount.server,
        reads_in_outage: call.mount.reads_in_outage,
        caller: &call.caller,
        act,
        now,
    };
    let prepare = |mut record: Box<RequestRecord>| async move {
        let round = prepare(gateway, call, act, &mut record, asked_again, now).await;
        (record, round)
    };
    let forward = |round: Round, permitted: Permitted, mut record: Box<RequestRecord>| async move {
        let shown = forward(gateway, call, act, round, &permitted, &mut record, reply).await;
        (record, shown)
    };
    road::perform(&context, record, prepare, forward).await
}

/// Reads what is asked for, and checks it against what the tool declares.
fn read(call: &McpCall, record: &mut RequestRecord) -> Result<Act, Refusal> {
    let server = &call.mount.server;
    let act = act::read(&call.request, server)?;
    record.act(&act, server);
    record.described(call.mount.described(&act.action));
    if act.kind == Kind::Gated {
        record.capture(call.mount.captures.of(&act.action));
    }
    if call.request.method == "tools/call" {
        if let Some(declared) = call.mount.declared(&act.action) {
            headers::check_params(&call.headers, &declared, &act.arguments)?;
        }
        if let Some(schema) = call.mount.input_schema(&act.action) {
            arguments::check(&schema, &act.arguments)?;
        }
    }
    Ok(act)
}

/// What comes after the decision and before anything is drawn: where a retry goes on, and the state before a change.
async fn prepare(
    gateway: &Gateway,
    call: &McpCall,
    act: &Act,
    record: &mut RequestRecord,
    asked_again: &OnceLock<Value>,
    now: &Moment,
) -> Result<Round, Rejection> {
    let round = round(gateway, call, act, record, asked_again, now)?;
    if matches!(round, Round::Request(_)) {
        before_after::before(gateway, call, act, record).await?;
    }
    Ok(round)
}

/// Forwards exactly what was authorised, and shows what of the answer the caller may see.
async fn forward(
    gateway: &Gateway,
    call: &McpCall,
    act: &Act,
    round: Round,
    permitted: &Permitted,
    record: &mut RequestRecord,
    reply: &mut ReplyStream,
) -> Result<Shown, Rejection> {
    let forwarded = match (act.kind, round) {
        (Kind::Listen, _) => return stream::listen(gateway, call, act, record, reply).await,
        (_, Round::Request(state)) => forward::call(gateway, call, act, state, permitted, record, reply).await,
        (_, Round::Answer(waiting, answer)) => forward::resume(gateway, call, (*waiting, answer), permitted, record, reply).await,
    };
    if !matches!(forwarded, Ok(Forwarded::Question(_))) {
        before_after::after(gateway, call, act, record).await;
    }
    match forwarded? {
        Forwarded::Answer(result) => show::show(gateway, call, act, permitted, result, &gateway.clock.now()),
        Forwarded::Question(waiting) => Ok(show::suspended(gateway, call, act, *waiting)?),
    }
}

/// What a request of the client begins or goes on with.
enum Round {
    /// A request to the upstream.
    Request(ReturnedState),
    /// The answer that a suspended call waits for.
    Answer(Box<SuspendedCall>, Value),
}

/// SPEC: MG-10, N-MG-08. A retry belongs to the call it goes on with, so it draws no budget of its own. One without the answer
/// that a call waits for ends here, before anything is drawn or intended: the call waits on, and its question is left in
/// `asked_again`.
fn round(
    gateway: &Gateway,
    call: &McpCall,
    act: &Act,
    record: &mut RequestRecord,
    asked_again: &OnceLock<Value>,
    now: &Moment,
) -> Result<Round, Refusal> {
    let state = gateway.request_state.open(call, act, now.unix())?;
    if state.is_retry() {
        record.retry();
    }
    let ReturnedState::Suspended(name) = state else { return Ok(Round::Request(state)) };
    let Some(answer) = suspended::answer(call) else {
        let mut question = gateway.suspended.asked(&name, &call.caller, now.unix())?;
        if let (Value::Object(members), Some(state)) = (&mut question, call.request.params.get("requestState")) {
            members.insert("requestState".to_owned(), state.clone());
        }
        let _ = asked_again.set(question);
        return Err(Refusal::new(Code::RequestMalformed, "the retry does not answer the question that the call waits for"));
    };
    let waiting = Box::new(gateway.suspended.take(&name, &call.caller, now.unix())?);
    record.continues(&waiting.call);
    Ok(Round::Answer(waiting, answer))
}

/// The answer for the record, and the JSON-RPC response as text.
fn answer(id: &Value, shown: Shown) -> (Answer, Vec<u8>) {
    let mut body = Vec::with_capacity(1024);
    // Writing JSON that is in memory into memory cannot fail.
    body.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
    let _ = serde_json::to_writer(&mut body, id);
    body.extend_from_slice(br#","result":"#);
    let begin = body.len();
    let _ = serde_json::to_writer(&mut body, &shown.value);
    let bytes = body.len().saturating_sub(begin);
    body.push(b'}');
    let end = if shown.value.get("isError").and_then(Value::as_bool) == Some(true) {
        End::Failed
    } else if shown.value.get("resultType").and_then(Value::as_str) == Some("input_required") {
        End::InputRequired
    } else {
        End::Complete
    };
    (Answer { shown, end, bytes: Some(bytes) }, body)
}

async fn refuse(
    gateway: &Gateway,
    call: &McpCall,
    rejection: &Rejection,
    receipt: Option<&Receipt>,
    dispatched: bool,
    reply: ReplyStream,
) {
    if let Rejection::Fault(fault) = rejection {
        tracing::error!(%fault, record = receipt.map(|receipt| receipt.record_id.as_str()), "a call failed");
    }
    let server = &call.mount.server;
    let named = call.request.params.get("name").and_then(Value::as_str);
    let scope = format!("{}:{}", server.id, named.map_or("*", |name| server.tool_named(name)));
    // A wider token helps only if those in the chain could grant it; asking for another would send the person round in circles.
    let step_up = call.mount.denials == Denials::StepUp
        && rejection.refusal().code == Code::ToolNotGranted
        && named.is_some_and(|name| {
            show::requestable(gateway, call).could_call(&server.location, server.tool_named(name), gateway.clock.unix())
        });
    let context = error::Context {
        challenge: Challenge { server, scope: Some(&scope), nonce: None, bearer: call.caller.token.cnf_jkt.is_none() },
        revision: Some(call.revision),
        requested: None,
        receipt,
        step_up,
        sign_in: call.mount.denials == Denials::StepUp && !call.caller.token.is_for_itself(),
    };
    let refused = error::refuse(rejection, &context);
    // An upstream's own error passes as it came, and what HTTP says with a status stays an error.
    let as_result = call.request.method == "tools/call"
        && call.mount.denials != Denials::Error
        && refused.status == StatusCode::OK
        && !matches!(rejection, Rejection::Upstream(_));
    let message = if as_result {
        let denial = Denial {
            refusal: &rejection.refusal(),
            receipt,
            scope: &scope,
            dispatched,
            revision: call.revision,
            for_itself: call.caller.token.is_for_itself(),
        };
        json!({"jsonrpc": "2.0", "id": call.request.id, "result": denial.to_result()})
    } else {
        envelope::rpc([("id", call.request.id.clone()), ("error", refused.error.to_value())])
    };
    reply.finish(refused.status, refused.headers, Bytes::from(message.to_string())).await;
}

/// Records that a session begins, and hands it what will be recorded of its end.
///
/// # Errors
/// The code of an outage of the ledger.
pub(crate) async fn open_session(gateway: &Gateway, call: &McpCall, session: &Session) -> Result<(), Refusal> {
    if let Some(outage) = gateway.store.outage().filter(|_| !call.mount.reads_in_outage) {
        return Err(gateway.store.refuse(&outage));
    }
    let Ok(place) = gateway.closing.clone().try_reserve_owned() else {
        return Err(Refusal::new(Code::RateLimited, "too many sessions are open; try again later"));
    };
    let mut record = mcp_record::open(gateway, call, &gateway.clock.now());
    record.session(&session.id);
    let opening = record.opening().outcome(OutcomeStatus::Success, EffectConfirmed::None);
    let mut closing = Draft { record_type: RecordType::SessionClose, mcp: None, ..opening.clone() };
    "session.close".clone_into(&mut closing.action.name);
    if let Some(receipt) = commit(&gateway.store, &gateway.settings.tenant, opening).await? {
        closing.caused_by.push(receipt.record_id);
    }
    session.opened(closing, place);
    Ok(())
}
