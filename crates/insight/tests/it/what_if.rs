use crate::world::World;
use remit_insight::what_if;
use remit_ledger::record::DecisionResult;
use remit_model::resource::ToolClass::{Payment, Read};
use remit_policy::Bundle;
use serde_json::json;

/// The starter policies with one text in one of them replaced.
fn candidate(from: &str, to: &str) -> Bundle {
    let files: Vec<_> = Bundle::starter().iter().map(|(name, text)| ((*name).to_owned(), text.replace(from, to))).collect();
    Bundle::parse(&files).unwrap()
}

fn sample() -> World {
    let mut world = World::new();
    let token = world.login(|_| {});
    for amount in [40, 150, 180, 500] {
        world.call(&token, "refund_create", Payment, &json!({"amount": amount}), |_| {});
    }
    world.call(&token, "tickets_read", Read, &json!({"id": "T-1"}), |_| {});
    world
}

#[test]
fn the_same_policies_flip_nothing() {
    let world = sample();
    let report = what_if(&world.publish().reader(), &candidate("", ""), None).unwrap();
    assert_eq!((report.decisions, report.same, report.flipped), (5, 5, 0), "{report}");
}

#[test]
fn flips_are_grouped_with_an_example() {
    let world = sample();
    let report = what_if(&world.publish().reader(), &candidate("decimal(\"200.0\")", "decimal(\"100.0\")"), None).unwrap();
    assert_eq!((report.decisions, report.flipped, report.flips.len()), (5, 2, 1), "{report}");
    let flip = &report.flips[0];
    assert_eq!((flip.what.as_str(), flip.was.as_str(), flip.becomes.as_str()), ("helpdesk/refund_create", "allow", "deny"));
    assert_eq!((flip.count, flip.rules.as_slice()), (2, &["payment-ceiling (forbid)".to_owned()][..]));
    assert_eq!(flip.example.index, 6);
    assert!(flip.example.explanation.contains("No agent moves more than 200 at once"), "{}", flip.example.explanation);
}

#[test]
fn a_looser_rule_lets_through_what_was_refused() {
    let world = sample();
    let report = what_if(&world.publish().reader(), &candidate("decimal(\"200.0\")", "decimal(\"900.0\")"), None).unwrap();
    let flip = &report.flips[0];
    assert_eq!((report.flipped, flip.was.as_str(), flip.becomes.as_str()), (1, "deny", "allow"), "{report}");
}

#[test]
fn what_a_later_check_refused_does_not_flip() {
    let mut world = World::new();
    let token = world.login(|_| {});
    world.call(&token, "tickets_read", Read, &json!({}), |draft| {
        let facts = draft.decision.as_mut().unwrap();
        facts.result = DecisionResult::Quota;
        facts.reason_code = Some("limit_exhausted".to_owned());
    });
    let report = what_if(&world.publish().reader(), &candidate("", ""), None).unwrap();
    assert_eq!((report.same, report.flipped), (1, 0));
}

#[test]
fn only_the_period_counts() {
    let world = sample();
    let reader = world.publish().reader();
    let since = reader.record(7).unwrap().wall_ns();
    let report = what_if(&reader, &candidate("", ""), Some(since)).unwrap();
    assert_eq!(report.decisions, 2);
    assert_eq!(what_if(&reader, &candidate("", ""), Some(u64::MAX)).unwrap().decisions, 0);
}

#[test]
fn withheld_and_altered_questions_are_not_guessed() {
    let log = sample().publish();
    log.withhold();
    let report = what_if(&log.reader(), &candidate("200.0", "100.0"), None).unwrap();
    assert_eq!((report.undisclosed, report.same, report.flipped), (5, 0, 0));

    let log = sample().publish();
    log.rewrite_side(r#"{\"amount\":150}"#, r#"{\"amount\":15}"#);
    let report = what_if(&log.reader(), &candidate("200.0", "100.0"), None).unwrap();
    assert_eq!((report.unreadable.as_slice(), report.flipped), (&[5][..], 1), "{report}");
}

#[test]
fn questions_of_another_schema_are_reported() {
    let mut world = World::new();
    let token = world.login(|_| {});
    world.call(&token, "tickets_read", Read, &json!({}), |draft| {
        draft.decision.as_mut().unwrap().schema_digest = Some(format!("sha-256:{}", "0".repeat(64)));
    });
    let report = what_if(&world.publish().reader(), &candidate("", ""), None).unwrap();
    assert_eq!((report.decisions, report.same, report.other_schema.len()), (1, 0, 1));
    assert!(report.to_string().contains("another schema") || report.to_string().contains("under schema"), "{report}");
}
