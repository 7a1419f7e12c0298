//! `remit` as an agent for which an issuer vouches: `--workload-token`.

use super::{UID, claims_of, jwks, key, now, publish};
use crate::harness::{Player, Remit, Setup, play, text};
use remit_token::sign_jws;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
};

const CLUSTER: &str = "https://k8s.example";

/// A cluster's pod beside a server that trusts the cluster.
struct Pod {
    server: Remit,
    file: PathBuf,
}

impl Pod {
    fn new() -> Self {
        let setup = Setup::new();
        let keys = publish(jwks("c", &key(2), "sig"));
        fs::write(setup.folder().join("bundle.json"), jwks("s", &key(4), "jwt-svid").to_string()).unwrap();
        let file = setup.folder().join("token");
        let server = setup
            .section(&format!(
                "workload_issuers:\n  prod: {{preset: kubernetes, issuer: {CLUSTER}, jwks_uri: {keys}}}\n\
                 spiffe:\n  trust_domains:\n    example.org: {{bundle_file: bundle.json}}\n"
            ))
            .start();
        let account = format!("prod/bots/planner/{UID}");
        server.run(&["agent", "add", "pod", "--scope", "helpdesk:*", "--autonomous", "--kubernetes", &account]);
        server.run(&["agent", "update", "pod", "--kubernetes", &account, "--spiffe-id", "spiffe://example.org/ns/bots/pod"]);
        let pod = Self { server, file };
        pod.project(&pod.token(600));
        pod
    }

    fn token(&self, lifetime: i64) -> String {
        let body = json!({
            "iss": CLUSTER, "sub": "system:serviceaccount:bots:planner", "aud": [self.server.issuer], "iat": now(),
            "exp": now() + lifetime, "kubernetes.io": {"namespace": "bots", "serviceaccount": {"name": "planner", "uid": UID}},
        });
        sign_jws("JWT", &key(2), Some(json!({"kid": "c"})), &body).unwrap()
    }

    fn svid(&self) -> String {
        let body = json!({"sub": "spiffe://example.org/ns/bots/pod", "aud": [self.server.issuer], "exp": now() + 200});
        sign_jws("JWT", &key(4), Some(json!({"kid": "s"})), &body).unwrap()
    }

    /// Puts the token where the platform would.
    fn project(&self, token: &str) {
        fs::write(&self.file, token).unwrap();
    }

    fn exchange(&self, more: &[&str]) -> Result<Value, String> {
        let args = ["token", "exchange", "--agent", "pod", "--server", "helpdesk", "--workload-token", text(&self.file)];
        let output = self.server.command(&[&args, more].concat()).output().unwrap();
        if output.status.success() {
            return Ok(claims_of(String::from_utf8(output.stdout).unwrap().trim()));
        }
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

#[test]
fn each_instance_has_a_new_key_and_the_token_of_its_platform() {
    let pod = Pod::new();
    let (one, two) = (pod.exchange(&[]).unwrap(), pod.exchange(&[]).unwrap());
    assert_eq!((&one["sub"], &two["sub"]), (&json!("agent:pod"), &json!("agent:pod")));
    assert_ne!(one["cnf"]["jkt"], two["cnf"]["jkt"]);
    // Nothing is written down.
    assert!(!pod.server.folder().join("agents/pod.pem").exists());
    // A key that is named binds the tokens of all its processes.
    let named = pod.server.folder().join("instance.pem");
    fs::write(&named, key(5).to_pkcs8_pem().unwrap().as_bytes()).unwrap();
    private(&named);
    assert_eq!(pod.exchange(&["--key", text(&named)]).unwrap()["cnf"]["jkt"], key(5).public().thumbprint());
    // An SVID as it is, and as `spire-agent api fetch jwt -output json` prints it.
    pod.project(&format!("{}\n", pod.svid()));
    assert_eq!(pod.exchange(&[]).unwrap()["sub"], "agent:pod");
    pod.project(
        &json!([{"svids": [{"spiffe_id": "spiffe://example.org/ns/bots/pod", "svid": pod.svid()}]}, {"bundles": {}}]).to_string(),
    );
    assert_eq!(pod.exchange(&[]).unwrap()["sub"], "agent:pod");
}

#[test]
fn what_is_wrong_with_a_workload_token_is_said() {
    let pod = Pod::new();
    for (token, word) in [
        (String::new(), "token"),
        ("not a token".to_owned(), "token"),
        ("[]".to_owned(), "svids"),
        (pod.token(-60), "expired"),
        (pod.token(9_000), "lives longer than 3600"),
        (pod.token(600).replace("eyJ", "eyI"), "client authentication failed"),
    ] {
        pod.project(&token);
        let told = pod.exchange(&[]).unwrap_err();
        assert!(told.contains(word), "{word}: {told}");
    }
    fs::remove_file(&pod.file).unwrap();
    assert!(pod.exchange(&[]).unwrap_err().contains("cannot read"));
    // A person's sign-in is kept for the next process, whose key would be another.
    let login = ["connect", "helpdesk", "--agent", "pod", "--login", "--workload-token", text(&pod.file)];
    let told = pod.server.command(&login).output().unwrap();
    assert!(!told.status.success() && String::from_utf8_lossy(&told.stderr).contains("--key"), "{told:?}");
}

#[test]
fn connect_calls_tools_with_the_token_of_the_platform() {
    let pod = Pod::new();
    let connect = json!({
        "command": crate::harness::binary(),
        "args": ["connect", "helpdesk", "--agent", "pod", "--workload-token", pod.file, "-c", pod.server.config()],
    });
    let calls = json!([{ "name": "tickets_list", "arguments": {} }]);
    let played = play(Player::TypeScriptModern, &connect, &calls);
    assert!(played["calls"][0]["text"].as_str().is_some_and(|text| text.contains("T-")), "{played}");
}

fn private(file: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}
