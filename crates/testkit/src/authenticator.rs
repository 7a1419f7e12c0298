//! An authenticator in software: it makes one passkey and signs with it, honestly or as it is told to lie.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ciborium::Value as Cbor;
use remit_model::json::sha256;
use remit_token::{Algorithm, PrivateKey};
use serde_json::{Value, json};

/// What a test may change before the next answer.
#[derive(Debug)]
pub struct Authenticator {
    key: PrivateKey,
    id: Vec<u8>,
    /// Which page the browser says it is on.
    pub origin: String,
    /// Whose passkey it is.
    pub rp: String,
    /// Counts up with each answer; one that stays 0 does not count.
    pub counter: u32,
    /// Person present, person verified.
    pub flags: u8,
    /// `type` of the client data, in place of the right one.
    pub kind: Option<&'static str>,
    /// Whether the page is inside one of another site.
    pub cross_origin: bool,
}

impl Authenticator {
    /// Of the site `http://localhost:8420`; each seed has another key.
    pub fn new(seed: u8) -> Self {
        Self {
            key: PrivateKey::from_seed(Algorithm::Ed25519, &[seed; 32]).unwrap(),
            id: vec![seed; 16],
            origin: "http://localhost:8420".to_owned(),
            rp: "localhost".to_owned(),
            counter: 1,
            flags: 5,
            kind: None,
            cross_origin: false,
        }
    }

    /// The credential id, base64url.
    pub fn id(&self) -> String {
        encode(&self.id)
    }

    /// The public key.
    pub fn jwk(&self) -> Value {
        self.key.public().to_jwk()
    }

    /// What a page sends when its passkey was made for this challenge (base64url).
    pub fn make(&mut self, challenge: &str) -> Value {
        let public = self.jwk().get("x").and_then(Value::as_str).unwrap().to_owned();
        let cose = Cbor::Map(vec![
            (Cbor::from(1), Cbor::from(1)),
            (Cbor::from(3), Cbor::from(-8)),
            (Cbor::from(-1), Cbor::from(6)),
            (Cbor::from(-2), Cbor::Bytes(URL_SAFE_NO_PAD.decode(public).unwrap())),
        ]);
        let mut data = self.data(0x40);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        ciborium::into_writer(&cose, &mut data).unwrap();
        self.attested(challenge, data)
    }

    /// The same around authenticator data of the test's own.
    pub fn attested(&self, challenge: &str, data: Vec<u8>) -> Value {
        let object = Cbor::Map(vec![
            (Cbor::from("fmt"), Cbor::from("none")),
            (Cbor::from("attStmt"), Cbor::Map(Vec::new())),
            (Cbor::from("authData"), Cbor::Bytes(data)),
        ]);
        let mut attestation = Vec::new();
        ciborium::into_writer(&object, &mut attestation).unwrap();
        json!({"client_data": encode(&self.client_data("webauthn.create", challenge)), "attestation": encode(&attestation)})
    }

    /// What a page sends when the passkey signed this challenge (base64url).
    pub fn sign(&mut self, challenge: &str) -> Value {
        self.counter += u32::from(self.counter > 0);
        let (data, client_data) = (self.data(0), self.client_data("webauthn.get", challenge));
        let signature = self.key.sign(&[data.as_slice(), &sha256(&client_data)].concat()).unwrap();
        json!({
            "credential": self.id(), "authenticator_data": encode(&data), "client_data": encode(&client_data),
            "signature": encode(&signature),
        })
    }

    fn data(&self, more: u8) -> Vec<u8> {
        let mut data = sha256(self.rp.as_bytes()).to_vec();
        data.push(self.flags | more);
        data.extend(self.counter.to_be_bytes());
        data
    }

    fn client_data(&self, kind: &str, challenge: &str) -> Vec<u8> {
        let kind = self.kind.unwrap_or(kind);
        let said = json!({"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": self.cross_origin});
        said.to_string().into_bytes()
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
