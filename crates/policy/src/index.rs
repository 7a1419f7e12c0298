//! Policies by scope, so that one decision evaluates a handful whatever the size of the set (speed.md §3).
//!
//! Sound because a policy whose scope is false can neither permit, forbid nor raise an error. A property test
//! holds the decision over the slice against Cedar's evaluation of the whole set.

use crate::{rules::Rule, slice::Slice};
use cedar_policy::{ActionConstraint, EntityTypeName, EntityUid, Policy, PrincipalConstraint, ResourceConstraint};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher as _},
    ops::Range,
    sync::Arc,
};

/// Where a policy is filed: hashes of its principal and resource parts, the same in every run of one program. Two that
/// meet by chance make a candidate more, which [`in_scope`] rules out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scope {
    principal: u64,
    resource: u64,
}

/// A scope's principal or resource part.
#[derive(Hash)]
enum Key<'a> {
    Any,
    Type(&'a EntityTypeName),
    /// Equal to, or in, this entity.
    Entity(&'a EntityUid),
}

/// A policy in scope, by its number.
pub(crate) type Candidate = (u32, Arc<Rule>);

#[derive(Debug)]
pub(crate) struct Index {
    /// Every policy by its scope, sorted.
    entries: Vec<(Scope, u32)>,
    /// Where in `entries` the policies of a principal part are.
    by_principal: HashMap<u64, Range<u32>>,
}

impl Scope {
    pub(crate) fn of(policy: &Policy) -> Self {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => Key::Any.hash(),
            PrincipalConstraint::Is(kind) => Key::Type(&kind).hash(),
            PrincipalConstraint::Eq(uid) | PrincipalConstraint::In(uid) | PrincipalConstraint::IsIn(_, uid) => {
                Key::Entity(&uid).hash()
            }
        };
        let resource = match policy.resource_constraint() {
            ResourceConstraint::Any => Key::Any.hash(),
            ResourceConstraint::Is(kind) => Key::Type(&kind).hash(),
            ResourceConstraint::Eq(uid) | ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => {
                Key::Entity(&uid).hash()
            }
        };
        Self { principal, resource }
    }
}

impl Key<'_> {
    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        std::hash::Hash::hash(self, &mut hasher);
        hasher.finish()
    }
}

impl Index {
    /// `scopes` in the order of the policies' numbers.
    pub(crate) fn new(scopes: impl Iterator<Item = Scope>) -> Self {
        let mut entries: Vec<(Scope, u32)> = scopes.zip(0_u32..).collect();
        entries.sort_unstable();
        let mut by_principal = HashMap::new();
        for ((scope, _), at) in entries.iter().zip(0_u32..) {
            by_principal.entry(scope.principal).or_insert(at..at).end = at.saturating_add(1);
        }
        by_principal.shrink_to_fit();
        Self { entries, by_principal }
    }

