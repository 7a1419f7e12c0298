//! The road of every request that reaches an upstream.
//!
//! identify → read strictly → authority covers it? → policy → budget → intent durable → forward exactly what was
//! authorised → mask → record the outcome → reply. A refusal leaves the road early and ends in the same record.

use crate::{
    capture,
    decide::{self, Draw},
    error::{self, No},
    forward,
    gate::{Gateway, Mount},
    identify::Caller,
    mcp::{
        Request, Revision,
        era::{self, ClientFace},
        headers, lists,
        method::{self, Act, Kind},
        session::Session,
    },
    record::{Came, Entry},
    reply::Outlet,
};
use axum::http::HeaderMap;
use bytes::Bytes;
use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, RecordType};
use remit_model::{
    Fault, Permit,
    call::Call,
    mask::{self, Shown},
    refusal::{Code, Refusal},
    time::{ClockStatus, Moment},
};
use remit_store::{ApplyError, Batch, Precondition, Receipt};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::Arc};

/// How many used-up grants are set aside before the call is refused.
const BUDGET_TRIES: usize = 8;

/// One identified request.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) mount: Arc<Mount>,
    pub(crate) caller: Caller,
    pub(crate) request: Request,
    pub(crate) revision: Revision,
    pub(crate) face: ClientFace,
    pub(crate) session: Option<Arc<Session>>,
    pub(crate) headers: HeaderMap,
    pub(crate) came: Came,
}

/// What is sent back.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) shown: Shown,
    /// The JSON-RPC answer as text.
    body: Vec<u8>,
    /// How long the result is in it.
    pub(crate) bytes: usize,
}

