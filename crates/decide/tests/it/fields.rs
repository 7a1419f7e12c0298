//! Classified fields of an answer: asked once per class, and withheld by default.

use crate::registry::{ISSUER, NOW, Registry, call, calls, helpdesk, named, policies};
use remit_decide::{FieldDecision, Verdict, World, decide};
use remit_model::{Server, ToolClass, resource::ToolRule};
use remit_policy::Action;
use serde_json::json;
use std::collections::BTreeMap;

fn classified(classification: Option<&str>, fields: &[(&str, &str)]) -> Server {
    let fields: BTreeMap<String, String> = fields.iter().map(|(at, class)| ((*at).to_owned(), (*class).to_owned())).collect();
    let classification = classification.map(str::to_owned);
    helpdesk(&[("read", ToolRule { class: ToolClass::Read, classification, fields, ..ToolRule::default() })])
}

async fn read(policy: &str, server: &Server, unconditional: bool) -> Verdict {
    let registry = Registry::new().await;
    let (snapshot, bundle) = (registry.snapshot(), policies(policy));
    let world = World::new(ISSUER, &snapshot, &bundle, NOW);
    let (alice, chain) = (named("user:alice"), [named("agent:planner"), named("agent:scribe")]);
    let (held, arguments) = (calls(&["read"], 10), json!({"amount": 1}));
    let mut ask = call(&alice, &chain, &held, (server, "read", &arguments));
    ask.unconditional = unconditional;
    decide(&world, &ask)
}

fn withheld(verdict: &Verdict) -> Vec<(&str, &[String], bool)> {
    let withheld = verdict.fields.iter().filter(|field| field.withholds());
    withheld.map(|field| (field.class.as_str(), field.pointers.as_slice(), field.rest)).collect()
}

const ALL: &str = "@id(\"all\") permit (principal, action, resource);\n";

#[tokio::test]
async fn a_policy_that_forbids_to_read_fields_withholds_exactly_the_classified_ones() {
    let policy = format!("{ALL} @id(\"none\") forbid (principal, action == Action::\"read_field\", resource);");
    let server = classified(None, &[("/customer/name", "pii"), ("/customer/email", "pii"), ("/key", "secret")]);
    let verdict = read(&policy, &server, false).await;
    assert!(verdict.result.is_ok(), "the call itself is permitted");
    let pii = ["/customer/email".to_owned(), "/customer/name".to_owned()];
    assert_eq!(withheld(&verdict), [("pii", &pii[..], false), ("secret", &["/key".to_owned()][..], false)]);
    assert!(verdict.fields.iter().all(|field| field.rule() == "none"));
    // The tool's own classification is the class of every field without one.
    let server = classified(Some("confidential"), &[("/key", "secret")]);
    let verdict = read(&policy, &server, false).await;
    assert_eq!(withheld(&verdict), [("confidential", &[][..], true), ("secret", &["/key".to_owned()][..], false)]);
}

#[tokio::test]
async fn each_class_is_asked_about_once_and_an_unclassified_answer_never() {
    let server = classified(Some("pii"), &[("/a", "pii"), ("/b", "pii"), ("/c", "phi"), ("/d", "phi")]);
    let verdict = read(ALL, &server, false).await;
    let classes: Vec<&str> = verdict.fields.iter().map(|field| field.class.as_str()).collect();
    assert_eq!(classes, ["phi", "pii"]);
    assert!(withheld(&verdict).is_empty());
    assert!(read(ALL, &classified(None, &[]), false).await.fields.is_empty());
}

#[tokio::test]
async fn no_permit_a_step_up_and_a_failing_policy_withhold() {
    let server = classified(None, &[("/a", "pii")]);
    for policy in [
        "permit (principal, action == Action::\"call\", resource);",
        "permit (principal, action, resource); @effect(\"step_up\") forbid (principal, action == Action::\"read_field\", resource);",
        "permit (principal, action, resource); forbid (principal, action == Action::\"read_field\", resource)
         when { context.depth * 9223372036854775807 > 0 };",
    ] {
        let verdict = read(policy, &server, false).await;
        assert!(verdict.result.is_ok());
        assert_eq!(verdict.fields.iter().filter(|field| field.withholds()).count(), 1, "{policy}");
    }
}

#[tokio::test]
async fn the_starter_keeps_secret_fields_from_sub_agents_only() {
    let registry = Registry::new().await;
    let starter: Vec<_> =
        remit_policy::Bundle::starter().iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let (snapshot, bundle) = (registry.snapshot(), remit_policy::Bundle::parse(&starter).unwrap());
    let world = World::new(ISSUER, &snapshot, &bundle, NOW);
    let server = classified(Some("internal"), &[("/key", "secret"), ("/name", "pii")]);
    let (alice, held, arguments) = (named("user:alice"), calls(&["read"], 10), json!({"amount": 1}));
    for (chain, expected) in [(vec!["agent:planner"], 0), (vec!["agent:planner", "agent:scribe"], 1)] {
        let chain: Vec<_> = chain.into_iter().map(named).collect();
        let verdict = decide(&world, &call(&alice, &chain, &held, (&server, "read", &arguments)));
        let rules: Vec<&str> = verdict.fields.iter().filter(|field| field.withholds()).map(FieldDecision::rule).collect();
        assert_eq!(rules, vec!["secret-fields-not-for-sub-agents"; expected]);
    }
}

#[tokio::test]
async fn who_cannot_mask_an_answer_gets_no_permit_for_one_that_must_be_masked() {
    let policy =
        format!("{ALL} forbid (principal, action == Action::\"read_field\", resource) when {{ context.class == \"pii\" }};");
    assert!(read(&policy, &classified(None, &[("/a", "pii")]), true).await.result.is_err());
    assert!(read(&policy, &classified(None, &[("/a", "internal")]), true).await.result.is_ok());
}

#[tokio::test]
async fn a_field_question_is_that_of_the_call_about_its_class() {
    let verdict = read(ALL, &classified(None, &[("/a", "pii")]), false).await;
    let call = verdict.asked.unwrap().question;
    let field = call.about_fields("pii");
    assert_eq!(field.action, Action::ReadField { class: "pii".to_owned() });
    assert!(field.arguments.is_null());
    assert_eq!((field.principal, field.tool, field.now, field.txn), (call.principal, call.tool, call.now, call.txn));
}
