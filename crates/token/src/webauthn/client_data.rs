//! What the browser says a passkey was asked for. SPEC: Web Authentication §5.8.1, §7.1 steps 7 to 12, §7.2 steps 11 to 15.

use super::expect::{Expect, invalid};
use crate::base64url::decode;
use remit_model::{Refusal, json};
use serde_json::{Map, Value};

/// What a passkey was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ceremony {
    Create,
    Get,
}

/// Checks the ceremony, the challenge and the origin. Members that are not known are passed over, as §5.8.1.2 asks.
///
/// # Errors
/// `passkey_invalid`.
pub(super) fn check(bytes: &[u8], ceremony: Ceremony, expect: &Expect<'_>) -> Result<(), Refusal> {
    let Ok(Value::Object(members)) = json::parse(bytes, &json::Limits::TOKEN) else {
        return Err(invalid("the client data of the passkey is not a JSON object"));
    };
    let kind = match ceremony {
        Ceremony::Create => "webauthn.create",
        Ceremony::Get => "webauthn.get",
    };
    if text(&members, "type")? != kind {
        return Err(invalid(format!("the passkey was asked for something else than `{kind}`")));
    }
    if decode(text(&members, "challenge")?).as_deref() != Some(expect.challenge.as_slice()) {
        return Err(invalid("the passkey answers another challenge"));
    }
    if text(&members, "origin")? != expect.party.origin() {
        return Err(invalid(format!("the passkey was used at another site than `{}`", expect.party.origin())));
    }
    // No page of ours is ever inside another one.
    if !matches!(members.get("crossOrigin"), None | Some(Value::Bool(false))) || members.contains_key("topOrigin") {
        return Err(invalid("the passkey was used inside a page of another site"));
    }
    Ok(())
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    members.get(name).and_then(Value::as_str).ok_or_else(|| invalid(format!("the client data of the passkey has no `{name}`")))
}
