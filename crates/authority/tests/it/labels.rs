//! What a holder calls a token, so that the tasks of one sign-in can be told apart. SPEC: TX-12

use crate::{flow::*, world::*};
use remit_insight::{custody, explain_at, replay};
use remit_ledger::Reader;

const LABEL: &str = "Ticket T-1 – „Rückfrage“";

#[tokio::test]
async fn a_label_stands_in_the_record_of_its_token_and_nowhere_else() {
    let world = World::new().await;
    world.record_registrations().await;
    let body = world.delegated("alice").await;
    let token = text(&body, "access_token");
    let narrow = world.narrow(&world.planner, token, &[("label", LABEL)]).await.access_token();
    assert_eq!(world.last_record().await["ext"]["token"]["label"], LABEL);
    assert!(!claims(&narrow).to_string().contains("Ticket"), "no server and no policy sees it");
    let child = world.hand(&world.planner, &narrow, &world.summarizer, &[]).await.access_token();
    assert!(world.last_record().await["ext"]["token"].get("label").is_none());
    world.narrow(&world.summarizer, &child, &[("label", "a part of it")]).await.access_token();
    let refresh = world.refresh(&world.planner, text(&body, "refresh_token"), &[("label", "another day")]).await;
    refresh.access_token();
    world.own_token(&world.planner, &[("resource", HELPDESK), ("label", "on my own account")]).await;
    world.store.publish().await.unwrap();
    let reader = Reader::open(world.store.ledger_dir()).unwrap();
    let (custody, replay) = (custody(&reader), replay(&reader));
    assert!(custody.ok() && replay.ok(), "{custody:?} {replay:?}");
    let labels: Vec<String> = (0..reader.len())
        .flat_map(|index| explain_at(&reader, index).unwrap().why)
        .filter(|line| line.starts_with("Label"))
        .collect();
    assert_eq!(labels.len(), 5, "{labels:?}");
    assert!(labels[0].contains(LABEL) && labels[1].contains(LABEL), "its own, and of what was taken from it: {labels:?}");
    assert!(labels[2].contains("a part of it"), "{labels:?}");
}

#[tokio::test]
async fn a_label_is_a_name_that_people_can_read() {
    let world = World::new().await;
    let body = world.delegated("alice").await;
    let long = "x".repeat(129);
    for label in [" outer", "hidden \u{202e}", "line\nline", "zero\u{200b}width", "\u{1b}[2J", &long] {
        let reply = world.narrow(&world.planner, text(&body, "access_token"), &[("label", label)]).await;
        reply.refused("invalid_request", "request_malformed");
        assert!(text(&reply.body, "error_description").contains("`label`"), "{}", reply.text);
        assert!(world.last_record().await["ext"]["token"].get("label").is_none(), "a record shows no such text");
    }
    world.narrow(&world.planner, text(&body, "access_token"), &[("label", &"ü".repeat(128))]).await.access_token();
}
