//! A caller sees what it could use. SPEC: MG-08, MG-09.

use crate::world::{Wish, World};
use serde_json::json;

fn names(list: &serde_json::Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn n_mg_07_lists_are_filtered_for_each_caller_and_marked_private() {
    for modern_upstream in [true, false] {
        let world = World::new(modern_upstream).await;
        let narrow = world.planner(world.grant(json!({"actions": ["ticket_read", "not.offered"]})));
        let reply = narrow.modern("tools/list", json!({})).await;
        assert_eq!(names(&reply.result()["tools"]), ["ticket_read"]);
        assert_eq!(reply.result()["cacheScope"], "private");
        assert!(reply.result()["ttlMs"].is_u64());
        let wide = world.all().modern("tools/list", json!({})).await;
        assert_eq!(names(&wide.result()["tools"]).len(), 10);
        assert_eq!(wide.result()["cacheScope"], "private");
        let again = narrow.modern("tools/list", json!({})).await;
        assert_eq!(names(&again.result()["tools"]), ["ticket_read"]);
    }
}

#[tokio::test]
async fn resources_and_prompts_are_listed_only_to_those_who_may_read_them() {
    let world = World::new(true).await;
    let narrow = world.planner(world.grant(json!({"actions": ["ticket_read", "mcp:resources/read"]})));
    let resources = narrow.modern("resources/list", json!({})).await;
    assert_eq!(resources.result()["resources"].as_array().unwrap().len(), 1);
    let prompts = narrow.modern("prompts/list", json!({})).await;
    assert_eq!(prompts.result()["prompts"], json!([]));
}

#[tokio::test]
async fn without_any_grant_there_is_no_list() {
    let world = World::new(true).await;
    let nothing = world.planner(remit_model::Authority::none());
    nothing.modern("tools/list", json!({})).await.refused(200, "tool_not_granted");
    assert!(world.fake.received("tools/list").is_empty());
}

#[tokio::test]
async fn a_policy_can_hide_a_server() {
    let text = "@id(\"calls\")\npermit (principal, action == Action::\"call\", resource);";
    let world = Wish { policy: vec![("p.cedar".into(), text.into())], ..Wish::new(true) }.build().await;
    world.all().modern("tools/list", json!({})).await.refused(200, "policy_denied");
    world.all().call("ticket_read", json!({})).await.result();
}
