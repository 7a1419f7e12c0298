//! The question that policies are asked: built here for every part, and nowhere else.
//!
//! Implements CE-01 and CE-05. The question holds everything a policy can look at, and the ledger commits to it, so the
//! parts must not differ in how they fill it. [`remit_policy::Question`] defines its form and its version.

use crate::{
    effective::{Effective, Presented, holding},
    world::World,
};
use remit_model::{Authentication, Authority, Principal, Server, ToolClass, UnixTime};
use remit_policy::{Action, Party, Question, ToolFacts};
use serde_json::Value;

/// What is asked to be allowed.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// Call an action of a resource.
    Call {
        /// The resource.
        server: &'a Server,
        /// The action, for instance the name of a tool.
        action: &'a str,
        /// What the action does to the world.
        class: ToolClass,
        /// The exact arguments.
        arguments: &'a Value,
    },
    /// See what a resource offers.
    List {
        /// The resource.
        server: &'a Server,
    },
    /// Delegate authority to an agent; an agent that takes a token for itself delegates to itself.
    Delegate {
        /// The agent that receives it.
        to: &'a Principal,
        /// What it receives.
        authority: &'a Authority,
        /// The resource, when it is about one.
        server: Option<&'a Server>,
        /// When it ends.
        expires: UnixTime,
    },
}

/// The circumstances of a request that policies may look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances<'a> {
    /// The chain's id, once there is one.
    pub txn: Option<&'a str>,
    /// What the authority was delegated for.
    pub purpose: Option<&'a str>,
    /// How the person at the root authenticated, where one did. SPEC: DC-15
    pub authentication: Option<&'a Authentication>,
    /// Whether that person signed with a passkey what they agreed to.
    pub root_signed: bool,
}

/// The question about `what`, asked by a chain that amounts to `effective`.
pub(crate) fn build(
    world: &World<'_>,
    who: &Presented<'_>,
    circumstances: &Circumstances<'_>,
    what: &What<'_>,
    effective: &Effective,
) -> Question {
    let parties = (effective.principal.clone(), effective.on_behalf_of.clone());
    asked(world, who, circumstances, what, parties, effective.digest.clone())
}

/// The same without knowing what the chain amounts to: for a delegation, and for the record of a refusal that came before
/// that was known, which is sealed for the people it names.
pub(crate) fn unasked(world: &World<'_>, who: &Presented<'_>, circumstances: &Circumstances<'_>, what: &What<'_>) -> Question {
    let parties = (world.principals.party(who.holder()), world.principals.party(who.root));
    let digest = match what {
        What::Delegate { authority, .. } => authority.digest(),
        What::Call { .. } | What::List { .. } => holding(world.principals, who).digest(),
    };
    asked(world, who, circumstances, what, parties, digest)
}

fn asked(
    world: &World<'_>,
    who: &Presented<'_>,
    circumstances: &Circumstances<'_>,
    what: &What<'_>,
    (principal, on_behalf_of): (Party, Party),
    authority_digest: String,
) -> Question {
    let mut question = Question {
        tenant: world.principals.snapshot.tenant().clone(),
        issuer: world.principals.issuer.to_owned(),
        principal,
        on_behalf_of,
        chain: who.actors.iter().map(|actor| actor.sub.clone()).collect(),
        txn: circumstances.txn.map(str::to_owned),
        action: Action::List,
        server: None,
        tool: None,
        arguments: Value::Null,
        authority_digest,
        purpose: circumstances.purpose.map(str::to_owned),
        now: world.now,
        auth_age: circumstances.authentication.map(|how| world.now.since(how.time)),
        acr: circumstances.authentication.and_then(|how| how.acr.clone()),
        amr: circumstances.authentication.map(|how| how.amr.clone()).unwrap_or_default(),
        root_signed: circumstances.root_signed,
    };
    fill(&mut question, what, world.now);
    question
}

fn fill(question: &mut Question, what: &What<'_>, now: UnixTime) {
    match what {
        What::Call { server, action, class, arguments } => {
            question.action = Action::Call;
            question.server = Some(server.id.clone());
            question.tool = Some(ToolFacts {
                name: (*action).to_owned(),
                class: *class,
                classification: server.tools.get(*action).and_then(|rule| rule.classification.clone()),
            });
            question.arguments = (*arguments).clone();
        }
        What::List { server } => question.server = Some(server.id.clone()),
        What::Delegate { to, authority, server, expires } => {
            question.action =
                Action::Delegate { to: to.sub.clone(), depth: authority.depth().into(), lifetime: expires.since(now) };
            question.server = server.map(|server| server.id.clone());
        }
    }
}
