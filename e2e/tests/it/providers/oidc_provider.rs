//! `oidc-provider` (npm), several at once: each has people of its own, and none can answer for another. RFC 9207, RFC 9700 §4.4.

use super::{Browser, Proof, Provider, claims, consents, person, reads, script_server};
use crate::harness::{Remit, Running, Setup};
use remit_testkit::port;
use serde_json::{Value, json};

const ENTITLEMENTS: &str = "    entitlements:\n      - when: { groups: support }\n        scope: [\"helpdesk:tickets_read\"]\n";

/// Two providers, `north` with a secret and RSA, `south` with `private_key_jwt` and P-256, and the server that knows both.
struct World {
    server: Remit,
    issuers: [String; 2],
    _providers: [Running; 2],
}

impl World {
    fn new() -> Self {
        let ports = [port(), port()];
        let issuers = ports.map(|port| format!("http://127.0.0.1:{port}"));
        let provider = |name, title, issuer, proof| Provider { name, title, issuer, client: "remit", proof, more: ENTITLEMENTS };
        let (setup, north) = Setup::new().provider(&provider("north", "North", &issuers[0], Proof::Secret));
        let (setup, south) = setup.provider(&provider("south", "South", &issuers[1], Proof::Key));
        let groups = json!({ "alice": ["support"] });
        let running = [
            json!({
                "port": ports[0], "alg": "RS256", "groups": groups,
                "client": { "client_id": "remit", "redirect_uris": [north.redirect_uri], "client_secret": north.secret },
            }),
            json!({
                "port": ports[1], "alg": "ES256", "groups": groups,
                "client": {
                    "client_id": "remit", "redirect_uris": [south.redirect_uri], "jwks": { "keys": [south.jwk] },
                    "token_endpoint_auth_method": "private_key_jwt", "token_endpoint_auth_signing_alg": "ES256",
                },
            }),
        ]
        .map(|script| script_server("oidc-provider.mjs", &script));
        let server = setup.start();
        server.agent("planner", &["helpdesk:tickets_read"]);
        Self { server, issuers, _providers: running }
    }

    fn browser(&self, name: &str) -> Browser {
        Browser::new(self.server.folder(), name)
    }
}

#[test]
fn f_02_several_providers_each_with_people_of_its_own() {
    let world = World::new();
    let mut subjects = Vec::new();
    for title in ["North", "South"] {
        let (token, _) = consents(&world.server, &world.browser(title), "planner", &person(title, "alice"));
        assert_eq!(reads(&world.server, "planner", &token)["structured"]["id"], "T-1001");
        subjects.push(claims(&token)["sub"].clone());
    }
    assert_ne!(subjects[0], subjects[1], "the same name at two providers is two people");
    for (name, alg, proof, issuer) in
        [("north", "RS256", "secret", &world.issuers[0]), ("south", "ES256", "private key", &world.issuers[1])]
    {
        let said = world.server.run(&["provider", "test", name]);
        println!("{said}");
        for line in [
            format!("metadata      {issuer}/.well-known/openid-configuration\n"),
            format!("key           {alg} "),
            "names itself  in every answer (RFC 9207)\n".to_owned(),
            format!("client        remit ({proof})\n"),
        ] {
            assert!(said.contains(&line), "{line:?} is not in:\n{said}");
        }
    }
}

/// An attacker who runs one provider, or has a code of it, signs no one in through the other.
#[test]
fn az_14_an_answer_of_one_provider_is_not_taken_at_the_address_of_another() {
    let world = World::new();
    let browser = world.browser("victim");
    let login = super::Login::of(&world.server, "planner");
    // The provider's answer, held back before it reaches Remit.
    let answer = |title: &str| -> String {
        let mut script = person(title, "alice");
        script["stop"] = json!("answer");
        let seen = browser.opens(&login.url, &script);
        seen["answer"].as_str().unwrap_or_else(|| panic!("{seen:#}")).to_owned()
    };
    let parameter = |url: &str, name: &str| -> String {
        let query = url.split_once('?').unwrap().1;
        query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).unwrap().to_owned()
    };
    let callback = |name: &str, pairs: &[(&str, &str)]| {
        let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{}/oauth/callback/{name}?{}", world.server.issuer, query.join("&"))
    };
    let problem = |url: &str| -> String {
        let seen: Value = browser.opens(url, &json!({ "provider": "none" }));
        assert_eq!(seen["end"], "problem", "{seen:#}");
        seen["problem"].as_str().unwrap().to_owned()
    };

    // 1. The whole answer of one, at the address of the other: its state was given out for the first.
    let north = answer("North");
    let moved = north.replace("/callback/north?", "/callback/south?");
    assert!(problem(&moved).contains("session_foreign"));
    // 2. The code of one in an exchange that was begun with the other.
    let code = parameter(&north, "code");
    let [north_iss, south_iss] = &world.issuers;
    for (iss, word) in [
        (Some(north_iss), "another issuer than the one that you were sent to"),
        (None, "does not name its issuer"),
        // It names itself rightly, and does not know the code.
        (Some(south_iss), "invalid_grant"),
    ] {
        let state = parameter(&answer("South"), "state");
        let mut pairs = vec![("code", code.as_str()), ("state", state.as_str())];
        pairs.extend(iss.map(|iss| ("iss", iss.as_str())));
        let said = problem(&callback("south", &pairs));
        assert!(said.contains("provider_answer_invalid") && said.contains(word), "{iss:?}: {said}");
        println!("{said}");
    }
    // 3. A code of the same provider, from another sign-in: it is bound to the other one's verifier.
    let (first, second) = (answer("South"), answer("South"));
    let state = parameter(&second, "state");
    let injected = callback("south", &[("code", &parameter(&first, "code")), ("state", &state), ("iss", south_iss)]);
    assert!(problem(&injected).contains("provider_answer_invalid"));
    login.given_up();
}
