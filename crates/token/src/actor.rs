//! The `act` claim: who acts, and through whom. SPEC: RFC 8693 §4.1, DC-03, DC-04.

use crate::claims::malformed;
use remit_model::{Chain, PrincipalKind, Refusal, chain::HARD_DEPTH, id::Principal};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The `sub_profile` of a person.
const USER: &str = "user";

/// One actor with the earlier actors beneath it. Only the outermost one counts for access decisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    pub iss: String,
    pub sub: String,
    /// `ai_agent` or `user`.
    pub sub_profile: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub act: Option<Box<Self>>,
}

impl Actor {
    /// This actor and the earlier ones, current first.
    pub fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |actor| actor.act.as_deref())
    }

    /// The principal that this level of `act` names (RFC 8693 §4.1).
    pub fn principal(&self) -> Principal {
        let kind = if self.sub_profile == USER { PrincipalKind::Human } else { PrincipalKind::Agent };
        Principal::new(&self.iss, &self.sub, kind)
    }

    pub(crate) fn parse(value: &Value) -> Result<Self, Refusal> {
        let actor = Self::deserialize(value).map_err(|_| malformed("`act` is not a nest of {iss, sub, sub_profile, act}"))?;
        if actor.chain().count() > HARD_DEPTH {
            return Err(malformed(format!("`act` nests more than {HARD_DEPTH} actors")));
        }
        Ok(actor)
    }
}

/// The whole chain as nested `act`, current actor outermost; `None` when the root acts for itself (DC-02).
pub fn nested_act(chain: &Chain) -> Option<Actor> {
    chain.hops.iter().fold(None, |inner, hop| {
        let sub_profile = match hop.delegate.kind() {
            PrincipalKind::Human => USER,
            PrincipalKind::Agent => "ai_agent",
        };
        Some(Actor {
            iss: hop.delegate.iss.clone(),
            sub: hop.delegate.sub.clone(),
            sub_profile: sub_profile.to_owned(),
            act: inner.map(Box::new),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::nested_act;
    use remit_model::{
        Authority, Chain, EdgeProof, Hop, UnixTime,
        id::{AgentId, Principal},
    };
    use serde_json::json;

    #[test]
    fn dc_03_the_current_actor_is_outermost() {
        let root = Principal::human("https://as", "alice");
        let agent = |name: &str| Principal::agent("https://as", &AgentId::parse(name).unwrap());
        let mut chain = Chain::new("t".into(), root.clone());
        assert_eq!(nested_act(&chain), None);
        for (delegator, delegate) in [(root, agent("planner")), (agent("planner"), agent("summarizer"))] {
            chain.hops.push(Hop {
                delegator,
                delegate,
                jkt: None,
                x5t: None,
                authority: Authority::none(),
                purpose: None,
                expires: UnixTime(0),
                jti: String::new(),
                edge: EdgeProof::IdToken(String::new()),
                signed: None,
            });
        }
        assert_eq!(
            json!(nested_act(&chain)),
            json!({"iss": "https://as", "sub": "agent:summarizer", "sub_profile": "ai_agent", "act": {
                "iss": "https://as", "sub": "agent:planner", "sub_profile": "ai_agent",
            }})
        );
    }
}
