use crate::{bundle, call, refund};
use remit_model::{Code, resource::ToolClass};
use remit_policy::{Action, Bundle, Effect, RuleEffect};
use serde_json::{Value, json};

const PERMIT: &str = "@id(\"all\") @title(\"Everything\") permit (principal, action, resource);\n";

#[test]
fn nothing_is_permitted_without_policies() {
    let decision = Bundle::parse(&[]).unwrap().decide(&refund(json!(1)));
    assert_eq!((decision.effect, decision.code()), (Effect::Deny, Some(Code::PolicyDenied)));
    assert_eq!((decision.considered, decision.explanation.as_str()), (0, "No policy permits this."));
}

#[test]
fn n_ce_02_a_forbid_that_errors_denies() {
    let text = PERMIT.to_owned()
        + "@id(\"sum\") forbid (principal, action == Action::\"call\", resource)
           when { context.depth + 9223372036854775807 > 0 };";
    let decision = bundle(&text).unwrap().decide(&refund(json!(1)));
    assert_eq!((decision.effect, decision.code()), (Effect::Deny, Some(Code::PolicyError)));
    assert_eq!((decision.errors[0].id.as_str(), decision.errors[0].message.as_str()), ("sum", "integer overflow"));
    assert_eq!(decision.explanation, "Policy `sum` could not be evaluated, so nothing is allowed: integer overflow.");
}

#[test]
fn an_erroring_permit_denies_even_beside_another() {
    let text = PERMIT.to_owned() + "permit (principal, action, resource) when { context.depth * 9223372036854775807 * 2 > 0 };";
    assert_eq!(bundle(&text).unwrap().decide(&refund(json!(1))).effect, Effect::Deny);
}

#[test]
fn a_question_that_cannot_be_put_is_denied() {
    let bundle = bundle(PERMIT).unwrap();
    let mut toolless = refund(json!(1));
    toolless.tool = None;
    assert_eq!(bundle.decide(&toolless).code(), Some(Code::PolicyError));
    let mut timeless = refund(json!(1));
    timeless.now.0 = -5;
    assert_eq!(bundle.decide(&timeless).code(), Some(Code::PolicyError));
    let deep = (0..100).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(bundle.decide(&refund(deep)).code(), Some(Code::PolicyError));
}

/// The limit as the schema's comment tells people to write it.
const LIMIT: &str = r#"
permit (principal, action, resource);
@id("limit") forbid (principal, action == Action::"call", resource)
unless {
  context.input.hasTag("/amount") && context.input.getTag("/amount") has decimal &&
  context.input.getTag("/amount").decimal.lessThanOrEqual(decimal("50.0"))
};"#;

#[test]
fn a_limit_on_an_argument_is_typed() {
    let bundle = bundle(LIMIT).unwrap();
    let effect = |amount: Value| bundle.decide(&refund(amount)).effect;
    for within in [json!(50), json!(50.0), json!(49.99), json!(0), json!(-3)] {
        assert_eq!(effect(within.clone()), Effect::Permit, "{within}");
    }
    for beyond in [
        json!(50.01),
        json!(51),
        json!("50"),
        json!(null),
        json!([50]),
        json!(1e300),
        json!(1e16),
        json!(u64::MAX),
        json!(0.00001),
    ] {
        assert_eq!(effect(beyond.clone()), Effect::Deny, "{beyond}");
    }
    let absent = call(&["agent:planner"], "refund_create", ToolClass::Payment, json!({}));
    assert_eq!(bundle.decide(&absent).effect, Effect::Deny);
}

#[test]
fn nested_arguments_have_pointers() {
    let bundle = bundle(
        r#"permit (principal, action == Action::"call", resource) when {
             context.input.hasTag("/lines/1/a~1b") && context.input.getTag("/lines/1/a~1b") has bool &&
             context.input.getTag("/lines/1/a~1b").bool && context.input.hasTag("/lines") &&
             context.input.getTag("/lines") has size && context.input.getTag("/lines").size == 2 };"#,
    )
    .unwrap();
    let asked = |lines| call(&["agent:planner"], "t", ToolClass::Read, json!({ "lines": lines }));
    assert_eq!(bundle.decide(&asked(json!([1, { "a/b": true }]))).effect, Effect::Permit);
    assert_eq!(bundle.decide(&asked(json!([1, { "a/b": false }]))).effect, Effect::Deny);
}

const STEP_UP: &str = r#"
@id("fresh") @effect("step_up") @reason("This needs a recent sign-in.") @advice("Sign in again.")
forbid (principal, action, resource) unless { context has auth_age && context.auth_age < 300 };"#;

