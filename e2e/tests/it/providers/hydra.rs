//! Ory Hydra: OpenID Connect discovery alone, ES256, and who signs in is for a program of the organisation to say.

use super::{Proof, Provider, claims, consents_with_a_new_key, part, person, reads, script_server, web::Web};
use crate::{
    harness::{Remit, Running, Setup, succeed},
    workload::both_verify,
};
use remit_testkit::{port, wait_until};
use serde_json::{Value, json};
use std::process::Command;
use tempfile::TempDir;

struct Hydra {
    issuer: String,
    admin: String,
    web: Web,
    _running: [Running; 2],
    _folder: TempDir,
}

impl Hydra {
    fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let (public, admin, people) = (port(), port(), port());
        let issuer = format!("http://127.0.0.1:{public}");
        let hydra = |words: &[&str]| {
            let mut command = Command::new(part("REMIT_E2E_HYDRA").join("hydra"));
            let database = folder.path().join("hydra.sqlite");
            command.args(words).env("DSN", format!("sqlite://{}?_fk=true&mode=rwc", database.display()));
            command.env("SECRETS_SYSTEM", "only-for-tests-on-loopback-0123456789").env("URLS_SELF_ISSUER", &issuer);
            command.env("URLS_LOGIN", format!("http://127.0.0.1:{people}/login"));
            command.env("URLS_CONSENT", format!("http://127.0.0.1:{people}/consent"));
            for (name, port) in [("PUBLIC", public), ("ADMIN", admin)] {
                command.env(format!("SERVE_{name}_HOST"), "127.0.0.1").env(format!("SERVE_{name}_PORT"), port.to_string());
            }
            command
        };
        succeed(hydra(&["migrate", "sql", "up", "-e", "--yes"]));
        let running = Running::start(hydra(&["serve", "all", "--dev", "--sqa-opt-out"]), "Setting up http server");
        let admin = format!("http://127.0.0.1:{admin}");
        let groups = json!({ "alice": ["support"] });
        let people = script_server("hydra-people.mjs", &json!({ "port": people, "admin": admin, "groups": groups }));
        let web = Web::new();
        wait_until("Hydra is ready", || web.try_get(&format!("{admin}/health/ready")).is_some_and(|answer| answer.status == 200));
        Self { issuer, admin, web, _running: [running, people], _folder: folder }
    }

    /// A further key for ID tokens, which signs from now on.
    fn new_key(&self, kid: &str) {
        let key = json!({ "alg": "ES256", "use": "sig", "kid": kid });
        self.web.json("POST", &format!("{}/admin/keys/hydra.openid.id-token", self.admin), &[], &key).done();
    }

    fn server(&self) -> Remit {
        let entitlements = "    entitlements:\n      - when: { groups: support }\n        scope: [\"helpdesk:tickets_read\"]\n";
        let provider = Provider {
            name: "corp",
            title: "Corp",
            issuer: &self.issuer,
            client: "remit",
            proof: Proof::Secret,
            more: entitlements,
        };
        let (setup, registered) = Setup::new().provider(&provider);
        let client = json!({
            "client_id": "remit", "client_secret": registered.secret, "redirect_uris": [registered.redirect_uri],
            "grant_types": ["authorization_code"], "response_types": ["code"], "scope": "openid profile",
            "token_endpoint_auth_method": "client_secret_basic",
        });
        self.web.json("POST", &format!("{}/admin/clients", self.admin), &[], &client).done();
        let server = setup.start();
        server.agent("planner", &["helpdesk:tickets_read"]);
        server
    }
}

#[test]
#[ignore = "needs Ory Hydra: cargo xtask interop hydra"]
fn people_sign_in_through_hydra_and_its_keys_rotate() {
    let hydra = Hydra::start();
    // Hydra makes an RSA key by itself when there is none before the first token.
    hydra.new_key("first");
    let server = hydra.server();
    let said = server.run(&["provider", "test", "corp"]);
    println!("{said}");
    for line in [
        &format!("metadata      {}/.well-known/openid-configuration\n", hydra.issuer),
        "key           ES256 first\n",
        "client        remit (secret)\n",
    ] {
        assert!(said.contains(line), "{line:?} is not in:\n{said}");
    }
    let signs_in = |browser: &str| -> Value {
        let (token, _) = consents_with_a_new_key(&server, browser, "planner", &person("Corp", "alice"));
        assert_eq!(reads(&server, "planner", &token)["structured"]["id"], "T-1001");
        claims(&token)
    };
    let before = signs_in("before");
    assert_eq!((&before["acr"], &before["amr"]), (&json!("pwd"), &json!(["pwd"])), "{before:#}");
    hydra.new_key("second");
    let after = signs_in("after");
    assert_eq!(after["sub"], before["sub"], "the same person, with a key that was not known");
    both_verify(server, 2);
}
