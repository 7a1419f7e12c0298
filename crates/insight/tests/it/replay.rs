use crate::world::{Token, Way, World};
use remit_insight::{ReplayReport, replay};
use remit_ledger::record::{DecisionResult, Draft};
use remit_model::resource::ToolClass::{Payment, Read};
use serde_json::{Value, json};

fn planner(world: &mut World) -> Token {
    world.login(|_| {})
}

fn spoilt(spoil: impl FnOnce(&mut Draft)) -> ReplayReport {
    let mut world = World::new();
    let token = planner(&mut world);
    world.call(&token, "refund_create", Payment, &json!({"amount": 500}), spoil);
    replay(&world.publish().reader())
}

#[track_caller]
fn alarm(report: &ReplayReport, expected: &str) {
    let [mismatch] = report.mismatches.as_slice() else { panic!("one alarm was expected: {report}") };
    assert!(mismatch.detail.contains(expected), "{}", mismatch.detail);
    assert!(!report.ok());
}

fn facts(draft: &mut Draft) -> &mut remit_ledger::record::DecisionFacts {
    draft.decision.as_mut().unwrap()
}

#[test]
fn every_decision_comes_out_the_same() {
    let mut world = World::new();
    let token = planner(&mut world);
    for amount in [json!(1), json!(49.99), json!(500), json!("5"), json!(1e300), json!(9_007_199_254_740_993_i64)] {
        world.call(&token, "refund_create", Payment, &json!({ "amount": amount }), |_| {});
    }
    world.call(&token, "tickets_read", Read, &Value::Null, |_| {});
    let report = replay(&world.publish().reader());
    assert!(report.ok(), "{report}");
    assert_eq!((report.decisions, report.agree, report.undisclosed, report.without_policy), (7, 7, 0, 1));
    assert_eq!(report.policy_sets.get(world.bundle.digest()), Some(&7));
}

#[test]
fn a_decision_recorded_otherwise_is_an_alarm() {
    alarm(&spoilt(|draft| facts(draft).result = DecisionResult::Allow), "recorded `allow`, decided again Deny");
    alarm(&spoilt(|draft| facts(draft).policies.clear()), "determining policies");
    alarm(&spoilt(|draft| facts(draft).policies[0].id = "another".to_owned()), "determining policies");
    alarm(&spoilt(|draft| facts(draft).policies[0].digest = "sha-256:00".to_owned()), "determining policies");
    alarm(&spoilt(|draft| facts(draft).reason_code = None), "recorded `deny`");
}

#[test]
fn a_question_about_something_else_is_an_alarm() {
    alarm(&spoilt(|draft| draft.txn = Some("another".to_owned())), "another chain");
    alarm(&spoilt(|draft| draft.tool.as_mut().unwrap().name = "tickets_read".to_owned()), "another tool");
    alarm(&spoilt(|draft| facts(draft).nondet = vec![("now".to_owned(), json!(5))]), "time");
    let hidden = |draft: &mut Draft| {
        let input = facts(draft).input.take().unwrap();
        draft.committed.push(("/decision/input".to_owned(), input));
    };
    alarm(&spoilt(hidden), "input_hash");
}

#[test]
fn a_later_check_may_refuse_what_policies_permit() {
    let mut world = World::new();
    let token = planner(&mut world);
    let quota = |draft: &mut Draft| {
        facts(draft).result = DecisionResult::Quota;
        facts(draft).reason_code = Some("limit_exhausted".to_owned());
    };
    world.call(&token, "tickets_read", Read, &json!({}), quota);
    let clock = |draft: &mut Draft| {
        facts(draft).result = DecisionResult::Deny;
        facts(draft).reason_code = Some("clock_unknown".to_owned());
    };
    world.call(&token, "tickets_read", Read, &json!({}), clock);
    let blamed = |draft: &mut Draft| {
        facts(draft).result = DecisionResult::Deny;
        facts(draft).reason_code = Some("policy_denied".to_owned());
    };
    world.call(&token, "tickets_read", Read, &json!({}), blamed);
    let report = replay(&world.publish().reader());
    assert_eq!((report.agree, report.mismatches.len()), (2, 1), "{report}");
}

