//! Keys, claims and a forge for tokens that no honest signer would make.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_model::{Authority, Code, Refusal, UnixTime};
use remit_token::{Actor, Algorithm, Delegation, KeySet, PrivateKey, Skew, access, assertion, dpop, id_token, statement};
use serde_json::{Value, json};

pub(crate) const ISSUER: &str = "https://remit.example";
pub(crate) const RESOURCE: &str = "https://remit.example/mcp/helpdesk";
pub(crate) const TOKEN_URL: &str = "https://remit.example/oauth/token";
pub(crate) const CLIENT: &str = "agent:planner";
pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);

pub(crate) fn ed25519(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(Algorithm::Ed25519, &[seed; 32]).unwrap()
}

pub(crate) fn es256(seed: u8) -> PrivateKey {
    PrivateKey::from_seed(Algorithm::Es256, &[seed; 32]).unwrap()
}

pub(crate) fn keys(key: &PrivateKey) -> KeySet {
    KeySet::of([key.public()])
}

pub(crate) fn authority() -> Authority {
    Authority::parse(&json!([{
        "type": "tool_access", "locations": [RESOURCE], "actions": ["tickets_read"], "arguments": {"/amount": {"max": 50}},
        "fields": ["/id", "/subject"], "delegate": {"to": ["agent:summarizer"], "depth": 1}, "not_after": 1_800_000_600,
    }]))
    .unwrap()
}

pub(crate) fn access_claims() -> access::Claims {
    let planner = Actor { iss: ISSUER.into(), sub: "agent:planner".into(), sub_profile: "ai_agent".into(), act: None };
    let summarizer = Actor {
        iss: ISSUER.into(),
        sub: "agent:summarizer".into(),
        sub_profile: "ai_agent".into(),
        act: Some(Box::new(planner)),
    };
    access::Claims {
        iss: ISSUER.into(),
        sub: "user:alice".into(),
        aud: RESOURCE.into(),
        client_id: CLIENT.into(),
        scope: "helpdesk:tickets_read".into(),
        jti: "token-2".into(),
        iat: NOW,
        exp: NOW.plus(600),
        auth_time: Some(NOW.plus(-100)),
        acr: Some("pwd".into()),
        amr: vec!["pwd".into()],
        cnf_jkt: Some(ed25519(9).public().thumbprint().to_owned()),
        cnf_x5t: None,
        act: Some(summarizer),
        authority: authority(),
        txn: "chain-1".into(),
        ancestors: vec!["token-1".into()],
        ancestor_keys: vec!["key-1".into()],
        ancestor_jkts: vec!["jkt-1".into()],
        purpose: Some("close stale tickets".into()),
        signed: None,
    }
}

pub(crate) fn verify_access(compact: &str, key: &PrivateKey) -> Result<access::AccessToken, Refusal> {
    let expect = access::Expect { issuer: ISSUER, audience: Some(RESOURCE) };
    access::verify(compact, &keys(key), &expect, NOW, Skew::default())
}

pub(crate) fn verify_assertion(compact: &str, key: &PrivateKey) -> Result<assertion::ClientAssertion, Refusal> {
    assertion::verify(
        compact,
        &keys(key),
        &assertion::Expect { client_id: CLIENT, issuer: ISSUER, token_endpoint: None },
        NOW,
        Skew::default(),
    )
}

pub(crate) fn id_claims() -> id_token::Claims {
    id_token::Claims {
        iss: ISSUER.into(),
        sub: "user:alice".into(),
        aud: CLIENT.into(),
        nonce: Some("n-0S6".into()),
        jti: Some("token-1".into()),
        iat: NOW,
        exp: NOW.plus(300),
        auth_time: Some(NOW),
        acr: Some("pwd".into()),
        amr: Vec::new(),
        consent: Some("sha-256:00".into()),
    }
}

pub(crate) fn verify_id(compact: &str, key: &PrivateKey) -> Result<id_token::IdToken, Refusal> {
    let expect = id_token::Expect { issuer: ISSUER, client_id: CLIENT, nonce: Some("n-0S6") };
    id_token::verify(compact, &keys(key), &expect, NOW, Skew::default())
}

pub(crate) fn delegation() -> Delegation {
    Delegation {
        delegate: "agent:summarizer".into(),
        jkt: ed25519(8).public().thumbprint().to_owned(),
        parent: "token-1".into(),
        authority: authority(),
        expires: NOW.plus(300),
        purpose: Some("summarise".into()),
    }
}

pub(crate) fn verify_statement(compact: &str) -> Result<statement::Statement, Refusal> {
    statement::verify(compact, &statement::Expect { issuer: ISSUER, bound_to: None }, NOW, Skew::default())
}

pub(crate) fn proof_for<'a>() -> dpop::ProofFor<'a> {
    dpop::ProofFor { method: "POST", url: RESOURCE, now: NOW, jti: "proof-1", ..dpop::ProofFor::default() }
}

pub(crate) fn expect_proof<'a>() -> dpop::Expect<'a> {
    dpop::Expect {
        method: "POST",
        url: RESOURCE,
        access_token: None,
        bound_to: None,
        known: None,
        nonce: dpop::NonceRule::Ignored,
        replay: None,
        now: NOW,
        window_secs: dpop::WINDOW_SECS,
    }
}

/// Signs any header and any payload, byte for byte.
pub(crate) fn forge_raw(header: &str, payload: &str, key: &PrivateKey) -> String {
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = key.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub(crate) fn forge(header: &Value, payload: &Value, key: &PrivateKey) -> String {
    forge_raw(&header.to_string(), &payload.to_string(), key)
}

/// The same token with its header and payload changed, signed again by `key`.
pub(crate) fn altered(compact: &str, key: &PrivateKey, change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let seen = remit_token::inspect_unverified(compact).unwrap();
    let (mut header, mut payload) = (json!(seen.header), json!(seen.claims));
    change(&mut header, &mut payload);
    forge(&header, &payload, key)
}

pub(crate) fn without(value: &mut Value, name: &str) {
    value.as_object_mut().unwrap().remove(name);
}

#[track_caller]
pub(crate) fn refused<T>(result: Result<T, Refusal>, code: Code) {
    let refusal = result.err();
    assert_eq!(refusal.as_ref().map(|refusal| refusal.code), Some(code), "{refusal:?}");
}
