//! The body of the target for passkeys. It panics where a property does not hold.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_model::json::sha256;
use remit_token::{
    Algorithm, PrivateKey, PublicKey,
    webauthn::{Assertion, Expect, Registration, RelyingParty},
};
use serde_json::json;
use std::sync::LazyLock;

const CHALLENGE: [u8; 32] = [7; 32];
const SITE: &str = "https://remit.example";

static KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::from_seed(Algorithm::Ed25519, &[1; 32]).expect("a seed is a key"));
static PARTY: LazyLock<RelyingParty> = LazyLock::new(|| RelyingParty::of(SITE).expect("a name is a site"));

/// An authenticator's answers: as the page sends them, as an attestation object, and as authenticator data under a good
/// signature, of which only those are accepted that say what an assertion must.
pub fn responses(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        sent(text);
    }
    made(bytes);
    signed(bytes);
}

fn expect() -> Expect<'static> {
    Expect { party: &PARTY, challenge: &CHALLENGE }
}

fn sent(text: &str) {
    if let Ok(registration) = Registration::read(text) {
        let _ = registration.verify(&expect());
    }
    if let Ok(assertion) = Assertion::read(text) {
        let _ = assertion.verify(KEY.public(), 0, &expect());
        let again = serde_json::to_string(&assertion).expect("what was read can be written");
        assert_eq!(Assertion::read(&again).expect("and read again"), assertion);
    }
}

fn made(attestation: &[u8]) {
    let text = json!({"client_data": client_data("webauthn.create"), "attestation": encode(attestation)}).to_string();
    let Ok(made) = Registration::read(&text).and_then(|registration| registration.verify(&expect())) else { return };
    let id = URL_SAFE_NO_PAD.decode(&made.id).expect("an id is base64url");
    assert!((1..=1023).contains(&id.len()), "an id of {} bytes", id.len());
    assert_eq!(PublicKey::from_jwk(&made.key.to_jwk()).expect("a key that was read is a key"), made.key);
    let offered = [Algorithm::Es256, Algorithm::Ed25519, Algorithm::Rs256];
    assert!(offered.contains(&made.key.algorithm()), "{:?} was not offered", made.key.algorithm());
}

fn signed(data: &[u8]) {
    let client_data = client_data("webauthn.get");
    let client = URL_SAFE_NO_PAD.decode(&client_data).expect("it was encoded here");
    let signature = KEY.sign(&[data, &sha256(&client)].concat()).expect("the key signs");
    let text = json!({
        "credential": "AAAA", "authenticator_data": encode(data), "client_data": client_data, "signature": encode(&signature),
    });
    let Ok(assertion) = Assertion::read(&text.to_string()) else { return };
    let Ok(said) = assertion.verify(KEY.public(), 3, &expect()) else { return };
    assert_eq!(data[..32], sha256(b"remit.example"), "another site");
    assert_eq!(data[32] & 0b0100_0101, 5, "no one was present and verified, or a passkey was made");
    assert!(said.counter > 3 && data[33..37] == said.counter.to_be_bytes(), "the counter stands still");
}

fn client_data(kind: &str) -> String {
    let stated = json!({"type": kind, "challenge": encode(&CHALLENGE), "origin": SITE, "crossOrigin": false});
    encode(stated.to_string().as_bytes())
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
