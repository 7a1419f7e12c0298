//! The decision: may this chain do this now, on which grants, and under which obligations.
//!
//! Implements CE-01 to CE-03, DC-07, DC-13. The questions are asked in this order, and the first "no" ends it: may everyone in
//! the chain act, does their effective authority cover it, does the binding of their tokens allow it, do the policies permit it. Policies can only take away. Nothing
//! here counts a budget or masks an answer: the verdict states the charges and the obligations, and the part that
//! enforces it does so.

use crate::{
    active, bearer,
    effective::{self, Current, Effective, EffectiveCache, Presented},
    fields::FieldDecision,
    question::{self, Circumstances, What},
    world::World,
};
use remit_model::{Call, Code, Permit, Refusal};
use remit_policy::{Decision, Question};
use std::{collections::BTreeSet, sync::Arc};

/// One request for a decision.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// Who asks, and what they hold.
    pub who: Presented<'a>,
    /// What else policies may look at.
    pub circumstances: Circumstances<'a>,
    /// What is asked.
    pub what: What<'a>,
    /// What the same token amounted to before.
    pub known: Option<&'a EffectiveCache>,
    /// Whether the asker can neither count a budget nor mask an answer. Then a grant with such a condition does not count.
    pub unconditional: bool,
}

/// What came of it. A refusal keeps everything that was worked out before it, for the record.
#[derive(Debug)]
pub struct Verdict {
    /// The grants that cover the act, with what they let the caller see and what it costs; or the first "no".
    pub result: Result<Permit, Refusal>,
    /// What the chain may do now; absent for a delegation, and when someone in the chain may not act.
    pub effective: Option<Current>,
    /// The grants that cover the act, also when policies refused it.
    pub covered: Option<Permit>,
    /// What the policies were asked and what they said; absent when it was refused before.
    pub asked: Option<Asked>,
    /// What the policies said of the classified fields of the answer.
    pub fields: Vec<FieldDecision>,
}

/// A question with its answer.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Everything the policies could look at.
    pub question: Question,
    /// Their answer.
    pub decision: Decision,
}

/// Decides. Pure: the same world and request give the same verdict.
///
/// INVARIANT: a verdict that permits a call means that every principal of the chain may act, that the effective authority
/// permits the call, and that the policies permit it.
pub fn decide(world: &World<'_>, ask: &Ask<'_>) -> Verdict {
    let world = &resting_on(world, ask);
    let mut verdict = Verdict { result: Err(undecided()), effective: None, covered: None, asked: None, fields: Vec::new() };
    verdict.result = judge(world, ask, &mut verdict);
    verdict
}

/// The world as it counts for what is asked: what rests on an authentication ends with it. SPEC: DC-13
fn resting_on<'w>(world: &World<'w>, ask: &Ask<'_>) -> World<'w> {
    let how = ask.circumstances.authentication;
    let principals =
        if how.is_some() || ask.who.token.is_some() { world.principals.since(how.map(|how| how.time)) } else { world.principals };
    World { principals, ..*world }
}

/// The question that `ask` is, for the record of a refusal that came before the policies were asked.
pub fn question(world: &World<'_>, ask: &Ask<'_>) -> Question {
    question::unasked(world, &ask.who, &ask.circumstances, &ask.what)
}

fn judge(world: &World<'_>, ask: &Ask<'_>, verdict: &mut Verdict) -> Result<Permit, Refusal> {
    if let What::Delegate { to, authority, .. } = ask.what {
        // What may be delegated is for the rules of delegation; here it is only who, and whether policies agree.
        let parties = ask.who.parties().chain([to]);
        if authority.is_none() {
            // Nothing is handed over: the token only says who its holder is.
            active::all(world.principals, parties)?;
        } else {
            active::chain(world.principals, parties)?;
            bearer::delegation(world.principals, ask.who.parties(), to, authority)?;
        }
        put(world, verdict, question(world, ask))?;
        return Ok(Permit { grants: Vec::new(), fields: None, limits: Vec::new(), charges: Vec::new() });
    }
    let current = match ask.known {
        Some(known) => known.current(world.principals, &ask.who)?,
        None => Current {
            revision: world.principals.snapshot.revision(),
            effective: Arc::new(effective::effective(world.principals, &ask.who)?),
        },
    };
    let effective = Arc::clone(&current.effective);
    verdict.effective = Some(current);
    let permit = covers(world, ask, &effective)?;
    verdict.covered = Some(permit.clone());
    if let What::Call { action, class, .. } = ask.what {
        bearer::call(world.principals, ask.who.holder(), action, class)?;
    }
    put(world, verdict, question::build(world, &ask.who, &ask.circumstances, &ask.what, &effective))?;
    if let (What::Call { server, action, .. }, Some(asked)) = (ask.what, &verdict.asked) {
        verdict.fields = FieldDecision::all(world, &asked.question, server, action);
        if ask.unconditional && verdict.fields.iter().any(FieldDecision::withholds) {
            return Err(conditional());
        }
    }
    Ok(permit)
}

/// Puts the question to the policies.
fn put(world: &World<'_>, verdict: &mut Verdict, question: Question) -> Result<(), Refusal> {
    let decision = world.policies.decide(&question);
    let allowed = decision.into_result();
    verdict.asked = Some(Asked { question, decision });
    allowed
}

fn covers(world: &World<'_>, ask: &Ask<'_>, effective: &Effective) -> Result<Permit, Refusal> {
    let permit = authorise(&effective.authority, &ask.what, world.now, &BTreeSet::new())?;
    if ask.unconditional && (permit.fields.is_some() || !permit.charges.is_empty()) {
        return Err(conditional());
    }
    Ok(permit)
}

/// Whether an authority covers what is asked, leaving out the grants whose budgets are used up. A delegation is covered by
/// the rules of delegation, which its own part applies.
///
/// # Errors
/// `tool_not_granted`, `argument_not_granted`, `grant_expired`, `limit_exhausted`.
pub fn authorise(
    authority: &remit_model::Authority,
    what: &What<'_>,
    now: remit_model::UnixTime,
    exhausted: &BTreeSet<String>,
) -> Result<Permit, Refusal> {
    match what {
        What::Call { server, action, arguments, .. } => {
            authority.permits_beyond(&Call { location: &server.location, action, arguments, now }, exhausted)
        }
        What::List { server } if authority.actions_at(&server.location).is_empty() => {
            Err(Refusal::new(Code::ToolNotGranted, format!("nothing is granted at `{}`", server.location)))
        }
        What::List { .. } | What::Delegate { .. } => {
            Ok(Permit { grants: Vec::new(), fields: None, limits: Vec::new(), charges: Vec::new() })
        }
    }
}

fn conditional() -> Refusal {
    let reason = "it is granted within a budget or for some fields of the answer only, which the gateway alone enforces";
    Refusal::new(Code::ToolNotGranted, reason)
}

/// Stands in the verdict while it is being made.
fn undecided() -> Refusal {
    Refusal::new(Code::Internal, "no decision was made")
}