impl Served {
    pub(crate) fn new(id: &Value, shown: Shown) -> Self {
        let mut body = Vec::with_capacity(1024);
        // Writing JSON that is in memory into memory cannot fail.
        body.extend_from_slice(br#"{"jsonrpc":"2.0","id":"#);
        let _ = serde_json::to_writer(&mut body, id);
        body.extend_from_slice(br#","result":"#);
        let begin = body.len();
        let _ = serde_json::to_writer(&mut body, &shown.value);
        let bytes = body.len().saturating_sub(begin);
        body.push(b'}');
        Self { shown, body, bytes }
    }
}

/// Serves one request. Outlives a client that goes away, to record what became of it.
pub(crate) async fn run(gate: Arc<Gateway>, ask: Ask, mut outlet: Outlet) {
    let now = gate.clock.now();
    let mut entry = Entry::open(&gate.settings, &ask.mount.server, &now);
    entry.from(&ask.came);
    entry.caller(&ask.caller, &gate.store.snapshot());
    entry.request(&ask.request, ask.revision);
    if let Some(session) = &ask.session {
        entry.session(&session.id);
    }
    let outcome = serve(&gate, &ask, &mut entry, &mut outlet, &now).await;
    let outcome = outcome.map(|shown| Served::new(&ask.request.id, shown));
    let draft = entry.close(&outcome, &gate.clock.now());
    // No record, no reply: what is not durable was not served.
    let (outcome, receipt) = match commit(&gate, draft).await {
        Ok(receipt) => (outcome, receipt),
        Err(refusal) => (Err(refusal.into()), None),
    };
    respond(&gate, &ask, outcome, receipt.as_ref(), outlet).await;
}

async fn serve(gate: &Arc<Gateway>, ask: &Ask, entry: &mut Entry, outlet: &mut Outlet, now: &Moment) -> Result<Shown, No> {
    let world = gate.store.snapshot();
    let server = &ask.mount.server;
    let act = method::read(&ask.request, server)?;
    entry.act(&act, server);
    entry.described(ask.mount.described(&act.action));
    if act.kind == Kind::Gated {
        entry.capture(ask.mount.captures.of(&act.action));
    }
    if ask.request.method == "tools/call"
        && let Some(declared) = ask.mount.declared(&act.action)
    {
        headers::check_params(&ask.headers, &declared, &act.arguments)?;
    }
    let permit = decide::authorise(&ask.caller, &act, server, now.unix(), &BTreeSet::new())?;
    entry.permit(&permit);
    let question = decide::question(&ask.caller, &act, server, &gate.settings.tenant, &world, now.unix());
    let began = gate.clock.now().mono_ns;
    let decision = gate.policy.current().decide(&question);
    entry.decision(&question, &decision, gate.clock.now().mono_ns.saturating_sub(began));
    decision.into_result()?;
    let state = gate.seals.open(ask, &act, now.unix())?;
    // Before the upstream hears anything of a call that is going to be refused, be it only a read of ours.
    recordable(gate, ask, entry, now)?;
    capture::before(gate, ask, &act, entry).await?;
    let permit = reserve(gate, ask, &act, permit, entry, now).await?;
    // CRASH: a mutation's intent is on disk; without its effect record it counts as "outcome unknown".
    let result = match act.kind {
        Kind::Listen => return forward::listen(gate, ask, &act, entry, outlet).await,
        Kind::Gated | Kind::List(_) => forward::call(gate, ask, &act, state, entry, outlet).await,
    };
    capture::after(gate, ask, &act, entry).await;
    let shown = show(gate, ask, &act, &permit, result?, now)?;
    entry.shown(&shown);
    Ok(shown)
}

/// Whether what the call does can be recorded as its record has to be: durably, and with a time that is known.
fn recordable(gate: &Gateway, ask: &Ask, entry: &Entry, now: &Moment) -> Result<(), Refusal> {
    if let Some(outage) = gate.store.outage().filter(|_| entry.mutates() || !ask.mount.reads_in_outage) {
        return Err(outage.refusal());
    }
    if entry.mutates() && gate.settings.clock_required && now.status == ClockStatus::Unknown {
        return Err(Refusal::new(Code::ClockUnknown, "the time is not known well enough to change anything"));
    }
    Ok(())
}

/// Counts the call against its budgets and makes the intent of a mutation durable, in one batch.
async fn reserve(
    gate: &Gateway,
    ask: &Ask,
    act: &Act,
    mut permit: Permit,
    entry: &mut Entry,
    now: &Moment,
) -> Result<Permit, No> {
    // Again: reading the state before a change takes its time.
    recordable(gate, ask, entry, now)?;
    let server = &ask.mount.server;
    let sources = if permit.charges.is_empty() {
        Vec::new()
    } else {
        decide::sources(&gate.store, &gate.store.snapshot(), &ask.caller).await?
    };
    let call = Call { location: &server.location, action: &act.action, arguments: &act.arguments, now: now.unix() };
    let mut exhausted = BTreeSet::new();
    for _ in 0..BUDGET_TRIES {
        let spent = match decide::draws(&ask.caller, &sources, &call, &permit, &exhausted) {
            Ok(draws) => match draw(gate, draws, entry).await? {
                None => return Ok(permit),
                Some(spent) => spent,
            },
            Err(unpaid) => (OWN, unpaid),
        };
        exhausted.insert(spent);
        let own = exhausted.iter().filter(|(source, _)| *source == OWN).map(|(_, grant)| grant.clone()).collect();
        permit = decide::authorise(&ask.caller, act, server, now.unix(), &own)?;
        entry.permit(&permit);
    }
    Err(Refusal::new(Code::LimitExhausted, "the limits of the granted authority are used up").into())
}

/// The caller's own authority among the sources of budgets.
const OWN: usize = 0;

/// One batch: what the call draws, and the intent if there is one. Gives back the source and grant that is used up.
async fn draw(gate: &Gateway, draws: Vec<Draw>, entry: &mut Entry) -> Result<Option<(usize, String)>, No> {
    let mut batch = Batch::new(gate.settings.tenant.clone());
    batch.require = draws.iter().map(|draw| Precondition::Budget(draw.budget.clone())).collect();
    if entry.mutates() {
        batch = batch.record(entry.intent());
    }
    if batch.require.is_empty() && batch.records.is_empty() {
        return Ok(None);
    }
    match gate.store.apply(batch).await {
        Ok(applied) => {
            if let Some(receipt) = applied.receipts.first() {
                entry.intended(&receipt.record_id);
            }
            Ok(None)
        }
        Err(ApplyError::Conflict(Precondition::Budget(spent))) => {
            let from = draws.into_iter().find(|draw| draw.budget == spent).map(|draw| draw.from);
            Ok(Some(from.ok_or_else(|| Fault::new("a budget that was not asked for is used up"))?))
        }
        Err(error) => Err(unavailable(&error).into()),
    }
}

/// What of the result the caller may see, in the words of its era.
fn show(gate: &Gateway, ask: &Ask, act: &Act, permit: &Permit, mut result: Value, now: &Moment) -> Result<Shown, No> {
    let limits = remit_model::json::Limits { bytes: gate.settings.response_bytes, ..remit_model::json::Limits::RESPONSE };
    if let Kind::List(list) = act.kind {
        ask.mount.learn(list, &result);
        let authority = &ask.caller.authority.authority;
        lists::filter(&mut result, list, authority, &ask.mount.server.location, now.unix());
    }
    if result.get("resultType").and_then(Value::as_str) == Some("input_required") {
        result = input_required(gate, ask, act, permit, result, now)?;
        return Ok(Shown::whole(result));
    }
    let asked = ask.request.params.get("uri").and_then(Value::as_str);
    let mut shown = mask::project(&ask.request.method, asked, result, permit.fields.as_deref(), &limits);
    shown.value = era::adapt_result(&ask.request.method, shown.value, ask.revision);
    Ok(shown)
}

/// The upstream needs something from the client before it goes on. SPEC: MG-10, MG-11.
fn input_required(gate: &Gateway, ask: &Ask, act: &Act, permit: &Permit, mut result: Value, now: &Moment) -> Result<Value, No> {
    let asks = matches!(ask.request.method.as_str(), "tools/call" | "prompts/get" | "resources/read");
    if !asks || !ask.revision.is_modern() || permit.fields.is_some() {
        let reason = "the upstream server asked for further input, which cannot be passed on to this caller";
        return Err(Refusal::new(Code::UpstreamMalformed, reason).into());
    }
    if let Some(Value::Object(requests)) = result.get_mut("inputRequests") {
        requests.retain(|_, request| {
            let capability = match request.get("method").and_then(Value::as_str) {
                Some("elicitation/create") => "elicitation",
                Some("sampling/createMessage") => "sampling",
                Some("roots/list") => "roots",
                _ => return false,
            };
            ask.face.declares(capability)
        });
    }
    let state = result.get_mut("requestState").map(Value::take);
    if let Value::Object(members) = &mut result {
        members.insert("requestState".to_owned(), json!(gate.seals.seal(ask, act, state.as_ref(), now.unix(), &gate.entropy)));
    }
    Ok(result)
}

/// Records that a session begins, and hands it what will be recorded of its end.
pub(crate) async fn open_session(gate: &Gateway, ask: &Ask, session: &Session) -> Result<(), Refusal> {
    if let Some(outage) = gate.store.outage().filter(|_| !ask.mount.reads_in_outage) {
        return Err(outage.refusal());
    }
    let mut entry = Entry::open(&gate.settings, &ask.mount.server, &gate.clock.now());
    entry.from(&ask.came);
    entry.caller(&ask.caller, &gate.store.snapshot());
    entry.request(&ask.request, ask.revision);
    entry.session(&session.id);
    let opening = entry.opening().outcome(OutcomeStatus::Success, EffectConfirmed::None);
    let mut closing = Draft { record_type: RecordType::SessionClose, mcp: None, ..opening.clone() };
    "session.close".clone_into(&mut closing.action.name);
    if let Some(receipt) = commit(gate, opening).await? {
        closing.caused_by.push(receipt.record_id);
    }
    session.opened(closing, gate.closing.clone());
    Ok(())
}

/// Makes a record of what happened, or was refused, durable. The receipt says where it is.
pub(crate) async fn commit(gate: &Gateway, draft: Draft) -> Result<Option<Receipt>, Refusal> {
    let batch = Batch::new(gate.settings.tenant.clone()).note().record(draft);
    match gate.store.apply(batch).await {
        Ok(applied) => Ok(applied.receipts.into_iter().next()),
        Err(error) => Err(unavailable(&error)),
    }
}

pub(crate) fn unavailable(error: &ApplyError) -> Refusal {
    tracing::error!(%error, "a record could not be made durable");
    match error {
        ApplyError::Unavailable(outage) => outage.refusal(),
        _ => Refusal::new(Code::LedgerUnavailable, "the audit ledger is not available, so nothing is served"),
    }
}

async fn respond(gate: &Gateway, ask: &Ask, outcome: Result<Served, No>, receipt: Option<&Receipt>, outlet: Outlet) {
    let no = match outcome {
        Ok(served) => return outlet.answer(Bytes::from(served.body)).await,
        Err(no) => no,
    };
    if let No::Fault(fault) = &no {
        tracing::error!(%fault, record = receipt.map(|receipt| receipt.record_id.as_str()), "a call failed");
    }
    let scope = format!("{}:{}", ask.mount.server.id, ask.request.params.get("name").and_then(Value::as_str).unwrap_or("*"));
    let context = error::Context {
        settings: &gate.settings,
        server: &ask.mount.server,
        revision: Some(ask.revision),
        receipt,
        scope: Some(&scope),
        nonce: None,
    };
    outlet.refuse(&ask.request.id, error::refuse(&no, &context)).await;
}
