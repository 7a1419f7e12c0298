//! Rate limits per client at the OAuth endpoints. SPEC: TK-11.

use crate::{flow::Browser, world::*};
use remit_authority::Settings;
use remit_model::Rate;

const RATE: Rate = Rate { per_second: 2, burst: 3 };

#[tokio::test]
async fn tk_11_a_client_over_its_rate_is_told_when_to_come_back_and_another_is_not_slowed() {
    let world = World::with(Settings { rate: RATE, ..Settings::default() }).await;
    for _ in 0..3 {
        world.own_token(&world.planner, &[("scope", "files:read")]).await;
    }
    let over = world.token(&world.planner, &[("grant_type", "client_credentials"), ("scope", "files:read")]).await;
    over.refused("temporarily_unavailable", "rate_limited");
    assert_eq!((over.status.as_u16(), over.headers["retry-after"].to_str().unwrap()), (429, "1"));
    assert!(over.body["remit_record"].is_string(), "it is recorded as long as there are few: {}", over.body);
    // The limit is the client's, at all of these endpoints together.
    let form = world.authenticated(&world.planner);
    for path in ["/oauth/introspect", "/oauth/revoke"] {
        world.post(path, &form, &[]).await.refused("temporarily_unavailable", "rate_limited");
    }
    world.own_token(&world.summarizer, &[("scope", "files:read")]).await;
    world.advance(1);
    for _ in 0..2 {
        world.own_token(&world.planner, &[("scope", "files:read")]).await;
    }
    world.token(&world.planner, &[("grant_type", "client_credentials")]).await.refused("temporarily_unavailable", "rate_limited");
}

#[tokio::test]
async fn tk_11_an_assertion_that_was_refused_for_the_rate_is_not_used_up() {
    let world = World::with(Settings { rate: Rate { per_second: 1, burst: 1 }, ..Settings::default() }).await;
    world.own_token(&world.planner, &[("scope", "files:read")]).await;
    let mut form = world.authenticated(&world.planner);
    form.extend(fields(&[("grant_type", "client_credentials"), ("scope", "files:read")]));
    let send = async || world.post("/oauth/token", &form, &[("dpop", world.proof(&world.planner.dpop))]).await;
    send().await.refused("temporarily_unavailable", "rate_limited");
    world.advance(1);
    send().await.access_token();
}

#[tokio::test]
async fn tk_11_a_stranger_does_not_use_up_the_rate_of_a_client() {
    let world = World::with(Settings { rate: RATE, ..Settings::default() }).await;
    let claimed = fields(&[("grant_type", "client_credentials"), ("client_id", &world.planner.sub)]);
    for _ in 0..20 {
        world.post("/oauth/token", &claimed, &[]).await.refused("invalid_client", "client_unauthenticated");
    }
    world.own_token(&world.planner, &[("scope", "files:read")]).await;
}

#[tokio::test]
async fn tk_11_a_host_with_many_addresses_of_its_network_has_one_limit_in_the_name_of_a_public_client() {
    let world = World::with(Settings { rate: RATE, ..Settings::default() }).await;
    let form = fields(&[("grant_type", "authorization_code"), ("client_id", "agent:public"), ("code", "guess")]);
    let send = async |address: &str| {
        let mut browser = Browser { address: Some(address.parse().unwrap()), ..Browser::default() };
        browser.post(&world, "/oauth/token", &form).await.body["remit_code"].as_str().unwrap() == "rate_limited"
    };
    for address in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:ffff:ffff:ffff"] {
        assert!(!send(address).await, "{address}");
    }
    assert!(send("2001:db8::3:1").await, "the same /64");
    assert!(!send("2001:db8:0:1::1").await, "another /64");
    for _ in 0..3 {
        assert!(!send("192.0.2.1").await);
    }
    assert!(send("::ffff:192.0.2.1").await, "the same address in another spelling");
    assert!(!send("192.0.2.2").await, "another address");
}
