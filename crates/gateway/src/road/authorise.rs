//! The two questions before anything is forwarded: does the caller's authority cover it, and does policy allow it.

use crate::road::{
    act::{Act, Kind},
    context::Context,
    identify::Caller,
    record::RequestRecord,
    verified_token,
};
use remit_model::{
    Permit,
    call::Call,
    id::{Principal, TenantId},
    refusal::{Code, Refusal},
    resource::Server,
    time::UnixTime,
};
use remit_policy::{Action, Question, ToolFacts};
use remit_store::Snapshot;
use serde_json::Value;
use std::collections::BTreeSet;

/// Asks both questions and notes the answers in the record.
///
/// # Errors
/// `tool_not_granted`, `argument_not_granted`, `grant_expired`, `policy_denied`, `step_up_required`.
pub(crate) fn permit(context: &Context<'_>, record: &mut RequestRecord) -> Result<Permit, Refusal> {
    let Context { caller, act, server, now, settings, .. } = *context;
    let permit = authorise(caller, act, server, now.unix(), &BTreeSet::new())?;
    record.permit(&permit);
    let question = question(caller, act, server, &settings.tenant, &context.store.snapshot(), now.unix());
    let began = context.clock.now().mono_ns;
    let decision = context.policy.current().decide(&question);
    record.decision(&question, &decision, context.clock.now().mono_ns.saturating_sub(began));
    decision.into_result()?;
    Ok(permit)
}

/// Whether the caller's authority covers the act, leaving out grants whose budget is used up.
pub(crate) fn authorise(
    caller: &Caller,
    act: &Act,
    server: &Server,
    now: UnixTime,
    exhausted: &BTreeSet<String>,
) -> Result<Permit, Refusal> {
    let authority = &caller.authority.authority;
    match act.kind {
        Kind::Gated => {
            let call = Call { location: &server.location, action: &act.action, arguments: &act.arguments, now };
            authority.permits_beyond(&call, exhausted)
        }
        Kind::List | Kind::Listen => {
            if authority.actions_at(&server.location).is_empty() {
                return Err(Refusal::new(Code::ToolNotGranted, format!("nothing is granted at `{}`", server.location)));
            }
            Ok(Permit { grants: Vec::new(), fields: None, limits: Vec::new(), charges: Vec::new() })
        }
    }
}

/// The question put to the policies: everything they may look at.
pub(crate) fn question(
    caller: &Caller,
    act: &Act,
    server: &Server,
    tenant: &TenantId,
    snapshot: &Snapshot,
    now: UnixTime,
) -> Question {
    let token = &caller.token;
    // What the caller was identified with, unless the world has changed since, for instance while its body was read.
    let (principal, on_behalf_of) = if caller.revision == snapshot.revision() {
        (caller.authority.principal.clone(), caller.authority.on_behalf_of.clone())
    } else {
        let root = Principal::local(&token.iss, &token.sub);
        (verified_token::party(snapshot, token.parties().last().unwrap_or(&root)), verified_token::party(snapshot, &root))
    };
    let tool = matches!(act.kind, Kind::Gated).then(|| ToolFacts {
        name: act.action.clone(),
        class: act.class,
        classification: server.tools.get(&act.action).and_then(|rule| rule.classification.clone()),
    });
    Question {
        tenant: tenant.clone(),
        issuer: token.iss.clone(),
        principal,
        on_behalf_of,
        chain: token.parties().iter().skip(1).map(|party| party.sub.clone()).collect(),
        txn: Some(token.txn.clone()),
        action: if tool.is_some() { Action::Call } else { Action::List },
        server: Some(server.id.clone()),
        tool,
        arguments: if matches!(act.kind, Kind::Gated) { act.arguments.clone() } else { Value::Null },
        authority_digest: caller.authority.digest.clone(),
        purpose: token.purpose.clone(),
        now,
        auth_age: token.auth_time.map(|at| now.since(at)),
    }
}