    /// The numbers of all policies whose scope matches, and perhaps of a few others; ascending.
    pub(crate) fn numbers(&self, slice: &Slice) -> Vec<u32> {
        let resources = keys(&slice.resource, &slice.resource_in);
        let mut found = Vec::new();
        for principal in keys(&slice.principal, &slice.principal_in) {
            let Some(range) = self.by_principal.get(&principal) else { continue };
            let range = usize::try_from(range.start).unwrap_or(usize::MAX)..usize::try_from(range.end).unwrap_or(usize::MAX);
            let filed = self.entries.get(range).unwrap_or_default();
            for resource in &resources {
                let from = filed.partition_point(|(scope, _)| scope.resource < *resource);
                let here = filed.iter().skip(from).take_while(|(scope, _)| scope.resource == *resource);
                found.extend(here.map(|(_, number)| *number));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// Every part under which a policy that matches this entity can be filed.
fn keys(entity: &EntityUid, ancestors: &[EntityUid]) -> Vec<u64> {
    let fixed = [Key::Any, Key::Type(entity.type_name()), Key::Entity(entity)];
    fixed.into_iter().chain(ancestors.iter().map(Key::Entity)).map(|key| key.hash()).collect()
}

/// Whether a policy's scope matches, exactly.
pub(crate) fn in_scope(policy: &Policy, slice: &Slice) -> bool {
    let principal_in = |uid: &EntityUid| *uid == slice.principal || slice.principal_in.contains(uid);
    let resource_in = |uid: &EntityUid| *uid == slice.resource || slice.resource_in.contains(uid);
    let principal = match policy.principal_constraint() {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Eq(uid) => uid == slice.principal,
        PrincipalConstraint::In(uid) => principal_in(&uid),
        PrincipalConstraint::Is(kind) => kind == *slice.principal.type_name(),
        PrincipalConstraint::IsIn(kind, uid) => kind == *slice.principal.type_name() && principal_in(&uid),
    };
    let resource = match policy.resource_constraint() {
        ResourceConstraint::Any => true,
        ResourceConstraint::Eq(uid) => uid == slice.resource,
        ResourceConstraint::In(uid) => resource_in(&uid),
        ResourceConstraint::Is(kind) => kind == *slice.resource.type_name(),
        ResourceConstraint::IsIn(kind, uid) => kind == *slice.resource.type_name() && resource_in(&uid),
    };
    principal
        && resource
        && match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => uid == slice.action,
            ActionConstraint::In(uids) => uids.contains(&slice.action),
        }
}

#[cfg(test)]
mod tests {
    use crate::{
        bundle::Bundle,
        decision::{Effect, RuleEffect},
        question::{Action, Question},
        slice::{Facts, Slice, tests::question},
    };
    use cedar_policy::{AuthorizationError, Authorizer, Decision, PolicySet};
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
        "resource == Tool::\"helpdesk/refund_create\"",
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
        "when { context.tenant == \"main\" && principal is Agent && principal has owner }",
        "when { context has input && context.input.hasTag(\"/amount\") }",
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
        fn the_slice_decides_as_the_whole_set(policies in vec(policy(), 0..16), asked in vec(asked(), 4)) {
            let bundle = valid(policies);
            let rules: Vec<_> = (0..bundle.len()).map(|number| bundle.rule(u32::try_from(number).unwrap()).unwrap()).collect();
            let all = PolicySet::from_policies(rules.iter().map(|rule| rule.policy.clone())).unwrap();
            let steps: BTreeSet<&str> =
                rules.iter().filter(|rule| rule.effect == RuleEffect::StepUp).map(|rule| rule.id.as_str()).collect();
            let firm = rules.iter().filter(|rule| rule.effect != RuleEffect::StepUp).map(|rule| rule.policy.clone());
            let firm = PolicySet::from_policies(firm).unwrap();
            for question in asked {
                let slice = Slice::new(bundle.types(), &question).unwrap();
                let facts = Facts::new(bundle.types(), &question, &slice).unwrap();
                let ask = |set: &PolicySet| Authorizer::new().is_authorized(&facts.request, set, &facts.entities);
                let whole = ask(&all);
                let reasons: Vec<String> = whole.diagnostics().reason().map(ToString::to_string).sorted();
                let errors: Vec<(String, String)> = whole.diagnostics().errors().map(|AuthorizationError::PolicyEvaluationError(e)|
                    (e.policy_id().to_string(), crate::decide::kind_of(e.inner()).to_owned())).sorted();

                let decision = bundle.decide(&question);
                let found: Vec<(String, String)> = decision.errors.iter().map(|e| (e.id.clone(), e.message.clone())).collect();
                prop_assert_eq!(found, errors.clone());
                let named: Vec<String> = decision.policies.iter().map(|policy| policy.id.clone()).collect();
                if !errors.is_empty() {
                    prop_assert_eq!((decision.effect, named), (Effect::Deny, vec![]));
                } else if whole.decision() == Decision::Allow {
                    prop_assert_eq!((decision.effect, named), (Effect::Permit, reasons));
                } else if !reasons.is_empty() && reasons.iter().all(|id| steps.contains(id.as_str())) {
                    // Only a step-up is in the way: offered exactly when the rest of the set would permit.
                    let offered = ask(&firm).decision() == Decision::Allow;
                    let expected = if offered { (Effect::StepUp, reasons) } else { (Effect::Deny, vec![]) };
                    prop_assert_eq!((decision.effect, named), expected);
                } else {
                    prop_assert_eq!((decision.effect, named), (Effect::Deny, reasons));
                }
                prop_assert_eq!(&bundle.decide(&question), &decision);
            }
        }
    }

    trait Sorted: Iterator {
        fn sorted(self) -> Vec<Self::Item>;
    }

    impl<I: Iterator<Item: Ord>> Sorted for I {
        fn sorted(self) -> Vec<I::Item> {
            let mut all: Vec<I::Item> = self.collect();
            all.sort();
            all
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
