//! Bodies of the targets for `remit-token`. They panic where a property does not hold.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use remit_model::{UnixTime, json};
use remit_token::{
    Algorithm, Jws, KeySet, PrivateKey, Skew, access, assertion, dpop, id_token, inspect_unverified, sign_jws, statement,
};
use serde_json::{Value, json};
use std::sync::LazyLock;

const ISSUER: &str = "https://remit.example";
const RESOURCE: &str = "https://remit.example/mcp/helpdesk";
const CLIENT: &str = "agent:planner";
const NOW: UnixTime = UnixTime(1_800_000_000);

static KEY: LazyLock<PrivateKey> =
    LazyLock::new(|| PrivateKey::from_seed(Algorithm::Ed25519, &[1; 32]).expect("a seed is a key"));

/// Tokens, assertions, statements and proofs. Unsigned text is refused by every verifier; claims under a good
/// signature are accepted only where they are about this request, now.
pub fn jws(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        unsigned(text);
        htu(text);
    }
    if let Some((kind, claims)) = bytes.split_first()
        && let Ok(claims @ Value::Object(_)) = json::parse(claims, &json::Limits::TOKEN)
    {
        signed(*kind, &claims);
    }
}

fn unsigned(text: &str) {
    if let Ok(jws) = Jws::parse(text) {
        let parts: Vec<&str> = text.split('.').collect();
        assert_eq!(parts.len(), 3, "{text}");
        assert_eq!(URL_SAFE_NO_PAD.encode(jws.payload()), parts[1], "a second spelling of the payload");
        assert_eq!(URL_SAFE_NO_PAD.encode(jws.signature()), parts[2], "a second spelling of the signature");
        assert_eq!(jws.signing_input().len() + 1 + parts[2].len(), text.len());
        let _ = jws.claims();
    }
    let _ = inspect_unverified(text);
    let _ = PrivateKey::from_pkcs8_pem(text);
    assert!(!accepted(0, text) && !accepted(1, text) && !accepted(2, text), "nobody signed {text}");
}

/// The normal form of a URL is its own normal form, and compares by it alone.
fn htu(text: &str) {
    let normal = dpop::normalise(text);
    if let Some(normal) = &normal {
        assert_eq!(dpop::normalise(normal).as_ref(), Some(normal), "not yet normal");
        let host = normal.split('/').nth(2).unwrap_or_default();
        assert!(!normal.contains(['?', '#', '\\', ' ']) && !host.contains('@'), "{normal}");
    }
    assert_eq!(dpop::htu_matches(text, text), normal.is_some(), "{text}");
}

fn accepted(kind: u8, text: &str) -> bool {
    let keys = KeySet::of([KEY.public()]);
    match kind {
        0 => {
            let expect = access::Expect { issuer: ISSUER, audience: Some(RESOURCE) };
            access::verify(text, &keys, &expect, NOW, Skew::default()).is_ok()
        }
        1 => {
            let expect = assertion::Expect { client_id: CLIENT, issuer: ISSUER, token_endpoint: None };
            assertion::verify(text, &keys, &expect, NOW, Skew::default()).is_ok()
        }
        2 => {
            let expect = id_token::Expect { issuer: ISSUER, client_id: CLIENT, nonce: Some("n") };
            id_token::verify(text, &keys, &expect, NOW, Skew::default()).is_ok()
        }
        3 => {
            let expect = statement::Expect { issuer: ISSUER, bound_to: None };
            statement::verify(text, &expect, NOW, Skew::default()).is_ok()
        }
        _ => {
            let expect = dpop::Expect {
                method: "POST",
                url: RESOURCE,
                access_token: None,
                bound_to: None,
                known: None,
                nonce: dpop::NonceRule::Ignored,
                replay: None,
                now: NOW,
                window_secs: dpop::WINDOW_SECS,
            };
            dpop::verify(&[text], &expect).is_ok()
        }
    }
}

fn signed(kind: u8, claims: &Value) {
    let kind = kind % 5;
    let typ = [access::TYP, assertion::TYP, "JWT", statement::TYP, dpop::TYP][usize::from(kind)];
    let header = (kind >= 3).then(|| json!({"jwk": KEY.public().to_jwk()}));
    let compact = sign_jws(typ, &KEY, header, claims).expect("claims can be signed");
    for other in (0..5).filter(|other| *other != kind) {
        assert!(!accepted(other, &compact), "a token of kind {kind} is accepted as {other}: {claims}");
    }
    if !accepted(kind, &compact) {
        return;
    }
    let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
    let time = |name: &str| claims.get(name).and_then(Value::as_i64);
    // An assertion may leave `iat` out: its life is counted from now.
    let iat = time("iat").filter(|_| kind != 1).or((kind == 1).then_some(NOW.0)).expect("an `iat` is a whole number");
    assert!(iat <= NOW.0 + dpop::WINDOW_SECS, "issued in the future: {claims}");
    if kind == 4 {
        assert!(text("htm") == "POST" && dpop::htu_matches(text("htu"), RESOURCE), "{claims}");
        assert!((iat - NOW.0).abs() <= dpop::WINDOW_SECS && !text("jti").is_empty(), "{claims}");
        return;
    }
    let exp = time("exp").expect("an `exp` is a whole number");
    let skew = Skew::MAX.as_seconds();
    assert!(exp > NOW.0 - skew && iat <= NOW.0 + skew, "not valid now: {claims}");
    let longest = [access::LIFETIME_LIMIT, assertion::LIFETIME_LIMIT, id_token::LIFETIME_LIMIT, statement::LIFETIME_LIMIT];
    assert!(exp - iat <= longest[usize::from(kind)] + skew, "valid for too long: {claims}");
    let audience = [RESOURCE, ISSUER, CLIENT, ISSUER][usize::from(kind)];
    let aud = claims.get("aud");
    let named = aud.and_then(Value::as_array).map_or(aud == Some(&json!(audience)), |all| all.contains(&json!(audience)));
    assert!(named, "for another audience: {claims}");
}
