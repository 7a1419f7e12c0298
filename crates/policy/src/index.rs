//! Policies by scope, so that one decision evaluates a handful whatever the size of the set (speed.md §3).
//!
//! Sound because a policy whose scope is false can neither permit, forbid nor raise an error. A property test
//! holds the indexed decision against the evaluation of the whole set.

use crate::{bundle::Rule, slice::Slice};
use cedar_policy::{ActionConstraint, EntityTypeName, EntityUid, PolicySet, PrincipalConstraint, ResourceConstraint};
use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

/// Most buckets kept ready; beyond it the store is emptied and fills again.
const BUCKETS: usize = 4096;

/// Where a scope's principal or resource part is filed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Any,
    Type(EntityTypeName),
    /// Equal to, or in, this entity.
    Entity(EntityUid),
}

/// Numbers of the policies in a bucket, ascending.
type Numbers = Vec<u32>;

#[derive(Debug)]
pub(crate) struct Index {
    by_scope: HashMap<Key, HashMap<Key, Numbers>>,
    ready: RwLock<HashMap<Numbers, Arc<PolicySet>>>,
}

impl Index {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let mut by_scope: HashMap<Key, HashMap<Key, Numbers>> = HashMap::new();
        for (number, rule) in (0_u32..).zip(rules) {
            let principal = principal_key(&rule.policy.principal_constraint());
            let resource = resource_key(&rule.policy.resource_constraint());
            by_scope.entry(principal).or_default().entry(resource).or_default().push(number);
        }
        Self { by_scope, ready: RwLock::default() }
    }

    /// The numbers of exactly those policies whose scope matches, ascending.
    pub(crate) fn candidates(&self, rules: &[Rule], slice: &Slice) -> Numbers {
        let resource_keys = keys(&slice.resource, &slice.resource_in);
        let mut found = Numbers::new();
        for principal in keys(&slice.principal, &slice.principal_in) {
            let Some(by_resource) = self.by_scope.get(&principal) else { continue };
            for resource in &resource_keys {
                found.extend(by_resource.get(resource).into_iter().flatten());
            }
        }
        found.retain(|number| rule(rules, *number).is_some_and(|rule| in_scope(rule, slice)));
        found.sort_unstable();
        found
    }

    /// The policies with these numbers as a set for the engine.
    pub(crate) fn bucket(&self, rules: &[Rule], numbers: Numbers) -> Result<Arc<PolicySet>, String> {
        if let Some(set) = self.ready.read().unwrap_or_else(PoisonError::into_inner).get(&numbers) {
            return Ok(Arc::clone(set));
        }
        let policies = numbers.iter().filter_map(|number| rule(rules, *number)).map(|rule| rule.policy.clone());
        let set = Arc::new(PolicySet::from_policies(policies).map_err(|error| error.to_string())?);
        let mut ready = self.ready.write().unwrap_or_else(PoisonError::into_inner);
        if ready.len() >= BUCKETS {
            ready.clear();
        }
        ready.insert(numbers, Arc::clone(&set));
        Ok(set)
    }
}

pub(crate) fn rule(rules: &[Rule], number: u32) -> Option<&Rule> {
    rules.get(usize::try_from(number).ok()?)
}

/// Every key under which a policy that matches this entity can be filed.
fn keys(entity: &EntityUid, ancestors: &[EntityUid]) -> Vec<Key> {
    let fixed = [Key::Any, Key::Type(entity.type_name().clone()), Key::Entity(entity.clone())];
    fixed.into_iter().chain(ancestors.iter().cloned().map(Key::Entity)).collect()
}

fn principal_key(constraint: &PrincipalConstraint) -> Key {
    match constraint {
        PrincipalConstraint::Any => Key::Any,
        PrincipalConstraint::Is(kind) => Key::Type(kind.clone()),
        PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
            Key::Entity(uid.clone())
        }
    }
}

fn resource_key(constraint: &ResourceConstraint) -> Key {
    match constraint {
        ResourceConstraint::Any => Key::Any,
        ResourceConstraint::Is(kind) => Key::Type(kind.clone()),
        ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => Key::Entity(uid.clone()),
    }
}

fn in_scope(rule: &Rule, slice: &Slice) -> bool {
    let principal_in = |uid: &EntityUid| *uid == slice.principal || slice.principal_in.contains(uid);
    let resource_in = |uid: &EntityUid| *uid == slice.resource || slice.resource_in.contains(uid);
    let principal = match rule.policy.principal_constraint() {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Eq(uid) => uid == slice.principal,
        PrincipalConstraint::In(uid) => principal_in(&uid),
        PrincipalConstraint::Is(kind) => kind == *slice.principal.type_name(),
        PrincipalConstraint::IsIn(kind, uid) => kind == *slice.principal.type_name() && principal_in(&uid),
    };
    let resource = match rule.policy.resource_constraint() {
        ResourceConstraint::Any => true,
        ResourceConstraint::Eq(uid) => uid == slice.resource,
        ResourceConstraint::In(uid) => resource_in(&uid),
        ResourceConstraint::Is(kind) => kind == *slice.resource.type_name(),
        ResourceConstraint::IsIn(kind, uid) => kind == *slice.resource.type_name() && resource_in(&uid),
    };
    principal
        && resource
        && match rule.policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => uid == slice.action,
            ActionConstraint::In(uids) => uids.contains(&slice.action),
        }
}