#[test]
fn withheld_questions_are_counted() {
    let mut world = World::new();
    let token = planner(&mut world);
    world.call(&token, "tickets_read", Read, &json!({}), |_| {});
    let log = world.publish();
    log.withhold();
    let report = replay(&log.reader());
    assert_eq!((report.decisions, report.agree, report.undisclosed), (1, 0, 1));
    assert!(report.ok());
}

#[test]
fn altered_questions_are_an_alarm() {
    let mut world = World::new();
    let token = planner(&mut world);
    world.call(&token, "refund_create", Payment, &json!({"amount": 500}), |_| {});
    let log = world.publish();
    log.rewrite_side(r#"{\"amount\":500}"#, r#"{\"amount\":5}"#);
    alarm(&replay(&log.reader()), "not those it commits to");
}

#[test]
fn missing_pins_are_an_alarm() {
    let mut world = World::new();
    world.objects.pop();
    let token = planner(&mut world);
    world.call(&token, "tickets_read", Read, &json!({}), |_| {});
    alarm(&replay(&world.publish().reader()), "is not with this copy");
}

/// What the gateway records of the fields of a class.
fn field(world: &World, token: &Token, tool: &str, class: &str) -> Value {
    let decision = world.bundle.decide(&world.question(token, tool, Read, &json!({})).about_fields(class));
    let policies: Vec<_> = decision
        .policies
        .iter()
        .map(|policy| json!({"id": policy.id, "effect": if decision.permits() { "permit" } else { "forbid" }, "digest": policy.digest}))
        .collect();
    let result = if decision.permits() { "allow" } else { "deny" };
    json!({"class": class, "fields": ["/key"], "rest": false, "result": result, "policies": policies, "errors": [],
           "explanation": decision.explanation})
}

#[test]
fn decisions_about_fields_are_made_again_and_a_changed_one_is_an_alarm() {
    let honest = |spoil: fn(&mut Value)| {
        let mut world = World::new();
        let planner = planner(&mut world);
        let child = world.hand(Way::Statement, &planner, |_| {});
        let mut fields = json!([field(&world, &child, "tickets_read", "pii"), field(&world, &child, "tickets_read", "secret")]);
        spoil(&mut fields);
        let index = world.call(&child, "tickets_read", Read, &json!({}), |draft| {
            draft.ext.insert("read_field".to_owned(), fields);
        });
        let reader = world.publish().reader();
        (replay(&reader), remit_insight::explain_at(&reader, index).unwrap().why.join("\n"))
    };
    let (report, why) = honest(|_| {});
    assert_eq!((report.decisions, report.agree, report.mismatches.len()), (3, 3, 0), "{report}");
    assert!(why.contains("Fields of class `secret` are withheld (/key)") && !why.contains("class `pii`"), "{why}");
    let spoilt: [fn(&mut Value); 5] = [
        |fields| fields[1]["result"] = json!("allow"),
        |fields| fields[1]["class"] = json!("pii"),
        |fields| fields[1]["policies"] = json!([]),
        |fields| fields[1]["class"] = json!(null),
        |fields| *fields = json!({"class": "pii"}),
    ];
    for spoil in spoilt {
        assert!(!honest(spoil).0.ok());
    }
}

#[test]
fn ce_05_a_question_of_a_later_version_is_an_alarm_that_says_so() {
    let later = |draft: &mut Draft| facts(draft).input.as_mut().unwrap()["v"] = json!(remit_policy::QUESTION_VERSION + 1);
    alarm(&spoilt(later), &format!("versions up to {}", remit_policy::QUESTION_VERSION));
    let unknown = |draft: &mut Draft| facts(draft).input.as_mut().unwrap()["labels"] = json!(["untrusted"]);
    alarm(&spoilt(unknown), "unknown field `labels`");
}
