//! What a person signs with a passkey when they let an agent act for them: the root signature of a chain.
//!
//! The document names everything that was agreed to and the digest of the text that the page showed; its SHA-256 is the challenge
//! that the authenticator signs. The ledger keeps the document and the assertion, so an auditor needs no word of the issuer.

use crate::claims;
use remit_model::{UnixTime, json};
use serde_json::{Value, json as object};

/// What a consent is about.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    pub issuer: &'a str,
    /// Subject of the person, for instance `user:alice`.
    pub person: &'a str,
    /// Subject of the agent, for instance `agent:planner`.
    pub agent: &'a str,
    pub redirect_uri: &'a str,
    /// `authorization_details`.
    pub authority: &'a Value,
    pub until: UnixTime,
    pub purpose: Option<&'a str>,
    /// `sha-256:…` of the text that the page showed.
    pub page: &'a str,
    /// Of one page that was shown once.
    pub nonce: &'a str,
}

impl Document<'_> {
    /// As a JSON object.
    pub fn to_value(&self) -> Value {
        let mut document = object!({
            "type": TYPE, "issuer": self.issuer, "person": self.person, "agent": self.agent, "redirect_uri": self.redirect_uri,
            "authority": self.authority, "until": self.until, "page": self.page, "nonce": self.nonce,
        });
        claims::insert_present(&mut document, [("purpose", self.purpose.map(|purpose| object!(purpose)))]);
        document
    }
}

const TYPE: &str = "remit.consent.v1";

/// The challenge that a document is: SHA-256 of its canonical form (RFC 8785).
pub fn challenge(document: &Value) -> [u8; 32] {
    json::sha256(&json::canonical(document))
}
