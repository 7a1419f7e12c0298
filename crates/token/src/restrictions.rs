//! What a token says of its own exchange. SPEC: RFC 8693 §4.4, DC-05 (4).
//!
//! Both claims only restrict: they name no identity, and no output copies them.

use crate::claims::{ID_LIMIT, malformed};
use remit_model::{Principal, Refusal};
use serde_json::{Map, Value, json};

/// The claim that lets a token be exchanged once.
const SINGLE_USE: &str = "urn:remit:single_use";

/// Who alone may become the actor, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restrictions {
    /// `may_act`.
    pub may_act: Option<MayAct>,
    /// Whether one exchange uses the token up as a subject token.
    pub single_use: bool,
}

/// The party that alone may become the actor. Without `iss` it is one of the issuer of the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MayAct {
    /// Its issuer.
    pub iss: Option<String>,
    /// Its subject there.
    pub sub: String,
}

impl Restrictions {
    /// Whether the token says nothing of its exchange.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// The claims, as a token has them.
    pub fn claims(&self) -> Map<String, Value> {
        let mut claims = Map::new();
        if let Some(MayAct { iss, sub }) = &self.may_act {
            let mut named = json!({"sub": sub});
            crate::claims::insert_present(&mut named, [("iss", iss.as_ref().map(|iss| json!(iss)))]);
            claims.insert("may_act".to_owned(), named);
        }
        if self.single_use {
            claims.insert(SINGLE_USE.to_owned(), Value::Bool(true));
        }
        claims
    }

    /// Reads them from the claims of a token.
    ///
    /// # Errors
    /// `token_malformed`, also for a `may_act` with members that are not understood: what they restrict would be lost.
    pub fn read(claims: &Map<String, Value>) -> Result<Self, Refusal> {
        let single_use = match claims.get(SINGLE_USE) {
            None => false,
            Some(Value::Bool(single_use)) => *single_use,
            Some(_) => return Err(malformed(format!("`{SINGLE_USE}` is neither true nor false"))),
        };
        Ok(Self { may_act: claims.get("may_act").map(MayAct::read).transpose()?, single_use })
    }

    /// Whether this principal may become the actor of a token of `issuer`. SPEC: N-TX-15, N-DC-05
    pub fn admits(&self, actor: &Principal, issuer: &str) -> bool {
        let named = |may_act: &MayAct| may_act.sub == actor.sub && may_act.iss.as_deref().unwrap_or(issuer) == actor.iss;
        self.may_act.as_ref().is_none_or(named)
    }
}

impl MayAct {
    fn read(value: &Value) -> Result<Self, Refusal> {
        let members = value.as_object().ok_or_else(|| malformed("`may_act` is not an object"))?;
        if let Some(unknown) = members.keys().find(|name| !["iss", "sub", "sub_profile"].contains(&name.as_str())) {
            return Err(malformed(format!("`may_act` has the member `{}`, which is not understood here", excerpt(unknown))));
        }
        if members.get("sub_profile").is_some_and(|profile| profile != "ai_agent") {
            return Err(malformed("`may_act` names something else than an agent"));
        }
        let text = |name: &str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if (1..=8 * ID_LIMIT).contains(&text.len()) => Ok(Some(text.clone())),
            Some(_) => Err(malformed(format!("`{name}` of `may_act` is not a text of at most {} bytes", 8 * ID_LIMIT))),
        };
        let sub = text("sub")?.ok_or_else(|| malformed("`may_act` has no `sub`"))?;
        Ok(Self { iss: text("iss")?, sub })
    }
}

fn excerpt(name: &str) -> String {
    remit_model::display::excerpt(name, 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use remit_model::AgentId;

    fn read(claims: &Value) -> Result<Restrictions, Refusal> {
        Restrictions::read(claims.as_object().unwrap())
    }

    fn planner(issuer: &str) -> Principal {
        Principal::agent(issuer, &AgentId::parse("planner").unwrap())
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let may_act = Some(MayAct { iss: Some("https://as".to_owned()), sub: "agent:planner".to_owned() });
        for single_use in [false, true] {
            let said = Restrictions { may_act: may_act.clone(), single_use };
            assert_eq!(Restrictions::read(&said.claims()).unwrap(), said);
        }
        assert!(Restrictions::default().claims().is_empty());
        assert!(read(&json!({"sub": "x"})).unwrap().is_none());
    }

    #[test]
    fn n_dc_05_may_act_without_iss_is_of_the_tokens_issuer() {
        let said = read(&json!({"may_act": {"sub": "agent:planner"}})).unwrap();
        assert!(said.admits(&planner("https://as"), "https://as"));
        assert!(!said.admits(&planner("https://as"), "https://idp"), "the token is of another issuer, and so is its actor");
        let said = read(&json!({"may_act": {"sub": "agent:planner", "iss": "https://as"}})).unwrap();
        assert!(said.admits(&planner("https://as"), "https://idp"));
        assert!(!said.admits(&planner("https://evil"), "https://as"));
    }

    #[test]
    fn n_tx_15_any_other_actor_is_not_admitted() {
        let said = read(&json!({"may_act": {"sub": "agent:scribe", "sub_profile": "ai_agent"}})).unwrap();
        assert!(!said.admits(&planner("https://as"), "https://as"));
        assert!(Restrictions::default().admits(&planner("https://as"), "https://as"), "absent, it restricts nothing");
    }

    #[test]
    fn dc_05_what_is_not_understood_does_not_pass_as_no_restriction() {
        for may_act in [
            json!("agent:planner"),
            json!(null),
            json!([]),
            json!({}),
            json!({"iss": "https://as"}),
            json!({"sub": ""}),
            json!({"sub": 1}),
            json!({"sub": "agent:planner", "iss": null}),
            json!({"sub": "agent:planner", "client_id": "x"}),
            json!({"sub": "agent:planner", "sub_profile": "user"}),
            json!({"sub": "x".repeat(8 * ID_LIMIT + 1)}),
        ] {
            assert!(read(&json!({"may_act": may_act})).is_err(), "{may_act}");
        }
        assert!(read(&json!({"urn:remit:single_use": "false"})).is_err());
    }
}
