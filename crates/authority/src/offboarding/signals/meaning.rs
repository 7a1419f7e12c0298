//! What an event means here. SPEC: CAEP 1.0 §3, RISC 1.0 §2, SSF 1.0 §8.1.4, §8.1.5; SS-10

use serde_json::{Map, Value};

const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/";
const RISC: &str = "https://schemas.openid.net/secevent/risc/event-type/";
const SSF: &str = "https://schemas.openid.net/secevent/ssf/event-type/";

/// An event that we know, by its word in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) name: &'static str,
    pub(super) effect: Effect,
}

/// What an event does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Everything that the person handed out ends.
    Ends,
    /// Nothing: the person, or what they signed in with, is as good as before.
    Nothing,
    /// It is about the stream, not about a person.
    Stream,
}

impl Meaning {
    /// `None` for an event that we do not know.
    pub(super) fn of(event: &str, payload: &Map<String, Value>) -> Option<Self> {
        let known = |name, effect| Some(Self { name, effect });
        let all: &[(&'static str, Effect)] = match event {
            event if event.starts_with(CAEP) => &[
                ("session-revoked", Effect::Ends),
                ("credential-change", Effect::Ends),
                ("token-claims-change", Effect::Nothing),
                ("assurance-level-change", Effect::Nothing),
                ("device-compliance-change", Effect::Nothing),
                ("session-established", Effect::Nothing),
                ("session-presented", Effect::Nothing),
                ("risk-level-change", Effect::Nothing),
            ],
            event if event.starts_with(RISC) => &[
                ("account-credential-change-required", Effect::Ends),
                ("account-disabled", Effect::Ends),
                ("account-purged", Effect::Ends),
                ("credential-compromise", Effect::Ends),
                ("sessions-revoked", Effect::Ends),
                ("account-enabled", Effect::Nothing),
                ("identifier-changed", Effect::Nothing),
                ("identifier-recycled", Effect::Nothing),
            ],
            event if event.starts_with(SSF) => &[("verification", Effect::Stream), ("stream-updated", Effect::Stream)],
            _ => return None,
        };
        let name = event.rsplit('/').next().unwrap_or_default();
        let (name, effect) = *all.iter().find(|(known, _)| *known == name && event.ends_with(&format!("/event-type/{name}")))?;
        // SPEC: CAEP 1.0 §3.3.1: a credential that is new takes nothing away. Any other change, or one that is not stated, does.
        if name == "credential-change" && payload.get("change_type").and_then(Value::as_str) == Some("create") {
            return known(name, Effect::Nothing);
        }
        known(name, effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ss_10_an_event_is_known_by_its_whole_uri() {
        let meaning = |event: &str, payload: Value| Meaning::of(event, payload.as_object().unwrap()).map(|known| known.effect);
        for (event, payload, effect) in [
            (format!("{CAEP}session-revoked"), json!({}), Some(Effect::Ends)),
            (format!("{CAEP}credential-change"), json!({"change_type": "revoke"}), Some(Effect::Ends)),
            (format!("{CAEP}credential-change"), json!({"change_type": "update"}), Some(Effect::Ends)),
            (format!("{CAEP}credential-change"), json!({}), Some(Effect::Ends)),
            (format!("{CAEP}credential-change"), json!({"change_type": "create"}), Some(Effect::Nothing)),
            (format!("{RISC}account-disabled"), json!({"reason": "hijacking"}), Some(Effect::Ends)),
            (format!("{RISC}sessions-revoked"), json!({}), Some(Effect::Ends)),
            (format!("{RISC}account-enabled"), json!({}), Some(Effect::Nothing)),
            (format!("{SSF}verification"), json!({"state": "1"}), Some(Effect::Stream)),
            (format!("{RISC}session-revoked"), json!({}), None),
            (format!("{CAEP}x/session-revoked"), json!({}), None),
            (format!("{CAEP}Session-Revoked"), json!({}), None),
            ("https://evil.example/event-type/session-revoked".to_owned(), json!({}), None),
            (String::new(), json!({}), None),
        ] {
            assert_eq!(meaning(&event, payload), effect, "{event}");
        }
    }
}
