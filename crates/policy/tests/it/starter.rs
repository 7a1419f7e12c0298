use crate::{call, party, refund};
use remit_model::resource::ToolClass::{Admin, Payment, Read, Write};
use remit_policy::{Action, Bundle, Effect};
use serde_json::{Value, json};

fn starter() -> Bundle {
    let files: Vec<_> = Bundle::starter().iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Bundle::parse(&files).unwrap()
}

#[test]
fn the_starter_is_valid_without_a_warning_and_annotated() {
    let bundle = starter();
    assert_eq!(bundle.warnings().next(), None);
    for (_, text) in bundle.sources() {
        let count = |needle: &str| text.matches(needle).count();
        let policies = text.lines().filter(|line| line.starts_with("permit (") || line.starts_with("forbid (")).count();
        assert_eq!((count("@id("), count("@title("), count("@reason(")), (policies, policies, policies), "{text}");
    }
}

#[test]
fn the_demo_is_not_in_its_way() {
    let bundle = starter();
    let planner: &[&str] = &["agent:planner"];
    let summarizer: &[&str] = &["agent:planner", "agent:summarizer"];
    for (tool, class, arguments) in [
        ("tickets_list", Read, json!({})),
        ("tickets_read", Read, json!({ "id": "T-1" })),
        ("tickets_update", Write, json!({ "id": "T-1", "status": "closed" })),
        ("customers_read", Read, json!({ "id": "C-1" })),
        ("refund_create", Payment, json!({ "amount": 25, "currency": "EUR" })),
    ] {
        assert!(bundle.decide(&call(planner, tool, class, arguments)).permits(), "{tool}");
    }
    assert!(bundle.decide(&call(summarizer, "tickets_read", Read, json!({ "id": "T-1" }))).permits());
    let mut list = call(summarizer, "", Read, Value::Null);
    (list.action, list.tool) = (Action::List, None);
    assert!(bundle.decide(&list).permits());
    let mut delegate = call(planner, "", Read, Value::Null);
    delegate.action = Action::Delegate { to: "agent:summarizer".to_owned(), depth: 0, lifetime: 3600 };
    assert!(bundle.decide(&delegate).permits());
    (delegate.principal, delegate.chain) = (party("user:alice"), Vec::new());
    delegate.action = Action::Delegate { to: "agent:planner".to_owned(), depth: 1, lifetime: 30 * 86_400 };
    assert!(bundle.decide(&delegate).permits(), "the person's own hop");
}

#[test]
fn a_payment_is_above_zero_and_within_the_ceiling() {
    let bundle = starter();
    for amount in ["0", "-0", "0.0000", "-0.01", "-200", "-1e10", "200.0001", "0.00001", "1e300", "-1e300", "9007199254740993"] {
        let amount: Value = serde_json::from_str(amount).unwrap();
        assert!(!bundle.decide(&refund(amount.clone())).permits(), "{amount}");
    }
    for amount in ["0.01", "1", "1.50", "2E2", "200.0"] {
        let amount: Value = serde_json::from_str(amount).unwrap();
        assert!(bundle.decide(&refund(amount.clone())).permits(), "{amount}");
    }
}

#[test]
fn what_the_starter_forbids_it_explains() {
    let bundle = starter();
    let planner: &[&str] = &["agent:planner"];
    let summarizer: &[&str] = &["agent:planner", "agent:summarizer"];
    let mut secret = call(summarizer, "vault.read", Read, json!({}));
    if let Some(tool) = &mut secret.tool {
        tool.classification = Some("secret".to_owned());
    }
    let mut stale = call(planner, "users.disable", Admin, json!({}));
    stale.auth_age = Some(3600);
    let mut alone = refund(json!(5));
    alone.on_behalf_of = alone.principal.clone();
    let mut long = refund(json!(5));
    long.action = Action::Delegate { to: "agent:summarizer".to_owned(), depth: 0, lifetime: 90_000 };
    let mut consent = call(&[], "", Admin, Value::Null);
    consent.action = Action::Delegate { to: "agent:planner".to_owned(), depth: 1, lifetime: 31 * 86_400 };
    let told: Vec<String> = [
        refund(json!(200.01)),
        refund(json!("5")),
        call(summarizer, "refund_create", Payment, json!({ "amount": 5 })),
        alone,
        secret,
        stale,
        long,
        consent,
    ]
    .iter()
    .map(|question| bundle.decide(question))
    .map(|decision| {
        assert_ne!(decision.effect, Effect::Permit);
        format!("{:?}: {}", decision.effect, decision.explanation)
    })
    .collect();
    insta::assert_snapshot!(told.join("\n"));
}
