//! Policies by scope, so that one decision evaluates a handful whatever the size of the set (speed.md §3).
//!
//! Sound because a policy whose scope is false can neither permit, forbid nor raise an error. A property test
//! holds the decision over the slice against Cedar's evaluation of the whole set.

use crate::{bundle::Rule, slice::Slice};
use cedar_policy::{ActionConstraint, EntityTypeName, EntityUid, PrincipalConstraint, ResourceConstraint};
use std::collections::HashMap;

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
}

impl Index {
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let mut by_scope: HashMap<Key, HashMap<Key, Numbers>> = HashMap::new();
        for (number, rule) in (0_u32..).zip(rules) {
            let principal = principal_key(&rule.policy.principal_constraint());
            let resource = resource_key(&rule.policy.resource_constraint());
            by_scope.entry(principal).or_default().entry(resource).or_default().push(number);
        }
        Self { by_scope }
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
            let all = PolicySet::from_policies(bundle.rules().iter().map(|rule| rule.policy.clone())).unwrap();
            let steps: BTreeSet<&str> =
                bundle.rules().iter().filter(|rule| rule.effect == RuleEffect::StepUp).map(|rule| rule.id.as_str()).collect();
            let firm = bundle.rules().iter().filter(|rule| rule.effect != RuleEffect::StepUp).map(|rule| rule.policy.clone());
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
