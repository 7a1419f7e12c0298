//! What of an upstream's result its caller may see, in the words of the caller's revision.
//!
//! SPEC: MG-08, MG-09, MG-10, MG-11. The rules of masking are `remit_model::mask`.

use crate::{
    gateway::Gateway,
    mcp::{
        act, list::List, list_view::ListView, lists, mcp_call::McpCall, question, request_state::Sealed, revision,
        suspended::SuspendedCall,
    },
    road::{act::Act, authorise::Permitted, rejection::Rejection},
};
use remit_decide::{Principals, bearer};
use remit_model::{
    Authority, json,
    mask::{self, Shown},
    refusal::{Code, Refusal},
    time::Moment,
};
use serde_json::{Value, json as js};

/// What of the result the caller may see, in the words of its era.
///
/// # Errors
/// `upstream_malformed` when the upstream asks for input that this caller cannot give.
pub(crate) fn show(
    gateway: &Gateway,
    call: &McpCall,
    act: &Act,
    permitted: &Permitted,
    mut result: Value,
    now: &Moment,
) -> Result<Shown, Rejection> {
    let limits = json::Limits { bytes: gateway.settings.response_bytes, ..json::Limits::RESPONSE };
    if let Some(list) = List::of(&call.request.method) {
        call.mount.learn(list, &result);
        let requestable = call.mount.list_requestable.then(|| requestable(gateway, call));
        let authority = usable(gateway, call, &call.caller.authority.authority);
        let view = ListView {
            server: &call.mount.server,
            authority: &authority,
            requestable: requestable.as_ref(),
            for_itself: call.caller.token.is_for_itself(),
            now: now.unix(),
        };
        call.mount.found(lists::filter(&mut result, list, &view), &gateway.settings.tenant);
    }
    if result.get("resultType").and_then(Value::as_str) == Some("input_required") {
        result = input_required(gateway, call, act, permitted, result, now)?;
        return Ok(Shown::whole(result));
    }
    let asked = call.request.params.get("uri").and_then(Value::as_str);
    let mut shown =
        mask::project(&call.request.method, asked, result, permitted.permit.fields.as_deref(), &permitted.withheld, &limits);
    shown.value = revision::adapt_result(&call.request.method, shown.value, call.revision);
    Ok(shown)
}

/// What of an authority the kind of token that the caller has can be used for.
fn usable(gateway: &Gateway, call: &McpCall, authority: &Authority) -> Authority {
    let snapshot = gateway.store.snapshot();
    let holder = Principals::new(&gateway.settings.issuer, &snapshot).agent(call.caller.token.holder());
    holder.map_or_else(|| authority.clone(), |agent| bearer::usable(agent, &[&call.mount.server], authority))
}

/// The most that the caller's chain could be granted: the meet of everybody's ceiling.
pub(crate) fn requestable(gateway: &Gateway, call: &McpCall) -> Authority {
    let snapshot = gateway.store.snapshot();
    let principals = Principals::new(&gateway.settings.issuer, &snapshot);
    let presented = call.caller.token.presented();
    let mut ceilings =
        presented.parties().map(|party| principals.find(party).map(|found| found.ceiling().clone()).unwrap_or_default());
    let first = ceilings.next().unwrap_or_default();
    usable(gateway, call, &ceilings.fold(first, |authority, ceiling| authority.meet(&ceiling)))
}

/// The upstream needs something from the client before it goes on. SPEC: MG-10, MG-11.
fn input_required(
    gateway: &Gateway,
    call: &McpCall,
    act: &Act,
    permitted: &Permitted,
    mut result: Value,
    now: &Moment,
) -> Result<Value, Rejection> {
    if !act::may_ask(&call.request.method) || !call.revision.is_modern() || permitted.shows_only_fields() {
        let reason = "the upstream server asked for further input, which cannot be passed on to this caller";
        return Err(Refusal::new(Code::UpstreamMalformed, reason).into());
    }
    if let Some(Value::Object(requests)) = result.get_mut("inputRequests") {
        requests.retain(|_, request| {
            let method = request.get("method").and_then(Value::as_str).unwrap_or_default();
            question::can_answer(&call.client, method, request.get("params"))
        });
    }
    let state = result.get_mut("requestState").map(Value::take);
    if let Value::Object(members) = &mut result {
        members.insert(
            "requestState".to_owned(),
            js!(gateway.request_state.seal(call, act, Sealed::Upstream(state.as_ref()), now.unix(), &gateway.entropy)),
        );
    }
    Ok(result)
}

/// The upstream of the older era asked something in the middle of the call, which waits for the client's answer.
///
/// # Errors
/// `rate_limited` when too many calls wait.
pub(crate) fn suspended(gateway: &Gateway, call: &McpCall, act: &Act, waiting: SuspendedCall) -> Result<Shown, Refusal> {
    let now = gateway.clock.unix();
    let mut result = waiting.input_required();
    let name = gateway.suspended.put(waiting, &call.caller, gateway.settings.links, now, &gateway.entropy)?;
    if let Value::Object(members) = &mut result {
        let state = gateway.request_state.seal(call, act, Sealed::Suspended(&name), now, &gateway.entropy);
        members.insert("requestState".to_owned(), js!(state));
    }
    Ok(Shown::whole(result))
}
