//! One Cedar evaluation over the policies that can apply: the set is sliced once, the entities are made for each request.

use anyhow::{Context as _, Result, anyhow};
use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, Policy, PolicySet, Request, RestrictedExpression,
};
use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    str::FromStr as _,
};

#[derive(Debug)]
pub(super) struct Policies {
    call: PolicySet,
    delegate: PolicySet,
    authorizer: Authorizer,
}

impl Policies {
    /// The policies of a world, as far as each action can meet them.
    pub(super) fn read(folder: &Path) -> Result<Self> {
        let (mut call, mut delegate) = (PolicySet::new(), PolicySet::new());
        let mut number = 0;
        for file in fs::read_dir(folder)? {
            let text = fs::read_to_string(file?.path())?;
            let set = PolicySet::from_str(&text).map_err(|error| anyhow!("{error}"))?;
            for policy in set.policies() {
                number += 1;
                let named = policy.new_id(format!("p{number}").parse()?);
                add(&mut call, &named, "Action::\"call\"")?;
                add(&mut delegate, &named, "Action::\"delegate\"")?;
            }
        }
        Ok(Self { call, delegate, authorizer: Authorizer::new() })
    }

    /// Whether this agent may call this tool.
    pub(super) fn call(&self, agent: &str, tool: &str, class: &str, depth: i64, now: i64) -> Result<bool> {
        let members = HashMap::from([
            ("name".to_owned(), text(tool)),
            ("class".to_owned(), text(class)),
            ("classification".to_owned(), text("internal")),
        ]);
        let resource = Entity::new(uid("Tool", &format!("bench/{tool}"))?, members, HashSet::new())?;
        self.allows(&self.call, "call", agent, resource, (depth, 0), now)
    }

    /// Whether this agent may hand authority on to that one.
    pub(super) fn delegate(&self, agent: &str, to: &str, lifetime: i64, depth: i64, now: i64) -> Result<bool> {
        let resource = Entity::new(uid("Agent", to)?, party(to), HashSet::new())?;
        self.allows(&self.delegate, "delegate", agent, resource, (depth, lifetime), now)
    }

    fn allows(
        &self,
        policies: &PolicySet,
        action: &str,
        agent: &str,
        resource: Entity,
        (depth, lifetime): (i64, i64),
        now: i64,
    ) -> Result<bool> {
        let context = Context::from_pairs([
            ("tenant".to_owned(), text("main")),
            ("depth".to_owned(), RestrictedExpression::new_long(depth)),
            ("lifetime".to_owned(), RestrictedExpression::new_long(lifetime)),
            ("now".to_owned(), RestrictedExpression::new_long(now)),
            ("chain".to_owned(), RestrictedExpression::new_set([text(agent)])),
        ])?;
        let principal = Entity::new(uid("Agent", agent)?, party(agent), HashSet::new())?;
        let request = Request::new(principal.uid(), uid("Action", action)?, resource.uid(), context, None)?;
        let entities = Entities::from_entities([principal, resource], None)?;
        Ok(self.authorizer.is_authorized(&request, policies, &entities).decision() == Decision::Allow)
    }
}

/// Takes a policy in unless its scope names other actions only.
fn add(set: &mut PolicySet, policy: &Policy, action: &str) -> Result<()> {
    let action = EntityUid::from_str(action)?;
    let applies = match policy.action_constraint() {
        cedar_policy::ActionConstraint::Any => true,
        cedar_policy::ActionConstraint::Eq(one) => one == action,
        cedar_policy::ActionConstraint::In(many) => many.contains(&action),
    };
    if applies { set.add(policy.clone()).context("two policies of one name") } else { Ok(()) }
}

fn party(agent: &str) -> HashMap<String, RestrictedExpression> {
    HashMap::from([("sub".to_owned(), text(agent)), ("iss".to_owned(), text("bench"))])
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn uid(kind: &str, id: &str) -> Result<EntityUid> {
    EntityUid::from_json(serde_json::json!({"type": kind, "id": id})).map_err(|error| anyhow!("{error}"))
}
