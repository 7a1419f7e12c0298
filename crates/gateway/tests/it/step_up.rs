//! A call that needs a better sign-in of the person: what the client is told. SPEC: IJ-06, MG-01, RFC 9470 §3

use crate::world::{Reply, Wish, World};
use remit_gateway::Denials;
use remit_model::refusal::Code;
use serde_json::json;

fn policy(annotations: &str) -> Vec<(String, String)> {
    let text = format!(
        "permit (principal, action, resource);
         @id(\"strong\") @effect(\"step_up\") @reason(\"This needs a passkey.\") {annotations}
         forbid (principal, action == Action::\"call\", resource) unless {{ context has acr && context.acr == \"phr\" }};"
    );
    vec![("all.cedar".to_owned(), text)]
}

async fn world(denials: Denials, annotations: &str) -> World {
    Wish { denials, policy: policy(annotations), ..Wish::new(true) }.build().await
}

fn challenge(reply: &Reply) -> &str {
    reply.headers.get("www-authenticate").map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn ij_06_a_call_names_the_sign_in_that_would_be_enough() {
    let world = world(Denials::StepUp, "@acr_values(\"phr phrh\") @max_age(\"300\")").await;
    let reply = world.all().call("ticket_read", json!({})).await;
    reply.refused(401, Code::StepUpRequired.as_str());
    let challenge = challenge(&reply);
    assert!(challenge.starts_with("DPoP error=\"insufficient_user_authentication\", resource_metadata=\""), "{challenge}");
    assert!(challenge.ends_with(", acr_values=\"phr phrh\", max_age=\"300\""), "{challenge}");
    assert_eq!(reply.headers["cache-control"], "no-store");
    let record = world.last().await;
    assert_eq!(record["decision"]["result"], "step_up");
}

#[tokio::test]
async fn ij_06_without_a_sign_in_that_would_be_enough_no_challenge_asks_for_one() {
    let world = world(Denials::StepUp, "").await;
    let reply = world.all().call("ticket_read", json!({})).await;
    assert_eq!((reply.status, challenge(&reply)), (200.try_into().unwrap(), ""));
    assert!(reply.body["result"]["isError"] == true && reply.body.to_string().contains("step_up_required"), "{}", reply.body);
}

#[tokio::test]
async fn ij_06_where_denials_are_results_the_text_says_what_would_be_enough() {
    let world = world(Denials::Result, "@acr_values(\"phr\")").await;
    let reply = world.all().call("ticket_read", json!({})).await;
    assert_eq!((reply.status, challenge(&reply)), (200.try_into().unwrap(), ""));
    assert!(reply.body.to_string().contains("A new sign-in of the person would be enough."), "{}", reply.body);
}
