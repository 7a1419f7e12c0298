//! The decision before anything is forwarded, and what of the answer has to be withheld.

use crate::road::{
    act::{Act, Kind},
    context::Context,
    identify::Caller,
    record::RequestRecord,
};
use remit_decide::{Ask, Circumstances, Effective, What, World, decide, withheld};
use remit_model::{Permit, mask::Withheld, refusal::Refusal, resource::Server};
use std::sync::Arc;

/// An act that may be done, and what of its answer the caller may see.
#[derive(Clone, Debug)]
pub(crate) struct Permitted {
    pub(crate) permit: Permit,
    /// The authority that covers it.
    pub(crate) effective: Arc<Effective>,
    /// What of the answer policies withhold because of its class.
    pub(crate) withheld: Withheld,
}

impl Permitted {
    /// Whether some part of the answer is withheld. Then nothing that cannot be masked is passed on.
    pub(crate) fn shows_only_fields(&self) -> bool {
        self.permit.fields.is_some() || !self.withheld.is_nothing()
    }
}

/// Asks the decision point and notes its answer in the record.
///
/// # Errors
/// `tool_not_granted`, `argument_not_granted`, `grant_expired`, `policy_denied`, `step_up_required`; and, when the registry
/// changed since the caller was identified, why someone in the chain may not act any more.
pub(crate) fn permit(context: &Context<'_>, record: &mut RequestRecord) -> Result<Permitted, Refusal> {
    let Context { caller, act, server, now, settings, .. } = *context;
    let (snapshot, policies) = (context.store.snapshot(), context.policy.current());
    let world = World::new(&settings.issuer, &snapshot, &policies, now.unix());
    let began = context.clock.now().mono_ns;
    let verdict = decide(&world, &ask(caller, act, server));
    let latency_ns = context.clock.now().mono_ns.saturating_sub(began);
    record.verdict(&verdict, latency_ns);
    let permit = verdict.result?;
    let effective = verdict.effective.map_or_else(|| Arc::clone(&caller.authority), |current| current.effective);
    Ok(Permitted { permit, effective, withheld: withheld(&verdict.fields) })
}

fn ask<'a>(caller: &'a Caller, act: &'a Act, server: &'a Server) -> Ask<'a> {
    let token = &caller.token;
    Ask {
        who: token.presented(),
        circumstances: Circumstances {
            txn: Some(&token.txn),
            purpose: token.purpose.as_deref(),
            authentication: token.authentication(),
            root_signed: token.signed.is_some(),
        },
        what: what(act, server),
        known: Some(token.known()),
        unconditional: false,
    }
}

/// An act as the decision point is asked about it.
pub(crate) fn what<'a>(act: &'a Act, server: &'a Server) -> What<'a> {
    match act.kind {
        Kind::Gated => What::Call { server, action: &act.action, class: act.class, arguments: &act.arguments },
        Kind::List | Kind::Listen => What::List { server },
    }
}
