//! The body of the target for client metadata. It panics where a property does not hold.

#[path = "../../crates/authority/src/clients/metadata.rs"]
mod metadata;

use crate::signin::redirect;
use metadata::{ClientMetadata, Origin};
use remit_model::json;
use serde_json::Value;

/// What a program says about itself: as its document at the URL that it names, and as a registration. What is kept of it is
/// within its bounds, holds no secret, and reads the same when it is registered again.
pub fn metadata(bytes: &[u8]) {
    let Ok(said) = json::parse(bytes, &json::Limits::TOKEN) else { return };
    let url = said.get("client_id").and_then(Value::as_str).unwrap_or("https://client.example/oauth.json");
    if let Ok(kept) = ClientMetadata::read(&said, Origin::Document(url)) {
        assert_eq!(said["client_id"], url, "a document of another client");
        assert!(said.get("client_secret").is_none(), "a secret in public");
        assert!(!kept.redirect_uris.is_empty(), "nowhere to go back to");
        sound(&kept);
    }
    if let Ok(kept) = ClientMetadata::read(&said, Origin::Registration) {
        sound(&kept);
        let again = ClientMetadata::read(&kept.to_value(), Origin::Registration).expect("what was registered can be registered");
        assert_eq!(again, kept);
    }
}

fn sound(kept: &ClientMetadata) {
    assert!(kept.redirect_uris.len() <= 16 && kept.keys.len() <= 16);
    for uri in &kept.redirect_uris {
        assert!(redirect::registrable(uri).is_ok(), "{uri}");
        assert!(redirect::allowed(uri, &kept.redirect_uris, false), "{uri} is registered and never used");
    }
    assert!(!kept.is_confidential() || !kept.redirect_uris.is_empty(), "a key without an address");
    assert!(kept.keys.is_empty() || kept.jwks_uri.is_none(), "two places for keys");
    assert!(kept.jwks_uri.as_deref().is_none_or(|uri| uri.starts_with("https://")), "keys in plain");
    assert!(kept.keys.iter().all(|key| ["d", "k", "p", "q"].iter().all(|private| key.get(private).is_none())), "a private key");
    assert!(!kept.name.is_empty() && !kept.name.contains(['<', '>', '&', '"']), "{}", kept.name);
    assert!(!kept.name.chars().any(char::is_control), "{:?}", kept.name);
    let shown = kept.to_value().to_string();
    assert!(!shown.contains("client_secret"), "{shown}");
}
