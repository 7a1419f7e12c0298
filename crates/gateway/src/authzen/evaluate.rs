//! One evaluation: who would act, on what, whether their own authority covers it, and what the policies say. SPEC: CE-01.

use super::{point::EVALUATE, wire::Evaluation};
use crate::{
    gateway::Gateway,
    mcp::act,
    road::{act::Act, authorise, identify::Caller},
};
use remit_decide::{Ask, Circumstances, Presented, World, decide};
use remit_model::{
    Authority, Permit,
    call::Call,
    id::{Principal, PrincipalKind},
    refusal::{Code, Refusal},
    resource::Server,
    time::UnixTime,
};
use remit_policy::{Bundle, Question};
use remit_store::Snapshot;
use serde_json::Value;

/// The state of the world in which every evaluation of one request is made.
pub(super) struct View<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) snapshot: &'a Snapshot,
    pub(super) policies: &'a Bundle,
    /// The unit of work in which it is asked.
    pub(super) txn: &'a str,
    pub(super) now: UnixTime,
}

/// What an evaluation came to, and on what grounds.
#[derive(Debug)]
pub(super) struct Verdict<'a> {
    pub(super) result: Result<(), Refusal>,
    /// Subject of whom it is about: `agent:planner`.
    pub(super) subject: String,
    pub(super) at: Option<&'a Server>,
    pub(super) act: Option<Act>,
    /// What the decision point said, once it was asked.
    pub(super) decided: Option<remit_decide::Verdict>,
    /// The question that the policies would have been asked, where it was refused before.
    pub(super) unasked: Option<Question>,
    /// How long the decision took.
    pub(super) latency_ns: u64,
}

/// Checks that the caller holds a grant for `evaluate` that covers this question.
///
/// # Errors
/// `tool_not_granted`, `argument_not_granted`, `grant_expired`.
pub(super) fn may_ask(caller: &Caller, desk: &Server, asked: &Value, now: UnixTime) -> Result<(), Refusal> {
    let call = Call { location: &desk.location, action: EVALUATE, arguments: asked, now };
    outright(&caller.authority.authority, &call).map(drop)
}

impl<'a> View<'a> {
    /// Decides. Everything but the names and the arguments is looked up here: what else the asker says of subject and
    /// resource is recorded and decides nothing. SPEC: CE-03.
    pub(super) fn evaluate(&self, evaluation: &Evaluation) -> Verdict<'a> {
        let mut verdict = Verdict {
            result: Ok(()),
            subject: format!("{}:{}", evaluation.subject.kind, evaluation.subject.id),
            at: None,
            act: None,
            decided: None,
            unasked: None,
            latency_ns: 0,
        };
        verdict.result = self.decide(evaluation, &mut verdict);
        verdict
    }

    fn decide(&self, evaluation: &Evaluation, verdict: &mut Verdict<'a>) -> Result<(), Refusal> {
        let subject = self.subject(evaluation)?;
        verdict.subject.clone_from(&subject.sub);
        let (server, tool) = self.target(evaluation)?;
        verdict.at = Some(server);
        let act = match tool {
            Some(tool) => act::tool(server, tool, evaluation.arguments.clone())?,
            None => act::list_tools(server),
        };
        let ask = Ask {
            who: Presented {
                root: &subject,
                actors: &[],
                held: None,
                location: Some(&server.location),
                token: None,
                unbound: false,
            },
            circumstances: Circumstances { txn: Some(self.txn), ..Circumstances::default() },
            what: authorise::what(&act, server),
            known: None,
            // A budget is counted, and an answer masked, where the call is made.
            unconditional: true,
        };
        let world = World::new(&self.gateway.settings.issuer, self.snapshot, self.policies, self.now);
        let began = self.gateway.clock.now().mono_ns;
        let decided = decide(&world, &ask);
        verdict.latency_ns = self.gateway.clock.now().mono_ns.saturating_sub(began);
        if decided.asked.is_none() {
            verdict.unasked = Some(remit_decide::question(&world, &ask));
        }
        let result = decided.result.as_ref().map(drop).map_err(Clone::clone);
        verdict.decided = Some(decided);
        verdict.act = Some(act);
        result
    }

    /// `agent` and `human` (or `user`), by name or by subject. A subject that is not registered here has nothing.
    fn subject(&self, evaluation: &Evaluation) -> Result<Principal, Refusal> {
        let kind = match evaluation.subject.kind.as_str() {
            "agent" => PrincipalKind::Agent,
            "human" | "user" => PrincipalKind::Human,
            _ => return Err(Refusal::new(Code::ClientUnknown, "a subject is of type `agent` or `human`")),
        };
        let id = evaluation.subject.id.as_str();
        let name = kind.name_in(id).unwrap_or(id);
        Ok(Principal::new(&self.gateway.settings.issuer, kind.subject(name), kind))
    }

    /// The server and, unless its tools are to be listed, the tool that is asked about.
    fn target<'e>(&self, evaluation: &'e Evaluation) -> Result<(&'a Server, Option<&'e str>), Refusal> {
        let Evaluation { action, resource, .. } = evaluation;
        let (server, tool) = match (action.as_str(), resource.kind.as_str()) {
            ("call", "tool") => {
                let named = resource.id.split_once('/');
                let (server, tool) = named.ok_or_else(|| Refusal::new(Code::ResourceUnknown, "a tool's id is SERVER/TOOL"))?;
                (server, Some(tool))
            }
            ("list", "server") => (resource.id.as_str(), None),
            _ => {
                let reason = "what can be asked about is `call` of a `tool`, and `list` of a `server`";
                return Err(Refusal::new(Code::ResourceUnknown, reason));
            }
        };
        let mount = self.gateway.mounts.get(server);
        let mount = mount.ok_or_else(|| Refusal::new(Code::ServerUnknown, "no server of that name is registered here"))?;
        Ok((mount.server.as_ref(), tool))
    }
}

/// Whether an authority covers a call without a condition that only the gateway can enforce: a budget is counted, and an
/// answer masked, where the call is made.
fn outright(authority: &Authority, call: &Call<'_>) -> Result<Permit, Refusal> {
    let permit = authority.permits(call)?;
    if permit.fields.is_some() || !permit.charges.is_empty() {
        let reason = "it is granted within a budget or for some fields of the answer only, which the gateway alone enforces";
        return Err(Refusal::new(Code::ToolNotGranted, reason));
    }
    Ok(permit)
}
