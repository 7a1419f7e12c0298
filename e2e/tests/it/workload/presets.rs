//! The presets with RS256 tokens as the services write them: every header member, every kind of claim.

use super::{JWT_BEARER, ask, fresh, granted, now, publish, refused};
use crate::harness::{Remit, Setup};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

const GITHUB: &str = "https://token.actions.githubusercontent.com";
const GITLAB: &str = "https://gitlab.com";
const GOOGLE: &str = "https://accounts.google.com";
const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";

/// A service with its signing key.
struct Service(RsaKeyPair);

impl Service {
    fn new() -> Self {
        Self(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    /// Its key set, as GitHub publishes it: with certificates, which say nothing here.
    fn keys(&self) -> Value {
        // RSAPublicKey of RFC 8017 §A.1.1: two headers of four bytes and a zero come before a modulus of 2048 bits.
        let n = URL_SAFE_NO_PAD.encode(&self.0.public_key().as_ref()[9..265]);
        json!({"keys": [{
            "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "cc413527-173f-5a05-976e-9c52b1d7b431", "n": n, "e": "AQAB",
            "x5t": "k5zyrQhCWjRNH3XKXwnTYZ5nmYI", "x5c": ["MIIDrDCCApSgAwIBAgIQ"],
        }]})
    }

    fn sign(&self, header: &Value, claims: &Value, change: &Value) -> String {
        let mut claims = claims.clone();
        for (name, value) in change.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        let mut head = json!({"alg": "RS256", "kid": "cc413527-173f-5a05-976e-9c52b1d7b431", "typ": "JWT"});
        for (name, value) in header.as_object().unwrap() {
            head[name] = value.clone();
        }
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", encode(&head), encode(&claims));
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn github(server: &Remit) -> Value {
    let at = now();
    json!({
        "jti": fresh(), "sub": "repo:octo-org/octo-repo:environment:prod", "aud": server.issuer, "iss": GITHUB,
        "nbf": at - 600, "exp": at + 300, "iat": at, "environment": "prod", "ref": "refs/heads/main", "ref_type": "branch",
        "ref_protected": "true", "sha": "7fd1a60b01f91b314f59955a4e4d4e80d8edf11d", "repository": "octo-org/octo-repo",
        "repository_id": "74", "repository_owner": "octo-org", "repository_owner_id": "65", "repository_visibility": "private",
        "run_id": "30433642", "run_number": "10", "run_attempt": "2", "runner_environment": "github-hosted", "actor": "octocat",
        "actor_id": "12", "workflow": "deploy", "workflow_ref": "octo-org/octo-repo/.github/workflows/deploy.yml@refs/heads/main",
        "workflow_sha": "7fd1a60b01f91b314f59955a4e4d4e80d8edf11d", "head_ref": "", "base_ref": "", "event_name": "workflow_dispatch",
        "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
    })
}

fn gitlab(server: &Remit) -> Value {
    let at = now();
    json!({
        "jti": fresh(), "sub": "project_path:my-group/my-project:ref_type:branch:ref:main", "aud": server.issuer, "iss": GITLAB,
        "nbf": at - 5, "exp": at + 3_600, "iat": at, "namespace_id": "72", "namespace_path": "my-group", "project_id": "20",
        "project_path": "my-group/my-project", "user_id": "1", "user_login": "sample-user", "user_email": "sample@example.com",
        "user_identities": [{"provider": "saml", "extern_uid": "2435"}], "pipeline_id": "574", "pipeline_source": "push",
        "job_id": "302", "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true",
        "groups_direct": ["my-group"], "runner_id": 1, "runner_environment": "self-hosted", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "project_visibility": "public", "ci_config_ref_uri": "gitlab.com/my-group/my-project//.gitlab-ci.yml@refs/heads/main",
    })
}

/// An identity token of a service account of Google Cloud: no `jti`, and an `azp`.
fn google(server: &Remit) -> Value {
    let at = now();
    json!({
        "aud": server.issuer, "azp": "113774264463038321964", "email": "planner@project.iam.gserviceaccount.com",
        "email_verified": true, "exp": at + 3_600, "iat": at, "iss": GOOGLE, "sub": "113774264463038321964",
    })
}

fn pod(server: &Remit) -> Value {
    let at = now();
    json!({
        "aud": [server.issuer], "exp": at + 3_600, "iat": at, "iss": CLUSTER, "jti": fresh(), "nbf": at,
        "kubernetes.io": {
            "namespace": "bots", "node": {"name": "node-1", "uid": "646e7c5e"}, "pod": {"name": "planner-5f", "uid": "aef1"},
            "serviceaccount": {"name": "planner", "uid": "5d1a3d10"}, "warnafter": at + 3_000,
        },
        "sub": "system:serviceaccount:bots:planner",
    })
}

#[test]
fn tokens_as_the_services_write_them() {
    let service = Service::new();
    let keys = publish(service.keys());
    let setup = Setup::new().section(&format!(
        "workload_issuers:\n  github: {{preset: github, jwks_uri: \"{keys}\"}}\n  gitlab: {{preset: gitlab, jwks_uri: \"{keys}\"}}\n  \
         google: {{issuer: \"{GOOGLE}\", jwks_uri: \"{keys}\", single_use: false, required_claims: [sub]}}\n  \
         prod: {{preset: kubernetes, issuer: \"{CLUSTER}\", jwks_uri: \"{keys}\"}}\n"
    ));
    let server = setup.start();
    let add = |name: &str, credential: &[&str]| {
        server.run(&[&["agent", "add", name, "--scope", "helpdesk:*", "--autonomous"], credential].concat());
    };
    add("deploy", &["--federated", "github", "repository_id=74", "repository_owner_id=65", "environment=prod"]);
    add("pipeline", &["--federated", "gitlab", "project_id=20", "namespace_id=72", "ref=main", "ref_protected=true"]);
    add("cloud", &["--federated", "google", "sub=113774264463038321964", "azp=113774264463038321964"]);
    add("pod", &["--kubernetes", "prod/bots/planner/5d1a3d10"]);
    let plain = json!({});
    let x5t = json!({"x5t": "k5zyrQhCWjRNH3XKXwnTYZ5nmYI"});
    for (agent, token) in [
        ("deploy", service.sign(&x5t, &github(&server), &plain)),
        ("pipeline", service.sign(&plain, &gitlab(&server), &plain)),
        ("cloud", service.sign(&plain, &google(&server), &plain)),
        ("pod", service.sign(&plain, &pod(&server), &plain)),
    ] {
        granted(ask(&server, agent, JWT_BEARER, &token));
    }
    // What tells a run of the same repository apart.
    for (change, word) in [
        (json!({"environment": "staging"}), "`environment` is another"),
        (json!({"environment": null}), "`environment` is another"),
        (json!({"repository_id": 75}), "`repository_id` is another"),
        (json!({"repository_owner_id": "66"}), "`repository_owner_id` is another"),
        (json!({"event_name": "pull_request_target"}), "not merged"),
        (json!({"aud": "https://github.com/octo-org"}), "aud"),
        (json!({"iat": now() - 700}), "more than 600 seconds ago"),
        (json!({"iss": "https://token.actions.githubusercontent.com/octo-org"}), "client authentication failed"),
    ] {
        refused(ask(&server, "deploy", JWT_BEARER, &service.sign(&x5t, &github(&server), &change)), word);
    }
    for (change, word) in [
        (json!({"ref_protected": "false"}), "`ref_protected` is another"),
        (json!({"pipeline_source": "merge_request_event"}), "not merged"),
        (json!({"project_id": "21"}), "`project_id` is another"),
        (json!({"jti": null}), "jti"),
    ] {
        refused(ask(&server, "pipeline", JWT_BEARER, &service.sign(&plain, &gitlab(&server), &change)), word);
    }
    let other = json!({"sub": "1", "azp": "1"});
    refused(ask(&server, "cloud", JWT_BEARER, &service.sign(&plain, &google(&server), &other)), "is another");
    let person = json!({"nonce": "n", "at_hash": "h"});
    refused(ask(&server, "cloud", JWT_BEARER, &service.sign(&plain, &google(&server), &person)), "ID token");
    // The tokens of one service prove no agent of another, though all have one key here.
    let crossed = service.sign(&plain, &github(&server), &json!({"iss": GITLAB}));
    refused(ask(&server, "deploy", JWT_BEARER, &crossed), "client authentication failed");
    // Another key under the same name.
    let forged = Service::new().sign(&x5t, &github(&server), &plain);
    refused(ask(&server, "deploy", JWT_BEARER, &forged), "client authentication failed");
}