#[test]
fn dc_15_a_step_up_is_offered_only_when_it_would_be_enough() {
    let mut stale = refund(json!(1));
    stale.auth_age = Some(301);

    let decision = bundle(&(PERMIT.to_owned() + STEP_UP)).unwrap().decide(&stale);
    assert_eq!((decision.effect, decision.code()), (Effect::StepUp, Some(Code::StepUpRequired)));
    assert_eq!(decision.policies[0].effect, RuleEffect::StepUp);
    assert_eq!(decision.advice().collect::<Vec<_>>(), ["Sign in again."]);

    assert_eq!(bundle(STEP_UP).unwrap().decide(&stale).effect, Effect::Deny, "nothing would permit it");
    let forbidden = PERMIT.to_owned() + STEP_UP + "@id(\"no\") forbid (principal, action, resource);";
    let decision = bundle(&forbidden).unwrap().decide(&stale);
    assert_eq!(decision.effect, Effect::Deny, "a plain forbid stands beside it");

    stale.auth_age = Some(10);
    assert!(bundle(&(PERMIT.to_owned() + STEP_UP)).unwrap().decide(&stale).permits());
}

/// SPEC: IJ-06, RFC 9470 §3
#[test]
fn a_step_up_names_the_sign_in_that_is_enough_for_every_policy_that_asks() {
    let rule = |id: &str, said: &str| {
        format!("@id(\"{id}\") @effect(\"step_up\") {said} forbid (principal, action, resource) unless {{ context has acr }};")
    };
    let hints = |rules: &[String]| {
        let text = PERMIT.to_owned() + &rules.concat();
        let decision = bundle(&text).unwrap().decide(&refund(json!(1)));
        assert_eq!(decision.effect, Effect::StepUp);
        let refusal = decision.into_result().unwrap_err();
        refusal.step_up.map(|enough| (enough.acr_values.join(" "), enough.max_age))
    };
    assert_eq!(hints(&[rule("a", "")]), None);
    assert_eq!(hints(&[rule("a", "@max_age(\"60\")")]), Some((String::new(), Some(60))));
    let both =
        [rule("a", "@acr_values(\"phr phrh\") @max_age(\"60\")"), rule("b", "@acr_values(\"gold phrh\") @max_age(\"30\")")];
    assert_eq!(hints(&both), Some(("phrh".to_owned(), Some(30))), "what is enough for both");
    let apart = [rule("a", "@acr_values(\"phr\")"), rule("b", "@acr_values(\"gold\")")];
    assert_eq!(hints(&apart), None, "no one class is enough for both");
}

#[test]
fn the_decision_says_what_made_it() {
    let decision = bundle(LIMIT).unwrap().decide(&refund(json!(51)));
    assert_eq!(decision.policies.len(), 1);
    assert_eq!((decision.policies[0].id.as_str(), decision.policies[0].source.as_str()), ("limit", "p.cedar:3"));
    let permitted = bundle(LIMIT).unwrap().decide(&refund(json!(5)));
    assert_eq!(permitted.policies[0].id, "p.cedar#1");
    assert_eq!(permitted.engine_name, "cedar-policy");
    let stored = serde_json::to_string(&permitted).unwrap();
    assert_eq!(serde_json::from_str::<remit_policy::Decision>(&stored).unwrap(), permitted);
}

#[test]
fn equal_questions_give_equal_bytes() {
    let text = PERMIT.to_owned() + "permit (principal, action, resource);\npermit (principal is Agent, action, resource);";
    let question = refund(json!(5));
    let bytes = |bundle: &Bundle| serde_json::to_vec(&bundle.decide(&question)).unwrap();
    let first = bytes(&bundle(&text).unwrap());
    for _ in 0..20 {
        assert_eq!(bytes(&bundle(&text).unwrap()), first);
    }
}

#[test]
fn labels_are_groups_and_owners_compare() {
    let bundle = bundle(
        r#"permit (principal in Group::"team=support", action == Action::"call", resource in Server::"helpdesk")
           when { principal is Agent && principal has owner && context has on_behalf_of &&
                  principal.owner == context.on_behalf_of };"#,
    )
    .unwrap();
    let mut question = refund(json!(1));
    assert!(!bundle.decide(&question).permits());
    question.principal.labels.insert("team".to_owned(), "support".to_owned());
    assert!(bundle.decide(&question).permits());
    question.principal.owner = Some("user:bob".to_owned());
    assert!(!bundle.decide(&question).permits());
}

#[test]
fn time_of_day_and_delegation_can_be_limited() {
    let bundle = bundle(
        r#"permit (principal, action == Action::"delegate", resource == Agent::"summarizer")
           when { context.now.toTime() < duration("5h") && context.further == 0 && context.lifetime <= 600 };"#,
    )
    .unwrap();
    let mut question = refund(json!(null));
    question.action = Action::Delegate { to: "agent:summarizer".to_owned(), depth: 0, lifetime: 600 };
    assert!(bundle.decide(&question).permits(), "04:30 UTC");
    question.now.0 += 3600;
    assert!(!bundle.decide(&question).permits());
}

#[test]
fn a_long_explanation_is_cut_at_a_character() {
    let text = format!("@reason(\"{}\") permit (principal, action, resource);", "ü".repeat(600));
    let explanation = bundle(&text).unwrap().decide(&refund(json!(1))).explanation;
    assert!(explanation.len() <= 512 && explanation.ends_with('…'));
}