#[cfg(test)]
mod tests {
    use crate::{
        bundle::Bundle,
        decision::Effect,
        question::{Action, Question},
        slice::{Slice, tests::question},
    };
    use cedar_policy::{Authorizer, Decision, PolicySet};
    use proptest::{collection::vec, prelude::*, sample::select};
    use std::collections::BTreeSet;

    const PRINCIPALS: &[&str] = &[
        "principal",
        "principal == Agent::\"planner\"",
        "principal == Agent::\"other\"",
        "principal in Agent::\"planner\"",
        "principal in Group::\"team=support\"",
        "principal in Group::\"team=sales\"",
        "principal is Agent",
        "principal is Human",
        "principal is Agent in Group::\"team=support\"",
        "principal is Human in Group::\"team=support\"",
    ];
    const ACTIONS: &[&str] = &[
        "action",
        "action == Action::\"call\"",
        "action in [Action::\"call\", Action::\"list\"]",
        "action == Action::\"delegate\"",
        "action in [Action::\"read_field\"]",
    ];
    const RESOURCES: &[&str] = &[
        "resource",
        "resource == Tool::\"helpdesk/refund.create\"",
        "resource in Server::\"helpdesk\"",
        "resource in Server::\"other\"",
        "resource == Server::\"helpdesk\"",
        "resource is Tool",
        "resource is Tool in Server::\"helpdesk\"",
        "resource is Agent",
        "resource == Agent::\"summarizer\"",
    ];
    const CONDITIONS: &[&str] = &[
        "",
        "when { context.depth > 1 }",
        "when { context has purpose }",
        "unless { context.tenant == \"main\" }",
        "when { context.depth + 9223372036854775807 > 0 }", // overflows as soon as there is an actor
    ];

    fn policy() -> impl Strategy<Value = String> {
        let effect = prop_oneof![6 => Just("permit"), 2 => Just("forbid"), 1 => Just("@effect(\"step_up\") forbid")];
        (effect, select(PRINCIPALS), select(ACTIONS), select(RESOURCES), select(CONDITIONS)).prop_map(
            |(effect, principal, action, resource, condition)| {
                format!("{effect} ({principal}, {action}, {resource}) {condition};")
            },
        )
    }

    fn asked() -> impl Strategy<Value = Question> {
        let action = prop_oneof![
            3 => Just(Action::Call),
            1 => Just(Action::List),
            1 => Just(Action::ReadField { class: "pii".to_owned() }),
            1 => select(&["agent:summarizer", "agent:planner"][..])
                .prop_map(|to| Action::Delegate { to: to.to_owned(), depth: 1, lifetime: 60 }),
        ];
        (action, select(&["support", "sales"][..]), 0_usize..3, any::<bool>()).prop_map(|(action, team, actors, human)| {
            let mut question = question(action);
            question.principal.labels.insert("team".to_owned(), team.to_owned());
            question.chain = vec!["agent:planner".to_owned(); actors];
            if human {
                question.principal = question.on_behalf_of.clone();
            }
            question
        })
    }

    /// Drops the policies that the strict validator refuses, for instance those whose scope fits no action.
    fn valid(policies: Vec<String>) -> Bundle {
        let read = |text: String| Bundle::parse(&[("p.cedar".to_owned(), text)]);
        read(policies.join("\n")).unwrap_or_else(|_| {
            let alone = |text: &String| read(text.clone()).is_ok();
            read(policies.into_iter().filter(alone).collect::<Vec<_>>().join("\n")).unwrap()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn the_bucket_decides_as_the_whole_set(policies in vec(policy(), 0..16), asked in vec(asked(), 4)) {
            let bundle = valid(policies);
            let all = PolicySet::from_policies(bundle.rules().iter().map(|rule| rule.policy.clone())).unwrap();
            for question in asked {
                let slice = Slice::new(bundle.types(), &question).unwrap();
                let whole = Authorizer::new().is_authorized(&slice.request, &all, &slice.entities);
                let numbers = bundle.index().candidates(bundle.rules(), &slice);
                let bucket = bundle.index().bucket(bundle.rules(), numbers).unwrap();
                let part = Authorizer::new().is_authorized(&slice.request, &bucket, &slice.entities);

                let ids = |response: &cedar_policy::Response| -> BTreeSet<String> {
                    response.diagnostics().reason().map(ToString::to_string).collect()
                };
                let errors = |response: &cedar_policy::Response| -> BTreeSet<String> {
                    response.diagnostics().errors().map(ToString::to_string).collect()
                };
                prop_assert_eq!(whole.decision(), part.decision());
                prop_assert_eq!(ids(&whole), ids(&part));
                prop_assert_eq!(errors(&whole), errors(&part));

                let decision = bundle.decide(&question);
                let permitted = whole.decision() == Decision::Allow && errors(&whole).is_empty();
                prop_assert_eq!(decision.effect == Effect::Permit, permitted);
                prop_assert_eq!(decision.errors.len(), errors(&whole).len());
                prop_assert_eq!(&bundle.decide(&question), &decision);
            }
        }
    }

    #[test]
    fn one_agents_policies_do_not_reach_another() {
        let others = (0..500).map(|n| format!("permit (principal == Agent::\"a{n}\", action, resource);"));
        let own = "permit (principal == Agent::\"planner\", action == Action::\"call\", resource);".to_owned();
        let text = others.chain([own]).collect::<Vec<_>>().join("\n");
        let bundle = Bundle::parse(&[("p.cedar".to_owned(), text)]).unwrap();
        let decision = bundle.decide(&question(Action::Call));
        assert_eq!((decision.effect, decision.considered), (Effect::Permit, 1));
    }
}
